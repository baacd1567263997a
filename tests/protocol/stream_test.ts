import { assert, assertEquals, assertGreater, assertLess, assertLessOrEqual, assertThrows } from "@std/assert";
import { describe, test } from "node:test";
import { MqttError } from "../../src/errors.ts";
import { Message } from "../../src/message.ts";
import { Decoder } from "../../src/protocol/decoder.ts";
import { assertBytes, bytes, join } from "../support/bytes.ts";
import {
  decodeNaive,
  encodeLength,
  encodeNaive,
  frame,
  Malformed,
  type NaivePacket,
  NaiveReader,
} from "../support/naive.ts";
import { Random } from "../support/random.ts";
import { plain } from "./compare.ts";

const MAX = 268_435_460;

/** Hands a stream to a decoder, some bytes at a time. */
interface Feeder {
  /** Feeds at most `length` bytes of `stream` from `at` on, and returns how many. */
  feed(decoder: Decoder, stream: Uint8Array, at: number, length: number): number;
}

const copies: Feeder = {
  feed(decoder, stream, at, length) {
    const chunk = stream.slice(at, at + length);
    decoder.receive(chunk);
    return chunk.length;
  },
};

const views: Feeder = {
  feed(decoder, stream, at, length) {
    const chunk = stream.subarray(at, at + length);
    decoder.receive(chunk);
    return chunk.length;
  },
};

const inPlace: Feeder = {
  feed(decoder, stream, at, length) {
    const space = decoder.space();
    assertGreater(space.length, 0);
    const taken = Math.min(space.length, length, stream.length - at);
    space.set(stream.subarray(at, at + taken));
    decoder.receive(space, taken);
    return taken;
  },
};

/** As a transport that cuts what it read to size. */
const inPlaceCut: Feeder = {
  feed(decoder, stream, at, length) {
    const space = decoder.space();
    const taken = Math.min(space.length, length, stream.length - at);
    const chunk = space.subarray(0, taken);
    chunk.set(stream.subarray(at, at + taken));
    decoder.receive(chunk);
    return taken;
  },
};

function mixed(random: Random): Feeder {
  return {
    feed(decoder, stream, at, length) {
      return random.pick([copies, views, inPlace, inPlaceCut]).feed(decoder, stream, at, length);
    },
  };
}

const FEEDERS: Record<string, (random: Random) => Feeder> = {
  "chunks of their own": () => copies,
  "views of one buffer": () => views,
  "its own space": () => inPlace,
  "its own space, cut to size": () => inPlaceCut,
  "all of these in turn": mixed,
};

/** Feeds all of the chunk. */
function feedAll(feeder: Feeder, decoder: Decoder, chunk: Uint8Array): void {
  for (let at = 0; at < chunk.length;) at += feeder.feed(decoder, chunk, at, chunk.length);
}

/** Feeds the stream in random chunks, and returns the packets; now and then several chunks come before any is asked for. */
function decode(stream: Uint8Array, feeder: Feeder, random: Random, longest: number, max = MAX) {
  const decoder = new Decoder(max);
  const packets: NaivePacket[] = [];
  const messages: Message[] = [];
  for (let at = 0; at < stream.length;) {
    at += feeder.feed(decoder, stream, at, 1 + random.size(longest));
    if (at < stream.length && random.chance(0.3)) continue;
    for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
      packets.push(plain(packet, decoder));
      if (packet instanceof Message) messages.push(packet);
    }
  }
  return { packets, messages, decoder };
}

