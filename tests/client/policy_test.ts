/** What a policy function says, and what becomes of it where that is of no use. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import type { ReconnectPolicy } from "../../mod.ts";
import { askPolicy } from "../../src/client/policy.ts";
import { MqttError } from "../../src/errors.ts";

/** The delay that comes of a policy, and what surfaces with it. */
async function outcome(policy: unknown): Promise<[number | undefined, string[]]> {
  const surfaced: string[] = [], original = globalThis.queueMicrotask;
  globalThis.queueMicrotask = (callback) =>
    original(() => {
      try {
        callback();
      } catch (error) {
        surfaced.push(`${error}`.split(":")[0]!);
      }
    });
  try {
    const error = new MqttError("socketclosed", "gone");
    const delay = askPolicy(policy as ReconnectPolicy, { type: "retry", failures: 1, error, delay: 123 });
    await new Promise((resolve) => setTimeout(resolve, 0));
    return [delay, surfaced];
  } finally {
    globalThis.queueMicrotask = original;
  }
}

test("policy: milliseconds from 0 to 2^31-1, or undefined", async () => {
  for (const right of [0, 0.5, 1000, 2 ** 31 - 1, undefined]) assertEquals(await outcome(() => right), [right, []]);
});

test("policy: what it throws, and what is no delay, surfaces, and the delay is the usual one", async () => {
  for (const wrong of [-1, NaN, Infinity, 2 ** 31, "1000", null, true, {}, Promise.resolve(1)]) {
    assertEquals(await outcome(() => wrong), [123, ["RangeError"]], String(wrong));
  }
  const broken = () => {
    throw new SyntaxError("the program's own");
  };
  assertEquals(await outcome(broken), [123, ["SyntaxError"]]);
});
