/** Messages that come: acknowledged, and on their way to handlers and iterators.
 * @module */

import type { OnPublish } from "../api.ts";
import { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import type { OversizedPublish } from "../protocol/decoder.ts";
import { encode } from "../protocol/encoder.ts";
import type { Output } from "../protocol/output.ts";
import { PUBACK, PUBCOMP, PUBREC, type QoS } from "../protocol/packet.ts";
import type { Events } from "./events.ts";
import { Fifo } from "./fifo.ts";
import type { Inbox } from "./inbox.ts";
import type { Recipients } from "./subscriptions.ts";

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
  /** Those who get the last message that was given. */
  handlers: readonly OnPublish[] = [];

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

  /** Whether there is room for more: no inbox is full, and not too much is kept. */
  get hasRoom(): boolean {
    return this.#full === 0 && this.#keptBytes <= this.#settings.maxBuffered;
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
  drop({ topic, size, qos, packetId }: OversizedPublish): void {
    if (!this.accept(qos, packetId)) return;
    this.#dropped++;
    const { maxPacketSize } = this.#settings;
    const error = new MqttError(
      "overflow",
      `A message of ${size} bytes to "${topic}" was dropped as it is over maxPacketSize, ${maxPacketSize}: raise it if such messages are expected`,
    );
    this.#events.tell({ type: "dropped", topic, size, error });
  }

  /** A message goes to the inboxes among its recipients; the handlers are the shell's to call, now or when it is taken. */
  deliver(message: Message, { handlers, inboxes }: Recipients, { keep }: { keep: boolean }): void {
    this.handlers = handlers;
    for (const inbox of inboxes) {
      if (inbox.push(message)) this.#full++;
      if (inbox.waiting) this.#events.push({ type: "inbox", inbox });
    }
    if (!keep) return;
    this.#kept.push({ message, handlers });
    this.#keptBytes += message.payload.length + KEPT;
  }

  /** The first message that was kept. */
  takeKept(): Message | undefined {
    const kept = this.#kept.shift();
    if (kept === undefined) return undefined;
    this.#keptBytes -= kept.message.payload.length + KEPT;
    this.handlers = kept.handlers;
    return kept.message;
  }

  /** Nobody wants what was kept any more. */
  dropKept(): void {
    this.#kept.clear();
    this.#keptBytes = 0;
  }

  /** The next message of an inbox. */
  take(inbox: Inbox): Message | undefined {
    const message = inbox.shift();
    if (inbox.hasDrained()) this.#full--;
    return message;
  }

  /** No more messages come for an iterator; the end that disconnect() made is no error to it. */
  end(inbox: Inbox, error: MqttError | undefined): void {
    inbox.end(error?.code === "disconnect" ? undefined : error);
    if (inbox.hasDrained()) this.#full--;
    if (inbox.waiting) this.#events.push({ type: "inbox", inbox });
  }
}
