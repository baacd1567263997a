import { assert, assertEquals, assertGreater, assertLessOrEqual, assertNotEquals, assertThrows } from "@std/assert";
import { describe, test } from "node:test";
import { disconnectReason, MqttError } from "../../src/errors.ts";
import { copyPayload, Message, sizeOf } from "../../src/message.ts";
import { Decoder, type OversizedPublish } from "../../src/protocol/decoder.ts";
import { assertBytes, bytes, join } from "../support/bytes.ts";
import {
  decodeNaive,
  encodeNaive5,
  Malformed,
  NaiveConnection,
  type NaivePacket,
  type Publish,
} from "../support/naive.ts";
import { encodeProperties } from "../support/naive_properties.ts";
import { Random } from "../support/random.ts";
import { plain } from "./compare.ts";

const MAX = 268_435_460;
const ALIASES = 5;

/** Feeds at most `length` bytes of `stream` from `at` on, and returns how many. */
type Feed = (decoder: Decoder, stream: Uint8Array, at: number, length: number) => number;

const copies: Feed = (decoder, stream, at, length) => {
  const chunk = stream.slice(at, at + length);
  decoder.receive(chunk);
  return chunk.length;
};

const inPlace: Feed = (decoder, stream, at, length) => {
  const space = decoder.space();
  const taken = Math.min(space.length, length, stream.length - at);
  space.set(stream.subarray(at, at + taken));
  decoder.receive(space, taken);
  return taken;
};

/** What a decoder gives for a stream that comes in random chunks, and the error it ends with. */
function decode(stream: Uint8Array, feed: Feed, random: Random, max = MAX) {
  const decoder = new Decoder(max, 5, ALIASES);
  const packets: (NaivePacket | OversizedPublish)[] = [], messages: Message[] = [];
  const longest = random.pick([1, 10, 200, 70_000]);
  try {
    for (let at = 0; at < stream.length;) {
      at += feed(decoder, stream, at, 1 + random.size(longest));
      if (at < stream.length && random.chance(0.3)) continue;
      for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
        packets.push(packet.type === "oversized" ? packet : plain(packet, decoder, 5));
        if (packet instanceof Message) messages.push(packet);
      }
    }
  } catch (error) {
    assert(error instanceof MqttError, String(error));
    return { packets, messages, decoder, error };
  }
  return { packets, messages, decoder, error: undefined };
}

/** A packet, now and then a PUBLISH that gives an alias its meaning or goes to one; what is sent, and what comes of it. */
function aliased(random: Random, topics: Map<number, string>): { sent: NaivePacket; given: NaivePacket } {
  const packet = random.packet5(random.pick([20, 300, 5000]));
  if (packet.type !== "PUBLISH" || random.chance(0.5)) return { sent: packet, given: packet };
  const alias = random.int(1, ALIASES);
  const properties = [...packet.properties!, [35, alias] as [number, number]].sort(([a], [b]) => a - b);
  const known = topics.get(alias);
  if (known !== undefined && random.chance(0.6)) {
    return { sent: { ...packet, topic: "", properties }, given: { ...packet, topic: known, properties } };
  }
  topics.set(alias, packet.topic);
  return { sent: { ...packet, properties }, given: { ...packet, properties } };
}

