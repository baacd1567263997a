/**
 * The tests' own codec of MQTT 3.1.1 and MQTT 5, written from the specification: plain, slow, and sharing
 * nothing with the library, so that a mistake in one cannot hide in the other. Packets of version 5 have `properties`, an
 * empty list among them, and codes; those of version 4 have none.
 */
import { Body, decodeUtf8, encodeLength, encodeUtf8, Malformed, of } from "./naive_body.ts";
import { decodeProperties, encodeProperties, type NaiveProperty } from "./naive_properties.ts";
import { reason } from "./naive_reasons.ts";

export { decodeUtf8, encodeLength, encodeUtf8, Malformed };

export interface Connect {
  type: "CONNECT";
  id: string;
  keepalive: number;
  cleanSession: boolean;
  will?:
    | { topic: string; message: Uint8Array; qos: number; retain: boolean; properties?: NaiveProperty[] }
    | undefined;
  uname?: Uint8Array | undefined;
  passwd?: Uint8Array | undefined;
  properties?: NaiveProperty[];
}
export interface Connack {
  type: "CONNACK";
  sessionPresent: boolean;
  code: number;
  properties?: NaiveProperty[];
}
export interface Publish {
  type: "PUBLISH";
  topic: string;
  payload: Uint8Array;
  qos: number;
  retain: boolean;
  dup: boolean;
  /** 0 at QoS 0, where the packet has none. */
  packetId: number;
  properties?: NaiveProperty[];
}
export interface Ack {
  type: "PUBACK" | "PUBREC" | "PUBREL" | "PUBCOMP" | "UNSUBACK";
  packetId: number;
  code?: number;
  /** Of an UNSUBACK. */
  codes?: number[];
  properties?: NaiveProperty[];
}
export interface Subscribe {
  type: "SUBSCRIBE";
  packetId: number;
  filters: {
    topic: string;
    qos: number;
    noLocal?: boolean;
    retainAsPublished?: boolean;
    retainHandling?: number;
  }[];
  properties?: NaiveProperty[];
}
export interface Suback {
  type: "SUBACK";
  packetId: number;
  codes: number[];
  properties?: NaiveProperty[];
}
export interface Unsubscribe {
  type: "UNSUBSCRIBE";
  packetId: number;
  filters: string[];
  properties?: NaiveProperty[];
}
export interface Empty {
  type: "PINGREQ" | "PINGRESP" | "DISCONNECT" | "AUTH";
  /** Of DISCONNECT and AUTH. */
  code?: number;
  properties?: NaiveProperty[];
}
export type NaivePacket = Connect | Connack | Publish | Ack | Subscribe | Suback | Unsubscribe | Empty;

/** What a connection has agreed on, and the topic names that its aliases stand for. */
export class NaiveConnection {
  readonly version: number;
  topicAliasMaximum: number;
  readonly aliases: Map<number, string> = new Map();

  constructor(version = 4, topicAliasMaximum = 0) {
    this.version = version;
    this.topicAliasMaximum = topicAliasMaximum;
  }
}

const TYPES: NaivePacket["type"][] = [
  "CONNECT",
  "CONNACK",
  "PUBLISH",
  "PUBACK",
  "PUBREC",
  "PUBREL",
  "PUBCOMP",
  "SUBSCRIBE",
  "SUBACK",
  "UNSUBSCRIBE",
  "UNSUBACK",
  "PINGREQ",
  "PINGRESP",
  "DISCONNECT",
  "AUTH",
];

function uint16(value: number): number[] {
  if (value > 65_535) throw new Error(`${value} takes more than two bytes`);
  return [Math.floor(value / 256), value % 256];
}

function string(text: string): number[] {
  return binary(encodeUtf8(text));
}

function binary(value: readonly number[] | Uint8Array): number[] {
  return [...uint16(value.length), ...value];
}

/** A packet with the fixed header of these parts (section 2.2). */
export function frame(type: number, flags: number, head: readonly number[], payload?: Uint8Array): Uint8Array {
  const length = head.length + (payload?.length ?? 0);
  const start = [type * 16 + flags, ...encodeLength(length)];
  const packet = new Uint8Array(start.length + length);
  packet.set(start);
  packet.set(head, start.length);
  if (payload !== undefined) packet.set(payload, start.length + head.length);
  return packet;
}

/** Section 3: the bytes of a packet of version 4. */
export function encodeNaive(packet: NaivePacket): Uint8Array {
  return encode(packet, 4);
}

