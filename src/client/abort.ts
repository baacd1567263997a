/** Hears of an AbortSignal's abort, with one listener however many clients share it: Node warns of more than ten.
 * @module */

type Callback = (reason: unknown) => void;

/** Those who hear of a signal, and the listener that tells them. */
const listening = new WeakMap<AbortSignal, { readonly callbacks: Set<Callback>; readonly listener: () => void }>();

/** Calls back when the signal is aborted, at once if it is; returns what calls it off. */
export function onAbort(signal: AbortSignal | undefined, callback: Callback): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    callback(signal.reason);
    return () => {};
  }
  const { callbacks, listener } = listening.get(signal) ?? listen(signal);
  callbacks.add(callback);
  return () => {
    callbacks.delete(callback);
    if (callbacks.size > 0) return;
    signal.removeEventListener("abort", listener);
    listening.delete(signal);
  };
}

function listen(signal: AbortSignal): { callbacks: Set<Callback>; listener: () => void } {
  const callbacks = new Set<Callback>();
  const listener = () => {
    for (const callback of callbacks) callback(signal.reason);
  };
  signal.addEventListener("abort", listener);
  const entry = { callbacks, listener };
  listening.set(signal, entry);
  return entry;
}
