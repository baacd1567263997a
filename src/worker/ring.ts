/** Bytes from one thread to another, through shared memory.
 * @module */

/** The indexes of the counters in the state: each counter is on a cache line of its own. */
const WRITTEN = 0;
const READ = 16;
const DONE = 32;
const READER_SLEEPS = 48;
const WRITER_SLEEPS = 64;
const LEFT = 80;
const HEADER = 512;
/**
 * So many bytes are copied at once, by way of a buffer that has the same alignment as their place in the ring: then V8 copies
 * shared memory word by word, in 6 us, and otherwise byte by byte, in 45.
 */
const STAGE = 65_536;
/** That buffer: no copy outlasts a call, so the rings of a thread share it. */
const STAGES = /* @__PURE__ */ new Uint8Array(STAGE + 7);

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
    const count = Math.min(bytes.length, this.size - this.waiting);
    for (let done = 0; done < count;) {
      const { at, staged } = this.#stage(WRITTEN, done, count);
      staged.set(bytes.subarray(done, done += staged.length));
      this.#bytes.set(staged, at);
    }
    this.#advance(WRITTEN, count, READER_SLEEPS);
    return count;
  }

  /** For the reader: takes out what has room there, and returns how much that is. */
  take(to: Uint8Array): number {
    const count = Math.min(to.length, this.waiting);
    for (let done = 0; done < count;) {
      const { at, staged } = this.#stage(READ, done, count);
      staged.set(this.#bytes.subarray(at, at + staged.length));
      to.set(staged, done);
      done += staged.length;
    }
    this.#advance(READ, count, WRITER_SLEEPS);
    return count;
  }

  /** The next bytes to copy: where they are in the ring, and a part of the buffer with the same alignment. */
  #stage(counter: number, done: number, count: number): { at: number; staged: Uint8Array } {
    const at = this.#state[counter]! + done & this.size - 1;
    const size = Math.min(count - done, this.size - at, STAGE);
    return { at, staged: STAGES.subarray(at & 7, (at & 7) + size) };
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
