/**
 * Packets of MQTT 3.1.1 as bytes, good and bad, with the statement of the specification each is
 * about. Text in quotes stands for its ASCII bytes, `"x"*3` for "xxx".
 */
import type { NaivePacket, Publish } from "../support/naive.ts";

export interface Good {
  name: string;
  /** The statement it shows, as `[MQTT-x.x.x-y]`, or the section. */
  statement: string;
  bytes: string;
  packet: NaivePacket;
  /** Nobody encodes it so: its remaining length takes more bytes than it needs, its properties are in another order, or a field is there that may be left out. */
  lengthy?: true;
}

export interface Bad {
  name: string;
  /** The statement it breaks, which the error's message ends with. */
  statement: string;
  bytes: string;
  code: "protocol" | "unknowncp";
  /** With how many bytes the mistake is found; the fixed header's at once, others with the whole packet. */
  found?: number;
  /** In version 5, the reason code that DISCONNECT has for it. */
  reason?: number;
}

const utf8 = new TextEncoder();

function publish(topic: string, payload: string | Uint8Array, more: Partial<Publish> = {}): Publish {
  return {
    type: "PUBLISH",
    topic,
    payload: typeof payload === "string" ? utf8.encode(payload) : payload,
    qos: 0,
    retain: false,
    dup: false,
    packetId: 0,
    ...more,
  };
}

function connect(id: string, more: Partial<NaivePacket & { type: "CONNECT" }> = {}): NaivePacket {
  const nothing = { will: undefined, uname: undefined, passwd: undefined };
  return { type: "CONNECT", id, keepalive: 60, cleanSession: true, ...nothing, ...more };
}

function subscribe(packetId: number, ...filters: [string, number][]): NaivePacket {
  return { type: "SUBSCRIBE", packetId, filters: filters.map(([topic, qos]) => ({ topic, qos })) };
}

function will(topic: string, message: string, qos = 0, retain = false) {
  return { topic, message: utf8.encode(message), qos, retain };
}