describe("decoder, MQTT 5: any cut of the stream gives the same packets", () => {
  for (const feed of [copies, inPlace]) {
    test(`[MQTT5-4.2-1] [MQTT5-3.3.2-10] ${feed.name}`, () => {
      for (let seed = 1; seed <= 150; seed++) {
        const random = new Random(seed), topics = new Map<number, string>();
        const all = Array.from({ length: random.int(1, 60) }, () => aliased(random, topics));
        const stream = join(all.map(({ sent }) => encodeNaive5(sent)));
        const { packets, messages, decoder, error } = decode(stream, feed, random);
        assertEquals(error, undefined, `seed ${seed}`);
        assertEquals(packets, all.map(({ given }) => given), `seed ${seed}`);
        assertEquals(decoder.waiting, 0);
        const publishes = packets.filter((packet) => packet.type === "PUBLISH") as Publish[];
        messages.forEach(({ payload }, i) => assertBytes(payload, publishes[i]!.payload, "a payload that was kept"));
      }
    });
  }

  test("with a limit: what is over it is passed over, its alias kept", () => {
    let oversized = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Random(seed), topics = new Map<number, string>(), max = random.pick([40, 150, 1000]);
      const fits = ({ sent }: { sent: NaivePacket }) => {
        if (sent.type === "PUBLISH") return encodeProperties(sent.properties).length <= max;
        return encodeNaive5(sent).length <= max;
      };
      const all: { sent: NaivePacket; given: NaivePacket }[] = [];
      for (let i = random.int(1, 60); i > 0; i--) {
        const trial = new Map(topics), one = aliased(random, trial);
        if (!fits(one)) continue;
        all.push(one);
        for (const [alias, topic] of trial) topics.set(alias, topic);
      }
      const stream = join(all.map(({ sent }) => encodeNaive5(sent)));
      const expected = all.map(({ sent, given }) => {
        const size = encodeNaive5(sent).length;
        if (given.type !== "PUBLISH" || size <= max) return given;
        return { type: "oversized", topic: given.topic, size, qos: given.qos, packetId: given.packetId };
      });
      for (const feed of [copies, inPlace]) {
        const { packets, decoder, error } = decode(stream, feed, random, max);
        assertEquals(error, undefined, `seed ${seed}`);
        assertEquals(packets as unknown[], expected, `seed ${seed}`);
        assertEquals(decoder.waiting, 0);
        oversized += packets.filter(({ type }) => type === "oversized").length;
      }
    }
    assertGreater(oversized, 1000);
  });

  test("[MQTT5-4.13.1-1] bytes that changed by chance, and noise: the verdict of the tests' own codec", () => {
    for (let seed = 1; seed <= 2000; seed++) {
      const random = new Random(seed);
      let stream = random.bytes(random.int(1, 60));
      if (seed % 4 > 0) {
        const topics = new Map<number, string>();
        stream = join(Array.from({ length: random.int(1, 5) }, () => encodeNaive5(aliased(random, topics).sent)));
        for (let i = random.int(1, 3); i > 0; i--) stream[random.int(0, stream.length - 1)] = random.int(0, 255);
      }
      const connection = new NaiveConnection(5, ALIASES), expected: NaivePacket[] = [];
      let statement: string | undefined;
      try {
        for (let at = 0;;) {
          const found = decodeNaive(stream.subarray(at), connection);
          if (found === undefined) break;
          expected.push(found.packet);
          at += found.length;
        }
      } catch (error) {
        if (!(error instanceof Malformed)) throw error;
        statement = error.statement;
      }
      for (const feed of [copies, inPlace]) {
        const { packets, error } = decode(stream, feed, random);
        assertEquals(packets as unknown[], expected, `seed ${seed}`);
        if (statement === undefined) assertEquals(error, undefined, `seed ${seed}`);
        else {
          assert(error?.message.endsWith(statement), `seed ${seed}: ${error?.message}, ${statement}`);
          assertGreater(disconnectReason(error!)!, 128);
        }
      }
    }
  });
});

