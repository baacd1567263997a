/** What every argument of a call may be checked for.
 * @module */

import { check } from "../protocol/checks.ts";

export { check, checkObject, checkRange, isObject } from "../protocol/checks.ts";

/** The longest timer, in milliseconds. */
export const MAX_TIMER: number = 2 ** 31 - 1;

/** @throws {TypeError} If it is given and no function. */
export function checkFunction(value: unknown, what: string): void {
  check(value === undefined || typeof value === "function", what, "a function");
}

/** @throws {RangeError} If it is given and no QoS. */
export function checkQoS(qos: unknown): void {
  if (qos === undefined || qos === 0 || qos === 1 || qos === 2) return;
  throw new RangeError(`Cannot use QoS ${qos} as it must be 0, 1 or 2`);
}

/** Whether it is an AbortSignal, of whatever realm. */
export function isSignal(value: unknown): value is AbortSignal {
  return value instanceof AbortSignal || Object.prototype.toString.call(value) === "[object AbortSignal]";
}