describe("decoder: any cut of the stream gives the same packets", () => {
  for (const [name, make] of Object.entries(FEEDERS)) {
    test(`[MQTT-7.1.2-1] ${name}`, () => {
      for (let seed = 1; seed <= 60; seed++) {
        const random = new Random(seed);
        const expected = Array.from({ length: random.int(1, 60) }, () => random.packet(random.pick([20, 300, 5000])));
        const stream = join(expected.map(encodeNaive));
        const untouched = stream.slice();
        const { packets, messages, decoder } = decode(stream, make(random), random, random.pick([1, 10, 200, 70_000]));
        assertEquals(packets, expected, `seed ${seed}`);
        assertEquals(decoder.waiting, 0, `seed ${seed}`);
        const publishes = packets.filter((packet) => packet.type === "PUBLISH");
        assertEquals(messages.map(({ payload }) => payload.length), publishes.map(({ payload }) => payload.length));
        messages.forEach(({ payload }, i) =>
          assertBytes(payload, publishes[i]!.payload, `seed ${seed}: a payload that was kept has changed`)
        );
        assertBytes(stream, untouched, `seed ${seed}: memory of others was written`);
      }
    });
  }

  test("what waited is there, whole, after a packet of it was taken", () => {
    for (const make of Object.values(FEEDERS)) {
      const random = new Random(3), feeder = make(random), decoder = new Decoder(MAX);
      const stream = join(Array.from({ length: 300 }, () => encodeNaive(random.packet(300))));
      for (let at = 0; at < stream.length;) {
        at += feeder.feed(decoder, stream, at, 1 + random.size(1000));
        for (let found = true; found;) {
          const { waiting } = decoder;
          found = decoder.next() !== undefined;
          assertBytes(decoder.last(waiting), stream.subarray(at - waiting, at));
        }
      }
    }
  });

  test("the tests' own reader agrees", () => {
    const random = new Random(7);
    const expected = Array.from({ length: 200 }, () => random.packet());
    const stream = join(expected.map(encodeNaive));
    const reader = new NaiveReader();
    const found: NaivePacket[] = [];
    for (let at = 0; at < stream.length;) {
      const length = random.int(1, 50);
      found.push(...reader.push(stream.subarray(at, at + length)));
      at += length;
    }
    assertEquals(found, expected);
  });
});

describe("decoder: damage", () => {
  /** What the tests' own codec makes of a stream. */
  function verdict(stream: Uint8Array): { packets: NaivePacket[]; statement: string | undefined } {
    const packets: NaivePacket[] = [];
    for (let start = 0;;) {
      try {
        const found = decodeNaive(stream.subarray(start));
        if (found === undefined) return { packets, statement: undefined };
        packets.push(found.packet);
        start += found.length;
      } catch (error) {
        if (error instanceof Malformed) return { packets, statement: error.statement };
        throw error;
      }
    }
  }

  function check(stream: Uint8Array, random: Random, seed: number): void {
    const expected = verdict(stream);
    for (const make of Object.values(FEEDERS)) {
      const decoder = new Decoder(MAX);
      const packets: NaivePacket[] = [];
      let error: unknown;
      const feeder = make(random);
      try {
        for (let at = 0; at < stream.length;) {
          at += feeder.feed(decoder, stream, at, 1 + random.size(100));
          for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
            packets.push(plain(packet, decoder));
          }
        }
      } catch (caught) {
        error = caught;
      }
      assertEquals(packets, expected.packets, `seed ${seed}: what came before the mistake`);
      if (expected.statement === undefined) {
        assertEquals(error, undefined, `seed ${seed}`);
      } else {
        assert(error instanceof MqttError, `seed ${seed}: ${error} instead of ${expected.statement}`);
        assert(error.message.endsWith(expected.statement), `seed ${seed}: "${error.message}", ${expected.statement}`);
      }
    }
  }

  test("[MQTT-4.8.0-1] bytes that changed by chance: the verdict of the tests' own codec", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const random = new Random(seed);
      const stream = join(Array.from({ length: random.int(1, 5) }, () => encodeNaive(random.packet(30))));
      for (let i = random.int(1, 3); i > 0; i--) stream[random.int(0, stream.length - 1)] = random.int(0, 255);
      check(stream, random, seed);
    }
  });

  test("[MQTT-4.8.0-1] noise: the verdict of the tests' own codec", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const random = new Random(seed);
      check(random.bytes(random.int(1, 60)), random, seed);
    }
  });
});

describe("decoder: payloads are the receiver's to keep", () => {
  test("a payload asked for late is the one that came", () => {
    for (const make of Object.values(FEEDERS)) {
      const random = new Random(11);
      const feeder = make(random);
      const payloads = Array.from({ length: 400 }, () => random.bytes(random.size(3000)));
      const stream = join(payloads.map((payload) => frame(3, 0, [0, 1, 97], payload)));
      const decoder = new Decoder(MAX);
      const messages: Message[] = [];
      for (let at = 0; at < stream.length;) {
        at += feeder.feed(decoder, stream, at, random.int(1, 4000));
        for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
          messages.push(packet as Message);
        }
      }
      assertEquals(messages.length, payloads.length);
      messages.forEach((message, i) => assertBytes(message.payload, payloads[i]!));
      assertEquals(messages[0]!.payload, messages[0]!.payload, "asked for twice");
    }
  });

  test("writing to a payload harms no other packet", () => {
    const stream = join([1, 2, 3].map((byte) => frame(3, 0, [0, 1, 97], new Uint8Array(50).fill(byte))));
    const decoder = new Decoder(MAX);
    inPlace.feed(decoder, stream, 0, stream.length);
    (decoder.next() as Message).payload.fill(255);
    assertEquals((decoder.next() as Message).payload, new Uint8Array(50).fill(2));
    assertEquals((decoder.next() as Message).payload, new Uint8Array(50).fill(3));
  });
});

