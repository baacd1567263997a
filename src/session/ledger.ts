/** What a session has in its store: what it says of each message there, and whose session it is.
 * @module */

import type { MqttError } from "../errors.ts";
import { LazyMap } from "../lazy.ts";
import type { Events } from "./events.ts";
import { notReplaced, notStored } from "./failures.ts";
import type { Flight } from "./flight.ts";
import {
  CONNECTED,
  encodeClient,
  type Journal,
  type Keeping,
  RECEIVED as RECEIVED_RECORD,
  RECORDED,
  SENT as SENT_RECORD,
} from "./journal.ts";
import { bytesOf, DONE, type Outgoing, RECEIVED } from "./outgoing.ts";
import type { Receiver } from "./receiver.ts";
import type { Durable } from "./settings.ts";

/** A message has so many records at the most, of so many bytes besides the packet: ACCEPTED, SENT and RECEIVED. */
const RECORDS = 3;
const RECORD_SIZE = 17;
/** That of RECORDED. */
const RECORDED_SIZE = 5;

/** A message, and what it was when the store began to replace what it has. */
interface Then {
  readonly outgoing: Outgoing;
  readonly packetId: number;
  readonly state: Outgoing["state"];
}

/** Whose session it is, and where its records come from and go. */
export interface LedgerParts {
  /** The client identifier. */
  readonly id: string;
  readonly journal: Journal;
  readonly events: Events;
  readonly flight: Flight;
  readonly receiver: Receiver;
}

/** Without a store, everything counts as kept at once. */
export class Ledger implements Keeping {
  readonly #parts: LedgerParts;
  /** By number: those that the store does not have yet. */
  readonly #unkept = new LazyMap<number, Outgoing>();
  /** Whether a broker may have the session: of this client, or of the process before. */
  #isKnown: boolean;
  /** Whether the broker's session is that of a client before this one, whose messages no store has. */
  #isTakenOver: boolean;
  /** Whether there is a store, and it was empty when the process began. */
  readonly #isNew: boolean;
  /** Whether the next connection asks the broker to forget the session that it has. */
  startsAnew = false;

