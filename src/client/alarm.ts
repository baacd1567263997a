/** The one timer of a client.
 * @module */

import type { Clock } from "./clock.ts";

const NOTHING = () => {};

/** Rings when something is due. It is not reset for each packet: it may ring before that, and its owner then sets it again. */
export class Alarm {
  readonly #clock: Clock;
  readonly #onRing: (now: number) => void;
  #due = Infinity;
  #stop = NOTHING;

  /** `onRing` gets the time. */
  constructor(clock: Clock, onRing: (now: number) => void) {
    this.#clock = clock;
    this.#onRing = onRing;
  }

  /** Rings at `due` at the latest (milliseconds); not at all when that is Infinity. */
  set(due: number): void {
    if (due >= this.#due && due < Infinity) return;
    this.#stop();
    this.#stop = NOTHING;
    this.#due = due;
    if (due < Infinity) this.#stop = this.#clock.wait(this.#ring, Math.max(due - this.#clock.now(), 0));
  }

  readonly #ring = () => {
    this.#due = Infinity;
    this.#stop = NOTHING;
    this.#onRing(this.#clock.now());
  };
}
