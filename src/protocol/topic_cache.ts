/** Topic names by their bytes, so that each is decoded and checked once.
 * @module */

import { TopicName } from "./topic.ts";

/** Longer names are decoded each time. */
const MAX_BYTES = 256;
/** Probes before a name is left out: a peer that picks colliding names costs itself, not us. */
const MAX_PROBES = 8;
/** Past one of these it starts anew: some 10 MiB at the most, whatever the broker sends. */
const MAX_NAMES = 1 << 16;
const MAX_WORDS = 1 << 20;

/**
 * A hash table from bytes to {@linkcode TopicName}. Names are hashed and compared in words of
 * four bytes, the last one overlapping: 15 ns for 26 bytes, where decoding takes 130 to 300.
 */
export class TopicCache {
  readonly #decode: (bytes: Uint8Array) => string;
  #names: TopicName[] = [];
  /** Three numbers a slot: hash, place in #words, index in #names plus 1 (0: free). */
  #slots = new Int32Array(0);
  /** The names' words, each name preceded by its length in bytes. */
  #words = new Int32Array(0);
  #used = 0;

  /** `decode` makes the string, and throws if the bytes are no topic name. */
  constructor(decode: (bytes: Uint8Array) => string) {
    this.#decode = decode;
  }

  /** The name in these bytes; `view` is over the same buffer as `bytes`, at the same offset. */
  get(bytes: Uint8Array, view: DataView, start: number, length: number): TopicName {
    if (length > MAX_BYTES) return this.#make(bytes, start, length);
    const last = start + length - 4;
    const tail = length < 4 ? pack(bytes, start, length) : view.getInt32(last, true);
    let hash = length;
    for (let at = start; at < last; at += 4) {
      hash = Math.imul(hash ^ view.getInt32(at, true), 0x9e3779b1);
      hash ^= hash >>> 15; // the last letter of a word is in its high bits, the slot in the low ones
    }
    hash = Math.imul(hash ^ tail, 0x85ebca6b);
    hash = Math.imul(hash ^ hash >>> 15, 0xc2b2ae35);
    hash ^= hash >>> 16;

    const slots = this.#slots;
    if (slots.length === 0) return this.#add(bytes, view, start, length, hash, tail);
    let slot = (hash & (slots.length / 3 - 1)) * 3;
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      const index = slots[slot + 2]!;
      if (index === 0) return this.#add(bytes, view, start, length, hash, tail);
      if (slots[slot] === hash && this.#same(slots[slot + 1]!, view, start, length, tail)) {
        return this.#names[index - 1]!;
      }
      slot += 3;
      if (slot === slots.length) slot = 0;
    }
    return this.#make(bytes, start, length);
  }

  #same(word: number, view: DataView, start: number, length: number, tail: number): boolean {
    const words = this.#words;
    if (words[word] !== length) return false;
    const last = start + length - 4;
    for (let at = start; at < last; at += 4) if (view.getInt32(at, true) !== words[++word]) return false;
    return tail === words[++word];
  }

  #make(bytes: Uint8Array, start: number, length: number): TopicName {
    return new TopicName(this.#decode(bytes.subarray(start, start + length)));
  }

  #add(bytes: Uint8Array, view: DataView, start: number, length: number, hash: number, tail: number): TopicName {
    const topic = this.#make(bytes, start, length);
    const size = 2 + (length >> 2);
    if (this.#names.length === MAX_NAMES || this.#used + size > MAX_WORDS) {
      this.#names = [];
      this.#slots = new Int32Array(0);
      this.#used = 0;
    }
    if (this.#used + size > this.#words.length) {
      const words = new Int32Array(Math.max(this.#words.length * 2, 128));
      words.set(this.#words);
      this.#words = words;
    }
    if (this.#names.length * 6 >= this.#slots.length) this.#grow();
    let word = this.#used;
    this.#names.push(topic);
    place(this.#slots, hash, word, this.#names.length);
    this.#words[word] = length;
    const last = start + length - 4;
    for (let at = start; at < last; at += 4) this.#words[++word] = view.getInt32(at, true);
    this.#words[++word] = tail;
    this.#used = word + 1;
    return topic;
  }

  /** Twice the slots: at most half of them are taken, so probing stays short. */
  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(Math.max(old.length * 2, 48));
    for (let slot = 0; slot < old.length; slot += 3) {
      if (old[slot + 2] !== 0) place(this.#slots, old[slot]!, old[slot + 1]!, old[slot + 2]!);
    }
  }
}

function pack(bytes: Uint8Array, start: number, length: number): number {
  let word = 0;
  for (let i = 0; i < length; i++) word = word << 8 | bytes[start + i]!;
  return word;
}

function place(slots: Int32Array, hash: number, word: number, index: number): void {
  let slot = (hash & (slots.length / 3 - 1)) * 3;
  while (slots[slot + 2] !== 0) slot = slot + 3 === slots.length ? 0 : slot + 3;
  slots[slot] = hash;
  slots[slot + 1] = word;
  slots[slot + 2] = index;
}