describe("decoder: memory", () => {
  test("a packet declared with 268,435,455 bytes and never sent takes no memory", () => {
    for (const feeder of [copies, inPlace]) {
      const decoder = new Decoder(MAX);
      const head = bytes('30 ffffff7f 0001 "a"');
      feeder.feed(decoder, head, 0, head.length);
      assertEquals(decoder.next(), undefined);
      for (let i = 0; i < 10; i++) assertLessOrEqual(decoder.space().buffer.byteLength, 1 << 20);
    }
  });

  test("the block of a large packet grows with what came of it", () => {
    for (const feeder of [copies, inPlace]) {
      const decoder = new Decoder(MAX);
      const head = bytes('30 ffffff7f 0001 "a"');
      feeder.feed(decoder, head, 0, head.length);
      let received = head.length;
      const chunk = new Uint8Array(30_000);
      while (received < 8 << 20) {
        assertEquals(decoder.next(), undefined);
        received += feeder.feed(decoder, chunk, 0, chunk.length);
        assertLessOrEqual(decoder.space().buffer.byteLength, 4 * received + (1 << 20));
      }
      assertEquals(decoder.waiting, received);
    }
  });

  test("small packets have small blocks", () => {
    const decoder = new Decoder(MAX);
    for (let i = 0; i < 1000; i++) {
      const packet = bytes('30 06 0001 "a" "hey"');
      inPlace.feed(decoder, packet, 0, packet.length);
      assert(decoder.next() instanceof Message);
      assertLessOrEqual(decoder.space().buffer.byteLength, 65_536);
    }
  });

  test("space() is never empty, however much waits to be asked for", () => {
    const decoder = new Decoder(MAX);
    const packet = encodeNaive({ type: "PINGRESP" });
    for (let i = 0; i < 10; i++) {
      const space = decoder.space();
      assertGreater(space.length, 0, `after ${decoder.waiting} bytes`);
      for (let at = 0; at < space.length; at++) space[at] = packet[at % 2]!;
      decoder.receive(space);
    }
    const waiting = decoder.waiting;
    for (let i = 0; i < Math.floor(waiting / 2); i++) {
      assertEquals(plain(decoder.next()!, decoder), { type: "PINGRESP" });
    }
    assertEquals(decoder.next(), undefined);
  });

  test("an empty chunk is none", () => {
    const decoder = new Decoder(MAX);
    decoder.receive(new Uint8Array(0));
    assertEquals(decoder.next(), undefined);
    decoder.receive(bytes("d0"));
    decoder.receive(new Uint8Array(0));
    decoder.receive(decoder.space(), 0);
    decoder.receive(bytes("00"));
    assertEquals(plain(decoder.next()!, decoder), { type: "PINGRESP" });
  });
});

