/** Messages of QoS 1 and 2 on their way to the broker, until it has acknowledged them.
 * @module */

import { MqttError } from "../errors.ts";
import type { Output } from "../protocol/output.ts";
import { type AckPacket, PUBACK, PUBCOMP, PUBREC, PUBREL } from "../protocol/packet.ts";
import type { Call, Events } from "./events.ts";
import { Fifo } from "./fifo.ts";
import type { PacketIds } from "./packet_ids.ts";
import { Shelf, type Shelved, stamp } from "./shelf.ts";

/** While less than this waits to be written, messages are handed to the output: what is in there is there twice. */
const HANDED_OVER = 262_144;

/** What becomes of the messages that were sent and not acknowledged when the broker has forgotten the session. */
export type SessionLost = "resend" | "reject";

/** How many messages may be sent and not acknowledged, in all and of QoS 2, and how many bytes accepted. */
export interface FlightSettings {
  readonly maxInflight: number;
  readonly maxInflightQoS2: number;
  readonly maxBuffered: number;
  readonly sessionLost: SessionLost | undefined;
}

/** Where a message is. */
const WAITING = 0, SENT = 1, RECEIVED = 2, DONE = 3;

/** In place of a packet identifier: it was never sent, or only in a session that the broker has forgotten. */
const NEW = 0, ANEW = -1;

/** Of so many packet identifiers of QoS 2 a client makes sure that takes a session over. */
const MOST_FREED = 1000;

/** The outcome of a message that is acknowledged. */
const ACKNOWLEDGED = { code: 0 };

/** A message that was accepted. */
export interface Outgoing extends Shelved {
  readonly qos: 1 | 2;
  /** Counts what was accepted. */
  readonly number: number;
  /** Who waits; undefined when nobody does any more. */
  call: Call | undefined;
  /**
   * | state | what the broker has | what ends it |
   * |---|---|---|
   * | `WAITING` | nothing, or it was sent on a connection that is lost | the window has room |
   * | `SENT` | PUBLISH on this connection | PUBACK, PUBREC |
   * | `RECEIVED` | the message: it has sent PUBREC | PUBCOMP |
   * | `DONE` | | |
   */
  state: typeof WAITING | typeof SENT | typeof RECEIVED | typeof DONE;
  /** `NEW` or `ANEW` until it is sent. */
  packetId: number;
}

/** Hears what becomes of a message, by its number: it is acknowledged or withdrawn, or has failed. */
export type OnDone = (number: number, error: MqttError | undefined) => void;

/** What it works with. */
export interface FlightParts {
  readonly output: Output;
  readonly events: Events;
  readonly ids: PacketIds;
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
  readonly #output: Output;
  readonly #events: Events;
  readonly #ids: PacketIds;
  readonly #onDone: OnDone;
  readonly #shelf: Shelf;
  /** Those that wait, in the order of accepting; among them such as do not wait any more. */
  readonly #waiting: Record<1 | 2, Fifo<Outgoing>> = { 1: new Fifo(), 2: new Fifo() };
  /** How many of those do not wait any more. */
  readonly #stale: Record<1 | 2, number> = { 1: 0, 2: 0 };
  /** How many are `SENT`. */
  readonly #sending: Record<1 | 2, number> = { 1: 0, 2: 0 };
  /** By packet identifier: those that were sent, in that order, and those that the broker has received, in the order of PUBREC. */
  readonly #sent: Map<number, Outgoing> = new Map();
  readonly #received: Map<number, Outgoing> = new Map();
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

