/** Packets on their way out: gathered into blocks, handed out one block at a time.
 * @module */

import { MqttError } from "../errors.ts";
import { convertPublish } from "./convert.ts";
import { BLOCK, NOTHING, Packer } from "./packer.ts";
import { type AckPacket, PUBLISH, PUBREL, type Version } from "./packet.ts";

/** One write of many messages costs little more than one of 100 bytes: 15 million messages a second against 0.5. */
const FIRST_BLOCK = 256;
/** At most so many of the largest blocks are kept to be filled again: new ones double the time of 4 KiB. */
const SPARE = 8;

/** While less than this waits to be written, copies of messages of QoS 1 and 2 are added. */
export const HANDED_OVER = 262_144;
/**
 * Bytes for what the application does not ask for: a broker that keeps to the protocol waits for 65,535 acknowledgements
 * at most [MQTT-2.3.1-2], of 4 bytes, or 5 with a reason code; and copies come.
 */
const RESERVE = 5 * 65_535 + HANDED_OVER;

/** The queue of bytes to be sent. Every block starts and ends between two packets. */
export class Output extends Packer {
  readonly #max: number;
  /** What of `block` is before it has been handed out. */
  #from = 0;
  #blockSize = FIRST_BLOCK;
  /** Filled blocks, in order. */
  #full: Uint8Array<ArrayBuffer>[] = [];
  /** How many messages of QoS 0 were published, counted by who publishes them, and how many of those were handed out. */
  published = 0;
  sent = 0;
  /** The same count at the end of each filled block. */
  #ends: number[] = [];
  /** Handed out, and not yet written. */
  #taken: Uint8Array<ArrayBuffer> | undefined;
  /** The bytes in #full and #taken. */
  #elsewhere = 0;
  /** Blocks to be filled again. */
  #spare: Uint8Array<ArrayBuffer>[] = [];
  /** How many blocks waited at once since all was written: as many are kept. */
  #burst = 1;

  /** More than `max` bytes, and the acknowledgements of one session, are never kept. */
  constructor(max: number, version: Version = 4) {
    super(version);
    this.#max = max;
  }

  /** How many bytes were accepted and not yet written. */
  get buffered(): number {
    return this.#elsewhere + this.at - this.#from;
  }

  /**
   * Adds an encoded packet.
   *
   * @throws {MqttError} `"overflow"` when it has no place; nothing is added then.
   */
  add(packet: Uint8Array): void {
    this.#add(packet, this.#max);
  }

  /** Adds a packet that nobody could be told has no place: it has one, although the application has filled the rest. */
  addAnyway(packet: Uint8Array): void {
    this.#add(packet, this.#max + RESERVE);
  }

  /** Adds packets that wait elsewhere as long as they are not acknowledged, where they have their place. */
  addCopies(packets: Uint8Array): void {
    this.#add(packets, Infinity);
  }

