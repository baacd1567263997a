/** Messages of one QoS that wait to be sent.
 * @module */

import { Fifo } from "./fifo.ts";
import { isStale, type Outgoing, WAITING } from "./outgoing.ts";

/**
 * They are in the order of accepting. Among them are such as do not wait any more: they go when they come to the front, and
 * all at once when they are half of it.
 */
export class Queue {
  readonly #all = new Fifo<Outgoing>();
  /** How many of those do not wait any more. */
  #left = 0;

  /** How many there are, with those that do not wait any more. */
  get length(): number {
    return this.#all.length;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#all.length - this.#left;
  }

  /** All, with those that do not wait any more. */
  [Symbol.iterator](): Iterator<Outgoing> {
    return this.#all[Symbol.iterator]();
  }

  /** One waits, behind the others. */
  push(outgoing: Outgoing): void {
    this.#all.push(outgoing);
  }

  /** The first that waits; those before it that are stale are given up. */
  first(now: number, giveUp: (stale: Outgoing) => void): Outgoing | undefined {
    const all = this.#all;
    for (let first = all.first; first !== undefined; first = all.first) {
      if (isStale(first, now)) giveUp(first);
      else if (first.state === WAITING) return first;
      else {
        all.shift();
        this.#left--;
      }
    }
    return undefined;
  }

  /** The first is sent. */
  shift(): void {
    this.#all.shift();
  }

  /** One of those that wait does not wait any more: when half of them do not, they are swept out. */
  leave(): void {
    if (2 * ++this.#left < this.#all.length) return;
    this.#all.discard(({ state }) => state !== WAITING);
    this.#left = 0;
  }

  /** These wait again, before the others. */
  putBack(again: readonly Outgoing[]): void {
    this.#all.putBack(again);
  }

  /** Those that were sent, or do not wait any more, go. */
  keepUnsent(): void {
    this.#all.discard(({ packetId, state }) => packetId > 0 || state !== WAITING);
    this.#left = 0;
  }
}
