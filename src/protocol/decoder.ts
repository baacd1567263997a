/** Bytes to packets, in place and incremental.
 * @module */

import { fault, MqttError } from "../errors.ts";
import { LazyMap } from "../lazy.ts";
import { makeBlock, Message, newBlock, NO_BLOCK } from "../message.ts";
import { decodeControl } from "./control.ts";
import { Fields, tooShort } from "./fields.ts";
import * as packet from "./packet.ts";
import { AUTH, NAMES, PUBLISH, type Version } from "./packet.ts";
import { checkProperties, Found, NOTHING_FOUND, SUBSCRIPTION_ID } from "./properties.ts";
import { broken, must, type Rule, RULES } from "./rules.ts";
import { decodeName } from "./text.ts";
import { TopicName } from "./topic.ts";
import { TopicCache } from "./topic_cache.ts";
import { concat, getLength, lengthSize } from "./wire.ts";

/** A connection starts with a small block, and has a larger one when a read filled it: 4 KiB messages take 0.8 of the time. */
const FIRST_BLOCK = 256;
const BLOCK = 262_144;

/** The remaining length that packets of a type must have (-1: it varies), by version and type. */
const LENGTHS = {
  4: [-1, -1, 2, -1, 2, 2, 2, 2, -1, -1, -1, 2, 0, 0, 0, -1],
  5: [-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, -1, -1],
};

/** The flags a type must have, and the rule it breaks otherwise (table 2.2). */
const FLAGS = [0, 0, 0, -1, 0, 0, 2, 0, 2, 0, 2, 0, 0, 0, 0, 0];
const FLAG_RULES: Record<number, Rule> = {
  [packet.PUBREL]: RULES.pubrelFlags,
  [packet.SUBSCRIBE]: RULES.subscribeFlags,
  [packet.UNSUBSCRIBE]: RULES.unsubscribeFlags,
  [packet.DISCONNECT]: RULES.disconnectFlags,
  [AUTH]: RULES.authFlags,
};

