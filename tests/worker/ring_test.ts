import { test } from "node:test";
import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import { Ring } from "../../src/worker/ring.ts";
import { Random } from "../support/random.ts";

/** Both ends of a ring, and how often each woke the other. */
function makeRing(size: number) {
  const memory = Ring.allocate(size);
  const woken = { reader: 0, writer: 0 };
  const writer = new Ring(memory, () => woken.reader++);
  const reader = new Ring(memory, () => woken.writer++);
  return { memory, writer, reader, woken };
}

for (const [size, most, total] of [[64, 99, 10_000], [1 << 18, 99_999, 20_000_000]] as const) {
  test(`ring of ${size} bytes: what goes in comes out, in order, however it is cut`, () => {
    const { writer, reader } = makeRing(size);
    const random = new Random(11), source = Uint8Array.from({ length: size + most + 251 }, (_, i) => i % 251);
    let put = 0, taken = 0;
    while (taken < total) {
      put += writer.put(source.subarray(put % 251, put % 251 + random.int(0, most)));
      // Now and then all is taken: the ring begins anew.
      const to = new Uint8Array(random.int(0, 3) === 0 ? size : random.int(0, most)), count = reader.take(to);
      assert(Buffer.compare(to.subarray(0, count), source.subarray(taken % 251, taken % 251 + count)) === 0);
      taken += count;
      assertEquals([writer.waiting, reader.waiting], [put - taken, put - taken]);
    }
  });
}

test("ring: as long as the reader keeps up, most of the memory is never touched", () => {
  const { memory, writer, reader } = makeRing(1 << 20);
  for (let i = 0; i < 3000; i++) {
    assertEquals(writer.put(new Uint8Array(1000).fill(1)), 1000);
    assertEquals(reader.take(new Uint8Array(1500)), 1000);
  }
  assertEquals(new Uint8Array(memory, 512).lastIndexOf(1) < 18_000, true);
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
  const { memory, writer, reader } = makeRing(16);
  new Int32Array(memory, 0, 33).fill(2 ** 31 - 3); // all counters
  for (let i = 0; i < 10; i++) {
    assertEquals(writer.put(Uint8Array.of(i, i)), 2);
    const to = new Uint8Array(4);
    assertEquals(reader.take(to), 2);
    assertEquals([...to], [i, i, 0, 0]);
    reader.finish(2);
  }
  assertEquals([writer.waiting, writer.unfinished], [0, 0]);
});

test("ring: it is free when both ends have left, and what they do after that touches its memory no more", () => {
  const { memory, writer, reader, woken } = makeRing(16);
  const three = Uint8Array.of(1, 2, 3);
  const all = () => [...new Uint8Array(memory)];
  writer.put(three);
  reader.take(new Uint8Array(2));
  reader.finish(1);
  for (const [end, other] of [[writer, reader], [reader, writer]] as const) {
    assertEquals(Ring.isFree(memory), false);
    end.leave();
    other.awaitBytes();
    other.awaitRoom(16);
    const before = all();
    assertEquals([end.put(three), end.take(new Uint8Array(3)), end.waiting, end.unfinished], [0, 0, 0, 2]);
    end.finish(2);
    end.awaitBytes();
    end.awaitRoom(1);
    end.leave();
    assertEquals(all(), before);
  }
  assertEquals([Ring.isFree(memory), woken], [true, { reader: 0, writer: 0 }]);
  Ring.clear(memory);
  const next = new Ring(memory, () => {});
  assertEquals([Ring.isFree(memory), next.waiting, next.unfinished, next.put(three)], [false, 0, 0, 3]);
});
