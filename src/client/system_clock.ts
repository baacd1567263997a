/** The time of Deno, Bun and Node.
 * @module */

import { nextTurn } from "../runtime.ts";
import type { Clock } from "./clock.ts";

/** The runtime's. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: Date.now,
  wait: (callback, milliseconds) => {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
  // After the microtasks: a loop that awaits each publish() fills a write, too.
  tick: nextTurn,
  random: Math.random,
};
