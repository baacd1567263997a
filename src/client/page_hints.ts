/** What a page hears of its network and of itself: hints that a connection may be dead, or can be made again.
 * @module */

/** What of a `document` is used here; a worker has none. */
interface PageDocument extends EventTarget {
  readonly visibilityState: string;
}

/**
 * Calls `wake` when the network has come or gone, when the page is shown again, and when it goes on after it was frozen or
 * kept for going back to; returns what ends that.
 */
export function pageHints(wake: () => void): () => void {
  const { document } = globalThis as { document?: PageDocument };
  const shown = () => {
    if (document!.visibilityState === "visible") wake();
  };
  const hints: [EventTarget | undefined, string, () => void][] = [
    [globalThis, "online", wake],
    [globalThis, "offline", wake],
    [globalThis, "pageshow", wake],
    [document, "resume", wake],
    [document, "visibilitychange", shown],
  ];
  for (const [target, name, listener] of hints) target?.addEventListener(name, listener);
  return () => {
    for (const [target, name, listener] of hints) target?.removeEventListener(name, listener);
  };
}
