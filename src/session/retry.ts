/** When a lost connection is made again.
 * @module */

import type { ReconnectOptions } from "../options.ts";

/** Every option of `reconnect`, given or by default. */
export type ReconnectSettings = { [Name in keyof ReconnectOptions]-?: NonNullable<ReconnectOptions[Name]> };

/** Counts the failures in a row: each doubles the longest delay, a stable connection ends them. */
export class Retry {
  readonly #policy: ReconnectSettings | undefined;
  /** Whether there is another attempt at all. */
  #tries: boolean;
  #failures = 0;

  /** `offline`: a client that no broker has accepted yet is tried again, too. */
  constructor(policy: ReconnectSettings | undefined, { offline }: { offline: boolean } = { offline: false }) {
    this.#policy = policy;
    this.#tries = offline;
  }

  /** How many failures there were in a row. */
  get failures(): number {
    return this.#failures;
  }

  /**
   * Milliseconds until the next attempt, from a `chance` of 0 to 1 (full jitter); undefined when there is none.
   * A client that no broker has ever accepted is not tried again, unless it may begin `offline`; of one that was accepted,
   * no error ends the attempts.
   * `lasted`: for how many milliseconds the broker had accepted the lost connection; undefined when it had not.
   */
  delay(lasted: number | undefined, chance: number): number | undefined {
    const policy = this.#policy;
    this.#tries ||= lasted !== undefined;
    if (policy === undefined || !this.#tries) return undefined;
    this.#failures = lasted !== undefined && lasted >= policy.stableAfter ? 1 : this.#failures + 1;
    if (this.#failures > policy.attempts) return undefined;
    return chance * Math.min(policy.maxDelay, policy.minDelay * 2 ** (this.#failures - 1));
  }
}
