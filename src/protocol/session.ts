/** What the client says and hears in MQTT 3.1.1, as a state machine without socket, timer or clock.
 * @module */

import { MqttError, violation } from "../errors.ts";
import type { Message } from "../message.ts";
import { Decoder, type Packet } from "./decoder.ts";
import { encode } from "./encoder.ts";
import { KeepAlive } from "./keepalive.ts";
import { Output } from "./output.ts";
import {
  CONNACK,
  type ConnackPacket,
  CONNECT,
  type ConnectPacket,
  DISCONNECT,
  NAMES,
  PINGREQ,
  PINGRESP,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  type QoS,
  SUBACK,
  type SubackPacket,
  SUBSCRIBE,
  type SubscribePacket,
  UNSUBACK,
  type UnsubackPacket,
  UNSUBSCRIBE,
  type UnsubscribePacket,
} from "./packet.ts";
import type { TopicName } from "./topic.ts";

/** What the application must hear. */
export type SessionEvent =
  | Message
  | ConnackPacket
  | SubackPacket
  | UnsubackPacket;

/**
 * The states of a connection, by the packet that leads to the next:
 *
 * | state | on | next |
 * |---|---|---|
 * | `idle` | `connect()` writes CONNECT | `connecting` |
 * | `connecting` | CONNACK 0 | `open` |
 * | `connecting` | CONNACK 1..5 | `closed` |
 * | `open` | `leave()`: messages are neither taken nor acknowledged | `leaving` |
 * | `leaving` | `disconnect()` writes DISCONNECT | `closed` |
 * | any | a mistake of the broker | `closed` |
 */
type State = "idle" | "connecting" | "open" | "leaving" | "closed";

/** What a session is made with. */
export interface SessionSettings {
  /** Seconds; 0 = off. */
  keepalive: number;
  /** Seconds after which it sends PINGREQ; `keepalive` by default, 0 where its transport does that. */
  pingAfter?: number;
  cleanSession: boolean;
  maxPacketSize: number;
  maxBuffered: number;
}

/**
 * One MQTT session: `receive(chunk, now)`, then `next()` until it is dry. What it can answer it
 * writes to `output` itself; what the application must hear it returns. `now` is in milliseconds.
 */
export class Session {
  readonly #settings: SessionSettings;
  readonly output: Output;
  #decoder: Decoder;
  #state: State = "idle";
  #sessionPresent = false;
  #lastId = 0;
  /** Requests that were not answered, by packet identifier. */
  readonly #requests = new Map<number, SubscribePacket | UnsubscribePacket>();
  /** Packet identifiers of QoS 2 messages delivered and not yet released [MQTT-4.3.3-2]. */
  readonly #unreleased = new Set<number>();
  #keepAlive = new KeepAlive(0, 0);

  constructor(settings: SessionSettings) {
    this.#settings = settings;
    this.output = new Output(settings.maxBuffered);
    this.#decoder = new Decoder(settings.maxPacketSize);
  }

  /** The topic name of the last message that `next` gave. */
  get topic(): TopicName {
    return this.#decoder.topic;
  }

  /** Starts on a new connection, and returns the bytes of CONNECT. */
  connect(packet: Omit<ConnectPacket, "type" | "keepalive" | "cleanSession">, now: number): Uint8Array<ArrayBuffer> {
    const { keepalive, pingAfter = keepalive, cleanSession } = this.#settings;
    this.#state = "connecting";
    this.#keepAlive = new KeepAlive(pingAfter, now);
    return encode({ type: CONNECT, keepalive, cleanSession, ...packet });
  }

  /** The connection is gone, with what was not decoded yet: nothing is due until the next one. */
  lost(): void {
    this.#state = "idle";
    this.#decoder = new Decoder(this.#settings.maxPacketSize);
  }

  /** Where the transport may read to. */
  space(): Uint8Array {
    return this.#decoder.space();
  }

