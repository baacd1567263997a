/** Messages that come: acknowledged, those that come again found out, and those that are too large dropped.
 * @module */

import { MqttError } from "../errors.ts";
import type { OversizedPublish } from "../protocol/decoder.ts";
import { encode } from "../protocol/encoder.ts";
import type { Output } from "../protocol/output.ts";
import { PUBACK, PUBCOMP, PUBREC, type QoS } from "../protocol/packet.ts";
import type { Events } from "./events.ts";

/** Sizes in bytes. */
export interface ReceiverSettings {
  readonly maxPacketSize: number;
}

/** Takes messages from the broker. */
export class Receiver {
  readonly #settings: ReceiverSettings;
  readonly #output: Output;
  readonly #events: Events;
  /** Packet identifiers of QoS 2 messages delivered and not yet released [MQTT-4.3.3-2]. */
  readonly #unreleased = new Set<number>();
  /** How many messages were passed over. */
  #dropped = 0;

  constructor(settings: ReceiverSettings, output: Output, events: Events) {
    this.#settings = settings;
    this.#output = output;
    this.#events = events;
  }

  /** How many messages were passed over as they exceed `maxPacketSize`. */
  get dropped(): number {
    return this.#dropped;
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
}
