/** What a connection brings: decoded, and given to those it is for.
 * @module */

import type { OnPublish } from "../options.ts";
import { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import { AUTH, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK } from "../protocol/packet.ts";
import type { Backlog } from "./backlog.ts";
import type { BrokerPacket } from "./connection.ts";
import type { Consumer, Delivery, Handling } from "./consumer.ts";
import type { SessionEvent } from "./events.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { Parts } from "./parts.ts";
import { NOBODY, type Recipients } from "./subscriptions.ts";

/** Gives a message to those who get it, or keeps it for them; what is not settled then. */
type Deliver = (recipients: Recipients, message: Message, packetId: number) => Delivery | undefined;

/**
 * Decodes until there is an event to tell, or a message that somebody asks for. Three ways to give messages out: to
 * handlers as they are decoded; one at a time, to a program that blocks and asks for it; and none, while that waits for
 * something else.
 */
export class Intake {
  readonly #parts: Parts;
  readonly #lifecycle: Lifecycle;
  /** At hand, as each message asks it. */
  readonly #backlog: Backlog;
  /** How `nextDelivering` calls handlers. */
  #handling: Handling | undefined;
  /** The message that `next` gives, and those who get it. */
  #taken: Message | undefined;
  #consumers: readonly Consumer[] = [];
  /** Whether the program blocks, and waits for something that the broker does. */
  isBlocked = false;
  /** How many messages have come. */
  received = 0;

  constructor(parts: Parts, lifecycle: Lifecycle) {
    this.#parts = parts;
    this.#lifecycle = lifecycle;
    this.#backlog = parts.backlog;
  }

  /** Whether what the connection has is wanted: when too many messages are unsettled, only for what the program waits for. */
  get isReading(): boolean {
    return this.#backlog.hasRoom || !this.#lifecycle.isDelivering || this.#backlog.hasSpace && this.#isAwaited;
  }

  /** Whether the program waits for the broker: for an answer, for room to write, or for the next message of an iterator. */
  get #isAwaited(): boolean {
    const { publisher, subscriber, flushes, flight } = this.#parts;
    return this.isBlocked || publisher.isAwaited || this.#backlog.isAsked || subscriber.isAwaited ||
      flushes.isAwaited || flight.isAwaited;
  }

  /** The handlers of the last message that `next` gave. */
  get handlers(): OnPublish[] {
    return this.#consumers.map(({ onpub }) => onpub);
  }

  /** The next event, messages among them; undefined when there is none. The message before is settled. */
  next(): SessionEvent | undefined {
    const { events, backlog } = this.#parts;
    this.isBlocked = false;
    backlog.settleGiven();
    if (events.length > 0) return events.next();
    const kept = backlog.takeKept();
    if (kept === undefined) this.#decode(this.#take);
    else ({ message: this.#taken, consumers: this.#consumers } = kept);
    const message = this.#taken;
    this.#taken = undefined;
    return message ?? events.next();
  }

  /** The next event that is no message, for a program that blocks: messages wait for `next`, up to `maxBuffered` bytes. */
  nextKeepingMessages(): SessionEvent | undefined {
    const { events } = this.#parts;
    this.isBlocked = true;
    if (events.length === 0) this.#decode(this.#keep);
    return events.next();
  }

  /** The next event that is no message: messages go to their handlers as they are decoded. */
  nextDelivering(handling: Handling): SessionEvent | undefined {
    const { events, backlog } = this.#parts;
    this.#handling = handling;
    if (events.length === 0) backlog.deliverQueued(handling);
    if (events.length === 0) this.#decode(this.#deliver);
    return events.next();
  }

  readonly #deliver: Deliver = (recipients, message, packetId) => {
    const { backlog, claims } = this.#parts;
    const isLeft = packetId > 0 && claims.areOpen && recipients === NOBODY;
    if (isLeft) return backlog.keepUnclaimed(message, packetId);
    return backlog.deliver(recipients, message, packetId, this.#handling!);
  };

  readonly #keep: Deliver = (recipients, message, packetId) => this.#parts.backlog.keep(recipients, message, packetId);

  readonly #take: Deliver = (recipients, message, packetId) => {
    this.#consumers = recipients.consumers;
    this.#taken = message;
    return this.#parts.backlog.give(recipients, message, packetId);
  };

  /** Decodes what has come, until there is an event to tell, or the message that `next` gives. */
  #decode(deliver: Deliver): void {
    const lifecycle = this.#lifecycle, connection = lifecycle.heard;
    if (connection === undefined) return;
    const { output, events, receiver, subscriber: { subscriptions } } = this.#parts, { decoder } = connection;
    let received = 0;
    try {
      if (!connection.isOpen) {
        const answer = connection.answer();
        if (answer?.type === AUTH) return this.#parts.authentication.challenged(connection, answer);
        return answer && lifecycle.connacked(connection, answer);
      }
      if (output.isFlooded) throw notRead(output.buffered);
      while (events.length === 0 && this.isReading && connection === lifecycle.heard) {
        const packet = decoder.next();
        if (packet === undefined) return connection.checkStart();
        if (packet.type !== PUBLISH) {
          this.#control(connection.check(packet));
        } else if (lifecycle.isDelivering) {
          const { packetId } = decoder;
          received++;
          if (!receiver.isWellFormed(packet, packetId) || !receiver.accept(packet, packetId)) continue;
          const recipients = subscriptions.recipients(decoder.topic, decoder.found.subscriptionIds);
          const delivery = deliver(recipients, packet, packetId);
          receiver.delivered(packet, packetId, delivery);
          if (this.#taken !== undefined) return;
        }
      }
      if (!this.isReading) this.#parts.stall.watch(lifecycle.now);
    } catch (error) {
      lifecycle.lose(error as MqttError);
    } finally {
      this.received += received;
    }
  }

  #control(packet: BrokerPacket): void {
    const { flushes, subscriber, flight, authentication, receiver } = this.#parts;
    switch (packet.type) {
      case PINGRESP:
        return flushes.answered();
      case SUBACK:
      case UNSUBACK:
        return subscriber.answered(packet, this.#lifecycle.now);
      case PUBACK:
      case PUBREC:
      case PUBCOMP:
        return flight.answered(packet);
      case AUTH:
        return authentication.challenged(this.#lifecycle.heard!, packet);
      case PUBREL:
        return receiver.release(packet.packetId);
      case "oversized":
        if (this.#lifecycle.isDelivering) receiver.drop(packet);
    }
  }
}

function notRead(bytes: number): MqttError {
  return new MqttError("overflow", `${bytes} bytes wait to be sent, answers among them: the broker does not read`);
}