  constructor(settings: FlightSettings, { output, events, ids, onDone }: FlightParts) {
    this.#settings = settings;
    this.#output = output;
    this.#events = events;
    this.#ids = ids;
    this.#onDone = onDone;
    this.#shelf = new Shelf(settings.maxBuffered);
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
  publish(topic: string, message: string | Uint8Array, flags: number, call: Call): Outgoing {
    const { page, start, size } = this.#shelf.last(this.#shelf.publish(topic, message, flags));
    const qos = (flags & 6) >> 1 as 1 | 2;
    const outgoing: Outgoing = {
      page,
      start,
      size,
      qos,
      number: this.#accepted++,
      call,
      state: WAITING,
      packetId: NEW,
    };
    this.#pending++;
    this.#calls++;
    this.#waiting[qos].push(outgoing);
    return outgoing;
  }

  /** Takes back a message, if it was never sent: its call fails, and nobody else's. */
  withdraw(outgoing: Outgoing, error: MqttError): void {
    if (outgoing.state !== WAITING || outgoing.packetId !== NEW) return;
    this.#settle(outgoing, error);
    this.#end(outgoing);
  }

  // ---- to the broker

  /** Hands over to the output what the window has room for. */
  fill(): void {
    if (this.#waiting[1].length + this.#waiting[2].length === 0) return; // with each write of QoS 0
    const output = this.#output;
    let page: Outgoing["page"] | undefined, start = 0, end = 0;
    while (output.buffered + end - start < HANDED_OVER) {
      const next = this.#next();
      if (next === undefined) break;
      if (next.page !== page || next.start !== end) {
        if (page !== undefined) output.addCopies(page.bytes.subarray(start, end));
        ({ page, start } = next);
      }
      end = next.start + next.size;
    }
    if (page !== undefined) output.addCopies(page.bytes.subarray(start, end));
  }

  /** The next message that is sent, stamped; undefined when the window has no room for one. */
  #next(): Outgoing | undefined {
    const { maxInflight, maxInflightQoS2 } = this.#settings;
    const received = this.#received.size, qos1 = this.#sending[1], qos2 = this.#sending[2] + received;
    if (qos1 + qos2 >= maxInflight) return undefined;
    const first = this.#first(1), other = qos2 < maxInflightQoS2 ? this.#first(2) : undefined;
    // Of QoS 2 there may be no packet identifier yet: QoS 1 does not wait for that.
    const isOther = other !== undefined && (first === undefined || other.number < first.number) && this.#stamp(other);
    const next = isOther ? other : first;
    if (next === undefined || !isOther && !this.#stamp(next)) return undefined;
    this.#waiting[next.qos].shift();
    this.#sending[next.qos]++;
    next.state = SENT;
    return next;
  }

  /** The first message of a QoS that waits. */
  #first(qos: 1 | 2): Outgoing | undefined {
    const waiting = this.#waiting[qos];
    while (waiting.first !== undefined && waiting.first.state !== WAITING) {
      waiting.shift();
      this.#stale[qos]--;
    }
    return waiting.first;
  }

  /** One of those that wait does not wait any more: when half of them do not, they are swept out. */
  #leave(qos: 1 | 2): void {
    const waiting = this.#waiting[qos];
    if (2 * ++this.#stale[qos] < waiting.length) return;
    waiting.discard(({ state }) => state !== WAITING);
    this.#stale[qos] = 0;
  }

  /** Gives the packet its packet identifier, or DUP when it has one; whether there was an identifier. */
  #stamp(next: Outgoing): boolean {
    const isNew = next.packetId === NEW;
    const isRepeat = next.packetId > 0;
    if (!isRepeat) {
      const packetId = next.qos === 2 && this.#freed ? this.#freed.take() : this.#ids.next();
      if (packetId === undefined) return false;
      next.packetId = packetId;
      this.#sent.set(packetId, next);
    }
    stamp(next, next.packetId, { dup: isRepeat });
    if (isNew) this.sent++;
    else this.resent++;
    return true;
  }

  // ---- from the broker

