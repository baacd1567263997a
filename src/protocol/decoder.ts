/** Bytes to packets, in place and incremental.
 * @module */

import { MqttError, violation } from "../errors.ts";
import { makeBlock, Message, newBlock, NO_BLOCK } from "../message.ts";
import * as packet from "./packet.ts";
import { NAMES, PUBLISH } from "./packet.ts";
import { checkFilter, TopicName } from "./topic.ts";
import { TopicCache } from "./topic_cache.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A connection starts with a small block, and has a larger one when a read filled it: 4 KiB messages take 0.8 of the time. */
const FIRST_BLOCK = 256;
const BLOCK = 262_144;

/** The remaining length that packets of a type must have (-1: it varies), and where it says so. */
const LENGTHS = [-1, -1, 2, -1, 2, 2, 2, 2, -1, -1, -1, 2, 0, 0, 0, -1];

/** The flags a type must have, and the statement it breaks otherwise (table 2.2). */
const FLAGS = [0, 0, 0, -1, 0, 0, 2, 0, 2, 0, 2, 0, 0, 0, 0, 0];
const FLAG_STATEMENTS: Record<number, string> = {
  [packet.PUBREL]: "3.6.1-1",
  [packet.SUBSCRIBE]: "3.8.1-1",
  [packet.UNSUBSCRIBE]: "3.10.1-1",
  [packet.DISCONNECT]: "3.14.1-1",
};

/** A PUBLISH over `maxPacketSize`, whose payload is passed over; `packetId` is 0 at QoS 0. Sizes are in bytes. */
export type OversizedPublish = {
  readonly type: "oversized";
  readonly topic: string;
  readonly size: number;
  readonly qos: packet.QoS;
  readonly packetId: number;
};