describe("decoder: sizes", () => {
  // Around each size of the remaining length, of a block, and beyond.
  const sizes = [3, 4, 126, 127, 128, 129, 2047, 2048, 2049, 16_383, 16_384, 65_533, 65_535, 65_536, 65_537];
  const large = [262_143, 262_145, 2_097_151, 2_097_152, 5_000_000];

  for (const length of [...sizes, ...large]) {
    test(`a PUBLISH of remaining length ${length}`, () => {
      const random = new Random(length);
      const payload = new Uint8Array(length - 3).map((_, i) => i * 31 >> 3);
      const packet = frame(3, 0, [0, 1, 97], payload);
      const stream = join([frame(13, 0, []), packet, frame(13, 0, []), packet, frame(13, 0, [])]);
      for (const feeder of [copies, views, inPlace]) {
        const { packets, messages } = decode(stream, feeder, random, 100_000);
        assertEquals(packets.map(({ type }) => type), ["PINGRESP", "PUBLISH", "PINGRESP", "PUBLISH", "PINGRESP"]);
        for (const message of messages) assertBytes(message.payload, payload);
      }
    });
  }

  test("a packet of 1 MiB, byte by byte", () => {
    const packet = frame(3, 0, [0, 1, 97], new Uint8Array(1 << 20).fill(7));
    for (const feeder of [copies, inPlace]) {
      const decoder = new Decoder(MAX);
      for (let at = 0; at < packet.length; at++) {
        assertEquals(decoder.next() === undefined, true);
        feeder.feed(decoder, packet, at, 1);
      }
      const message = decoder.next() as Message;
      assertEquals(message.payload.length, 1 << 20);
      assert(message.payload.every((byte) => byte === 7));
    }
  });

  for (const size of [5, 127, 129, 130, 131, 16_386, 16_387, 70_000]) {
    test(`maxPacketSize ${size}: that much and no more`, () => {
      // A PUBLISH that is `total` bytes in all.
      const sized = (total: number) => {
        for (let length = total - 5; length < total; length++) {
          const packet = frame(3, 0, [0, 1, 97], new Uint8Array(Math.max(length - 3, 0)));
          if (packet.length === total) return packet;
        }
        return undefined;
      };
      const fits = sized(size) ?? sized(size - 1)!;
      const over = sized(size + 1) ?? sized(size + 2)!;
      assertLess(size, over.length);
      const head = over.length < 130 ? 2 : over.length < 16_387 ? 3 : 4;
      for (const feeder of [copies, inPlace]) {
        const decoder = new Decoder(size);
        feedAll(feeder, decoder, fits);
        assert(decoder.next() instanceof Message);
        feedAll(feeder, decoder, over.subarray(0, head + 2));
        assertEquals(decoder.next(), undefined);
        feedAll(feeder, decoder, over.subarray(head + 2, head + 3));
        assertEquals(decoder.next(), { type: "oversized", topic: "a", size: over.length, qos: 0, packetId: 0 });
        feedAll(feeder, decoder, over.subarray(head + 3));
        assertEquals([decoder.next(), decoder.waiting], [undefined, 0]);
        feedAll(feeder, decoder, fits);
        assert(decoder.next() instanceof Message, "what comes after it is decoded");

        const other = over.slice();
        other[0] = 0x90;
        feedAll(feeder, decoder, other.subarray(0, head - 1));
        assertEquals(decoder.next(), undefined);
        feedAll(feeder, decoder, other.subarray(head - 1, head));
        const error = assertThrows(() => decoder.next(), MqttError, "maxPacketSize", "any other packet is a mistake");
        assertEquals(error.code, "overflow");
      }
    });
  }

  test("maxPacketSize of the protocol: the largest packet of all is none too large", () => {
    const decoder = new Decoder(MAX);
    decoder.receive(bytes('30 ffffff7f 0001 "a"'));
    assertEquals(decoder.next(), undefined);
    const strict = new Decoder(MAX - 1);
    strict.receive(bytes('30 ffffff7f 0001 "a"'));
    assertEquals(strict.next(), { type: "oversized", topic: "a", size: MAX, qos: 0, packetId: 0 });
    const other = new Decoder(MAX - 1);
    other.receive(bytes("90 ffffff7f"));
    assertEquals(assertThrows(() => other.next(), MqttError).code, "overflow");
  });

  test("too large and malformed: the same error at any cut", () => {
    for (const literal of ["40 03 0001 00", "d0 03 000000", '30 04 0009 "ab"', "20 82 01", '10 05 0004 "MQT"']) {
      const packet = bytes(literal);
      const codes = new Set<unknown>();
      for (let cut = 0; cut < packet.length; cut++) {
        const decoder = new Decoder(3);
        try {
          for (const chunk of [packet.slice(0, cut), packet.slice(cut)]) {
            decoder.receive(chunk);
            decoder.next();
          }
        } catch (error) {
          codes.add((error as MqttError).code);
        }
      }
      assertEquals(codes.size, 1, `${literal}: ${[...codes].join(", ")}`);
    }
  });
});

