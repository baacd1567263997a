/** Bytes to packets, in place and incremental.
 * @module */

import { MqttError, violation } from "../errors.ts";
import { Message } from "../message.ts";
import {
  CONNACK,
  CONNECT,
  type ConnectPacket,
  DISCONNECT,
  NAMES,
  type Packet,
  PINGREQ,
  PINGRESP,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  type QoS,
  SUBACK,
  SUBSCRIBE,
  UNSUBACK,
  UNSUBSCRIBE,
  type WillFields,
} from "./packet.ts";
import { checkFilter, TopicName } from "./topic.ts";
import { TopicCache } from "./topic_cache.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A connection starts with a small block, and has a larger one when a read filled it. */
const FIRST_BLOCK = 2048;
const BLOCK = 65_536;
/** A peer is believed that so large a packet comes; for larger ones the block grows with what came. */
const BELIEVED = 4 * BLOCK;

/** The remaining length that packets of a type must have (-1: it varies), and where it says so. */
const LENGTHS = [-1, -1, 2, -1, 2, 2, 2, 2, -1, -1, -1, 2, 0, 0, 0, -1];

/** The flags a type must have, and the statement it breaks otherwise (table 2.2). */
const FLAGS = [0, 0, 0, -1, 0, 0, 2, 0, 2, 0, 2, 0, 0, 0, 0, 0];
const FLAG_STATEMENTS: Record<number, string> = {
  [PUBREL]: "3.6.1-1",
  [SUBSCRIBE]: "3.8.1-1",
  [UNSUBSCRIBE]: "3.10.1-1",
  [DISCONNECT]: "3.14.1-1",
};

/**
 * Takes chunks as they come and gives packets: `receive`, then `next` until it is dry. Any cut
 * of the stream gives the same packets, and a mistake is found at the first byte that proves it.
 *
 * Who reads into `space()` spares a copy. Memory once filled is never written again, so a
 * payload is a view of it.
 */
export class Decoder {
  readonly #maxPacketSize: number;
  readonly #topics = new TopicCache(decodeName);
  #bytes: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  /** The bytes from #start to #end wait to be decoded. */
  #start = 0;
  #end = 0;
  #blockSize = FIRST_BLOCK;
  /** The size of the packet that waits for its end, as far as known. */
  #needed = 0;

  /** The topic name of the last PUBLISH given. */
  topic: TopicName = new TopicName("");
  /** The packet identifier of the last PUBLISH given; 0 at QoS 0. */
  packetId = 0;

  /** `maxPacketSize` in bytes, fixed header included. */
  constructor(maxPacketSize: number) {
    this.#maxPacketSize = maxPacketSize;
  }

  /** How many bytes wait to be decoded. */
  get waiting(): number {
    return this.#end - this.#start;
  }

  /** A byte that waits, by its place; undefined when it has not come. */
  peek(index: number): number | undefined {
    return index < this.waiting ? this.#bytes[this.#start + index] : undefined;
  }

