/** The rings of connections that are over, for those that come.
 * @module */

import { Ring } from "./ring.ts";

/**
 * What a ring holds, in bytes: so much comes ahead of what the client takes; the rest stays in the socket. With a quarter of
 * it 4 KiB messages take 1.1 of the time; and memory that was never filled takes no place.
 */
const SIZE = 2_097_152;
/** So many pairs are kept, of 4 MiB each at most: some are not free yet when the next connection comes. */
const MOST = 8;

/** The memory of a connection's two rings: from its thread to the client, and from the client to its thread. */
export interface RingPair {
  input: SharedArrayBuffer;
  output: SharedArrayBuffer;
}

/**
 * V8 does not count shared memory: it collects rings late, and the thread's, who has little else to collect, later still.
 * So a pair is used again when the client and the thread have both said, in its memory, that they are done with it. A
 * thread that was terminated never says so: its rings are pushed out in time.
 */
export class SpareRings {
  readonly #pairs: RingPair[] = [];

  /** The rings for a client's next connection, which gives back those of its last one. */
  next(last: RingPair | undefined): RingPair {
    if (last !== undefined) this.#pairs.push(last);
    const at = this.#pairs.findIndex(({ input, output }) => Ring.isFree(input) && Ring.isFree(output));
    const [found] = at < 0 ? [] : this.#pairs.splice(at, 1);
    this.#drop();
    if (found === undefined) return { input: Ring.allocate(SIZE), output: Ring.allocate(SIZE) };
    Ring.clear(found.input);
    Ring.clear(found.output);
    return found;
  }

  /** Takes back the rings of a client that has ended. */
  give(pair: RingPair): void {
    this.#pairs.push(pair);
    this.#drop();
  }

  /** The oldest are left to the collector when there are too many. */
  #drop(): void {
    if (this.#pairs.length > MOST) this.#pairs.shift();
  }
}
