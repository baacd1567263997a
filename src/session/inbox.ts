/** The messages that wait for an iterator.
 * @module */

import type { MqttError } from "../errors.ts";
import type { Delivery } from "./consumer.ts";
import { Fifo } from "./fifo.ts";

/** The queue of one iterator of a topic filter. */
export class Inbox {
  readonly filter: string;
  /** So many messages may wait; then nothing is read, unless the program waits for the broker. */
  readonly limit: number;
  /** Called by the shell when a message, or the end, has come for an iterator that waits. */
  readonly wake: () => void;
  /** Whether the iterator has nothing, and waits for a message. */
  waiting = false;
  /** Whether a message was ever asked for: then whoever iterates will hear of the end. */
  iterated = false;
  /** Whether it has reached its limit, until half of it is free again. */
  full = false;
  /** Whether no more messages come; why, unless the iterator need not hear of it. */
  ended = false;
  error: MqttError | undefined;
  /** The message that the iterator has got, until it asks for the next one. */
  given: Delivery | undefined;
  readonly #messages = new Fifo<Delivery>();

  constructor(filter: string, limit: number, wake: () => void) {
    this.filter = filter;
    this.limit = limit;
    this.wake = wake;
  }

  /** How many messages wait. */
  get length(): number {
    return this.#messages.length;
  }

  /** Adds a message; whether that was one too many until some are taken. */
  push(delivery: Delivery): boolean {
    this.#messages.push(delivery);
    if (this.full || this.#messages.length < this.limit) return false;
    return this.full = true;
  }

  /** The next message. */
  shift(): Delivery | undefined {
    this.iterated = true;
    return this.#messages.shift();
  }

  /** Takes out the messages of which it is so. */
  discard(isSuperfluous: (delivery: Delivery) => boolean): Delivery[] {
    return this.#messages.discard(isSuperfluous);
  }

  /** Whether it was full and has room again. Half of it goes at once: reading on for each message costs more than the message. */
  hasDrained(): boolean {
    if (!this.full || !this.ended && this.#messages.length > this.limit >> 1) return false;
    this.full = false;
    return true;
  }

  /** No more messages come. What waits can still be taken, then `error` is thrown, if there is one. */
  end(error: MqttError | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.error = error;
  }
}
