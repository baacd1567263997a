import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, test } from "node:test";
import { countPackets, Output } from "../../src/protocol/output.ts";
import { PUBLISH, SUBSCRIBE, WILL } from "../../src/protocol/packet.ts";
import { encodeMessageProperties, propertyFields } from "../../src/protocol/properties.ts";
import { concat } from "../../src/protocol/wire.ts";
import { bytes, hex, join } from "../support/bytes.ts";
import { decodeNaive, NaiveConnection, type Publish } from "../support/naive.ts";

// deno-lint-ignore no-explicit-any
const encode = (given: any, added = {}, type: 0 | 3 = PUBLISH) => hex(encodeMessageProperties(given, added, type));

describe("properties that the program gives", () => {
  test("what is undefined is not given; none at all are one byte", () => {
    assertEquals(encode({}), "00");
    assertEquals(encode({ contentType: undefined, user: undefined }), "00");
    assertEquals(encode({ user: [] }), "00");
  });

  test("in the order of their identifiers, user properties in their own", () => {
    const given = {
      user: [["b", "1"], ["a", "é"]],
      correlation: Uint8Array.of(9),
      responseTopic: "r",
      contentType: "t",
      payloadFormat: 1,
    };
    const expected =
      '22 01 01 02 0000003c 03 0001 "t" 08 0001 "r" 09 0001 09 26 0001 "b" 0001 "1" 26 0001 "a" 0002 c3a9';
    assertEquals(encode(given, { expiry: 60 }), hex(bytes(expected)));
    assertEquals(encode({}, { topicAlias: 258 }), "03 23 01 02");
    assertEquals(encode({}, { willDelay: 1, expiry: 2 }, WILL), "0a 02 00 00 00 02 18 00 00 00 01");
  });

  const wrong: [what: string, given: unknown, error: typeof TypeError | typeof RangeError, says: string][] = [
    [
      "a payload format of 2",
      { payloadFormat: 2 },
      RangeError,
      "properties.payloadFormat as it must be a whole number of 0 to 1",
    ],
    ["a payload format that is true", { payloadFormat: true }, TypeError, "properties.payloadFormat"],
    ["a content type that is a number", { contentType: 5 }, TypeError, "properties.contentType as it must be a string"],
    ["a content type with U+0000", { contentType: "\0" }, TypeError, "properties.contentType"],
    ["a content type with a lone surrogate", { contentType: "\ud800" }, TypeError, "properties.contentType"],
    ["a content type of 70,000 letters", { contentType: "x".repeat(70_000) }, RangeError, "properties.contentType"],
    ["a response topic with a wildcard", { responseTopic: "a/#" }, TypeError, "properties.responseTopic"],
    ["an empty response topic", { responseTopic: "" }, TypeError, "properties.responseTopic"],
    [
      "a correlation that is text",
      { correlation: "x" },
      TypeError,
      "properties.correlation as it must be a Uint8Array",
    ],
    ["a correlation of 70,000 bytes", { correlation: new Uint8Array(70_000) }, RangeError, "properties.correlation"],
    ["user properties in an object", { user: { a: "b" } }, TypeError, '[["name", "value"]]'],
    ["a user property that is text", { user: ["ab"] }, TypeError, '[["name", "value"]]'],
    ["a user property of three", { user: [["a", "b", "c"]] }, TypeError, '[["name", "value"]]'],
    ["a user property with a hole", { user: [, ["a", "b"]] }, TypeError, '[["name", "value"]]'],
    ["a user property's value that is a number", { user: [["a", 1]] }, TypeError, "a value in properties.user"],
    ["a user property's name that is none", { user: [[null, "b"]] }, TypeError, "a name in properties.user"],
    ["null", { contentType: null }, TypeError, "leave it out"],
    ["no object", "text", TypeError, "properties as it must be an object"],
    ["null for all", null, TypeError, "leave it out"],
    [
      "a name with a letter missing",
      { contenttype: "x", contentTyp: "x" },
      TypeError,
      "did you mean properties.contentType?",
    ],
    ["MQTT.js's user properties", { userProperties: {} }, TypeError, "use properties.user"],
    ["MQTT.js's correlation data", { correlationData: "" }, TypeError, "use properties.correlation"],
    ["MQTT.js's payload format", { payloadFormatIndicator: true }, TypeError, "use properties.payloadFormat"],
    ["an expiry", { expiry: 5 }, TypeError, "an option beside properties"],
    ["subscription identifiers", { subscriptionIds: [1] }, TypeError, "the broker sets them"],
    ["a topic alias", { topicAlias: 1 }, TypeError, "the client sets it itself"],
    ["one of CONNACK", { receiveMaximum: 1 }, TypeError, "it has properties.payloadFormat"],
  ];
  for (const [what, given, error, says] of wrong) {
    test(`refused: ${what}`, () => {
      assert(assertThrows(() => encode(given), error).message.includes(says), says);
    });
  }

  test("[MQTT5-3.3.4-6] a list of subscription identifiers is for PUBLISH of a broker, one for SUBSCRIBE", () => {
    assertEquals(hex(concat(propertyFields(SUBSCRIBE, { subscriptionIds: [128] }))), "03 0b 80 01");
    assertThrows(() => propertyFields(SUBSCRIBE, { subscriptionIds: [1, 2] }), TypeError, "a list of one");
    assertThrows(() => propertyFields(SUBSCRIBE, { subscriptionIds: [0] }), RangeError, "1 to 268435455");
    assertThrows(() => encode({ subscriptionIds: [1] }), TypeError);
  });

  test("of a will, the names are the will's", () => {
    assertThrows(() => encode({ contentType: 1 }, {}, WILL), TypeError, "will.properties.contentType");
    assertThrows(() => encode({ contentTyp: 1 }, {}, WILL), TypeError, "did you mean will.properties.contentType?");
  });
});

