/** Whether anything is settled while nothing is read.
 * @module */

import type { Backlog } from "./backlog.ts";
import type { Events } from "./events.ts";

/**
 * Nothing is read as long as too many messages are unsettled. When none of them is settled for `timeout`, in
 * milliseconds, that is a stall: it is told once, and who waits for the broker would wait for ever.
 */
export class Stall {
  readonly #backlog: Backlog;
  readonly #events: Events;
  readonly #timeout: number;
  /** When `check` wants to be called; Infinity when never. */
  due: number = Infinity;
  /** How many messages were settled when it began to watch, and at the last stall that was told. */
  #settledThen = 0;
  #settledAtStall = -1;

  constructor(backlog: Backlog, events: Events, timeout: number) {
    this.#backlog = backlog;
    this.#events = events;
    this.#timeout = timeout;
  }

  /** Nothing is read: looks from now on whether anything is settled, unless it does so already. */
  watch(now: number): void {
    if (this.due < Infinity) return;
    this.due = now + this.#timeout;
    this.#settledThen = this.#backlog.settled;
  }

  /** There is nothing to watch any more. */
  cancel(): void {
    this.due = Infinity;
  }

  /** The time is over: whether nothing was settled and nothing is read yet; if so, watches on. */
  check({ isReading }: { isReading: boolean }, now: number): boolean {
    this.cancel();
    if (isReading) return false;
    const { settled, count } = this.#backlog;
    const isStalled = settled === this.#settledThen;
    this.watch(now);
    if (isStalled && this.#settledAtStall !== settled) {
      this.#settledAtStall = settled;
      this.#events.tell({ type: "stalled", unsettled: count });
    }
    return isStalled;
  }
}