  /** PUBACK, PUBREC or PUBCOMP. One that is for nothing is counted: brokers repeat them rightly when a message is sent again. */
  answered(type: AckPacket["type"], packetId: number): void {
    const outgoing = (type === PUBCOMP ? this.#received : this.#sent).get(packetId);
    if (outgoing !== undefined && type === PUBACK && outgoing.qos === 1) return this.#end(outgoing);
    if (type === PUBCOMP && outgoing !== undefined) return this.#end(outgoing);
    if (type === PUBCOMP && this.#freed?.add(packetId)) return;
    if (type === PUBREC && outgoing?.qos === 2) this.#receive(outgoing);
    else this.ignored++;
    // Also when it is unknown: the broker would keep the identifier. Not of one that is in use for something else.
    if (type === PUBREC && outgoing?.qos !== 1) this.#output.acknowledge(PUBREL, packetId);
  }

  /** The broker has received the message; it is never sent again, and PUBREL is, in the order of PUBREC [MQTT-4.6.0-4]. */
  #receive(outgoing: Outgoing): void {
    const { state } = outgoing;
    outgoing.state = RECEIVED;
    if (state === SENT) this.#sending[2]--;
    else this.#leave(2);
    this.#sent.delete(outgoing.packetId);
    this.#received.set(outgoing.packetId, outgoing);
  }

  /** A message is done. */
  #end(outgoing: Outgoing, error?: MqttError): void {
    const { qos, packetId, state, number } = outgoing;
    outgoing.state = DONE;
    if (state === SENT) this.#sending[qos]--;
    if (state === WAITING) this.#leave(qos);
    if (packetId > 0) (state === RECEIVED ? this.#received : this.#sent).delete(packetId);
    if (packetId > 0 && qos === 2) this.#freed?.giveBack(packetId);
    this.#shelf.drop(outgoing);
    if (this.#shelf.isSparse) this.#shelf.compact(this.#all);
    this.#pending--;
    this.#settle(outgoing, error);
    this.#onDone(number, error);
  }

  #settle(outgoing: Outgoing, error: MqttError | undefined): void {
    const { call } = outgoing;
    if (call === undefined) return;
    outgoing.call = undefined;
    this.#calls--;
    this.#events.settle(call, error === undefined ? ACKNOWLEDGED : { error });
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
  }

  /** The broker has accepted. `isFirst`: no broker has accepted this client before, so a session that is present is that of an earlier process. */
  connected({ sessionPresent, isFirst }: { sessionPresent: boolean; isFirst: boolean }): void {
    if (sessionPresent && isFirst) {
      const { maxInflightQoS2 } = this.#settings;
      this.#freed = new FreedIds(this.#ids, this.#output, Math.min(maxInflightQoS2, MOST_FREED));
    }
    if (!sessionPresent) this.#forget();
    for (const packetId of this.#received.keys()) this.#output.acknowledge(PUBREL, packetId);
    this.#freed?.connected();
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
    this.#waiting[2].discard(({ packetId, state }) => packetId > 0 || state !== WAITING);
    this.#stale[2] = 0;
    this.#waiting[2].putBack(all.filter(({ qos }) => qos === 2));
    for (const outgoing of all) {
      outgoing.state = WAITING;
      outgoing.packetId = ANEW;
    }
    for (const outgoing of all) {
      const isSentAgain = sessionLost === undefined ? outgoing.qos === 1 : sessionLost === "resend";
      if (!isSentAgain) this.#end(outgoing, sessionLostError());
    }
  }

  /** Nobody waits any more, for this reason; the messages stay. */
  fail(error: MqttError): void {
    if (this.#calls === 0) return;
    for (const outgoing of this.#all) this.#settle(outgoing, error);
  }

  /** The messages that are not done. */
  get #all(): Outgoing[] {
    const isUnsent = ({ state, packetId }: Outgoing) => state === WAITING && packetId <= 0;
    const unsent = [...this.#waiting[1], ...this.#waiting[2]].filter(isUnsent);
    return [...this.#received.values(), ...this.#sent.values(), ...unsent];
  }
}

/** Packet identifiers of QoS 2 that the broker does not hold: it was told with PUBREL, and has answered with PUBCOMP. */
class FreedIds {
  readonly #ids: PacketIds;
  readonly #output: Output;
  readonly #most: number;
  readonly #asked = new Set<number>();
  readonly #free = new Set<number>();
  /** Whether they are wanted. */
  #isWanted = false;

  /** `most`: of how many it makes sure. */
  constructor(ids: PacketIds, output: Output, most: number) {
    this.#ids = ids;
    this.#output = output;
    this.#most = most;
    ids.add(this.#asked);
    ids.add(this.#free);
  }

  /** One that is free; undefined when there is none yet. */
  take(): number | undefined {
    if (!this.#isWanted) this.#ask();
    const [packetId] = this.#free;
    if (packetId !== undefined) this.#free.delete(packetId);
    return packetId;
  }

  /** Has the broker free as many as are used. */
  #ask(): void {
    this.#isWanted = true;
    while (this.#asked.size < this.#most) {
      const packetId = this.#ids.next();
      if (packetId === undefined) break;
      this.#asked.add(packetId);
      this.#output.acknowledge(PUBREL, packetId);
    }
  }

  /** PUBCOMP; whether it was asked for. */
  add(packetId: number): boolean {
    if (!this.#asked.delete(packetId)) return false;
    this.#free.add(packetId);
    return true;
  }

  /** It is not in use any more. */
  giveBack(packetId: number): void {
    this.#free.add(packetId);
  }

  /** There is another connection: asks again. */
  connected(): void {
    for (const packetId of this.#asked) this.#output.acknowledge(PUBREL, packetId);
  }

  /** The broker holds none any more. */
  clear(): void {
    this.#asked.clear();
    this.#free.clear();
  }
}

function sessionLostError(): MqttError {
  return new MqttError(
    "sessionlost",
    "The broker has forgotten the session: the message was sent, and it is not known whether it has arrived",
  );
}
