/** The time of a page, and of its workers.
 * @module */

import type { Clock } from "./clock.ts";

/** Those who wait for a tick, and what wakes them: a message is not held back in a tab behind others, as timers are. */
const waiting: (() => void)[] = [];
let port: MessagePort | undefined;

function openPort(): MessagePort {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => waiting.shift()!();
  return port2;
}

/** The platform's. */
export const pageClock: Clock = {
  now: () => performance.now(),
  wall: Date.now,
  wait: (callback, milliseconds) => {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
  // Sockets, timers and drawing have their turn between two messages.
  tick: (callback) => {
    port ??= openPort();
    waiting.push(callback);
    port.postMessage(undefined);
  },
  random: Math.random,
};
