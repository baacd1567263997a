/** Messages that were received and are not settled: with handlers, iterators, or a program that blocks, or on their way there.
 * @module */

import { MqttError } from "../errors.ts";
import { LazySet } from "../lazy.ts";
import { copyPayload, type Message, sizeOf } from "../message.ts";
import type { Consumer, Delivery, Handling, Work } from "./consumer.ts";
import type { Events } from "./events.ts";
import { Fifo } from "./fifo.ts";
import type { Inbox } from "./inbox.ts";
import type { Recipients } from "./subscriptions.ts";

/** What a message that is not settled takes besides its payload, in bytes, about. */
const EXTRA = 256;

/** At this part of what may be unsettled, there is room again. */
const LOW_WATER = 7 / 8;

/** How many messages may be unsettled, and how many bytes of them. */
export interface BacklogSettings {
  readonly receiveMaximum: number;
  readonly maxUnsettled: number;
}

/** What becomes of the acknowledgement of a message. */
export interface Receipts {
  /** Nobody is busy with it any more. */
  settle(delivery: Delivery): void;
  /** Nobody will be busy with it: it is not acknowledged. */
  forget(delivery: Delivery): void;
}

/** A message that a program that blocks has not taken yet. */
interface Kept {
  readonly delivery: Delivery;
  consumers: readonly Consumer[];
}

/**
 * Gives messages to their consumers, and counts those that are not settled.
 *
 * A handler that is idle and returns no promise is called at once, and nothing is counted. Otherwise a message is a
 * delivery until all its consumers are done with it: it is in the queue of each handler that is busy, in the work
 * of each whose promise is pending, and in the inbox of each iterator.
 *
 * When too many are unsettled there is no room, until an eighth of them is settled: reading on for each message costs
 * more than the message. Not more, as those of a handler that never settles stay, and others must go on.
 */
export class Backlog {
  readonly #settings: BacklogSettings;
  readonly #events: Events;
  readonly #receipts: Receipts;
  /** Messages that are not settled, and their bytes. */
  #count = 0;
  #bytes = 0;
  /** Whether they are too many, until an eighth of them is settled. */
  #isFull = false;
  /** Iterators whose inboxes are full, and those that wait for a message. */
  #fullInboxes = 0;
  #askingInboxes = 0;
  /** How many messages were settled; of how many a handler failed; and how many nobody took. */
  settled = 0;
  failed = 0;
  unclaimed = 0;
  /** How many handlers have thrown: so it is seen whether the one that was called has. */
  #thrown = 0;
  /** Messages that came with the last bytes. */
  #fresh: Delivery[] = [];
  /** Handlers with messages in their queue; those of them that may be called. */
  readonly #queued = new LazySet<Consumer>();
  readonly #ready = new Fifo<Consumer>();
  /** What a program that blocks has not taken yet, in order; and what it has, until it asks for the next one. */
  readonly #kept = new Fifo<Kept>();
  #given: Delivery | undefined;
  /** Those that no consumer takes, and may find one yet, in order. */
  #unclaimed: Delivery[] = [];
  /** Whether there is room for more. A field, as it is looked at for each message. */
  hasRoom = true;

  constructor(settings: BacklogSettings, events: Events, receipts: Receipts) {
    this.#settings = settings;
    this.#events = events;
    this.#receipts = receipts;
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

  /** Gives a message that has come to its consumers; undefined when all of them are done with it. */
  deliver(
    { consumers, inboxes }: Recipients,
    message: Message,
    packetId: number,
    handling: Handling,
  ): Delivery | undefined {
    let delivery: Delivery | undefined, begun = false;
    for (let i = 0; i < inboxes.length; i++) this.#push(inboxes[i]!, delivery ??= this.#hold(message, packetId));
    for (let i = 0; i < consumers.length; i++) {
      const consumer = consumers[i]!;
      if (consumer.isIdle) {
        begun = true;
        const thrown = this.#thrown, promise = handling.call(consumer.onpub, message);
        if (promise !== undefined) {
          this.#begin({ consumer, delivery: delivery ??= this.#hold(message, packetId) }, promise, handling);
        } else if (this.#thrown !== thrown) {
          delivery ??= this.#hold(message, packetId);
          delivery.failed = true;
        }
      } else {
        this.#queue(consumer, delivery ??= this.#hold(message, packetId));
      }
    }
    if (delivery === undefined) return undefined;
    delivery.begun ||= begun;
    this.#done(delivery); // who gives it out is done
    return delivery;
  }

  /** A message will not be settled at once; it is pending for who gives it out. */
  #hold(message: Message, packetId: number): Delivery {
    const delivery: Delivery = { message, packetId, pending: 1, begun: false, failed: false, receipt: "none" };
    this.#count++;
    this.#bytes += sizeOf(message) + EXTRA;
    this.#fresh.push(delivery);
    this.#updateRoom();
    return delivery;
  }

