/** A queue that is cheap at both ends, however long it is.
 * @module */

/** First in, first out. */
export class Fifo<T> {
  /** The newest, in order, and those before them in reverse: both are cheap at their ends. Made when there is one. */
  #newest: T[] | undefined;
  #oldest: T[] | undefined;

  /** How many wait; a field, as it is looked at for each message. */
  length = 0;

  /** Adds one. */
  push(item: T): void {
    (this.#newest ??= []).push(item);
    this.length++;
  }

  /** Takes out the first; undefined when there is none. */
  shift(): T | undefined {
    if (this.length === 0) return undefined;
    this.length--;
    if (!this.#oldest?.length) [this.#oldest, this.#newest] = [this.#newest!.reverse(), this.#oldest];
    return this.#oldest!.pop();
  }

  /** The first, which stays; undefined when there is none. */
  get first(): T | undefined {
    return this.#oldest?.at(-1) ?? this.#newest?.[0];
  }

  /** Puts some before all others. */
  putBack(items: readonly T[]): void {
    if (items.length === 0) return;
    const oldest = this.#oldest ??= [];
    for (let i = items.length - 1; i >= 0; i--) oldest.push(items[i]!);
    this.length += items.length;
  }

  /** All, in order; they stay. */
  *[Symbol.iterator](): IterableIterator<T> {
    const oldest = this.#oldest ?? [];
    for (let i = oldest.length - 1; i >= 0; i--) yield oldest[i]!;
    yield* this.#newest ?? [];
  }

  /** Takes out those of which it is so, and returns them in order. */
  discard(isSuperfluous: (item: T) => boolean): T[] {
    if (this.length === 0) return [];
    const out: T[] = [], others: T[] = [];
    for (const item of this) (isSuperfluous(item) ? out : others).push(item);
    this.#oldest = undefined;
    this.#newest = others;
    this.length = others.length;
    return out;
  }

  /** Takes out all. */
  clear(): void {
    this.#newest = this.#oldest = undefined;
    this.length = 0;
  }
}
