/** Messages that come: acknowledged, and on their way to handlers and iterators.
 * @module */

import type { OnPublish } from "../api.ts";
import { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import type { OversizedPublish } from "../protocol/decoder.ts";
import { encode } from "../protocol/encoder.ts";
import type { Output } from "../protocol/output.ts";
import { PUBACK, PUBCOMP, PUBREC, type QoS } from "../protocol/packet.ts";
import type { Deliver, Events } from "./events.ts";
import { Fifo } from "./fifo.ts";
import type { Inbox } from "./inbox.ts";

/** What a message that is kept takes besides its payload, in bytes, about. */
const KEPT = 128;

/** Sizes in bytes. */
export interface ReceiverSettings {
  readonly maxPacketSize: number;
  readonly maxBuffered: number;
}

/** Takes messages, and says whether more can be taken. */
export class Receiver {
  readonly #settings: ReceiverSettings;
  readonly #output: Output;
  readonly #events: Events;
  /** Packet identifiers of QoS 2 messages delivered and not yet released [MQTT-4.3.3-2]. */
  readonly #unreleased = new Set<number>();
  /** Inboxes that are full. */
  #full = 0;
  /** Messages that came while the shell took none, and their size. */
  readonly #kept = new Fifo<{ message: Message; handlers: readonly OnPublish[] }>();
  #keptBytes = 0;
  /** How many messages were passed over. */
  #dropped = 0;
  /** Whether there is room for more: no inbox is full, and not too much is kept. A field, as it is looked at for each message. */
  hasRoom = true;

  constructor(settings: ReceiverSettings, output: Output, events: Events) {
    this.#settings = settings;
    this.#output = output;
    this.#events = events;
  }

  /** How many messages were passed over as they exceed `maxPacketSize`. */
  get dropped(): number {
    return this.#dropped;
  }

  /** How many messages wait as the shell takes none. */
  get kept(): number {
    return this.#kept.length;
  }

  #updateRoom(): void {
    this.hasRoom = this.#full === 0 && this.#keptBytes <= this.#settings.maxBuffered;
  }

  /** Acknowledges a message; whether it is new, and not one that comes again. */
  accept(qos: QoS, packetId: number): boolean {
    if (qos === 0) return true;
    if (qos === 1) {
      this.#output.acknowledge(encode({ type: PUBACK, packetId })); // [MQTT-4.3.2-2]
      return true;
    }
    const isNew = !this.#unreleased.has(packetId);
    this.#unreleased.add(packetId);
    this.#output.acknowledge(encode({ type: PUBREC, packetId })); // [MQTT-4.3.3-2]
    return isNew;
  }

  /** PUBREL: the broker will not send that message again. */
  release(packetId: number): void {
    this.#unreleased.delete(packetId);
    this.#output.acknowledge(encode({ type: PUBCOMP, packetId }));
  }

  /** The broker has forgotten the session. */
  forgetSession(): void {
    this.#unreleased.clear();
  }

  /** The payload of a PUBLISH over `maxPacketSize` is passed over; it is acknowledged, or it would come again and again. */
  drop(packet: OversizedPublish): void {
    const { topic, size, qos, packetId } = packet;
    if (!this.accept(qos, packetId)) return;
    this.#dropped++;
    const { maxPacketSize } = this.#settings;
    const error = new MqttError(
      "overflow",
      `A message of ${size} bytes to "${topic}" was dropped as it is over maxPacketSize, ${maxPacketSize}: raise it if such messages are expected`,
    );
    this.#events.tell({ type: "dropped", topic, size, error });
  }

  /** A message goes to the inboxes of iterators. */
  fill(inboxes: readonly Inbox[], message: Message): void {
    for (const inbox of inboxes) {
      if (inbox.push(message)) this.#full++;
      if (inbox.waiting) this.#events.push({ type: "inbox", inbox });
    }
    this.#updateRoom();
  }

  /** Keeps a message, with its handlers, until it is taken. */
  readonly keep: Deliver = (handlers, message) => {
    this.#kept.push({ message, handlers });
    this.#keptBytes += message.payload.length + KEPT;
    this.#updateRoom();
    return false;
  };

  /** The first message that was kept, and its handlers. */
  takeKept(): { message: Message; handlers: readonly OnPublish[] } | undefined {
    const kept = this.#kept.shift();
    if (kept === undefined) return undefined;
    this.#keptBytes -= kept.message.payload.length + KEPT;
    this.#updateRoom();
    return kept;
  }

  /** Nobody wants what was kept any more. */
  dropKept(): void {
    this.#kept.clear();
    this.#keptBytes = 0;
    this.#updateRoom();
  }

  /** The next message of an inbox. */
  take(inbox: Inbox): Message | undefined {
    const message = inbox.shift();
    this.#drain(inbox);
    return message;
  }

  /** No more messages come for an iterator; the end that disconnect() made is no error to it. */
  end(inbox: Inbox, error: MqttError | undefined): void {
    inbox.end(error?.code === "disconnect" ? undefined : error);
    this.#drain(inbox);
    if (inbox.waiting) this.#events.push({ type: "inbox", inbox });
  }

  #drain(inbox: Inbox): void {
    if (!inbox.hasDrained()) return;
    this.#full--;
    this.#updateRoom();
  }
}
