/** Messages of QoS 1 and 2 on their way to the broker, until it has acknowledged them.
 * @module */

import type { Limits } from "../options5.ts";
import type { MqttError } from "../errors.ts";
import { LazyMap } from "../lazy.ts";
import { HANDED_OVER, type Output } from "../protocol/output.ts";
import { convertPublish } from "../protocol/convert.ts";
import { type AckPacket, PUBACK, PUBCOMP, PUBREC, PUBREL, type Version } from "../protocol/packet.ts";
import type { Call, Events } from "./events.ts";
import { FreedIds } from "./freed_ids.ts";
import { DONE as DONE_RECORD, type Journal, RECEIVED as RECEIVED_RECORD, SENT as SENT_RECORD } from "./journal.ts";
import type { PacketIds } from "./packet_ids.ts";
import { Queue } from "./queue.ts";
import { UNKNOWN_ID } from "./reasons.ts";
import type { Restored } from "./restored.ts";
import {
  ANEW,
  bytesOf,
  DONE,
  isStale,
  isUnsent,
  makeOutgoing,
  NEW,
  type Outgoing,
  type Publication,
  RECEIVED,
  refusedError,
  SENT,
  sessionLostError,
  staleError,
  WAITING,
} from "./outgoing.ts";
import type { SessionLost } from "./settings.ts";
import { isLimited, messageUnsupported, versionUnsupported } from "./limits.ts";
import { reduceExpiry, runsOf, Shelf, type Shelved, stamp, topicOf } from "./shelf.ts";

/** How many messages may be sent and not acknowledged, in all and of QoS 2, and how many bytes accepted. */
export interface FlightSettings {
  readonly maxInflight: number;
  readonly maxInflightQoS2: number;
  readonly maxBuffered: number;
  readonly version: Version;
  readonly sessionLost: SessionLost | undefined;
}

/** Of so many packet identifiers of QoS 2 a client makes sure that takes a session over. */
const MOST_FREED = 1000;

/** It is looked so often whether messages that wait are stale; milliseconds. */
const LOOK = 1000;

/** The outcome of a message that is acknowledged. */
const ACKNOWLEDGED = { code: 0 };

/** Hears what becomes of a message, by its number: it is acknowledged or withdrawn, or has failed. */
export type OnDone = (number: number, error: MqttError | undefined) => void;

/** What it works with. */
export interface FlightParts {
  readonly output: Output;
  readonly events: Events;
  readonly ids: PacketIds;
  readonly journal: Journal;
  readonly onDone: OnDone;
}

/**
 * Each message is packed once, and waits on the shelf. When the window has room, and the output little to write, a copy
 * goes to the output: so the order is that of accepting, for each QoS, and DUP and the packet identifier are written at
 * the last moment. The packet leaves the shelf when it need not be sent again.
 *
 * When a connection is lost, what was sent goes back before all that waits, in its order. CONNACK says what it is sent
 * as: with DUP and its packet identifier if the broker has kept the session [MQTT-4.4.0-1], and anew if not.
 */
export class Flight {
  readonly #settings: FlightSettings;
  #version: Version;
  readonly #output: Output;
  readonly #events: Events;
  readonly #ids: PacketIds;
  readonly #journal: Journal;
  readonly #onDone: OnDone;
  readonly #shelf: Shelf;
  /** How many the broker of this connection takes before it has acknowledged them [MQTT5-3.3.4-9]. */
  #receiveMaximum = Infinity;
  /** Bytes that were let out, and wait for the store. */
  #held = 0;
  /** Those that wait. Of QoS 0 they wait for a connection. */
  readonly #waiting: [Queue, Queue, Queue] = [new Queue(), new Queue(), new Queue()];
  /** How many are `SENT`. */
  readonly #sending: [number, number, number] = [0, 0, 0];
  /** When it is looked next whether some are stale; Infinity when none can be. */
  #soonest = Infinity;
  /** By packet identifier: those that were sent, in that order, and those that the broker has received, in the order of PUBREC. */
  readonly #sent = new LazyMap<number, Outgoing>();
  readonly #received = new LazyMap<number, Outgoing>();
  /** The packet identifiers of QoS 2, when the broker may still hold others from the process before. */
  #freed: FreedIds | undefined;
  /** How many were accepted, how many of them are not done, and for how many of those somebody waits. */
  #accepted = 0;
  #pending = 0;
  #calls = 0;
  /** How many acknowledgements were for nothing. */
  ignored = 0;
  /** How many messages were sent, and how often one of them was sent again. */
  sent = 0;
  resent = 0;

