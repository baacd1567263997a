/** Where packets stay until they are acknowledged: their bytes, their room, and the memory that they keep. */
import { assert, assertEquals, assertLess, assertLessOrEqual, assertThrows } from "@std/assert";
import { describe, test } from "node:test";
import { MqttError } from "../../src/errors.ts";
import { Shelf, type Shelved, stamp } from "../../src/session/shelf.ts";
import { bytes, hex } from "../support/bytes.ts";
import { decodeNaive } from "../support/naive.ts";
import { Random } from "../support/random.ts";

const text = (size: number, letter = "x") => letter.repeat(size);

/** Packs a message of QoS 1, or with other flags. */
function put(shelf: Shelf, payload: string | Uint8Array, flags = 2, topic = "a"): Shelved {
  return { ...shelf.last(shelf.publish(topic, payload, flags)) };
}

const bytesOf = ({ page, start, size }: Shelved) => page.bytes.slice(start, start + size);

/** The payload of a packet, when it is the whole packet. */
function read(packet: Shelved): string {
  const found = decodeNaive(bytesOf(packet));
  assert(found?.packet.type === "PUBLISH");
  assertEquals(found.length, packet.size);
  return new TextDecoder().decode(found.packet.payload);
}

/** The bytes of the blocks that packets keep. */
function memory(packets: readonly Shelved[]): number {
  return [...new Set(packets.map(({ page }) => page))].reduce((sum, page) => sum + page.bytes.length, 0);
}

describe("shelf: stamps", () => {
  test("[MQTT-2.3.1-1] the packet identifier is written where it belongs, and DUP in byte 1", () => {
    const shelf = new Shelf(1000);
    const packet = put(shelf, "hi", 5, "a/b");
    stamp(packet, 0x1234, { dup: false });
    assertEquals(hex(bytesOf(packet)), hex(bytes('35 09 0003 "a/b" 1234 "hi"')));
    stamp(packet, 0x1234, { dup: true });
    assertEquals(hex(bytesOf(packet)), hex(bytes('3d 09 0003 "a/b" 1234 "hi"')));
    stamp(packet, 0xffff, { dup: false });
    assertEquals(hex(bytesOf(packet)), hex(bytes('35 09 0003 "a/b" ffff "hi"')), "DUP goes, too");
  });

  test("whatever the length of the packet and of its topic name", () => {
    for (const size of [0, 1, 123, 124, 200, 16_379, 16_380, 2_097_147, 2_097_148]) {
      for (const topic of ["a", text(300, "t"), "é".repeat(200), text(65_535, "t")]) {
        const shelf = new Shelf(1 << 24);
        const before = put(shelf, "before"), packet = put(shelf, text(size), 2, topic), after = put(shelf, "after");
        stamp(packet, 0x0102, { dup: true });
        const found = decodeNaive(bytesOf(packet))?.packet;
        assert(found?.type === "PUBLISH");
        const { packetId, dup, qos, payload } = found;
        assertEquals([packetId, dup, qos, payload.length, found.topic === topic], [0x0102, true, 1, size, true]);
        assertEquals([read(before), read(after)], ["before", "after"]);
      }
    }
  });
});

describe("shelf: room", () => {
  test("more than max bytes are never kept, and nothing is there of what overflows", () => {
    const shelf = new Shelf(100);
    const packet = put(shelf, text(93));
    assertEquals([packet.size, shelf.bytes], [100, 100]);
    for (const payload of ["", text(1), text(70_000), "é"]) {
      const error = assertThrows(() => shelf.publish("a", payload, 2), MqttError);
      assertEquals([error.code, shelf.bytes], ["overflow", 100]);
    }
    shelf.drop(packet);
    assertEquals(shelf.bytes, 0);
    assertThrows(() => shelf.publish("a", "é".repeat(60), 2), MqttError, "", "its bytes count, not its letters");
    assertEquals(read(put(shelf, "é".repeat(40))), "é".repeat(40));
  });

  test("one at a time, it stays where it is: no memory is asked for", () => {
    const shelf = new Shelf(1 << 20);
    const first = put(shelf, text(100));
    shelf.drop(first);
    for (let i = 0; i < 1000; i++) {
      const packet = put(shelf, text(100));
      assertEquals([packet.page === first.page, packet.start], [true, 0]);
      shelf.drop(packet);
    }
  });

  test("blocks are filled again", () => {
    const shelf = new Shelf(1 << 24), pages = new Set<unknown>();
    let waiting: Shelved[] = [];
    for (let i = 0; i < 20_000; i++) {
      waiting.push(put(shelf, text(1000)));
      pages.add(waiting.at(-1)!.page);
      if (waiting.length < 200) continue;
      for (const packet of waiting.splice(0, 100)) shelf.drop(packet);
    }
    assertLess(pages.size, 20, "of 300 without");
    for (const packet of waiting) shelf.drop(packet);
    waiting = [];
    assertEquals(shelf.bytes, 0);
  });
});

describe("shelf: memory", () => {
  test("packets that stay where all others have gone are moved together", () => {
    const shelf = new Shelf(1 << 24), stay: Shelved[] = [];
    let most = 0;
    for (let i = 0; i < 2000; i++) {
      stay.push(put(shelf, `${i}`));
      const go = Array.from({ length: 70 }, () => put(shelf, text(1000)));
      for (const packet of go) shelf.drop(packet);
      if (shelf.isSparse) shelf.compact(stay);
      most = Math.max(most, memory(stay));
    }
    assertLessOrEqual(most, 2 * shelf.bytes + (1 << 20) + 65_536, "2,000 blocks of 64 KiB otherwise");
    assertEquals(stay.map(read), stay.map((_, i) => `${i}`));
    for (const packet of stay) shelf.drop(packet);
    assertEquals([shelf.bytes, shelf.isSparse], [0, false]);
  });

  test("it does not happen to a window that moves on", () => {
    const shelf = new Shelf(1 << 26), waiting: Shelved[] = [];
    for (let i = 0; i < 100_000; i++) {
      waiting.push(put(shelf, text(i % 1000)));
      if (waiting.length > 5000) shelf.drop(waiting.shift()!);
      assertEquals(shelf.isSparse, false);
    }
  });

  test("any packets, put and dropped at random, are whole, and keep no more than that", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Random(seed), shelf = new Shelf(1 << 26);
      let stay: [Shelved, string][] = [];
      for (let i = 0; i < 3000; i++) {
        const size = random.int(0, random.chance(0.05) ? 200_000 : 300);
        const payload = `${i}`.padEnd(size);
        stay.push([put(shelf, payload), payload]);
        if (random.chance(1 / 300)) {
          stay = stay.filter(([packet]) => {
            const stays = random.chance(0.02);
            if (!stays) shelf.drop(packet);
            return stays;
          });
        }
        if (shelf.isSparse) shelf.compact(stay.map(([packet]) => packet));
        const { bytes } = shelf;
        assertEquals(bytes, stay.reduce((sum, [{ size }]) => sum + size, 0));
        assertLessOrEqual(memory(stay.map(([packet]) => packet)), 2 * bytes + (1 << 20) + 262_144);
      }
      for (const [packet, payload] of stay) assertEquals(read(packet) === payload, true, `seed ${seed}`);
    }
  });
});
