/** A tick of a page, and of its workers.
 * @module */

/** Those who wait for a tick, and what wakes them: a message is not held back in a tab behind others, as timers are. */
const waiting: (() => void)[] = [];
let channel: MessageChannel | undefined;

/** Calls back after the code that runs now, and after its microtasks. Sockets, timers and drawing have their turn between two of them. */
export function pageTick(callback: () => void): void {
  if (channel === undefined) {
    channel = new MessageChannel();
    channel.port1.onmessage = () => waiting.shift()!();
  }
  waiting.push(callback);
  channel.port2.postMessage(null);
}