/** A packet as the decoder gives it: a PUBLISH is a {@linkcode Message}. */
export type Packet = packet.ControlPacket | Message | OversizedPublish;

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
  #block = NO_BLOCK;
  /** The bytes from #start to #end wait to be decoded. */
  #start = 0;
  #end = 0;
  #blockSize = FIRST_BLOCK;
  /** The size of the packet that waits for its end, as far as known. */
  #needed = 0;
  /** Bytes of an oversized PUBLISH that are still to be passed over. */
  #skip = 0;
  /** What came with the end of that packet, not copied: TLS gives 16 KiB at a time, in memory of its own. */
  #rest: Uint8Array | undefined;

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
    return this.#end - this.#start + (this.#rest?.length ?? 0);
  }

  /** A byte that waits, by its place; undefined when it has not come. */
  peek(index: number): number | undefined {
    return index < this.#end - this.#start ? this.#block.bytes[this.#start + index] : undefined;
  }

  /** The last bytes received, as many as asked for: those that wait, and what was decoded since. */
  last(count: number): Uint8Array {
    const rest = this.#rest ?? NO_BLOCK.bytes;
    const last = this.#block.bytes.subarray(this.#end + rest.length - count, this.#end);
    return rest.length === 0 ? last : join(last, rest);
  }

  /** Where the next bytes may be read to: always some, and nothing else is ever written there. */
  space(): Uint8Array {
    if (this.#isLost) return new Uint8Array(64); // next() tells
    if (this.#block.bytes.length < this.#end) this.#take(NO_BLOCK.bytes);
    if (this.#rest !== undefined) this.#append(this.#rest);
    const room = this.#block.bytes.length - this.#end;
    if (room < Math.min(this.#blockSize >> 3, this.#needed || BLOCK)) this.#renew(this.#blockSize);
    return this.#block.bytes.subarray(this.#end);
  }

  /** Takes the first `length` bytes of `chunk`, which nobody writes again. */
  receive(chunk: Uint8Array, length: number = chunk.length): void {
    const { bytes, buffer, byteOffset } = this.#block;
    if (this.#isLost) return; // next() tells
    if (this.#rest !== undefined) {
      this.#rest = join(this.#rest, chunk.subarray(0, length));
      return;
    }
    const own = chunk.buffer === buffer && chunk.byteOffset === byteOffset + this.#end;
    if (own && length <= bytes.length - this.#end) {
      if (length === chunk.length && this.#blockSize < BLOCK) this.#blockSize *= 4;
      this.#end += length;
    } else if (this.waiting === 0) {
      this.#take(chunk.subarray(0, length));
    } else {
      const missing = Math.max(this.#needed - this.waiting, 0) || length;
      this.#append(chunk.subarray(0, Math.min(missing, length)));
      if (missing < length) this.#rest = chunk.subarray(missing, length);
    }
  }

  /** Whether the memory of what waits was transferred, with a payload. */
  get #isLost(): boolean {
    return this.#rest?.length === 0 || this.#start < this.#end && this.#block.bytes.length < this.#end;
  }

  /** Goes on in other memory, when nothing waits. */
  #take(chunk: Uint8Array): void {
    this.#block = makeBlock(chunk);
    this.#start = 0;
    this.#end = chunk.length;
  }

  /** Copies to the end of what waits. */
  #append(chunk: Uint8Array): void {
    this.#rest = undefined;
    if (chunk.length > this.#block.bytes.length - this.#end) this.#renew(chunk.length);
    this.#block.bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** Moves what waits to a new block with room for more. */
  #renew(room: number): void {
    const waiting = this.waiting;
    const believed = Math.min(this.#needed, Math.max(BLOCK, 2 * waiting));
    const rest = this.#block.bytes.subarray(this.#start, this.#end);
    this.#block = newBlock(Math.max(waiting + room, believed));
    this.#block.bytes.set(rest);
    this.#start = 0;
    this.#end = waiting;
  }

  /**
   * The next packet, or undefined when more bytes are needed. A PUBLISH is a {@linkcode Message};
   * `topic` and `packetId` then belong to it. One over `maxPacketSize` is given once its head has come,
   * and its payload passed over as it comes; any other packet over it is a mistake.
   *
   * @throws {MqttError} `"protocol"`, `"unknowncp"` or `"overflow"`; the stream has no further packets.
   */
  next(): Packet | undefined {
    if (this.#start === this.#end && this.#rest !== undefined) {
      if (this.#isLost) throw detached();
      this.#take(this.#rest);
      this.#rest = undefined;
    }
    if (this.#skip > 0) this.#passOver();
    const start = this.#start, end = this.#end;
    if (start === end) return undefined;
    const { bytes, view } = this.#block;
    const first = bytes[start];
    if (first === undefined) throw detached();
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
    if (type !== PUBLISH) checkLength(type, length);
    if (limit - start > this.#maxPacketSize) return this.#oversized(type, at, limit);
    if (limit > end) {
      this.#needed = limit - start;
      return undefined;
    }
    this.#needed = 0;
    if (type !== PUBLISH) {
      this.#start = limit;
      // There is one for each message of QoS 1 and 2: half the time of its fields one by one.
      if (type <= packet.PUBCOMP && type >= packet.PUBACK) {
        const packetId = bytes[at]! << 8 | bytes[at + 1]!;
        if (packetId === 0) throw violation(`a ${NAMES[type]} with packet identifier 0`, "2.3.1-1");
        return { type: type as packet.AckPacket["type"], packetId };
      }
      return decodeControl(type as OtherPacket["type"], new Fields(type, bytes, at, limit));
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
    const topic = this.#topics.get(bytes, view, name, nameLength);
    this.topic = topic;
    this.#start = limit;
    return new Message(topic.name, first, this.#block, payload, limit - payload);
  }

  #oversized(type: number, at: number, limit: number): Packet | undefined {
    const start = this.#start, end = this.#end, size = limit - start;
    if (type !== PUBLISH) {
      throw new MqttError(
        "overflow",
        `A ${
          NAMES[type]
        } of ${size} bytes is over maxPacketSize, ${this.#maxPacketSize}: raise it if such packets are expected`,
      );
    }
    const { bytes, view } = this.#block;
    const qos = (bytes[start]! >> 1 & 3) as packet.QoS;
    const nameLength = at + 2 > end ? 0 : bytes[at]! << 8 | bytes[at + 1]!;
    const payload = at + 2 + nameLength + (qos === 0 ? 0 : 2);
    if (payload > limit) throw tooShort(PUBLISH);
    if (payload > end) {
      this.#needed = payload - start;
      if (this.#rest === undefined) return undefined;
      this.#append(this.#rest); // it was left out as more was not needed, so far as known
      return this.next();
    }
    const packetId = qos === 0 ? 0 : bytes[payload - 2]! << 8 | bytes[payload - 1]!;
    must(qos === 0 || packetId !== 0, "a PUBLISH with packet identifier 0", "2.3.1-1");
    const topic = this.#topics.get(bytes, view, at + 2, nameLength).name;
    this.#needed = 0;
    this.#start = payload;
    this.#skip = limit - payload;
    return { type: "oversized", topic, size, qos, packetId };
  }

  /** Passes over what has come of an oversized payload. */
  #passOver(): void {
    const passed = Math.min(this.#skip, this.#end - this.#start);
    this.#skip -= passed;
    this.#start += passed;
  }
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}

function detached(): MqttError {
  return new MqttError(
    "socketclosed",
    "Bytes that were not decoded yet are gone with a payload whose memory was transferred: slice() it before that",
  );
}

/** What the peer must have done. */
function must(done: boolean, mistake: string, statement: string): asserts done {
  if (!done) throw violation(mistake, statement);
}

function checkFirst(type: number, flags: number): void {
  if (type === 0 || type === 15) {
    throw new MqttError("unknowncp", `The broker sent a packet of the reserved type ${type} [MQTT-4.8.0-1]`);
  }
  must(flags === FLAGS[type], `a ${NAMES[type]} with flags ${flags}`, FLAG_STATEMENTS[type] ?? "2.2.2-2");
}

function checkLength(type: number, length: number): void {
  const expected = LENGTHS[type]!;
  must(expected === -1 || length === expected, `a ${NAMES[type]} of remaining length ${length}`, "4.8.0-1");
}

function tooShort(type: number): MqttError {
  return violation(`a ${NAMES[type]} that ends within a field`, "4.8.0-1");
}

function decodeString(bytes: Uint8Array): string {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch (cause) {
    throw violation("a string that is not UTF-8", "1.5.3-1", cause);
  }
  must(!text.includes("\0"), "a string with U+0000", "1.5.3-2");
  return text;
}

function decodeName(bytes: Uint8Array): string {
  const name = decodeString(bytes);
  must(name !== "", "an empty topic name", "4.7.3-1");
  must(!/[+#]/.test(name), "a topic name with a wildcard", "3.3.2-2");
  return name;
}

function decodeFilter(bytes: Uint8Array): string {
  const filter = decodeString(bytes);
  try {
    checkFilter(filter);
  } catch (cause) {
    const statement = /\[MQTT-([\d.-]+)\]/.exec((cause as Error).message)?.[1];
    throw violation("a topic filter that is none", statement ?? "4.7.1-2", cause);
  }
  return filter;
}

/** The fields of one packet, in order. */
class Fields {
  readonly #type: number;
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #limit: number;

  constructor(type: number, bytes: Uint8Array, at: number, limit: number) {
    this.#type = type;
    this.#bytes = bytes;
    this.#at = at;
    this.#limit = limit;
  }

  get left(): number {
    return this.#limit - this.#at;
  }

  byte(): number {
    if (this.left < 1) throw tooShort(this.#type);
    return this.#bytes[this.#at++]!;
  }

  uint16(): number {
    return this.byte() << 8 | this.byte();
  }

  packetId(): number {
    const id = this.uint16();
    must(id !== 0, `a ${NAMES[this.#type]} with packet identifier 0`, "2.3.1-1");
    return id;
  }

  binary(): Uint8Array {
    const length = this.uint16();
    if (this.left < length) throw tooShort(this.#type);
    return this.#bytes.subarray(this.#at, this.#at += length);
  }

  /** What `item` reads, until the packet ends. */
  list<T>(item: () => T, statement: string): T[] {
    const items: T[] = [];
    while (this.left > 0) items.push(item());
    must(items.length > 0, `a ${NAMES[this.#type]} with nothing in it`, statement);
    return items;
  }
}

/** Those of which there are few. */
type OtherPacket = Exclude<packet.ControlPacket, packet.AckPacket>;

function decodeControl(type: OtherPacket["type"], fields: Fields): OtherPacket {
  switch (type) {
    case packet.CONNECT:
      return decodeConnect(fields);
    case packet.CONNACK: {
      const flags = fields.byte();
      must(flags < 2, `a CONNACK with acknowledge flags ${flags}`, "2.2.2-1");
      return { type, sessionPresent: flags === 1, code: fields.byte() };
    }
    case packet.SUBSCRIBE:
      return { type, packetId: fields.packetId(), filters: fields.list(() => decodeRequest(fields), "3.8.3-3") };
    case packet.SUBACK:
      return { type, packetId: fields.packetId(), codes: fields.list(() => decodeCode(fields), "3.8.4-5") };
    case packet.UNSUBSCRIBE:
      return {
        type,
        packetId: fields.packetId(),
        filters: fields.list(() => decodeFilter(fields.binary()), "3.10.3-2"),
      };
    case packet.PINGREQ:
    case packet.PINGRESP:
    case packet.DISCONNECT:
      return { type };
    case packet.UNSUBACK:
      return { type, packetId: fields.packetId() };
  }
}

function decodeRequest(fields: Fields): { topic: string; qos: packet.QoS } {
  const topic = decodeFilter(fields.binary());
  const qos = fields.byte();
  must(qos < 3, `a SUBSCRIBE with requested QoS ${qos}`, "3.8.3-4");
  return { topic, qos: qos as packet.QoS };
}

function decodeCode(fields: Fields): number {
  const code = fields.byte();
  must(code < 3 || code === 128, `a SUBACK with return code ${code}`, "3.9.3-2");
  return code;
}

function decodeConnect(fields: Fields): packet.ConnectPacket {
  must(decodeString(fields.binary()) === "MQTT", "another protocol name", "3.1.2-1");
  must(fields.byte() === 4, "another protocol level", "3.1.2-2");
  const flags = fields.byte();
  const has = (bit: number) => (flags & bit) !== 0;
  const qos = flags >> 3 & 3;
  must(!has(0x01), "a CONNECT with its reserved flag set", "3.1.2-3");
  must(has(0x04) || qos === 0, "a will QoS without a will", "3.1.2-13");
  must(has(0x04) || !has(0x20), "a will retain without a will", "3.1.2-15");
  must(qos < 3, "a will QoS of 3", "3.1.2-14");
  must(has(0x80) || !has(0x40), "a password without a user name", "3.1.2-22");
  const keepalive = fields.uint16();
  const id = decodeString(fields.binary());
  must(id !== "" || has(0x02), "an empty client identifier without clean session", "3.1.3-7");
  const will = has(0x04)
    ? { topic: decodeName(fields.binary()), message: fields.binary(), qos: qos as packet.QoS, retain: has(0x20) }
    : undefined;
  const uname = has(0x80) ? fields.binary() : undefined;
  const passwd = has(0x40) ? fields.binary() : undefined;
  if (uname !== undefined) decodeString(uname);
  must(fields.left === 0, "a CONNECT with bytes after its last field", "3.1.3-1");
  return { type: packet.CONNECT, id, keepalive, cleanSession: has(0x02), will, uname, passwd };
}
