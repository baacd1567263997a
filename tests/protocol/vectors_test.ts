import { assert, assertEquals, assertGreaterOrEqual, assertThrows } from "@std/assert";
import { test } from "node:test";
import { MqttError } from "../../src/errors.ts";
import { Decoder } from "../../src/protocol/decoder.ts";
import { encode } from "../../src/protocol/encoder.ts";
import { Output } from "../../src/protocol/output.ts";
import { Shelf, stamp } from "../../src/session/shelf.ts";
import { bytes, hex, join } from "../support/bytes.ts";
import { decodeNaive, encodeNaive, Malformed, type NaivePacket } from "../support/naive.ts";
import { fancy, plain } from "./compare.ts";
import { BAD, GOOD } from "./vectors.ts";

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

/** The packets in the chunks, and the error they end with. */
function decode(chunks: readonly Uint8Array[], feed: Feed): { packets: NaivePacket[]; error?: unknown; fed: number } {
  const decoder = new Decoder(MAX);
  const packets: NaivePacket[] = [];
  let fed = 0;
  for (const chunk of chunks) {
    feed(decoder, chunk);
    fed += chunk.length;
    try {
      for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
        packets.push(plain(packet, decoder));
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

const before = encodeNaive({ type: "UNSUBACK", packetId: 7 });
const after = encodeNaive({ type: "PINGRESP" });

for (const { statement, name, bytes: literal, packet, lengthy } of GOOD) {
  test(`${statement} vector: ${name}`, () => {
    const all = bytes(literal);
    assertEquals(decodeNaive(all), { packet, length: all.length }, "the tests' own codec");
    for (const feed of [foreign, inPlace]) {
      for (const chunks of cuts(all)) {
        const found = decode(chunks, feed);
        assertEquals(found.error, undefined, `cut at ${chunks[0]!.length}`);
        assertEquals(found.packets, [packet], `cut at ${chunks[0]!.length}`);
      }
      assertEquals(decode([all.subarray(0, -1)], feed), { packets: [], fed: all.length - 1 }, "without its last byte");
      const joined = decode([join([before, all, all, after])], feed);
      assertEquals(joined.packets.map(({ type }) => type), ["UNSUBACK", packet.type, packet.type, "PINGRESP"]);
      assertEquals(joined.packets[2], packet, "after another");
    }
    if (lengthy) return;
    assertEquals(hex(encodeNaive(packet)), hex(all), "the tests' own codec");
    if (packet.type !== "PUBLISH") return assertEquals(hex(encode(fancy(packet))), hex(all));
    const { topic, payload, qos, retain, dup, packetId } = packet, flags = qos << 1 | (retain ? 1 : 0);
    if (qos > 0) {
      const shelf = new Shelf(MAX);
      const { page, start, size } = shelf.last(shelf.publish(topic, payload, flags));
      stamp({ page, start, size }, packetId, { dup });
      return assertEquals(hex(page.bytes.slice(start, start + size)), hex(all));
    }
    const output = new Output(MAX);
    output.publish(topic, payload, flags);
    assertEquals(hex(output.take()!), hex(all));
  });
}

for (const { statement, name, bytes: literal, code, found } of BAD) {
  test(`${statement} vector: ${name}`, () => {
    const all = bytes(literal);
    const naive = assertThrows(() => {
      for (let length = 1; length <= all.length; length++) decodeNaive(all.subarray(0, length));
    }, Malformed);
    assertEquals(naive.statement, statement, "the tests' own codec");
    for (const feed of [foreign, inPlace]) {
      for (const chunks of cuts(all)) {
        const { error, packets, fed } = decode(chunks, feed);
        assert(error instanceof MqttError, `cut at ${chunks[0]!.length}: ${error}`);
        assertEquals(error.code, code);
        assert(error.message.endsWith(statement), `"${error.message}" ends with ${statement}`);
        assertEquals(packets, []);
        if (chunks.length === all.length) assertEquals(fed, found ?? all.length, "bytes until the mistake was found");
      }
      const joined = decode([join([before, all])], feed);
      assert(joined.error instanceof MqttError);
      assertEquals(joined.packets, [{ type: "UNSUBACK", packetId: 7 }], "what came before is given");
    }
  });
}

test("vectors: at least 150, all fourteen types among them", () => {
  assertGreaterOrEqual(GOOD.length + BAD.length, 150);
  assertEquals(new Set(GOOD.map(({ packet }) => packet.type)).size, 14);
  const names = [...GOOD, ...BAD].map(({ name }) => name);
  assertEquals(new Set(names).size, names.length, "each has a name of its own");
  for (const { statement } of [...GOOD, ...BAD]) assert(/^\[MQTT-\d\.\d+\.\d-\d+\]$/.test(statement), statement);
});