const good: [statement: string, name: string, bytes: string, packet: NaivePacket, lengthy?: "lengthy"][] = [
  // CONNECT
  [
    "[MQTT-3.1.0-1]",
    "CONNECT of the reference",
    '10 0e 0004 "MQTT" 04 02 003c 0002 "ID"',
    connect("ID"),
  ],
  [
    "[MQTT-3.1.2-19]",
    "CONNECT with a user name",
    '10 11 0004 "MQTT" 04 82 003c 0002 "ID" 0001 "U"',
    connect("ID", { uname: utf8.encode("U") }),
  ],
  [
    "[MQTT-3.1.2-21]",
    "CONNECT with user name and password",
    '10 14 0004 "MQTT" 04 c2 003c 0002 "ID" 0001 "U" 0001 "P"',
    connect("ID", { uname: utf8.encode("U"), passwd: utf8.encode("P") }),
  ],
  [
    "[MQTT-3.1.2-9]",
    "CONNECT with a will",
    '10 19 0004 "MQTT" 04 06 003c 0002 "ID" 0003 "W/t" 0004 "gone"',
    connect("ID", { will: will("W/t", "gone") }),
  ],
  [
    "[MQTT-3.1.3-1]",
    "CONNECT with every field, in order",
    '10 1f 0004 "MQTT" 04 c6 003c 0002 "ID" 0003 "W/t" 0004 "gone" 0001 "U" 0001 "P"',
    connect("ID", { will: will("W/t", "gone"), uname: utf8.encode("U"), passwd: utf8.encode("P") }),
  ],
  [
    "[MQTT-3.1.2-14]",
    "CONNECT with a will of QoS 1",
    '10 13 0004 "MQTT" 04 0e 003c 0001 "i" 0001 "w" 0001 "m"',
    connect("i", { will: will("w", "m", 1) }),
  ],
  [
    "[MQTT-3.1.2-14]",
    "CONNECT with a will of QoS 2, retained",
    '10 13 0004 "MQTT" 04 36 003c 0001 "i" 0001 "w" 0001 "m"',
    connect("i", { will: will("w", "m", 2, true) }),
  ],
  [
    "[MQTT-3.1.2-9]",
    "CONNECT with a will of no bytes",
    '10 12 0004 "MQTT" 04 06 003c 0001 "i" 0001 "w" 0000',
    connect("i", { will: will("w", "") }),
  ],
  [
    "[MQTT-3.1.3-7]",
    "CONNECT with an empty client identifier and clean session",
    '10 0c 0004 "MQTT" 04 02 003c 0000',
    connect(""),
  ],
  [
    "[MQTT-3.1.2-4]",
    "CONNECT without clean session",
    '10 0d 0004 "MQTT" 04 00 003c 0001 "i"',
    connect("i", { cleanSession: false }),
  ],
  [
    "[MQTT-3.1.2-23]",
    "CONNECT with keep alive off",
    '10 0d 0004 "MQTT" 04 02 0000 0001 "i"',
    connect("i", { keepalive: 0 }),
  ],
  [
    "[MQTT-3.1.2-23]",
    "CONNECT with the longest keep alive",
    '10 0d 0004 "MQTT" 04 02 ffff 0001 "i"',
    connect("i", { keepalive: 65_535 }),
  ],
  [
    "[MQTT-3.1.3-5]",
    "CONNECT with a client identifier of 23 characters",
    '10 23 0004 "MQTT" 04 02 003c 0017 "0123456789abcdefghijABC"',
    connect("0123456789abcdefghijABC"),
  ],
  [
    "[MQTT-3.1.3-4]",
    "CONNECT with a client identifier beyond ASCII",
    '10 0e 0004 "MQTT" 04 02 003c 0002 c3a9',
    connect("é"),
  ],
  [
    "[MQTT-3.1.3-10]",
    "CONNECT with a will topic beyond ASCII",
    '10 14 0004 "MQTT" 04 06 003c 0001 "i" 0002 c3a9 0001 "m"',
    connect("i", { will: will("é", "m") }),
  ],
  [
    "[MQTT-3.1.3-11]",
    "CONNECT with a user name beyond ASCII",
    '10 12 0004 "MQTT" 04 82 003c 0001 "i" 0003 e282ac',
    connect("i", { uname: utf8.encode("€") }),
  ],
  [
    "[MQTT-3.1.2-21]",
    "CONNECT with empty user name and password",
    '10 11 0004 "MQTT" 04 c2 003c 0001 "i" 0000 0000',
    connect("i", { uname: new Uint8Array(0), passwd: new Uint8Array(0) }),
  ],
  [
    "[MQTT-3.1.2-21]",
    "CONNECT with a password that is not UTF-8",
    '10 14 0004 "MQTT" 04 c2 003c 0001 "i" 0001 "U" 0002 ff00',
    connect("i", { uname: utf8.encode("U"), passwd: Uint8Array.of(255, 0) }),
  ],
  [
    "[MQTT-3.1.3-3]",
    "CONNECT with a client identifier of 300 characters",
    '10 b8 02 0004 "MQTT" 04 02 003c 012c "x"*300',
    connect("x".repeat(300)),
  ],

  // CONNACK
  ["[MQTT-3.2.0-1]", "CONNACK that accepts", "20 02 00 00", { type: "CONNACK", sessionPresent: false, code: 0 }],
  ["[MQTT-3.2.2-2]", "CONNACK with a session", "20 02 01 00", { type: "CONNACK", sessionPresent: true, code: 0 }],
  ["[MQTT-3.1.2-2]", "CONNACK code 1", "20 02 00 01", { type: "CONNACK", sessionPresent: false, code: 1 }],
  ["[MQTT-3.1.3-9]", "CONNACK code 2", "20 02 00 02", { type: "CONNACK", sessionPresent: false, code: 2 }],
  ["[MQTT-3.2.2-5]", "CONNACK code 3", "20 02 00 03", { type: "CONNACK", sessionPresent: false, code: 3 }],
  ["[MQTT-3.2.2-5]", "CONNACK code 4", "20 02 00 04", { type: "CONNACK", sessionPresent: false, code: 4 }],
  ["[MQTT-3.2.2-5]", "CONNACK code 5", "20 02 00 05", { type: "CONNACK", sessionPresent: false, code: 5 }],

  // PUBLISH
  ["[MQTT-4.3.1-1]", "PUBLISH of the reference", '30 07 0003 "a/b" "hi"', publish("a/b", "hi")],
  ["[MQTT-2.3.1-5]", "PUBLISH at QoS 0 has no packet identifier", '30 05 0001 "a" 0001', publish("a", "\0\x01")],
  ["[MQTT-3.3.2-1]", "PUBLISH without payload", '30 05 0003 "a/b"', publish("a/b", "")],
  ["[MQTT-3.3.1-8]", "PUBLISH retained", '31 04 0001 "a" "x"', publish("a", "x", { retain: true })],
  ["[MQTT-3.3.1-10]", "PUBLISH retained without payload", '31 03 0001 "a"', publish("a", "", { retain: true })],
  ["[MQTT-2.3.1-1]", "PUBLISH at QoS 1", '32 06 0001 "a" 000a "x"', publish("a", "x", { qos: 1, packetId: 10 })],
  [
    "[MQTT-3.3.1-1]",
    "PUBLISH at QoS 1 again",
    '3a 06 0001 "a" 000a "x"',
    publish("a", "x", { qos: 1, packetId: 10, dup: true }),
  ],
  [
    "[MQTT-3.3.1-8]",
    "PUBLISH at QoS 1, retained",
    '33 05 0001 "a" 0001',
    publish("a", "", { qos: 1, packetId: 1, retain: true }),
  ],
  [
    "[MQTT-2.3.1-1]",
    "PUBLISH at QoS 2",
    '34 06 0001 "a" ffff "x"',
    publish("a", "x", { qos: 2, packetId: 65_535 }),
  ],
  [
    "[MQTT-3.3.1-1]",
    "PUBLISH at QoS 2 again, retained",
    '3d 06 0001 "a" 0100 "x"',
    publish("a", "x", { qos: 2, packetId: 256, dup: true, retain: true }),
  ],
  [
    "[MQTT-3.3.1-4]",
    "PUBLISH at QoS 2 without payload",
    '34 05 0001 "a" 0001',
    publish("a", "", { qos: 2, packetId: 1 }),
  ],
  [
    "[MQTT-3.3.2-1]",
    "PUBLISH with a payload that is not UTF-8",
    '30 06 0001 "a" ff fe 00',
    publish("a", Uint8Array.of(255, 254, 0)),
  ],
  ["[MQTT-4.7.3-1]", "PUBLISH to the one-character name /", '30 03 0001 "/"', publish("/", "")],
  ["[MQTT-4.7.3-1]", "PUBLISH to a name of empty levels", '30 05 0003 "///"', publish("///", "")],
  ["[MQTT-4.7.3-1]", "PUBLISH to a name with spaces", '30 05 0003 " / "', publish(" / ", "")],
  ["[MQTT-4.7.2-1]", "PUBLISH to a name with $", '30 06 0004 "$SYS"', publish("$SYS", "")],
  ["[MQTT-1.5.3-1]", "PUBLISH: the first of two bytes, U+0080", "30 04 0002 c280", publish("\u0080", "")],
  ["[MQTT-1.5.3-1]", "PUBLISH: the last of two bytes, U+07FF", "30 04 0002 dfbf", publish("\u07ff", "")],
  ["[MQTT-1.5.3-1]", "PUBLISH: the first of three bytes, U+0800", "30 05 0003 e0a080", publish("\u0800", "")],
  ["[MQTT-1.5.3-1]", "PUBLISH: before the surrogates, U+D7FF", "30 05 0003 ed9fbf", publish("\ud7ff", "")],
  ["[MQTT-1.5.3-1]", "PUBLISH: after the surrogates, U+E000", "30 05 0003 ee8080", publish("\ue000", "")],
  ["[MQTT-1.5.3-1]", "PUBLISH: the last of three bytes, U+FFFF", "30 05 0003 efbfbf", publish("\uffff", "")],
  ["[MQTT-1.5.3-1]", "PUBLISH: the first of four bytes, U+10000", "30 06 0004 f0908080", publish("\u{10000}", "")],
  ["[MQTT-1.5.3-1]", "PUBLISH: the last of all, U+10FFFF", "30 06 0004 f48fbfbf", publish("\u{10ffff}", "")],
  [
    "[MQTT-1.5.3-1]",
    "PUBLISH: the example of section 1.5.3",
    "30 07 0005 41 f0aa9b94",
    publish("A\u{2a6d4}", ""),
  ],
  ["[MQTT-1.5.3-1]", "PUBLISH: U+FFFD itself", "30 05 0003 efbfbd", publish("\ufffd", "")],
  ["[MQTT-1.5.3-1]", "PUBLISH: a control character", '30 03 0001 "\x01"', publish("\x01", "")],
  ["[MQTT-1.5.3-3]", "PUBLISH: a BOM is kept", '30 06 0004 efbbbf "a"', publish("\ufeffa", "")],
  ["[MQTT-1.5.3-3]", "PUBLISH: a BOM alone is a name", "30 05 0003 efbbbf", publish("\ufeff", "")],
  ["[MQTT-1.5.3-3]", "PUBLISH: a BOM within", '30 07 0005 "a" efbbbf "b"', publish("a\ufeffb", "")],
  ["[MQTT-4.7.3-4]", "PUBLISH: a composed é", "30 04 0002 c3a9", publish("\u00e9", "")],
  ["[MQTT-4.7.3-4]", "PUBLISH: a decomposed é", '30 05 0003 "e" cc81', publish("e\u0301", "")],
  ["[MQTT-2.2.2-2]", "PUBLISH of remaining length 127", '30 7f 0001 "a" "x"*124', publish("a", "x".repeat(124))],
  ["[MQTT-2.2.2-2]", "PUBLISH of remaining length 128", '30 8001 0001 "a" "x"*125', publish("a", "x".repeat(125))],
  ["[MQTT-2.2.2-2]", "PUBLISH of remaining length 321", '30 c102 0001 "a" "x"*318', publish("a", "x".repeat(318))],
  [
    "[MQTT-2.2.2-2]",
    "PUBLISH of remaining length 16,383",
    '30 ff7f 0001 "a" "x"*16380',
    publish("a", "x".repeat(16_380)),
  ],
  [
    "[MQTT-2.2.2-2]",
    "PUBLISH of remaining length 16,384",
    '30 808001 0001 "a" "x"*16381',
    publish("a", "x".repeat(16_381)),
  ],
  ["[MQTT-4.7.3-3]", "PUBLISH to a name of 16,380 bytes", '30 fe7f 3ffc "x"*16380', publish("x".repeat(16_380), "")],
  [
    "[MQTT-2.2.2-2]",
    "PUBLISH with a length of two bytes for one",
    '30 8700 0003 "a/b" "hi"',
    publish("a/b", "hi"),
    "lengthy",
  ],
  [
    "[MQTT-2.2.2-2]",
    "PUBLISH with a length of four bytes for one",
    '30 87808000 0003 "a/b" "hi"',
    publish("a/b", "hi"),
    "lengthy",
  ],

  // PUBACK, PUBREC, PUBREL, PUBCOMP
  ["[MQTT-2.3.1-6]", "PUBACK", "40 02 0001", { type: "PUBACK", packetId: 1 }],
  ["[MQTT-2.3.1-6]", "PUBACK of the last packet identifier", "40 02 ffff", { type: "PUBACK", packetId: 65_535 }],
  ["[MQTT-2.3.1-6]", "PUBREC", "50 02 0102", { type: "PUBREC", packetId: 258 }],
  ["[MQTT-3.6.1-1]", "PUBREL", "62 02 0001", { type: "PUBREL", packetId: 1 }],
  ["[MQTT-2.3.1-6]", "PUBCOMP", "70 02 8000", { type: "PUBCOMP", packetId: 32_768 }],

  // SUBSCRIBE
  ["[MQTT-3.8.1-1]", "SUBSCRIBE of the reference", '82 08 0001 0003 "s/1" 00', subscribe(1, ["s/1", 0])],
  [
    "[MQTT-3.8.3-1]",
    "SUBSCRIBE to two filters",
    '82 0e 000a 0003 "a/b" 01 0003 "c/d" 02',
    subscribe(10, ["a/b", 1], ["c/d", 2]),
  ],
  ["[MQTT-3.8.3-3]", "SUBSCRIBE to #", '82 06 0001 0001 "#" 00', subscribe(1, ["#", 0])],
  ["[MQTT-4.7.1-3]", "SUBSCRIBE to +", '82 06 0001 0001 "+" 02', subscribe(1, ["+", 2])],
  ["[MQTT-4.7.1-2]", "SUBSCRIBE to sport/#", '82 0c 0001 0007 "sport/#" 00', subscribe(1, ["sport/#", 0])],
  ["[MQTT-4.7.1-2]", "SUBSCRIBE to /#", '82 07 0001 0002 "/#" 00', subscribe(1, ["/#", 0])],
  ["[MQTT-4.7.1-3]", "SUBSCRIBE to +/tennis/#", '82 0f 0001 000a "+/tennis/#" 01', subscribe(1, ["+/tennis/#", 1])],
  ["[MQTT-4.7.1-3]", "SUBSCRIBE to /+", '82 07 0001 0002 "/+" 00', subscribe(1, ["/+", 0])],
  ["[MQTT-4.7.1-3]", "SUBSCRIBE to +/+", '82 08 0001 0003 "+/+" 00', subscribe(1, ["+/+", 0])],
  ["[MQTT-4.7.3-1]", "SUBSCRIBE to /", '82 06 0001 0001 "/" 00', subscribe(1, ["/", 0])],
  ["[MQTT-1.5.3-3]", "SUBSCRIBE: a BOM is kept", '82 09 0001 0004 "a" efbbbf 00', subscribe(1, ["a\ufeff", 0])],

  // SUBACK
  ["[MQTT-3.8.4-5]", "SUBACK 0", "90 03 0001 00", { type: "SUBACK", packetId: 1, codes: [0] }],
  ["[MQTT-3.9.3-2]", "SUBACK 1", "90 03 0001 01", { type: "SUBACK", packetId: 1, codes: [1] }],
  ["[MQTT-3.9.3-2]", "SUBACK 2", "90 03 0001 02", { type: "SUBACK", packetId: 1, codes: [2] }],
  ["[MQTT-3.9.3-2]", "SUBACK 0x80", "90 03 0001 80", { type: "SUBACK", packetId: 1, codes: [128] }],
  ["[MQTT-3.9.3-1]", "SUBACK of four", "90 06 ffff 00 80 02 01", {
    type: "SUBACK",
    packetId: 65_535,
    codes: [0, 128, 2, 1],
  }],

  // UNSUBSCRIBE, UNSUBACK
  ["[MQTT-3.10.1-1]", "UNSUBSCRIBE of the reference", 'a2 07 0002 0003 "s/1"', {
    type: "UNSUBSCRIBE",
    packetId: 2,
    filters: ["s/1"],
  }],
  [
    "[MQTT-3.10.3-1]",
    "UNSUBSCRIBE from two filters",
    'a2 0c 000a 0003 "a/b" 0003 "c/d"',
    { type: "UNSUBSCRIBE", packetId: 10, filters: ["a/b", "c/d"] },
  ],
  ["[MQTT-3.10.3-2]", "UNSUBSCRIBE from a wildcard", 'a2 05 0001 0001 "#"', {
    type: "UNSUBSCRIBE",
    packetId: 1,
    filters: ["#"],
  }],
  ["[MQTT-2.3.1-7]", "UNSUBACK", "b0 02 0002", { type: "UNSUBACK", packetId: 2 }],

  // PINGREQ, PINGRESP, DISCONNECT
  ["[MQTT-3.1.2-23]", "PINGREQ", "c0 00", { type: "PINGREQ" }],
  ["[MQTT-3.12.4-1]", "PINGRESP", "d0 00", { type: "PINGRESP" }],
  ["[MQTT-3.12.4-1]", "PINGRESP with a length of two bytes", "d0 8000", { type: "PINGRESP" }, "lengthy"],
  ["[MQTT-3.14.1-1]", "DISCONNECT", "e0 00", { type: "DISCONNECT" }],
];

