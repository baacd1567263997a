/** In which state a session is, and what leads from one to another: attempts, connections, disconnect(), and the one exit.
 * @module */

import type { ConnectionStatus } from "../status.ts";
import type { MqttError } from "../errors.ts";
import type { ConnackPacket } from "../protocol/packet.ts";
import { connectionRefused } from "./connack.ts";
import { Connection } from "./connection.ts";
import { Draining } from "./draining.ts";
import type { Call } from "./events.ts";
import { notConnected, notDrained, notSent, notSentInTime, orphaned } from "./failures.ts";
import { type DisconnectRequest, encodeFarewell } from "./farewell.ts";
import { limitsOf } from "./limits.ts";
import type { Parts } from "./parts.ts";
import type { SessionSettings } from "./settings.ts";
import { HEARD_WITHIN, HINTED, LINGER, type State } from "./state.ts";

/** Goes from state to state, as `State` has them, and tells the parts of a session what becomes of the connection. */
export class Lifecycle {
  readonly #settings: SessionSettings;
  readonly #parts: Parts;
  readonly #random: () => number;
  /** When the last input came; milliseconds. */
  now: number;
  #state: State = "connecting";
  /** When the state has lasted too long. */
  #deadline = Infinity;
  /** How many attempts were begun. */
  #begun = 0;
  /** Why there is no connection, while the program is asked for the next attempt. */
  #undecided: MqttError | undefined;
  #connection: Connection | undefined;
  /** When the last byte came or went on the last connection that the broker had accepted. */
  #lastByteThen = -Infinity;
  /** When there was a hint that the way to the broker has changed, and it has not led to an attempt yet. */
  #hintedAt = -Infinity;
  #status: ConnectionStatus;
  #id: string;
  /** Those who disconnect when what was received is settled. */
  readonly #draining: Draining;
  /** DISCONNECT, as the program has asked for it. */
  #farewell: Uint8Array<ArrayBuffer> | undefined;
  /** Who waits for the first connection. */
  #opening: Call | undefined;

  /** Begins the first attempt. `opening` is settled with the first connection; at once if the client may begin offline. */
  constructor(
    settings: SessionSettings,
    { parts, random, opening }: { parts: Parts; random: () => number; opening: Call },
    now: number,
  ) {
    this.#settings = settings;
    this.#parts = parts;
    this.#random = random;
    this.#id = settings.id;
    this.#draining = new Draining(parts.backlog);
    if (settings.offline) parts.events.settle(opening);
    else this.#opening = opening;
    this.now = now;
    this.#status = this.#dial();
  }

  // ---- where it is

  /** The state. */
  get state(): State {
    return this.#state;
  }

  /** The last status of the connection. */
  get status(): ConnectionStatus {
    return this.#status;
  }

  /** The client identifier: that of the settings, or the one that the broker has assigned [MQTT5-3.2.2-16]. */
  get id(): string {
    return this.#id;
  }

  /** The attempt under way, or the connection. */
  get connection(): Connection | undefined {
    return this.#connection;
  }

  /** The connection that is listened to: none while the broker is told of its mistake. */
  get heard(): Connection | undefined {
    return this.#state === "refusing" ? undefined : this.#connection;
  }

  /** Whether messages that come are delivered: after disconnect() they are not, nor acknowledged: the broker keeps them [MQTT-4.3.2-2]. */
  get isDelivering(): boolean {
    return this.#state === "open";
  }

  /** Whether the broker has accepted the connection, and nothing but DISCONNECT ends it. */
  get isOpen(): boolean {
    return this.#state === "open" || this.#state === "draining";
  }

  /** Whether DISCONNECT has ended the connection, or is about to: what comes is for nobody. */
  get isOver(): boolean {
    return this.#state === "leaving" || this.#state === "refusing";
  }

  /** Whether disconnect() has nothing to wait for any more: then `leaveDrained`. */
  get isDrained(): boolean {
    return this.#state === "draining" && this.#draining.isDone;
  }

  /** When the last byte came or went on a connection that the broker had accepted. */
  get lastByte(): number {
    return this.isOpen ? this.#connection!.lastByte : this.#lastByteThen;
  }

