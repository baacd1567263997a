/** Time, as the client sees it.
 * @module */

import { nextTick } from "node:process";

/** What a client knows of time; tests have their own. */
export interface Clock {
  /** Milliseconds. */
  now(): number;
  /** Calls back once, and returns what calls it off. */
  wait(callback: () => void, milliseconds: number): () => void;
  /** Calls back when the code that runs now, and what it has awaited in vain, is done. */
  tick(callback: () => void): void;
  /** 0 to 1. */
  random(): number;
}

/** The runtime's. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wait: (callback, milliseconds) => {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
  // After the microtasks: a loop that awaits each publish() fills a write too.
  tick: nextTick,
  random: Math.random,
};
