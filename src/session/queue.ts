/** Messages of one QoS that wait to be sent.
 * @module */

import { Fifo } from "./fifo.ts";
import { isStale, type Outgoing, WAITING } from "./outgoing.ts";

/**
 * They are in the order of accepting. Among them are such as do not wait any more: they go when they come to the front, and
 * all at once when they are half of it.
 */
export class Queue extends Fifo<Outgoing> {
  /** How many of them do not wait any more. */
  #left = 0;

  /** How many wait. */
  get waiting(): number {
    return this.length - this.#left;
  }

  /** The first that waits; those before it that are stale are given up. */
  firstWaiting(now: number, giveUp: (stale: Outgoing) => void): Outgoing | undefined {
    for (let { first } = this; first !== undefined; first = this.first) {
      if (isStale(first, now)) giveUp(first);
      else if (first.state === WAITING) return first;
      else {
        this.shift();
        this.#left--;
      }
    }
    return undefined;
  }

  /** One of those that wait does not wait any more: when half of them do not, they are swept out. */
  leave(): void {
    if (2 * ++this.#left < this.length) return;
    this.discard(({ state }) => state !== WAITING);
    this.#left = 0;
  }

  /** Those that were sent, or do not wait any more, go. */
  keepUnsent(): void {
    this.discard(({ packetId, state }) => packetId > 0 || state !== WAITING);
    this.#left = 0;
  }
}
