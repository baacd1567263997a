/**
 * The whole client as a state machine that knows no socket, timer, promise or clock: calls, bytes,
 * time and chance go in; bytes, events and a due time come out. The shells in `src/client/` do the rest.
 * @module
 */

import type { ConnectionStatus, OnPublish, Stats } from "../api.ts";
import type { MqttError } from "../errors.ts";
import type { Limits } from "../options5.ts";
import { Output } from "../protocol/output.ts";
import type { ConnackPacket, Version } from "../protocol/packet.ts";
import { Authentication } from "./authentication.ts";
import { Attempts } from "./attempts.ts";
import { Backlog } from "./backlog.ts";
import { Claims } from "./claims.ts";
import { connectionRefused, endedEarly } from "./connack.ts";
import { Connection, type Credentials, type Link } from "./connection.ts";
import type { Handling } from "./consumer.ts";
import { Ending } from "./ending.ts";
import { type Call, Events, type SessionEvent } from "./events.ts";
import { notConnected, notDrained, notSent, notSentInTime, orphaned, unanswered, unread } from "./failures.ts";
import { type DisconnectRequest, encodeFarewell } from "./farewell.ts";
import { Flight } from "./flight.ts";
import { Flushes } from "./flushes.ts";
import type { Inbox } from "./inbox.ts";
import { Intake, type Reading } from "./intake.ts";
import { Journal } from "./journal.ts";
import { Ledger } from "./ledger.ts";
import { limitsOf } from "./limits.ts";
import type { Outgoing, Publication } from "./outgoing.ts";
import { PacketIds } from "./packet_ids.ts";
import { Publisher } from "./publisher.ts";
import { Receiver } from "./receiver.ts";
import { SecondLook } from "./second_look.ts";
import type { SessionParts, SessionSettings } from "./settings.ts";
import { Stall } from "./stall.ts";
import { HEARD_WITHIN, HINTED, LINGER, type State } from "./state.ts";
import { statsOf } from "./stats.ts";
import { type Handler, Subscriber } from "./subscriber.ts";
import type { Asked } from "./subscriptions.ts";
import { Versions } from "./versions.ts";
import { type CredentialsGiven, distrust } from "./trust.ts";

/**
 * A client's session with its broker, over one connection after the other.
 *
 * After each input, `next` is called until it is dry, `takeBytes` gives what is to be written, and `due`
 * says when `tick` wants to be called. `now` is in milliseconds. What a connection says comes with the
 * number of its attempt: an earlier one is not heard any more.
 */
