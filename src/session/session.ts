/**
 * The whole client as a state machine that knows no socket, timer, promise or clock: calls, bytes,
 * time and chance go in; bytes, events and a due time come out. The shells in `src/client/` do the rest.
 * @module
 */

import type { ConnectionStatus, OnPublish, ReconnectOptions, Stats, Status } from "../api.ts";
import { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import type { OversizedPublish } from "../protocol/decoder.ts";
import { encode } from "../protocol/encoder.ts";
import { Output } from "../protocol/output.ts";
import {
  type AckPacket,
  CONNACK,
  type ConnackPacket,
  CONNECT,
  DISCONNECT,
  type FilterRequest,
  PINGREQ,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  type QoS,
  SUBACK,
  type SubackPacket,
  SUBSCRIBE,
  UNSUBACK,
  type UnsubackPacket,
  UNSUBSCRIBE,
  type WillFields,
} from "../protocol/packet.ts";
import { connectionRefused } from "./connack.ts";
import { type BrokerPacket, Connection, type ConnectionSettings } from "./connection.ts";
import type { Call, SessionEvent } from "./events.ts";
import { Fifo } from "./fifo.ts";
import type { Inbox } from "./inbox.ts";
import { encodeRequest, type Request, Requests, type SubscribeRequest, type UnsubscribeRequest } from "./requests.ts";
import { Retry } from "./retry.ts";
import { type Group, type RouteListener, Subscriptions } from "./subscriptions.ts";
import { distrust, type Trust, type TrustPolicy } from "./trust.ts";

/** A publish waits while more bytes than this do. */
const HIGH_WATER = 65_536;
/** Milliseconds in which a broker that got DISCONNECT may close the connection before we do. */
const LINGER = 1000;
/** For as long as time was told late, and no longer than this, what has come is looked at before anything is given up; milliseconds. */
const LATE = 100;
/** On so many connections a request is sent, then it fails. */
const MOST_LOST = 2;
/** What a message that is kept takes besides its payload, in bytes, about. */
const KEPT = 128;
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
 * | state | in which | what ends it | leads to |
 * |---|---|---|---|
 * | `connecting` | a connection is opened, CONNACK awaited | `timeout` | `open`, `waiting`, `closed` |
 * | `open` | the broker has accepted | keep alive | `waiting`, `closing`, `closed` |
 * | `waiting` | time passes until the next attempt | the delay | `connecting`, `closed` |
 * | `closing` | what was accepted is sent, then DISCONNECT | `timeout` | `leaving`, `closed` |
 * | `leaving` | DISCONNECT is sent, the broker may close | a second | `closed` |
 * | `closed` | everything is settled | | |
 */
type State = "connecting" | "open" | "waiting" | "closing" | "leaving" | "closed";

/**
 * A client's session with its broker, over one connection after the other.
 *
 * After each input, `next` is called until it is dry, `take` gives what is to be written, and `due`
 * says when `tick` wants to be called. `now` is in milliseconds. What a connection says comes with the
 * number of its attempt: that of an earlier one is not heard.
 */
export class Session {
  readonly #settings: SessionSettings;
  readonly #random: () => number;
  readonly #output: Output;
  readonly #subscriptions: Subscriptions;
  readonly #requests: Requests;
  readonly #retry: Retry;
  #state: State = "connecting";
  #now: number;
  /** When the state has lasted too long. */
  #deadline = Infinity;
  /** When what has come must have been looked at; everything that was due by #lookFrom is given up then. */
  #lookUntil = Infinity;
  #lookFrom = -Infinity;
  /** The number of this attempt; how many there were since the last connection that was accepted. */
  #attempt = 0;
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
  readonly #events = new Fifo<SessionEvent>();
  #status: ConnectionStatus;
  #dropped = 0;
  /** Those who wait for the first connection, for room to publish, and for the end that they asked for. */
  #opening: Call | undefined;
  #publishing: Call[] = [];
  #leaving: Call[] = [];
  /** What disconnect() makes of the end; what every call gets from then on. */
  #disconnected: MqttError | undefined;
  #reason: MqttError | undefined;
  /** Whether somebody hears of the end. */
  #heard = false;
  #fullInboxes = 0;
  /** Messages that came while the shell took none, and their size. */
  readonly #kept = new Fifo<{ message: Message; handlers: readonly OnPublish[] }>();
  #keptBytes = 0;
  /** Those who get the last message that `next` gave. */
  #handlers: readonly OnPublish[] = [];
  /** Packet identifiers of QoS 2 messages delivered and not yet released [MQTT-4.3.3-2]. */
  readonly #unreleased = new Set<number>();
  /** Filters that were given up while a broker that keeps the session was away. */
  readonly #givenUp = new Set<string>();

  /** `call` is settled with the first connection. */
  constructor(settings: SessionSettings, { onpub, routeListener, random }: SessionParts, call: Call, now: number) {
    this.#settings = settings;
    this.#random = random;
    this.#output = new Output(settings.maxBuffered);
    this.#subscriptions = new Subscriptions(onpub, routeListener);
    this.#requests = new Requests(settings.maxBuffered);
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
    return { dropped: this.#dropped };
  }

  /** Why no call can be made any more. */
  get reason(): MqttError | undefined {
    return this.#reason;
  }

  /** Those who get the last message that `next` gave. */
  get handlers(): readonly OnPublish[] {
    return this.#handlers;
  }

  /** Bytes that were accepted, and not yet written. */
  get buffered(): number {
    return this.#output.buffered;
  }

  /** Whether a publish should wait before the next one. */
  get isFull(): boolean {
    return this.#output.buffered > HIGH_WATER;
  }

  /** Whether there is a connection that takes a publish at once, for who cannot be told later that it was lost. */
  get isReady(): boolean {
    return this.#state === "open" && !this.#writing;
  }

  /** Whether what the connection has is wanted: an inbox that is full stops everything but the handshake and the end. */
  get isReading(): boolean {
    if (this.#state === "connecting" || this.#disconnected !== undefined) return true;
    return this.#fullInboxes === 0 && !this.#isKeepingTooMuch;
  }

  get #isKeepingTooMuch(): boolean {
    return this.#keptBytes > this.#settings.maxBuffered;
  }

  /** How many messages wait as the shell takes none. */
  get kept(): number {
    return this.#kept.length;
  }

  /** When `tick` wants to be called; Infinity when never. */
  get due(): number {
    if (this.#lookUntil < Infinity) return this.#lookUntil;
    return Math.min(this.#failing, this.#connection?.due ?? Infinity);
  }

  /** When the first of those that wait has failed. */
  get #failing(): number {
    return Math.min(this.#deadline, this.#requests.due);
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
  }

  /**
   * Asks for subscriptions; the call gets the granted QoS, the lowest of several.
   *
   * @throws {MqttError} `"overflow"`; why the client has ended. Nothing is asked for then.
   */
  subscribe(filters: readonly FilterRequest[], onpub: OnPublish | undefined, call: Call, now: number): void {
    const group = { filters, current: 0 };
    this.#ask({ group, call, inbox: undefined }, now);
    this.#subscriptions.subscribe(group, onpub);
  }

  /** Asks for a subscription whose messages go to the inbox, which hears of a failure, too. */
  iterate(inbox: Inbox, qos: QoS, now: number): void {
    const group = { filters: [{ topic: inbox.filter, qos }], current: 0 };
    try {
      this.#ask({ group, call: undefined, inbox }, now);
      // Before the answer: the broker may send messages first (section 3.8.4).
      this.#subscriptions.join(group, inbox);
    } catch (error) {
      this.#end(inbox, error as MqttError);
    }
  }

  #ask(asked: Pick<SubscribeRequest, "group" | "call" | "inbox">, now: number): void {
    this.#checkEnd();
    this.#now = now;
    const request = this.#subscribeRequest(asked);
    if (this.#state === "open") this.#send(request);
    else this.#requests.wait(request);
  }

  #subscribeRequest(asked: Pick<SubscribeRequest, "group" | "call" | "inbox">): SubscribeRequest {
    const { filters } = asked.group;
    return { type: SUBSCRIBE, packetId: this.#requests.freeId(), filters, renews: false, lost: 0, due: 0, ...asked };
  }

  /** Sends a request on this connection. */
  #send(request: Request): void {
    this.#output.add(encodeRequest(request));
    this.#requests.send(request, this.#now + this.#settings.timeout);
  }

  /**
   * Gives up subscriptions: done when the broker has confirmed; at once when there is no connection.
   *
   * @throws {MqttError} `"overflow"`; why the client has ended.
   */
  unsubscribe(filters: readonly string[], call: Call, now: number): void {
    this.#checkEnd();
    this.#now = now;
    this.#unsubscribe(filters, { call, leaves: false });
  }

  #unsubscribe(filters: readonly string[], how: { call: Call; leaves: boolean }): void {
    if (this.#state === "open") this.#send({ ...this.#unsubscribeRequest(filters), ...how });
    else this.#giveUpAway(filters, how.call);
  }

  #unsubscribeRequest(filters: readonly string[]): UnsubscribeRequest {
    const groups = this.#subscriptions.groupsOf(filters);
    const packetId = this.#requests.freeId();
    return { type: UNSUBSCRIBE, packetId, filters, groups, call: undefined, leaves: false, due: 0 };
  }

  /** Gives up filters while there is no connection. A broker that keeps the session is told on the next one. */
  #giveUpAway(filters: readonly string[], call: Call | undefined, given?: readonly (Group | undefined)[]): void {
    const groups = given ?? this.#subscriptions.groupsOf(filters);
    filters.forEach((filter, i) => {
      const group = groups[i];
      for (const { call, group: { filters: [first] } } of this.#requests.withdraw(filter)) {
        if (call) this.#settle(call, first!.qos);
      }
      this.#forget(filter, group);
      if (!this.#settings.cleanSession) this.#givenUp.add(filter);
    });
    if (call) this.#settle(call);
  }

  /** The iterator of the inbox is left; whether nobody wants its filter any more: then it is to be unsubscribed. */
  leave(inbox: Inbox): boolean {
    inbox.clear();
    const alone = this.#reason === undefined && this.#subscriptions.leave(inbox);
    this.#end(inbox, undefined);
    return alone;
  }

  /** Gives up the filter of an inbox that was left; the end of the client is no failure of that. */
  unsubscribeInbox(inbox: Inbox, call: Call, now: number): void {
    this.#now = now;
    this.#unsubscribe([inbox.filter], { call, leaves: true });
  }

  /** The next message of an inbox. */
  take(inbox: Inbox): Message | undefined {
    const message = inbox.shift();
    if (inbox.hasDrained()) this.#fullInboxes--;
    return message;
  }

  /** Sends what was accepted, then DISCONNECT [MQTT-3.14.4-1]; nothing more is accepted. `cause` is why. */
  disconnect(call: Call, cause: unknown, now: number): void {
    this.#now = now;
    if (this.#state === "closed") return this.#settle(call);
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

  /** Somebody who blocks gives up what the call asked for. */
  giveUp(call: Call, error: MqttError): void {
    const request = this.#requests.of(call);
    if (request !== undefined) this.#failed(request, error);
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

  /** The next bytes to be written: whole packets. Then `written`. */
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

  /** Gives up what has failed, and sends PINGREQ when the keep alive wants it. */
  tick(now: number): void {
    this.#now = now;
    const late = now - this.due, lookFrom = this.#lookFrom;
    if (late < 0) return;
    this.#lookUntil = Infinity;
    this.#lookFrom = -Infinity;
    if (this.#deadline <= lookFrom) this.#expire();
    this.#expireRequests(lookFrom);
    this.#ping();
    if (this.#failing > now) return;
    // The thread may have been blocked, or suspended: what is in the socket by now has its turn first.
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

  #expireRequests(by: number): void {
    const { timeout } = this.#settings;
    for (let request = this.#requests.expired(by); request !== undefined; request = this.#requests.expired(by)) {
      const error = new MqttError("timeout", `The broker did not answer within ${timeout} ms`);
      const isAwaited = request.call !== undefined;
      // The answer may be behind messages that a full inbox has no room for.
      if (!isAwaited && !this.isReading) this.#requests.postpone(request, this.#now + timeout);
      else if (request.type === SUBSCRIBE && request.renews) this.#lose(error);
      else this.#failed(request, error);
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

  /** The next event, or undefined when there is none. */
  next(): SessionEvent | undefined {
    return this.#events.shift() ?? this.#takeKept() ?? this.#decode(false);
  }

  /** The next event that is no message: messages wait, up to `maxBuffered` bytes, for `next`. */
  nextKeepingMessages(): SessionEvent | undefined {
    return this.#events.shift() ?? this.#decode(true);
  }

  /** Decodes until there is something to tell. */
  #decode(keep: boolean): SessionEvent | undefined {
    while (this.#connection !== undefined && this.isReading) {
      try {
        const packet = this.#connection.next();
        if (packet === undefined) return undefined;
        if (packet.type !== PUBLISH) this.#control(packet);
        else if (this.#accept(packet.qos, this.#connection.packetId)) {
          const recipients = this.#subscriptions.recipients(this.#connection.topic);
          this.#handlers = recipients.handlers;
          if (recipients.inboxes.length > 0) this.#fill(recipients.inboxes, packet);
          if (!keep) return packet;
          this.#keep(packet);
        }
      } catch (error) {
        this.#lose(error as MqttError);
      }
      const event = this.#events.shift();
      if (event !== undefined) return event;
    }
    return this.#events.shift();
  }

  /** Acknowledges a message; whether it is to be delivered: not one that comes again, or after disconnect(). */
  #accept(qos: QoS, packetId: number): boolean {
    if (this.#disconnected !== undefined) return false; // nor acknowledged: the broker keeps it [MQTT-4.3.2-2]
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

  #fill(inboxes: readonly Inbox[], message: Message): void {
    for (const inbox of inboxes) {
      if (inbox.push(message)) this.#fullInboxes++;
      if (inbox.waiting) this.#events.push({ type: "inbox", inbox });
    }
  }

  #keep(message: Message): void {
    this.#kept.push({ message, handlers: this.#handlers });
    this.#keptBytes += message.payload.length + KEPT;
  }

  #takeKept(): Message | undefined {
    const kept = this.#kept.shift();
    if (kept === undefined) return undefined;
    this.#keptBytes -= kept.message.payload.length + KEPT;
    this.#handlers = kept.handlers;
    return kept.message;
  }

  #control(packet: Exclude<BrokerPacket, Message>): void {
    switch (packet.type) {
      case CONNACK:
        return this.#connacked(packet);
      case SUBACK:
      case UNSUBACK:
        return this.#answered(packet);
      case "oversized":
        return this.#oversized(packet);
      case PUBREL:
        this.#unreleased.delete(packet.packetId);
        this.#output.acknowledge(encode({ type: PUBCOMP, packetId: packet.packetId }));
    }
  }

  /** The payload of a PUBLISH over `maxPacketSize` is passed over; it is acknowledged, or it would come again and again. */
  #oversized(packet: OversizedPublish): void {
    if (!this.#accept(packet.qos, packet.packetId)) return;
    this.#dropped++;
    const { topic, size } = packet;
    const most = this.#settings.maxPacketSize;
    const error = new MqttError(
      "overflow",
      `A message of ${size} bytes to "${topic}" was dropped as it is over maxPacketSize, ${most}: raise it if such messages are expected`,
    );
    this.#tell({ type: "dropped", topic, size, error });
  }

  #connacked({ code, sessionPresent }: ConnackPacket): void {
    if (code !== 0) return this.#lose(connectionRefused(code));
    this.#state = "open";
    this.#deadline = Infinity;
    this.#acceptedAt = this.#now;
    this.#attempts = 0;
    if (!sessionPresent) this.#unreleased.clear();
    this.#status = this.#tell({ type: "connected", sessionPresent, version: 4 });
    this.#resume(sessionPresent);
    if (this.#opening !== undefined) this.#settle(this.#opening);
    this.#opening = undefined;
    this.#makeRoom();
  }

  /**
   * Goes on after CONNACK where the last connection ended. First come the subscriptions that the broker has
   * forgotten, in the packets in which they were asked for, or, if it has not, the filters given up meanwhile;
   * then the requests that were not answered; then the messages that were not sent.
   */
  #resume(sessionPresent: boolean): void {
    const unanswered = this.#requests.waiting;
    const groups = sessionPresent ? [] : this.#subscriptions.groupsToRenew(unanswered.map(({ group }) => group));
    const renewals = groups.map(({ group, filters }) => ({
      ...this.#subscribeRequest({ group, call: undefined, inbox: undefined }),
      filters,
      renews: true,
    }));
    const givenUp = sessionPresent ? [...this.#givenUp].map((filter) => this.#unsubscribeRequest([filter])) : [];
    this.#givenUp.clear();
    this.#requests.clearWaiting();
    const requests = [...renewals, ...givenUp, ...unanswered];
    for (const request of requests) this.#requests.send(request, this.#now + this.#settings.timeout);
    for (const request of requests.reverse()) this.#output.addFirst(encodeRequest(request));
  }

  /** SUBACK or UNSUBACK. */
  #answered(packet: SubackPacket | UnsubackPacket): void {
    const { request, abandoned } = this.#requests.answer(packet);
    if (request.type === UNSUBSCRIBE) {
      request.filters.forEach((filter, i) => this.#forget(filter, request.groups[i]));
      if (request.call) this.#settle(request.call);
      return;
    }
    if (abandoned) return; // its caller was told that it failed
    const { codes } = packet as SubackPacket;
    const refused = request.filters.filter((_, i) => codes[i] === 128).map(({ topic }) => topic);
    const granted = request.filters.filter((_, i) => codes[i] !== 128);
    for (const { topic } of granted) this.#subscriptions.grant(topic);
    const error = refused.length === 0 ? undefined : subscriptionRefused(refused);
    for (const filter of refused) {
      this.#forget(filter, request.group, error);
      if (request.renews) this.#tell({ type: "refused", filter, error: subscriptionRefused([filter]) });
    }
    if (request.call) this.#settle(request.call, codes.reduce((lowest, code) => Math.min(lowest, code)), error);
  }

  /** A request has failed: nobody waits for it any more, and what it asked for is not asked for again. */
  #failed(request: Request, error: MqttError): void {
    const { call } = request;
    this.#requests.abandon(request);
    if (request.type === UNSUBSCRIBE) {
      request.filters.forEach((filter, i) => this.#forget(filter, request.groups[i]));
    } else {
      const { group, inbox, filters } = request;
      for (const { topic } of filters) {
        if (!this.#subscriptions.isGranted(topic)) this.#forget(topic, group, error);
      }
      if (inbox !== undefined) this.#giveUpInbox(inbox, error);
    }
    if (call) this.#settle(call, undefined, error);
  }

  /** The broker may subscribe all the same, when it answers late: nobody wants that any more. */
  #giveUpInbox(inbox: Inbox, error: MqttError): void {
    const { filter } = inbox;
    const group = this.#subscriptions.groupsOf([filter])[0];
    const alone = group === undefined || this.#subscriptions.leave(inbox);
    this.#end(inbox, error);
    if (!alone) return;
    if (this.#state === "open") this.#send(this.#unsubscribeRequest([filter]));
    else this.#giveUpAway([filter], undefined);
  }

  /** Takes a subscription out, unless another packet than `group` has asked for its filter since; its iterators end. */
  #forget(filter: string, group: Group | undefined, error?: MqttError): void {
    for (const inbox of this.#subscriptions.remove(filter, group)) this.#end(inbox, error);
  }

  /** No more messages come for an iterator. */
  #end(inbox: Inbox, error: MqttError | undefined): void {
    inbox.end(error?.code === "disconnect" ? undefined : error);
    if (inbox.hasDrained()) this.#fullInboxes--;
    if (inbox.waiting) this.#events.push({ type: "inbox", inbox });
  }

  #settle(call: Call, code?: number, error?: MqttError): void {
    if (error !== undefined && error === this.#reason) this.#heard = true;
    this.#events.push({ type: "settled", call, code, error });
  }

  #tell<S extends Status>(status: S): S {
    this.#events.push({ type: "status", status });
    return status;
  }

  #makeRoom(): void {
    if (this.#publishing.length === 0 || this.isFull) return;
    for (const call of this.#publishing) this.#settle(call);
    this.#publishing = [];
  }

  /** Begins an attempt. */
  #dial(): ConnectionStatus {
    this.#state = "connecting";
    this.#deadline = this.#now + this.#settings.timeout;
    this.#events.push({ type: "dial", attempt: this.#attempt });
    const { address } = this.#settings;
    return this.#tell({ type: "connecting", attempt: ++this.#attempts, address });
  }

  /** Bytes that were accepted, and as far as we know not sent. */
  get #unsent(): number {
    return this.#output.buffered + (this.#link?.unsent ?? 0);
  }

  /** The connection, or the attempt to open one, is over: waits for the next one, or ends. */
  #lose(error: MqttError): void {
    const lasted = this.#acceptedAt === undefined ? undefined : this.#now - this.#acceptedAt;
    const delay = this.#retry.delay(lasted, this.#random());
    if (delay === undefined || this.#disconnected !== undefined) return this.#close(error);
    this.#drop();
    this.#state = "waiting";
    for (const request of this.#requests.lost()) this.#requestLost(request, error);
    this.#deadline = this.#now + delay;
    this.#status = this.#tell({ type: "waiting", error, delay });
  }

  /** Nothing of this connection touches the next. */
  #drop(): void {
    this.#attempt++;
    this.#events.discard(({ type }) => type === "dial" || type === "login");
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

  /** A connection was lost before it answered a request: a SUBSCRIBE is asked once more, an UNSUBSCRIBE needs no answer any more. */
  #requestLost(request: Request, error: MqttError): void {
    if (request.type === UNSUBSCRIBE) this.#giveUpAway(request.filters, request.call, request.groups);
    else if (request.renews) return; // it is made again from the subscriptions
    else if (++request.lost === MOST_LOST) this.#failed(request, error);
    else this.#requests.keep(request);
  }

  /** The one exit: everything settles. */
  #close(error: MqttError): void {
    const hadConnection = this.#acceptedAt !== undefined;
    const unsentThen = this.#unsent;
    if (this.#state !== "waiting") this.#drop();
    const reason = this.#reason = this.#disconnected ?? error;
    this.#state = "closed";
    for (const request of [...this.#requests.lost(), ...this.#requests.waiting]) {
      // Who gives up a filter has got that: the connection has ended.
      const isDone = request.type === UNSUBSCRIBE && request.leaves;
      if (request.call) this.#settle(request.call, undefined, isDone ? undefined : reason);
    }
    this.#requests.clearWaiting();
    if (this.#disconnected !== undefined) this.#kept.clear();
    for (const call of this.#publishing) this.#settle(call, undefined, reason);
    for (const inbox of this.#subscriptions.inboxes) this.#end(inbox, reason);
    if (this.#opening !== undefined) this.#settle(this.#opening, undefined, reason);
    // What disconnect() could not send any more is its caller's to know.
    const unsent = hadConnection ? unsentThen : this.#output.buffered;
    const left = unsent === 0 ? undefined : hadConnection ? error : unsentWithout(unsent);
    for (const call of this.#leaving) this.#settle(call, undefined, left);
    this.#status = this.#tell({ type: "closed", error: reason });
    this.#events.push({ type: "closed", error: reason });
    this.#deadline = this.#heard || this.#disconnected !== undefined ? Infinity : this.#now + HEARD_WITHIN;
  }
}

function subscriptionRefused(filters: readonly string[]): MqttError {
  const names = filters.map((filter) => `"${filter}"`).join(", ");
  return new MqttError(128, `The broker refused the subscription to ${names} [MQTT-3.9.3-2]`);
}

function unsentWithout(bytes: number): MqttError {
  return new MqttError("socketclosed", `${bytes} bytes were not sent: there was no connection`);
}
