import { test } from "node:test";
import { assertEquals, assertGreater, assertLess, assertMatch } from "@std/assert";
import { measure } from "./bounds.ts";

/** Mebibytes that a runtime takes for itself while it works: blocks not collected yet, compiled code. */
const NOISE = 60;

test("bounds: a flood and a slow callback: the broker waits, memory does not grow, timers ring", async () => {
  const { grown, result, sent } = await measure("callback");
  const { received, longest } = result as { received: number; longest: number };
  assertGreater(received, 100);
  assertLess(longest, 5000, "other work has its turn");
  assertLess(sent, 100 << 20, "the flood is held back");
  assertLess(grown, NOISE);
});

test("bounds: a flood and a slow iterator: the broker waits, memory does not grow", async () => {
  const { grown, result, sent } = await measure("iterator");
  assertGreater(result as number, 20);
  assertLess(sent, 100 << 20, "the flood is held back");
  assertLess(grown, NOISE);
});

test("bounds: a flood and a blocked thread: the connection lives, memory does not grow", async () => {
  const { grown, result } = await measure("blocked");
  const { received, end } = result as { received: number; end: unknown };
  assertEquals(end, "alive");
  assertGreater(received, 1000);
  assertLess(grown, 2 * NOISE); // it reads as fast as it can when it reads, and hundreds of mebibytes pass
});

test("bounds: nobody awaits publish() and the broker stalls: overflow, and maxBuffered of memory", async () => {
  const { grown, result } = await measure("stalled");
  const { overflows, end } = result as { overflows: number; end: unknown };
  assertGreater(overflows, 100_000);
  assertEquals(end, "timeout", "disconnect() tells that not all could be sent");
  assertLess(grown, 8 + 2 * NOISE); // 200,000 promises are the application's
});

test("bounds: a program that blocks publishes and takes nothing, and the broker reads nothing until it does: overflow", async () => {
  const { grown, result } = await measure("untaken", 4080);
  const { published, received, code, message } = result as Record<string, unknown>;
  assertEquals(code, "overflow");
  assertMatch(
    message as string,
    /no room to publish .* messages wait for run\(\) or receive\(\), more than maxBuffered/,
  );
  assertGreater(published as number, 0);
  assertEquals(received, 4080, "when it takes them, it goes on");
  assertLess(grown, NOISE);
});

test("bounds: 268,435,455 bytes announced and never sent take no memory", async () => {
  const { grown, result } = await measure("promise");
  assertEquals(result, "quiet");
  assertLess(grown, 20);
});

test("bounds: ten thousand subscriptions, each with its messages", async () => {
  const { grown, result } = await measure("subscriptions", 10_000);
  assertEquals(result, true);
  assertLess(grown, 2 * NOISE);
});

test("bounds: a thousand clients connect at once", async () => {
  const { grown, result } = await measure("clients", 1000);
  assertEquals(result, ["disconnect"]);
  assertLess(grown, 3 * NOISE);
});
