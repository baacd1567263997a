/** Messages that wait for their iterator: as many as it wants, and no more.
 * @module */

import { type Deferred, deferred } from "./deferred.ts";
import type { MqttError } from "./errors.ts";
import type { Message } from "./message.ts";

/** What a queue tells its client. */
export interface QueueOwner {
  /** It holds as many as it may: no more, please. */
  full(): void;
  /** It has room again. */
  drained(): void;
  /** Nobody iterates any more. */
  left(): Promise<void>;
}

type Result = IteratorResult<Message, undefined>;

/** The iterator of `messages()`. */
export class MessageQueue implements AsyncIterableIterator<Message> {
  readonly #limit: number;
  readonly #owner: QueueOwner;
  #messages: Message[] = [];
  /** Where the next message is in #messages. */
  #head = 0;
  readonly #waiting: Deferred<Result>[] = [];
  #isFull = false;
  #ended = false;
  /** Thrown once, after the messages that came before it. */
  #error: MqttError | undefined;

  constructor(limit: number, owner: QueueOwner) {
    this.#limit = limit;
    this.#owner = owner;
  }

  /** Adds a message. */
  push(message: Message): void {
    if (this.#ended) return;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) return waiting.resolve({ done: false, value: message });
    this.#messages.push(message);
    if (!this.#isFull && this.#messages.length - this.#head >= this.#limit) {
      this.#isFull = true;
      this.#owner.full();
    }
  }

  /** No more messages come; `error` says why, if that is news to the iterator. */
  end(error?: MqttError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#release();
    for (const waiting of this.#waiting.splice(0)) this.next().then(waiting.resolve, waiting.reject);
  }

  /** The next message, as soon as there is one. */
  next(): Promise<Result> {
    if (this.#head < this.#messages.length) {
      const value = this.#messages[this.#head]!;
      this.#head++;
      const left = this.#messages.length - this.#head;
      // Half of it goes at once: reading on for each message would cost more than the message.
      if (left <= this.#limit >> 1) {
        this.#messages = this.#messages.slice(this.#head);
        this.#head = 0;
        this.#release();
      }
      return Promise.resolve({ done: false, value });
    }
    if (this.#error !== undefined) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    const waiting = deferred<Result>();
    this.#waiting.push(waiting);
    return waiting.promise;
  }

  /** Leaves: what waits is dropped and the filter unsubscribed. */
  async return(): Promise<Result> {
    this.#messages = [];
    this.#head = 0;
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