describe("decoder, MQTT 5: topic aliases", () => {
  const publish = (topic: string, alias: number, more: Partial<Publish> = {}) =>
    encodeNaive5({
      type: "PUBLISH",
      topic,
      payload: new Uint8Array(1),
      qos: 0,
      retain: false,
      dup: false,
      packetId: 0,
      properties: [[35, alias]],
      ...more,
    });
  const topicOf = (decoder: Decoder, packet: Uint8Array) => {
    decoder.receive(packet);
    return (decoder.next() as Message | OversizedPublish).topic;
  };

  test("an alias with a name stands for it from then on, and goes to another one with another", () => {
    const decoder = new Decoder(MAX, 5, 65_535);
    assertEquals(topicOf(decoder, publish("a", 1)), "a");
    assertEquals(topicOf(decoder, publish("b", 65_535)), "b");
    assertEquals(topicOf(decoder, publish("", 1)), "a");
    assertEquals(decoder.topic.name, "a");
    assertEquals(topicOf(decoder, publish("c", 1)), "c");
    assertEquals(topicOf(decoder, publish("", 1)), "c");
    assertEquals(topicOf(decoder, publish("", 65_535)), "b");
    assertEquals(decoder.found.topicAlias, 65_535);
  });

  test("[MQTT5-3.3.2-7] another connection does not know it", () => {
    topicOf(new Decoder(MAX, 5, 1), publish("a", 1));
    const error = assertThrows(() => topicOf(new Decoder(MAX, 5, 1), publish("", 1)), MqttError, "stands for nothing");
    assertEquals(disconnectReason(error), 130);
  });

  test("[MQTT5-3.1.2-27] [MQTT5-3.3.2-11] without a maximum none is taken, and none over it", () => {
    const none = assertThrows(() => topicOf(new Decoder(MAX, 5), publish("a", 1)), MqttError, "[MQTT5-3.1.2-27]");
    const above = assertThrows(() => topicOf(new Decoder(MAX, 5, 4), publish("a", 5)), MqttError, "[MQTT5-3.3.2-11]");
    assertEquals([disconnectReason(none), disconnectReason(above)], [148, 148]);
  });

  test("a message that is passed over gives an alias its meaning, and goes to one", () => {
    const decoder = new Decoder(40, 5, 2), large = { payload: new Uint8Array(100), qos: 1, packetId: 7 };
    assertEquals(topicOf(decoder, publish("a", 2, large)), "a");
    assertEquals(topicOf(decoder, publish("", 2)), "a");
    decoder.receive(publish("", 2, large));
    assertEquals(decoder.next(), { type: "oversized", topic: "a", size: 110, qos: 1, packetId: 7 });
    assertEquals(topicOf(decoder, publish("", 2)), "a");
  });
});

describe("decoder, MQTT 5: sizes", () => {
  test("[MQTT5-3.1.2-24] properties over maxPacketSize are not kept: reason code 149", () => {
    const decoder = new Decoder(100, 5);
    decoder.receive(bytes('30 ffffff7f 0001 "a" f0ffff7f'));
    const error = assertThrows(() => decoder.next(), MqttError, "maxPacketSize");
    assertEquals([error.code, disconnectReason(error)], ["overflow", 149]);
    const other = new Decoder(100, 5);
    other.receive(bytes("90 ff01"));
    assertEquals(disconnectReason(assertThrows(() => other.next(), MqttError)), 149);
  });

  test("properties that come byte by byte take no more memory than they are long", () => {
    for (const feed of [copies, inPlace]) {
      const text = "x".repeat(60_000), decoder = new Decoder(70_000, 5);
      const properties = encodeProperties([[3, text]]);
      const head = join([bytes('32 ffffff7f 0001 "a" 0009'), Uint8Array.from(properties)]);
      for (let at = 0; at < head.length; at++) {
        assertEquals(decoder.next(), undefined);
        if (at % 1000 === 0) assertLessOrEqual(decoder.space().buffer.byteLength, 1 << 19);
        feed(decoder, head, at, 1);
      }
      assertEquals(decoder.next(), { type: "oversized", topic: "a", size: MAX, qos: 1, packetId: 9 });
    }
  });
});

test("decoder, MQTT 5: a million small properties take no more than their time", () => {
  // What takes the square of it would take minutes.
  const ids = new Uint8Array(2_000_000).map((_, i) => i % 2 === 0 ? 11 : 1 + i % 100);
  const pairs = new Uint8Array(1_500_000).map((_, i) => i % 5 === 0 ? 38 : 0);
  for (const [properties, name, count] of [[ids, "subscriptionIds", 1_000_000], [pairs, "user", 300_000]] as const) {
    const { length } = properties, decoder = new Decoder(MAX, 5);
    const varint = (value: number) => Uint8Array.of(value & 127 | 128, value >> 7 & 127 | 128, value >> 14);
    const head = [bytes("30"), varint(length + 6), bytes('0001 "a"'), varint(length)];
    decoder.receive(join([...head, properties]));
    const message = decoder.next() as Message;
    assertEquals(message.properties![name]!.length, count);
    assertEquals(sizeOf(message), length, "they count in what waits");
    copyPayload(message);
    assertEquals(sizeOf(message), length);
  }
});