/** The bytes of a packet of version 5. */
export function encodeNaive5(packet: NaivePacket): Uint8Array {
  return encode(packet, 5);
}

function encode(packet: NaivePacket, version: number): Uint8Array {
  const type = TYPES.indexOf(packet.type) + 1, is5 = version === 5;
  const properties = is5 ? encodeProperties("properties" in packet ? packet.properties : []) : [];
  switch (packet.type) {
    case "CONNECT": {
      const { id, keepalive, cleanSession, will, uname, passwd } = packet;
      const flags = (uname ? 128 : 0) + (passwd ? 64 : 0) + (will?.retain ? 32 : 0) + (will?.qos ?? 0) * 8 +
        (will ? 4 : 0) + (cleanSession ? 2 : 0);
      return frame(type, 0, [
        ...string("MQTT"),
        version,
        flags,
        ...uint16(keepalive),
        ...properties,
        ...string(id),
        ...(will && is5 ? encodeProperties(will.properties) : []),
        ...(will ? [...string(will.topic), ...binary(will.message)] : []),
        ...(uname ? binary(uname) : []),
        ...(passwd ? binary(passwd) : []),
      ]);
    }
    case "CONNACK":
      return frame(type, 0, [packet.sessionPresent ? 1 : 0, packet.code, ...properties]);
    case "PUBLISH": {
      const { topic, payload, qos, retain, dup, packetId } = packet;
      const head = [...string(topic), ...(qos > 0 ? uint16(packetId) : []), ...properties];
      return frame(type, (dup ? 8 : 0) + qos * 2 + (retain ? 1 : 0), head, payload);
    }
    case "SUBSCRIBE":
      return frame(type, 2, [
        ...uint16(packet.packetId),
        ...properties,
        ...packet.filters.flatMap(({ topic, qos, noLocal, retainAsPublished, retainHandling = 0 }) => [
          ...string(topic),
          qos + (is5 ? (noLocal ? 4 : 0) + (retainAsPublished ? 8 : 0) + retainHandling * 16 : 0),
        ]),
      ]);
    case "SUBACK":
      return frame(type, 0, [...uint16(packet.packetId), ...properties, ...packet.codes]);
    case "UNSUBSCRIBE":
      return frame(type, 2, [...uint16(packet.packetId), ...properties, ...packet.filters.flatMap(string)]);
    case "UNSUBACK":
      return frame(type, 0, [...uint16(packet.packetId), ...properties, ...(is5 ? packet.codes ?? [] : [])]);
    case "PINGREQ":
    case "PINGRESP":
      return frame(type, 0, []);
    default: {
      const id = "packetId" in packet ? uint16(packet.packetId) : [], { code = 0 } = packet;
      const flags = packet.type === "PUBREL" ? 2 : 0, hasProperties = properties.length > 1;
      if (!is5 || code === 0 && !hasProperties) return frame(type, flags, id);
      return frame(type, flags, [...id, code, ...(hasProperties || packet.type === "AUTH" ? properties : [])]);
    }
  }
}

/**
 * The first packet in the bytes, and how many it takes; undefined while more are needed.
 *
 * @throws {Malformed} As soon as the fixed header is wrong, or once the packet is whole.
 */
export function decodeNaive(
  bytes: Uint8Array,
  connection: NaiveConnection = new NaiveConnection(),
): { packet: NaivePacket; length: number } | undefined {
  if (bytes.length === 0) return undefined;
  const { version } = connection;
  const bad = () => new Malformed(of(version, "4.8.0-1", "4.13.1-1"));
  const type = TYPES[Math.floor(bytes[0]! / 16) - 1];
  if (type === undefined || type === "AUTH" && version === 4) throw bad();
  checkFlags(type, bytes[0]! % 16, version);
  let length = 0;
  let at = 1;
  for (;; at++) {
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    if (byte === 0 && at > 1 && version === 5) throw new Malformed("[MQTT5-1.5.5-1]");
    length += byte % 128 * 128 ** (at - 1);
    if (byte < 128) break;
    if (at === 4) throw bad();
  }
  at++;
  const fixed4 = /^(CONNACK|PUBACK|PUBREC|PUBREL|PUBCOMP|UNSUBACK)$/.test(type)
    ? 2
    : type === "DISCONNECT"
    ? 0
    : length;
  const fixed = /^(PINGREQ|PINGRESP)$/.test(type) ? 0 : version === 4 ? fixed4 : length;
  if (length !== fixed) throw bad();
  if (bytes.length < at + length) return undefined;
  const body = new Body(bytes.slice(at, at + length), version);
  return { packet: decodeBody(type, bytes[0]! % 16, body, connection), length: at + length };
}