  /** A message waits for a handler. */
  #queue(consumer: Consumer, delivery: Delivery): void {
    delivery.pending++;
    consumer.queue.push(delivery);
    this.#queued.add(consumer);
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
    this.#receipts.settle(delivery);
    this.#updateRoom();
  }

  /** One of those who were to get it will not: it is to come again. */
  #discard(delivery: Delivery): void {
    this.#receipts.forget(delivery);
    this.#done(delivery);
  }

  #updateRoom(): void {
    const { receiveMaximum, maxUnsettled } = this.#settings;
    this.#isFull = this.#isFull
      ? this.#count > receiveMaximum * LOW_WATER || this.#bytes > maxUnsettled * LOW_WATER
      : this.#count >= receiveMaximum || this.#bytes >= maxUnsettled;
    this.hasRoom = !this.#isFull && this.#fullInboxes === 0;
  }

  /** The promise of a handler has settled. */
  settle({ consumer, delivery }: Work, failed: boolean): void {
    consumer.running--;
    if (failed) {
      this.failed++;
      delivery.failed = true;
    }
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
        delivery.begun = true;
        const thrown = this.#thrown, promise = handling.call(consumer.onpub, delivery.message);
        delivery.failed ||= this.#thrown !== thrown;
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
    this.#discardQueued(() => true);
    this.discardUnclaimed();
  }

  /** The broker sends everything again that it has no acknowledgement of: what nobody has begun with is to come with that. */
  dropUnbegun(inboxes: readonly Inbox[]): void {
    const comesAgain = ({ begun, packetId }: Delivery) => !begun && packetId > 0;
    this.#discardQueued(comesAgain);
    for (const inbox of inboxes) {
      for (const delivery of inbox.discard(comesAgain)) this.#discard(delivery);
      this.#drain(inbox);
    }
    this.discardUnclaimed();
  }

  #discardQueued(isSuperfluous: (delivery: Delivery) => boolean): void {
    for (const consumer of this.#queued) {
      for (const delivery of consumer.queue.discard(isSuperfluous)) this.#discard(delivery);
      if (consumer.queue.length === 0) this.#queued.delete(consumer);
    }
    for (const { delivery } of this.#kept.discard((kept) => isSuperfluous(kept.delivery))) this.#discard(delivery);
  }

  // ---- messages that nobody takes

  /** Whether there are messages that no consumer takes, as far as the program has not taken them itself. */
  get hasUnclaimed(): boolean {
    return this.#unclaimed.length > 0 || this.#kept.length > 0;
  }

  /** Keeps a message that no consumer takes, until one does. */
  keepUnclaimed(message: Message, packetId: number): Delivery {
    const delivery = this.#hold(message, packetId);
    this.#unclaimed.push(delivery);
    return delivery;
  }

  /** There are other consumers: those that take such a message get it. */
  claim(recipientsOf: (message: Message) => Recipients): void {
    this.#unclaimed = this.#unclaimed.filter((delivery) => {
      const { consumers, inboxes } = recipientsOf(delivery.message);
      for (const inbox of inboxes) this.#push(inbox, delivery);
      for (const consumer of consumers) {
        this.#queue(consumer, delivery);
        this.#ready.push(consumer);
      }
      if (consumers.length + inboxes.length === 0) return true;
      this.#done(delivery);
      return false;
    });
    for (const kept of this.#kept) {
      const { delivery: { message, packetId }, consumers } = kept;
      if (packetId > 0 && consumers.length === 0) kept.consumers = recipientsOf(message).consumers;
    }
  }

  /** Nobody is to take them: the broker keeps them. */
  discardUnclaimed(): void {
    for (const delivery of this.#unclaimed.splice(0)) this.#discard(delivery);
  }

  /** Nobody has taken them: they are settled, and that is told. */
  giveUpUnclaimed(): void {
    for (const delivery of this.#unclaimed.splice(0)) {
      this.unclaimed++;
      this.#events.tell({ type: "dropped", ...unclaimed(delivery.message) });
      this.#done(delivery);
    }
  }

  // ---- a program that blocks

  /** Keeps a message until the program takes it. */
  keep({ consumers, inboxes }: Recipients, message: Message, packetId: number): Delivery {
    const delivery = this.#hold(message, packetId);
    for (const inbox of inboxes) this.#push(inbox, delivery);
    this.#kept.push({ delivery, consumers });
    return delivery;
  }

  /** How many messages wait for the program to take them. */
  get kept(): number {
    return this.#kept.length;
  }

  /** The first message that was kept, and its handlers; the program has it now. */
  takeKept(): { message: Message; consumers: readonly Consumer[] } | undefined {
    const kept = this.#kept.shift();
    if (kept === undefined) return undefined;
    const { delivery, consumers } = kept;
    this.#handOut(delivery);
    return { message: delivery.message, consumers };
  }

  /** The program has a message now; undefined when nobody need say when it is done. */
  give({ inboxes }: Recipients, message: Message, packetId: number): Delivery | undefined {
    if (packetId === 0 && inboxes.length === 0) return undefined;
    const delivery = this.#hold(message, packetId);
    for (const inbox of inboxes) this.#push(inbox, delivery);
    this.#handOut(delivery);
    return delivery;
  }

  /** The program has a message; of QoS 0 it need not say when it is done. */
  #handOut(delivery: Delivery): void {
    delivery.begun = true;
    if (delivery.packetId > 0) this.#given = delivery;
    else this.#done(delivery);
  }

  /** A handler has thrown. */
  countFailure(): void {
    this.failed++;
    this.#thrown++;
    if (this.#given !== undefined) this.#given.failed = true;
  }

  /** The program is done with the message that it has. */
  settleGiven(): void {
    const given = this.#given;
    this.#given = undefined;
    if (given !== undefined) this.#done(given);
  }

  // ---- iterators

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
    if (inbox.given !== undefined) inbox.given.begun = true;
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

function unclaimed(message: Message): { topic: string; size: number; error: MqttError } {
  const { topic } = message, size = sizeOf(message);
  const failure = `A message of ${size} bytes to "${topic}" was acknowledged although nobody takes it`;
  const advice = "subscribe to its topic within timeout, or give connect an onpub";
  return { topic, size, error: new MqttError("unclaimed", `${failure}: ${advice}`) };
}
