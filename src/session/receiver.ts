/** Messages that come at QoS 1 and 2: acknowledged when they are settled, in the order of receipt, and those that come again found out.
 * @module */

import { MqttError, violation } from "../errors.ts";
import { LazyMap, LazySet } from "../lazy.ts";
import type { Message } from "../message.ts";
import type { OversizedPublish } from "../protocol/decoder.ts";
import type { Output } from "../protocol/output.ts";
import { PUBACK, PUBCOMP, PUBREC, type QoS, type Version } from "../protocol/packet.ts";
import { broken, RULES } from "../protocol/rules.ts";
import { isUtf8 } from "../protocol/text.ts";
import type { Delivery } from "./consumer.ts";
import type { Events } from "./events.ts";
import { Fifo } from "./fifo.ts";
import { type Journal, RECORDED, RELEASED } from "./journal.ts";
import { UNKNOWN_ID } from "./reasons.ts";

/** Sizes in bytes. */
export interface ReceiverSettings {
  readonly version: Version;
  readonly maxPacketSize: number;
  /** As CONNECT has it. */
  readonly receiveMaximum: number;
  /** Whether a payload that says of itself that it is text has to be. */
  readonly checksFormat: boolean;
}

/** The reason code of MQTT 5 for a message that a handler has failed on. */
const FAILED = 131;

/** That for a payload that is not what its format says. */
const MISFORMATTED = 153;

/** What it works with. */
export interface ReceiverParts {
  readonly output: Output;
  readonly events: Events;
  readonly journal: Journal;
}

/** What is acknowledged when it is settled. */
type Receipt = Pick<Delivery, "packetId" | "receipt" | "failed"> & {
  /** With which reason code, where that is not what `failed` says. */
  readonly code?: number;
};

/** There are so many packet identifiers: a broker that has used more without an acknowledgement uses one twice. */
const MOST_RECEIPTS = 65_535;

/**
 * A message that is not settled is in hand, by its packet identifier, whatever the connection: if it comes again, it joins
 * that. A message of QoS 2 that is settled is recorded until PUBREL [MQTT-4.3.3-2].
 *
 * PUBACK and PUBREC belong to the connection on which the message came, each in the order of receipt [MQTT-4.6.0-2],
 * [MQTT-4.6.0-3]: one that is settled waits for those before it.
 */
export class Receiver {
  readonly #settings: ReceiverSettings;
  readonly #output: Output;
  readonly #events: Events;
  readonly #journal: Journal;
  /** What came on this connection and is not acknowledged, in order: of QoS 1, and of QoS 2. */
  readonly #receipts: readonly Fifo<Receipt>[] = [new Fifo(), new Fifo()];
  /** What is not settled, of this connection and of earlier ones. */
  readonly #inHand = new LazyMap<number, Delivery>();
  readonly #earlier = new LazyMap<number, Delivery>();
  readonly #recorded = new LazySet<number>();
  /** What came on this connection and is not acknowledged to the end, where the broker may not send more than so many. */
  readonly #open = new LazySet<number>();
  #maximum = Infinity;
  /** How a message is acknowledged that a handler has failed on, and a PUBREL for nothing. */
  #failure = 0;
  #unknown = 0;
  /** Whether there is a connection to acknowledge on. */
  #isOpen = false;
  /** The version is known. */
  speak(version: Version): void {
    this.#maximum = version === 5 ? this.#settings.receiveMaximum : Infinity;
    this.#failure = version === 5 ? FAILED : 0;
    this.#unknown = version === 5 ? UNKNOWN_ID : 0;
  }

  /** How many messages were passed over. */
  #dropped = 0;

  /** `recorded`: what a process before this one had recorded. */
  constructor(settings: ReceiverSettings, { output, events, journal }: ReceiverParts, recorded: Iterable<number> = []) {
    this.#settings = settings;
    this.#output = output;
    this.#events = events;
    this.#journal = journal;
    for (const packetId of recorded) this.#recorded.add(packetId);
    this.speak(settings.version);
  }

