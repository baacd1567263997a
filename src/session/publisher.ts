/** What the program publishes, on its way to the output or to those that wait for an acknowledgement.
 * @module */

import type { Limits } from "../options5.ts";
import type { Output } from "../protocol/output.ts";
import type { Version } from "../protocol/packet.ts";
import { withExpiry } from "../protocol/properties.ts";
import type { Call, Events } from "./events.ts";
import type { Flight } from "./flight.ts";
import type { Ledger } from "./ledger.ts";
import { forbiddenFlags, isLimited, messageUnsupported, versionUnsupported } from "./limits.ts";
import type { Outgoing, Publication } from "./outgoing.ts";
import { topicIn } from "./shelf.ts";
import { HIGH_WATER } from "./state.ts";

/** What it works with. */
export interface PublisherParts {
  readonly output: Output;
  readonly events: Events;
  readonly flight: Flight;
  readonly ledger: Ledger;
}

/** Takes what is published, as far as the broker of the connection takes it. */
export class Publisher {
  #version: Version;
  readonly #parts: PublisherParts;
  readonly #output: Output;
  readonly #flight: Flight;
  /** What the broker of the connection can do; undefined while there is none. */
  #limits: Limits | undefined;
  /** The flags of byte 1 that it does not take. */
  #forbidden = 0;
  /** Who waits for room. */
  #waiting: Call | undefined;

  constructor(version: Version, parts: PublisherParts) {
    this.#version = version;
    this.#parts = parts;
    this.#output = parts.output;
    this.#flight = parts.flight;
  }

  /**
   * Publishes a message of QoS 0 with the flags of byte 1; whether to wait before the next one: `awaitRoom`.
   *
   * @throws {TypeError | RangeError} If `topic` is no topic name, or `message` no message.
   * @throws {MqttError} `"overflow"`, `"unsupported"`
   */
  publish(topic: string, message: string | Uint8Array, flags: number, now: number): boolean {
    if ((flags & this.#forbidden) !== 0) throw messageUnsupported(this.#limits!, { flags, size: 0 });
    if (this.#flight.holdsQoS0) {
      this.#flight.publish({ topic, message, flags }, undefined, now);
      return false;
    }
    this.#output.publish(topic, message, flags);
    this.#output.published++;
    return this.#output.buffered > HIGH_WATER;
  }

  /**
   * Publishes a message with a call. What may be withdrawn; undefined when it goes out at once.
   *
   * @throws {TypeError | RangeError} If `topic` is no topic name, or `message` no message.
   * @throws {MqttError} `"overflow"`, `"unsupported"`
   */
  send(publication: Publication, call: Call, now: number): Outgoing | undefined {
    const { topic, message, flags, expiry } = publication;
    if ((flags & this.#forbidden) !== 0) throw messageUnsupported(this.#limits!, { flags, size: 0 });
    const properties = this.#properties(publication);
    const isDirect = flags < 2 && (expiry === undefined || this.#limits !== undefined) && !this.#flight.holdsQoS0;
    if (!isDirect) {
      const { untilStored = false } = publication;
      const outgoing = this.#flight.publish({ topic, message, flags, expiry, properties }, call, now);
      this.#parts.ledger.accepted(outgoing, untilStored, now);
      return outgoing;
    }
    if (properties === undefined) this.#output.publish(topic, message, flags);
    else this.#output.publishWith(topic, message, flags, properties);
    this.#output.published++;
    this.#parts.events.settle(call, { code: 0 });
    return undefined;
  }

  /** The properties that a message has on the wire: its expiry is one of version 5, and counts here in both. */
  #properties({ expiry, properties }: Publication): Uint8Array | undefined {
    if (this.#version === 5) return expiry === undefined ? properties : withExpiry(properties, expiry);
    if (properties !== undefined) throw versionUnsupported("properties");
    return undefined;
  }

  /** Whether a call of `awaitRoom` waits. */
  get isAwaited(): boolean {
    return this.#waiting !== undefined;
  }

  /** Settles the call with 0 when a publish need not wait any more; one at a time. */
  awaitRoom(call: Call): void {
    this.#waiting = call;
    this.makeRoom();
  }

  /** Bytes have gone out. */
  makeRoom(): void {
    if (this.#waiting === undefined || this.#output.buffered > HIGH_WATER) return;
    this.settle({ code: 0 });
  }

  /** Whoever waits for room waits no longer. */
  settle(outcome: Parameters<Events["settle"]>[1]): void {
    this.#parts.events.settle(this.#waiting, outcome);
    this.#waiting = undefined;
  }

  /** The version is 4, and not 5: what version 4 cannot say is dropped, and that is told. */
  downgrade(): void {
    this.#version = 4;
    this.#output.downgrade((packet) => {
      const error = versionUnsupported("a message with properties");
      this.#parts.events.tell({ type: "dropped", topic: topicIn(packet), size: packet.length, error });
      return false;
    });
    this.#flight.downgrade();
  }

  /** There is a connection, whose broker can do this: what waits and is too much for it is dropped, and that is told. */
  connected(limits: Limits): void {
    this.#limits = limits;
    this.#forbidden = forbiddenFlags(limits);
    this.#output.limit(limits.maxPacketSize);
    if (!isLimited(limits)) return;
    this.#output.restart((packet) => {
      const error = messageUnsupported(limits, { flags: packet[0]! & 15, size: packet.length });
      if (error === undefined) return true;
      this.#parts.events.tell({ type: "dropped", topic: topicIn(packet), size: packet.length, error });
      return false;
    });
  }

  /** The connection is lost: what the next one's broker can do is not known. */
  lost(): void {
    this.#limits = undefined;
    this.#forbidden = 0;
    this.#output.limit(Infinity);
  }
}
