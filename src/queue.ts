/** Messages that wait for their iterator: as many as it wants, and no more.
 * @module */

import type { MqttError } from "./errors.ts";
import type { Message } from "./message.ts";

/** What a queue tells its client: it is full; it has room again; nobody iterates any more. */
export type QueueOwner = { full(): void; drained(): void; left(): Promise<void> };

type Result = IteratorResult<Message, undefined>;

/** The iterator of `messages()`. */
export class MessageQueue implements AsyncIterableIterator<Message> {
  readonly #limit: number;
  readonly #owner: QueueOwner;
  /** The last messages, in order, and those before them, the other way round: both are cheap at their ends. */
  #last: Message[] = [];
  #first: Message[] = [];
  /** Those who called next() in vain. */
  readonly #waiting: ((result: Result | Promise<Result>) => void)[] = [];
  #isFull = false;
  #ended = false;
  /** Thrown once, after the messages that came before it. */
  #error: MqttError | undefined;

  constructor(limit: number, owner: QueueOwner) {
    this.#limit = limit;
    this.#owner = owner;
  }

  get #length(): number {
    return this.#first.length + this.#last.length;
  }

  /** Adds a message. */
  push(message: Message): void {
    if (this.#ended) return;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) return waiting({ done: false, value: message });
    this.#last.push(message);
    if (this.#isFull || this.#length < this.#limit) return;
    this.#isFull = true;
    this.#owner.full();
  }

  /** No more messages come; `error` says why, if that is news to the iterator. */
  end(error?: MqttError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#release();
    for (const resolve of this.#waiting.splice(0)) resolve(this.next());
  }

  /** The next message, as soon as there is one. */
  next(): Promise<Result> {
    if (this.#first.length === 0) [this.#first, this.#last] = [this.#last.reverse(), []];
    const value = this.#first.pop();
    if (value !== undefined) {
      // Half of it goes at once: reading on for each message would cost more than the message.
      if (this.#length <= this.#limit >> 1) this.#release();
      return Promise.resolve({ done: false, value });
    }
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) return Promise.reject(error);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Leaves: what waits is dropped and the filter unsubscribed. */
  async return(): Promise<Result> {
    this.#first.length = this.#last.length = 0;
    this.#error = undefined;
    if (!this.#ended) {
      this.end();
      await this.#owner.left();
    }
    return { done: true, value: undefined };
  }

  #release(): void {
    if (!this.#isFull) return;
    this.#isFull = false;
    this.#owner.drained();
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }
}
