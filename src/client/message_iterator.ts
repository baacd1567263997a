/** The iterator of `messages()`.
 * @module */

import type { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import type { Inbox } from "../session/inbox.ts";
import { type Deferred, deferred } from "../deferred.ts";

type Result = IteratorResult<Message, undefined>;

const DONE = { done: true, value: undefined } as const;

/** What an iterator asks its client for. */
export interface Source {
  /** Subscribes for the inbox. */
  open(inbox: Inbox): void;
  /** The next message of the inbox, if there is one. */
  take(inbox: Inbox): Message | undefined;
  /** Whether the iterator has nothing, and waits for a message. */
  wait(inbox: Inbox, waiting: boolean): void;
  /** Nobody iterates any more; settled when the filter is given up, if it is. */
  leave(inbox: Inbox): Promise<unknown>;
  /** The iterator throws why its subscription has failed, or why the client has ended. */
  heard(error: MqttError): void;
}

/** Iterates an inbox. */
export class MessageIterator implements AsyncIterableIterator<Message> {
  readonly #source: Source;
  readonly #inbox: Inbox;
  /** Those who called next() in vain. */
  readonly #waiting: Deferred<Result | Promise<Result>>[] = [];

  /** `makeInbox` makes one that calls `wake` when there is something in it. */
  constructor(makeInbox: (wake: () => void) => Inbox, source: Source) {
    this.#source = source;
    this.#inbox = makeInbox(() => this.#wake());
    source.open(this.#inbox);
  }

  /** The next message, as soon as there is one. */
  next(): Promise<Result> {
    const inbox = this.#inbox;
    const value = this.#source.take(inbox);
    if (value !== undefined) return Promise.resolve({ done: false, value });
    const { error } = inbox;
    inbox.error = undefined;
    if (error !== undefined) {
      this.#source.heard(error);
      return Promise.reject(error);
    }
    if (inbox.ended) return Promise.resolve(DONE);
    const waiting = deferred<Result | Promise<Result>>();
    this.#waiting.push(waiting);
    this.#source.wait(inbox, true);
    return waiting.promise as Promise<Result>;
  }

  /** Something has come: those who wait get it, in their order. */
  #wake(): void {
    const inbox = this.#inbox;
    while (this.#waiting.length > 0) {
      const value = inbox.ended ? undefined : this.#source.take(inbox);
      if (value === undefined && !inbox.ended) return;
      const waiting = this.#waiting.shift()!;
      if (this.#waiting.length === 0) this.#source.wait(inbox, false);
      if (value !== undefined) waiting.resolve({ done: false, value });
      else waiting.resolve(this.next());
    }
  }

  /** Leaves: what waits is dropped and the filter unsubscribed. */
  async return(): Promise<Result> {
    await this.#source.leave(this.#inbox);
    return DONE;
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }
}
