/** What every argument of a call may be checked for.
 * @module */

import { kindOf } from "../protocol/bytes.ts";
import type { QoS } from "../protocol/packet.ts";

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

/** @throws {RangeError} If it is no QoS, or one over `max`. */
export function checkQoS(qos: unknown, max: QoS): void {
  const known = qos === undefined || qos === 0 || qos === 1 || qos === 2;
  if (known && (qos ?? 0) <= max) return;
  throw new RangeError(
    `Cannot use QoS ${qos} as ${known ? `only QoS ${max} is supported yet` : "it must be 0, 1 or 2"}`,
  );
}
