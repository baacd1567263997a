/** The messages that wait for an iterator.
 * @module */

import type { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import { Fifo } from "./fifo.ts";

/** The queue of one iterator of a topic filter. */
export class Inbox {
  readonly filter: string;
  /** So many messages may wait; then nothing is read. */
  readonly limit: number;
  /** Called by the shell when a message, or the end, has come for an iterator that waits. */
  readonly wake: () => void;
  /** Whether the iterator waits for a message. */
  waiting = false;
  /** Whether a message was ever asked for: then whoever iterates will hear of the end. */
  iterated = false;
  /** Whether it has reached its limit, until half of it is free again. */
  full = false;
  /** Whether no more messages come; why, unless the iterator need not hear of it. */
  ended = false;
  error: MqttError | undefined;
  readonly #messages = new Fifo<Message>();

  constructor(filter: string, limit: number, wake: () => void) {
    this.filter = filter;
    this.limit = limit;
    this.wake = wake;
  }

  /** Adds a message; whether that was one too many until some are taken. */
  push(message: Message): boolean {
    if (this.ended) return false;
    this.#messages.push(message);
    if (this.full || this.#messages.length < this.limit) return false;
    return this.full = true;
  }

  /** The next message. */
  shift(): Message | undefined {
    this.iterated = true;
    return this.#messages.shift();
  }

  /** Whether it was full and has room again. Half of it goes at once: reading on for each message costs more than the message. */
  hasDrained(): boolean {
    if (!this.full || !this.ended && this.#messages.length > this.limit >> 1) return false;
    this.full = false;
    return true;
  }

  /** Drops what waits: nobody iterates any more. */
  clear(): void {
    this.#messages.clear();
    this.error = undefined;
  }

  /** No more messages come. What waits can still be taken, then `error` is thrown, if there is one. */
  end(error: MqttError | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.error = error;
  }
}