  /** Takes what the process before has left. */
  constructor(durable: Durable | undefined, parts: LedgerParts, now: number) {
    this.#parts = parts;
    const { id, journal, events, flight } = parts;
    const { restored, problems = [] } = durable ?? {};
    this.#isKnown = restored?.wasConnected ?? false;
    this.#isNew = restored?.size === 0;
    this.#isTakenOver = restored?.isTakenOver ?? false;
    if (durable !== undefined) flight.restore(durable.restored, now - durable.log.wall());
    if (restored?.id === undefined) journal.client(id);
    for (const error of problems) events.tell({ type: "store", error });
    // The broker may hold packet identifiers that the log has lost.
    if (problems.length === 0 || !this.#isKnown) return;
    this.#isTakenOver = true;
    journal.change(CONNECTED, 1);
  }

  /** A message of QoS 1 or 2 was accepted. `untilStored`: its call waits no longer than until the store has it. */
  accepted(outgoing: Outgoing, untilStored: boolean, now: number): void {
    const { journal, flight } = this.#parts, { number, due, qos } = outgoing;
    if (!journal.isDurable || qos === 0) {
      if (untilStored) flight.settle(outgoing, undefined);
      return;
    }
    journal.accepted({ number, due, packet: bytesOf(outgoing) }, now);
    this.#unkept.set(number, outgoing);
    outgoing.untilStored = untilStored;
  }

  /** Whether the session that a broker has, or has not, is that of a client before this one, whose messages nobody knows. */
  isTakenOver(sessionPresent: boolean): boolean {
    return sessionPresent && (this.#isTakenOver || !this.#isKnown);
  }

  /** Whether the session that a broker has is that of a store that is gone. */
  isOrphaned(sessionPresent: boolean): boolean {
    return sessionPresent && this.#isNew && !this.#isKnown;
  }

  /** The broker has accepted; what became of the messages of a session that is lost stands before it. */
  connected(sessionPresent: boolean): void {
    this.startsAnew = false;
    this.#isTakenOver = this.isTakenOver(sessionPresent);
    if (!sessionPresent || !this.#isKnown) this.#parts.journal.change(CONNECTED, sessionPresent ? 1 : 0);
    this.#isKnown = true;
  }

  /** Whether something is to be kept, or waits for that. */
  get isBusy(): boolean {
    return this.#parts.journal.isBusy;
  }

  // ---- what the store says

  /** All that was to be kept is. */
  stored(): void {
    this.#parts.journal.flushed(this);
  }

  /** It is not: what was accepted fails, and the rest is tried again. */
  notStored(cause: unknown, now: number): void {
    const { journal, events } = this.#parts, error = notStored(cause);
    journal.failed(error, this, now);
    events.tell({ type: "store", error });
  }

  /** The store could not be replaced: it goes on as it was, and that is tried again when it has doubled. */
  notReplaced(cause: unknown): void {
    this.#parts.events.tell({ type: "store", error: notReplaced(cause) });
  }

  /** The store has these messages. */
  kept(numbers: readonly number[]): void {
    for (const number of numbers) {
      const outgoing = this.#unkept.get(number);
      this.#unkept.delete(number);
      if (outgoing?.untilStored) this.#parts.flight.settle(outgoing, undefined);
    }
  }

  /** The store cannot keep these messages: they are given up. */
  notKept(numbers: readonly number[], error: MqttError): void {
    for (const number of numbers) {
      const outgoing = this.#unkept.get(number);
      this.#unkept.delete(number);
      if (outgoing !== undefined) this.#parts.flight.giveUp(outgoing, error);
    }
  }

  // ---- the records

  /** Whether half of what the store has means nothing any more: then it is to be replaced by `records`. */
  get isSparse(): boolean {
    const { bytes, records } = this.#live;
    return this.#parts.journal.isSparse(bytes, records);
  }

  /** The bytes, and the number, of the records that mean something, at the most. */
  get #live(): { bytes: number; records: number } {
    const { flight, receiver: { recorded } } = this.#parts, { pending, bytes } = flight;
    const ofMessages = RECORDS * pending;
    return {
      bytes: bytes + RECORD_SIZE * ofMessages + RECORDED_SIZE * recorded.size,
      records: ofMessages + recorded.size,
    };
  }

  /**
   * The records of what is in the store, and means something: as it is now, whenever they are asked for, so that the
   * records which are appended meanwhile fit behind them. Only messages that are done by then are left out.
   */
  records(now: number): Iterable<Uint8Array> {
    const { journal, flight, receiver } = this.#parts, { bytes, records } = this.#live;
    journal.replaced(bytes, records);
    const all = flight.all.filter(({ qos, number }) => qos > 0 && !this.#unkept.has(number));
    const messages = all.map((outgoing) => ({ outgoing, packetId: outgoing.packetId, state: outgoing.state }));
    const connected = this.#isKnown ? [this.#isTakenOver ? 1 : 0] : [];
    return this.#encode(connected, messages, [...receiver.recorded], journal.offset(now));
  }

  *#encode(
    connected: readonly number[],
    messages: readonly Then[],
    recorded: readonly number[],
    offset: number,
  ): IterableIterator<Uint8Array> {
    const { id, journal } = this.#parts;
    yield encodeClient(id);
    for (const isPresent of connected) yield journal.encodeChange(CONNECTED, isPresent);
    for (const { outgoing, packetId, state } of messages) {
      if (outgoing.state === DONE) continue;
      const { number, due } = outgoing;
      yield journal.encodeAccepted({ number, due, packet: bytesOf(outgoing) }, offset);
      if (packetId > 0) yield journal.encodeChange(SENT_RECORD, number, packetId);
      if (state === RECEIVED) yield journal.encodeChange(RECEIVED_RECORD, number);
    }
    for (const packetId of recorded) yield journal.encodeChange(RECORDED, packetId);
  }
}
