/** Records that wait to be written, in the form in which they will be.
 * @module */

import { FRAME, LARGEST, put32 } from "./format.ts";

/** Bytes of the buffer to begin with, and what it may keep when nothing waits. */
const SMALL = 64 * 1024;
const IDLE = 1024 * 1024;

/** A buffer of records. They get their sequences and checksums when they are written. */
export class Frames {
  /** The first `used` bytes of it are records. */
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** So many bytes of records wait. */
  used = 0;

  /** Copies a record, with room before it. */
  append(record: Uint8Array): void {
    const { length } = record;
    if (length > LARGEST) {
      throw new RangeError(`Cannot append a record as it must be of at most ${LARGEST} bytes: received ${length}`);
    }
    const at = this.used, end = at + FRAME + length;
    if (end > this.bytes.length) this.#grow(end);
    put32(this.bytes, at, length);
    this.bytes.set(record, at + FRAME);
    this.used = end;
  }

  /** Forgets the first `length` bytes. A large buffer goes with the last of them. */
  drop(length: number): void {
    this.bytes.copyWithin(0, length, this.used);
    this.used -= length;
    if (this.used === 0 && this.bytes.length > IDLE) this.bytes = new Uint8Array(0);
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(Math.max(SMALL, needed, 2 * this.bytes.length));
    larger.set(this.bytes.subarray(0, this.used));
    this.bytes = larger;
  }
}
