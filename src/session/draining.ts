/** disconnect() with `drain`: what was received is settled first.
 * @module */

import type { Backlog } from "./backlog.ts";
import type { Call } from "./events.ts";

/** Those who disconnect when what was received is settled. */
export class Draining {
  readonly #backlog: Pick<Backlog, "settled" | "isEmpty">;
  #calls: Call[] = [];
  /** How many messages were settled when it was last looked. */
  #settledThen = 0;

  constructor(backlog: Pick<Backlog, "settled" | "isEmpty">) {
    this.#backlog = backlog;
  }

  /** Whether somebody waits. */
  get isAsked(): boolean {
    return this.#calls.length > 0;
  }

  /** Whether there is nothing to wait for any more. */
  get isDone(): boolean {
    return this.#backlog.isEmpty;
  }

  /** Somebody waits. */
  add(call: Call): void {
    this.#calls.push(call);
  }

  /** Whether anything was settled since it was last looked. */
  look(): boolean {
    const { settled } = this.#backlog;
    const goesOn = settled !== this.#settledThen;
    this.#settledThen = settled;
    return goesOn;
  }

  /** Those who wait do so no longer. */
  take(): Call[] {
    return this.#calls.splice(0);
  }
}
