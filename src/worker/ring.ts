/** Bytes from one thread to another, through shared memory.
 * @module */

import { copyShared } from "./shared_bytes.ts";

/** The indexes of the counters in the state: each counter is on a cache line of its own. */
const WRITTEN = 0;
/** Where the counters stood when the ring began anew at its first byte; with the counter that is always read before it. */
const ORIGIN = 1;
const READ = 16;
const DONE = 32;
const READER_SLEEPS = 48;
const WRITER_SLEEPS = 64;
const LEFT = 80;
const HEADER = 512;
/** Up to so many bytes are copied one by one: 16 in 60 ns, and otherwise in 300. */
const FEW = 96;
/** An empty ring begins anew after so many bytes: a reader that keeps up leaves the rest of the memory untouched, so it takes no place. */
const FAR = 16_384;

/** The counters in a ring's memory. */
function stateOf(memory: SharedArrayBuffer): Int32Array {
  return new Int32Array(memory, 0, HEADER >> 2);
}

/**
 * A ring buffer with one writer and one reader. Messages with the bytes in them cost Deno 60 us each
 * and every runtime a fresh buffer; here a message is due only when the other end sleeps.
 */
export class Ring {
  #state: Int32Array;
  #bytes: Uint8Array;
  readonly #wake: () => void;

  /** `wake` reaches the other end, when that sleeps. */
  constructor(memory: SharedArrayBuffer, wake: () => void) {
    this.#state = stateOf(memory);
    this.#bytes = new Uint8Array(memory, HEADER);
    this.#wake = wake;
  }

  /** Memory for `size` bytes, a power of two: the counters may overflow. */
  static allocate(size: number): SharedArrayBuffer {
    return new SharedArrayBuffer(HEADER + size);
  }

  /** Whether both ends have left the ring in this memory: nobody touches that any more. */
  static isFree(memory: SharedArrayBuffer): boolean {
    return Atomics.load(stateOf(memory), LEFT) === 2;
  }

  /** Makes free memory an empty ring again. */
  static clear(memory: SharedArrayBuffer): void {
    stateOf(memory).fill(0);
  }

  get size(): number {
    return this.#bytes.length;
  }

  /** How many bytes are in it. */
  get waiting(): number {
    return Atomics.load(this.#state, WRITTEN) - Atomics.load(this.#state, READ) | 0;
  }

  /** How many bytes the reader is not done with: those in it, and those it has taken out. */
  get unfinished(): number {
    return Atomics.load(this.#state, WRITTEN) - Atomics.load(this.#state, DONE) | 0;
  }

  /** For the writer: puts in what has room, and returns how much that is. */
  put(bytes: Uint8Array): number {
    const { waiting } = this, ring = this.#bytes, count = Math.min(bytes.length, ring.length - waiting);
    if (waiting === 0 && this.#place(WRITTEN) > FAR) this.#state[ORIGIN] = this.#state[WRITTEN]!;
    const at = this.#place(WRITTEN);
    if (count <= FEW) {
      for (let i = 0; i < count; i++) ring[at + i & ring.length - 1] = bytes[i]!;
    } else {
      const first = Math.min(count, ring.length - at);
      copyShared(bytes.subarray(0, first), ring.subarray(at, at + first));
      if (first < count) copyShared(bytes.subarray(first, count), ring.subarray(0, count - first));
    }
    this.#advance(WRITTEN, count, READER_SLEEPS);
    return count;
  }

  /** For the reader: takes out what has room there, and returns how much that is. */
  take(to: Uint8Array): number {
    const count = Math.min(to.length, this.waiting), at = this.#place(READ), ring = this.#bytes;
    if (count <= FEW) {
      for (let i = 0; i < count; i++) to[i] = ring[at + i & ring.length - 1]!;
    } else {
      const first = Math.min(count, ring.length - at);
      copyShared(ring.subarray(at, at + first), to.subarray(0, first));
      if (first < count) copyShared(ring.subarray(0, count - first), to.subarray(first, count));
    }
    this.#advance(READ, count, WRITER_SLEEPS);
    return count;
  }

  /** Where in the ring the byte is at which a counter stands. */
  #place(counter: number): number {
    return this.#state[counter]! - this.#state[ORIGIN]! & this.size - 1;
  }

  /** For the reader: it is done with so many bytes. */
  finish(count: number): void {
    Atomics.add(this.#state, DONE, count);
  }

  #advance(counter: number, count: number, sleeper: number): void {
    if (count === 0) return;
    Atomics.add(this.#state, counter, count);
    const level = Atomics.load(this.#state, sleeper);
    if (level === 0 || sleeper === WRITER_SLEEPS && this.waiting >= level) return;
    if (Atomics.exchange(this.#state, sleeper, 0) !== 0) this.#wake();
  }

  /** For the reader: wants to be woken, once, when there are bytes. Look again after that. */
  awaitBytes(): void {
    Atomics.store(this.#state, READER_SLEEPS, 1);
  }

  /**
   * This end touches the memory no more, whatever it is asked: from here on it has a state of its own, in which nothing
   * waits and nothing has room. What is unfinished stays known.
   */
  leave(): void {
    const state = this.#state;
    this.#state = state.slice();
    this.#state[READ] = this.#state[WRITTEN]!;
    this.#bytes = new Uint8Array(0);
    Atomics.add(state, LEFT, 1);
  }

  /** For the writer: wants to be woken, once, when no more than so many bytes are waiting. Look again after that. */
  awaitRoom(most: number): void {
    Atomics.store(this.#state, WRITER_SLEEPS, most + 1);
  }
}
