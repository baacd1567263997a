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
    const count = reader.copy(to);
    assertEquals([...to.subarray(0, count)], Array.from({ length: count }, (_, i) => (taken + i) % 251));
    reader.free(count);
    taken += count;
    assertEquals([writer.waiting, reader.waiting], [put - taken, put - taken]);
  }
});

test("ring: it takes no more than it holds, and what was copied keeps its place until it is free", () => {
  const { writer, reader } = makeRing(8);
  assertEquals(writer.put(new Uint8Array(10).fill(1)), 8);
  assertEquals(reader.copy(new Uint8Array(5)), 5);
  assertEquals(writer.put(Uint8Array.of(2)), 0);
  reader.free(5);
  assertEquals(writer.put(Uint8Array.of(2, 2)), 2);
  const rest = new Uint8Array(8);
  assertEquals(reader.copy(rest), 5);
  assertEquals([...rest], [1, 1, 1, 2, 2, 0, 0, 0]);
});

test("ring: who sleeps is woken, once, by the other end alone", () => {
  const { writer, reader, woken } = makeRing(8);
  writer.put(Uint8Array.of(1));
  reader.free(1);
  assertEquals(woken, { reader: 0, writer: 0 });
  reader.sleep("reader");
  writer.sleep("writer");
  reader.free(0);
  writer.put(new Uint8Array());
  assertEquals(woken, { reader: 0, writer: 0 });
  writer.put(Uint8Array.of(1));
  writer.put(Uint8Array.of(1));
  assertEquals(woken, { reader: 1, writer: 0 });
  reader.free(1);
  reader.free(1);
  assertEquals(woken, { reader: 1, writer: 1 });
});

test("ring: the counters may overflow", () => {
  const { writer, reader } = makeRing(16);
  const state = new Int32Array(writer.memory, 0, 64);
  state.fill(2 ** 31 - 3, 0, 17); // both counters
  for (let i = 0; i < 10; i++) {
    assertEquals(writer.put(Uint8Array.of(i, i)), 2);
    const to = new Uint8Array(4);
    assertEquals(reader.copy(to), 2);
    assertEquals([...to], [i, i, 0, 0]);
    reader.free(2);
  }
  assertEquals(writer.waiting, 0);
});
