/** What a connection brings: decoded, and given to those it is for.
 * @module */

import type { OnPublish } from "../options.ts";
import { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import type { Output } from "../protocol/output.ts";
import {
  AUTH,
  type AuthPacket,
  type ConnackPacket,
  PINGRESP,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  SUBACK,
  UNSUBACK,
} from "../protocol/packet.ts";
import type { Backlog } from "./backlog.ts";
import type { BrokerPacket, Connection } from "./connection.ts";
import type { Consumer, Delivery, Handling } from "./consumer.ts";
import type { Events, SessionEvent } from "./events.ts";
import type { Flight } from "./flight.ts";
import type { Flushes } from "./flushes.ts";
import type { Receiver } from "./receiver.ts";
import type { Subscriber } from "./subscriber.ts";
import type { Recipients } from "./subscriptions.ts";

/** Gives a message to those who get it, or keeps it for them; what is not settled then. */
type Deliver = (recipients: Recipients, message: Message, packetId: number) => Delivery | undefined;

/** What it looks at: the session, which changes with what is decoded. */
export interface Reading {
  /** The connection that has brought something; undefined when there is none. */
  connection(): Connection | undefined;
  /** Whether what it has is wanted. */
  isReading(): boolean;
  /** Whether messages are delivered. */
  isDelivering(): boolean;
  /** Whether messages that nobody takes may find somebody yet. */
  mayClaim(): boolean;
  /** Milliseconds. */
  now(): number;
  /** The answer to CONNECT has come. */
  connacked(connection: Connection, packet: ConnackPacket): void;
  /** AUTH has come. */
  challenged(connection: Connection, packet: AuthPacket): void;
  /** Nothing more is decoded, as it is not wanted now. */
  held(): void;
  /** The broker has made a mistake. */
  failed(error: MqttError): void;
}

/** What it works with. */
export interface IntakeParts {
  readonly output: Output;
  readonly events: Events;
  readonly backlog: Backlog;
  readonly receiver: Receiver;
  readonly subscriber: Subscriber;
  readonly flight: Flight;
  readonly flushes: Flushes;
}

/**
 * Decodes until there is an event to tell, or a message that somebody asks for. Three ways to give messages out: to
 * handlers as they are decoded; one at a time, to a program that blocks and asks for it; and none, while that waits for
 * something else.
 */
export class Intake {
  readonly #reading: Reading;
  readonly #parts: IntakeParts;
  /** How `nextDelivering` calls handlers. */
  #handling: Handling | undefined;
  /** The message that `next` gives, and those who get it. */
  #taken: Message | undefined;
  #consumers: readonly Consumer[] = [];
  /** Whether the program blocks, and waits for something that the broker does. */
  isBlocked = false;
  /** How many messages have come. */
  received = 0;

  constructor(reading: Reading, parts: IntakeParts) {
    this.#reading = reading;
    this.#parts = parts;
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
    const { backlog, subscriber } = this.#parts;
    const isLeft = packetId > 0 && this.#reading.mayClaim() && recipients === subscriber.subscriptions.nobody;
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
    const reading = this.#reading, connection = reading.connection();
    if (connection === undefined) return;
    const { output, events, receiver, subscriber: { subscriptions } } = this.#parts, { decoder } = connection;
    let received = 0;
    try {
      if (!connection.isOpen) {
        const answer = connection.answer();
        if (answer?.type === AUTH) return reading.challenged(connection, answer);
        return answer && reading.connacked(connection, answer);
      }
      if (output.isFlooded) throw notRead(output.buffered);
      while (events.length === 0 && reading.isReading() && connection === reading.connection()) {
        const packet = decoder.next();
        if (packet === undefined) return connection.checkStart();
        if (packet.type !== PUBLISH) {
          this.#control(connection.check(packet));
        } else if (reading.isDelivering()) {
          const { packetId } = decoder;
          received++;
          if (!receiver.isWellFormed(packet, packetId) || !receiver.accept(packet, packetId)) continue;
          const recipients = subscriptions.recipients(decoder.topic, decoder.found.subscriptionIds);
          const delivery = deliver(recipients, packet, packetId);
          receiver.delivered(packet, packetId, delivery);
          if (this.#taken !== undefined) return;
        }
      }
      if (!reading.isReading()) reading.held();
    } catch (error) {
      reading.failed(error as MqttError);
    } finally {
      this.received += received;
    }
  }

  #control(packet: BrokerPacket): void {
    const { flushes, subscriber, flight, receiver } = this.#parts;
    switch (packet.type) {
      case PINGRESP:
        return flushes.answered();
      case SUBACK:
      case UNSUBACK:
        return subscriber.answered(packet, this.#reading.now());
      case PUBACK:
      case PUBREC:
      case PUBCOMP:
        return flight.answered(packet);
      case AUTH:
        return this.#reading.challenged(this.#reading.connection()!, packet);
      case PUBREL:
        return receiver.release(packet.packetId);
      case "oversized":
        if (this.#reading.isDelivering()) receiver.drop(packet);
    }
  }
}

function notRead(bytes: number): MqttError {
  return new MqttError("overflow", `${bytes} bytes wait to be sent, answers among them: the broker does not read`);
}