  /** How many messages were passed over as they exceed `maxPacketSize`. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Whether a message is to be delivered; one that has come before is not. Then `delivered`.
   *
   * @throws {MqttError} `"protocol"`: it has no packet identifier of its own.
   */
  accept(message: Message, packetId: number): boolean {
    if (packetId === 0) return true;
    if (this.#maximum < Infinity) this.#count(packetId);
    const { qos } = message;
    const inHand = this.#inHand.get(packetId), earlier = this.#earlier.get(packetId);
    if (inHand !== undefined && isRepeat(message, inHand.message)) return false;
    if (earlier !== undefined && isRepeat(message, earlier.message)) {
      this.#earlier.delete(packetId);
      this.#hold(earlier);
      return false;
    }
    if (qos !== 2 || !this.#recorded.has(packetId)) return true;
    this.#acknowledge(qos, packetId, 0);
    return false;
  }

  /**
   * Whether the payload of a message is what it says of itself, if that is to be looked at. One that is not is passed over,
   * and acknowledged with 153 (section 3.3.2.3.2 of MQTT 5).
   */
  isWellFormed(message: Message, packetId: number): boolean {
    if (!this.#settings.checksFormat || message.properties?.payloadFormat !== 1 || isUtf8(message.payload)) return true;
    const { topic, qos, payload: { length: size } } = message;
    if (packetId > 0) {
      this.#count(packetId);
      this.#acknowledge(qos, packetId, MISFORMATTED);
    }
    const error = new MqttError(MISFORMATTED, `A message to "${topic}" was dropped: it is not UTF-8`);
    this.#passedOver(topic, size, error);
    return false;
  }

  /** One more is not acknowledged [MQTT5-3.3.4-9]. */
  #count(packetId: number): void {
    this.#open.add(packetId);
    if (this.#open.size <= this.#maximum) return;
    const mistake = `more than ${this.#maximum} messages that are not acknowledged`;
    throw broken(mistake, RULES.tooMany, 5);
  }

  /** A message was delivered; without a delivery, it is settled. */
  delivered({ qos }: Message, packetId: number, delivery: Delivery | undefined): void {
    if (packetId === 0) return;
    if (delivery === undefined || delivery.pending === 0) this.#settled(qos, packetId, delivery?.failed ?? false);
    else this.#hold(delivery);
  }

  /** It is in hand. */
  #hold(delivery: Delivery): void {
    const { packetId, message } = delivery;
    delivery.receipt = "due";
    (this.#isOpen ? this.#inHand : this.#earlier).set(packetId, delivery);
    if (this.#isOpen) this.#expect(message.qos, delivery);
  }

  /** Nobody is busy with a message any more. */
  settle(delivery: Delivery): void {
    const { packetId, message: { qos }, failed } = delivery;
    if (delivery.receipt !== "due") return; // QoS 0, forgotten, or not delivered to all yet
    this.#remove(delivery);
    delivery.receipt = "settled";
    if (qos === 2) this.#record(packetId, failed);
    this.#sendSettled(qos);
  }

  #remove(delivery: Delivery): void {
    for (const table of [this.#inHand, this.#earlier]) {
      if (table.get(delivery.packetId) === delivery) table.delete(delivery.packetId);
    }
  }

  /** Nobody will be busy with a message: the broker is to bring it again. */
  forget(delivery: Delivery): void {
    if (delivery.receipt !== "due") return;
    this.#remove(delivery);
    delivery.receipt = "none";
    this.#sendSettled(delivery.message.qos); // those behind it do not wait for it
  }

  /** What will be acknowledged when it is settled. */
  #expect(qos: QoS, receipt: Receipt): void {
    const receipts = this.#receipts[qos - 1]!;
    if (receipts.length === MOST_RECEIPTS) throw violation("a packet identifier that is in use", "2.3.1-2");
    receipts.push(receipt);
  }

  #settled(qos: QoS, packetId: number, failed: boolean): void {
    if (qos === 2) this.#record(packetId, failed);
    if (this.#isOpen) this.#acknowledge(qos, packetId, this.#codeOf(failed));
  }

  #codeOf(failed: boolean): number {
    return failed ? this.#failure : 0;
  }

  #acknowledge(qos: QoS, packetId: number, code: number): void {
    if (this.#receipts[qos - 1]!.length === 0) this.#send(qos, packetId, code);
    else this.#expect(qos, { packetId, receipt: "settled", failed: false, code });
  }

  /** Sends what need not wait any more. */
  #sendSettled(qos: QoS): void {
    const receipts = this.#receipts[qos - 1]!;
    while (receipts.first !== undefined && receipts.first.receipt !== "due") {
      const { packetId, receipt, failed, code = this.#codeOf(failed) } = receipts.shift()!;
      if (receipt === "settled") this.#send(qos, packetId, code);
    }
  }

  /** PUBREC with a reason code from 128 on ends it: its identifier may be another message's then [MQTT5-4.3.3-9]. */
  #record(packetId: number, failed: boolean): void {
    if (this.#recorded.has(packetId) || failed && this.#failure > 0) return;
    this.#recorded.add(packetId);
    this.#journal.change(RECORDED, packetId);
  }

  #send(qos: QoS, packetId: number, code: number): void {
    if (qos === 1 || code > 0) this.#open.delete(packetId);
    if (qos === 1) this.#output.acknowledge(PUBACK, packetId, code);
    else this.#journal.afterwards(() => this.#output.acknowledge(PUBREC, packetId, code));
  }

  /**
   * PUBREL: the broker will not send that message again, but perhaps another one with its packet identifier. One for nothing
   * is answered, too: it comes again when PUBCOMP was lost with its connection.
   */
  release(packetId: number): void {
    const code = this.#recorded.has(packetId) ? 0 : this.#unknown;
    if (this.#recorded.delete(packetId)) this.#journal.change(RELEASED, packetId);
    this.#open.delete(packetId);
    this.#journal.afterwards(() => this.#output.acknowledge(PUBCOMP, packetId, code));
  }

  /** The packet identifiers that are recorded. */
  get recorded(): Pick<ReadonlySet<number>, "size"> & Iterable<number> {
    return this.#recorded;
  }

  /** The connection is lost: nothing that came on it is acknowledged on another one. */
  lost(): void {
    this.#isOpen = false;
    for (const receipts of this.#receipts) receipts.clear();
    this.#open.clear();
    for (const delivery of this.#inHand.values()) this.#earlier.set(delivery.packetId, delivery);
    this.#inHand.clear();
  }

  /** The broker has accepted; it may have forgotten the session. */
  connected(sessionPresent: boolean): void {
    this.#isOpen = true;
    if (sessionPresent) return;
    this.#recorded.clear();
    for (const delivery of [...this.#earlier.values()]) this.forget(delivery);
  }

  /** The payload of a PUBLISH over `maxPacketSize` is passed over; it is acknowledged, or it would come again and again. */
  drop(packet: OversizedPublish): void {
    const { topic, size, qos, packetId } = packet;
    const isRepeat = this.#recorded.has(packetId);
    if (qos > 0) this.#settled(qos, packetId, false);
    if (isRepeat) return;
    const { maxPacketSize } = this.#settings;
    const error = new MqttError(
      "overflow",
      `A message of ${size} bytes to "${topic}" was dropped as it is over maxPacketSize, ${maxPacketSize}: raise it if such are expected`,
    );
    this.#passedOver(topic, size, error);
  }

  #passedOver(topic: string, size: number, error: MqttError): void {
    this.#dropped++;
    this.#events.tell({ type: "dropped", topic, size, error });
  }
}

/**
 * Whether a message is one that is in hand. At QoS 2 its packet identifier says so [MQTT-4.3.3-2]; at QoS 1 that may be
 * another one's by now, and DUP proves nothing [MQTT-3.3.1-3]: one handled twice is better than one lost.
 */
function isRepeat(message: Message, other: Message): boolean {
  if (message.qos !== other.qos) return false;
  if (message.qos === 2) return true;
  if (!message.dup || message.topic !== other.topic) return false;
  const { payload } = message, { payload: others } = other;
  return payload.length === others.length && payload.every((byte, i) => byte === others[i]);
}