  /** Bytes that were accepted, and as far as we know not sent. */
  get #unsent(): number {
    return this.#parts.output.buffered + (this.#connection?.link?.unsent ?? 0);
  }

  // ---- time

  /** When `expire` wants to be called; Infinity when never. */
  get due(): number {
    return this.#deadline;
  }

  /** What the state waited for did not come in time. */
  expire(): void {
    const { timeout } = this.#settings, { ending, backlog, events } = this.#parts;
    if (this.#state === "waiting") {
      this.#status = this.#dial();
    } else if (this.#state === "draining") {
      this.#deadline = this.now + timeout;
      if (this.#draining.look()) return;
      ending.failure = notDrained(timeout, backlog.count);
      this.leaveDrained();
    } else if (this.#state === "closed") {
      this.#deadline = Infinity;
      if (!ending.isHeard) events.push({ type: "unheard", error: ending.reason! });
    } else {
      const failure = this.#state === "connecting" ? notConnected(timeout) : notSentInTime(timeout, this.#unsent);
      this.lose(this.#connection?.failure ?? failure);
    }
  }

  /**
   * There is a hint that the way to the broker has changed. A client that waits for its next attempt makes it now. An open
   * connection may be dead, and has to answer a PINGREQ; when it is lost soon, or the attempt that is under way fails, the
   * next one is made at once, too.
   */
  wake(now: number): void {
    this.now = now;
    if (this.#state === "waiting" && this.#deadline < Infinity) {
      this.#deadline = now;
      return;
    }
    this.#hintedAt = now;
    if (this.isOpen) this.#connection!.probe();
  }

  // ---- attempts

  /** Begins an attempt, which has failed at a time. */
  #dial(deadline: number = this.now + this.#settings.timeout): ConnectionStatus {
    const { attempts, events, ledger, versions } = this.#parts;
    const number = this.#begun++, { place, address, credentials: given, attempt } = attempts.begin();
    this.#state = "connecting";
    this.#deadline = deadline;
    const cleanSession = this.#settings.cleanSession || ledger.startsAnew, version = versions.tries;
    this.#connection = new Connection({ attempt: number, given, version, cleanSession }, this.#settings);
    events.push({ type: "dial", attempt: number, place });
    return events.tell({ type: "connecting", attempt, address });
  }

  /** The answer to CONNECT has come. */
  connacked(connection: Connection, packet: ConnackPacket): void {
    const { code, sessionPresent } = packet, { version } = connection;
    if (code !== 0) return this.lose(connectionRefused(packet, connection.given));
    const { events, backlog, receiver, claims, publisher, subscriber, flight, ledger, flushes } = this.#parts;
    const error = this.#parts.versions.accepted(version, this.#parts, this.now);
    if (error !== undefined) return this.#close(error);
    if (version === 5 && ledger.isOrphaned(sessionPresent)) return this.#beginAnew();
    const limits = limitsOf(packet, { ...this.#settings, version });
    this.#parts.authentication.accepted(connection, packet);
    this.#state = "open";
    this.#deadline = Infinity;
    connection.accepted(limits, this.now);
    this.#id = packet.properties?.assignedId ?? this.#id;
    if (limits.keepalive !== this.#settings.keepalive) events.push({ type: "keepalive", seconds: limits.keepalive });
    if (sessionPresent) backlog.dropUnbegun(subscriber.subscriptions.inboxes);
    receiver.connected(sessionPresent);
    claims.connected(sessionPresent, this.now + this.#settings.timeout);
    this.#status = events.tell({ type: "connected", sessionPresent, version, limits });
    publisher.connected(limits);
    subscriber.connected({ sessionPresent, limits }, this.now);
    flight.connected({ sessionPresent, isTakenOver: ledger.isTakenOver(sessionPresent), limits });
    ledger.connected(sessionPresent);
    flight.letGo(this.now);
    flushes.connected();
    this.#parts.attempts.accepted();
    events.settle(this.#opening);
    this.#opening = undefined;
    publisher.makeRoom();
  }

  /** The broker has a session whose store is gone: the client connects once more, and has it forget that [MQTT5-3.2.2-4]. */
  #beginAnew(): void {
    const { events, ledger } = this.#parts, error = orphaned();
    events.tell({ type: "store", error });
    ledger.startsAnew = true;
    this.#repeat(error);
  }

  /** The attempt is made once more, in another way. */
  #repeat(error: MqttError): void {
    this.#drop(error);
    this.#parts.attempts.repeat();
    this.#status = this.#dial(this.#deadline);
  }

  /** The connection, or the attempt to open one, is over: the client waits for the next attempt, or ends. */
  lose(failure: MqttError): void {
    const { ending, versions, attempts, subscriber, events } = this.#parts;
    if (!ending.isAsked && versions.fallsBack(this.#connection, failure, attempts.wasAccepted)) {
      return this.#repeat(failure);
    }
    if (this.#connection?.refuse(failure)) {
      this.#state = "refusing";
      this.#deadline = this.now + LINGER;
      return;
    }
    const acceptedAt = this.#connection?.acceptedAt;
    const lasted = acceptedAt === undefined ? undefined : this.now - acceptedAt;
    const { next, error, delay, failures } = attempts.failed(failure, lasted, this.#random());
    if (next === "end" || ending.isAsked || this.#draining.isAsked) return this.#close(error);
    this.#drop(error);
    subscriber.lost(error, this.now);
    if (next === "ask") {
      this.#state = "waiting";
      this.#deadline = Infinity;
      this.#undecided = error;
      events.push({ type: "retry", failures, error, delay });
    } else {
      this.#wait(error, delay);
    }
  }

  #wait(error: MqttError, planned: number): void {
    const delay = this.now - this.#hintedAt < HINTED ? 0 : planned;
    this.#hintedAt = -Infinity; // one hint, one attempt
    this.#state = "waiting";
    this.#deadline = this.now + delay;
    this.#status = this.#parts.events.tell({ type: "waiting", error, delay });
  }

  /** The program has said when the next attempt is, in milliseconds; undefined: never. */
  plan(delay: number | undefined, now: number): void {
    const error = this.#undecided;
    if (error === undefined) return;
    this.now = now;
    this.#undecided = undefined;
    if (delay === undefined) this.#close(error);
    else this.#wait(error, delay);
  }

  /** Nothing of this connection touches the next. */
  #drop(error: MqttError): void {
    if (this.#connection === undefined) return;
    if (this.#connection.isOpen) this.#lastByteThen = this.#connection.lastByte;
    this.#connection = undefined;
    const { events, stall, claims, authentication, flushes, output, journal } = this.#parts;
    events.cancelAttempt();
    events.push({ type: "hangup" });
    this.#parts.secondLook.cancel();
    stall.cancel();
    claims.lost();
    authentication.fail(error);
    flushes.lost(error, output.restart());
    journal.lost();
    this.#parts.publisher.lost();
    this.#parts.flight.lost();
    this.#parts.receiver.lost();
  }

  // ---- the end

  /**
   * The program disconnects: the session is `draining` first if it wants that, then `closing`. The call is settled with the
   * end.
   *
   * @throws {MqttError} `"unsupported"`: DISCONNECT cannot say that.
   */
  disconnect(call: Call, { cause, drain, ...farewell }: DisconnectRequest, now: number): void {
    this.now = now;
    const { ending, backlog, events, stall } = this.#parts;
    const { sessionExpiry, timeout } = this.#settings, { version } = this.#parts.versions;
    const limits = this.#status.type === "connected" ? this.#status.limits : undefined;
    const bytes = encodeFarewell(farewell, { version, sessionExpiry }, limits?.maxPacketSize);
    if (ending.reason === undefined) this.#farewell = bytes;
    if (this.#state === "closed") {
      // Who leaves a client that has failed, and nobody knows, hears of it here.
      const { isHeard, reason } = ending;
      this.listen();
      return events.settle(call, { error: isHeard ? undefined : reason });
    }
    if (!drain || !this.isOpen) return this.#leave([call, ...this.#draining.take()], cause);
    this.#draining.add(call);
    if (this.#state === "draining") return;
    this.#state = "draining";
    backlog.discardUnclaimed();
    this.#draining.look();
    stall.cancel();
    this.#deadline = now + timeout;
  }

  /** What was received is settled, or is waited for no longer. */
  leaveDrained(): void {
    this.#leave(this.#draining.take());
  }

  /** Nothing more is accepted, and what was received and is not begun is nobody's. */
  #leave(calls: readonly Call[], cause?: unknown): void {
    const { ending, backlog, stall } = this.#parts;
    if (!ending.ask(calls, cause)) return;
    backlog.clear();
    stall.cancel();
    if (!this.isOpen) return this.#close(ending.reason!);
    this.#state = "closing";
    this.#deadline = this.now + this.#settings.timeout;
  }

  /** DISCONNECT, once all that was accepted is sent and kept. */
  takeFarewell(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#state !== "closing" || this.#parts.ledger.isBusy) return undefined;
    this.#state = "leaving";
    this.#parts.receiver.lost(); // what is settled from now on would be acknowledged behind DISCONNECT
    return this.#farewell;
  }

  /** DISCONNECT has gone out: the broker may close the connection. */
  linger(): void {
    this.#parts.events.push({ type: "end" });
    this.#deadline = this.now + LINGER;
  }

  /** Somebody hears why the client ends, or has heard it. */
  listen(): void {
    this.#parts.ending.listen();
    if (this.#state !== "closed") return;
    this.#deadline = Infinity;
    this.#parts.secondLook.cancel();
  }

  /** The one exit: everything settles. */
  #close(error: MqttError): void {
    const { ending, events, output, subscriber, flushes, flight, publisher } = this.#parts;
    const wasAccepted = this.#connection?.isOpen ?? false;
    const unsentThen = this.#unsent;
    const reason = ending.come(error);
    this.#drop(reason);
    this.#state = "closed";
    this.#parts.secondLook.cancel();
    this.#undecided = undefined;
    if (subscriber.close(reason)) ending.listen();
    flushes.fail(reason);
    flight.fail(reason);
    for (const call of this.#draining.take()) events.settle(call, { error: reason });
    publisher.settle({ error: reason });
    events.settle(this.#opening, { error: reason });
    // What disconnect() could not send any more is its caller's to know.
    const unsent = wasAccepted ? unsentThen : output.buffered;
    ending.settle(unsent === 0 ? undefined : wasAccepted ? error : notSent(unsent));
    this.#status = events.tell({ type: "closed", error: reason });
    events.push({ type: "closed", error: reason });
    this.#deadline = ending.isHeard ? Infinity : this.now + HEARD_WITHIN;
  }
}
