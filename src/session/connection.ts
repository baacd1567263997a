/** One attempt and its connection: CONNECT, what comes in answer, checked, and the keep alive. Nothing of it touches the next.
 * @module */

import { disconnectReason, MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import { Aliases } from "../protocol/aliases.ts";
import { Decoder, type OversizedPublish, type Packet } from "../protocol/decoder.ts";
import { encode } from "../protocol/encoder.ts";
import {
  type AckPacket,
  AUTH,
  type AuthPacket,
  CONNACK,
  type ConnackPacket,
  CONNECT,
  DISCONNECT,
  NAMES,
  PINGREQ,
  PINGRESP,
  type SubackPacket,
  SUBSCRIBE,
  type UnsubackPacket,
  UNSUBSCRIBE,
  type Version,
} from "../protocol/packet.ts";
import { broken, must, RULES } from "../protocol/rules.ts";
import { disconnected, isConnackStart, notConnack, olderConnack } from "./connack.ts";
import { KeepAlive } from "./keepalive.ts";
import type { Limits } from "../options5.ts";
import type { SessionSettings } from "./settings.ts";
import type { CredentialsGiven, Trust } from "./trust.ts";

/** What a broker may send after CONNACK, apart from messages. */
export type BrokerPacket = OversizedPublish | SubackPacket | UnsubackPacket | AckPacket | AuthPacket | {
  readonly type: typeof PINGRESP;
};

/** What the session must know of an open connection. */
export interface Link {
  readonly trusted: Trust;
  /** Bytes that were written and are still under way, where that can be told. */
  readonly unsent?: number;
}

/** What CONNECT tells of the client's user, as bytes. */
export interface Credentials {
  readonly uname: Uint8Array | undefined;
  readonly passwd: Uint8Array | undefined;
}

/** What of the settings a connection needs. */
type ConnectionSettings = Pick<
  SessionSettings,
  | ("will" | "keepalive" | "pingPart")
  | ("sessionExpiry" | "receiveMaximum" | "maxPacketSize" | "topicAliases" | "properties" | "auth")
>;

/** What is of this attempt. */
interface Attempt {
  /** Its number. */
  readonly attempt: number;
  /** What CONNECT has of user name and password. */
  readonly given: CredentialsGiven;
  readonly version: Version;
  /** Whether the broker is to forget the session that it has. */
  readonly cleanSession: boolean;
}

/**
 * One attempt to connect, and the connection that comes of it. Times are in milliseconds.
 *
 * What its owner does, in order: `link` is set, `login()`, `takeConnect()`, `receive()` and `answer()` until that is
 * CONNACK, `acceptedAt` is set, then `receive()` and the decoder.
 */
export class Connection {
  /** The number of the attempt. */
  readonly attempt: number;
  /** The version of the protocol that it speaks. */
  readonly version: Version;
  /** What CONNECT has of user name and password. */
  given: CredentialsGiven;
  /** Decodes what has come; once the broker has accepted, its packets go through `check`. */
  readonly decoder: Decoder;
  /** What carries the bytes. */
  link: Link | undefined;
  /** Bytes that were taken and have not gone out yet. */
  inFlight = 0;
  /** When the last bytes came or went. */
  lastByte: number = -Infinity;
  /** When the broker accepted; undefined before. */
  acceptedAt: number | undefined;
  /** Gives topic aliases to what is written; undefined where there are none. */
  aliases: Aliases | undefined;
  /** Why it is to end, once the broker has been told; undefined as long as it goes on. */
  failure: MqttError | undefined;
  /** The DISCONNECT that tells it, until it is taken. */
  #refusal: Uint8Array<ArrayBuffer> | undefined;
  readonly #settings: ConnectionSettings;
  readonly #cleanSession: boolean;
  #keepAlive = new KeepAlive(0, 0);
  /** CONNECT, until it is taken. */
  #connect: Uint8Array<ArrayBuffer> | undefined;
  #isConnectTaken = false;

  constructor({ attempt, given, version, cleanSession }: Attempt, settings: ConnectionSettings) {
    this.version = version;
    this.attempt = attempt;
    this.given = given;
    this.#cleanSession = cleanSession;
    this.#settings = settings;
    this.decoder = new Decoder(settings.maxPacketSize, version, settings.topicAliases);
  }

  /** The credentials are known: CONNECT can be taken. `id`: the client identifier, if the broker has assigned one before. */
  login(credentials: Credentials, id: string, now: number): void {
    const { will, keepalive, pingPart, properties: given } = this.#settings;
    const { sessionExpiry, receiveMaximum, maxPacketSize: maximumPacketSize, topicAliases, auth } = this.#settings;
    const properties = {
      ...given,
      authMethod: auth?.method,
      authData: auth?.data,
      sessionExpiry,
      receiveMaximum,
      maximumPacketSize,
      topicAliasMaximum: topicAliases === 0 ? undefined : topicAliases,
    };
    this.#keepAlive = new KeepAlive(keepalive * pingPart, now);
    const what = { keepalive, cleanSession: this.#cleanSession, id, will, properties, ...credentials };
    this.#connect = encode({ type: CONNECT, ...what }, this.version);
  }

  /** The broker has accepted, and can do this. */
  accepted({ keepalive, topicAliases, maxPacketSize }: Limits, now: number): void {
    this.acceptedAt = now;
    const most = Math.min(topicAliases, this.#settings.topicAliases);
    if (most > 0) this.aliases = new Aliases(most, maxPacketSize);
    this.#keepAlive.change(keepalive * this.#settings.pingPart);
  }

  /**
   * The connection is to end, as the broker has made a mistake: whether it is told first [MQTT5-4.13.1-1]. Then
   * `takeRefusal`, and what comes is for nobody.
   */
  refuse(failure: MqttError): boolean {
    if (!this.isOpen || this.failure !== undefined || this.version === 4) return false;
    const code = disconnectReason(failure);
    if (code === undefined) return false;
    this.failure = failure;
    this.#refusal = encode({ type: DISCONNECT, code }, 5);
    return true;
  }

  /** The DISCONNECT that tells the broker why, once. */
  takeRefusal(): Uint8Array<ArrayBuffer> | undefined {
    const bytes = this.#refusal;
    this.#refusal = undefined;
    return bytes;
  }

  /** Whether the broker was told. */
  get hasRefused(): boolean {
    return this.failure !== undefined && this.#refusal === undefined;
  }

  /** Whether an end with this error, before it was accepted, may be that of a broker that does not speak version 5. */
  isTooNew({ code }: MqttError): boolean {
    const isRefusal = code === 1 || code === 132 || code === "socketclosed";
    return this.version === 5 && this.#isConnectTaken && !this.isOpen && isRefusal;
  }

  /** What the client says before it is accepted, when CONNECT has gone. */
  say(bytes: Uint8Array<ArrayBuffer>): void {
    this.#connect = bytes;
  }

  /** CONNECT, once; an answer may come from then on. */
  takeConnect(): Uint8Array<ArrayBuffer> | undefined {
    const bytes = this.#connect;
    this.#connect = undefined;
    this.#isConnectTaken ||= bytes !== undefined;
    return bytes;
  }

  /** Takes the first `length` bytes of a chunk. */
  receive(chunk: Uint8Array, length: number, now: number): void {
    this.lastByte = now;
    this.#keepAlive.received(length);
    this.decoder.receive(chunk, length);
  }

  /** What was in flight has gone out: the keep alive starts anew. */
  written(now: number): void {
    this.lastByte = now;
    this.#keepAlive.sent(now, this.inFlight);
    this.inFlight = 0;
  }

  /** Whether the broker has accepted. */
  get isOpen(): boolean {
    return this.acceptedAt !== undefined;
  }

  /**
   * The answer to CONNECT; undefined when more bytes are needed.
   *
   * @throws {MqttError} `"invalidresp"` if it is no CONNACK [MQTT-3.2.0-1], at the first byte that is wrong.
   */
  answer(): ConnackPacket | AuthPacket | undefined {
    const { decoder, version } = this, cleanSession = this.#cleanSession;
    if (decoder.waiting === 0) return undefined;
    const head = [0, 1, 2, 3].map((index) => decoder.peek(index));
    const isChallenge = this.#isConnectTaken && version === 5 && this.#settings.auth !== undefined &&
      head[0] === AUTH << 4;
    if (isChallenge) return decoder.next() as AuthPacket | undefined;
    const isRight = this.#isConnectTaken && isConnackStart(head, cleanSession, version);
    if (!isRight) throw notConnack(head, version);
    if (version === 5 && head[1] === 2) return head[3] === undefined ? undefined : olderConnack(head[3]);
    try {
      const packet = decoder.next() as ConnackPacket | undefined;
      if (version === 5 && packet?.sessionPresent) { // of version 4, the bytes were looked at
        must(packet.code === 0, "a refusal with a session present", RULES.presentRefused, version);
        must(!cleanSession, "a session present after a clean start", RULES.presentAnew, version);
      }
      return packet;
    } catch (error) {
      throw new MqttError("invalidresp", (error as MqttError).message, error);
    }
  }

  /**
   * A packet that is no PUBLISH, if a broker may send it. PINGRESP is the keep alive's, and perhaps a flush's.
   *
   * @throws {MqttError} `"protocol"` or `"unknowncp"`
   */
  check(packet: Exclude<Packet, Message>): BrokerPacket {
    switch (packet.type) {
      case PINGRESP:
        this.#keepAlive.answered();
        return { type: PINGRESP };
      case CONNACK:
        throw broken("a second CONNACK", RULES.secondConnack, this.version);
      case CONNECT:
      case SUBSCRIBE:
      case UNSUBSCRIBE:
      case PINGREQ:
        throw clientsOnly(packet.type, this.version);
      case DISCONNECT:
        if (this.version === 4) throw clientsOnly(packet.type, this.version);
        must(packet.properties?.sessionExpiry === undefined, "a session expiry", RULES.serverExpiry, this.version);
        throw disconnected(packet);
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
    if (type === CONNECT || type === SUBSCRIBE || type === UNSUBSCRIBE) throw clientsOnly(type, this.version);
  }

  /** It may be dead: PINGREQ is due now, if there is a keep alive. */
  probe(): void {
    this.#keepAlive.probe();
  }

  /** When `isPingDue` wants to be asked; Infinity when never. */
  get due(): number {
    return this.isOpen ? this.#keepAlive.due : Infinity;
  }

  /**
   * Whether PINGREQ is to be sent now. `reading` is false while the application does not let us read: the answer may be there.
   *
   * @throws {MqttError} `"pingresp"`.
   */
  isPingDue(now: number, reading: boolean): boolean {
    return this.isOpen && this.#keepAlive.tick(now, reading, this.inFlight);
  }
}

function clientsOnly(type: number, version: Version): MqttError {
  return broken(`a ${NAMES[type]}, which only clients send`, RULES.clientsOnly, version);
}