describe("decoder: a PUBLISH over maxPacketSize is passed over", () => {
  /** What a decoder with a limit gives for a packet. */
  function expected(packet: NaivePacket, max: number): unknown {
    const size = encodeNaive(packet).length;
    if (packet.type !== "PUBLISH" || size <= max) return packet;
    const { topic, qos, packetId } = packet;
    return { type: "oversized", topic, size, qos, packetId };
  }

  for (const [name, make] of Object.entries(FEEDERS)) {
    test(`any cut of a stream with several of them gives the same packets: ${name}`, () => {
      let oversized = 0;
      for (let seed = 1; seed <= 150; seed++) {
        const random = new Random(seed), feeder = make(random), max = random.pick([5, 40, 150, 1000]);
        const packets = Array.from({ length: random.int(1, 60) }, () => random.packet(random.pick([20, 300, 5000])))
          .filter((packet) => packet.type === "PUBLISH" || encodeNaive(packet).length <= max);
        const stream = join(packets.map(encodeNaive));
        const decoder = new Decoder(max), found: unknown[] = [], kept: [Message, Uint8Array][] = [];
        const longest = random.pick([1, 10, 200, 70_000]);
        for (let at = 0; at < stream.length;) {
          at += feeder.feed(decoder, stream, at, 1 + random.size(longest));
          if (at < stream.length && random.chance(0.3)) continue;
          for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
            if (packet.type === "oversized") oversized++;
            found.push(packet.type === "oversized" ? packet : plain(packet, decoder));
            if (packet instanceof Message) kept.push([packet, packet.payload.slice()]);
          }
        }
        assertEquals(found, packets.map((packet) => expected(packet, max)), `seed ${seed}`);
        assertEquals(decoder.waiting, 0, `seed ${seed}`);
        for (const [{ payload }, then] of kept) assertBytes(payload, then, `seed ${seed}: a payload has changed`);
      }
      assertGreater(oversized, 1000);
    });
  }

  test("100 MB of it, read into space() 64 KiB at a time, take no more memory than a block", () => {
    const length = 100_000_000,
      head = join([bytes("32"), Uint8Array.from(encodeLength(length)), bytes('0001 "a" 0007')]);
    const decoder = new Decoder(1 << 24);
    feedAll(inPlace, decoder, head);
    const size = head.length + length - 5;
    assertEquals(decoder.next(), { type: "oversized", topic: "a", size, qos: 1, packetId: 7 });
    const chunk = new Uint8Array(65_536).fill(0x30);
    for (let left = length - 5; left > 0;) {
      const fed = inPlace.feed(decoder, chunk, 0, Math.min(left, chunk.length));
      left -= fed;
      assertEquals([decoder.next(), decoder.waiting], [undefined, 0]);
      assertLessOrEqual(decoder.space().buffer.byteLength, 262_144);
    }
    feedAll(inPlace, decoder, bytes('30 04 0001 "b" "x"'));
    assertEquals(`${decoder.next()}`, "x");
  });

  test("chunks that are handed in are not kept", () => {
    const decoder = new Decoder(1000);
    decoder.receive(bytes('30 ffffff7f 0001 "a"'));
    assertEquals(decoder.next()?.type, "oversized");
    for (let i = 0; i < 100; i++) {
      for (let more = 0; more < 3; more++) decoder.receive(new Uint8Array(100_000));
      assertEquals([decoder.next(), decoder.waiting], [undefined, 0]);
      assertLessOrEqual(decoder.space().buffer.byteLength, 262_144);
    }
  });

  test("a head that comes byte by byte takes no more memory than it is long", () => {
    const topic = "t".repeat(65_535);
    const head = join([bytes("34 ffffff7f ffff"), new TextEncoder().encode(topic), bytes("0009")]);
    for (const feeder of [copies, inPlace]) {
      const decoder = new Decoder(100);
      for (let at = 0; at < head.length; at++) {
        assertEquals(decoder.next(), undefined);
        assertLessOrEqual(decoder.space().buffer.byteLength, 1 << 19);
        feeder.feed(decoder, head, at, 1);
      }
      assertEquals(decoder.next(), { type: "oversized", topic, size: MAX, qos: 2, packetId: 9 });
    }
  });

  const heads: [statement: string, what: string, literal: string][] = [
    ["[MQTT-1.5.3-1]", "a topic name that is not UTF-8", "30 e907 0002 c080"],
    ["[MQTT-1.5.3-1]", "a topic name with a surrogate", "30 e907 0003 eda080"],
    ["[MQTT-1.5.3-2]", "a topic name with U+0000", "30 e907 0001 00"],
    ["[MQTT-3.3.2-2]", "a topic name with a wildcard", '30 e907 0003 "a/#"'],
    ["[MQTT-4.7.3-1]", "an empty topic name", "30 e907 0000"],
    ["[MQTT-2.3.1-1]", "packet identifier 0", '32 e907 0001 "a" 0000'],
    ["[MQTT-4.8.0-1]", "a topic name that is longer than the packet", "30 e907 03e8"],
    ["[MQTT-4.8.0-1]", "no room for the packet identifier", "32 e907 03e7"],
    ["[MQTT-3.3.1-4]", "QoS 3", "36"],
    ["[MQTT-3.3.1-2]", "DUP at QoS 0", "38"],
  ];
  for (const [statement, what, literal] of heads) {
    test(`${statement} its head is checked: ${what}`, () => {
      const head = bytes(literal);
      for (const feeder of [copies, inPlace]) {
        const decoder = new Decoder(100);
        for (let at = 0; at < head.length; at++) {
          assertEquals(decoder.next(), undefined);
          feeder.feed(decoder, head, at, 1);
        }
        const error = assertThrows(() => decoder.next(), MqttError);
        assertEquals(error.code, "protocol");
        assert(error.message.endsWith(statement), error.message);

        const whole = new Decoder(100);
        feedAll(feeder, whole, join([head, new Uint8Array(1000)]));
        assertEquals(assertThrows(() => whole.next(), MqttError).message, error.message, "in one chunk with more");
      }
    });
  }

  test("[MQTT-4.8.0-1] one that has no room for a topic name", () => {
    for (const literal of ["30 00", "30 01 00", "30 01 00 30 00"]) {
      const decoder = new Decoder(1);
      decoder.receive(bytes(literal));
      assertThrows(() => decoder.next(), MqttError, "ends within a field");
    }
  });
});

