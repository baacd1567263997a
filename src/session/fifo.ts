/** A queue that is cheap at both ends, however long it is.
 * @module */

/** First in, first out. */
export class Fifo<T> {
  /** The newest, in order, and those before them in reverse: both are cheap at their ends. */
  #newest: T[] = [];
  #oldest: T[] = [];

  /** How many wait; a field, as it is looked at for each message. */
  length = 0;

  /** Adds one. */
  push(item: T): void {
    this.#newest.push(item);
    this.length++;
  }

  /** Takes out the first; undefined when there is none. */
  shift(): T | undefined {
    if (this.length === 0) return undefined;
    this.length--;
    if (this.#oldest.length === 0) [this.#oldest, this.#newest] = [this.#newest.reverse(), this.#oldest];
    return this.#oldest.pop();
  }

  /** Takes out those of which it is so. */
  discard(isSuperfluous: (item: T) => boolean): void {
    this.#newest = this.#newest.filter((item) => !isSuperfluous(item));
    this.#oldest = this.#oldest.filter((item) => !isSuperfluous(item));
    this.length = this.#newest.length + this.#oldest.length;
  }

  /** Takes out all. */
  clear(): void {
    this.#newest.length = this.#oldest.length = this.length = 0;
  }
}
