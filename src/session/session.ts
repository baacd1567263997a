/**
 * The whole client as a state machine that knows no socket, timer, promise or clock: calls, bytes,
 * time and chance go in; bytes, events and a due time come out. The shells in `src/client/` do the rest.
 * @module
 */

import type { OnPublish } from "../options.ts";
import type { ConnectionStatus, Stats } from "../status.ts";
import type { MqttError } from "../errors.ts";
import type { Limits } from "../options5.ts";
import type { Version } from "../protocol/packet.ts";
import type { Backlog } from "./backlog.ts";
import { endedEarly } from "./connack.ts";
import type { Connection, Credentials, Link } from "./connection.ts";
import type { Handling } from "./consumer.ts";
import { Deadlines } from "./deadlines.ts";
import type { Ending } from "./ending.ts";
import type { Call, SessionEvent } from "./events.ts";
import type { DisconnectRequest } from "./farewell.ts";
import type { Inbox } from "./inbox.ts";
import { Intake } from "./intake.ts";
import type { Ledger } from "./ledger.ts";
import { Lifecycle } from "./lifecycle.ts";
import type { Outgoing, Publication } from "./outgoing.ts";
import { makeParts, type Parts } from "./parts.ts";
import type { Publisher } from "./publisher.ts";
import type { SessionParts, SessionSettings } from "./settings.ts";
import { statsOf } from "./stats.ts";
import type { Asked, Handler } from "./subscriptions.ts";
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
  readonly #parts: Parts;
  /** Those of the parts that each message passes: at hand, a publish takes 3 % less. */
  readonly #ending: Ending;
  readonly #publisher: Publisher;
  readonly #backlog: Backlog;
  readonly #lifecycle: Lifecycle;
  readonly #intake: Intake;
  readonly #deadlines: Deadlines;

  /** `opening` is settled with the first connection; at once if the client may begin offline. */
  constructor(settings: SessionSettings, given: SessionParts, opening: Call, now: number) {
    this.#settings = settings;
    const parts = this.#parts = makeParts(settings, given, now);
    this.#ending = parts.ending;
    this.#publisher = parts.publisher;
    this.#backlog = parts.backlog;
    const lifecycle = this.#lifecycle = new Lifecycle(settings, { parts, random: given.random, opening }, now);
    const intake = this.#intake = new Intake(parts, lifecycle);
    this.#deadlines = new Deadlines(settings.timeout, parts, { lifecycle, intake });
  }

  // ---- what the shell looks at

  /** The last status of the connection. */
  get status(): ConnectionStatus {
    return this.#lifecycle.status;
  }

  /** The client identifier: that of the settings, or the one that the broker has assigned [MQTT5-3.2.2-16]. */
  get id(): string {
    return this.#lifecycle.id;
  }

  /** The version of the protocol, as far as it is known: the broker may have another one until it has accepted the client. */
  get version(): Version {
    return this.#parts.versions.version;
  }

  /** What the broker of this connection can do; undefined while there is none. */
  get limits(): Limits | undefined {
    const { status } = this.#lifecycle;
    return status.type === "connected" ? status.limits : undefined;
  }

  /** Counters. */
  get stats(): Stats {
    const { output, flight, receiver, backlog } = this.#parts;
    return statsOf({ output, flight, receiver, backlog, intake: this.#intake });
  }

  /** Tells that a publish was rejected, or that a message was lost; `size` is that of the packet, in bytes. */
  tellDropped(topic: string, size: number, error: MqttError): void {
    this.#parts.events.tell({ type: "dropped", topic, size, error });
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
    return this.#lifecycle.state === "draining";
  }

  /** How many messages of QoS 1 and 2 are neither acknowledged nor given up. */
  get unacknowledged(): number {
    return this.#parts.flight.unacknowledged;
  }

  /** Bytes that were accepted, and not yet written; of QoS 1 and 2 those that the window has let out. */
  get buffered(): number {
    return this.#parts.output.buffered;
  }

  /** Whether there is a connection that takes a publish at once. */
  get isReady(): boolean {
    return this.#lifecycle.state === "open" && this.#lifecycle.connection!.inFlight === 0;
  }

  /** Whether what the connection has is wanted: when too many messages are unsettled, only for what the program waits for. */
  get isReading(): boolean {
    return this.#intake.isReading;
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
    return this.#publisher.publish(topic, message, flags, this.#lifecycle.now);
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
    this.#parts.flight.withdraw(outgoing, error);
  }

  /** Whether a call of `awaitRoom` waits. */
  get isRoomAwaited(): boolean {
    return this.#publisher.isAwaited;
  }

  /** Settles the call with 0 when a publish need not wait any more; one at a time. */
  awaitRoom(call: Call): void {
    if (this.#lifecycle.state === "closed") {
      this.listen();
      return this.#parts.events.settle(call, { error: this.reason });
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
    this.#parts.subscriber.subscribe(asked, handler, call, now);
    this.#parts.claims.claim();
  }

  /** Asks for a subscription whose messages go to the inbox, which hears of a failure, too. */
  iterate(inbox: Inbox, asked: Asked, now: number): void {
    try {
      this.#checkEnd();
      this.#parts.subscriber.iterate(inbox, asked, now);
      this.#parts.claims.claim();
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
    this.#parts.subscriber.unsubscribe(filters, { call, leaves: false }, now);
  }

  /**
   * Settles the call when the broker has received all that was published before.
   *
   * @throws {MqttError} `"overflow"`; why the client has ended.
   */
  flush(call: Call, now: number): void {
    this.#checkEnd();
    this.#parts.flushes.flush(call, this.#parts.flight, now);
  }

  /** The iterator of the inbox is left; whether nobody wants its filter any more: then `unsubscribeInbox`. */
  leave(inbox: Inbox): boolean {
    this.#backlog.leave(inbox);
    const alone = this.reason === undefined && this.#parts.subscriber.subscriptions.leave(inbox);
    this.#backlog.end(inbox, undefined);
    return alone;
  }

  /**
   * Gives up the filter of an inbox that was left; the end of the client is no failure of that.
   *
   * @throws {MqttError} `"overflow"`
   */
  unsubscribeInbox(inbox: Inbox, call: Call, now: number): void {
    this.#parts.subscriber.unsubscribe([inbox.filter], { call, leaves: true }, now);
  }

  /**
   * Sends what was accepted, then DISCONNECT [MQTT-3.14.4-1]; nothing more is accepted. `cause` is why.
   * `drain`: first, what was received is settled; until then calls can be made, as handlers do.
   *
   * @throws {MqttError} `"unsupported"`: DISCONNECT cannot say that.
   */
  disconnect(call: Call, request: DisconnectRequest, now: number): void {
    this.#lifecycle.disconnect(call, request, now);
  }

  /** Somebody who blocks does not wait any more for what the call asked for. */
  giveUp(call: Call, error: MqttError, now: number): void {
    this.#parts.subscriber.giveUp(call, error, now);
  }

  /** Somebody hears why the client ends, or has heard it. */
  listen(): void {
    this.#lifecycle.listen();
  }

  /**
   * Authenticates again on the connection that there is.
   *
   * @throws {MqttError} `"unsupported"`, where connect had no `auth`, or there is no connection; why the client has ended.
   */
  reauthenticate(call: Call, now: number): void {
    this.#checkEnd();
    this.#parts.authentication.again(this.#lifecycle.connection, call, now);
  }

  // ---- what the connection says

  /** The program has said where the attempt goes: what CONNECT has of user name and password there. */
  located(attempt: number, given: CredentialsGiven): void {
    const connection = this.#of(attempt);
    if (connection !== undefined) connection.given = given;
  }

  /** A connection is open; whether it is wanted. */
  opened(attempt: number, link: Link, now: number): boolean {
    const connection = this.#of(attempt);
    if (connection === undefined) return false;
    this.#lifecycle.now = now;
    connection.link = link;
    const { rejectUntrusted } = this.#settings;
    const error = distrust(link.trusted, { credentials: connection.given, rejectUntrusted });
    if (error !== undefined) this.#lifecycle.lose(error);
    else this.#parts.events.push({ type: "login", attempt });
    return error === undefined;
  }

  /** The credentials are known; whether they are wanted: then CONNECT can be taken. */
  login(attempt: number, credentials: Credentials, now: number): boolean {
    const connection = this.#of(attempt);
    this.#lifecycle.now = now;
    connection?.login(credentials, this.#lifecycle.id, now);
    return connection !== undefined;
  }

  /** The program has answered the broker that authenticates it. */
  answered(attempt: number, answer: Uint8Array): void {
    const connection = this.#of(attempt);
    if (connection !== undefined) this.#parts.authentication.answered(connection, answer);
  }

  /** Where the transport may read to. */
  space(attempt: number): Uint8Array {
    return this.#of(attempt)?.decoder.space() ?? new Uint8Array(64);
  }

  /** The first `length` bytes of the chunk have come. */
  received(attempt: number, chunk: Uint8Array, length: number, now: number): void {
    if (this.#lifecycle.isOver) return;
    this.#lifecycle.now = now;
    this.#backlog.copyWaiting();
    this.#of(attempt)?.receive(chunk, length, now);
  }

  /** What was taken has gone out. */
  written(attempt: number, now: number): void {
    const connection = this.#of(attempt);
    if (connection === undefined) return;
    this.#lifecycle.now = now;
    this.#parts.output.written();
    connection.written(now);
    this.#publisher.makeRoom();
    if (this.#lifecycle.state === "leaving" || connection.hasRefused) this.#lifecycle.linger();
  }

  /** The connection, or the attempt to open one, has failed. */
  lost(attempt: number, error: MqttError, now: number): void {
    const connection = this.#of(attempt);
    if (connection === undefined) return;
    this.#lifecycle.now = now;
    if (connection.failure !== undefined) return this.#lifecycle.lose(connection.failure);
    this.#lifecycle.lose(connection.link && !connection.isOpen ? endedEarly(error, connection.link.trusted) : error);
  }

  /** The next bytes to be written, whole packets; undefined when there are none, or a write is in flight. Then `written`. What is stale by `now` is not sent. */
  takeBytes(now: number = this.#lifecycle.now): Uint8Array<ArrayBuffer> | undefined {
    const { connection, state } = this.#lifecycle;
    if (connection === undefined || connection.inFlight > 0) return undefined;
    let bytes: Uint8Array<ArrayBuffer> | undefined;
    if (state === "connecting") {
      bytes = connection.takeConnect();
    } else if (state === "refusing") {
      bytes = connection.takeRefusal();
    } else if (state !== "leaving") {
      this.#parts.flight.fill(now);
      bytes = this.#parts.output.take();
      if (bytes === undefined) {
        bytes = this.#lifecycle.takeFarewell();
      } else {
        this.#parts.flushes.taken(bytes);
        bytes = connection.aliases?.replace(bytes) ?? bytes;
      }
    }
    connection.inFlight = bytes?.length ?? 0;
    return bytes;
  }

  // ---- the store

  /** What the store has of it. */
  get ledger(): Pick<Ledger, "isBusy" | "isSparse" | "records" | "notReplaced"> {
    return this.#parts.ledger;
  }

  /** Whether there is something to be kept: then the store is to be flushed, and `stored` called, or `notStored`. */
  store(now: number): boolean {
    const { isOpen, state } = this.#lifecycle;
    if (isOpen || state === "closing") this.#parts.flight.fill(now);
    return this.#parts.journal.begin();
  }

  /** What was to be kept is kept: what waited for that goes on. */
  stored(now: number): void {
    this.#lifecycle.now = now;
    this.#parts.ledger.stored();
  }

  /** It could not be kept: what was accepted fails, and the rest is tried again. */
  notStored(cause: unknown, now: number): void {
    this.#lifecycle.now = now;
    this.#parts.ledger.notStored(cause, now);
  }

  // ---- what time says

  /** When `tick` wants to be called; Infinity when never. */
  get due(): number {
    return this.#deadlines.due;
  }

  /** Gives up what has failed, and sends PINGREQ when the keep alive wants it. */
  tick(now: number): void {
    this.#deadlines.tick(now);
  }

  /** There is a hint that the way to the broker has changed. What is due then is done by the next `tick`. */
  wake(now: number): void {
    this.#lifecycle.wake(now);
  }

  /** The program has said when the next attempt is, in milliseconds; undefined: never. */
  plan(delay: number | undefined, now: number): void {
    this.#lifecycle.plan(delay, now);
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

  /** @throws {MqttError} Why no call can be made any more. */
  #checkEnd(): void {
    const { reason } = this.#ending;
    if (reason === undefined) return;
    this.listen();
    throw reason;
  }

  /** The connection of the attempt, unless that is an earlier one. */
  #of(attempt: number): Connection | undefined {
    const { connection } = this.#lifecycle;
    return connection?.attempt === attempt ? connection : undefined;
  }
}
