/** Reads the records of a store's file, and finds the next one behind damage.
 * @module */

import { crc32 } from "./crc32.ts";
import type { StoreFile } from "./file.ts";
import { checksum, type End, FRAME, get32, get64, type Header, seedAt } from "./format.ts";
import type { Job } from "./job.ts";

/** The bytes that are read at one go, and those of a turn of the event loop. */
export const PORTION: number = 256 * 1024;

/** A part of a file that is made of records: its bytes, and the sequence of its first record. */
export interface Part extends Header {
  readonly from: number;
  readonly to: number;
}

/** Who hears what is in a part. */
export interface Listener {
  /** Gets a record, in memory that is used again. */
  read(record: Uint8Array): void;
  /** Bytes that are no record, with one behind them. */
  damaged(from: number, to: number): void;
}

/**
 * Reads a part, from record to record: each must have the sequence that follows that of the one before, and the right
 * checksum. Where one has not, the next one is searched for. What stands behind the last record is a torn tail: the end
 * that is returned is before it.
 */
export function* scan(file: StoreFile, { seed, from, to, first }: Part, listener: Listener): Job<End> {
  const window = new Window(file, to, seed);
  let at = from, next = first, reads = 0;
  while (at < to) {
    const length = window.sequence(at) === next ? window.check(at) : undefined;
    if (length !== undefined) {
      listener.read(window.record(at, length));
      at += FRAME + length;
      next++;
    } else {
      const found = yield* search(window, at, to, next);
      if (found === undefined) break;
      listener.damaged(at, found.at);
      at = found.at;
      next = found.sequence;
    }
    if (window.reads === reads) continue;
    yield;
    reads = window.reads;
  }
  return { end: at, next };
}

/**
 * The next record behind damage. Every offset is tried. Its sequence tells how many records were lost, and as many must
 * have had room where the damage is: what looks like a record of another place in the file is none.
 */
function* search(
  window: Window,
  from: number,
  to: number,
  next: number,
): Job<{ at: number; sequence: number } | undefined> {
  let { reads } = window;
  for (let at = from + 1; at + FRAME <= to; at++) {
    const sequence = window.sequence(at);
    const most = next + Math.floor((at - from) / FRAME);
    if (sequence >= next && sequence <= most && window.check(at) !== undefined) return { at, sequence };
    if (window.reads === reads) continue;
    yield;
    reads = window.reads;
  }
  return undefined;
}

/** The bytes of the file that are in memory: a portion, or a larger record as long as it is read. */
class Window {
  readonly #file: StoreFile;
  readonly #to: number;
  readonly #seed: number;
  #bytes: Uint8Array = new Uint8Array(0);
  /** Where in the file they are from, and to. */
  #from = 0;
  #end = 0;
  /** How many times the file was read. */
  reads = 0;

  constructor(file: StoreFile, to: number, seed: number) {
    this.#file = file;
    this.#to = to;
    this.#seed = seed;
  }

  /** What may be the sequence of a record there; -1 where there is no room for one. */
  sequence(at: number): number {
    if (at + FRAME > this.#to) return -1;
    const start = this.#show(at, FRAME);
    return get64(this.#bytes, start + 8);
  }

  /** The length of the record there, if its checksum is right. */
  check(at: number): number | undefined {
    const start = this.#show(at, FRAME);
    const length = get32(this.#bytes, start), expected = get32(this.#bytes, start + 4);
    const size = FRAME + length;
    if (at + size > this.#to) return undefined;
    const sum = size <= PORTION ? this.#checksum(at, size) : this.#longChecksum(at, size);
    return sum === expected ? length : undefined;
  }

  /** The content of a record that was checked. */
  record(at: number, length: number): Uint8Array {
    const start = this.#show(at, FRAME + length) + FRAME;
    return this.#bytes.subarray(start, start + length);
  }

  #checksum(at: number, size: number): number {
    const start = this.#show(at, size);
    return checksum(this.#bytes, start, start + size, seedAt(this.#seed, at));
  }

  /** Piece by piece: a damaged length may be that of half the file, which is not to be in memory. */
  #longChecksum(at: number, size: number): number {
    let sum = seedAt(this.#seed, at);
    for (let from = at + 8; from < at + size;) {
      const length = Math.min(PORTION, at + size - from);
      const start = this.#show(from, length);
      sum = crc32(this.#bytes, start, start + length, sum);
      from += length;
    }
    return sum;
  }

  /** Where in `#bytes` so many bytes of the file begin: reads them, if they are not there. */
  #show(at: number, length: number): number {
    if (at >= this.#from && at + length <= this.#end) return at - this.#from;
    const size = Math.max(Math.min(PORTION, this.#to - at), length);
    if (this.#bytes.length !== size) this.#bytes = new Uint8Array(size);
    // A file that was cut off meanwhile reads as zeros there.
    this.#bytes.fill(0, this.#file.read(this.#bytes, at));
    this.#from = at;
    this.#end = at + size;
    this.reads++;
    return 0;
  }
}