  /** Takes bytes; `next` gives what they mean. */
  receive(chunk: Uint8Array, length: number): void {
    if (this.#state === "closed") return; // what comes after DISCONNECT is for nobody
    this.#keepAlive.received(length);
    this.#decoder.receive(chunk, length);
  }

  /**
   * The next thing to hear, or undefined when more bytes are needed.
   *
   * @throws {MqttError} The broker's mistake; the connection is over.
   */
  next(): SessionEvent | undefined {
    if (this.#state !== "open" && this.#state !== "leaving") return this.#answer();
    try {
      for (;;) {
        const packet = this.#decoder.next();
        if (packet === undefined) return this.#refuseStart();
        const event = packet.type === PUBLISH ? this.#message(packet) : this.#control(packet);
        if (event !== undefined) return event;
      }
    } catch (error) {
      this.#state = "closed";
      throw error;
    }
  }

  /** The answer to CONNECT, which must be a CONNACK [MQTT-3.2.0-1], refused at the first byte that is wrong. */
  #answer(): ConnackPacket | undefined {
    const decoder = this.#decoder;
    if (this.#state === "closed" || decoder.waiting === 0) return undefined;
    const head = [decoder.peek(0), decoder.peek(1) ?? 2, decoder.peek(2) ?? 0, decoder.peek(3) ?? 0] as number[];
    const cleanAnswer = this.#settings.cleanSession || head[3] !== 0 ? 0 : 1;
    if (this.#state === "idle" || head[0] !== CONNACK << 4 || head[1] !== 2 || head[2]! > cleanAnswer || head[3]! > 5) {
      this.#state = "closed";
      throw new MqttError(
        "invalidresp",
        `The server's answer is not a CONNACK of MQTT 3.1.1: is this port an MQTT broker's? It sent ${
          head.slice(0, decoder.waiting).map((byte) => byte.toString(16).padStart(2, "0")).join(" ")
        } [MQTT-3.2.0-1]`,
      );
    }
    const packet = decoder.next() as ConnackPacket | undefined;
    if (packet === undefined) return undefined;
    this.#state = packet.code === 0 ? "open" : "closed";
    this.#sessionPresent = packet.sessionPresent;
    // A refusal says nothing about the session [MQTT-3.2.2-4].
    if (packet.code === 0 && !packet.sessionPresent) this.#unreleased.clear();
    return packet;
  }

  /**
   * Goes on after CONNACK where an earlier connection ended: what was not sent yet follows the
   * requests that were not answered, and those the subscriptions that the broker has forgotten.
   */
  resume<F extends { topic: string; qos: QoS }>(filters: readonly F[]): { packetId: number; filters: F[] } | undefined {
    this.output.restart();
    const requests = [...this.#requests.values()];
    for (const request of requests.reverse()) this.output.addFirst(encode(request));
    const asked = new Set(requests.flatMap(({ filters }) => filters.map((filter) => filterName(filter))));
    const forgotten = this.#sessionPresent ? [] : filters.filter(({ topic }) => !asked.has(topic));
    if (forgotten.length === 0) return undefined;
    const packet = { type: SUBSCRIBE, packetId: this.#freeId(), filters: forgotten } as const;
    this.#requests.set(packet.packetId, packet);
    this.output.addFirst(encode(packet));
    return packet;
  }

  /** A packet that only clients send is refused before it has come. */
  #refuseStart(): undefined {
    const type = (this.#decoder.peek(0) ?? 0) >> 4;
    if (type === CONNECT || type === SUBSCRIBE || type === UNSUBSCRIBE) throw unknown(type);
  }

  #message(message: Message): Message | undefined {
    if (this.#state === "leaving") return undefined;
    const qos = message.qos;
    if (qos === 0) return message;
    const packetId = this.#decoder.packetId;
    if (qos === 1) {
      this.output.acknowledge(encode({ type: PUBACK, packetId })); // [MQTT-4.3.2-2]
      return message;
    }
    const known = this.#unreleased.has(packetId);
    this.#unreleased.add(packetId);
    this.output.acknowledge(encode({ type: PUBREC, packetId })); // [MQTT-4.3.3-2]
    return known ? undefined : message;
  }

  #control(packet: Exclude<Packet, Message>): SessionEvent | undefined {
    switch (packet.type) {
      case SUBACK:
      case UNSUBACK:
        return this.#acknowledge(packet);
      case PINGRESP:
        this.#keepAlive.answered();
        return undefined;
      case PUBREL:
        this.#unreleased.delete(packet.packetId);
        this.output.acknowledge(encode({ type: PUBCOMP, packetId: packet.packetId }));
        return undefined;
      case CONNACK:
        throw violation("a second CONNACK", "3.2.0-1");
      case PUBACK:
      case PUBREC:
      case PUBCOMP:
        throw violation(`a ${NAMES[packet.type]} for a message that was not sent`, "4.8.0-1");
      default:
        throw unknown(packet.type);
    }
  }

  #acknowledge(packet: SubackPacket | UnsubackPacket): SessionEvent {
    const name = NAMES[packet.type];
    const request = this.#requests.get(packet.packetId);
    if (request === undefined || request.type + 1 !== packet.type) {
      throw violation(`a ${name} for packet identifier ${packet.packetId}, which asked for none`, "2.3.1-7");
    }
    if (packet.type === SUBACK) {
      const asked = (request as SubscribePacket).filters;
      if (packet.codes.length !== asked.length) {
        throw violation(`a SUBACK with ${packet.codes.length} codes for ${asked.length} filters`, "3.8.4-5");
      }
      if (packet.codes.some((code, i) => code !== 128 && code > asked[i]!.qos)) {
        throw violation("a SUBACK that grants more than was asked", "3.8.4-6");
      }
    }
    this.#requests.delete(packet.packetId);
    return packet;
  }

  /** Asks for subscriptions, and returns the packet identifier that the answer will have. */
  subscribe(filters: readonly { topic: string; qos: QoS }[]): number {
    return this.#request({ type: SUBSCRIBE, packetId: this.#freeId(), filters });
  }

  /** Gives up subscriptions, and returns the packet identifier that the answer will have. */
  unsubscribe(filters: readonly string[]): number {
    return this.#request({ type: UNSUBSCRIBE, packetId: this.#freeId(), filters });
  }

  #request(packet: SubscribePacket | UnsubscribePacket): number {
    this.output.add(encode(packet));
    this.#requests.set(packet.packetId, packet);
    return packet.packetId;
  }

  /** The next packet identifier that is not in use [MQTT-2.3.1-2]. */
  #freeId(): number {
    if (this.#requests.size === 65_535) {
      throw new MqttError("overflow", "65,535 requests wait for the broker's answer: await some of them");
    }
    do this.#lastId = this.#lastId % 65_535 + 1; while (this.#requests.has(this.#lastId));
    return this.#lastId;
  }

