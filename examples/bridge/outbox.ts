/**
 * What waits for one reader, in order. Messages are bounded: a reader that is too slow loses its oldest,
 * and is told how many. What is told besides, answers and states, is never lost; who has it told bounds it.
 */
import { Buffer } from "node:buffer";
import type { WaitingLimits } from "./waiting.ts";

/** The reader's side. */
export interface Reader {
  /** Whether it takes more now. */
  ready(): boolean;
  /** Gives it frames, in order: 64 KiB, or one that is larger. */
  write(frames: readonly string[]): void;
  /** The frame that tells it how many it has lost. */
  lost(count: number): string;
}

interface Told {
  readonly frame: string;
  /** The number of the message it goes before. */
  readonly at: number;
  readonly key: string | undefined;
}

/** Bytes that are written at a time: what was taken shows that a slow reader reads. */
const BATCH = 65_536;

/** What a text, or so many bytes, cost while they wait: a few cost more than themselves. */
export function weigh(text: string | number): number {
  return Math.max(typeof text === "string" ? Buffer.byteLength(text) : text, 1024);
}

export class Outbox {
  readonly #reader: Reader;
  readonly #limits: WaitingLimits;
  readonly #losses: { add(kind: "dropped"): void };
  /** An empty one stands for a message that was larger than all that may wait. */
  #messages: string[] = [];
  /** Where the oldest is in #messages, and its number among all. */
  #head = 0;
  #number = 0;
  #bytes = 0;
  #lost = 0;
  #told: Told[] = [];
  #scheduled = false;
  /** What the frames weigh that are told and not yet written. */
  weight = 0;

  /** `losses` counts what is dropped. */
  constructor(reader: Reader, limits: WaitingLimits, losses: { add(kind: "dropped"): void }) {
    this.#reader = reader;
    this.#limits = limits;
    this.#losses = losses;
  }

  /** Adds a message; those of one turn of the event loop are written together. */
  push(frame: string): void {
    const bytes = Buffer.byteLength(frame), fits = bytes <= this.#limits.bytes;
    if (!fits) this.#losses.add("dropped");
    this.#messages.push(fits ? frame : "");
    this.#bytes += fits ? bytes : 0;
    this.#schedule();
    if (!this.#isFull()) return;
    this.flush();
    while (this.#isFull()) {
      if (this.#take() !== "") this.#losses.add("dropped");
      this.#lost++;
    }
  }

  /** Adds a frame that is not lost; of those with the same key only the latest waits. */
  tell(frame: string, key?: string): void {
    if (key !== undefined) this.#told = this.#told.filter((told) => told.key !== key || this.#release(told));
    this.#told.push({ frame, at: this.#number + this.#messages.length - this.#head, key });
    this.weight += weigh(frame);
    this.#schedule();
  }

  /** Writes what waits, as far as the reader takes it; to be called when it is ready again. */
  flush(): void {
    this.#scheduled = false;
    while (this.#reader.ready()) {
      const frames: string[] = [];
      for (let size = 0; size < BATCH;) {
        const frame = this.#next();
        if (frame === undefined) break;
        frames.push(frame);
        size += frame.length;
      }
      if (frames.length === 0) return;
      this.#reader.write(frames);
    }
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.flush());
  }

  #isFull(): boolean {
    return this.#bytes > this.#limits.bytes || this.#messages.length - this.#head > this.#limits.messages;
  }

  /** The frame that is to be written next. */
  #next(): string | undefined {
    for (;;) {
      const [told] = this.#told;
      if (told !== undefined && told.at <= this.#number) {
        this.#release(this.#told.shift()!);
        return told.frame;
      }
      const message = this.#messages[this.#head];
      if (message === "") this.#lost++;
      else if (this.#lost > 0) {
        const lost = this.#lost;
        this.#lost = 0;
        return this.#reader.lost(lost);
      } else if (message === undefined) return undefined;
      this.#take();
      if (message) return message;
    }
  }

  /** Takes the oldest message out. */
  #take(): string {
    const message = this.#messages[this.#head]!;
    this.#messages[this.#head++] = "";
    this.#number++;
    this.#bytes -= Buffer.byteLength(message);
    // Half of the array at once: moving the rest for each frame would cost more than the frame.
    if (this.#head * 2 > this.#messages.length) {
      this.#messages = this.#messages.slice(this.#head);
      this.#head = 0;
    }
    return message;
  }

  /** Lets go of a frame's weight; false, for it is out. */
  #release({ frame }: Told): false {
    this.weight -= weigh(frame);
    return false;
  }
}