  /** Where the next bytes may be read to: always some, and nothing else is ever written there. */
  space(): Uint8Array {
    const free = this.#bytes.length - this.#end;
    if (free === 0 || free < Math.min(this.#blockSize >> 3, this.#needed || BLOCK)) this.#renew(0);
    return this.#bytes.subarray(this.#end);
  }

  /** Takes the first `length` bytes of `chunk`, which nobody writes again. */
  receive(chunk: Uint8Array, length: number = chunk.length): void {
    const waiting = this.waiting;
    if (chunk.buffer === this.#bytes.buffer && chunk.byteOffset === this.#bytes.byteOffset + this.#end) {
      this.#end += length;
      if (length === chunk.length && this.#blockSize < BLOCK) this.#blockSize *= 4;
    } else if (waiting === 0) {
      this.#adopt(chunk, 0, length);
    } else {
      if (length > this.#bytes.length - this.#end) this.#renew(length);
      this.#bytes.set(length === chunk.length ? chunk : chunk.subarray(0, length), this.#end);
      this.#end += length;
    }
  }

  /** Moves what waits to a new block with room for more. */
  #renew(room: number): void {
    const waiting = this.waiting;
    const trusted = Math.min(this.#needed, Math.max(BELIEVED, 2 * waiting));
    const block = new Uint8Array(Math.max(this.#blockSize, waiting + room, trusted));
    block.set(this.#bytes.subarray(this.#start, this.#end));
    this.#adopt(block, 0, waiting);
  }

  #adopt(block: Uint8Array, start: number, end: number): void {
    this.#bytes = block;
    this.#view = new DataView(block.buffer, block.byteOffset, block.length);
    this.#start = start;
    this.#end = end;
  }

  /**
   * The next packet, or undefined when more bytes are needed. A PUBLISH is a {@linkcode Message};
   * `topic` and `packetId` then belong to it.
   *
   * @throws {MqttError} `"protocol"`, `"unknowncp"` or `"overflow"`; the stream has no further packets.
   */
  next(): Packet | undefined {
    const bytes = this.#bytes, start = this.#start, end = this.#end;
    if (start === end) return undefined;
    const first = bytes[start]!;
    const type = first >> 4;
    if (type === PUBLISH) {
      if ((first & 6) === 6) throw violation("a PUBLISH with QoS 3", "3.3.1-4");
      if ((first & 14) === 8) throw violation("a PUBLISH with DUP at QoS 0", "3.3.1-2");
    } else {
      checkFirst(type, first & 15);
    }
    let at = start + 1;
    let length = 0;
    for (let shift = 0;; shift += 7) {
      if (at === end) return undefined;
      const byte = bytes[at++]!;
      length |= (byte & 127) << shift;
      if (byte < 128) break;
      if (shift === 21) throw violation("a remaining length of more than four bytes", "4.8.0-1");
    }
    const limit = at + length;
    if (limit > end) {
      this.#needed = limit - start;
      checkLength(type, length);
      this.#checkSize(limit - start);
      return undefined;
    }
    this.#checkSize(limit - start);
    this.#needed = 0;
    if (type !== PUBLISH) {
      checkLength(type, length);
      this.#start = limit;
      return decodeControl(type, new Fields(bytes, at, limit));
    }

    // The hot path: 100 ns a message from here to the callback, half of it for the topic.
    const qos = first & 6;
    const nameLength = length < 2 ? 0 : bytes[at]! << 8 | bytes[at + 1]!;
    const name = at + 2;
    let payload = name + nameLength;
    if (qos !== 0) {
      payload += 2;
      if (payload <= limit) {
        this.packetId = bytes[payload - 2]! << 8 | bytes[payload - 1]!;
        if (this.packetId === 0) throw violation("a PUBLISH with packet identifier 0", "2.3.1-1");
      }
    } else {
      this.packetId = 0;
    }
    if (payload > limit) throw tooShort(PUBLISH);
    const topic = this.#topics.get(bytes, this.#view, name, nameLength);
    this.topic = topic;
    this.#start = limit;
    return new Message(topic.name, first, bytes, payload, limit - payload);
  }

  #checkSize(size: number): void {
    if (size > this.#maxPacketSize) {
      throw new MqttError(
        "overflow",
        `A packet of ${size} bytes is over maxPacketSize, ${this.#maxPacketSize}: raise it if such messages are expected`,
      );
    }
  }
}

function checkFirst(type: number, flags: number): void {
  if (type === 0 || type === 15) {
    throw new MqttError("unknowncp", `The broker sent a packet of the reserved type ${type} [MQTT-4.8.0-1]`);
  }
  if (flags !== FLAGS[type]) {
    throw violation(`a ${NAMES[type]} with flags ${flags}`, FLAG_STATEMENTS[type] ?? "2.2.2-2");
  }
}

function checkLength(type: number, length: number): void {
  const expected = LENGTHS[type]!;
  if (expected !== -1 && length !== expected) {
    throw violation(`a ${NAMES[type]} of remaining length ${length}`, "4.8.0-1");
  }
}

function tooShort(type: number): MqttError {
  return violation(`a ${NAMES[type]} that ends within a field`, "4.8.0-1");
}

function decodeString(bytes: Uint8Array): string {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch (cause) {
    throw Object.assign(violation("a string that is not UTF-8", "1.5.3-1"), { cause });
  }
  if (text.includes("\0")) throw violation("a string with U+0000", "1.5.3-2");
  return text;
}

function decodeName(bytes: Uint8Array): string {
  const name = decodeString(bytes);
  if (name === "") throw violation("an empty topic name", "4.7.3-1");
  if (/[+#]/.test(name)) throw violation("a topic name with a wildcard", "3.3.2-2");
  return name;
}

function decodeFilter(bytes: Uint8Array): string {
  const filter = decodeString(bytes);
  try {
    checkFilter(filter);
  } catch (cause) {
    const statement = /\[MQTT-(.*)\]/.exec((cause as Error).message)?.[1] ?? "4.7.1-2";
    throw Object.assign(violation("a topic filter that is none", statement), { cause });
  }
  return filter;
}

/** The fields of one packet, in order. */
class Fields {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #limit: number;

  constructor(bytes: Uint8Array, at: number, limit: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.#limit = limit;
  }

  get left(): number {
    return this.#limit - this.#at;
  }

  byte(type: number): number {
    if (this.left < 1) throw tooShort(type);
    return this.#bytes[this.#at++]!;
  }

  uint16(type: number): number {
    return this.byte(type) << 8 | this.byte(type);
  }

  packetId(type: number): number {
    const id = this.uint16(type);
    if (id === 0) throw violation(`a ${NAMES[type]} with packet identifier 0`, "2.3.1-1");
    return id;
  }

  binary(type: number): Uint8Array {
    const length = this.uint16(type);
    if (this.left < length) throw tooShort(type);
    return this.#bytes.subarray(this.#at, this.#at += length);
  }
}

function decodeControl(type: number, fields: Fields): Packet {
  switch (type) {
    case CONNECT:
      return decodeConnect(fields);
    case CONNACK: {
      const flags = fields.byte(type);
      if (flags > 1) throw violation(`a CONNACK with acknowledge flags ${flags}`, "2.2.2-1");
      return { type, sessionPresent: flags === 1, code: fields.byte(type) };
    }
    case PUBACK:
    case PUBREC:
    case PUBREL:
    case PUBCOMP:
      return { type, packetId: fields.packetId(type) };
    case UNSUBACK:
      return { type, packetId: fields.packetId(type) };
    case SUBSCRIBE: {
      const packetId = fields.packetId(type);
      const filters: { topic: string; qos: QoS }[] = [];
      while (fields.left > 0) {
        const topic = decodeFilter(fields.binary(type));
        const qos = fields.byte(type);
        if (qos > 2) throw violation(`a SUBSCRIBE with requested QoS ${qos}`, "3.8.3-4");
        filters.push({ topic, qos: qos as QoS });
      }
      if (filters.length === 0) throw violation("a SUBSCRIBE without a filter", "3.8.3-3");
      return { type, packetId, filters };
    }
    case SUBACK: {
      const packetId = fields.packetId(type);
      const codes: number[] = [];
      while (fields.left > 0) {
        const code = fields.byte(type);
        if (code > 2 && code !== 128) throw violation(`a SUBACK with return code ${code}`, "3.9.3-2");
        codes.push(code);
      }
      if (codes.length === 0) throw violation("a SUBACK without a return code", "3.8.4-5");
      return { type, packetId, codes };
    }
    case UNSUBSCRIBE: {
      const packetId = fields.packetId(type);
      const filters: string[] = [];
      while (fields.left > 0) filters.push(decodeFilter(fields.binary(type)));
      if (filters.length === 0) throw violation("an UNSUBSCRIBE without a filter", "3.10.3-2");
      return { type, packetId, filters };
    }
    default:
      return { type: type as typeof PINGREQ | typeof PINGRESP | typeof DISCONNECT };
  }
}

function decodeConnect(fields: Fields): ConnectPacket {
  const type = CONNECT;
  if (decodeString(fields.binary(type)) !== "MQTT") throw violation("another protocol name", "3.1.2-1");
  const level = fields.byte(type);
  if (level !== 4) throw violation(`protocol level ${level}`, "3.1.2-2");
  const flags = fields.byte(type);
  if (flags & 1) throw violation("a CONNECT with its reserved flag set", "3.1.2-3");
  if (!(flags & 4) && flags & 0x18) throw violation("a will QoS without a will", "3.1.2-13");
  if (!(flags & 4) && flags & 0x20) throw violation("a will retain without a will", "3.1.2-15");
  const qos = flags >> 3 & 3;
  if (qos === 3) throw violation("a will QoS of 3", "3.1.2-14");
  if (flags & 0x40 && !(flags & 0x80)) throw violation("a password without a user name", "3.1.2-22");
  const keepalive = fields.uint16(type);
  const cleanSession = (flags & 2) !== 0;
  const id = decodeString(fields.binary(type));
  if (id === "" && !cleanSession) throw violation("an empty client identifier without clean session", "3.1.3-7");
  let will: WillFields | undefined;
  if (flags & 4) {
    const topic = decodeName(fields.binary(type));
    will = { topic, message: fields.binary(type), qos: qos as QoS, retain: (flags & 0x20) !== 0 };
  }
  const uname = flags & 0x80 ? fields.binary(type) : undefined;
  const passwd = flags & 0x40 ? fields.binary(type) : undefined;
  if (uname !== undefined) decodeString(uname);
  if (fields.left > 0) throw violation("a CONNECT with bytes after its last field", "3.1.3-1");
  return { type, id, keepalive, cleanSession, will, uname, passwd };
}
