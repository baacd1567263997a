/** Messages that were received and are not settled: with handlers, iterators, or a program that blocks, or on their way there.
 * @module */

import type { MqttError } from "../errors.ts";
import { copyPayload, type Message, sizeOf } from "../message.ts";
import type { Consumer, Delivery, Handling, Work } from "./consumer.ts";
import type { Events } from "./events.ts";
import { Fifo } from "./fifo.ts";
import type { Inbox } from "./inbox.ts";
import type { Recipients } from "./subscriptions.ts";

/** What a message that is not settled takes besides its payload, in bytes, about. */
const EXTRA = 256;

/** How many messages may be unsettled, and how many bytes of them. */
export interface BacklogSettings {
  readonly receiveMaximum: number;
  readonly maxUnsettled: number;
}

/** A message that a program that blocks has not taken yet. */
interface Kept {
  readonly delivery: Delivery;
  readonly consumers: readonly Consumer[];
}

/**
 * Gives messages to their consumers, and counts those that are not settled.
 *
 * A handler that is idle and returns no promise is called at once, and nothing is counted. Otherwise a message is a
 * delivery until all its consumers are done with it: it is in the queue of each handler that is busy, in the work
 * of each whose promise is pending, and in the inbox of each iterator.
 *
 * When too many are unsettled there is no room, until half of them are settled: reading on for each message costs more
 * than the message.
 */
export class Backlog {
  readonly #settings: BacklogSettings;
  readonly #events: Events;
  /** Messages that are not settled, and their bytes. */
  #count = 0;
  #bytes = 0;
  /** Whether they are too many, until half of them are settled. */
  #isFull = false;
  /** Iterators whose inboxes are full, and those that wait for a message. */
  #fullInboxes = 0;
  #askingInboxes = 0;
  /** How many messages were settled; of how many a handler failed. */
  settled = 0;
  failed = 0;
  /** Messages that came with the last bytes. */
  #fresh: Delivery[] = [];
  /** Handlers with messages in their queue; those of them that may be called. */
  readonly #queued = new Set<Consumer>();
  readonly #ready = new Fifo<Consumer>();
  /** What a program that blocks has not taken yet, in order. */
  readonly #kept = new Fifo<Kept>();
  /** Whether there is room for more. A field, as it is looked at for each message. */
  hasRoom = true;

  constructor(settings: BacklogSettings, events: Events) {
    this.#settings = settings;
    this.#events = events;
  }

  /** How many messages are not settled. */
  get count(): number {
    return this.#count;
  }

  /** Whether a program that waits for the broker lets more be read: what it waits for may be behind them. */
  get hasSpace(): boolean {
    return this.#bytes < this.#settings.maxUnsettled;
  }

  /** Whether an iterator has nothing, and waits for a message. */
  get isAsked(): boolean {
    return this.#askingInboxes > 0;
  }

  /** Whether it is empty, as far as handlers and iterators will empty it. */
  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Gives a message that has come to its consumers. */
  deliver({ consumers, inboxes }: Recipients, message: Message, handling: Handling): void {
    let delivery: Delivery | undefined;
    for (let i = 0; i < inboxes.length; i++) this.#push(inboxes[i]!, delivery ??= this.#hold(message));
    for (let i = 0; i < consumers.length; i++) {
      const consumer = consumers[i]!;
      if (consumer.isIdle) {
        const promise = handling.call(consumer.onpub, message);
        if (promise !== undefined) {
          this.#begin({ consumer, delivery: delivery ??= this.#hold(message) }, promise, handling);
        }
      } else {
        delivery ??= this.#hold(message);
        delivery.pending++;
        consumer.queue.push(delivery);
        this.#queued.add(consumer);
      }
    }
    if (delivery !== undefined) this.#done(delivery); // who gives it out is done
  }

