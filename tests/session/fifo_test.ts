import { assertEquals, assertLess } from "@std/assert";
import { test } from "node:test";
import { Fifo } from "../../src/session/fifo.ts";
import { Random } from "../support/random.ts";

test("fifo: any order of calls gives what an array gives", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = new Random(seed), fifo = new Fifo<number>();
    let expected: number[] = [];
    for (let step = 0; step < 300; step++) {
      const choice = random.int(0, 20);
      if (choice < 10) {
        fifo.push(step);
        expected.push(step);
      } else if (choice < 19) {
        assertEquals(fifo.shift(), expected.shift(), `seed ${seed}, step ${step}`);
      } else if (choice === 19) {
        const divisor = random.int(2, 5);
        fifo.discard((item) => item % divisor === 0);
        expected = expected.filter((item) => item % divisor !== 0);
      } else if (random.chance(0.2)) {
        fifo.clear();
        expected = [];
      }
      assertEquals(fifo.length, expected.length);
    }
    while (expected.length > 0) assertEquals(fifo.shift(), expected.shift());
    assertEquals([fifo.shift(), fifo.length], [undefined, 0]);
  }
});

test("fifo: a long one is as cheap as a short one", () => {
  const fifo = new Fifo<number>(), start = performance.now();
  for (let i = 0; i < 300_000; i++) fifo.push(i);
  for (let i = 0; i < 300_000; i++) {
    fifo.push(i);
    if (fifo.shift() !== i) assertEquals(i, -1, "in order");
  }
  assertLess(performance.now() - start, 5000);
});
