/** The rings of connections that are over: who gets them, and when. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { Ring } from "../../src/worker/ring.ts";
import { type RingPair, SpareRings } from "../../src/worker/spare_rings.ts";

/** So many ends leave both rings. */
function leave({ input, output }: RingPair, ends: number): void {
  for (const memory of [input, output]) {
    for (let i = 0; i < ends; i++) new Ring(memory, () => {}).leave();
  }
}

test("spare rings: those that both ends have left are used again, empty, and no others", () => {
  const spare = new SpareRings();
  const first = spare.next(undefined);
  const { size } = new Ring(first.input, () => {});
  assertEquals(new Ring(first.input, () => {}).put(new Uint8Array(9)), 9);
  leave(first, 1); // the client; the thread is not done with them
  const second = spare.next(first);
  assertEquals([second === first, size], [false, 2_097_152]);
  leave(first, 1);
  new Ring(second.input, () => {}).leave();
  leave({ input: second.output, output: second.output }, 1); // one ring alone is free
  const third = spare.next(second);
  assertEquals([third === first, Ring.isFree(first.input), new Ring(first.input, () => {}).waiting], [true, false, 0]);
  assertEquals(spare.next(undefined) === second, false);
  new Ring(second.input, () => {}).leave();
  assertEquals(spare.next(undefined) === second, true);
});

test("spare rings: a client's own are the next ones, when they are free", () => {
  const spare = new SpareRings();
  const pair = spare.next(undefined);
  for (let i = 0; i < 3; i++) {
    leave(pair, 2);
    assertEquals(spare.next(pair) === pair, true);
  }
});

test("spare rings: no more than eight pairs are kept, and those of a dead thread are pushed out", () => {
  const spare = new SpareRings();
  const dead = Array.from({ length: 8 }, () => spare.next(undefined));
  const free = Array.from({ length: 9 }, () => spare.next(undefined));
  for (const pair of dead) spare.give(pair);
  for (const pair of free) {
    leave(pair, 2);
    spare.give(pair);
  }
  const found = Array.from({ length: 10 }, () => spare.next(undefined)).map((pair) => free.indexOf(pair));
  assertEquals(found, [1, 2, 3, 4, 5, 6, 7, 8, -1, -1]);
});
