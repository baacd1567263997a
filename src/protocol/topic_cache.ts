/** Topic names by their bytes, so that each is decoded and checked once.
 * @module */

import type { Version } from "./packet.ts";
import { TopicName } from "./topic.ts";

/** Longer names are decoded each time. */
const MAX_BYTES = 256;
/** Probes before a name is left out: a peer that picks colliding names costs itself, not us. */
const MAX_PROBES = 8;
/** Past one of these it starts anew: some 10 MiB at the most, whatever the broker sends. */
const MAX_NAMES = 1 << 16;
const MAX_WORDS = 1 << 20;

/** What a table starts with, and never writes to. */
const NO_SLOTS = new Int32Array(0);
const NO_RECORDS = Int32Array.of(0, 0, -1);

/** Where in a name's record is the index in #names, the record of the name that came next last time, and the length. */
const INDEX = 0, NEXT = 1, LENGTH = 2;

/**
 * A hash table from bytes to {@linkcode TopicName}. Names are hashed and compared in words of
 * four bytes, the last one overlapping: 25 ns for 26 bytes, where decoding takes 130 to 300.
 * Streams repeat themselves: the name that followed the last one is tried first, at 10 ns.
 */
export class TopicCache {
  readonly #decode: (bytes: Uint8Array, version: Version) => string;
  readonly #version: Version;
  #names: TopicName[] = [];
  /** Two numbers a slot: hash, and place of the record in #records (0: free). */
  #slots = NO_SLOTS;
  /** For each name INDEX, NEXT, LENGTH and its words; the first record is nobody's. */
  #records = NO_RECORDS;
  #used = 3;
  #last = 0;

  /** `decode` makes the string, and throws if the bytes are no topic name in that version. */
  constructor(decode: (bytes: Uint8Array, version: Version) => string, version: Version = 4) {
    this.#decode = decode;
    this.#version = version;
  }

  /** The name in these bytes; `view` is over the same buffer as `bytes`, at the same offset. */
  get(bytes: Uint8Array, view: DataView, start: number, length: number): TopicName {
    if (length > MAX_BYTES) return this.#make(bytes, start, length);
    const tail = length < 4 ? pack(bytes, start, length) : view.getInt32(start + length - 4, true);
    let record = this.#records[this.#last + NEXT]!;
    if (!this.#is(record, view, start, length, tail)) {
      record = this.#find(view, start, length, tail);
      if (record < 0) return this.#make(bytes, start, length);
      if (record === 0) record = this.#add(bytes, view, start, length, tail);
      this.#records[this.#last + NEXT] = record;
    }
    this.#last = record;
    return this.#names[this.#records[record + INDEX]!]!;
  }

  /** Whether the record is that of the name. */
  #is(record: number, view: DataView, start: number, length: number, tail: number): boolean {
    const records = this.#records;
    if (records[record + LENGTH] !== length) return false;
    let word = record + LENGTH;
    for (let at = start; at < start + length - 4; at += 4) {
      if (view.getInt32(at, true) !== records[++word]) return false;
    }
    return tail === records[++word];
  }

  /** The name's record; 0 when it has none, -1 when it cannot have one. */
  #find(view: DataView, start: number, length: number, tail: number): number {
    const slots = this.#slots;
    if (slots.length === 0) return 0;
    const hash = hashName(view, start, length, tail);
    let slot = slotOf(hash, slots);
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      const record = slots[slot + 1]!;
      if (record === 0) return 0;
      if (slots[slot] === hash && this.#is(record, view, start, length, tail)) return record;
      slot = slot + 2 === slots.length ? 0 : slot + 2;
    }
    return -1;
  }

  #make(bytes: Uint8Array, start: number, length: number): TopicName {
    return new TopicName(this.#decode(bytes.subarray(start, start + length), this.#version));
  }

  #add(bytes: Uint8Array, view: DataView, start: number, length: number, tail: number): number {
    const topic = this.#make(bytes, start, length);
    const size = 5 + (length >> 2);
    if (this.#names.length === MAX_NAMES || this.#used + size > MAX_WORDS) {
      this.#names = [];
      this.#slots = NO_SLOTS;
      this.#records = NO_RECORDS;
      this.#used = 3;
      this.#last = 0;
    }
    if (this.#used + size > this.#records.length) this.#records = grown(this.#records, 128);
    if (this.#names.length * 4 >= this.#slots.length) this.#spread();
    const record = this.#used;
    this.#records[record + INDEX] = this.#names.length;
    this.#records[record + LENGTH] = length;
    let word = record + LENGTH;
    for (let at = start; at < start + length - 4; at += 4) this.#records[++word] = view.getInt32(at, true);
    this.#records[++word] = tail;
    this.#used = word + 1;
    this.#names.push(topic);
    place(this.#slots, hashName(view, start, length, tail), record);
    return record;
  }

  /** Twice the slots: at most half of them are taken, so probing stays short. */
  #spread(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(Math.max(old.length * 2, 32));
    for (let slot = 0; slot < old.length; slot += 2) {
      if (old[slot + 1] !== 0) place(this.#slots, old[slot]!, old[slot + 1]!);
    }
  }
}

function grown(old: Int32Array, least: number): Int32Array<ArrayBuffer> {
  const array = new Int32Array(Math.max(old.length * 2, least));
  array.set(old);
  return array;
}

function pack(bytes: Uint8Array, start: number, length: number): number {
  let word = 0;
  for (let i = 0; i < length; i++) word = word << 8 | bytes[start + i]!;
  return word;
}

function hashName(view: DataView, start: number, length: number, tail: number): number {
  let hash = length;
  for (let at = start; at < start + length - 4; at += 4) {
    hash = Math.imul(hash ^ view.getInt32(at, true), 0x9e3779b1);
    hash ^= hash >>> 15; // the last letter of a word is in its high bits, the slot in the low ones
  }
  hash = Math.imul(hash ^ tail, 0x85ebca6b);
  hash = Math.imul(hash ^ hash >>> 15, 0xc2b2ae35);
  return hash ^ hash >>> 16;
}

function slotOf(hash: number, slots: Int32Array): number {
  return (hash << 1) & (slots.length - 1);
}

function place(slots: Int32Array, hash: number, record: number): void {
  let slot = slotOf(hash, slots);
  while (slots[slot + 1] !== 0) slot = slot + 2 === slots.length ? 0 : slot + 2;
  slots[slot] = hash;
  slots[slot + 1] = record;
}