/** The reason code of MQTT 5 for a packet that is too large. */
const TOO_LARGE = 149;

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
  readonly #version: Version;
  readonly #topics: TopicCache;
  readonly #topicAliasMaximum: number;
  /** The topic names that this connection's aliases stand for. */
  readonly #aliases = new LazyMap<number, TopicName>();
  readonly #found = new Found();
  #lastFound: Found | undefined;
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
  /** What the properties of the last PUBLISH given have for the session. The next one may write over it. */
  found: Readonly<Found> = NOTHING_FOUND;

  /** `maxPacketSize` in bytes, fixed header included; `topicAliasMaximum`: as CONNECT has it. */
  constructor(maxPacketSize: number, version: Version = 4, topicAliasMaximum = 0) {
    this.#maxPacketSize = maxPacketSize;
    this.#version = version;
    this.#topicAliasMaximum = topicAliasMaximum;
    this.#topics = new TopicCache(decodeName, version);
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
    return rest.length === 0 ? last : concat([last, rest]);
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
      this.#rest = concat([this.#rest, chunk.subarray(0, length)]);
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
      if ((first & 6) === 6) throw broken("a PUBLISH with QoS 3", RULES.qos3, this.#version);
      if ((first & 14) === 8) throw broken("a PUBLISH with DUP at QoS 0", RULES.dup, this.#version);
    } else {
      this.#checkFirst(type, first & 15);
    }
    let at = start + 1;
    let length = 0;
    for (let shift = 0;; shift += 7) {
      if (at === end) return undefined;
      const byte = bytes[at++]!;
      length |= (byte & 127) << shift;
      if (byte < 128) {
        if (byte === 0 && shift > 0) this.#checkShortest();
        break;
      }
      if (shift === 21) throw broken("a remaining length of more than four bytes", RULES.format, this.#version);
    }
    const limit = at + length;
    if (type !== PUBLISH) this.#checkLength(type, length);
    if (limit - start > this.#maxPacketSize) return this.#oversized(type, at, limit);
    if (limit > end) {
      this.#needed = limit - start;
      return undefined;
    }
    this.#needed = 0;
    if (type !== PUBLISH) {
      this.#start = limit;
      // There is one for each message of QoS 1 and 2: half the time of its fields one by one.
      if (length === 2 && type <= packet.PUBCOMP && type >= packet.PUBACK) {
        const packetId = bytes[at]! << 8 | bytes[at + 1]!;
        if (packetId === 0) throw broken(`a ${NAMES[type]} with packet identifier 0`, RULES.ackId, this.#version);
        return { type: type as packet.AckPacket["type"], packetId };
      }
      const fields = new Fields(type, this.#version, bytes, at, limit);
      return decodeControl(type as packet.ControlPacket["type"], fields);
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
        if (this.packetId === 0) throw broken("a PUBLISH with packet identifier 0", RULES.publishId, this.#version);
      }
    } else {
      this.packetId = 0;
    }
    if (payload > limit) throw tooShort(PUBLISH, this.#version);
    let properties = -1;
    if (this.#version === 5) {
      if (payload === limit || bytes[payload] !== 0) return this.#rich(at, payload, limit);
      payload++;
      properties = 0;
      if (this.found !== NOTHING_FOUND) this.found = NOTHING_FOUND;
    }
    const topic = this.#topics.get(bytes, view, name, nameLength);
    this.topic = topic;
    this.#start = limit;
    return new Message(topic.name, first, this.#block, payload, limit - payload, properties);
  }

  /** A PUBLISH of version 5 that has properties, which begin with their length at `at`, or is too short for it. */
  #rich(name: number, at: number, limit: number): Message {
    const { bytes, view } = this.#block, first = bytes[this.#start]!;
    // What most have that have any is an identifier of two bytes, as the session chooses them: a quarter of the time.
    const low = bytes[at + 2]!, high = bytes[at + 3]!;
    const isId = bytes[at] === 3 && bytes[at + 1] === SUBSCRIPTION_ID && low > 127 && high > 0 && high < 128;
    if (isId && at + 4 <= limit) {
      this.found = this.#foundId(low & 127 | high << 7);
      this.topic = this.#topics.get(bytes, view, name + 2, bytes[name]! << 8 | bytes[name + 1]!);
      this.#start = limit;
      return new Message(this.topic.name, first, this.#block, at + 4, limit - at - 4, 3);
    }
    const properties = this.#properties(at, limit);
    const payload = at + lengthSize(properties) + properties;
    const topic = this.#aliased(name);
    this.topic = topic;
    this.#start = limit;
    return new Message(topic.name, first, this.#block, payload, limit - payload, properties);
  }

  /** What a message has that has an identifier and nothing else: the last one is kept, as it comes again and again. */
  #foundId(id: number): Found {
    if (this.#lastFound?.subscriptionIds[0] === id) return this.#lastFound;
    const found = this.#lastFound = new Found();
    found.take(SUBSCRIPTION_ID, id);
    return found;
  }

  /** Checks the properties of a PUBLISH, which begin with their length at `at`; that length. */
  #properties(at: number, limit: number): number {
    const { bytes, view } = this.#block;
    must(at < limit, "a PUBLISH without a properties' length", RULES.noProperties, 5);
    const length = getLength(bytes, at, limit);
    const start = at + lengthSize(length), end = start + length;
    if (length < 0 || end > limit) throw tooShort(PUBLISH, 5);
    this.#found.clear();
    this.found = this.#found;
    checkProperties(bytes, view, start, end, PUBLISH, this.#found);
    return length;
  }

  /** The topic name at a place, or the one that the alias stands for when it is empty; an alias with a name stands for it from now on. */
  #aliased(name: number): TopicName {
    const { bytes, view } = this.#block, { topicAlias } = this.#found, maximum = this.#topicAliasMaximum;
    const length = bytes[name]! << 8 | bytes[name + 1]!;
    if (topicAlias === 0) return this.#topics.get(bytes, view, name + 2, length);
    if (topicAlias > maximum) {
      const rule = maximum === 0 ? RULES.noAliases : RULES.aliasAbove;
      throw broken(`topic alias ${topicAlias}, which is over ${maximum}`, rule, 5);
    }
    const topic = length > 0 ? this.#topics.get(bytes, view, name + 2, length) : this.#aliases.get(topicAlias);
    if (topic === undefined) throw broken(`topic alias ${topicAlias}, which stands for nothing`, RULES.value, 5);
    if (length > 0) this.#aliases.set(topicAlias, topic);
    return topic;
  }

  #oversized(type: number, at: number, limit: number): Packet | undefined {
    const start = this.#start, end = this.#end, size = limit - start;
    if (type !== PUBLISH) throw this.#tooLarge(`A ${NAMES[type]} of ${size} bytes is`);
    const { bytes, view } = this.#block;
    const qos = (bytes[start]! >> 1 & 3) as packet.QoS;
    const nameLength = at + 2 > end ? 0 : bytes[at]! << 8 | bytes[at + 1]!;
    let payload = at + 2 + nameLength + (qos === 0 ? 0 : 2);
    if (payload > limit) throw tooShort(PUBLISH, this.#version);
    if (payload > end) return this.#await(payload);
    const packetId = qos === 0 ? 0 : bytes[payload - 2]! << 8 | bytes[payload - 1]!;
    must(qos === 0 || packetId !== 0, "a PUBLISH with packet identifier 0", RULES.publishId, this.#version);
    let topic: TopicName;
    if (this.#version === 5) {
      const properties = this.#propertiesSize(payload, limit);
      if (properties < 0) return this.#await(end + 1);
      if (payload + properties > end) return this.#await(payload + properties);
      this.#properties(payload, limit);
      payload += properties;
      topic = this.#aliased(at);
    } else {
      topic = this.#topics.get(bytes, view, at + 2, nameLength);
    }
    this.#needed = 0;
    this.#start = payload;
    this.#skip = limit - payload;
    return { type: "oversized", topic: topic.name, size, qos, packetId };
  }

  /** How many bytes properties have with their length; -1 when that has not come yet. They are kept until all have come. */
  #propertiesSize(at: number, limit: number): number {
    must(at < limit, "a PUBLISH without a properties' length", RULES.noProperties, 5);
    const length = getLength(this.#block.bytes, at, Math.min(this.#end, limit));
    if (length < 0 && this.#end < limit) return -1;
    const size = length + lengthSize(length);
    if (length < 0 || at + size > limit) throw tooShort(PUBLISH, 5);
    if (size > this.#maxPacketSize) throw this.#tooLarge(`A PUBLISH with ${size} bytes of properties is`);
    return size;
  }

  /** More bytes are needed, up to `at`. */
  #await(at: number): Packet | undefined {
    this.#needed = at - this.#start;
    if (this.#rest === undefined) return undefined;
    this.#append(this.#rest); // it was left out as more was not needed, so far as known
    return this.next();
  }

  #tooLarge(what: string): MqttError {
    const why = `${what} over maxPacketSize, ${this.#maxPacketSize}: raise it if such are expected`;
    return fault("overflow", why, { reason: TOO_LARGE });
  }

  #checkFirst(type: number, flags: number): void {
    if (type === 0 || type === AUTH && this.#version === 4) {
      throw broken(`a packet of the reserved type ${type}`, RULES.reserved, this.#version);
    }
    if (flags === FLAGS[type]) return;
    throw broken(`a ${NAMES[type]} with flags ${flags}`, FLAG_RULES[type] ?? RULES.flags, this.#version);
  }

  /** Only in version 5 a remaining length must be as short as it can be. */
  #checkShortest(): void {
    if (this.#version === 5) throw broken("a remaining length in more bytes than it needs", RULES.shortest, 5);
  }

  #checkLength(type: number, length: number): void {
    const expected = LENGTHS[this.#version][type]!;
    if (expected === -1 || length === expected) return;
    throw broken(`a ${NAMES[type]} of remaining length ${length}`, RULES.format, this.#version);
  }

  /** Passes over what has come of an oversized payload. */
  #passOver(): void {
    const passed = Math.min(this.#skip, this.#end - this.#start);
    this.#skip -= passed;
    this.#start += passed;
  }
}

function detached(): MqttError {
  return new MqttError(
    "socketclosed",
    "Bytes that were not decoded yet are gone with a payload whose memory was transferred: slice() it before that",
  );
}
