/**
 * Packets of MQTT 5 as bytes, good and bad, with the statement of the specification each is about. Those of properties
 * are made of a table: each property in each packet that may have it, and in those that may not.
 */
import { hex } from "../support/bytes.ts";
import type { NaivePacket } from "../support/naive.ts";
import type { NaiveProperty } from "../support/naive_properties.ts";
import type { Bad, Good } from "./vectors.ts";
import { goodPackets } from "./vectors5_good.ts";
import { badPackets } from "./vectors5_bad.ts";

const utf8 = new TextEncoder();

/** Packets around their properties: the first byte, what comes before and behind them, and the packet without them. */
const PACKETS: Record<string, [first: string, before: string, behind: string, packet: NaivePacket]> = {
  CONNECT: ["10", '0004 "MQTT" 05 02 003c', '0001 "i"', {
    type: "CONNECT",
    id: "i",
    keepalive: 60,
    cleanSession: true,
    will: undefined,
    uname: undefined,
    passwd: undefined,
  }],
  CONNACK: ["20", "00 00", "", { type: "CONNACK", sessionPresent: false, code: 0 }],
  PUBLISH: ["30", '0001 "a"', '"x"', {
    type: "PUBLISH",
    topic: "a",
    payload: utf8.encode("x"),
    qos: 0,
    retain: false,
    dup: false,
    packetId: 0,
  }],
  PUBACK: ["40", "0001 00", "", { type: "PUBACK", packetId: 1, code: 0 }],
  PUBREC: ["50", "0001 00", "", { type: "PUBREC", packetId: 1, code: 0 }],
  PUBREL: ["62", "0001 00", "", { type: "PUBREL", packetId: 1, code: 0 }],
  PUBCOMP: ["70", "0001 00", "", { type: "PUBCOMP", packetId: 1, code: 0 }],
  SUBSCRIBE: ["82", "0001", '0001 "a" 00', {
    type: "SUBSCRIBE",
    packetId: 1,
    filters: [{ topic: "a", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
  }],
  SUBACK: ["90", "0001", "00", { type: "SUBACK", packetId: 1, codes: [0] }],
  UNSUBSCRIBE: ["a2", "0001", '0001 "a"', { type: "UNSUBSCRIBE", packetId: 1, filters: ["a"] }],
  UNSUBACK: ["b0", "0001", "00", { type: "UNSUBACK", packetId: 1, codes: [0] }],
  DISCONNECT: ["e0", "00", "", { type: "DISCONNECT", code: 0 }],
  AUTH: ["f0", "18", "", { type: "AUTH", code: 24 }],
};

/** How many bytes a literal has. */
function sizeOf(literal: string): number {
  let size = 0;
  for (const [, text, digits] of literal.matchAll(/"([^"]*)"|([0-9a-f]{2})/g)) size += digits ? 1 : text!.length;
  return size;
}

const length = (literal: string) => hex(Uint8Array.of(sizeOf(literal)));

/** A packet with these properties; their length may be another than theirs. */
function packetWith(type: string, properties: string, claimed: string = length(properties)): string {
  const will = type === "WILL", [first, before, behind] = PACKETS[will ? "CONNECT" : type]!;
  const start = will ? before.replace("05 02", "05 06") + ' 00 0001 "i"' : before;
  const body = `${start} ${claimed} ${properties} ${will ? '0001 "w" 0001 "m"' : behind}`;
  return `${first} ${length(body)} ${body}`;
}

function packetOf(type: string, properties: NaiveProperty[]): NaivePacket {
  if (type !== "WILL") return { ...PACKETS[type]![3], properties } as NaivePacket;
  const will = { topic: "w", message: utf8.encode("m"), qos: 0, retain: false, properties };
  return { ...PACKETS.CONNECT![3], properties: [], will } as NaivePacket;
}

/** Each property: its name, the packets that may have it, its bytes, what they mean, and the statement that says so. */
const PROPERTIES: [
  identifier: number,
  name: string,
  packets: string,
  bytes: string,
  value: NaiveProperty[1],
  statement: string,
][] = [
  [1, "payload format indicator", "PUBLISH WILL", "01", 1, "3.3.2-4"],
  [2, "message expiry interval", "PUBLISH WILL", "fffffffe", 4_294_967_294, "3.3.2-6"],
  [3, "content type", "PUBLISH WILL", '0004 "text"', "text", "3.3.2-19"],
  [8, "response topic", "PUBLISH WILL", '0003 "r/1"', "r/1", "3.3.2-13"],
  [9, "correlation data", "PUBLISH WILL", "0002 00ff", Uint8Array.of(0, 255), "3.3.2-16"],
  [11, "subscription identifier", "PUBLISH SUBSCRIBE", "8001", 128, "3.3.4-3"],
  [17, "session expiry interval", "CONNECT CONNACK DISCONNECT", "00000e10", 3600, "2.2.2-1"],
  [18, "assigned client identifier", "CONNACK", '0002 "id"', "id", "3.2.2-16"],
  [19, "server keep alive", "CONNACK", "001e", 30, "2.2.2-1"],
  [21, "authentication method", "CONNECT CONNACK AUTH", '0001 "m"', "m", "4.12.0-5"],
  [22, "authentication data", "CONNECT CONNACK AUTH", "0003 000102", Uint8Array.of(0, 1, 2), "4.12.0-5"],
  [23, "request problem information", "CONNECT", "00", 0, "3.1.2-29"],
  [24, "will delay interval", "WILL", "0000003c", 60, "3.1.3-9"],
  [25, "request response information", "CONNECT", "01", 1, "3.1.2-28"],
  [26, "response information", "CONNACK", '0002 "r/"', "r/", "3.1.2-28"],
  [28, "server reference", "CONNACK DISCONNECT", '0003 "b:1"', "b:1", "4.13.2-1"],
  [
    31,
    "reason string",
    "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH",
    '0002 "no"',
    "no",
    "3.2.2-19",
  ],
  [33, "receive maximum", "CONNECT CONNACK", "0014", 20, "3.3.4-9"],
  [34, "topic alias maximum", "CONNECT CONNACK", "000a", 10, "3.1.2-26"],
  [35, "topic alias", "PUBLISH", "000a", 10, "3.3.2-10"],
  [36, "maximum QoS", "CONNACK", "01", 1, "3.2.2-9"],
  [37, "retain available", "CONNACK", "00", 0, "2.2.2-1"],
  [38, "user property", Object.keys(PACKETS).join(" ") + " WILL", '0001 "k" 0002 c3a9', ["k", "é"], "1.5.7-1"],
  [39, "maximum packet size", "CONNECT CONNACK", "00010000", 65_536, "3.1.2-24"],
  [40, "wildcard subscription available", "CONNACK", "01", 1, "2.2.2-1"],
  [41, "subscription identifiers available", "CONNACK", "00", 0, "2.2.2-1"],
  [42, "shared subscription available", "CONNACK", "01", 1, "2.2.2-1"],
];

const good: Good[] = goodPackets.map(([statement, name, bytes, packet, lengthy]) => ({
  statement: `[MQTT5-${statement}]`,
  name: `5: ${name}`,
  bytes,
  packet,
  ...(lengthy && { lengthy: true }),
}));
const bad: Bad[] = badPackets.map(([statement, reason, name, bytes, found, code]) => ({
  statement: `[MQTT5-${statement}]`,
  name: `5: ${name}`,
  bytes,
  code: code ?? "protocol",
  reason,
  ...(found !== undefined && { found }),
}));

const METHOD = '15 0001 "m"', MALFORMED = 129, PROTOCOL_ERROR = 130;

for (const [identifier, name, packets, bytes, value, statement] of PROPERTIES) {
  const one = `${hex(Uint8Array.of(identifier))} ${bytes}`;
  for (const type of [...Object.keys(PACKETS), "WILL"]) {
    // What needs an authentication method has one.
    const needs = identifier === 22 || type === "AUTH" && identifier !== 21;
    const method: NaiveProperty[] = needs ? [[21, "m"]] : [];
    const before = needs && identifier > 21 ? `${METHOD} ` : "", behind = needs && identifier < 21 ? ` ${METHOD}` : "";
    const what = `5: ${type} with ${name}`;
    const add = (statement: string, reason: number, name: string, bytes: string) =>
      bad.push({ statement: `[MQTT5-${statement}]`, reason, name, bytes, code: "protocol" });
    if (!packets.split(" ").includes(type)) {
      const misplaced = needs && identifier === 22 && !["CONNECT", "CONNACK", "AUTH"].includes(type)
        ? one
        : before + one;
      add("4.13.1-1", MALFORMED, `${what}, which it must not have`, packetWith(type, misplaced + behind));
      continue;
    }
    const properties: NaiveProperty[] = [...method, [identifier, value]];
    good.push({
      statement: `[MQTT5-${statement}]`,
      name: what,
      bytes: packetWith(type, before + one),
      packet: packetOf(type, properties),
    });
    const isMany = identifier === 38 || identifier === 11 && type === "PUBLISH";
    if (isMany) {
      good.push({
        statement: identifier === 38 ? "[MQTT5-3.3.2-18]" : "[MQTT5-3.3.4-4]",
        name: `${what} twice`,
        bytes: packetWith(type, `${before}${one} ${one}`),
        packet: packetOf(type, [...properties, [identifier, value]]),
      });
    } else {
      add("4.13.1-1", PROTOCOL_ERROR, `${what} twice`, packetWith(type, `${before}${one} ${one}`));
    }
    // The property's last byte is no part of the properties.
    const short = hex(Uint8Array.of(sizeOf(before + one) - 1));
    add("4.13.1-1", MALFORMED, `${what}, cut`, packetWith(type, before + one, short));
  }
}

/** A property with a wrong value. */
const VALUES: [statement: string, reason: number, type: string, properties: string][] = [
  ["4.13.1-1", PROTOCOL_ERROR, "PUBLISH", "01 02"],
  ["4.13.1-1", PROTOCOL_ERROR, "PUBLISH", "01 ff"],
  ["4.13.1-1", PROTOCOL_ERROR, "WILL", "01 02"],
  ["4.13.1-1", PROTOCOL_ERROR, "PUBLISH", "0b 00"],
  ["4.13.1-1", PROTOCOL_ERROR, "SUBSCRIBE", "0b 00"],
  ["4.13.1-1", PROTOCOL_ERROR, "SUBSCRIBE", "0b 01 0b 02"],
  ["1.5.5-1", MALFORMED, "PUBLISH", "0b 8000"],
  ["1.5.5-1", MALFORMED, "SUBSCRIBE", "0b 818000"],
  ["4.13.1-1", MALFORMED, "PUBLISH", "0b ffffffff7f"],
  ["4.13.1-1", MALFORMED, "PUBLISH", "0b 80808080"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNECT", "17 02"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNECT", "19 02"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNECT", "21 0000"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNACK", "21 0000"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNECT", "27 00000000"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNACK", "27 00000000"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNACK", "24 02"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNACK", "25 02"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNACK", "28 02"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNACK", "29 02"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNACK", "2a 02"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNACK", "2a ff"],
  ["3.3.2-8", 148, "PUBLISH", "23 0000"],
  ["3.3.2-11", 148, "PUBLISH", "23 000b"],
  ["3.3.2-11", 148, "PUBLISH", "23 ffff"],
  ["3.3.2-14", PROTOCOL_ERROR, "PUBLISH", '08 0003 "a/#"'],
  ["3.3.2-14", PROTOCOL_ERROR, "PUBLISH", '08 0001 "+"'],
  ["3.3.2-14", PROTOCOL_ERROR, "WILL", '08 0001 "#"'],
  ["4.7.3-1", PROTOCOL_ERROR, "PUBLISH", "08 0000"],
  ["4.7.3-1", PROTOCOL_ERROR, "WILL", "08 0000"],
  ["1.5.4-1", MALFORMED, "PUBLISH", "03 0002 c080"],
  ["1.5.4-1", MALFORMED, "PUBLISH", "08 0001 ff"],
  ["1.5.4-1", MALFORMED, "PUBLISH", '26 0001 ff 0001 "v"'],
  ["1.5.4-1", MALFORMED, "PUBLISH", '26 0001 "k" 0003 eda080'],
  ["1.5.4-1", MALFORMED, "WILL", "03 0001 80"],
  ["1.5.4-1", MALFORMED, "CONNACK", "1f 0001 ff"],
  ["1.5.4-1", MALFORMED, "CONNACK", "12 0001 ff"],
  ["1.5.4-1", MALFORMED, "CONNACK", "1a 0001 ff"],
  ["1.5.4-1", MALFORMED, "CONNACK", "1c 0001 ff"],
  ["1.5.4-1", MALFORMED, "AUTH", "15 0001 ff"],
  ["1.5.4-1", MALFORMED, "DISCONNECT", "1f 0001 ff"],
  ["1.5.4-1", MALFORMED, "SUBACK", "1f 0002 c3a9 26 0001 ff 0000"],
  ["1.5.4-2", MALFORMED, "PUBLISH", "03 0001 00"],
  ["1.5.4-2", MALFORMED, "PUBLISH", '26 0001 "k" 0001 00'],
  ["1.5.4-2", MALFORMED, "PUBLISH", '26 0001 00 0001 "v"'],
  ["1.5.4-2", MALFORMED, "CONNACK", '1f 0002 "a" 00'],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNECT", "16 0001 00"],
  ["4.13.1-1", PROTOCOL_ERROR, "CONNACK", "16 0001 00"],
  ["4.12.0-5", PROTOCOL_ERROR, "AUTH", "16 0001 00"],
  ["4.12.0-5", PROTOCOL_ERROR, "AUTH", '1f 0001 "r"'],
  ["4.12.0-5", PROTOCOL_ERROR, "AUTH", ""],
];
for (const [statement, reason, type, properties] of VALUES) {
  const name = `5: ${type} with the properties ${properties || "of none"}`;
  bad.push({ statement: `[MQTT5-${statement}]`, reason, name, bytes: packetWith(type, properties), code: "protocol" });
}

/** Identifiers that no property has. */
for (const identifier of ["00", "04", "0a", "14", "1b", "20", "2b", "7f", "80", "ff", "8100"]) {
  bad.push({
    statement: "[MQTT5-4.13.1-1]",
    reason: MALFORMED,
    name: `5: PUBLISH with the unknown property ${identifier}`,
    bytes: packetWith("PUBLISH", `${identifier} 00`),
    code: "protocol",
  });
}

/** A properties' length that is none, and one beyond the packet. */
for (const [type, [first, before, behind]] of Object.entries(PACKETS)) {
  const add = (statement: string, name: string, body: string) =>
    bad.push({
      statement: `[MQTT5-${statement}]`,
      reason: MALFORMED,
      name: `5: ${type} ${name}`,
      bytes: `${first} ${length(body)} ${body}`,
      code: "protocol",
    });
  if (!/^(PUBACK|PUBREC|PUBREL|PUBCOMP|DISCONNECT)$/.test(type)) {
    add("2.2.2-1", "that ends before its properties' length", before);
  }
  add("1.5.5-1", "whose properties' length has a byte too many", `${before} 8000 ${behind}`);
  add("4.13.1-1", "whose properties' length goes on at its end", `${before} 80`);
  add("4.13.1-1", "whose properties' length has five bytes", `${before} 8080808001 ${behind}`);
  add("4.13.1-1", "whose properties are longer than the packet", `${before} 7f ${behind}`);
}

export const GOOD5: readonly Good[] = good;
export const BAD5: readonly Bad[] = bad;
