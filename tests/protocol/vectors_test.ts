import { assert, assertEquals, assertGreaterOrEqual, assertThrows } from "@std/assert";
import { test } from "node:test";
import { disconnectReason, MqttError } from "../../src/errors.ts";
import { Decoder } from "../../src/protocol/decoder.ts";
import { encode } from "../../src/protocol/encoder.ts";
import { Output } from "../../src/protocol/output.ts";
import { Shelf, stamp } from "../../src/session/shelf.ts";
import { bytes, hex, join } from "../support/bytes.ts";
import {
  decodeNaive,
  encodeNaive,
  encodeNaive5,
  Malformed,
  NaiveConnection,
  type NaivePacket,
} from "../support/naive.ts";
import type { Version } from "../../src/protocol/packet.ts";
import { encodeMessageProperties, propertyFields } from "../../src/protocol/properties.ts";
import { concat } from "../../src/protocol/wire.ts";
import { fancy, object, plain } from "./compare.ts";
import { BAD, type Bad, GOOD, type Good } from "./vectors.ts";
import { BAD5, GOOD5 } from "./vectors5.ts";

const MAX = 268_435_460;

/** How a chunk gets into the decoder. */
type Feed = (decoder: Decoder, chunk: Uint8Array) => void;

const foreign: Feed = (decoder, chunk) => decoder.receive(chunk.slice());

const inPlace: Feed = (decoder, chunk) => {
  for (let at = 0; at < chunk.length;) {
    const space = decoder.space();
    const length = Math.min(space.length, chunk.length - at);
    space.set(chunk.subarray(at, at + length));
    decoder.receive(space, length);
    at += length;
  }
};

/** Of version 5; what none of the vectors may be over. */
const TOPIC_ALIAS_MAXIMUM = 10;

/** The packets in the chunks, and the error they end with. */
function decode(
  version: Version,
  chunks: readonly Uint8Array[],
  feed: Feed,
): { packets: NaivePacket[]; error?: unknown; fed: number } {
  const decoder = new Decoder(MAX, version, TOPIC_ALIAS_MAXIMUM);
  const packets: NaivePacket[] = [];
  let fed = 0;
  for (const chunk of chunks) {
    feed(decoder, chunk);
    fed += chunk.length;
    try {
      for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
        packets.push(plain(packet, decoder, version));
      }
    } catch (error) {
      return { packets, error, fed };
    }
  }
  return { packets, fed };
}

/** Every way to cut the bytes in two, in single bytes, and not at all; long ones at some places. */
function* cuts(all: Uint8Array): Generator<Uint8Array[]> {
  yield [all];
  yield Array.from(all, (_, i) => all.subarray(i, i + 1));
  const step = Math.ceil(all.length / 300);
  for (let at = 1; at < all.length; at += at < 8 || at > all.length - 8 ? 1 : step) {
    yield [all.subarray(0, at), all.subarray(at)];
  }
}

/** A connection of the tests' own codec. */
const connection = (version: Version) => new NaiveConnection(version, TOPIC_ALIAS_MAXIMUM);

