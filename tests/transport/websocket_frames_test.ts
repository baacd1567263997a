/** Frames, taken apart in every cut, and made. */
import { test } from "node:test";
import { Buffer } from "node:buffer";
import { assertEquals } from "@std/assert";
import { BINARY, Block, FrameReader } from "../../src/transport/websocket_frames.ts";
import { noise } from "../client/support.ts";
import { Random } from "../support/random.ts";
import { frame, hear } from "../support/websocket.ts";

test("the payloads of random frames come whole and in order, however the stream is cut", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = new Random(seed),
      below = (limit: number) => random.int(0, limit - 1),
      data = noise(200_000),
      stream: Uint8Array[] = [];
    let at = 0, isOpen = false;
    for (let n = 0; n < 60; n++) {
      if (below(5) === 0) stream.push(frame(9 + below(2), noise(below(126))));
      const length = [0, 1, 125, 126, 1500, 3000][below(6)]!, more = below(3) === 0;
      stream.push(frame(isOpen ? 0 : BINARY, data.slice(at, at += length), { more }));
      isOpen = more;
    }
    const bytes = new Uint8Array(Buffer.concat(stream)), got: Uint8Array[] = [], reader = new FrameReader();
    for (let from = 0; from < bytes.length;) {
      const chunk = bytes.slice(from, from += 1 + below([2, 50, 5000, 65_536][below(4)]!));
      for (let at = 0; at < chunk.length;) {
        at = reader.take(chunk, at, chunk.length);
        got.push(chunk.slice(reader.from, reader.to));
      }
    }
    assertEquals(reader.mistake, undefined);
    assertEquals(Buffer.compare(Buffer.concat(got), data.subarray(0, at)), 0, `seed ${seed}`);
  }
});

test("frames of every length are masked so that another decoder reads them", () => {
  const block = Block.take();
  for (const length of [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 65_535, 65_536, 262_144]) {
    for (let offset = 0; offset < 4; offset++) {
      const payload = noise(length + 4).subarray(offset, offset + length);
      const { frames } = hear(
        new Uint8Array(Buffer.concat([Buffer.from("GET\r\n\r\n"), block.frame(BINARY, payload)])),
      );
      assertEquals([frames.length, frames[0]!.opcode, frames[0]!.masked, frames[0]!.last], [1, 2, true, true]);
      assertEquals(Buffer.compare(frames[0]!.payload, payload), 0, `${length} from ${offset}`);
    }
  }
  block.free();
});