  constructor(settings: FlightSettings, { output, events, ids, journal, onDone }: FlightParts) {
    this.#settings = settings;
    this.#version = settings.version;
    this.#output = output;
    this.#events = events;
    this.#ids = ids;
    this.#journal = journal;
    this.#onDone = onDone;
    this.#shelf = new Shelf(settings.maxBuffered, settings.version);
    ids.add(this.#sent);
    ids.add(this.#received);
  }

  /** How many messages were accepted in all. */
  get accepted(): number {
    return this.#accepted;
  }

  /** How many messages are not done. */
  get pending(): number {
    return this.#pending;
  }

  /** How many of those are of QoS 1 and 2. */
  get unacknowledged(): number {
    return this.#pending - this.#waiting[0].waiting;
  }

  /** Bytes of their packets. */
  get bytes(): number {
    return this.#shelf.bytes;
  }

  /** Whether somebody waits for an acknowledgement. */
  get isAwaited(): boolean {
    return this.#calls > 0;
  }

  /**
   * Accepts a message with the flags of byte 1; the call is settled when the broker has acknowledged it.
   *
   * @throws {TypeError | RangeError} If `topic` is no topic name, or `message` no message.
   * @throws {MqttError} `"overflow"`; nothing is accepted then.
   */
  publish(publication: Publication, call: Call | undefined, now: number): Outgoing {
    const { topic, message, flags, expiry, properties } = publication, shelf = this.#shelf;
    const size = properties === undefined
      ? shelf.publish(topic, message, flags)
      : shelf.publishWith(topic, message, flags, properties);
    const shelved = shelf.last(size);
    const due = expiry === undefined ? Infinity : now + 1000 * expiry;
    const outgoing = this.#accept(shelved, this.#accepted++, due);
    outgoing.call = call;
    if (call !== undefined) this.#calls++;
    this.#waiting[outgoing.qos].push(outgoing);
    return outgoing;
  }

  #accept(shelved: Shelved, number: number, due: number): Outgoing {
    this.#pending++;
    this.#soonest = Math.min(this.#soonest, due);
    return makeOutgoing(shelved, number, due);
  }

  /** Takes what a process before this one had accepted; `offset`: `now` less the milliseconds since 1970. */
  restore({ messages, received, accepted }: Restored, offset: number): void {
    this.#accepted = accepted;
    const inOrder = [...messages.values()].sort((one, other) => one.number - other.number);
    const found = new Map<number, Outgoing>();
    const poorer: Outgoing[] = [];
    for (const { number, packet: written, version, packetId, due } of inOrder) {
      const { packet, isPoorer } = convertPublish(written, version, this.#settings.version);
      const outgoing = this.#accept(this.#shelf.place(packet), number, due + offset);
      outgoing.packetId = packetId;
      found.set(number, outgoing);
      if (isPoorer && !received.has(number)) poorer.push(outgoing);
      if (received.has(number)) continue;
      if (packetId > 0) this.#sent.set(packetId, outgoing);
      this.#waiting[outgoing.qos].push(outgoing);
    }
    for (const number of received) {
      const outgoing = found.get(number)!;
      outgoing.state = RECEIVED;
      this.#received.set(outgoing.packetId, outgoing);
    }
    for (const outgoing of poorer) this.#abandon(outgoing, versionUnsupported("a message with properties"));
  }

  /** The version is 4, and not 5: what has properties is given up. */
  downgrade(): void {
    this.#version = 4;
    for (const outgoing of this.#shelf.downgrade(this.all)) {
      this.#end(outgoing, versionUnsupported("a message with properties"));
    }
  }

  /** Takes back a message, if it was never sent: its call fails, and nobody else's. */
  withdraw(outgoing: Outgoing, error: MqttError): void {
    if (outgoing.state !== WAITING || outgoing.packetId !== NEW) return;
    this.settle(outgoing, error);
    this.#end(outgoing);
  }

  /** Gives up a message, wherever it is. */
  giveUp(outgoing: Outgoing, error: MqttError): void {
    if (outgoing.state !== DONE) this.#end(outgoing, error);
  }

  // ---- to the broker

  /** Lets out what the window has room for: it goes to the output, once the store has it. */
  fill(now: number): void {
    if (this.#waiting[1].length + this.#waiting[2].length === 0) return; // with each write of QoS 0
    const ready: Outgoing[] = [];
    let size = this.#output.buffered + this.#held;
    while (size < HANDED_OVER) {
      const next = this.#next(now);
      if (next === undefined) break;
      ready.push(next);
      size += next.size;
      this.#held += next.size;
    }
    if (ready.length > 0) this.#journal.afterwards(() => this.#handOver(ready));
  }

  /** Copies packets to the output: those that lie one behind the other, at once. */
  #handOver(ready: readonly Outgoing[]): void {
    for (const { size } of ready) this.#held -= size;
    const sent = ready.filter(({ state }) => state === SENT); // the store could not keep the others
    for (const bytes of runsOf(sent)) this.#output.addCopies(bytes);
  }

  /** The next message that is sent, stamped; undefined when the window has no room for one. */
  #next(now: number): Outgoing | undefined {
    const { maxInflight, maxInflightQoS2 } = this.#settings;
    const received = this.#received.size, qos1 = this.#sending[1], qos2 = this.#sending[2] + received;
    if (qos1 + qos2 >= Math.min(maxInflight, this.#receiveMaximum)) return undefined;
    const first = this.#waiting[1].firstWaiting(now, this.#giveUpStale);
    const other = qos2 < maxInflightQoS2 ? this.#waiting[2].firstWaiting(now, this.#giveUpStale) : undefined;
    // Of QoS 2 there may be no packet identifier yet: QoS 1 does not wait for that.
    const isBefore = other !== undefined && (first === undefined || other.number < first.number);
    const isOther = isBefore && this.#stamp(other, now);
    const next = isOther ? other : first;
    if (next === undefined || !isOther && !this.#stamp(next, now)) return undefined;
    this.#waiting[next.qos].shift();
    this.#sending[next.qos]++;
    next.state = SENT;
    return next;
  }

  /** Gives the packet its packet identifier, or DUP when it has one; whether there was an identifier. */
  #stamp(next: Outgoing, now: number): boolean {
    const isNew = next.packetId === NEW;
    const isRepeat = next.packetId > 0;
    if (!isRepeat) {
      const packetId = next.qos === 2 && this.#freed ? this.#freed.take() : this.#ids.next();
      if (packetId === undefined) return false;
      next.packetId = packetId;
      this.#sent.set(packetId, next);
      this.#journal.change(SENT_RECORD, next.number, packetId);
    }
    stamp(next, next.packetId, { dup: isRepeat });
    this.#reduce(next, now);
    if (isNew) this.sent++;
    else this.resent++;
    return true;
  }

  /** The time that a message has waited is taken off its expiry [MQTT5-3.3.2-6]; one of 0 would be none to some brokers. */
  #reduce(next: Outgoing, now: number): void {
    if (next.due === Infinity || this.#version === 4) return;
    reduceExpiry(next, Math.max(Math.ceil((next.due - now) / 1000), 1));
  }

  /** Whether messages of QoS 0 wait for a connection: later ones wait behind them. */
  get holdsQoS0(): boolean {
    return this.#waiting[0].length > 0;
  }

  /** There is a connection: messages of QoS 0 go to the output, and are done. */
  letGo(now: number): void {
    const next = () => this.#waiting[0].firstWaiting(now, this.#giveUpStale);
    for (let first = next(); first !== undefined; first = next()) {
      this.#reduce(first, now);
      this.#output.addCopies(bytesOf(first));
      this.#output.published++;
      this.#end(first);
    }
  }

  /** When `expire` wants to be called; Infinity when never. */
  get due(): number {
    return this.#soonest;
  }

  readonly #giveUpStale = (outgoing: Outgoing): void => this.#end(outgoing, staleError());

  /** Gives up what is stale. It is looked no oftener than each second. */
  expire(now: number): void {
    let soonest = Infinity;
    for (const qos of [0, 1, 2] as const) {
      for (const outgoing of [...this.#waiting[qos]]) {
        if (isStale(outgoing, now)) this.#giveUpStale(outgoing);
        else if (isUnsent(outgoing)) soonest = Math.min(soonest, outgoing.due);
      }
    }
    this.#soonest = soonest === Infinity ? soonest : Math.max(soonest, now + LOOK);
  }

  // ---- from the broker

  /** PUBACK, PUBREC or PUBCOMP. One that is for nothing is counted: brokers repeat them rightly when a message is sent again. */
  answered(packet: AckPacket): void {
    const { type, packetId, code = 0 } = packet;
    const outgoing = (type === PUBCOMP ? this.#received : this.#sent).get(packetId);
    // PUBREC with a reason code from 128 on frees the identifier [MQTT5-4.3.3-4]; in PUBCOMP, it says nothing of the message.
    const isRefused = code >= 128 && (type === PUBREC ? outgoing?.qos === 2 : type === PUBACK && outgoing?.qos === 1);
    if (outgoing !== undefined && isRefused) return this.#end(outgoing, refusedError(packet));
    if (outgoing !== undefined && type === PUBREC) outgoing.code = code;
    if (outgoing !== undefined && type === PUBACK && outgoing.qos === 1) {
      outgoing.code = code;
      return this.#end(outgoing);
    }
    if (type === PUBCOMP && outgoing !== undefined) return this.#end(outgoing, outgoing.refusal);
    if (type === PUBCOMP && this.#freed?.add(packetId)) return;
    if (type === PUBREC && outgoing?.qos === 2) this.#receive(outgoing);
    else this.ignored++;
    // Also when it is unknown: the broker would keep the identifier. Not of one that is in use for something else.
    if (type === PUBREC && outgoing?.qos !== 1) this.#release(packetId);
  }

  /** The broker has received the message; it is never sent again, and PUBREL is, in the order of PUBREC [MQTT-4.6.0-4]. */
  #receive(outgoing: Outgoing): void {
    const { state } = outgoing;
    outgoing.state = RECEIVED;
    if (state === SENT) this.#sending[2]--;
    else this.#waiting[2].leave();
    this.#sent.delete(outgoing.packetId);
    this.#received.set(outgoing.packetId, outgoing);
    this.#journal.change(RECEIVED_RECORD, outgoing.number);
  }

  /** PUBREL, once the store knows of PUBREC; when that was for nothing, it says so. */
  #release(packetId: number): void {
    const code = this.#version === 4 || this.#received.has(packetId) ? 0 : UNKNOWN_ID;
    this.#journal.afterwards(() => this.#output.acknowledge(PUBREL, packetId, code));
  }

  /** A message is done. */
  #end(outgoing: Outgoing, error?: MqttError): void {
    const { qos, packetId, state, number } = outgoing;
    outgoing.state = DONE;
    this.#journal.change(DONE_RECORD, number);
    if (state === SENT) this.#sending[qos]--;
    if (state === WAITING) this.#waiting[qos].leave();
    if (packetId > 0) (state === RECEIVED ? this.#received : this.#sent).delete(packetId);
    if (packetId > 0 && qos === 2) this.#freed?.giveBack(packetId);
    this.#shelf.drop(outgoing);
    if (this.#shelf.isSparse) this.#shelf.compact(this.all);
    this.#pending--;
    this.settle(outgoing, error);
    this.#onDone(number, error);
  }

  /** Whoever waits for the message waits no longer. */
  settle(outgoing: Outgoing, error: MqttError | undefined): void {
    const { call } = outgoing;
    if (call === undefined) return error && this.#tell(outgoing, error);
    outgoing.call = undefined;
    this.#calls--;
    const { code } = outgoing;
    this.#events.settle(call, error === undefined ? code === 0 ? ACKNOWLEDGED : { code } : { error });
  }

  /** Nobody waits for a message that was given up: the status tells it. */
  #tell(outgoing: Outgoing, error: MqttError): void {
    this.#events.tell({ type: "dropped", topic: topicOf(outgoing), size: outgoing.size, error });
  }

  // ---- connections

  /** The connection is lost: what was sent on it waits again, before the others. */
  lost(): void {
    for (const qos of [1, 2] as const) {
      const again = [...this.#sent.values()].filter((outgoing) => outgoing.qos === qos && outgoing.state === SENT);
      for (const outgoing of again) outgoing.state = WAITING;
      this.#waiting[qos].putBack(again);
      this.#sending[qos] = 0;
    }
    this.#held = 0;
    this.#receiveMaximum = Infinity;
    this.#shelf.limit(Infinity);
  }

  /** The broker has accepted. `isTakenOver`: its session is that of a client before this one, whose messages nobody knows. */
  connected(
    { sessionPresent, isTakenOver, limits }: { sessionPresent: boolean; isTakenOver: boolean; limits: Limits },
  ): void {
    this.#receiveMaximum = limits.receiveMaximum;
    if (isTakenOver && this.#freed === undefined) {
      const { maxInflightQoS2 } = this.#settings;
      this.#freed = new FreedIds(this.#ids, this.#output, Math.min(maxInflightQoS2, MOST_FREED));
    }
    if (!sessionPresent) this.#forget();
    for (const { packetId } of this.#received.values()) this.#release(packetId);
    this.#shelf.limit(limits.maxPacketSize);
    if (isLimited(limits)) this.#refuse(limits);
    this.#freed?.connected();
  }

  /** Gives up what the broker of this connection does not take, also such as was sent to one that did. */
  #refuse(limits: Limits): void {
    for (const outgoing of this.all) {
      const { page, start, size, state, qos, packetId } = outgoing;
      const error = messageUnsupported(limits, { flags: page.bytes[start]! & 15, size });
      if (error === undefined || state !== WAITING) continue;
      this.#abandon(outgoing, error);
      if (qos === 2 && packetId > 0) this.#release(packetId);
    }
  }

  /**
   * Gives up a message that waits. One of QoS 2 that was sent, the broker may have: it keeps the packet identifier until it
   * gets PUBREL, and would take another message with that for a repeat. So it goes on as if PUBREC had come, over
   * connections, and has failed when PUBCOMP comes.
   */
  #abandon(outgoing: Outgoing, error: MqttError): void {
    if (outgoing.qos !== 2 || outgoing.packetId <= 0) return this.#end(outgoing, error);
    outgoing.refusal = error;
    this.#receive(outgoing);
  }

  /** The broker has forgotten the session, and what it knew of the messages that were sent. */
  #forget(): void {
    this.#freed?.clear();
    this.#freed = undefined;
    const { sessionLost } = this.#settings;
    // In the order of accepting, whatever that of the PUBRECs was.
    const all = [...this.#received.values(), ...this.#sent.values()].sort((one, other) => one.number - other.number);
    this.#received.clear();
    this.#sent.clear();
    // Those of QoS 1 wait already, and so do some of QoS 2.
    this.#waiting[2].keepUnsent();
    this.#waiting[2].putBack(all.filter(({ qos }) => qos === 2));
    for (const outgoing of all) {
      outgoing.state = WAITING;
      outgoing.packetId = ANEW;
      outgoing.refusal = undefined;
    }
    for (const outgoing of all) {
      const isSentAgain = sessionLost === undefined ? outgoing.qos === 1 : sessionLost === "resend";
      if (!isSentAgain) this.#end(outgoing, sessionLostError());
    }
  }

  /** Nobody waits any more, for this reason; the messages stay. */
  fail(error: MqttError): void {
    if (this.#calls === 0) return;
    for (const outgoing of this.all) if (outgoing.call !== undefined) this.settle(outgoing, error);
  }

  /** The messages that are not done: first those that the broker has received, in the order of PUBREC. */
  get all(): Outgoing[] {
    const unsent = [...this.#waiting[0], ...this.#waiting[1], ...this.#waiting[2]].filter(isUnsent);
    return [...this.#received.values(), ...this.#sent.values(), ...unsent];
  }
}
