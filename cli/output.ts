/** Standard output as a place for messages: gathered into large writes, one at a time, and each message knows when it is out. */
import { Buffer } from "node:buffer";
import { write } from "node:fs";

/** How long it waits for a terminal or pipe that another process has set not to block, in milliseconds. */
const RETRY = 5;

/** `fs.write` and not `process.stdout`, which blocks on a pipe on Node: nobody would answer the broker's pings meanwhile. */
export class Output {
  readonly #descriptor: number;
  /** What is to be written next, and its length. */
  #gathered = Buffer.allocUnsafe(1 << 16);
  #length = 0;
  /** What is being written: the two change places. */
  #written = Buffer.allocUnsafe(1 << 16);
  #isBusy = false;
  /** Of those who wait for what is gathered. */
  #batch: { promise: Promise<void>; resolve: () => void } | undefined;
  /** Resolves with why nothing can be written any more: EPIPE where the reader has gone. */
  readonly failed: Promise<NodeJS.ErrnoException>;
  #fail!: (error: NodeJS.ErrnoException) => void;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
    this.failed = new Promise((resolve) => this.#fail = resolve);
  }

  /** Adds one part of a message. */
  add(part: string | Uint8Array): void {
    const text = typeof part === "string";
    const most = text ? 3 * part.length : part.length;
    if (this.#length + most > this.#gathered.length) this.#grow(this.#length + most);
    if (text) this.#length += this.#gathered.write(part, this.#length);
    else {
      this.#gathered.set(part, this.#length);
      this.#length += part.length;
    }
  }

  #grow(least: number): void {
    const grown = Buffer.allocUnsafe(Math.max(least, 2 * this.#gathered.length));
    grown.set(this.#gathered.subarray(0, this.#length));
    this.#gathered = grown;
  }

  /** Whether more is gathered than should wait. */
  get isFull(): boolean {
    return this.#isBusy && this.#length > 1 << 16;
  }

  /** Resolves when all that was added is written; never, when the output has failed: what was not written is not done. */
  flush(): Promise<void> {
    if (this.#batch === undefined) {
      let resolve!: () => void;
      const promise = new Promise<void>((done) => resolve = done);
      this.#batch = { promise, resolve };
      // All that comes in one read of the socket is gathered first.
      if (!this.#isBusy) setImmediate(() => this.#isBusy || this.#next());
    }
    return this.#batch.promise;
  }

  #next(): void {
    const bytes = this.#gathered.subarray(0, this.#length), batch = this.#batch;
    if (batch === undefined) return;
    [this.#gathered, this.#written] = [this.#written, this.#gathered];
    this.#length = 0;
    this.#batch = undefined;
    this.#isBusy = true;
    this.#write(bytes, () => {
      this.#isBusy = false;
      batch.resolve();
      this.#next();
    });
  }

  #write(bytes: Uint8Array, done: () => void): void {
    if (bytes.length === 0) return done();
    write(this.#descriptor, bytes, 0, bytes.length, null, (error, count) => {
      if (error?.code === "EAGAIN") setTimeout(() => this.#write(bytes, done), RETRY);
      else if (error) this.#fail(error);
      else this.#write(bytes.subarray(count), done);
    });
  }
}