describe("message.properties", () => {
  const user = [["b", "1"], ["a", "2"], ["b", "3"]] as const;
  const packet = encodeNaive5({
    type: "PUBLISH",
    topic: "a",
    payload: new Uint8Array(100).fill(7),
    qos: 0,
    retain: false,
    dup: false,
    packetId: 0,
    properties: [
      [1, 1],
      [2, 30],
      [3, "text/plain"],
      [8, "r"],
      [9, Uint8Array.of(1, 2)],
      [11, 5],
      [11, 3],
      ...user.map((pair) => [38, [...pair]] as [number, [string, string]]),
    ],
  });
  const expected = {
    payloadFormat: 1,
    expiry: 30,
    contentType: "text/plain",
    responseTopic: "r",
    correlation: Uint8Array.of(1, 2),
    subscriptionIds: [5, 3],
    user,
  };
  const receive = (version: 4 | 5, ...packets: Uint8Array[]) => {
    const decoder = new Decoder(MAX, version);
    decoder.receive(join(packets));
    return { decoder, message: decoder.next() as Message };
  };

  test("frozen, in order, with repetitions, and the same when asked for again", () => {
    const { message, decoder } = receive(5, packet);
    const { topicAlias, expiry, subscriptionIds } = decoder.found;
    assertEquals([topicAlias, expiry, subscriptionIds], [0, 30, [5, 3]]);
    const { properties } = message;
    assertEquals(properties as unknown, expected);
    assert(properties === message.properties);
    for (const value of [properties, properties!.user, properties!.user![0], properties!.subscriptionIds]) {
      assert(Object.isFrozen(value));
    }
  });

  test("undefined over MQTT 3.1.1, and empty without any", () => {
    assertEquals(receive(4, bytes('30 04 0001 "a" "x"')).message.properties, undefined);
    const { message, decoder } = receive(5, bytes('30 05 0001 "a" 00 "x"'));
    assertEquals([message.properties, message.text()], [{}, "x"]);
    assert(Object.isFrozen(message.properties));
    assertEquals([decoder.found.expiry, decoder.found.subscriptionIds], [undefined, []]);
  });

  test("what the last one had is not the next one's", () => {
    const { decoder } = receive(5, packet, bytes('30 05 0001 "a" 00 "x"  30 07 0001 "a" 02 01 00 "x"'));
    decoder.next();
    assertEquals([decoder.found.expiry, decoder.found.subscriptionIds], [undefined, []]);
    decoder.next();
    assertEquals([decoder.found.expiry, decoder.found.subscriptionIds], [undefined, []]);
  });

  test("they stay with a message whose payload is copied out of its block", () => {
    const { message, decoder } = receive(5, packet, packet);
    const other = decoder.next() as Message;
    copyPayload(message);
    assertEquals(message.properties as unknown, expected);
    assertEquals(message.payload, new Uint8Array(100).fill(7));
    const asked = other.properties;
    copyPayload(other);
    structuredClone(other.payload, { transfer: [other.payload.buffer as ArrayBuffer] });
    assert(other.properties === asked);
  });

  test("what was made of them is the receiver's to keep and to transfer", () => {
    const { message, decoder } = receive(5, packet, packet);
    const { correlation } = message.properties!;
    structuredClone(correlation, { transfer: [correlation!.buffer as ArrayBuffer] });
    assertEquals((decoder.next() as Message).properties as unknown, expected);
    structuredClone(message.payload, { transfer: [message.payload.buffer as ArrayBuffer] });
    assertEquals(message.properties!.contentType, "text/plain");
  });

  test("gone with the payload's memory: it is said so", () => {
    const { message } = receive(5, packet);
    structuredClone(message.payload, { transfer: [message.payload.buffer as ArrayBuffer] });
    assertThrows(() => message.properties, TypeError, "slice()");
    assertNotEquals(message.topic, "");
  });
});
