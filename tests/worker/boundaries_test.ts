import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { Boundaries } from "../../src/worker/boundaries.ts";
import { Random } from "../support/random.ts";

/** A packet of a type, with a remaining length. */
function packet(type: number, length: number): Uint8Array {
  const head = [type << 4];
  for (let rest = length;; rest >>= 7) {
    if (rest < 128) {
      head.push(rest);
      break;
    }
    head.push(rest & 127 | 128);
  }
  const bytes = new Uint8Array(head.length + length).fill(0xd0); // as many PINGRESP as bytes, for who is out of step
  bytes.set(head);
  return bytes;
}

function join(parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

test("boundaries: any cut of the stream finds the same packets, and no others", () => {
  const random = new Random(7);
  const lengths = [0, 1, 127, 128, 300, 16_383, 16_384, 70_000];
  for (let round = 0; round < 200; round++) {
    const types = Array.from({ length: random.int(1, 6) }, () => random.int(1, 12));
    const packets = types.map((type) => packet(type, random.pick(lengths)));
    const stream = join(packets), wanted = random.pick(types), boundaries = new Boundaries(wanted);
    let end = 0;
    const ends = packets.map(({ length }) => end += length);
    let found = 0;
    const starts: number[] = [];
    for (let at = 0; at < stream.length;) {
      const size = random.int(1, round % 2 ? 3 : 40_000);
      found |= boundaries.walk(stream.subarray(at), Math.min(size, stream.length - at));
      starts.push(...boundaries.starts.map((start) => at + start));
      at += size;
    }
    assertEquals(found, types.reduce((all, type) => all | 1 << type, 0));
    assertEquals(starts, ends.flatMap((_, i) => types[i] === wanted ? [ends[i - 1] ?? 0] : []));
  }
});

test("boundaries: one byte at a time, each packet is seen at its first byte", () => {
  const boundaries = new Boundaries(13);
  const stream = join([packet(2, 2), packet(3, 200), packet(13, 0), packet(3, 1)]);
  const seen = Array.from(stream, (byte) => boundaries.walk(Uint8Array.of(byte), 1));
  assertEquals(seen.flatMap((types, at) => types ? [[at, types]] : []), [
    [0, 1 << 2],
    [4, 1 << 3],
    [207, 1 << 13],
    [209, 1 << 3],
  ]);
});
