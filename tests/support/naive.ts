/**
 * The tests' own codec of MQTT 3.1.1, written from the specification: plain, slow, and sharing
 * nothing with the library, so that a mistake in one cannot hide in the other.
 */

export interface Connect {
  type: "CONNECT";
  id: string;
  keepalive: number;
  cleanSession: boolean;
  will?: { topic: string; message: Uint8Array; qos: number; retain: boolean } | undefined;
  uname?: Uint8Array | undefined;
  passwd?: Uint8Array | undefined;
}
export interface Connack {
  type: "CONNACK";
  sessionPresent: boolean;
  code: number;
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
}
export interface Ack {
  type: "PUBACK" | "PUBREC" | "PUBREL" | "PUBCOMP" | "UNSUBACK";
  packetId: number;
}
export interface Subscribe {
  type: "SUBSCRIBE";
  packetId: number;
  filters: { topic: string; qos: number }[];
}
export interface Suback {
  type: "SUBACK";
  packetId: number;
  codes: number[];
}
export interface Unsubscribe {
  type: "UNSUBSCRIBE";
  packetId: number;
  filters: string[];
}
export interface Empty {
  type: "PINGREQ" | "PINGRESP" | "DISCONNECT";
}
export type NaivePacket = Connect | Connack | Publish | Ack | Subscribe | Suback | Unsubscribe | Empty;

/** What is wrong with a packet: the statement it breaks. */
export class Malformed extends Error {
  readonly statement: string;

  constructor(statement: string) {
    super(`Malformed: ${statement}`);
    this.statement = statement;
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
];

/** Section 1.5.3 and RFC 3629, section 3. */
export function encodeUtf8(text: string): number[] {
  const found: number[] = [];
  for (const char of text) {
    const code = char.codePointAt(0)!;
    if (code >= 0xd800 && code <= 0xdfff) throw new Malformed("[MQTT-1.5.3-1]");
    if (code < 0x80) found.push(code);
    else if (code < 0x800) found.push(0xc0 + (code >> 6), 0x80 + code % 64);
    else if (code < 0x10000) found.push(0xe0 + (code >> 12), 0x80 + (code >> 6) % 64, 0x80 + code % 64);
    else found.push(0xf0 + (code >> 18), 0x80 + (code >> 12) % 64, 0x80 + (code >> 6) % 64, 0x80 + code % 64);
  }
  return found;
}

/** Section 1.5.3 and RFC 3629, section 3. */
export function decodeUtf8(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const first = bytes[at++]!;
    const more = first < 0x80 ? 0 : first < 0xc0 ? -1 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf8 ? 3 : -1;
    if (more === -1) throw new Malformed("[MQTT-1.5.3-1]");
    let code = more === 0 ? first : first % 2 ** (6 - more);
    for (let i = 0; i < more; i++) {
      const next = bytes[at++];
      if (next === undefined || next < 0x80 || next >= 0xc0) throw new Malformed("[MQTT-1.5.3-1]");
      code = code * 64 + next % 64;
    }
    const least = [0, 0x80, 0x800, 0x10000][more]!;
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) throw new Malformed("[MQTT-1.5.3-1]");
    text += String.fromCodePoint(code);
  }
  if (text.includes("\0")) throw new Malformed("[MQTT-1.5.3-2]");
  return text;
}

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

