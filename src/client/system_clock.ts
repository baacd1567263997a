/** The time of Deno, Bun and Node.
 * @module */

import { nextTick } from "node:process";
import { setImmediate } from "node:timers";
import type { Clock } from "./clock.ts";

/** After so many milliseconds of ticks, one after the other, timers and sockets have their turn. */
const LONGEST_TURN = 20;
/** When this turn's first tick was asked for; 0 before it. */
let began = 0;

/** A loop that awaits each publish(), with a socket that takes it all, would let nothing else happen: 5 s were seen. */
function tick(callback: () => void): void {
  const now = performance.now();
  if (began === 0) {
    began = now;
    setImmediate(() => began = 0);
  }
  if (now - began < LONGEST_TURN) nextTick(callback);
  else setImmediate(callback);
}

/** The runtime's. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: Date.now,
  wait: (callback, milliseconds) => {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
  // After the microtasks: a loop that awaits each publish() fills a write too.
  tick,
  random: Math.random,
};