describe("output, MQTT 5", () => {
  const drain = (output: Output) => {
    const parts: Uint8Array[] = [];
    for (let part = output.take(); part !== undefined; part = output.take()) {
      parts.push(part.slice());
      output.written();
    }
    return join(parts);
  };

  test("[MQTT5-2.2.2-1] a PUBLISH without properties has one byte more, whatever its payload", () => {
    const output = new Output(1 << 20, 5);
    for (const payload of ["", "x", "é", "x".repeat(100), "é".repeat(100), "x".repeat(300_000)]) {
      for (const topic of ["a", "a/b", "a/bc", "a/bcd", "é", "t".repeat(300)]) {
        for (const message of [payload, new TextEncoder().encode(payload)]) {
          for (const flags of [0, 1, 2]) {
            const size = output.publish(topic, message, flags), sent = drain(output);
            assertEquals(sent.length, size);
            const { packet, length } = decodeNaive(sent, new NaiveConnection(5))!;
            const { topic: to, payload: bytes, properties } = packet as Publish;
            assertEquals([to, new TextDecoder().decode(bytes), properties, length], [topic, payload, [], size]);
          }
        }
      }
    }
  });

  test("[MQTT5-3.4.2-1] acknowledgements: four bytes, five with a reason code", () => {
    const output = new Output(1 << 20, 5);
    output.acknowledge(4, 0x0102);
    output.acknowledge(5, 1, 131);
    output.acknowledge(6, 2, 146);
    output.acknowledge(7, 3, 0);
    assertEquals(hex(drain(output)), hex(bytes("40 02 0102 50 03 0001 83 62 03 0002 92 70 02 0003")));
  });

  test("they are a flood when no broker that reads can want so many, of five bytes", () => {
    const output = new Output(10, 5);
    for (let size = 5; size <= 10 + 5 * 65_535 + 262_144; size += 5) output.acknowledge(4, 1, 128);
    assertEquals(output.isFlooded, false);
    output.acknowledge(4, 1, 128);
    assertEquals(output.isFlooded, true);
  });

  test("another connection: messages of QoS 0 stay, with their properties; the packets are counted", () => {
    const output = new Output(1 << 20, 5), properties = encodeMessageProperties({ user: [["a", "b"]] });
    output.publishWith("a", "1", 0, properties);
    output.acknowledge(4, 1, 16);
    output.publishWith("a", "2", 2, properties);
    output.publish("a", "é", 1);
    assertEquals(output.restart(), 2);
    const block = output.take()!;
    assertEquals([countPackets(block, 3), countPackets(block, 4)], [2, 0]);
    assertEquals(hex(block), hex(bytes('30 0c 0001 "a" 07 26 0001 "a" 0001 "b" "1" 31 06 0001 "a" 00 c3a9')));
  });

  test("[MQTT5-4.7.0-1] with properties, wrong arguments throw as without, and nothing is added", () => {
    const output = new Output(1 << 20, 5), properties = encodeMessageProperties({});
    assertThrows(() => output.publishWith("#", "x", 0, properties), TypeError, "wildcard");
    assertThrows(() => output.publishWith("a", 5 as unknown as string, 0, properties), TypeError, "must be a string");
    assertEquals(output.buffered, 0);
  });
});
