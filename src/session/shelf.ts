/** Where PUBLISH packets stay until they are acknowledged.
 * @module */

import { MqttError } from "../errors.ts";
import { convertPublish } from "../protocol/convert.ts";
import { Packer } from "../protocol/packer.ts";
import type { Version } from "../protocol/packet.ts";
import { writeExpiry } from "../protocol/properties.ts";

/** Blocks are as small as this at first. */
const FIRST_BLOCK = 256;
const BLOCK = 65_536;
/** At most so many blocks are kept to be filled again. */
const SPARE = 8;
/** So many bytes the blocks may have besides twice what their packets need. */
const SLACK = 1 << 20;

/** A block, and how many packets in it are still wanted. */
interface Page {
  readonly bytes: Uint8Array<ArrayBuffer>;
  wanted: number;
}

/** A packet on the shelf. */
export interface Shelved {
  page: Page;
  /** Where it begins in its page, and how many bytes it has. */
  start: number;
  readonly size: number;
}

/**
 * Packs messages into blocks, and fills those again whose packets have all gone. A packet that stays keeps its block: when
 * blocks have become nearly empty that way, `compact` moves what is in them together.
 */
export class Shelf extends Packer {
  readonly #max: number;
  #page: Page = { bytes: this.block, wanted: 0 };
  #blockSize = FIRST_BLOCK;
  #spare: Page[] = [];
  /** Bytes of the packets that are wanted, and of the blocks that have them. */
  #bytes = 0;
  #held = 0;

  /** More than `max` bytes of packets are never kept. */
  constructor(max: number, version: Version = 4) {
    super(version);
    this.#max = max;
  }

  /** Bytes of the packets that are wanted. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether the packets keep far more memory than they need: then `compact`. */
  get isSparse(): boolean {
    return this.#held > 2 * this.#bytes + SLACK;
  }

  /** The packet that was published last, which is wanted until `drop`. */
  last(size: number): Shelved {
    this.#page.wanted++;
    this.#bytes += size;
    return { page: this.#page, start: this.at - size, size };
  }

  /** The version is 4, and not 5: so is what is packed from now on, and these, which wait. Those that had properties, which version 4 has not. */
  downgrade<P extends Shelved>(packets: Iterable<P>): P[] {
    this.speak(4);
    const poorer: P[] = [];
    for (const packet of packets) {
      const { page, start, size } = packet;
      const { packet: other, isPoorer } = convertPublish(page.bytes.slice(start, start + size), 5, 4);
      this.drop(packet);
      Object.assign(packet, this.place(other));
      if (isPoorer) poorer.push(packet);
    }
    return poorer;
  }

  /** Takes a packet that another process has packed, whatever there is already. */
  place(packet: Uint8Array): Shelved {
    const { length } = packet;
    if (this.at + length > this.block.length) this.#renew(length);
    this.block.set(packet, this.at);
    this.at += length;
    return this.last(length);
  }

  /** A packet is not wanted any more. */
  drop({ page, size }: Shelved): void {
    this.#bytes -= size;
    if (--page.wanted > 0) return;
    if (page === this.#page) this.at = 0;
    else this.#release(page);
  }

  /** A block has nothing any more that is wanted. */
  #release(page: Page): void {
    this.#held -= page.bytes.length;
    if (page.bytes.length === BLOCK && this.#spare.length < SPARE) this.#spare.push(page);
  }

  /** Moves packets into blocks that have nothing else. These are all that are wanted. */
  compact(packets: Iterable<Shelved>): void {
    this.#renew(0);
    for (const packet of packets) {
      const { page, start, size } = packet;
      if (this.at + size > this.block.length) this.#renew(size);
      this.block.set(page.bytes.subarray(start, start + size), this.at);
      packet.page = this.#page;
      packet.start = this.at;
      this.#page.wanted++;
      this.at += size;
      if (--page.wanted === 0) this.#release(page);
    }
  }

  protected override room(size: number): number {
    if (this.#bytes + size > this.#max) {
      throw new MqttError(
        "overflow",
        `${this.#bytes} bytes wait to be acknowledged and ${size} more would exceed maxBuffered, ${this.#max}: await publish(), or raise it`,
      );
    }
    if (this.at + size + 3 > this.block.length) this.#renew(size + 3);
    return this.at;
  }

  #renew(size: number): void {
    while (this.#blockSize < Math.min(size, BLOCK)) this.#blockSize *= 4;
    if (this.#page.wanted === 0) this.#release(this.#page);
    const spare = size > BLOCK ? undefined : this.#spare.pop();
    this.#page = spare ?? { bytes: new Uint8Array(Math.max(size, this.#blockSize)), wanted: 0 };
    this.#held += this.#page.bytes.length;
    this.use(this.#page.bytes);
    if (this.#blockSize < BLOCK) this.#blockSize *= 4;
  }
}

/** The bytes of packets, in order; those that lie one behind the other are together. */
export function runsOf(packets: readonly Shelved[]): Uint8Array[] {
  const runs: Uint8Array[] = [];
  let first: Shelved | undefined, end = 0;
  for (const packet of packets) {
    if (packet.page !== first?.page || packet.start !== end) {
      if (first !== undefined) runs.push(first.page.bytes.subarray(first.start, end));
      first = packet;
    }
    end = packet.start + packet.size;
  }
  if (first !== undefined) runs.push(first.page.bytes.subarray(first.start, end));
  return runs;
}

/** Where a PUBLISH that begins at a place has its topic name. */
function topicStart(bytes: Uint8Array, start: number): number {
  let at = start + 1;
  while (bytes[at]! > 127) at++;
  return at + 1;
}

/** Where it has what follows its topic name; of QoS 1 and 2, the packet identifier. */
function topicEnd(bytes: Uint8Array, start: number): number {
  const at = topicStart(bytes, start);
  return at + 2 + (bytes[at]! << 8 | bytes[at + 1]!);
}

/** The topic name of the PUBLISH that begins at a place. */
export function topicIn(bytes: Uint8Array, start = 0): string {
  return new TextDecoder().decode(bytes.subarray(topicStart(bytes, start) + 2, topicEnd(bytes, start)));
}

/** The topic name of a PUBLISH. */
export function topicOf({ page, start }: Shelved): string {
  return topicIn(page.bytes, start);
}

/** Writes its packet identifier into a PUBLISH, and DUP when it is sent again [MQTT-3.3.1-1]. */
export function stamp({ page: { bytes }, start }: Shelved, packetId: number, { dup }: { dup: boolean }): void {
  const at = topicEnd(bytes, start);
  bytes[at] = packetId >> 8;
  bytes[at + 1] = packetId & 255;
  bytes[start] = bytes[start]! & ~8 | (dup ? 8 : 0);
}

/**
 * Writes into a PUBLISH of version 5 how many seconds of its expiry are left: the time that it has waited is taken off.
 * One that was packed as version 4 has no expiry.
 */
export function reduceExpiry({ page: { bytes }, start }: Shelved, seconds: number): void {
  const properties = topicEnd(bytes, start) + ((bytes[start]! & 6) === 0 ? 0 : 2);
  writeExpiry(bytes, properties, seconds);
}
