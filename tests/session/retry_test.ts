import { assertEquals } from "@std/assert";
import { describe, test } from "node:test";
import { Retry } from "../../src/session/retry.ts";

const POLICY = { minDelay: 100, maxDelay: 1000, stableAfter: 5000, attempts: Infinity };

describe("retry", () => {
  test("without a policy there is no other attempt", () => {
    const retry = new Retry(undefined);
    assertEquals([retry.delay(undefined, 1), retry.delay(10_000, 1)], [undefined, undefined]);
  });

  test("a client that no broker has accepted is not tried again", () => {
    const retry = new Retry(POLICY);
    assertEquals([retry.delay(undefined, 1), retry.delay(undefined, 1)], [undefined, undefined]);
    assertEquals(retry.delay(0, 1), 100, "and such failures do not count");
  });

  test("unless it begins offline: then its failures count from the first", () => {
    const retry = new Retry({ ...POLICY, attempts: 2 }, { offline: true });
    assertEquals([retry.delay(undefined, 1), retry.failures], [100, 1]);
    assertEquals([retry.delay(undefined, 1), retry.delay(undefined, 1)], [200, undefined]);
    assertEquals(new Retry(undefined, { offline: true }).delay(undefined, 1), undefined);
  });

  test("delays double up to the limit, while connections fail or do not last", () => {
    const retry = new Retry(POLICY);
    const lasted = [0, undefined, 4999, undefined, undefined, 10];
    assertEquals(lasted.map((each) => retry.delay(each, 1)), [100, 200, 400, 800, 1000, 1000]);
    assertEquals(retry.delay(5000, 1), 100, "a stable one ends them");
    assertEquals(retry.delay(undefined, 1), 200);
  });

  test("full jitter: chance takes any part of it", () => {
    const retry = new Retry(POLICY);
    assertEquals([0, 0.5, 0.25, 0.125].map((chance) => retry.delay(0, chance)), [0, 100, 100, 100]);
  });

  test("after so many failures in a row it gives up", () => {
    const retry = new Retry({ ...POLICY, attempts: 2 });
    assertEquals([0, undefined, undefined].map((lasted) => retry.delay(lasted, 1)), [100, 200, undefined]);
    const stable = new Retry({ ...POLICY, attempts: 1 });
    assertEquals([6000, 6000, 6000, 0].map((lasted) => stable.delay(lasted, 1)), [100, 100, 100, undefined]);
    assertEquals(new Retry({ ...POLICY, attempts: 0 }).delay(6000, 1), undefined);
  });

  test("ten thousand failures: the delay stays finite", () => {
    const retry = new Retry(POLICY);
    for (let i = 0; i < 10_000; i++) retry.delay(0, 1);
    assertEquals(retry.delay(0, 1), 1000);
  });
});