function checkFlags(type: NaivePacket["type"], flags: number, version: number): void {
  const fail = (statement4: string, statement5 = statement4) => {
    throw new Malformed(of(version, statement4, statement5));
  };
  if (type === "PUBLISH") {
    const qos = Math.floor(flags / 2) % 4;
    if (qos === 3) fail("3.3.1-4");
    if (flags >= 8 && qos === 0) fail("3.3.1-2");
  } else if (type === "PUBREL") {
    if (flags !== 2) fail("3.6.1-1");
  } else if (type === "SUBSCRIBE") {
    if (flags !== 2) fail("3.8.1-1");
  } else if (type === "UNSUBSCRIBE") {
    if (flags !== 2) fail("3.10.1-1");
  } else if (flags !== 0) {
    if (type === "DISCONNECT") fail("3.14.1-1");
    if (type === "AUTH") fail("3.15.1-1");
    fail("2.2.2-2", "2.1.3-1");
  }
}

function decodeBody(
  type: NaivePacket["type"],
  flags: number,
  body: Body,
  connection: NaiveConnection,
): NaivePacket {
  const is5 = body.version === 5;
  switch (type) {
    case "CONNECT":
      return decodeConnect(body);
    case "CONNACK": {
      const present = body.byte();
      if (present > 1) body.fail("2.2.2-1", "3.2.2-1");
      const sessionPresent = present === 1;
      if (!is5) return { type, sessionPresent, code: body.byte() };
      const code = reason(type, body.byte());
      const properties = decodeProperties(body, type);
      body.end();
      return { type, sessionPresent, code, properties };
    }
    case "PUBLISH": {
      const qos = Math.floor(flags / 2) % 4;
      const name = body.binary();
      // The lengths are looked at before what is in the fields.
      const packetId = qos > 0 ? body.packetId("2.2.1-4") : 0;
      const some = is5 ? { properties: decodeProperties(body, type) } : {};
      const topic = decodeTopic(name, connection, some.properties);
      const payload = body.take(body.left);
      return { type, topic, payload, qos, retain: flags % 2 === 1, dup: flags >= 8, packetId, ...some };
    }
    case "SUBSCRIBE": {
      const packetId = body.packetId("2.2.1-3");
      const some = is5 ? { properties: decodeProperties(body, type) } : {};
      const filters: Subscribe["filters"] = [];
      while (body.left > 0) filters.push(decodeOptions(body));
      if (filters.length === 0) body.fail("3.8.3-3", "3.8.3-2");
      return { type, packetId, filters, ...some };
    }
    case "SUBACK": {
      const packetId = body.packetId("2.2.1-6");
      const some = is5 ? { properties: decodeProperties(body, type) } : {};
      const codes = [...body.take(body.left)];
      if (is5) codes.forEach((code) => reason(type, code));
      else if (codes.some((code) => ![0, 1, 2, 128].includes(code))) body.fail("3.9.3-2");
      if (codes.length === 0) body.fail("3.8.4-5", "3.8.4-6");
      return { type, packetId, codes, ...some };
    }
    case "UNSUBACK": {
      const packetId = body.packetId("2.2.1-6");
      if (!is5) return { type, packetId };
      const properties = decodeProperties(body, type);
      const codes = [...body.take(body.left)].map((code) => reason(type, code));
      if (codes.length === 0) body.fail("", "3.11.3-1");
      return { type, packetId, codes, properties };
    }
    case "UNSUBSCRIBE": {
      const packetId = body.packetId("2.2.1-3");
      const some = is5 ? { properties: decodeProperties(body, type) } : {};
      const filters: string[] = [];
      while (body.left > 0) filters.push(body.filter());
      if (filters.length === 0) body.fail("3.10.3-2");
      return { type, packetId, filters, ...some };
    }
    case "PINGREQ":
    case "PINGRESP":
      return { type };
    case "DISCONNECT":
    case "AUTH": {
      if (!is5) return { type };
      if (body.left === 0) return { type, code: 0, properties: [] };
      const code = reason(type, body.byte());
      const isShort = type === "DISCONNECT" && body.left === 0;
      const properties = isShort ? [] : decodeProperties(body, type);
      body.end();
      return { type, code, properties };
    }
    default: {
      const packetId = body.packetId("2.2.1-5");
      if (!is5) return { type, packetId };
      const code = body.left === 0 ? 0 : reason(type, body.byte());
      const properties = body.left === 0 ? [] : decodeProperties(body, type);
      body.end();
      return { type, packetId, code, properties };
    }
  }
}

