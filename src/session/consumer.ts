/** A handler of messages, and those that wait for it.
 * @module */

import type { OnPublish } from "../options.ts";
import type { Message } from "../message.ts";
import { Fifo } from "./fifo.ts";

/** A message that waits for those who get it. */
export interface Waiting {
  readonly message: Message;
  /** How many are not done with it. */
  pending: number;
}

/** A message that is not settled yet: some of those who get it are not done with it. */
export interface Delivery extends Waiting {
  /** By which the broker knows it; 0 at QoS 0. */
  readonly packetId: number;
  /** Whether a handler was called with it, or an iterator has it: then nobody need bring it again. */
  begun: boolean;
  /** Whether a handler has failed on it. */
  failed: boolean;
  /** Its acknowledgement: there is none, it is due when all are done with it, or it may be sent. */
  receipt: "none" | "due" | "settled";
}

/** Calls a handler, one message after the other; of one that returns promises, the next waits for the promise. */
export class Consumer {
  readonly onpub: OnPublish;
  /** So many promises may be pending at once. */
  concurrency = 1;
  /** How many are. */
  running = 0;
  /** Messages that it was not called with yet, in order. */
  readonly queue: Fifo<Delivery> = new Fifo();

  constructor(onpub: OnPublish) {
    this.onpub = onpub;
  }

  /** Whether it can be called with a message that has come now. */
  get isIdle(): boolean {
    return this.running < this.concurrency && this.queue.length === 0;
  }
}

/** A call of a handler whose promise is pending. */
export interface Work {
  readonly consumer: Consumer;
  readonly delivery: Delivery;
}

/** How the shell calls handlers. What they return is nothing to the session, but for whether there is something to wait for. */
export interface Handling {
  /** Calls a handler; its promise when it returned one, and undefined otherwise. */
  call(onpub: OnPublish, message: Message): unknown;
  /** Lets `settle` of the backlog be called with the work when the promise has settled. */
  watch(promise: unknown, work: Work): void;
}
