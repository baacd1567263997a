/** What waits for one reader: it is bounded, and a reader that is too slow loses its oldest messages, and is told how many. */

/** The reader's side. */
export interface Reader {
  /** Whether it takes more now. */
  ready(): boolean;
  /** Gives it frames, in order. */
  write(frames: readonly string[]): void;
  /** The frame that tells it how many it has lost. */
  lost(count: number): string;
}

export interface OutboxLimits {
  /** Messages that may wait. */
  messages: number;
  /** Characters that may wait. */
  size: number;
}

export class Outbox {
  readonly #reader: Reader;
  readonly #limits: OutboxLimits;
  #frames: string[] = [];
  /** Where the oldest is in #frames. */
  #head = 0;
  #size = 0;
  #lost = 0;
  #scheduled = false;
  /** Messages dropped in all. */
  dropped = 0;

  constructor(reader: Reader, limits: OutboxLimits) {
    this.#reader = reader;
    this.#limits = limits;
  }

  /** Adds a frame; those of one turn of the event loop are written together. */
  push(frame: string): void {
    this.#frames.push(frame);
    this.#size += frame.length;
    if (this.#isFull()) {
      this.flush();
      while (this.#isFull() && this.#head < this.#frames.length) this.#drop();
    } else if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => this.flush());
    }
  }

  /** Writes what waits, if the reader takes it; to be called when it is ready again. */
  flush(): void {
    this.#scheduled = false;
    if (this.#head === this.#frames.length || !this.#reader.ready()) return;
    const frames = this.#head === 0 ? this.#frames : this.#frames.slice(this.#head);
    if (this.#lost > 0) frames.unshift(this.#reader.lost(this.#lost));
    this.#frames = [];
    this.#head = this.#size = this.#lost = 0;
    this.#reader.write(frames);
  }

  #isFull(): boolean {
    return this.#size > this.#limits.size || this.#frames.length - this.#head > this.#limits.messages;
  }

  #drop(): void {
    this.#size -= this.#frames[this.#head]!.length;
    this.#frames[this.#head++] = "";
    this.#lost++;
    this.dropped++;
    // Half of the array at once: moving the rest for each frame would cost more than the frame.
    if (this.#head * 2 > this.#frames.length) {
      this.#frames = this.#frames.slice(this.#head);
      this.#head = 0;
    }
  }
}
