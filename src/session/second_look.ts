/** What is due is given up at the second look, not at the first.
 * @module */

/** For as long as time was told late, and no longer than this, what has come is looked at before anything is given up; milliseconds. */
const LATE = 100;

/**
 * The thread may have been blocked, or suspended, and the answer be in the socket. So whoever finds that something is
 * due does not give it up yet: what is in the socket by then has its turn first, and who has no answer after that has failed.
 */
export class SecondLook {
  #at = Infinity;
  #by = -Infinity;

  /** When the second look is due; Infinity when there is none. */
  get due(): number {
    return this.#at;
  }

  /** Something is due since `due`: the second look comes soon. */
  plan(now: number, due: number): void {
    this.#at = now + Math.min(now - due, LATE);
    this.#by = now;
  }

  /** What was due by the time returned is given up now; the plan is done with. */
  take(): number {
    const by = this.#by;
    this.cancel();
    return by;
  }

  /** There is nothing to look at any more. */
  cancel(): void {
    this.#at = Infinity;
    this.#by = -Infinity;
  }
}
