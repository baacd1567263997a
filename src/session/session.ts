/**
 * The whole client as a state machine that knows no socket, timer, promise or clock: calls, bytes,
 * time and chance go in; bytes, events and a due time come out. The shells in `src/client/` do the rest.
 * @module
 */

import type { ConnectionStatus, OnPublish, ReconnectOptions, Stats } from "../api.ts";
import { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import { encode } from "../protocol/encoder.ts";
import { Output } from "../protocol/output.ts";
import {
  CONNACK,
  type ConnackPacket,
  CONNECT,
  DISCONNECT,
  type FilterRequest,
  PINGREQ,
  PUBLISH,
  PUBREL,
  type QoS,
  SUBACK,
  UNSUBACK,
  type WillFields,
} from "../protocol/packet.ts";
import { connectionRefused } from "./connack.ts";
import { type BrokerPacket, Connection, type ConnectionSettings } from "./connection.ts";
import { type Call, Events, type SessionEvent } from "./events.ts";
import type { Inbox } from "./inbox.ts";
import { Receiver } from "./receiver.ts";
import { Retry } from "./retry.ts";
import { Subscriber } from "./subscriber.ts";
import type { RouteListener } from "./subscriptions.ts";
import { distrust, type Trust, type TrustPolicy } from "./trust.ts";

/** A publish waits while more bytes than this do. */
const HIGH_WATER = 65_536;
/** Milliseconds in which a broker that got DISCONNECT may close the connection before we do. */
const LINGER = 1000;
/** For as long as time was told late, and no longer than this, what has come is looked at before anything is given up; milliseconds. */
const LATE = 100;
/** Milliseconds in which somebody may still ask why the client has ended. */
const HEARD_WITHIN = 1000;

/** What a session is made with. Times are in milliseconds, sizes in bytes. */
export interface SessionSettings extends ConnectionSettings, TrustPolicy {
  readonly id: string;
  readonly will: WillFields | undefined;
  /** Seconds; 0 = off. */
  readonly keepalive: number;
  readonly maxBuffered: number;
  readonly timeout: number;
  /** When a lost connection is made again; undefined: never. */
  readonly reconnect: Required<ReconnectOptions> | undefined;
  /** Where the broker is, for people to read. */
  readonly address: string | undefined;
}

/** What a session is given besides. */
export interface SessionParts {
  /** Gets the messages that no subscription takes. */
  readonly onpub?: OnPublish | undefined;
  /** Hears which filters have recipients of their own. */
  readonly routeListener?: RouteListener | undefined;
  /** Chance: 0 to 1. */
  random(): number;
}

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

/**
 * | state | in which | what ends it in time | leads to |
 * |---|---|---|---|
 * | `connecting` | a connection is opened, CONNACK awaited | `timeout` | `open`, `waiting`, `closed` |
 * | `open` | the broker has accepted | the keep alive | `waiting`, `closing`, `closed` |
 * | `waiting` | time passes until the next attempt | the delay | `connecting`, `closed` |
 * | `closing` | what was accepted is sent, then DISCONNECT | `timeout` | `leaving`, `closed` |
 * | `leaving` | DISCONNECT is sent, the broker may close | a second | `closed` |
 * | `closed` | everything is settled | | |
 */
type State = "connecting" | "open" | "waiting" | "closing" | "leaving" | "closed";

/**
 * A client's session with its broker, over one connection after the other.
 *
 * After each input, `next` is called until it is dry, `takeBytes` gives what is to be written, and `due`
 * says when `tick` wants to be called. `now` is in milliseconds. What a connection says comes with the
 * number of its attempt: an earlier one is not heard any more.
 */
export class Session {
  readonly #settings: SessionSettings;
  readonly #random: () => number;
  readonly #events: Events;
  readonly #output: Output;
  readonly #receiver: Receiver;
  readonly #subscriber: Subscriber;
  readonly #retry: Retry;
  #state: State = "connecting";
  #now: number;
  /** When the state has lasted too long. */
  #deadline = Infinity;
  /** Time to look at what has come; then everything is given up that was due by #lookFrom. */
  #lookUntil = Infinity;
  #lookFrom = -Infinity;
  /** The number of this attempt. */
  #attempt = 0;
  /** How many attempts there were since a connection was accepted. */
  #attempts = 0;
  #link: Link | undefined;
  /** What comes on the connection, once credentials are known. */
  #connection: Connection | undefined;
  /** CONNECT, until it is taken. */
  #connect: Uint8Array<ArrayBuffer> | undefined;
  /** Whether what was taken has not gone out yet. */
  #writing = false;
  /** When the broker accepted this connection; undefined before. */
  #acceptedAt: number | undefined;
  #status: ConnectionStatus;
  /** Who waits for the first connection. */
  #opening: Call | undefined;
  /** Those who wait for room to publish. */
  #publishing: Call[] = [];
  /** Those who wait for the end that they asked for. */
  #leaving: Call[] = [];
  /** The end as disconnect() makes it. */
  #disconnected: MqttError | undefined;
  /** What every call gets from the end on. */
  #reason: MqttError | undefined;
  /** Whether somebody hears of the end. */
  #heard = false;

  /** `call` is settled with the first connection. */
  constructor(settings: SessionSettings, { random, ...consumers }: SessionParts, call: Call, now: number) {
    this.#settings = settings;
    this.#random = random;
    this.#events = new Events((error) => this.#heard ||= error === this.#reason);
    this.#output = new Output(settings.maxBuffered);
    this.#receiver = new Receiver(settings, this.#output, this.#events);
    const parts = { output: this.#output, events: this.#events, receiver: this.#receiver };
    this.#subscriber = new Subscriber(settings, { ...consumers, ...parts });
    this.#retry = new Retry(settings.reconnect);
    this.#opening = call;
    this.#now = now;
    this.#status = this.#dial();
  }

  // ---- what the shell looks at

  /** The last status of the connection. */
  get status(): ConnectionStatus {
    return this.#status;
  }

  /** Counters. */
  get stats(): Stats {
    return { dropped: this.#receiver.dropped };
  }

  /** Why no call can be made any more. */
  get reason(): MqttError | undefined {
    return this.#reason;
  }

  /** Those who get the last message that `next` gave. */
  get handlers(): readonly OnPublish[] {
    return this.#receiver.handlers;
  }

  /** How many messages wait for `next` as the shell took none. */
  get kept(): number {
    return this.#receiver.kept;
  }

  /** Bytes that were accepted, and not yet written. */
  get buffered(): number {
    return this.#output.buffered;
  }

  /** Whether a publish should wait before the next one. */
  get isFull(): boolean {
    return this.#output.buffered > HIGH_WATER;
  }

  /** Whether there is a connection that takes a publish at once. */
  get isReady(): boolean {
    return this.#state === "open" && !this.#writing;
  }

  /** Whether what the connection has is wanted: who has no room stops everything but the handshake and the end. */
  get isReading(): boolean {
    return this.#receiver.hasRoom || this.#state === "connecting" || this.#disconnected !== undefined;
  }

  /** When `tick` wants to be called; Infinity when never. */
  get due(): number {
    if (this.#lookUntil < Infinity) return this.#lookUntil;
    return Math.min(this.#failing, this.#connection?.due ?? Infinity);
  }

  /** When the first of those that wait has failed. */
  get #failing(): number {
    return Math.min(this.#deadline, this.#subscriber.due);
  }

  // ---- what the program asks for

  /**
   * Publishes a message with the flags of byte 1.
   *
   * @throws {TypeError | RangeError} If `topic` is no topic name, or `message` no message.
   * @throws {MqttError} `"overflow"`; why the client has ended.
   */
  publish(topic: string, message: string | Uint8Array, flags: number): void {
    this.#checkEnd();
    this.#output.publish(topic, message, flags);
  }

  /** Settles the call when a publish need not wait any more. */
  awaitRoom(call: Call): void {
    this.#publishing.push(call);
    this.#makeRoom();
  }

  /**
   * Asks for subscriptions; the call gets the granted QoS, the lowest of several.
   *
   * @throws {MqttError} `"overflow"`; why the client has ended. Nothing is asked for then.
   */
  subscribe(filters: readonly FilterRequest[], onpub: OnPublish | undefined, call: Call, now: number): void {
    this.#checkEnd();
    this.#now = now;
    this.#subscriber.subscribe({ filters, current: 0 }, onpub, call, now);
  }

  /** Asks for a subscription whose messages go to the inbox, which hears of a failure, too. */
  iterate(inbox: Inbox, qos: QoS, now: number): void {
    this.#now = now;
    try {
      this.#checkEnd();
      this.#subscriber.iterate(inbox, qos, now);
    } catch (error) {
      this.#receiver.end(inbox, error as MqttError);
    }
  }

  /**
   * Gives up subscriptions: done when the broker has confirmed; at once when there is no connection.
   *
   * @throws {MqttError} `"overflow"`; why the client has ended.
   */
  unsubscribe(filters: readonly string[], call: Call, now: number): void {
    this.#checkEnd();
    this.#now = now;
    this.#subscriber.unsubscribe(filters, { call, leaves: false }, now);
  }

  /** The next message of an inbox. */
  take(inbox: Inbox): Message | undefined {
    return this.#receiver.take(inbox);
  }

  /** The iterator of the inbox is left; whether nobody wants its filter any more: then `unsubscribeInbox`. */
  leave(inbox: Inbox): boolean {
    inbox.clear();
    const alone = this.#reason === undefined && this.#subscriber.leave(inbox);
    this.#receiver.end(inbox, undefined);
    return alone;
  }

  /**
   * Gives up the filter of an inbox that was left; the end of the client is no failure of that.
   *
   * @throws {MqttError} `"overflow"`
   */
  unsubscribeInbox(inbox: Inbox, call: Call, now: number): void {
    this.#now = now;
    this.#subscriber.unsubscribe([inbox.filter], { call, leaves: true }, now);
  }

  /** Sends what was accepted, then DISCONNECT [MQTT-3.14.4-1]; nothing more is accepted. `cause` is why. */
  disconnect(call: Call, cause: unknown, now: number): void {
    this.#now = now;
    if (this.#state === "closed") return this.#events.settle(call);
    this.#leaving.push(call);
    if (this.#disconnected !== undefined) return;
    this.#reason = this.#disconnected = new MqttError("disconnect", "The client has disconnected", cause);
    if (this.#state === "open") {
      this.#state = "closing";
      this.#deadline = now + this.#settings.timeout;
    } else {
      this.#close(this.#disconnected);
    }
  }

  /** Somebody who blocks does not wait any more for what the call asked for. */
  giveUp(call: Call, error: MqttError, now: number): void {
    this.#subscriber.giveUp(call, error, now);
  }

  /** Somebody hears why the client ends, or has heard it. */
  listen(): void {
    this.#heard = true;
    if (this.#state === "closed") this.#deadline = this.#lookUntil = Infinity;
  }

  /** @throws {MqttError} Why no call can be made any more. */
  #checkEnd(): void {
    if (this.#reason === undefined) return;
    this.listen();
    throw this.#reason;
  }

  // ---- what the connection says

  /** A connection is open; whether it is wanted. */
  opened(attempt: number, link: Link, now: number): boolean {
    if (attempt !== this.#attempt) return false;
    this.#now = now;
    const error = distrust(link.trusted, this.#settings);
    this.#link = link;
    if (error !== undefined) this.#lose(error);
    else this.#events.push({ type: "login", attempt });
    return error === undefined;
  }

  /** The credentials are known; whether they are wanted: then CONNECT can be taken. */
  login(attempt: number, credentials: Credentials, now: number): boolean {
    if (attempt !== this.#attempt) return false;
    const { keepalive, cleanSession, id, will } = this.#settings;
    this.#now = now;
    this.#connection = new Connection(this.#settings, now);
    this.#connect = encode({ type: CONNECT, keepalive, cleanSession, id, will, ...credentials });
    return true;
  }

  /** Where the transport may read to. */
  space(attempt: number): Uint8Array {
    return (attempt === this.#attempt ? this.#connection?.space() : undefined) ?? new Uint8Array(64);
  }

  /** The first `length` bytes of the chunk have come. */
  received(attempt: number, chunk: Uint8Array, length: number, now: number): void {
    if (attempt !== this.#attempt || this.#state === "leaving") return; // what comes after DISCONNECT is for nobody
    this.#now = now;
    this.#connection?.receive(chunk, length);
  }

  /** What was taken has gone out. */
  written(attempt: number, now: number): void {
    if (attempt !== this.#attempt) return;
    this.#now = now;
    this.#writing = false;
    this.#output.written();
    this.#connection!.sent(now);
    this.#makeRoom();
    if (this.#state !== "leaving") return;
    this.#events.push({ type: "end" });
    this.#deadline = now + LINGER;
  }

  /** The connection, or the attempt to open one, has failed. */
  lost(attempt: number, error: MqttError, now: number): void {
    if (attempt !== this.#attempt) return;
    this.#now = now;
    this.#lose(error);
  }

  /** The next bytes to be written, whole packets; undefined when there are none, or a write is in flight. Then `written`. */
  takeBytes(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#writing || this.#connection === undefined) return undefined;
    let bytes = this.#connect;
    if (bytes !== undefined) {
      this.#connect = undefined;
      this.#connection.begin();
    } else if (this.#state === "open" || this.#state === "closing") {
      bytes = this.#output.take();
      if (bytes === undefined && this.#state === "closing") {
        this.#state = "leaving";
        bytes = encode({ type: DISCONNECT });
      }
    }
    this.#writing = bytes !== undefined;
    return bytes;
  }

  // ---- what time says

  /**
   * Gives up what has failed, and sends PINGREQ when the keep alive wants it.
   *
   * Nothing is given up at the first call that finds it due: the thread may have been blocked, or suspended,
   * and the answer be in the socket. So `due` is a little later then, and who has no answer by then has failed.
   */
  tick(now: number): void {
    this.#now = now;
    const late = now - this.due, lookFrom = this.#lookFrom;
    if (late < 0) return;
    this.#lookUntil = Infinity;
    this.#lookFrom = -Infinity;
    if (this.#deadline <= lookFrom) this.#expire();
    const failure = this.#subscriber.expire(lookFrom, { reading: this.isReading, now });
    if (failure !== undefined) this.#lose(failure);
    this.#ping();
    if (this.#failing > now) return;
    this.#lookUntil = now + Math.min(late, LATE);
    this.#lookFrom = now;
  }

  /** What the state waited for did not come in time. */
  #expire(): void {
    const { timeout } = this.#settings;
    if (this.#state === "waiting") {
      this.#status = this.#dial();
    } else if (this.#state === "closed") {
      this.#deadline = Infinity;
      this.#events.push({ type: "unheard", error: this.#reason! });
    } else {
      const failure = this.#state === "connecting"
        ? `No connection, or no answer to CONNECT, within ${timeout} ms`
        : `${this.#unsent} bytes could not be sent within ${timeout} ms of disconnect()`;
      this.#lose(new MqttError("timeout", failure));
    }
  }

  #ping(): void {
    try {
      const how = { writing: this.#output.writing, reading: this.isReading };
      if (this.#connection?.isPingDue(this.#now, how)) this.#output.addFirst(encode({ type: PINGREQ }));
    } catch (error) {
      this.#lose(error as MqttError);
    }
  }

  // ---- what comes of it

  /** The next event; undefined when there is none. */
  next(): SessionEvent | undefined {
    return this.#events.next() ?? this.#receiver.takeKept() ?? this.#decode({ keep: false });
  }

  /** The next event that is no message: messages wait for `next`, up to `maxBuffered` bytes. */
  nextKeepingMessages(): SessionEvent | undefined {
    return this.#events.next() ?? this.#decode({ keep: true });
  }

  /** Decodes what has come, until there is something to tell. */
  #decode(how: { keep: boolean }): SessionEvent | undefined {
    while (this.#connection !== undefined && this.isReading) {
      const connection = this.#connection;
      try {
        const packet = connection.next();
        if (packet === undefined) break;
        if (packet.type !== PUBLISH) {
          this.#control(packet);
        } else if (this.#isWanted(packet, connection)) {
          this.#receiver.deliver(packet, this.#subscriber.recipients(connection.topic), how);
          if (!how.keep) return packet;
        }
      } catch (error) {
        this.#lose(error as MqttError);
      }
      const event = this.#events.next();
      if (event !== undefined) return event;
    }
    return this.#events.next();
  }

  /** Whether a message is delivered. After disconnect() none is, nor acknowledged: the broker keeps it [MQTT-4.3.2-2]. */
  #isWanted(message: Message, { packetId }: Connection): boolean {
    return this.#disconnected === undefined && this.#receiver.accept(message.qos, packetId);
  }

  #control(packet: Exclude<BrokerPacket, Message>): void {
    switch (packet.type) {
      case CONNACK:
        return this.#connacked(packet);
      case SUBACK:
      case UNSUBACK:
        return this.#subscriber.answered(packet);
      case PUBREL:
        return this.#receiver.release(packet.packetId);
      case "oversized":
        if (this.#disconnected === undefined) this.#receiver.drop(packet);
    }
  }

  #connacked({ code, sessionPresent }: ConnackPacket): void {
    if (code !== 0) return this.#lose(connectionRefused(code));
    this.#state = "open";
    this.#deadline = Infinity;
    this.#acceptedAt = this.#now;
    this.#attempts = 0;
    if (!sessionPresent) this.#receiver.forgetSession();
    this.#status = this.#events.tell({ type: "connected", sessionPresent, version: 4 });
    this.#subscriber.connected(sessionPresent, this.#now);
    this.#events.settle(this.#opening);
    this.#opening = undefined;
    this.#makeRoom();
  }

  #makeRoom(): void {
    if (this.#publishing.length === 0 || this.isFull) return;
    for (const call of this.#publishing) this.#events.settle(call);
    this.#publishing = [];
  }

  /** Begins an attempt. */
  #dial(): ConnectionStatus {
    this.#state = "connecting";
    this.#deadline = this.#now + this.#settings.timeout;
    this.#events.push({ type: "dial", attempt: this.#attempt });
    const { address } = this.#settings;
    return this.#events.tell({ type: "connecting", attempt: ++this.#attempts, address });
  }

  /** Bytes that were accepted, and as far as we know not sent. */
  get #unsent(): number {
    return this.#output.buffered + (this.#link?.unsent ?? 0);
  }

  /** The connection, or the attempt to open one, is over: the client waits for the next attempt, or ends. */
  #lose(error: MqttError): void {
    const lasted = this.#acceptedAt === undefined ? undefined : this.#now - this.#acceptedAt;
    const delay = this.#retry.delay(lasted, this.#random());
    if (delay === undefined || this.#disconnected !== undefined) return this.#close(error);
    this.#drop();
    this.#state = "waiting";
    this.#deadline = this.#now + delay;
    this.#subscriber.lost(error, this.#now);
    this.#status = this.#events.tell({ type: "waiting", error, delay });
  }

  /** Nothing of this connection touches the next. */
  #drop(): void {
    this.#attempt++;
    this.#events.cancelAttempt();
    this.#events.push({ type: "hangup" });
    this.#link =
      this.#connection =
      this.#connect =
      this.#acceptedAt =
        undefined;
    this.#writing = false;
    this.#lookUntil = Infinity;
    this.#lookFrom = -Infinity;
    this.#output.restart();
  }

  /** The one exit: everything settles. */
  #close(error: MqttError): void {
    const wasAccepted = this.#acceptedAt !== undefined;
    const unsentThen = this.#unsent;
    if (this.#state !== "waiting") this.#drop();
    const reason = this.#reason = this.#disconnected ?? error;
    this.#state = "closed";
    this.#lookUntil = Infinity;
    this.#lookFrom = -Infinity;
    this.#subscriber.close(reason);
    if (this.#disconnected !== undefined) this.#receiver.dropKept();
    for (const call of this.#publishing) this.#events.settle(call, { error: reason });
    this.#events.settle(this.#opening, { error: reason });
    // What disconnect() could not send any more is its caller's to know.
    const unsent = wasAccepted ? unsentThen : this.#output.buffered;
    const failure = wasAccepted ? error : notSent(unsent);
    for (const call of this.#leaving) this.#events.settle(call, { error: unsent === 0 ? undefined : failure });
    this.#status = this.#events.tell({ type: "closed", error: reason });
    this.#events.push({ type: "closed", error: reason });
    this.#deadline = this.#heard || this.#disconnected !== undefined ? Infinity : this.#now + HEARD_WITHIN;
  }
}

function notSent(bytes: number): MqttError {
  return new MqttError("socketclosed", `${bytes} bytes were not sent: there was no connection`);
}
