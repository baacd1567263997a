/** The program's own policy of reconnecting: a function that says when the next attempt is.
 * @module */

import type { ReconnectPolicy } from "../options.ts";
import { surface } from "../errors.ts";
import { kindOf } from "../protocol/bytes.ts";
import type { RetryEvent } from "../session/events.ts";
import { MAX_TIMER } from "./checks.ts";

/**
 * Milliseconds until the next attempt, as the program says; undefined: there is none. Where what it says is of no use, that
 * surfaces, and the delay is the one that it would be by default.
 */
export function askPolicy(policy: ReconnectPolicy, { failures, error, delay }: RetryEvent): number | undefined {
  try {
    const answer: unknown = policy(failures, error);
    const isDelay = typeof answer === "number" && answer >= 0 && answer <= MAX_TIMER;
    if (answer === undefined || isDelay) return answer;
    throw wrongDelay(answer);
  } catch (mistake) {
    surface(mistake);
    return delay;
  }
}

function wrongDelay(answer: unknown): RangeError {
  const received = typeof answer === "number" ? String(answer) : kindOf(answer);
  return new RangeError(
    `Cannot use what reconnect() returned as it must be a number of milliseconds, 0 to ${MAX_TIMER}, ` +
      `or undefined to give up: received ${received}`,
  );
}
