/** Bytes from one thread to another, through shared memory.
 * @module */

/** Where in the state the counters are: each on a cache line of its own. */
const WRITTEN = 0;
const READ = 16;
const READER_SLEEPS = 32;
const WRITER_SLEEPS = 48;
const HEADER = 256;

/** Who sleeps until it is woken. */
export type End = "reader" | "writer";

/**
 * A ring buffer with one writer and one reader. Messages with the bytes in them cost Deno 60 us each
 * and every runtime a fresh buffer; here a message is due only when the other end sleeps.
 */
export class Ring {
  readonly memory: SharedArrayBuffer;
  readonly #state: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #wake: () => void;

  /** `wake` reaches the other end, when that sleeps. */
  constructor(memory: SharedArrayBuffer, wake: () => void) {
    this.memory = memory;
    this.#state = new Int32Array(memory, 0, HEADER >> 2);
    this.#bytes = new Uint8Array(memory, HEADER);
    this.#wake = wake;
  }

  /** Memory for `size` bytes, a power of two: the counters may overflow. */
  static allocate(size: number): SharedArrayBuffer {
    return new SharedArrayBuffer(HEADER + size);
  }

  get size(): number {
    return this.#bytes.length;
  }

  /** How many bytes are in it. */
  get waiting(): number {
    return Atomics.load(this.#state, WRITTEN) - Atomics.load(this.#state, READ) | 0;
  }

  /** For the writer: puts in what has room, and returns how much that is. */
  put(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.size - this.waiting);
    const at = this.#state[WRITTEN]! & this.size - 1;
    const first = Math.min(count, this.size - at);
    this.#bytes.set(first === bytes.length ? bytes : bytes.subarray(0, first), at);
    if (count > first) this.#bytes.set(bytes.subarray(first, count));
    this.#advance(WRITTEN, count, READER_SLEEPS);
    return count;
  }

  /** For the reader: copies what has room there, and returns how much that is; `free` makes place for more. */
  copy(to: Uint8Array): number {
    const count = Math.min(to.length, this.waiting);
    const at = this.#state[READ]! & this.size - 1;
    const first = Math.min(count, this.size - at);
    to.set(this.#bytes.subarray(at, at + first));
    if (count > first) to.set(this.#bytes.subarray(0, count - first), first);
    return count;
  }

  /** For the reader: so many bytes are done with. */
  free(count: number): void {
    this.#advance(READ, count, WRITER_SLEEPS);
  }

  #advance(counter: number, count: number, sleeper: number): void {
    if (count === 0) return;
    Atomics.store(this.#state, counter, this.#state[counter]! + count | 0);
    if (Atomics.exchange(this.#state, sleeper, 0) === 1) this.#wake();
  }

  /** Wants to be woken, once, when the other end has done something from now on: look again after that. */
  sleep(end: End): void {
    Atomics.store(this.#state, end === "reader" ? READER_SLEEPS : WRITER_SLEEPS, 1);
  }
}
