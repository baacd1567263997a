/** Packets of MQTT 5 that are right. */
import type { NaivePacket, Publish } from "../support/naive.ts";
import type { NaiveProperty } from "../support/naive_properties.ts";

const utf8 = new TextEncoder();

function publish(topic: string, payload: string, more: Partial<Publish> = {}): Publish {
  const nothing = { qos: 0, retain: false, dup: false, packetId: 0, properties: [] };
  return { type: "PUBLISH", topic, payload: utf8.encode(payload), ...nothing, ...more };
}

function connect(id: string, more: Partial<NaivePacket & { type: "CONNECT" }> = {}): NaivePacket {
  const nothing = { will: undefined, uname: undefined, passwd: undefined, properties: [] };
  return { type: "CONNECT", id, keepalive: 60, cleanSession: true, ...nothing, ...more };
}

function subscribe(topic: string, qos: number, more: object = {}): NaivePacket {
  const options = { noLocal: false, retainAsPublished: false, retainHandling: 0, ...more };
  return { type: "SUBSCRIBE", packetId: 1, filters: [{ topic, qos, ...options }], properties: [] };
}

const none: NaiveProperty[] = [];

export const goodPackets: [statement: string, name: string, bytes: string, packet: NaivePacket, lengthy?: "lengthy"][] =
  [
    // CONNECT
    ["3.1.0-1", "CONNECT", '10 0f 0004 "MQTT" 05 02 003c 00 0002 "ID"', connect("ID")],
    [
      "3.1.2-4",
      "CONNECT without clean start",
      '10 0e 0004 "MQTT" 05 00 003c 00 0001 "i"',
      connect("i", { cleanSession: false }),
    ],
    ["3.1.3-6", "CONNECT with an empty client identifier", '10 0d 0004 "MQTT" 05 02 003c 00 0000', connect("")],
    [
      "3.1.3-3",
      "CONNECT with an empty client identifier, not clean",
      '10 0d 0004 "MQTT" 05 00 003c 00 0000',
      connect("", { cleanSession: false }),
    ],
    [
      "3.1.2-17",
      "CONNECT with a user name",
      '10 11 0004 "MQTT" 05 82 003c 00 0001 "i" 0001 "U"',
      connect("i", { uname: utf8.encode("U") }),
    ],
    [
      "3.1.2-19",
      "CONNECT with a password and no user name",
      '10 11 0004 "MQTT" 05 42 003c 00 0001 "i" 0001 "P"',
      connect("i", { passwd: utf8.encode("P") }),
    ],
    [
      "3.1.3-12",
      "CONNECT with a user name beyond ASCII",
      '10 12 0004 "MQTT" 05 82 003c 00 0001 "i" 0002 c3a9',
      connect("i", { uname: utf8.encode("é") }),
    ],
    [
      "3.1.3-4",
      "CONNECT with a client identifier beyond ASCII",
      '10 0f 0004 "MQTT" 05 02 003c 00 0002 c3a9',
      connect("é"),
    ],
    [
      "3.1.2-9",
      "CONNECT with a will",
      '10 15 0004 "MQTT" 05 06 003c 00 0001 "i" 00 0001 "w" 0001 "m"',
      connect("i", { will: { topic: "w", message: utf8.encode("m"), qos: 0, retain: false, properties: none } }),
    ],
    [
      "3.1.2-12",
      "CONNECT with a will of QoS 2, retained",
      '10 15 0004 "MQTT" 05 36 003c 00 0001 "i" 00 0001 "w" 0001 "m"',
      connect("i", { will: { topic: "w", message: utf8.encode("m"), qos: 2, retain: true, properties: none } }),
    ],
    [
      "3.1.3-11",
      "CONNECT with a will topic beyond ASCII",
      '10 16 0004 "MQTT" 05 06 003c 00 0001 "i" 00 0002 c3a9 0001 "m"',
      connect("i", { will: { topic: "é", message: utf8.encode("m"), qos: 0, retain: false, properties: none } }),
    ],
    [
      "3.1.3-1",
      "CONNECT with every field",
      '10 2c 0004 "MQTT" 05 c6 003c 05 11 0000003c 0001 "i" 0c 18 0000000a 26 0001 "k" 0001 "v" 0001 "w" 0001 "m" 0001 "U" 0001 "P"',
      connect("i", {
        properties: [[17, 60]],
        will: {
          topic: "w",
          message: utf8.encode("m"),
          qos: 0,
          retain: false,
          properties: [[24, 10], [38, ["k", "v"]]],
        },
        uname: utf8.encode("U"),
        passwd: utf8.encode("P"),
      }),
    ],
    ["3.1.2-16", "CONNECT without user name and password", '10 0e 0004 "MQTT" 05 02 003c 00 0001 "i"', connect("i")],
    [
      "3.1.2-18",
      "CONNECT with a user name of no bytes and no password",
      '10 10 0004 "MQTT" 05 82 003c 00 0001 "i" 0000',
      connect("i", { uname: new Uint8Array(0) }),
    ],
    // CONNACK
    ["3.2.0-1", "CONNACK that accepts", "20 03 00 00 00", {
      type: "CONNACK",
      sessionPresent: false,
      code: 0,
      properties: none,
    }],
    ["3.2.2-3", "CONNACK with a session", "20 03 01 00 00", {
      type: "CONNACK",
      sessionPresent: true,
      code: 0,
      properties: none,
    }],
    ...[128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 140, 144, 149, 151, 153, 154, 155, 156, 157, 159].map((
      code,
    ) =>
      ["3.2.2-8", `CONNACK with reason code ${code}`, `20 03 00 ${code.toString(16)} 00`, {
        type: "CONNACK",
        sessionPresent: false,
        code,
        properties: none,
      }] as [string, string, string, NaivePacket]
    ),
    // PUBLISH
    ["2.2.2-1", "PUBLISH without properties", '30 08 0003 "a/b" 00 "hi"', publish("a/b", "hi")],
    ["2.2.1-2", "PUBLISH at QoS 0 has no packet identifier", '30 06 0001 "a" 00 0001', publish("a", "\0\x01")],
    ["3.3.2-1", "PUBLISH without payload", '31 04 0001 "a" 00', publish("a", "", { retain: true })],
    ["2.2.1-4", "PUBLISH at QoS 1", '32 07 0001 "a" 000a 00 "x"', publish("a", "x", { qos: 1, packetId: 10 })],
    [
      "3.3.1-1",
      "PUBLISH at QoS 2 again",
      '3d 07 0001 "a" 000a 00 "x"',
      publish("a", "x", { qos: 2, packetId: 10, dup: true, retain: true }),
    ],
    [
      "3.3.2-18",
      "PUBLISH at QoS 1 with user properties in order",
      '32 16 0001 "a" 000a 0f 26 0001 "b" 0002 "xy" 26 0001 "a" 0001 "z" "x"',
      publish("a", "x", { qos: 1, packetId: 10, properties: [[38, ["b", "xy"]], [38, ["a", "z"]]] }),
    ],
    [
      "3.3.2-17",
      "PUBLISH with a property before others of smaller identifiers",
      '30 0e 0001 "a" 0a 26 0000 0000 02 00000001',
      publish("a", "", { properties: [[2, 1], [38, ["", ""]]] }),
      "lengthy",
    ],
    [
      "1.5.4-3",
      "PUBLISH with U+FEFF in its properties",
      '30 0a 0001 "a" 06 03 0003 efbbbf',
      publish("a", "", { properties: [[3, "\ufeff"]] }),
    ],
    [
      "1.5.5-1",
      "PUBLISH with the largest subscription identifier",
      '30 0a 0001 "a" 05 0b ffffff7f "x"',
      publish("a", "x", { properties: [[11, 268_435_455]] }),
    ],
    [
      "3.3.4-4",
      "PUBLISH with several subscription identifiers",
      '30 0c 0001 "a" 07 0b 02 0b 01 0b 8001 "x"',
      publish("a", "x", { properties: [[11, 2], [11, 1], [11, 128]] }),
      "lengthy",
    ],
    [
      "3.3.2-4",
      "PUBLISH with payload format 0",
      '30 07 0001 "a" 02 01 00 "x"',
      publish("a", "x", { properties: [[1, 0]] }),
    ],
    [
      "1.5.5-1",
      "PUBLISH whose properties' length takes two bytes",
      '30 8c 01 0001 "a" 8601 03 0083 "x"*131 "y"',
      publish("a", "y", { properties: [[3, "x".repeat(131)]] }),
    ],
    [
      "3.3.2-6",
      "PUBLISH with an expiry of 0",
      '30 0a 0001 "a" 05 02 00000000 "x"',
      publish("a", "x", { properties: [[2, 0]] }),
    ],
    // Acknowledgements
    ...[["40", "PUBACK", "3.4.2-1"], ["50", "PUBREC", "3.5.2-1"], ["62", "PUBREL", "3.6.2-1"], [
      "70",
      "PUBCOMP",
      "3.7.2-1",
    ]].flatMap(([first, type, statement]) => {
      const packet = (code: number, properties = none) => ({ type, packetId: 0x0102, code, properties }) as NaivePacket;
      const codes = type === "PUBACK" || type === "PUBREC" ? [16, 128, 131, 135, 144, 145, 151, 153] : [146];
      return [
        [statement, `${type} of two bytes`, `${first} 02 0102`, packet(0)],
        [statement, `${type} with reason code 0`, `${first} 03 0102 00`, packet(0), "lengthy"],
        [statement, `${type} with reason code 0 and no properties`, `${first} 04 0102 00 00`, packet(0), "lengthy"],
        ...codes.map((
          code,
        ) => [statement, `${type} with reason code ${code}`, `${first} 03 0102 ${code.toString(16)}`, packet(code)]),
        [
          statement,
          `${type} with reason code ${codes[0]} and no properties`,
          `${first} 04 0102 ${codes[0]!.toString(16)} 00`,
          packet(codes[0]!),
          "lengthy",
        ],
        [
          statement,
          `${type} with a reason`,
          `${first} 08 0102 ${codes[0]!.toString(16)} 04 1f 0001 "r"`,
          packet(codes[0]!, [[31, "r"]]),
        ],
      ] as [string, string, string, NaivePacket, "lengthy"?][];
    }),
    // SUBSCRIBE and SUBACK
    ["3.8.3-1", "SUBSCRIBE", '82 07 0001 00 0001 "a" 01', subscribe("a", 1)],
    ["3.8.3-3", "SUBSCRIBE with no local", '82 07 0001 00 0001 "a" 05', subscribe("a", 1, { noLocal: true })],
    [
      "3.3.1-13",
      "SUBSCRIBE with retain as published",
      '82 07 0001 00 0001 "a" 0a',
      subscribe("a", 2, { retainAsPublished: true }),
    ],
    [
      "3.3.1-10",
      "SUBSCRIBE with retain handling 1",
      '82 07 0001 00 0001 "a" 10',
      subscribe("a", 0, { retainHandling: 1 }),
    ],
    [
      "3.3.1-11",
      "SUBSCRIBE with retain handling 2, and all options",
      '82 07 0001 00 0001 "#" 2e',
      subscribe("#", 2, { noLocal: true, retainAsPublished: true, retainHandling: 2 }),
    ],
    ["4.8.2-1", "SUBSCRIBE to a shared subscription", '82 10 0001 00 000a "$share/g/a" 01', subscribe("$share/g/a", 1)],
    [
      "4.8.2-2",
      "SUBSCRIBE to a shared subscription with wildcards",
      '82 12 0001 00 000c "$share/g/+/#" 01',
      subscribe("$share/g/+/#", 1),
    ],
    [
      "4.8.2-2",
      "SUBSCRIBE to a shared subscription of a slash",
      '82 10 0001 00 000a "$share/g//" 01',
      subscribe("$share/g//", 1),
    ],
    ...[0, 1, 2, 128, 131, 135, 143, 145, 151, 158, 161, 162].map((code) =>
      ["3.9.3-2", `SUBACK with reason code ${code}`, `90 04 0001 00 ${code.toString(16).padStart(2, "0")}`, {
        type: "SUBACK",
        packetId: 1,
        codes: [code],
        properties: none,
      }] as [string, string, string, NaivePacket]
    ),
    ["3.9.3-1", "SUBACK with several codes", "90 06 0001 00 02 80 00", {
      type: "SUBACK",
      packetId: 1,
      codes: [2, 128, 0],
      properties: none,
    }],
    ["3.10.3-1", "UNSUBSCRIBE", 'a2 09 0001 00 0001 "a" 0001 "#"', {
      type: "UNSUBSCRIBE",
      packetId: 1,
      filters: ["a", "#"],
      properties: none,
    }],
    ...[0, 17, 128, 131, 135, 143, 145].map((code) =>
      ["3.11.3-2", `UNSUBACK with reason code ${code}`, `b0 04 0001 00 ${code.toString(16).padStart(2, "0")}`, {
        type: "UNSUBACK",
        packetId: 1,
        codes: [code],
        properties: none,
      }] as [string, string, string, NaivePacket]
    ),
    ["3.11.3-1", "UNSUBACK with several codes", "b0 05 0001 00 11 00", {
      type: "UNSUBACK",
      packetId: 1,
      codes: [17, 0],
      properties: none,
    }],
    // PINGREQ, PINGRESP, DISCONNECT, AUTH
    ["3.12.4-1", "PINGREQ", "c0 00", { type: "PINGREQ" }],
    ["3.12.4-1", "PINGRESP", "d0 00", { type: "PINGRESP" }],
    ["3.14.2-1", "DISCONNECT of no bytes", "e0 00", { type: "DISCONNECT", code: 0, properties: none }],
    [
      "3.14.2-1",
      "DISCONNECT with reason code 0",
      "e0 01 00",
      { type: "DISCONNECT", code: 0, properties: none },
      "lengthy",
    ],
    ["3.14.2-1", "DISCONNECT with reason code 0 and no properties", "e0 02 00 00", {
      type: "DISCONNECT",
      code: 0,
      properties: none,
    }, "lengthy"],
    ...[
      4,
      128,
      129,
      130,
      131,
      135,
      137,
      139,
      141,
      142,
      143,
      144,
      147,
      148,
      149,
      150,
      151,
      152,
      153,
      154,
      155,
      156,
      157,
      158,
      159,
      160,
      161,
      162,
    ].map((code) =>
      ["3.14.2-1", `DISCONNECT with reason code ${code}`, `e0 01 ${code.toString(16).padStart(2, "0")}`, {
        type: "DISCONNECT",
        code,
        properties: none,
      }] as [string, string, string, NaivePacket]
    ),
    ["3.15.2-1", "AUTH of no bytes", "f0 00", { type: "AUTH", code: 0, properties: none }],
    ["3.15.2-1", "AUTH with reason code 0", 'f0 06 00 04 15 0001 "m"', {
      type: "AUTH",
      code: 0,
      properties: [[21, "m"]],
    }],
    ["3.15.2-1", "AUTH with reason code 25", 'f0 06 19 04 15 0001 "m"', {
      type: "AUTH",
      code: 25,
      properties: [[21, "m"]],
    }],
  ];