  #add(packet: Uint8Array, max: number): void {
    const at = this.#room(packet.length, max);
    this.block.set(packet, at);
    this.at = at + packet.length;
  }

  /**
   * Adds an acknowledgement, which always has a place; who goes on reading looks at `isFlooded`. `code` is a reason code of
   * version 5; 0 takes no byte (section 3.4.2.1).
   */
  acknowledge(type: AckPacket["type"], packetId: number, code = 0): void {
    const length = code === 0 ? 2 : 3;
    const at = this.#room(2 + length, Infinity);
    const { block } = this;
    block[at] = type << 4 | (type === PUBREL ? 2 : 0);
    block[at + 1] = length;
    block[at + 2] = packetId >> 8;
    block[at + 3] = packetId & 255;
    block[at + 4] = code; // what comes next is written over a 0: there is always room for more
    this.at = at + 2 + length;
  }

  /** Whether more waits than a broker that reads can have made us answer. */
  get isFlooded(): boolean {
    return this.buffered > this.#max + RESERVE;
  }

  /** Adds an encoded packet before all others, whatever waits: what makes a connection ready goes first. */
  addFirst(packet: Uint8Array<ArrayBuffer>): void {
    this.#full.unshift(packet);
    this.#ends.unshift(this.sent);
    this.#elsewhere += packet.length;
  }

  protected override room(size: number): number {
    return this.#room(size, this.#max);
  }

  #room(size: number, max: number): number {
    if (this.buffered + size > max) {
      throw new MqttError(
        "overflow",
        `${this.buffered} bytes wait to be sent and ${size} more would exceed maxBuffered, ${this.#max}: await publish(), or raise it`,
      );
    }
    if (this.at + size + 3 > this.block.length) this.#renew(size + 3);
    return this.at;
  }

  #renew(size: number): void {
    if (this.at > this.#from) {
      this.#burst = Math.max(this.#burst, this.#full.push(this.block.subarray(this.#from, this.at)));
      this.#ends.push(this.published);
      this.#elsewhere += this.at - this.#from;
    }
    const spare = size > BLOCK ? undefined : this.#spare.pop();
    const length = Math.max(size, this.#blockSize);
    this.use(spare ?? new Uint8Array(length));
    this.#blockSize = Math.min(4 * length, BLOCK);
    this.#from = 0;
  }

  /**
   * The connection is another one: what was handed out has gone with the old one [MQTT-4.3.1], and
   * of what was not, only PUBLISH packets of QoS 0 mean the same to the new one; those of QoS 1 and 2 are sent from where
   * they wait. `isWanted`: which of those stay. Returns how many are kept.
   */
  restart(isWanted: (packet: Uint8Array) => boolean = () => true): number {
    const blocks = [...this.#full, this.block.subarray(this.#from, this.at)];
    this.use(NOTHING);
    this.#full = [];
    this.#ends = [];
    this.#taken = undefined;
    this.published = this.sent; // and those that are kept, as they are added again
    this.#from = this.#elsewhere = 0;
    let kept = 0;
    for (const block of blocks) {
      for (let start = 0, end = 0; start < block.length; start = end) {
        end = packetEnd(block, start);
        if (block[start]! >> 4 !== PUBLISH || (block[start]! & 6) !== 0) continue;
        const packet = block.subarray(start, end);
        if (!isWanted(packet)) continue;
        this.add(packet);
        this.published++;
        kept++;
      }
    }
    return kept;
  }

  /**
   * The version is 4, and not 5: messages that wait are made of that. `isWanted`: of those that had properties, which version
   * 4 has not, which stay.
   */
  downgrade(isWanted: (packet: Uint8Array) => boolean): void {
    this.speak(4);
    const packets: Uint8Array[] = [];
    this.restart((packet) => {
      const { packet: other, isPoorer } = convertPublish(packet, 5, 4);
      if (!isPoorer || isWanted(packet)) packets.push(other.slice());
      return false;
    });
    for (const packet of packets) {
      this.add(packet);
      this.published++;
    }
  }

  /** Hands out the next bytes to be written; undefined when there are none. One at a time: then `written`. */
  take(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#full.length > 0) {
      this.#taken = this.#full.shift();
      this.sent = this.#ends.shift()!;
    } else if (this.at > this.#from) {
      this.#taken = this.block.subarray(this.#from, this.at);
      this.#elsewhere += this.at - this.#from;
      this.#from = this.at;
      this.sent = this.published;
    }
    return this.#taken;
  }

  /** The bytes handed out have been written: their place is free. */
  written(): void {
    const taken = this.#taken;
    if (taken === undefined) return;
    this.#taken = undefined;
    this.#elsewhere -= taken.length;
    const { buffer } = taken;
    if (this.buffered === 0) {
      this.#spare.length = Math.min(this.#spare.length, this.#burst);
      this.#burst = 1;
    }
    if (buffer === this.block.buffer) {
      if (this.#from === this.at) this.#from = this.at = 0;
    } else if (
      buffer.byteLength === BLOCK && this.#spare.length < SPARE &&
      !this.#full.some((waiting) => waiting.buffer === buffer)
    ) {
      this.#spare.push(new Uint8Array(buffer));
    }
  }
}

/** How many of the packets in a block are of a type. */
export function countPackets(block: Uint8Array, type: number): number {
  let count = 0;
  for (let start = 0; start < block.length; start = packetEnd(block, start)) {
    if (block[start]! >> 4 === type) count++;
  }
  return count;
}

/** Where the packet that begins at a place ends; it is whole. */
export function packetEnd(bytes: Uint8Array, start: number): number {
  let at = start + 1, length = 0;
  for (let shift = 0;; shift += 7) {
    const byte = bytes[at++]!;
    length |= (byte & 127) << shift;
    if (byte < 128) return at + length;
  }
}
