/** What is said to another thread, gathered within a tick: a message for each would cost more than what is in it.
 * @module */

import type { Crossing } from "./module_messages.ts";

/** When so many bytes are gathered they cross at once, although this tick's code may go on. */
const FULL = 262_144;
/** What the bytes are first gathered in. */
const FIRST = 1024;

/** Gathers entries and their bytes. */
export class Outbox<Entry> {
  readonly #send: (crossing: Crossing<Entry>) => void;
  readonly #tick: (callback: () => void) => void;
  #entries: Entry[] = [];
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(FIRST);
  #length = 0;
  /** Whether it will be sent at the end of this tick. */
  #scheduled = false;

  /** `tick` calls back after the code that runs now. */
  constructor(send: (crossing: Crossing<Entry>) => void, tick: (callback: () => void) => void) {
    this.#send = send;
    this.#tick = tick;
  }

  /** The entry that was added last, if it has not been sent: the next one may be added to it. */
  get last(): Entry | undefined {
    return this.#entries.at(-1);
  }

  /** Adds an entry. */
  add(entry: Entry): void {
    this.#entries.push(entry);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#tick(this.#flush);
  }

  /** Adds bytes, which are copied, to those of the last entry. */
  addBytes(bytes: Uint8Array): void {
    const end = this.#length + bytes.length;
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#bytes.length));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = end;
    if (end > FULL) this.send();
  }

  readonly #flush = () => {
    this.#scheduled = false;
    this.send();
  };

  /** Sends what there is. */
  send(): void {
    if (this.#entries.length === 0) return;
    const crossing = { entries: this.#entries, bytes: this.#bytes.slice(0, this.#length) };
    this.#entries = [];
    this.#length = 0;
    if (this.#bytes.length > FULL) this.#bytes = new Uint8Array(FIRST);
    this.#send(crossing);
  }
}
