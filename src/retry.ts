/** When a lost connection is made again.
 * @module */

import type { MqttError } from "./errors.ts";
import type { ReconnectSettings } from "./settings.ts";

/** Counts the failures in a row: each doubles the longest delay, a stable connection ends them. */
export class Retry {
  readonly #policy: ReconnectSettings | undefined;
  #established = false;
  #failures = 0;

  constructor(policy: ReconnectSettings | undefined) {
    this.#policy = policy;
  }

  /**
   * Milliseconds until the next attempt, from a `chance` of 0 to 1 (full jitter); undefined when there is none.
   * `open`: the broker had accepted the connection, which lasted so many milliseconds.
   */
  after(error: MqttError, open: boolean, lasted: number, chance: number): number | undefined {
    const policy = this.#policy;
    this.#established ||= open;
    if (policy === undefined || !this.#established || isFinal(error)) return undefined;
    this.#failures = open && lasted >= policy.stableAfter ? 1 : this.#failures + 1;
    if (this.#failures > policy.attempts) return undefined;
    return chance * Math.min(policy.maxDelay, policy.minDelay * 2 ** (this.#failures - 1));
  }
}

/** What another attempt cannot mend. */
function isFinal({ code }: MqttError): boolean {
  if (typeof code === "number") return code !== 3;
  return code === "untrusted" || code === "wrongname" || code === "expired";
}
