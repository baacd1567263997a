import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertLess, assertLessOrEqual } from "@std/assert";
import { Random } from "../support/random.ts";
import { kinds } from "./report.ts";
import { type Course, defaults, firstAttempts, peak, simulate } from "./storm.ts";

const CLIENTS = 20_000;
const { minDelay, maxDelay } = defaults;
const sum = (counts: number[]) => counts.reduce((total, count) => total + count, 0);

/** Each client is accepted once, at last, and the seconds hold all attempts. */
function assertWhole({ arrivals, accepted, attempts }: Course): void {
  assertEquals([sum(arrivals), sum(accepted)], [attempts, CLIENTS]);
}

test("storm: the clients of a broker that is there again at once come spread over minDelay, and once", () => {
  const course = simulate({ clients: CLIENTS, down: 0, capacity: Infinity, random: new Random(1) });
  assertWhole(course);
  assertEquals([course.attempts, course.arrivals], [CLIENTS, [CLIENTS]]);
  assertLessOrEqual(course.end, minDelay);
});

test("storm: while the broker is down, the attempts of the first minDelay are the peak, and as many as full jitter promises", () => {
  const course = simulate({ clients: CLIENTS, down: 60_000, capacity: Infinity, random: new Random(2) });
  assertWhole(course);
  const { second, arrivals } = peak(course);
  assertEquals(second, 0);
  const promised = CLIENTS * firstAttempts(defaults);
  assertLess(Math.abs(arrivals - promised), 0.02 * promised);
  for (let after = 1; after < 60; after++) {
    assertLess(course.arrivals[after]!, arrivals, `second ${after}`);
  }
});

test("storm: a broker that returns after a minute meets what delays of half of maxDelay on average make, and all are back within maxDelay", () => {
  const course = simulate({ clients: CLIENTS, down: 60_000, capacity: Infinity, random: new Random(3) });
  // The waves of the first attempts have not died down by then: a fifth more is left of them.
  assertLess(peak(course, 60).arrivals, 1.2 * CLIENTS / (maxDelay / 2 / 1000));
  assertLessOrEqual(course.end, 60_000 + maxDelay);
  assertGreater(course.end, 60_000);
});

for (const down of [0, 60_000]) {
  test(`storm: a broker that accepts a fiftieth of its clients a second after ${down / 1000} s has all of them within maxDelay more than that takes`, () => {
    const capacity = CLIENTS / 50;
    const course = simulate({ clients: CLIENTS, down, capacity, random: new Random(4) });
    assertWhole(course);
    assertEquals(Math.max(...course.accepted), capacity);
    assertLessOrEqual(course.end, down + 1000 * CLIENTS / capacity + maxDelay);
    const busy = course.accepted.slice(down / 1000, down / 1000 + 30);
    assert(busy.every((count) => count === capacity), "it is never idle while many are away");
    const late = sum(course.arrivals.slice(-10)) / 10;
    assertLess(late, capacity / 2, "the end is quiet");
  });
}

test("storm: a longer minDelay takes the peak down to what a broker accepts", () => {
  for (const down of [0, 60_000]) {
    const { waits } = kinds.gentle;
    const course = simulate({ clients: CLIENTS, down, capacity: Infinity, random: new Random(5), waits });
    assertWhole(course);
    assertLess(peak(course).arrivals, CLIENTS / 15);
    assertLessOrEqual(course.end, down + 60_000);
  }
});

test("storm: without chance every second has all clients: what it is compared with", () => {
  const { waits } = kinds.regular;
  const course = simulate({ clients: CLIENTS, down: 5000, capacity: CLIENTS / 50, random: new Random(6), waits });
  assertWhole(course);
  assertEquals(course.arrivals.slice(1, 6), Array.from({ length: 5 }, () => CLIENTS));
});

test("storm: the same seed gives the same course", () => {
  const run = () => simulate({ clients: 1000, down: 5000, capacity: 100, random: new Random(7) });
  assertEquals(run(), run());
});
