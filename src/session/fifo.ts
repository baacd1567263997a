/** A queue that is cheap at both ends, however long it is.
 * @module */

/** First in, first out. */
export class Fifo<T> {
  /** The newest, in order, and those before them in reverse: both are cheap at their ends. */
  #newest: T[] = [];
  #oldest: T[] = [];

  /** How many wait. */
  get length(): number {
    return this.#oldest.length + this.#newest.length;
  }

  /** Adds one. */
  push(item: T): void {
    this.#newest.push(item);
  }

  /** Takes out the first; undefined when there is none. */
  shift(): T | undefined {
    if (this.#oldest.length === 0) {
      if (this.#newest.length === 0) return undefined;
      [this.#oldest, this.#newest] = [this.#newest.reverse(), this.#oldest];
    }
    return this.#oldest.pop();
  }

  /** Takes out those of which it is so. */
  discard(isSuperfluous: (item: T) => boolean): void {
    this.#newest = this.#newest.filter((item) => !isSuperfluous(item));
    this.#oldest = this.#oldest.filter((item) => !isSuperfluous(item));
  }

  /** Takes out all. */
  clear(): void {
    this.#newest.length = this.#oldest.length = 0;
  }
}