const bad: [statement: string, name: string, bytes: string, found?: number, code?: "unknowncp"][] = [
  // Fixed header: type and flags (section 2.2)
  ["[MQTT-4.8.0-1]", "the reserved type 0", "00 00", 1, "unknowncp"],
  ["[MQTT-4.8.0-1]", "the reserved type 0 with flags", "0f 00", 1, "unknowncp"],
  ["[MQTT-4.8.0-1]", "the reserved type 15", "f0 00", 1, "unknowncp"],
  ["[MQTT-4.8.0-1]", "the reserved type 15 with flags", "ff 00", 1, "unknowncp"],
  ["[MQTT-2.2.2-2]", "CONNECT with flag 0", '11 0e 0004 "MQTT" 04 02 003c 0002 "ID"', 1],
  ["[MQTT-2.2.2-2]", "CONNECT with flag 3", '18 0e 0004 "MQTT" 04 02 003c 0002 "ID"', 1],
  ["[MQTT-2.2.2-2]", "CONNACK with flag 0", "21 02 00 00", 1],
  ["[MQTT-2.2.2-2]", "CONNACK with flag 1", "22 02 00 00", 1],
  ["[MQTT-2.2.2-2]", "CONNACK with flag 2", "24 02 00 00", 1],
  ["[MQTT-2.2.2-2]", "CONNACK with flag 3", "28 02 00 00", 1],
  ["[MQTT-2.2.2-2]", "PUBACK with flag 0", "41 02 0001", 1],
  ["[MQTT-2.2.2-2]", "PUBACK with flag 1", "42 02 0001", 1],
  ["[MQTT-2.2.2-2]", "PUBREC with flag 0", "51 02 0001", 1],
  ["[MQTT-2.2.2-2]", "PUBREC with flag 1", "52 02 0001", 1],
  ["[MQTT-3.6.1-1]", "PUBREL without flag 1", "60 02 0001", 1],
  ["[MQTT-3.6.1-1]", "PUBREL with flag 0 too", "63 02 0001", 1],
  ["[MQTT-3.6.1-1]", "PUBREL with flag 3 too", "6a 02 0001", 1],
  ["[MQTT-2.2.2-2]", "PUBCOMP with flag 1", "72 02 0001", 1],
  ["[MQTT-3.8.1-1]", "SUBSCRIBE without flag 1", '80 08 0001 0003 "s/1" 00', 1],
  ["[MQTT-3.8.1-1]", "SUBSCRIBE with flag 0 too", '83 08 0001 0003 "s/1" 00', 1],
  ["[MQTT-3.8.1-1]", "SUBSCRIBE with DUP", '8a 08 0001 0003 "s/1" 00', 1],
  ["[MQTT-2.2.2-2]", "SUBACK with flag 1", "92 03 0001 00", 1],
  ["[MQTT-3.10.1-1]", "UNSUBSCRIBE without flag 1", 'a0 07 0002 0003 "s/1"', 1],
  ["[MQTT-3.10.1-1]", "UNSUBSCRIBE with DUP", 'aa 07 0002 0003 "s/1"', 1],
  ["[MQTT-2.2.2-2]", "UNSUBACK with flag 1", "b2 02 0002", 1],
  ["[MQTT-2.2.2-2]", "PINGREQ with flag 0", "c1 00", 1],
  ["[MQTT-2.2.2-2]", "PINGRESP with flag 0", "d1 00", 1],
  ["[MQTT-2.2.2-2]", "PINGRESP with every flag", "df 00", 1],
  ["[MQTT-3.14.1-1]", "DISCONNECT with flag 0", "e1 00", 1],
  ["[MQTT-3.14.1-1]", "DISCONNECT with flag 3", "e8 00", 1],
  ["[MQTT-3.3.1-4]", "PUBLISH at QoS 3", '36 06 0001 "a" 0001 "x"', 1],
  ["[MQTT-3.3.1-4]", "PUBLISH at QoS 3, retained", '37 06 0001 "a" 0001 "x"', 1],
  ["[MQTT-3.3.1-4]", "PUBLISH at QoS 3 again", '3e 06 0001 "a" 0001 "x"', 1],
  ["[MQTT-3.3.1-2]", "PUBLISH at QoS 0 with DUP", '38 04 0001 "a" "x"', 1],
  ["[MQTT-3.3.1-2]", "PUBLISH at QoS 0 with DUP, retained", '39 04 0001 "a" "x"', 1],

  // Fixed header: remaining length (section 2.2.3)
  ["[MQTT-4.8.0-1]", "a remaining length of five bytes", "30 80 80 80 80 01", 5],
  ["[MQTT-4.8.0-1]", "a remaining length of five bytes, all ones", "30 ff ff ff ff 7f", 5],
  ["[MQTT-4.8.0-1]", "a remaining length of five bytes, in PINGRESP", "d0 80 80 80 80 00", 5],
  ["[MQTT-4.8.0-1]", "CONNACK of length 0", "20 00", 2],
  ["[MQTT-4.8.0-1]", "CONNACK of length 1", "20 01 00", 2],
  ["[MQTT-4.8.0-1]", "CONNACK of length 3", "20 03 00 00 00", 2],
  ["[MQTT-4.8.0-1]", "CONNACK of length 130", '20 82 01 "x"*130', 3],
  ["[MQTT-4.8.0-1]", "PUBACK of length 0", "40 00", 2],
  ["[MQTT-4.8.0-1]", "PUBACK of length 1", "40 01 00", 2],
  ["[MQTT-4.8.0-1]", "PUBACK of length 3", "40 03 0001 00", 2],
  ["[MQTT-4.8.0-1]", "PUBREC of length 0", "50 00", 2],
  ["[MQTT-4.8.0-1]", "PUBREC of length 3", "50 03 0001 00", 2],
  ["[MQTT-4.8.0-1]", "PUBREL of length 1", "62 01 00", 2],
  ["[MQTT-4.8.0-1]", "PUBREL of length 3", "62 03 0001 00", 2],
  ["[MQTT-4.8.0-1]", "PUBCOMP of length 0", "70 00", 2],
  ["[MQTT-4.8.0-1]", "PUBCOMP of length 4", "70 04 0001 0000", 2],
  ["[MQTT-4.8.0-1]", "UNSUBACK of length 0", "b0 00", 2],
  ["[MQTT-4.8.0-1]", "UNSUBACK of length 3", "b0 03 0001 00", 2],
  ["[MQTT-4.8.0-1]", "PINGREQ of length 1", "c0 01 00", 2],
  ["[MQTT-4.8.0-1]", "PINGRESP of length 1", "d0 01 00", 2],
  ["[MQTT-4.8.0-1]", "PINGRESP of length 128", 'd0 80 01 "x"*128', 3],
  ["[MQTT-4.8.0-1]", "DISCONNECT of length 1", "e0 01 00", 2],

  // Packet identifiers (section 2.3.1)
  ["[MQTT-2.3.1-1]", "PUBLISH at QoS 1 with packet identifier 0", '32 06 0001 "a" 0000 "x"'],
  ["[MQTT-2.3.1-1]", "PUBLISH at QoS 2 with packet identifier 0", '34 05 0001 "a" 0000'],
  ["[MQTT-2.3.1-1]", "PUBACK with packet identifier 0", "40 02 0000"],
  ["[MQTT-2.3.1-1]", "PUBREC with packet identifier 0", "50 02 0000"],
  ["[MQTT-2.3.1-1]", "PUBREL with packet identifier 0", "62 02 0000"],
  ["[MQTT-2.3.1-1]", "PUBCOMP with packet identifier 0", "70 02 0000"],
  ["[MQTT-2.3.1-1]", "SUBSCRIBE with packet identifier 0", '82 08 0000 0003 "s/1" 00'],
  ["[MQTT-2.3.1-1]", "SUBACK with packet identifier 0", "90 03 0000 00"],
  ["[MQTT-2.3.1-1]", "UNSUBSCRIBE with packet identifier 0", 'a2 07 0000 0003 "s/1"'],
  ["[MQTT-2.3.1-1]", "UNSUBACK with packet identifier 0", "b0 02 0000"],

  // CONNACK (section 3.2)
  ["[MQTT-2.2.2-1]", "CONNACK with acknowledge flag 1", "20 02 02 00"],
  ["[MQTT-2.2.2-1]", "CONNACK with acknowledge flag 7", "20 02 80 00"],
  ["[MQTT-2.2.2-1]", "CONNACK with every acknowledge flag", "20 02 ff 05"],

  // PUBLISH: fields that do not fit
  ["[MQTT-4.8.0-1]", "PUBLISH of length 0", "30 00"],
  ["[MQTT-4.8.0-1]", "PUBLISH of length 1", "30 01 00"],
  ["[MQTT-4.8.0-1]", "PUBLISH whose name is longer than the packet", '30 04 0003 "ab"'],
  ["[MQTT-4.8.0-1]", "PUBLISH whose name is far longer than the packet", '30 04 ffff "ab"'],
  ["[MQTT-4.8.0-1]", "PUBLISH at QoS 1 without packet identifier", '32 03 0001 "a"'],
  ["[MQTT-4.8.0-1]", "PUBLISH at QoS 1 with half a packet identifier", '32 04 0001 "a" 00'],
  ["[MQTT-4.8.0-1]", "PUBLISH at QoS 2 of length 0", "34 00"],
  ["[MQTT-4.7.3-1]", "PUBLISH to an empty name", "30 02 0000"],
  ["[MQTT-4.7.3-1]", "PUBLISH to an empty name, with payload", '30 04 0000 "hi"'],
  ["[MQTT-4.7.3-1]", "PUBLISH to an empty name at QoS 1", '32 06 0000 0001 "hi"'],
  ["[MQTT-3.3.2-2]", "PUBLISH to #", '30 03 0001 "#"'],
  ["[MQTT-3.3.2-2]", "PUBLISH to +", '30 03 0001 "+"'],
  ["[MQTT-3.3.2-2]", "PUBLISH to a/#", '30 05 0003 "a/#"'],
  ["[MQTT-3.3.2-2]", "PUBLISH to a/+/b", '30 07 0005 "a/+/b"'],
  ["[MQTT-3.3.2-2]", "PUBLISH to a+ at QoS 2", '34 06 0002 "a+" 0001'],

  // Strings (section 1.5.3), in a PUBLISH
  ["[MQTT-1.5.3-2]", "U+0000", "30 03 0001 00"],
  ["[MQTT-1.5.3-2]", "U+0000 within a name", '30 05 0003 "a" 00 "b"'],
  ["[MQTT-1.5.3-2]", "U+0000 after letters beyond ASCII", "30 05 0003 c3a9 00"],
  ["[MQTT-1.5.3-1]", "U+0000 in two bytes", "30 04 0002 c080"],
  ["[MQTT-1.5.3-1]", "U+007F in two bytes", "30 04 0002 c1bf"],
  ["[MQTT-1.5.3-1]", "/ in two bytes", "30 04 0002 c0af"],
  ["[MQTT-1.5.3-1]", "U+0000 in three bytes", "30 05 0003 e08080"],
  ["[MQTT-1.5.3-1]", "U+07FF in three bytes", "30 05 0003 e09fbf"],
  ["[MQTT-1.5.3-1]", "U+0000 in four bytes", "30 06 0004 f0808080"],
  ["[MQTT-1.5.3-1]", "U+FFFF in four bytes", "30 06 0004 f08fbfbf"],
  ["[MQTT-1.5.3-1]", "the first surrogate, U+D800", "30 05 0003 eda080"],
  ["[MQTT-1.5.3-1]", "the last surrogate, U+DFFF", "30 05 0003 edbfbf"],
  ["[MQTT-1.5.3-1]", "U+10000 as two surrogates", "30 08 0006 eda080 edb080"],
  ["[MQTT-1.5.3-1]", "U+110000", "30 06 0004 f4908080"],
  ["[MQTT-1.5.3-1]", "U+140000", "30 06 0004 f5808080"],
  ["[MQTT-1.5.3-1]", "a character of five bytes", "30 07 0005 f888808080"],
  ["[MQTT-1.5.3-1]", "a character of six bytes", "30 08 0006 fc8480808080"],
  ["[MQTT-1.5.3-1]", "the byte FE", "30 03 0001 fe"],
  ["[MQTT-1.5.3-1]", "the byte FF", '30 04 0002 "a" ff'],
  ["[MQTT-1.5.3-1]", "a continuation without a start", "30 03 0001 80"],
  ["[MQTT-1.5.3-1]", "a continuation too many", "30 05 0003 c3a9a9"],
  ["[MQTT-1.5.3-1]", "two bytes cut to one", "30 03 0001 c3"],
  ["[MQTT-1.5.3-1]", "three bytes cut to two", "30 04 0002 e282"],
  ["[MQTT-1.5.3-1]", "four bytes cut to three", "30 05 0003 f09f98"],
  ["[MQTT-1.5.3-1]", "a start followed by ASCII", '30 04 0002 c3 "("'],
  ["[MQTT-1.5.3-1]", "a character that the payload would complete", "30 04 0001 c3 a9"],
  ["[MQTT-1.5.3-1]", "Latin-1", '30 06 0004 "caf" e9'],
  ["[MQTT-1.5.3-1]", "not UTF-8 at QoS 1", "32 06 0002 c080 0001"],

  // SUBSCRIBE (section 3.8)
  ["[MQTT-4.8.0-1]", "SUBSCRIBE of length 0", "82 00"],
  ["[MQTT-4.8.0-1]", "SUBSCRIBE of length 1", "82 01 00"],
  ["[MQTT-3.8.3-3]", "SUBSCRIBE without a filter", "82 02 0001"],
  ["[MQTT-4.8.0-1]", "SUBSCRIBE without a QoS", '82 07 0001 0003 "s/1"'],
  ["[MQTT-4.8.0-1]", "SUBSCRIBE whose filter is longer than the packet", '82 08 0001 0009 "s/1" 00'],
  ["[MQTT-4.8.0-1]", "SUBSCRIBE with half a second filter", '82 09 0001 0003 "s/1" 00 00'],
  ["[MQTT-3.8.3-4]", "SUBSCRIBE at QoS 3", '82 08 0001 0003 "s/1" 03'],
  ["[MQTT-3.8.3-4]", "SUBSCRIBE with reserved bit 2", '82 08 0001 0003 "s/1" 04'],
  ["[MQTT-3.8.3-4]", "SUBSCRIBE with reserved bit 7", '82 08 0001 0003 "s/1" 81'],
  ["[MQTT-3.8.3-4]", "SUBSCRIBE with a wrong second QoS", '82 0e 000a 0003 "a/b" 01 0003 "c/d" ff'],
  ["[MQTT-4.7.3-1]", "SUBSCRIBE to an empty filter", "82 05 0001 0000 00"],
  ["[MQTT-4.7.1-2]", "SUBSCRIBE to sport/tennis#", '82 12 0001 000d "sport/tennis#" 00'],
  ["[MQTT-4.7.1-2]", "SUBSCRIBE to sport/tennis/#/ranking", '82 1b 0001 0016 "sport/tennis/#/ranking" 00'],
  ["[MQTT-4.7.1-2]", "SUBSCRIBE to ##", '82 07 0001 0002 "##" 00'],
  ["[MQTT-4.7.1-2]", "SUBSCRIBE to #/", '82 07 0001 0002 "#/" 00'],
  ["[MQTT-4.7.1-2]", "SUBSCRIBE to a#]", '82 08 0001 0003 "a#]" 00'],
  ["[MQTT-4.7.1-3]", "SUBSCRIBE to sport+", '82 0b 0001 0006 "sport+" 00'],
  ["[MQTT-4.7.1-3]", "SUBSCRIBE to +a", '82 07 0001 0002 "+a" 00'],
  ["[MQTT-4.7.1-3]", "SUBSCRIBE to a/++", '82 09 0001 0004 "a/++" 00'],
  ["[MQTT-1.5.3-1]", "SUBSCRIBE to what is not UTF-8", "82 07 0001 0002 c080 00"],
  ["[MQTT-1.5.3-2]", "SUBSCRIBE to U+0000", "82 06 0001 0001 00 00"],

  // SUBACK (section 3.9)
  ["[MQTT-4.8.0-1]", "SUBACK of length 0", "90 00"],
  ["[MQTT-4.8.0-1]", "SUBACK of length 1", "90 01 00"],
  ["[MQTT-3.8.4-5]", "SUBACK without a return code", "90 02 0001"],
  ["[MQTT-3.9.3-2]", "SUBACK 3", "90 03 0001 03"],
  ["[MQTT-3.9.3-2]", "SUBACK 0x7f", "90 03 0001 7f"],
  ["[MQTT-3.9.3-2]", "SUBACK 0x81", "90 03 0001 81"],
  ["[MQTT-3.9.3-2]", "SUBACK 0xff", "90 03 0001 ff"],
  ["[MQTT-3.9.3-2]", "SUBACK with a wrong code after good ones", "90 05 0001 00 80 04"],

  // UNSUBSCRIBE (section 3.10)
  ["[MQTT-4.8.0-1]", "UNSUBSCRIBE of length 0", "a2 00"],
  ["[MQTT-3.10.3-2]", "UNSUBSCRIBE without a filter", "a2 02 0001"],
  ["[MQTT-4.8.0-1]", "UNSUBSCRIBE whose filter is longer than the packet", 'a2 07 0002 0004 "s/1"'],
  ["[MQTT-4.8.0-1]", "UNSUBSCRIBE with half a length", "a2 03 0002 00"],
  ["[MQTT-4.7.3-1]", "UNSUBSCRIBE from an empty filter", "a2 04 0002 0000"],
  ["[MQTT-4.7.1-2]", "UNSUBSCRIBE from a#", 'a2 06 0002 0002 "a#"'],
  ["[MQTT-1.5.3-1]", "UNSUBSCRIBE from what is not UTF-8", "a2 05 0002 0001 ff"],

  // CONNECT (section 3.1)
  ["[MQTT-4.8.0-1]", "CONNECT of length 0", "10 00"],
  ["[MQTT-3.1.2-1]", "CONNECT of MQTT 3.1", '10 10 0006 "MQIsdp" 03 02 003c 0002 "ID"'],
  ["[MQTT-3.1.2-1]", "CONNECT with the name in small letters", '10 0e 0004 "mqtt" 04 02 003c 0002 "ID"'],
  ["[MQTT-3.1.2-1]", "CONNECT with an empty name", '10 0a 0000 04 02 003c 0002 "ID"'],
  ["[MQTT-3.1.2-2]", "CONNECT at protocol level 3", '10 0e 0004 "MQTT" 03 02 003c 0002 "ID"'],
  ["[MQTT-3.1.2-2]", "CONNECT at protocol level 5", '10 0e 0004 "MQTT" 05 02 003c 0002 "ID"'],
  ["[MQTT-3.1.2-2]", "CONNECT of a bridge", '10 0e 0004 "MQTT" 84 02 003c 0002 "ID"'],
  ["[MQTT-3.1.2-3]", "CONNECT with the reserved flag", '10 0e 0004 "MQTT" 04 03 003c 0002 "ID"'],
  ["[MQTT-3.1.2-13]", "CONNECT with a will QoS without a will", '10 0e 0004 "MQTT" 04 0a 003c 0002 "ID"'],
  ["[MQTT-3.1.2-15]", "CONNECT with will retain without a will", '10 0e 0004 "MQTT" 04 22 003c 0002 "ID"'],
  ["[MQTT-3.1.2-14]", "CONNECT with a will of QoS 3", '10 13 0004 "MQTT" 04 1e 003c 0001 "i" 0001 "w" 0001 "m"'],
  ["[MQTT-3.1.2-22]", "CONNECT with a password without user name", '10 10 0004 "MQTT" 04 42 003c 0001 "i" 0001 "P"'],
  ["[MQTT-3.1.3-7]", "CONNECT with an empty identifier, not clean", '10 0c 0004 "MQTT" 04 00 003c 0000'],
  ["[MQTT-4.8.0-1]", "CONNECT without a client identifier", '10 0a 0004 "MQTT" 04 02 003c'],
  ["[MQTT-4.8.0-1]", "CONNECT with half a keep alive", '10 09 0004 "MQTT" 04 02 00'],
  ["[MQTT-4.8.0-1]", "CONNECT without flags", '10 07 0004 "MQTT" 04'],
  ["[MQTT-4.8.0-1]", "CONNECT without a will topic", '10 0d 0004 "MQTT" 04 06 003c 0001 "i"'],
  ["[MQTT-4.8.0-1]", "CONNECT without a will message", '10 10 0004 "MQTT" 04 06 003c 0001 "i" 0001 "w"'],
  ["[MQTT-4.8.0-1]", "CONNECT without the user name", '10 0d 0004 "MQTT" 04 82 003c 0001 "i"'],
  ["[MQTT-4.8.0-1]", "CONNECT without the password", '10 10 0004 "MQTT" 04 c2 003c 0001 "i" 0001 "U"'],
  ["[MQTT-3.1.3-1]", "CONNECT with a user name that no flag says", '10 10 0004 "MQTT" 04 02 003c 0001 "i" 0001 "U"'],
  ["[MQTT-3.1.3-1]", "CONNECT with a byte too many", '10 0e 0004 "MQTT" 04 02 003c 0001 "i" 00'],
  ["[MQTT-1.5.3-1]", "CONNECT with an identifier that is not UTF-8", '10 0e 0004 "MQTT" 04 02 003c 0002 c080'],
  ["[MQTT-1.5.3-2]", "CONNECT with U+0000 in the identifier", '10 0d 0004 "MQTT" 04 02 003c 0001 00'],
  [
    "[MQTT-1.5.3-1]",
    "CONNECT with a will topic that is not UTF-8",
    '10 12 0004 "MQTT" 04 06 003c 0001 "i" 0001 ff 0000',
  ],
  ["[MQTT-4.7.3-1]", "CONNECT with an empty will topic", '10 11 0004 "MQTT" 04 06 003c 0001 "i" 0000 0000'],
  [
    "[MQTT-3.3.2-2]",
    "CONNECT with a wildcard in the will topic",
    '10 14 0004 "MQTT" 04 06 003c 0001 "i" 0003 "a/#" 0000',
  ],
  ["[MQTT-1.5.3-1]", "CONNECT with a user name that is not UTF-8", '10 12 0004 "MQTT" 04 82 003c 0001 "i" 0003 eda080'],
  ["[MQTT-1.5.3-2]", "CONNECT with U+0000 in the user name", '10 10 0004 "MQTT" 04 82 003c 0001 "i" 0001 00'],
];

export const GOOD: readonly Good[] = good.map(([statement, name, bytes, packet, lengthy]) => ({
  statement,
  name,
  bytes,
  packet,
  ...(lengthy && { lengthy: true }),
}));

export const BAD: readonly Bad[] = bad.map(([statement, name, bytes, found, code]) => ({
  statement,
  name,
  bytes,
  code: code ?? "protocol",
  ...(found !== undefined && { found }),
}));
