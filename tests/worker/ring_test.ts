import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { Ring } from "../../src/worker/ring.ts";
import { Random } from "../support/random.ts";

/** Both ends of a ring, and how often each woke the other. */
function makeRing(size: number) {
  const memory = Ring.allocate(size);
  const woken = { reader: 0, writer: 0 };
  const writer = new Ring(memory, () => woken.reader++);
  const reader = new Ring(memory, () => woken.writer++);
  return { writer, reader, woken };
}

test("ring: what goes in comes out, in order, however it is cut", () => {
  const { writer, reader } = makeRing(64);
  const random = new Random(11);
  let put = 0, taken = 0;
  while (taken < 10_000) {
    const bytes = Uint8Array.from({ length: random.int(0, 99) }, (_, i) => (put + i) % 251);
    put += writer.put(bytes);
    const to = new Uint8Array(random.int(0, 99));
    const count = reader.take(to);
    assertEquals([...to.subarray(0, count)], Array.from({ length: count }, (_, i) => (taken + i) % 251));
    taken += count;
    assertEquals([writer.waiting, reader.waiting], [put - taken, put - taken]);
  }
});

test("ring: it takes no more than it holds, and the writer sees what the reader is done with", () => {
  const { writer, reader } = makeRing(8);
  assertEquals(writer.put(new Uint8Array(10).fill(1)), 8);
  assertEquals(writer.put(Uint8Array.of(2)), 0);
  assertEquals(reader.take(new Uint8Array(5)), 5);
  assertEquals([writer.waiting, writer.unfinished], [3, 8]);
  assertEquals(writer.put(Uint8Array.of(2, 2)), 2);
  reader.finish(5);
  assertEquals([writer.waiting, writer.unfinished], [5, 5]);
  const rest = new Uint8Array(8);
  assertEquals(reader.take(rest), 5);
  assertEquals([...rest], [1, 1, 1, 2, 2, 0, 0, 0]);
  assertEquals([writer.waiting, writer.unfinished], [0, 5]);
});

test("ring: who sleeps is woken, once, by the other end alone", () => {
  const { writer, reader, woken } = makeRing(8);
  const one = new Uint8Array(1);
  writer.put(one);
  reader.take(one);
  assertEquals(woken, { reader: 0, writer: 0 });
  reader.awaitBytes();
  writer.put(new Uint8Array());
  assertEquals(woken, { reader: 0, writer: 0 });
  for (let i = 0; i < 4; i++) writer.put(one);
  assertEquals(woken, { reader: 1, writer: 0 });
  writer.awaitRoom(2);
  reader.take(one);
  reader.finish(1);
  assertEquals(woken, { reader: 1, writer: 0 });
  for (let i = 0; i < 3; i++) reader.take(one);
  assertEquals(woken, { reader: 1, writer: 1 });
});

test("ring: the counters may overflow", () => {
  const { writer, reader } = makeRing(16);
  new Int32Array(writer.memory, 0, 33).fill(2 ** 31 - 3); // all counters
  for (let i = 0; i < 10; i++) {
    assertEquals(writer.put(Uint8Array.of(i, i)), 2);
    const to = new Uint8Array(4);
    assertEquals(reader.take(to), 2);
    assertEquals([...to], [i, i, 0, 0]);
    reader.finish(2);
  }
  assertEquals([writer.waiting, writer.unfinished], [0, 0]);
});
