/** The part of `@std/assert` the tests use, on `node:assert`: same names, same signatures. */
import { AssertionError, deepStrictEqual, notDeepStrictEqual } from "node:assert/strict";

export { AssertionError };

// deno-lint-ignore no-explicit-any -- the signature of the original
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

function check(holds: boolean, expected: string, msg?: string): asserts holds {
  if (!holds) throw new AssertionError({ message: msg ? `${expected}: ${msg}` : expected });
}

function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

export function assert(expr: unknown, msg = ""): asserts expr {
  check(!!expr, msg || "Expected a true value");
}

export function assertFalse(expr: unknown, msg = ""): asserts expr is false {
  check(!expr, msg || "Expected a false value");
}

export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  try {
    deepStrictEqual(actual, expected);
  } catch (error) {
    throw new AssertionError({ message: `${msg ? `${msg}: ` : ""}${(error as Error).message}`, actual, expected });
  }
}

export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  notDeepStrictEqual(actual, expected, msg);
}

export function assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): asserts actual is T {
  check(Object.is(actual, expected), `Expected the very ${show(expected)}, got ${show(actual)}`, msg);
}

export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  check(actual !== undefined && actual !== null, `Expected a value, got ${actual}`, msg);
}

export function assertInstanceOf<E extends abstract new (...args: never[]) => unknown>(
  actual: unknown,
  expectedType: E,
  msg = "",
): asserts actual is InstanceType<E> {
  check(actual instanceof expectedType, `Expected an instance of ${expectedType.name}, got ${show(actual)}`, msg);
}

export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  check(expected.test(actual), `Expected ${show(actual)} to match ${expected}`, msg);
}

export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  check(actual.includes(expected), `Expected ${show(actual)} to contain ${show(expected)}`, msg);
}

export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  check(actual > expected, `Expected ${show(actual)} > ${show(expected)}`, msg);
}

export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void {
  check(actual >= expected, `Expected ${show(actual)} >= ${show(expected)}`, msg);
}

export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  check(actual < expected, `Expected ${show(actual)} < ${show(expected)}`, msg);
}

export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void {
  check(actual <= expected, `Expected ${show(actual)} <= ${show(expected)}`, msg);
}

export function assertIsError<E extends Error = Error>(
  error: unknown,
  ErrorClass?: ErrorClass<E>,
  msgMatches?: string | RegExp,
  msg?: string,
): asserts error is E {
  check(error instanceof Error, `Expected an Error, got ${show(error)}`, msg);
  if (ErrorClass) check(error instanceof ErrorClass, `Expected ${ErrorClass.name}, got ${error}`, msg);
  if (msgMatches === undefined) return;
  const matches = typeof msgMatches === "string" ? error.message.includes(msgMatches) : msgMatches.test(error.message);
  check(matches, `Expected a message with ${show(msgMatches)}, got ${show(error.message)}`, msg);
}

export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass?: ErrorClass<E>,
  msgIncludes = "",
  msg?: string,
): E {
  try {
    fn();
  } catch (error) {
    assertIsError(error, ErrorClass, msgIncludes, msg);
    return error;
  }
  throw new AssertionError({ message: `Expected the function to throw${msg ? `: ${msg}` : ""}` });
}

export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass?: ErrorClass<E>,
  msgIncludes = "",
  msg?: string,
): Promise<E> {
  let promise;
  try {
    promise = Promise.resolve(fn());
  } catch (error) {
    throw new AssertionError({ message: `Expected a rejected promise, but the function threw ${error}` });
  }
  try {
    await promise;
  } catch (error) {
    assertIsError(error, ErrorClass, msgIncludes, msg);
    return error;
  }
  throw new AssertionError({ message: `Expected the promise to reject${msg ? `: ${msg}` : ""}` });
}

export function fail(msg?: string): never {
  throw new AssertionError({ message: `Failed assertion${msg ? `: ${msg}` : "."}` });
}

export function unreachable(reason?: string): never {
  throw new AssertionError({ message: `Unreachable${reason ? `: ${reason}` : "."}` });
}