  /** A message will not be settled at once; it is pending for who gives it out. */
  #hold(message: Message): Delivery {
    const delivery = { message, pending: 1 };
    this.#count++;
    this.#bytes += sizeOf(message) + EXTRA;
    this.#fresh.push(delivery);
    this.#updateRoom();
    return delivery;
  }

  #begin(work: Work, promise: unknown, handling: Handling): void {
    work.delivery.pending++;
    work.consumer.running++;
    handling.watch(promise, work);
  }

  /** One of those who got it is done with it. */
  #done(delivery: Delivery): void {
    if (--delivery.pending > 0) return;
    this.#count--;
    this.#bytes -= sizeOf(delivery.message) + EXTRA;
    this.settled++;
    this.#updateRoom();
  }

  #updateRoom(): void {
    const { receiveMaximum, maxUnsettled } = this.#settings;
    this.#isFull = this.#isFull
      ? this.#count > receiveMaximum >> 1 || this.#bytes > maxUnsettled >> 1
      : this.#count >= receiveMaximum || this.#bytes >= maxUnsettled;
    this.hasRoom = !this.#isFull && this.#fullInboxes === 0;
  }

  /** The promise of a handler has settled. */
  settle({ consumer, delivery }: Work, failed: boolean): void {
    consumer.running--;
    if (failed) this.failed++;
    if (consumer.queue.length > 0) this.#ready.push(consumer);
    this.#done(delivery);
  }

  /** So many promises of a handler may be pending from now on. */
  widen(consumer: Consumer, concurrency: number): void {
    consumer.concurrency = concurrency;
    if (consumer.queue.length > 0) this.#ready.push(consumer);
  }

  /** Calls the handlers that were busy with what waits for them. */
  deliverQueued(handling: Handling): void {
    for (let consumer = this.#ready.shift(); consumer !== undefined; consumer = this.#ready.shift()) {
      const { queue } = consumer;
      while (queue.length > 0 && consumer.running < consumer.concurrency) {
        const delivery = queue.shift()!;
        const promise = handling.call(consumer.onpub, delivery.message);
        if (promise !== undefined) this.#begin({ consumer, delivery }, promise, handling);
        this.#done(delivery);
      }
      if (queue.length === 0) this.#queued.delete(consumer);
    }
  }

  /** Other bytes have come: what waits is copied out of the blocks of those before, or a small message would keep a large block. */
  copyWaiting(): void {
    if (this.#fresh.length === 0) return;
    for (const { message, pending } of this.#fresh) if (pending > 0) copyPayload(message);
    this.#fresh = [];
  }

  /** Nobody wants what handlers were not called with, and a program that blocks has not taken. */
  clear(): void {
    for (const { queue } of this.#queued) {
      for (let delivery = queue.shift(); delivery !== undefined; delivery = queue.shift()) this.#done(delivery);
    }
    this.#queued.clear();
    while (this.takeKept() !== undefined);
  }

  // ---- a program that blocks

  /** Keeps a message until the program takes it. */
  keep(consumers: readonly Consumer[], message: Message): void {
    this.#kept.push({ delivery: this.#hold(message), consumers });
  }

  /** How many messages wait for the program to take them. */
  get kept(): number {
    return this.#kept.length;
  }

  /** The first message that was kept, and its handlers. */
  takeKept(): { message: Message; consumers: readonly Consumer[] } | undefined {
    const kept = this.#kept.shift();
    if (kept === undefined) return undefined;
    const { delivery, consumers } = kept;
    this.#done(delivery);
    return { message: delivery.message, consumers };
  }

  // ---- iterators

  /** Gives a message that has come to iterators alone. */
  fill(inboxes: readonly Inbox[], message: Message): void {
    if (inboxes.length === 0) return;
    const delivery = this.#hold(message);
    for (const inbox of inboxes) this.#push(inbox, delivery);
    this.#done(delivery); // who gives it out is done
  }

  /** A message goes to the inbox of an iterator. */
  #push(inbox: Inbox, delivery: Delivery): void {
    if (inbox.ended) return;
    delivery.pending++;
    if (inbox.push(delivery)) this.#fullInboxes++;
    if (inbox.waiting) this.#events.push({ type: "inbox", inbox });
    this.#updateRoom();
  }

  /** The next message of an inbox; its iterator is done with the one before. */
  take(inbox: Inbox): Message | undefined {
    const { given } = inbox;
    inbox.given = inbox.shift();
    if (given !== undefined) this.#done(given);
    this.#drain(inbox);
    return inbox.given?.message;
  }

  /** Whether the iterator has nothing, and waits for a message. */
  setWaiting(inbox: Inbox, waiting: boolean): void {
    if (inbox.waiting === waiting) return;
    inbox.waiting = waiting;
    this.#askingInboxes += waiting ? 1 : -1;
  }

  /** The iterator was left: nobody wants what waits for it. */
  leave(inbox: Inbox): void {
    inbox.error = undefined;
    while (inbox.given !== undefined || inbox.length > 0) this.take(inbox);
  }

  /** No more messages come for an iterator; the end that disconnect() made is no error to it. */
  end(inbox: Inbox, error: MqttError | undefined): void {
    inbox.end(error?.code === "disconnect" ? undefined : error);
    this.#drain(inbox);
    if (inbox.waiting) this.#events.push({ type: "inbox", inbox });
  }

  #drain(inbox: Inbox): void {
    if (!inbox.hasDrained()) return;
    this.#fullInboxes--;
    this.#updateRoom();
  }
}