function good(version: Version, { statement, name, bytes: literal, packet, lengthy }: Good): void {
  test(`${statement} vector: ${name}`, () => {
    const all = bytes(literal);
    const before = encodeNaive({ type: "PUBACK", packetId: 7 }), after = encodeNaive({ type: "PINGRESP" });
    assertEquals(decodeNaive(all, connection(version)), { packet, length: all.length }, "the tests' own codec");
    for (const feed of [foreign, inPlace]) {
      for (const chunks of cuts(all)) {
        const found = decode(version, chunks, feed);
        assertEquals(found.error, undefined, `cut at ${chunks[0]!.length}`);
        assertEquals(found.packets, [packet], `cut at ${chunks[0]!.length}`);
      }
      const cut = decode(version, [all.subarray(0, -1)], feed);
      assertEquals(cut, { packets: [], fed: all.length - 1 }, "without its last byte");
      const joined = decode(version, [join([before, all, all, after])], feed);
      assertEquals(joined.packets.map(({ type }) => type), ["PUBACK", packet.type, packet.type, "PINGRESP"]);
      assertEquals(joined.packets[2], packet, "after another");
    }
    if (lengthy) return;
    assertEquals(hex(version === 4 ? encodeNaive(packet) : encodeNaive5(packet)), hex(all), "the tests' own codec");
    if (packet.type !== "PUBLISH") return assertEquals(hex(encode(fancy(packet), version)), hex(all));
    const { topic, payload, qos, retain, dup, packetId, properties = [] } = packet;
    const flags = qos << 1 | (retain ? 1 : 0);
    // What the broker alone sets is not the program's to give.
    const { expiry, topicAlias, subscriptionIds, ...given } = object(properties);
    const encoded = subscriptionIds === undefined
      ? encodeMessageProperties(given, { expiry, topicAlias })
      : concat(propertyFields(3, object(properties)));
    const publish = (packer: Output | Shelf) =>
      properties.length === 0
        ? packer.publish(topic, payload, flags)
        : packer.publishWith(topic, payload, flags, encoded);
    if (qos > 0 && version === 4) {
      const shelf = new Shelf(MAX);
      const { page, start, size } = shelf.last(publish(shelf));
      stamp({ page, start, size }, packetId, { dup });
      return assertEquals(hex(page.bytes.slice(start, start + size)), hex(all));
    }
    const output = new Output(MAX, version);
    publish(output);
    const sent = output.take()!;
    if (qos > 0) {
      const at = all.indexOf(topic.length) + 1 + new TextEncoder().encode(topic).length;
      sent[0]! |= dup ? 8 : 0;
      assertEquals(sent.subarray(at, at + 2), Uint8Array.of(0, 1));
      sent.set([packetId >> 8, packetId & 255], at);
    }
    assertEquals(hex(sent), hex(all));
  });
}

function bad(version: Version, { statement, name, bytes: literal, code, found, reason }: Bad): void {
  test(`${statement} vector: ${name}`, () => {
    const all = bytes(literal), before = encodeNaive({ type: "PUBACK", packetId: 7 });
    const naive = assertThrows(() => {
      for (let length = 1; length <= all.length; length++) decodeNaive(all.subarray(0, length), connection(version));
    }, Malformed);
    assertEquals(naive.statement, statement, "the tests' own codec");
    for (const feed of [foreign, inPlace]) {
      for (const chunks of cuts(all)) {
        const { error, packets, fed } = decode(version, chunks, feed);
        assert(error instanceof MqttError, `cut at ${chunks[0]!.length}: ${error}`);
        assertEquals(error.code, code);
        assert(error.message.endsWith(statement), `"${error.message}" ends with ${statement}`);
        assertEquals(packets, []);
        if (reason !== undefined) assertEquals(disconnectReason(error), reason, "what DISCONNECT says");
        if (chunks.length === all.length) assertEquals(fed, found ?? all.length, "bytes until the mistake was found");
      }
      const joined = decode(version, [join([before, all])], feed);
      assert(joined.error instanceof MqttError);
      assertEquals(joined.packets.map(({ type }) => type), ["PUBACK"], "what came before is given");
    }
  });
}

for (const vector of GOOD) good(4, vector);
for (const vector of BAD) bad(4, vector);
for (const vector of GOOD5) good(5, vector);
for (const vector of BAD5) bad(5, vector);

test("vectors: at least 400 of version 5, all fifteen types among them, each with a reason code if it is bad", () => {
  assertGreaterOrEqual(GOOD5.length + BAD5.length, 400);
  assertEquals(new Set(GOOD5.map(({ packet }) => packet.type)).size, 15);
  const names = [...GOOD5, ...BAD5].map(({ name }) => name);
  assertEquals(new Set(names).size, names.length, "each has a name of its own");
  for (const { statement } of [...GOOD5, ...BAD5]) assert(/^\[MQTT5-\d\.\d+\.\d-\d+\]$/.test(statement), statement);
  for (const { name, reason } of BAD5) assert(reason !== undefined, name);
});

test("vectors: at least 150, all fourteen types among them", () => {
  assertGreaterOrEqual(GOOD.length + BAD.length, 150);
  assertEquals(new Set(GOOD.map(({ packet }) => packet.type)).size, 14);
  const names = [...GOOD, ...BAD].map(({ name }) => name);
  assertEquals(new Set(names).size, names.length, "each has a name of its own");
  for (const { statement } of [...GOOD, ...BAD]) assert(/^\[MQTT-\d\.\d+\.\d-\d+\]$/.test(statement), statement);
});
