/** One connection, from CONNECT on: what comes on it, checked, and its keep alive.
 * @module */

import { MqttError, violation } from "../errors.ts";
import type { Message } from "../message.ts";
import { Decoder, type OversizedPublish, type Packet } from "../protocol/decoder.ts";
import {
  type AckPacket,
  CONNACK,
  type ConnackPacket,
  CONNECT,
  DISCONNECT,
  NAMES,
  PINGREQ,
  PINGRESP,
  PUBACK,
  PUBCOMP,
  PUBREC,
  type SubackPacket,
  SUBSCRIBE,
  type UnsubackPacket,
  UNSUBSCRIBE,
} from "../protocol/packet.ts";
import { isConnackStart, notConnack } from "./connack.ts";
import { KeepAlive } from "./keepalive.ts";

/** What a broker may send after CONNACK, apart from messages, and from PINGRESP, which the keep alive takes. */
export type BrokerPacket = OversizedPublish | SubackPacket | UnsubackPacket | AckPacket;

/** What a connection is made with. */
export interface ConnectionSettings {
  /** Seconds after which it sends PINGREQ; 0 = off. */
  readonly pingAfter: number;
  readonly cleanSession: boolean;
  /** Bytes. */
  readonly maxPacketSize: number;
}

/**
 * | state | on | next |
 * |---|---|---|
 * | `idle` | `begin()`: CONNECT goes out | `connecting` |
 * | `connecting` | CONNACK with return code 0 | `open` |
 */
type State = "idle" | "connecting" | "open";

/** What comes on one connection: `receive(chunk)`, then `answer()` or the decoder until it is dry. Times are in milliseconds. */
export class Connection {
  /** Decodes what has come; once the broker has accepted, its packets go through `check`. */
  readonly decoder: Decoder;
  readonly #cleanSession: boolean;
  readonly #keepAlive: KeepAlive;
  #state: State = "idle";

  constructor({ pingAfter, cleanSession, maxPacketSize }: ConnectionSettings, now: number) {
    this.#cleanSession = cleanSession;
    this.decoder = new Decoder(maxPacketSize);
    this.#keepAlive = new KeepAlive(pingAfter, now);
  }

  /** CONNECT goes out: an answer may come. */
  begin(): void {
    this.#state = "connecting";
  }

  /** Where the transport may read to. */
  space(): Uint8Array {
    return this.decoder.space();
  }

  /** Takes the first `length` bytes of a chunk; `next` gives what they mean. */
  receive(chunk: Uint8Array, length: number): void {
    this.#keepAlive.received(length);
    this.decoder.receive(chunk, length);
  }

  /** Bytes have gone out: the keep alive starts anew. */
  sent(now: number): void {
    this.#keepAlive.sent(now);
  }

  /** Whether the broker has accepted. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  /**
   * The answer to CONNECT; undefined when more bytes are needed.
   *
   * @throws {MqttError} `"invalidresp"` if it is no CONNACK [MQTT-3.2.0-1], at the first byte that is wrong.
   */
  answer(): ConnackPacket | undefined {
    const { decoder } = this;
    if (decoder.waiting === 0) return undefined;
    const head = [0, 1, 2, 3].map((index) => decoder.peek(index));
    if (this.#state === "idle" || !isConnackStart(head, this.#cleanSession)) throw notConnack(head);
    const packet = decoder.next() as ConnackPacket | undefined;
    if (packet?.code === 0) this.#state = "open";
    return packet;
  }

  /**
   * A packet that is no PUBLISH, if a broker may send it; undefined for PINGRESP, which is the keep alive's.
   *
   * @throws {MqttError} `"protocol"` or `"unknowncp"`
   */
  check(packet: Exclude<Packet, Message>): BrokerPacket | undefined {
    switch (packet.type) {
      case PINGRESP:
        this.#keepAlive.answered();
        return undefined;
      case CONNACK:
        throw violation("a second CONNACK", "3.2.0-1");
      case PUBACK:
      case PUBREC:
      case PUBCOMP:
        throw violation(`a ${NAMES[packet.type]} for a message that was not sent`, "4.8.0-1");
      case CONNECT:
      case SUBSCRIBE:
      case UNSUBSCRIBE:
      case PINGREQ:
      case DISCONNECT:
        throw clientsOnly(packet.type);
      default:
        return packet;
    }
  }

  /**
   * Looks at the start of a packet that has not come yet: one that only clients send is refused at its first byte.
   *
   * @throws {MqttError} `"unknowncp"`
   */
  checkStart(): void {
    const type = (this.decoder.peek(0) ?? 0) >> 4;
    if (type === CONNECT || type === SUBSCRIBE || type === UNSUBSCRIBE) throw clientsOnly(type);
  }

  /** When `isPingDue` wants to be asked; Infinity when never. */
  get due(): number {
    return this.#state === "open" ? this.#keepAlive.due : Infinity;
  }

  /**
   * Whether PINGREQ is to be sent now. `writing`: a write is in flight, so PINGREQ is in the next one;
   * `reading` is false while the application does not let us read: the answer may be there.
   *
   * @throws {MqttError} `"pingresp"`.
   */
  isPingDue(now: number, { writing, reading }: { writing: boolean; reading: boolean }): boolean {
    return this.#state === "open" && this.#keepAlive.tick(now, reading, writing);
  }
}

function clientsOnly(type: number): MqttError {
  return new MqttError("unknowncp", `The broker sent a ${NAMES[type]}, which only clients send [MQTT-4.8.0-1]`);
}