/** The topic name of a PUBLISH, or the one that its alias stands for (section 3.3.2.3.4). */
function decodeTopic(name: Uint8Array, connection: NaiveConnection, properties: NaiveProperty[] = []): string {
  const { version, topicAliasMaximum: maximum, aliases } = connection;
  const alias = properties.find(([identifier]) => identifier === 35)?.[1] as number | undefined;
  if (alias !== undefined && alias > maximum) throw new Malformed(`[MQTT5-${maximum === 0 ? "3.1.2-27" : "3.3.2-11"}]`);
  if (alias !== undefined && name.length === 0) {
    const known = aliases.get(alias);
    if (known === undefined) throw new Malformed("[MQTT5-4.13.1-1]");
    return known;
  }
  const topic = new Body(Uint8Array.from(binary(name)), version).name();
  if (alias !== undefined) aliases.set(alias, topic);
  return topic;
}

/** A topic filter with its QoS, or its subscription options (section 3.8.3.1). */
function decodeOptions(body: Body): Subscribe["filters"][0] {
  const topic = body.filter();
  const options = body.byte();
  if (body.version === 4) {
    if (options > 2) body.fail("3.8.3-4");
    return { topic, qos: options };
  }
  const bit = (value: number) => Math.floor(options / value) % 2 === 1;
  if (bit(64) || bit(128)) body.fail("", "3.8.3-5");
  const qos = options % 4, retainHandling = Math.floor(options / 16);
  if (qos === 3 || retainHandling === 3) body.fail("", "4.13.1-1");
  if (bit(4) && topic.startsWith("$share/")) body.fail("", "3.8.3-4");
  return { topic, qos, noLocal: bit(4), retainAsPublished: bit(8), retainHandling };
}

function decodeConnect(body: Body): Connect {
  const is4 = body.version === 4;
  if (body.string() !== "MQTT") body.fail("3.1.2-1");
  if (body.byte() !== body.version) body.fail("3.1.2-2");
  const flags = body.byte();
  const has = (bit: number) => Math.floor(flags / bit) % 2 === 1;
  const qos = Math.floor(flags / 8) % 4;
  if (has(1)) body.fail("3.1.2-3");
  if (!has(4) && qos > 0) body.fail("3.1.2-13", "3.1.2-11");
  if (!has(4) && has(32)) body.fail("3.1.2-15", "3.1.2-13");
  if (qos === 3) body.fail("3.1.2-14", "3.1.2-12");
  if (is4 && has(64) && !has(128)) body.fail("3.1.2-22");
  const keepalive = body.uint16();
  const some = is4 ? {} : { properties: decodeProperties(body, "CONNECT") };
  const id = body.string();
  if (is4 && id === "" && !has(2)) body.fail("3.1.3-7");
  const willProperties = is4 || !has(4) ? {} : { properties: decodeProperties(body, "WILL") };
  const will = has(4)
    ? { topic: body.name(), message: body.binary(), qos, retain: has(32), ...willProperties }
    : undefined;
  const uname = has(128) ? body.binary() : undefined;
  const passwd = has(64) ? body.binary() : undefined;
  if (uname !== undefined) decodeUtf8(uname, body.version);
  body.end("3.1.3-1", "3.1.3-1");
  return { type: "CONNECT", id, keepalive, cleanSession: has(2), will, uname, passwd, ...some };
}

/** Chunks in, packets out: what a scripted broker hears. */
export class NaiveReader {
  #rest = new Uint8Array(0);
  readonly #connection: NaiveConnection;

  constructor(connection: NaiveConnection = new NaiveConnection()) {
    this.#connection = connection;
  }

  /** What came since the last whole packet. */
  get rest(): Uint8Array {
    return this.#rest;
  }

  /** The packets that the chunk completes. */
  push(chunk: Uint8Array): NaivePacket[] {
    const all = new Uint8Array(this.#rest.length + chunk.length);
    all.set(this.#rest);
    all.set(chunk, this.#rest.length);
    const packets: NaivePacket[] = [];
    let start = 0;
    for (;;) {
      const found = decodeNaive(all.subarray(start), this.#connection);
      if (found === undefined) break;
      packets.push(found.packet);
      start += found.length;
    }
    this.#rest = all.slice(start);
    return packets;
  }
}