/** Section 2.2.3. */
export function encodeLength(length: number): number[] {
  const found: number[] = [];
  do {
    found.push(length % 128 + (length >= 128 ? 128 : 0));
    length = Math.floor(length / 128);
  } while (length > 0);
  return found;
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

/** Section 3: the bytes of a packet. */
export function encodeNaive(packet: NaivePacket): Uint8Array {
  const type = TYPES.indexOf(packet.type) + 1;
  switch (packet.type) {
    case "CONNECT": {
      const { id, keepalive, cleanSession, will, uname, passwd } = packet;
      const flags = (uname ? 128 : 0) + (passwd ? 64 : 0) + (will?.retain ? 32 : 0) + (will?.qos ?? 0) * 8 +
        (will ? 4 : 0) + (cleanSession ? 2 : 0);
      return frame(type, 0, [
        ...string("MQTT"),
        4,
        flags,
        ...uint16(keepalive),
        ...string(id),
        ...(will ? [...string(will.topic), ...binary(will.message)] : []),
        ...(uname ? binary(uname) : []),
        ...(passwd ? binary(passwd) : []),
      ]);
    }
    case "CONNACK":
      return frame(type, 0, [packet.sessionPresent ? 1 : 0, packet.code]);
    case "PUBLISH": {
      const { topic, payload, qos, retain, dup, packetId } = packet;
      const head = [...string(topic), ...(qos > 0 ? uint16(packetId) : [])];
      return frame(type, (dup ? 8 : 0) + qos * 2 + (retain ? 1 : 0), head, payload);
    }
    case "SUBSCRIBE":
      return frame(type, 2, [
        ...uint16(packet.packetId),
        ...packet.filters.flatMap(({ topic, qos }) => [...string(topic), qos]),
      ]);
    case "SUBACK":
      return frame(type, 0, [...uint16(packet.packetId), ...packet.codes]);
    case "UNSUBSCRIBE":
      return frame(type, 2, [...uint16(packet.packetId), ...packet.filters.flatMap(string)]);
    case "PINGREQ":
    case "PINGRESP":
    case "DISCONNECT":
      return frame(type, 0, []);
    default:
      return frame(type, packet.type === "PUBREL" ? 2 : 0, uint16(packet.packetId));
  }
}

/** Takes the fields of a packet one after the other. */
class Body {
  readonly bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  take(length: number): Uint8Array {
    if (length > this.left) throw new Malformed("[MQTT-4.8.0-1]");
    this.at += length;
    return this.bytes.slice(this.at - length, this.at);
  }

  byte(): number {
    return this.take(1)[0]!;
  }

  uint16(): number {
    return this.byte() * 256 + this.byte();
  }

  packetId(): number {
    const id = this.uint16();
    if (id === 0) throw new Malformed("[MQTT-2.3.1-1]");
    return id;
  }

  binary(): Uint8Array {
    return this.take(this.uint16());
  }

  string(): string {
    return decodeUtf8(this.binary());
  }

  name(): string {
    const name = this.string();
    if (name.length === 0) throw new Malformed("[MQTT-4.7.3-1]");
    if (name.includes("#") || name.includes("+")) throw new Malformed("[MQTT-3.3.2-2]");
    return name;
  }

  filter(): string {
    const filter = this.string();
    if (filter.length === 0) throw new Malformed("[MQTT-4.7.3-1]");
    const levels = filter.split("/");
    levels.forEach((level, i) => {
      if (level.includes("#") && (level !== "#" || i !== levels.length - 1)) throw new Malformed("[MQTT-4.7.1-2]");
    });
    levels.forEach((level) => {
      if (level.includes("+") && level !== "+") throw new Malformed("[MQTT-4.7.1-3]");
    });
    return filter;
  }

  end(statement = "[MQTT-4.8.0-1]"): void {
    if (this.left > 0) throw new Malformed(statement);
  }
}

/**
 * The first packet in the bytes, and how many it takes; undefined while more are needed.
 *
 * @throws {Malformed} As soon as the fixed header is wrong, or once the packet is whole.
 */
export function decodeNaive(bytes: Uint8Array): { packet: NaivePacket; length: number } | undefined {
  if (bytes.length === 0) return undefined;
  const type = TYPES[Math.floor(bytes[0]! / 16) - 1];
  if (type === undefined) throw new Malformed("[MQTT-4.8.0-1]");
  checkFlags(type, bytes[0]! % 16);
  let length = 0;
  let at = 1;
  for (;; at++) {
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    length += byte % 128 * 128 ** (at - 1);
    if (byte < 128) break;
    if (at === 4) throw new Malformed("[MQTT-4.8.0-1]");
  }
  at++;
  const fixed = /^(CONNACK|PUBACK|PUBREC|PUBREL|PUBCOMP|UNSUBACK)$/.test(type)
    ? 2
    : /^(PINGREQ|PINGRESP|DISCONNECT)$/.test(type)
    ? 0
    : length;
  if (length !== fixed) throw new Malformed("[MQTT-4.8.0-1]");
  if (bytes.length < at + length) return undefined;
  return { packet: decodeBody(type, bytes[0]! % 16, new Body(bytes.slice(at, at + length))), length: at + length };
}

function checkFlags(type: NaivePacket["type"], flags: number): void {
  if (type === "PUBLISH") {
    const qos = Math.floor(flags / 2) % 4;
    if (qos === 3) throw new Malformed("[MQTT-3.3.1-4]");
    if (flags >= 8 && qos === 0) throw new Malformed("[MQTT-3.3.1-2]");
  } else if (type === "PUBREL") {
    if (flags !== 2) throw new Malformed("[MQTT-3.6.1-1]");
  } else if (type === "SUBSCRIBE") {
    if (flags !== 2) throw new Malformed("[MQTT-3.8.1-1]");
  } else if (type === "UNSUBSCRIBE") {
    if (flags !== 2) throw new Malformed("[MQTT-3.10.1-1]");
  } else if (flags !== 0) {
    throw new Malformed(type === "DISCONNECT" ? "[MQTT-3.14.1-1]" : "[MQTT-2.2.2-2]");
  }
}

function decodeBody(type: NaivePacket["type"], flags: number, body: Body): NaivePacket {
  switch (type) {
    case "CONNECT":
      return decodeConnect(body);
    case "CONNACK": {
      const present = body.byte();
      if (present > 1) throw new Malformed("[MQTT-2.2.2-1]");
      return { type, sessionPresent: present === 1, code: body.byte() };
    }
    case "PUBLISH": {
      const qos = Math.floor(flags / 2) % 4;
      const name = new Body(body.binary());
      // The lengths are looked at before what is in the fields.
      const packetId = qos > 0 ? body.packetId() : 0;
      const topic = new Body(Uint8Array.from(binary(name.bytes))).name();
      return { type, topic, payload: body.take(body.left), qos, retain: flags % 2 === 1, dup: flags >= 8, packetId };
    }
    case "SUBSCRIBE": {
      const packetId = body.packetId();
      const filters: Subscribe["filters"] = [];
      while (body.left > 0) {
        const topic = body.filter();
        const qos = body.byte();
        if (qos > 2) throw new Malformed("[MQTT-3.8.3-4]");
        filters.push({ topic, qos });
      }
      if (filters.length === 0) throw new Malformed("[MQTT-3.8.3-3]");
      return { type, packetId, filters };
    }
    case "SUBACK": {
      const packetId = body.packetId();
      const codes = [...body.take(body.left)];
      if (codes.some((code) => ![0, 1, 2, 128].includes(code))) throw new Malformed("[MQTT-3.9.3-2]");
      if (codes.length === 0) throw new Malformed("[MQTT-3.8.4-5]");
      return { type, packetId, codes };
    }
    case "UNSUBSCRIBE": {
      const packetId = body.packetId();
      const filters: string[] = [];
      while (body.left > 0) filters.push(body.filter());
      if (filters.length === 0) throw new Malformed("[MQTT-3.10.3-2]");
      return { type, packetId, filters };
    }
    case "PINGREQ":
    case "PINGRESP":
    case "DISCONNECT":
      return { type };
    default:
      return { type, packetId: body.packetId() };
  }
}

function decodeConnect(body: Body): Connect {
  if (body.string() !== "MQTT") throw new Malformed("[MQTT-3.1.2-1]");
  if (body.byte() !== 4) throw new Malformed("[MQTT-3.1.2-2]");
  const flags = body.byte();
  const has = (bit: number) => Math.floor(flags / bit) % 2 === 1;
  const qos = Math.floor(flags / 8) % 4;
  if (has(1)) throw new Malformed("[MQTT-3.1.2-3]");
  if (!has(4) && qos > 0) throw new Malformed("[MQTT-3.1.2-13]");
  if (!has(4) && has(32)) throw new Malformed("[MQTT-3.1.2-15]");
  if (qos === 3) throw new Malformed("[MQTT-3.1.2-14]");
  if (has(64) && !has(128)) throw new Malformed("[MQTT-3.1.2-22]");
  const keepalive = body.uint16();
  const id = body.string();
  if (id === "" && !has(2)) throw new Malformed("[MQTT-3.1.3-7]");
  const will = has(4) ? { topic: body.name(), message: body.binary(), qos, retain: has(32) } : undefined;
  const uname = has(128) ? body.binary() : undefined;
  const passwd = has(64) ? body.binary() : undefined;
  if (uname !== undefined) decodeUtf8(uname);
  body.end("[MQTT-3.1.3-1]");
  return { type: "CONNECT", id, keepalive, cleanSession: has(2), will, uname, passwd };
}

/** Chunks in, packets out: what a scripted broker hears. */
export class NaiveReader {
  #rest = new Uint8Array(0);

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
      const found = decodeNaive(all.subarray(start));
      if (found === undefined) break;
      packets.push(found.packet);
      start += found.length;
    }
    this.#rest = all.slice(start);
    return packets;
  }
}
