/** What a value that the program gives may be checked for.
 * @module */

import { kindOf } from "./bytes.ts";

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
export function checkRange(what: string, value: unknown, min: number, max: number): asserts value is number {
  check(typeof value === "number", what, `a number: received ${kindOf(value)}`);
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`Cannot use ${what} as it must be a whole number of ${min} to ${max}: received ${value}`);
}