  /** Takes no more messages: what is acknowledged from now on could not be delivered any more [MQTT-4.3.2-2]. */
  leave(): void {
    if (this.#state === "open") this.#state = "leaving";
  }

  /** Says goodbye: the bytes of DISCONNECT, after which nothing may be sent [MQTT-3.14.4-2]. */
  disconnect(): Uint8Array<ArrayBuffer> {
    this.#state = "closed";
    return encode({ type: DISCONNECT });
  }

  /** Bytes have gone out: the keep alive starts anew. */
  sent(now: number): void {
    this.#keepAlive.sent(now);
  }

  /** When `tick` wants to be called; Infinity when never. */
  get due(): number {
    return this.#state === "open" ? this.#keepAlive.due : Infinity;
  }

  /**
   * Sends PINGREQ when the keep alive wants it. `reading` is false while the application does not let us read.
   *
   * @throws {MqttError} `"pingresp"`.
   */
  tick(now: number, reading: boolean): void {
    if (this.#state !== "open") return;
    try {
      if (this.#keepAlive.tick(now, reading, this.output.writing)) this.output.addFirst(encode({ type: PINGREQ }));
    } catch (error) {
      this.#state = "closed";
      throw error;
    }
  }
}

function unknown(type: number): MqttError {
  return new MqttError("unknowncp", `The broker sent a ${NAMES[type]}, which only clients send [MQTT-4.8.0-1]`);
}

function filterName(filter: string | { topic: string }): string {
  return typeof filter === "string" ? filter : filter.topic;
}
