/** What every argument of a call may be checked for.
 * @module */

import { kindOf } from "../protocol/bytes.ts";

/** The longest timer, in milliseconds. */
export const MAX_TIMER: number = 2 ** 31 - 1;

/** Whether it is an object. */
export function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** @throws {TypeError} If options are no object; null is none. */
export function checkObject(options: unknown, what: string): asserts options is object {
  if (options === null) throw new TypeError(`Cannot use ${what} as null: leave it out`);
  check(isObject(options), what, `an object: received ${kindOf(options)}`);
}

/** @throws {TypeError} If it is not `right`; the value itself is not told, as it may be a secret. */
export function check(right: boolean, what: string, must: string): asserts right {
  if (!right) throw new TypeError(`Cannot use ${what} as it must be ${must}`);
}

/** @throws {TypeError | RangeError} If a number option is no whole number within its range. */
export function checkRange(what: string, value: unknown, min: number, max: number): void {
  check(typeof value === "number", what, `a number: received ${kindOf(value)}`);
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`Cannot use ${what} as it must be a whole number of ${min} to ${max}: received ${value}`);
}

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
