/** The time of a page, and of its workers.
 * @module */

import { pageTick } from "../page_tick.ts";
import type { Clock } from "./clock.ts";

/** The platform's. */
export const pageClock: Clock = {
  now: () => performance.now(),
  wall: Date.now,
  wait: (callback, milliseconds) => {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
  tick: pageTick,
  random: Math.random,
};