export class Session {
  readonly #settings: SessionSettings;
  readonly #versions: Versions;
  readonly #random: () => number;
  readonly #events: Events = new Events((error) => this.#ending.rejected(error));
  readonly #ending: Ending = new Ending(this.#events);
  readonly #output: Output;
  readonly #journal: Journal;
  readonly #ledger: Ledger;
  readonly #receiver: Receiver;
  readonly #backlog: Backlog;
  readonly #flight: Flight;
  readonly #flushes: Flushes;
  readonly #publisher: Publisher;
  readonly #subscriber: Subscriber;
  readonly #attempts: Attempts;
  readonly #authentication: Authentication;
  readonly #secondLook = new SecondLook();
  /** The client identifier: the broker may have assigned it. */
  #id: string;
  #state: State = "connecting";
  #now: number;
  /** When the state has lasted too long. */
  #deadline = Infinity;
  /** How many attempts were begun. */
  #begun = 0;
  /** Why there is no connection, while the program is asked for the next attempt. */
  #undecided: MqttError | undefined;
  /** The attempt under way, or the connection. */
  #connection: Connection | undefined;
  /** When the last byte came or went on the last connection that the broker had accepted. */
  #lastByteThen = -Infinity;
  /** When there was a hint that the way to the broker has changed, and it has not led to an attempt yet. */
  #hintedAt = -Infinity;
  #status: ConnectionStatus;
  readonly #intake: Intake;
  readonly #stall: Stall;
  /** How many messages were settled when it was last looked whether disconnect() has to wait for more. */
  #settledThen = 0;
  readonly #claims: Claims;
  /** DISCONNECT, as the program has asked for it. */
  #farewell: Uint8Array<ArrayBuffer> | undefined;
  /** Those who disconnect when what was received is settled. */
  #draining: Call[] = [];
  /** Who waits for the first connection. */
  #opening: Call | undefined;
  /** What decoding looks at, and tells. */
  readonly #reading: Reading = {
    connection: () => this.#state === "refusing" ? undefined : this.#connection,
    isReading: () => this.isReading,
    isDelivering: () => this.#isDelivering,
    mayClaim: () => this.#claims.areOpen,
    now: () => this.#now,
    connacked: (connection, packet) => this.#connacked(connection, packet),
    challenged: (connection, packet) => this.#authentication.challenged(connection, packet),
    held: () => this.#stall.watch(this.#now),
    failed: (error) => this.#lose(error),
  };

  /** `call` is settled with the first connection; at once if the client may begin offline. */
  constructor(settings: SessionSettings, { random, durable, ...handlers }: SessionParts, call: Call, now: number) {
    this.#settings = settings;
    this.#id = settings.id;
    this.#versions = new Versions(settings);
    this.#random = random;
    this.#output = new Output(settings.maxBuffered, settings.version);
    const restored = durable?.restored;
    this.#journal = new Journal(durable?.log, restored?.size ?? 0, settings.version);
    const ways = { output: this.#output, events: this.#events, journal: this.#journal };
    this.#receiver = new Receiver(settings, ways, restored?.recorded);
    this.#backlog = new Backlog(settings, this.#events, this.#receiver);
    this.#stall = new Stall(this.#backlog, this.#events, settings.timeout);
    this.#flushes = new Flushes(this.#output, this.#events, settings.timeout);
    const ids = new PacketIds();
    const parts = { ...ways, backlog: this.#backlog, ids, onDone: this.#flushes.done };
    this.#flight = new Flight(settings, parts);
    const { id } = settings, others = { receiver: this.#receiver, flight: this.#flight };
    this.#ledger = new Ledger(durable, { id, ...ways, ...others }, now);
    this.#publisher = new Publisher(settings.version, { ...ways, flight: this.#flight, ledger: this.#ledger });
    this.#subscriber = new Subscriber(settings, { ...handlers, ...parts });
    this.#claims = new Claims(this.#backlog, this.#subscriber.subscriptions);
    const readers = { ...others, subscriber: this.#subscriber, flushes: this.#flushes };
    this.#intake = new Intake(this.#reading, { ...parts, ...readers });
    this.#attempts = new Attempts(settings);
    const asking = { checkEnd: () => this.#checkEnd(), connection: () => this.#connection };
    this.#authentication = new Authentication(settings, { ...ways, ...asking });
    if (settings.offline) this.#events.settle(call);
    else this.#opening = call;
    this.#now = now;
    this.#status = this.#dial();
  }

  // ---- what the shell looks at

  /** The last status of the connection. */
  get status(): ConnectionStatus {
    return this.#status;
  }

  /** The client identifier: that of the settings, or the one that the broker has assigned [MQTT5-3.2.2-16]. */
  get id(): string {
    return this.#id;
  }

  /** The version of the protocol, as far as it is known: the broker may have another one until it has accepted the client. */
  get version(): Version {
    return this.#versions.version;
  }

  /** What the broker of this connection can do; undefined while there is none. */
  get limits(): Limits | undefined {
    return this.#status.type === "connected" ? this.#status.limits : undefined;
  }

  /** Counters. */
  get stats(): Stats {
    const counting = { output: this.#output, flight: this.#flight, intake: this.#intake };
    return statsOf({ ...counting, receiver: this.#receiver, backlog: this.#backlog });
  }

  /** Tells that a publish was rejected, or that a message was lost; `size` is that of the packet, in bytes. */
  tellDropped(topic: string, size: number, error: MqttError): void {
    this.#events.tell({ type: "dropped", topic, size, error });
  }

  /** Why no call can be made any more. */
  get reason(): MqttError | undefined {
    return this.#ending.reason;
  }

  /** What was received and is not settled: handlers and iterators tell it what becomes of that. */
  get backlog(): Pick<Backlog, "kept" | "settle" | "settleGiven" | "countFailure" | "take" | "setWaiting"> {
    return this.#backlog;
  }

  /** Those who get the last message that `next` gave. */
  get handlers(): OnPublish[] {
    return this.#intake.handlers;
  }

  /** Whether `tick` wants to be called when messages were settled. */
  get isDraining(): boolean {
    return this.#state === "draining";
  }

  /** How many messages of QoS 1 and 2 are neither acknowledged nor given up. */
  get unacknowledged(): number {
    return this.#flight.unacknowledged;
  }

  /** Bytes that were accepted, and not yet written; of QoS 1 and 2 those that the window has let out. */
  get buffered(): number {
    return this.#output.buffered;
  }

  /** Whether there is a connection that takes a publish at once. */
  get isReady(): boolean {
    return this.#state === "open" && !this.#connection!.writing;
  }

  /** Whether what the connection has is wanted: when too many messages are unsettled, only for what the program waits for. */
  get isReading(): boolean {
    return this.#backlog.hasRoom || !this.#isDelivering || this.#backlog.hasSpace && this.#isAwaited;
  }

  /** Whether messages that come are delivered: after disconnect() they are not, nor acknowledged: the broker keeps them [MQTT-4.3.2-2]. */
  get #isDelivering(): boolean {
    return this.#state === "open";
  }

  /** Whether the program waits for the broker: for an answer, for room to write, or for the next message of an iterator. */
  get #isAwaited(): boolean {
    const { isBlocked } = this.#intake;
    return isBlocked || this.#publisher.isAwaited || this.#backlog.isAsked || this.#subscriber.isAwaited ||
      this.#flushes.isAwaited || this.#flight.isAwaited;
  }

  /** When `tick` wants to be called; Infinity when never. */
  get due(): number {
    if (this.#isDrained) return this.#now;
    const look = this.#secondLook.due;
    return Math.min(look < Infinity ? look : this.#failing, this.#pingDue);
  }

  /** When the keep alive wants `tick`; never after DISCONNECT, when nothing is sent any more [MQTT-3.14.4-2]. */
  get #pingDue(): number {
    return this.#isOver ? Infinity : this.#connection?.due ?? Infinity;
  }

  /** Whether DISCONNECT has ended the connection, or is about to: what comes is for nobody. */
  get #isOver(): boolean {
    return this.#state === "leaving" || this.#state === "refusing";
  }

  /** When the first of those that wait has failed. */
  get #failing(): number {
    if (this.#state === "closed") return this.#deadline;
    const kept = Math.min(this.#journal.due, this.#flight.due, this.#authentication.due);
    return Math.min(this.#deadline, this.#subscriber.due, this.#stall.due, this.#claims.due, this.#flushDue, kept);
  }

  /** When the first flush has failed. Without a connection it waits for one; but a program that blocks does not wait longer. */
  get #flushDue(): number {
    return this.#isOpen || this.#intake.isBlocked ? this.#flushes.due(this.#lastByte) : Infinity;
  }

  /** When the last byte came or went on a connection that the broker had accepted. */
  get #lastByte(): number {
    return this.#isOpen ? this.#connection!.lastByte : this.#lastByteThen;
  }

  // ---- what the program asks for

  /**
   * Publishes a message of QoS 0 with the flags of byte 1; whether to wait before the next one: `awaitRoom`.
   *
   * @throws {TypeError | RangeError} If `topic` is no topic name, or `message` no message.
   * @throws {MqttError} `"overflow"`; why the client has ended.
   */
  publish(topic: string, message: string | Uint8Array, flags: number): boolean {
    this.#checkEnd();
    return this.#publisher.publish(topic, message, flags, this.#now);
  }

  /**
   * Publishes a message of QoS 1 or 2, or one that may get stale; the call gets 0 when the broker has acknowledged it, or,
   * at QoS 0, when it is about to go out. What may be withdrawn; undefined when nothing may.
   *
   * @throws {TypeError | RangeError} If `topic` is no topic name, or `message` no message.
   * @throws {MqttError} `"overflow"`; why the client has ended.
   */
  send(publication: Publication, call: Call, now: number): Outgoing | undefined {
    this.#checkEnd();
    return this.#publisher.send(publication, call, now);
  }

  /** Takes back a message that was never sent; its call fails with the error. */
  withdraw(outgoing: Outgoing, error: MqttError): void {
    this.#flight.withdraw(outgoing, error);
  }

  /** Whether a call of `awaitRoom` waits. */
  get isRoomAwaited(): boolean {
    return this.#publisher.isAwaited;
  }

  /** Settles the call with 0 when a publish need not wait any more; one at a time. */
  awaitRoom(call: Call): void {
    if (this.#state === "closed") {
      this.listen();
      return this.#events.settle(call, { error: this.reason });
    }
    this.#publisher.awaitRoom(call);
  }

  /**
   * Asks for subscriptions; the call gets the granted QoS, the lowest of several.
   *
   * @throws {MqttError} `"overflow"`; why the client has ended. Nothing is asked for then.
   */
  subscribe(asked: Asked, handler: Handler, call: Call, now: number): void {
    this.#checkEnd();
    this.#subscriber.subscribe(asked, handler, call, now);
    this.#claims.claim();
  }

  /** Asks for a subscription whose messages go to the inbox, which hears of a failure, too. */
  iterate(inbox: Inbox, asked: Asked, now: number): void {
    try {
      this.#checkEnd();
      this.#subscriber.iterate(inbox, asked, now);
      this.#claims.claim();
    } catch (error) {
      this.#backlog.end(inbox, error as MqttError);
    }
  }

  /**
   * Gives up subscriptions: done when the broker has confirmed; at once when there is no connection.
   *
   * @throws {MqttError} `"overflow"`; why the client has ended.
   */
  unsubscribe(filters: readonly string[], call: Call, now: number): void {
    this.#checkEnd();
    this.#subscriber.unsubscribe(filters, { call, leaves: false }, now);
  }

  /**
   * Settles the call when the broker has received all that was published before.
   *
   * @throws {MqttError} `"overflow"`; why the client has ended.
   */
  flush(call: Call, now: number): void {
    this.#checkEnd();
    this.#flushes.flush(call, this.#flight, now);
  }

  /** The iterator of the inbox is left; whether nobody wants its filter any more: then `unsubscribeInbox`. */
  leave(inbox: Inbox): boolean {
    this.#backlog.leave(inbox);
    const alone = this.reason === undefined && this.#subscriber.leave(inbox);
    this.#backlog.end(inbox, undefined);
    return alone;
  }

  /**
   * Gives up the filter of an inbox that was left; the end of the client is no failure of that.
   *
   * @throws {MqttError} `"overflow"`
   */
  unsubscribeInbox(inbox: Inbox, call: Call, now: number): void {
    this.#subscriber.unsubscribe([inbox.filter], { call, leaves: true }, now);
  }

  /**
   * Sends what was accepted, then DISCONNECT [MQTT-3.14.4-1]; nothing more is accepted. `cause` is why.
   * `drain`: first, what was received is settled; until then calls can be made, as handlers do.
   *
   * @throws {MqttError} `"unsupported"`: DISCONNECT cannot say that.
   */
  disconnect(call: Call, { cause, drain, ...farewell }: DisconnectRequest, now: number): void {
    this.#now = now;
    const { sessionExpiry } = this.#settings, { version } = this.#versions;
    const bytes = encodeFarewell(farewell, { version, sessionExpiry }, this.limits?.maxPacketSize);
    if (this.reason === undefined) this.#farewell = bytes;
    if (this.#state === "closed") {
      // Who leaves a client that has failed, and nobody knows, hears of it here.
      const { isHeard, reason } = this.#ending;
      this.listen();
      return this.#events.settle(call, { error: isHeard ? undefined : reason });
    }
    if (!drain || !this.#isOpen) return this.#leave([call, ...this.#draining.splice(0)], cause);
    this.#draining.push(call);
    if (this.#state === "draining") return;
    this.#state = "draining";
    this.#backlog.discardUnclaimed();
    this.#settledThen = this.#backlog.settled;
    this.#stall.cancel();
    this.#deadline = now + this.#settings.timeout;
  }

  /** Nothing more is accepted, and what was received and is not begun is nobody's. */
  #leave(calls: readonly Call[], cause?: unknown): void {
    if (!this.#ending.ask(calls, cause)) return;
    this.#backlog.clear();
    this.#stall.cancel();
    if (!this.#isOpen) return this.#close(this.reason!);
    this.#state = "closing";
    this.#deadline = this.#now + this.#settings.timeout;
  }

  /** Whether disconnect() has nothing to wait for any more. */
  get #isDrained(): boolean {
    return this.#state === "draining" && this.#backlog.isEmpty;
  }

  /** Whether the broker has accepted the connection, and nothing but DISCONNECT ends it. */
  get #isOpen(): boolean {
    return this.#state === "open" || this.#state === "draining";
  }

  /** Somebody who blocks does not wait any more for what the call asked for. */
  giveUp(call: Call, error: MqttError, now: number): void {
    this.#subscriber.giveUp(call, error, now);
  }

  /** Somebody hears why the client ends, or has heard it. */
  listen(): void {
    this.#ending.listen();
    if (this.#state !== "closed") return;
    this.#deadline = Infinity;
    this.#secondLook.cancel();
  }

  /** @throws {MqttError} Why no call can be made any more. */
  #checkEnd(): void {
    const { reason } = this.#ending;
    if (reason === undefined) return;
    this.listen();
    throw reason;
  }

  /** What the program answers the broker that authenticates it. */
  get authentication(): Pick<Authentication, "answered" | "again"> {
    return this.#authentication;
  }

  // ---- what the connection says

  /** The connection of the attempt, unless that is an earlier one. */
  #of(attempt: number): Connection | undefined {
    return this.#connection?.attempt === attempt ? this.#connection : undefined;
  }

  /** The program has said where the attempt goes: what CONNECT has of user name and password there. */
  located(attempt: number, given: CredentialsGiven): void {
    const connection = this.#of(attempt);
    if (connection !== undefined) connection.given = given;
  }

  /** A connection is open; whether it is wanted. */
  opened(attempt: number, link: Link, now: number): boolean {
    const connection = this.#of(attempt);
    if (connection === undefined) return false;
    this.#now = now;
    connection.link = link;
    const { rejectUntrusted } = this.#settings;
    const error = distrust(link.trusted, { credentials: connection.given, rejectUntrusted });
    if (error !== undefined) this.#lose(error);
    else this.#events.push({ type: "login", attempt });
    return error === undefined;
  }

  /** The credentials are known; whether they are wanted: then CONNECT can be taken. */
  login(attempt: number, credentials: Credentials, now: number): boolean {
    const connection = this.#of(attempt);
    this.#now = now;
    connection?.login(credentials, this.#id, now);
    return connection !== undefined;
  }

  /** Where the transport may read to. */
  space(attempt: number): Uint8Array {
    return this.#of(attempt)?.decoder.space() ?? new Uint8Array(64);
  }

  /** The first `length` bytes of the chunk have come. */
  received(attempt: number, chunk: Uint8Array, length: number, now: number): void {
    if (this.#isOver) return;
    this.#now = now;
    this.#backlog.copyWaiting();
    this.#of(attempt)?.receive(chunk, length, now);
  }

  /** What was taken has gone out. */
  written(attempt: number, now: number): void {
    const connection = this.#of(attempt);
    if (connection === undefined) return;
    this.#now = now;
    this.#output.written();
    connection.written(now);
    this.#publisher.makeRoom();
    if (this.#state !== "leaving" && !connection.hasRefused) return;
    this.#events.push({ type: "end" });
    this.#deadline = now + LINGER;
  }

  /** The connection, or the attempt to open one, has failed. */
  lost(attempt: number, error: MqttError, now: number): void {
    const connection = this.#of(attempt);
    if (connection === undefined) return;
    this.#now = now;
    if (connection.failure !== undefined) return this.#lose(connection.failure);
    this.#lose(connection.link && !connection.isOpen ? endedEarly(error, connection.link.trusted) : error);
  }

  /** The next bytes to be written, whole packets; undefined when there are none, or a write is in flight. Then `written`. What is stale by `now` is not sent. */
  takeBytes(now: number = this.#now): Uint8Array<ArrayBuffer> | undefined {
    const connection = this.#connection;
    if (connection === undefined || connection.writing) return undefined;
    let bytes: Uint8Array<ArrayBuffer> | undefined;
    if (this.#state === "connecting") {
      bytes = connection.takeConnect();
    } else if (this.#state === "refusing") {
      bytes = connection.takeRefusal();
    } else if (this.#state !== "leaving") {
      this.#flight.fill(now);
      bytes = this.#output.take();
      if (bytes === undefined && this.#state === "closing" && !this.#ledger.isBusy) {
        this.#state = "leaving";
        this.#receiver.lost(); // what is settled from now on would be acknowledged behind DISCONNECT
        bytes = this.#farewell;
      } else if (bytes !== undefined) {
        this.#flushes.taken(bytes);
        bytes = connection.aliases?.replace(bytes) ?? bytes;
      }
    }
    connection.writing = bytes !== undefined;
    return bytes;
  }

  // ---- the store

  /** What the store has of it. */
  get ledger(): Pick<Ledger, "isBusy" | "isSparse" | "records" | "notReplaced"> {
    return this.#ledger;
  }

  /** Whether there is something to be kept: then the store is to be flushed, and `stored` called, or `notStored`. */
  store(now: number): boolean {
    if (this.#isOpen || this.#state === "closing") this.#flight.fill(now);
    return this.#journal.begin();
  }

  /** What was to be kept is kept: what waited for that goes on. */
  stored(now: number): void {
    this.#now = now;
    this.#ledger.stored();
  }

  /** It could not be kept: what was accepted fails, and the rest is tried again. */
  notStored(cause: unknown, now: number): void {
    this.#now = now;
    this.#ledger.notStored(cause, now);
  }

  // ---- what time says

  /** Gives up what has failed, at the second look, and sends PINGREQ when the keep alive wants it. */
  tick(now: number): void {
    const { due } = this;
    this.#now = now;
    if (this.#isDrained) this.#leave(this.#draining.splice(0));
    if (now < due) return;
    if (now < this.#secondLook.due && this.#secondLook.due < Infinity) return this.#ping(); // and look on
    const by = this.#secondLook.take();
    // As it was when they were due: what is given up here makes room, and the answer may come with what is read then.
    const reading = this.isReading;
    const error = unanswered(this.#settings.timeout, { reading, unsettled: this.#backlog.count });
    if (this.#deadline <= by) this.#expire();
    if (this.#stall.due <= by && this.#stall.check(this, this.#now)) this.#giveUpStalled();
    if (this.#authentication.due <= by) this.#authentication.fail(error);
    if (this.#journal.due <= by) this.#journal.retry();
    if (this.#flight.due <= by) this.#flight.expire(this.#now);
    if (this.#claims.due <= by) this.#claims.giveUp();
    const failure = this.#subscriber.expire(by, { reading, error, now });
    if (this.#flushDue <= by) this.#flushes.expire(by, this.#lastByte, error);
    if (failure !== undefined) this.#lose(failure);
    this.#ping();
    if (this.#failing <= now) this.#secondLook.plan(now, due);
  }

  /**
   * There is a hint that the way to the broker has changed. A client that waits for its next attempt makes it now. An open
   * connection may be dead, and has to answer a PINGREQ; when it is lost soon, or the attempt that is under way fails, the
   * next one is made at once, too. What is due is done by the next `tick`.
   */
  wake(now: number): void {
    this.#now = now;
    if (this.#state === "waiting" && this.#deadline < Infinity) {
      this.#deadline = now;
      return;
    }
    this.#hintedAt = now;
    if (this.#isOpen) this.#connection!.probe();
  }

  /** What the state waited for did not come in time. */
  #expire(): void {
    const { timeout } = this.#settings;
    if (this.#state === "waiting") {
      this.#status = this.#dial();
    } else if (this.#state === "draining") {
      const { settled, count } = this.#backlog;
      this.#deadline = this.#now + timeout;
      if (settled !== this.#settledThen) return void (this.#settledThen = settled);
      this.#ending.failure = notDrained(timeout, count);
      this.#leave(this.#draining.splice(0));
    } else if (this.#state === "closed") {
      this.#deadline = Infinity;
      if (!this.#ending.isHeard) this.#events.push({ type: "unheard", error: this.reason! });
    } else {
      const failure = this.#state === "connecting" ? notConnected(timeout) : notSentInTime(timeout, this.#unsent);
      this.#lose(this.#connection?.failure ?? failure);
    }
  }

  /** Those who wait for room, or for an acknowledgement, would wait for ever: the broker may read no more until we do. */
  #giveUpStalled(): void {
    const { timeout } = this.#settings, { count } = this.#backlog;
    if (this.#flight.isAwaited) this.#flight.fail(unread(`No acknowledgement was read within ${timeout} ms`, count));
    this.#publisher.settle({ error: unread(`There was no room to publish within ${timeout} ms`, count) });
  }

  #ping(): void {
    if (this.#pingDue > this.#now) return;
    try {
      const how = { writing: this.#output.writing, reading: this.isReading };
      if (this.#connection?.isPingDue(this.#now, how)) this.#flushes.ping();
    } catch (error) {
      this.#lose(error as MqttError);
    }
  }

  // ---- what comes of it

  /** The next event, messages among them; undefined when there is none. The message before is settled. */
  next(): SessionEvent | undefined {
    return this.#intake.next();
  }

  /** The next event that is no message, for a program that blocks: messages wait for `next`, up to `maxBuffered` bytes. */
  nextKeepingMessages(): SessionEvent | undefined {
    return this.#intake.nextKeepingMessages();
  }

  /** The next event that is no message: messages go to their handlers as they are decoded. */
  nextDelivering(handling: Handling): SessionEvent | undefined {
    return this.#intake.nextDelivering(handling);
  }

  #connacked(connection: Connection, packet: ConnackPacket): void {
    const { code, sessionPresent } = packet, { version } = connection;
    if (code !== 0) return this.#lose(connectionRefused(packet, connection.given));
    const speakers = { journal: this.#journal, receiver: this.#receiver, publisher: this.#publisher };
    const error = this.#versions.accepted(version, { ...speakers, subscriber: this.#subscriber }, this.#now);
    if (error !== undefined) return this.#close(error);
    if (version === 5 && this.#ledger.isOrphaned(sessionPresent)) return this.#beginAnew();
    const limits = limitsOf(packet, { ...this.#settings, version });
    this.#authentication.accepted(connection, packet);
    this.#state = "open";
    this.#deadline = Infinity;
    connection.accepted(limits, this.#now);
    this.#id = packet.properties?.assignedId ?? this.#id;
    if (limits.keepalive !== this.#settings.keepalive) {
      this.#events.push({ type: "keepalive", seconds: limits.keepalive });
    }
    if (sessionPresent) this.#backlog.dropUnbegun(this.#subscriber.subscriptions.inboxes);
    this.#receiver.connected(sessionPresent);
    this.#claims.connected(sessionPresent, this.#now + this.#settings.timeout);
    this.#status = this.#events.tell({ type: "connected", sessionPresent, version, limits });
    this.#publisher.connected(limits);
    this.#subscriber.connected({ sessionPresent, limits }, this.#now);
    this.#flight.connected({ sessionPresent, isTakenOver: this.#ledger.isTakenOver(sessionPresent), limits });
    this.#ledger.connected(sessionPresent);
    this.#flight.letGo(this.#now);
    this.#flushes.connected();
    this.#attempts.accepted();
    this.#events.settle(this.#opening);
    this.#opening = undefined;
    this.#publisher.makeRoom();
  }

  /** The broker has a session whose store is gone: the client connects once more, and has it forget that [MQTT5-3.2.2-4]. */
  #beginAnew(): void {
    const error = orphaned();
    this.#events.tell({ type: "store", error });
    this.#ledger.startsAnew = true;
    this.#repeat(error);
  }

  /** The attempt is made once more, in another way. */
  #repeat(error: MqttError): void {
    this.#drop(error);
    this.#attempts.repeat();
    this.#status = this.#dial(this.#deadline);
  }

  /** Begins an attempt, which has failed at a time. */
  #dial(deadline: number = this.#now + this.#settings.timeout): ConnectionStatus {
    const number = this.#begun++, { place, address, credentials, attempt } = this.#attempts.begin();
    this.#state = "connecting";
    this.#deadline = deadline;
    const cleanSession = this.#settings.cleanSession || this.#ledger.startsAnew, version = this.#versions.tries;
    this.#connection = new Connection(number, credentials, { ...this.#settings, version, cleanSession });
    this.#events.push({ type: "dial", attempt: number, place });
    return this.#events.tell({ type: "connecting", attempt, address });
  }

  /** Bytes that were accepted, and as far as we know not sent. */
  get #unsent(): number {
    return this.#output.buffered + (this.#connection?.link?.unsent ?? 0);
  }

  /** The connection, or the attempt to open one, is over: the client waits for the next attempt, or ends. */
  #lose(failure: MqttError): void {
    if (!this.#ending.isAsked && this.#versions.fallsBack(this.#connection, failure, this.#attempts.wasAccepted)) {
      return this.#repeat(failure);
    }
    if (this.#connection?.refuse(failure)) {
      this.#state = "refusing";
      this.#deadline = this.#now + LINGER;
      return;
    }
    const acceptedAt = this.#connection?.acceptedAt;
    const lasted = acceptedAt === undefined ? undefined : this.#now - acceptedAt;
    const { next, error, delay, failures } = this.#attempts.failed(failure, lasted, this.#random());
    if (next === "end" || this.#ending.isAsked || this.#draining.length > 0) return this.#close(error);
    this.#drop(error);
    this.#subscriber.lost(error, this.#now);
    if (next === "ask") {
      this.#state = "waiting";
      this.#deadline = Infinity;
      this.#undecided = error;
      this.#events.push({ type: "retry", failures, error, delay });
    } else {
      this.#wait(error, delay);
    }
  }

  #wait(error: MqttError, planned: number): void {
    const delay = this.#now - this.#hintedAt < HINTED ? 0 : planned;
    this.#hintedAt = -Infinity; // one hint, one attempt
    this.#state = "waiting";
    this.#deadline = this.#now + delay;
    this.#status = this.#events.tell({ type: "waiting", error, delay });
  }

  /** The program has said when the next attempt is, in milliseconds; undefined: never. */
  plan(delay: number | undefined, now: number): void {
    const error = this.#undecided;
    if (error === undefined) return;
    this.#now = now;
    this.#undecided = undefined;
    if (delay === undefined) this.#close(error);
    else this.#wait(error, delay);
  }

  /** Nothing of this connection touches the next. */
  #drop(error: MqttError): void {
    if (this.#connection === undefined) return;
    if (this.#connection.isOpen) this.#lastByteThen = this.#connection.lastByte;
    this.#connection = undefined;
    this.#events.cancelAttempt();
    this.#events.push({ type: "hangup" });
    this.#secondLook.cancel();
    this.#stall.cancel();
    this.#claims.lost();
    this.#authentication.fail(error);
    this.#flushes.lost(error, this.#output.restart());
    this.#journal.lost();
    this.#publisher.lost();
    this.#flight.lost();
    this.#receiver.lost();
  }

  /** The one exit: everything settles. */
  #close(error: MqttError): void {
    const wasAccepted = this.#connection?.isOpen ?? false;
    const unsentThen = this.#unsent;
    const reason = this.#ending.come(error);
    this.#drop(reason);
    this.#state = "closed";
    this.#secondLook.cancel();
    this.#undecided = undefined;
    if (this.#subscriber.close(reason)) this.#ending.listen();
    this.#flushes.fail(reason);
    this.#flight.fail(reason);
    for (const call of this.#draining.splice(0)) this.#events.settle(call, { error: reason });
    this.#publisher.settle({ error: reason });
    this.#events.settle(this.#opening, { error: reason });
    // What disconnect() could not send any more is its caller's to know.
    const unsent = wasAccepted ? unsentThen : this.#output.buffered;
    this.#ending.settle(unsent === 0 ? undefined : wasAccepted ? error : notSent(unsent));
    this.#status = this.#events.tell({ type: "closed", error: reason });
    this.#events.push({ type: "closed", error: reason });
    this.#deadline = this.#ending.isHeard ? Infinity : this.#now + HEARD_WITHIN;
  }
}
