/** The bytes of a store's file: a header, and records behind it. `docs/store.md` describes them.
 * @module */

import { crc32 } from "./crc32.ts";

/** The bytes of one copy of the header; the file begins with two. */
const COPY = 32;
/** The bytes of the header: records begin there. */
export const HEADER: number = 2 * COPY;
/** The bytes before the content of a record: its length, its checksum, its sequence. */
export const FRAME = 16;
/** The bytes of content that a record may have: the length of a damaged one is often more. */
export const LARGEST: number = 2 ** 30;

/** "mqtt3c", and two bytes that a transfer as text would change. */
const MAGIC = Uint8Array.of(0x6d, 0x71, 0x74, 0x74, 0x33, 0x63, 0x1a, 0x0a);
/** Where the parts of a copy of the header are. */
const AT = { version: 8, salt: 12, first: 20, checksum: 28 };
const VERSION = 1;
const TWO_32 = 2 ** 32;

/** What is in the header. */
export interface Header {
  /** Where every checksum of the file begins: that of 8 random bytes, which no other file has. */
  readonly seed: number;
  /** The sequence of the first record. */
  readonly first: number;
}

/** Where records end, and the sequence of the next one. */
export interface End {
  readonly end: number;
  readonly next: number;
}

/** What the beginning of a file is. */
export type Beginning =
  | { readonly kind: "header"; readonly header: Header; readonly broken: 0 | 1 | 2 }
  | { readonly kind: "newer"; readonly version: number }
  | { readonly kind: "unfinished" }
  | { readonly kind: "foreign" };

/** Reads a number of four bytes. */
export function get32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!) >>> 0;
}

/** Writes a number of four bytes. */
export function put32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Reads a number of eight bytes; above 2 ** 53 it is not exact, and such a sequence is none of ours. */
export function get64(bytes: Uint8Array, at: number): number {
  return get32(bytes, at) * TWO_32 + get32(bytes, at + 4);
}

function put64(bytes: Uint8Array, at: number, value: number): void {
  put32(bytes, at, value / TWO_32);
  put32(bytes, at + 4, value % TWO_32);
}

/**
 * A sequence to begin a new store with: random, so that nobody can make a payload which has to be looked at closely when
 * records are searched for behind a damaged one. None is 0, as zeros are what a power cut leaves in a file.
 */
export function firstSequence(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2)) as unknown as [number, number];
  return (1 + high % 0xffff) * TWO_32 + low;
}

/** The header of a new file, with a salt of its own, and its bytes in both copies. */
export function makeHeader(first: number): { header: Header; bytes: Uint8Array } {
  const bytes = new Uint8Array(HEADER);
  bytes.set(MAGIC);
  put32(bytes, AT.version, VERSION);
  crypto.getRandomValues(bytes.subarray(AT.salt, AT.first));
  put64(bytes, AT.first, first);
  put32(bytes, AT.checksum, crc32(bytes, 0, AT.checksum));
  bytes.copyWithin(COPY, 0, COPY);
  return { header: { seed: seedOf(bytes, 0), first }, bytes };
}

function seedOf(bytes: Uint8Array, at: number): number {
  return crc32(bytes, at + AT.salt, at + AT.first);
}

/** Tells what a file is by its first bytes, of which there are {@linkcode HEADER}, or all that the file has. */
export function readHeader(bytes: Uint8Array): Beginning {
  const good = ([0, COPY] as const).filter((at) => isCopy(bytes, at));
  const at = good[0];
  if (at === undefined) return { kind: isUnfinished(bytes) ? "unfinished" : "foreign" };
  const version = get32(bytes, at + AT.version);
  if (version > VERSION) return { kind: "newer", version };
  const header = { seed: seedOf(bytes, at), first: get64(bytes, at + AT.first) };
  return { kind: "header", header, broken: good.length === 2 ? 0 : at === 0 ? 2 : 1 };
}

/** Both copies of the header again, of which one is broken. */
export function mendHeader(bytes: Uint8Array, broken: 1 | 2): Uint8Array {
  const mended = new Uint8Array(HEADER);
  const good = broken === 1 ? COPY : 0;
  mended.set(bytes.subarray(good, good + COPY));
  mended.copyWithin(COPY, 0, COPY);
  return mended;
}

/** Magic, version and checksum stay where they are in every version, so that this one can tell a newer file. */
function isCopy(bytes: Uint8Array, at: number): boolean {
  return bytes.length >= at + COPY && MAGIC.every((byte, i) => bytes[at + i] === byte) &&
    get32(bytes, at + AT.checksum) === crc32(bytes, at, at + AT.checksum);
}

/** Whether the file was being made when the power went: it has no record yet. */
function isUnfinished(bytes: Uint8Array): boolean {
  return bytes.length < COPY && bytes.every((byte, i) => i >= MAGIC.length || byte === MAGIC[i]);
}

/**
 * Where the checksum of a record begins that is at `place` in a file: a copy of it at any other place has another one. So
 * a payload that is a copy of the file's own bytes, in a backup of the file for example, is never taken for records.
 */
export function seedAt(seed: number, place: number): number {
  return (seed ^ place) >>> 0;
}

/** The checksum of the record that begins at `at`, and whose content ends at `end`: of its sequence and its content. */
export function checksum(bytes: Uint8Array, at: number, end: number, seed: number): number {
  return crc32(bytes, at + 8, end, seed);
}

/**
 * Gives records their sequences, from that of `next` on, and their checksums. They are in the first `length` bytes, each
 * with its length before it, and go to the place `end` of a file. Returns what comes after them.
 */
export function seal(bytes: Uint8Array, length: number, seed: number, { end: place, next }: End): End {
  let sequence = next;
  for (let at = 0; at < length; sequence++) {
    const end = at + FRAME + get32(bytes, at);
    put64(bytes, at + 8, sequence);
    put32(bytes, at + 4, checksum(bytes, at, end, seedAt(seed, place + at)));
    at = end;
  }
  return { end: place + length, next: sequence };
}