test("decoder: topic and packetId belong to the last PUBLISH", () => {
  const decoder = new Decoder(MAX);
  decoder.receive(bytes('32 06 0001 "a" 000a "x"  40 02 0007  30 03 0001 "b"'));
  decoder.next();
  assertEquals([decoder.topic.name, decoder.packetId], ["a", 10]);
  decoder.next();
  assertEquals([decoder.topic.name, decoder.packetId], ["a", 10]);
  decoder.next();
  assertEquals([decoder.topic.name, decoder.packetId], ["b", 0]);
});

test("decoder: peek and waiting look ahead", () => {
  const decoder = new Decoder(MAX);
  assertEquals([decoder.waiting, decoder.peek(0)], [0, undefined]);
  decoder.receive(bytes("20 02 00"));
  assertEquals([decoder.waiting, decoder.peek(0), decoder.peek(2), decoder.peek(3)], [3, 0x20, 0, undefined]);
  decoder.receive(bytes("00 d0"));
  assertEquals(decoder.peek(4), 0xd0);
  decoder.next();
  assertEquals([decoder.waiting, decoder.peek(0)], [1, 0xd0]);
});

test("a payload that is transferred takes nothing with it but what lies beside it", () => {
  const message = bytes('30 66 0001 "a"' + ' "xxxxxxxxxx"'.repeat(9) + ' "yyyyyyyyy"');
  const take = (decoder: Decoder, parts: Uint8Array[]) => {
    let count = 0;
    for (const part of parts) {
      const space = decoder.space();
      space.set(part);
      decoder.receive(space, part.length);
      for (let packet = decoder.next(); packet !== undefined; packet = decoder.next(), count++) {
        const { payload } = packet as Message;
        structuredClone(payload, { transfer: [payload.buffer as ArrayBuffer] });
      }
    }
    return count;
  };
  assertEquals(take(new Decoder(MAX), [message, message, message]), 3);
  const error = assertThrows(() => take(new Decoder(MAX), [join([message, message])]), MqttError);
  assertEquals(error.code, "socketclosed");
  const half = [join([message, message.subarray(0, 50)]), message.subarray(50)];
  assertThrows(() => take(new Decoder(MAX), half), MqttError, "transferred");

  const stream = join([message, message, message]), decoder = new Decoder(MAX);
  decoder.receive(stream.subarray(0, 150));
  const { payload } = decoder.next() as Message;
  assertEquals(decoder.next(), undefined);
  decoder.receive(stream.subarray(150)); // the end of the second is copied, the third is not
  structuredClone(payload, { transfer: [payload.buffer as ArrayBuffer] });
  assertEquals((decoder.next() as Message).payload.length, 99);
  assertEquals(decoder.space().length, 64);
  decoder.receive(message);
  assertThrows(() => decoder.next(), MqttError, "transferred");
});
