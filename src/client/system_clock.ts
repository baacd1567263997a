/** The time of Deno, Bun and Node.
 * @module */

import { nextTurn } from "../runtime.ts";
import type { Clock } from "./clock.ts";

/** So many ticks are microtasks: loading what a turn needs takes 10 ms on Deno, of a program that has just started. */
const FIRST = 100;
let ticks = 0;

/** After the microtasks, as a loop that awaits each publish() fills a write then. */
function tick(callback: () => void): void {
  if (ticks < FIRST) {
    ticks++;
    queueMicrotask(callback);
  } else {
    nextTurn(callback);
  }
}

/** The runtime's. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: Date.now,
  wait: (callback, milliseconds) => {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
  tick,
  random: Math.random,
};
