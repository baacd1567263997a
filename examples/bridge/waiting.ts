/** What waits for one who is slow or away, in order and within a bound: beyond it the oldest is lost. */

/** What may wait, at most. */
export interface WaitingLimits {
  messages: number;
  bytes: number;
}

/** Something that waits. */
export interface Weighed {
  readonly bytes: number;
}

export class Waiting<T extends Weighed> {
  readonly #limits: WaitingLimits;
  readonly #flush: () => void;
  readonly #lose: (item: T) => void;
  #items: T[] = [];
  /** Where the oldest is in #items. */
  #head = 0;
  #bytes = 0;

  /** `flush` has to call {@linkcode Waiting.offer}: it is called before something is lost. */
  constructor(limits: WaitingLimits, flush: () => void, lose: (item: T) => void) {
    this.#limits = limits;
    this.#flush = flush;
    this.#lose = lose;
  }

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
    this.#bytes += item.bytes;
    if (this.#isFull()) this.#flush();
    while (this.#isFull()) {
      const oldest = this.#items[this.#head++]!;
      this.#bytes -= oldest.bytes;
      this.#trim();
      this.#lose(oldest);
    }
  }

  /** Offers what waits, the oldest first: `"taken"`, or it `"waits"` and others go before it, or `"full"`, and so do all. */
  offer(take: (item: T) => "taken" | "waits" | "full"): void {
    const passed: T[] = [];
    for (; this.#head < this.#items.length; this.#head++) {
      const item = this.#items[this.#head]!, answer = take(item);
      if (answer === "full") break;
      if (answer === "waits") passed.push(item);
      else this.#bytes -= item.bytes;
    }
    if (passed.length > 0) {
      this.#items = passed.concat(this.#items.slice(this.#head));
      this.#head = 0;
    } else this.#trim();
  }

  #isFull(): boolean {
    return this.length > this.#limits.messages || this.#bytes > this.#limits.bytes;
  }

  /** Half of the array at once: moving the rest for each item would cost more than the item. */
  #trim(): void {
    if (this.#head * 2 <= this.#items.length) return;
    this.#items = this.#items.slice(this.#head);
    this.#head = 0;
  }
}
