/** What a durable session writes into its log: each change is a record.
 * @module */

import type { MqttError } from "../errors.ts";
import { utf8 } from "../protocol/bytes.ts";
import type { Version } from "../protocol/packet.ts";
import { viewOf } from "../protocol/wire.ts";
import { Fifo } from "./fifo.ts";

/**
 * Record types; a record is its type in one byte, and then:
 *
 * | type | what follows | what it says |
 * |---|---|---|
 * | `CLIENT` | the client identifier, UTF-8 | whose session it is; among the first records |
 * | `CONNECTED` | 1 or 0 | the broker has accepted, for the first time and with a session that no store knew of; or with a new session |
 * | `ACCEPTED` | number, due, PUBLISH packet | a message is to be sent |
 * | `SENT` | number, count, packet identifier | it may have been sent, from now on with this identifier |
 * | `RECEIVED` | number, count | PUBREC has come: it is not sent again, PUBREL is |
 * | `DONE` | number, count | it is acknowledged, or given up |
 * | `RECORDED` | packet identifier, count | a message of QoS 2 that the broker has sent is settled |
 * | `RELEASED` | packet identifier, count | the broker will not send that again |
 * | `ACCEPTED5` | as `ACCEPTED` | the same of a PUBLISH of MQTT 5, which has properties |
 *
 * A number counts the messages that were accepted, `due` is when one gets stale, in milliseconds since 1970 or Infinity:
 * eight bytes each, IEEE 754; packet identifiers and counts have two. All are big-endian. A count is of messages, or
 * identifiers, one after the other: a run of them takes one record, as most changes come in runs.
 */
export const CLIENT = 0, CONNECTED = 1, ACCEPTED = 2, SENT = 3, RECEIVED = 4, DONE = 5, RECORDED = 6, RELEASED = 7;
export const ACCEPTED5 = 8;

/** What a store adds to each record, about; bytes. */
export const FRAME = 16;
/** After so many milliseconds it is tried again to keep what could not be kept. */
const RETRY = 1000;

/** A run is no longer than a count can say. */
const LONGEST = 65_535;
/** A change takes so many numbers: its type, what it is of, a packet identifier, a count. */
const FIELDS = 4;

/** What is written to. */
export interface Log {
  /** Adds a record; the memory is the caller's again when it returns. */
  append(record: Uint8Array): void;
  /** Milliseconds since 1970. */
  wall(): number;
  /** So many bytes of records that mean nothing any more are kept anyway. */
  readonly slack: number;
}

/** A message as it is written down. */
export interface Accepted {
  readonly number: number;
  /** When it gets stale; milliseconds, or Infinity. */
  readonly due: number;
  readonly packet: Uint8Array;
}

/** What becomes of accepted messages. */
export interface Keeping {
  /** They are in the store. */
  kept(numbers: readonly number[]): void;
  /** They could not be kept. */
  notKept(numbers: readonly number[], error: MqttError): void;
}

/**
 * Writes records, and holds back what must not be done before they are kept: a packet that goes out first, and a process
 * that ends then, would leave a session that does not know of it.
 *
 * All that is written while one flush is under way is of the next. When one fails, the messages accepted in it are
 * rejected, and what was said of them is forgotten. The other changes are written again, until they are kept. Their order
 * is that in which they came, always, as any beginning of what is flushed may be all that is left of it: they are appended
 * when a flush begins. Messages do not depend on what came before them, and are appended at once.
 */
export class Journal {
  readonly #log: Log | undefined;
  /** The type of the records that have messages. */
  #accepts = ACCEPTED;
  /** Runs of changes that are not kept yet, and how many of these numbers are of those that are being flushed. */
  #changes: number[] = [];
  #flushedChanges = 0;
  /** Whose session it is, as long as the log does not say so. */
  #client: string | undefined;
  /** The messages that were accepted, and are not kept yet; and how many of them are being flushed. */
  #accepted: number[] = [];
  #flushedAccepted = 0;
  /** What waits for the flush under way, and for the one after that. */
  readonly #held = new Fifo<{ readonly flush: number; readonly act: () => void }>();
  /** Flushes that were begun, and whether one is under way. */
  #flushes = 0;
  #isFlushing = false;
  /** Whether there is something to be flushed. */
  #isDirty = false;
  /** When to try again what has failed; Infinity when nothing has. */
  #retryAt = Infinity;
  /** Bytes of the log, about. */
  #size = 0;
  /** Where a record is put together, where there is a log: of an idle client that was 1.3 KiB of 18. */
  #scratch!: Uint8Array;
  #view!: DataView;

  /** Without a log, nothing is written, and everything is done at once. */
  constructor(log: Log | undefined, size: number, version: Version = 4) {
    this.#log = log;
    if (log !== undefined) this.#grow(512);
    this.speak(version);
    this.#size = size;
  }

  /** Messages are of this version from now on. */
  speak(version: Version): void {
    this.#accepts = version === 5 ? ACCEPTED5 : ACCEPTED;
  }

  /** Whether there is a log. */
  get isDurable(): boolean {
    return this.#log !== undefined;
  }

  /** Whether something is held back, or is to be kept. */
  get isBusy(): boolean {
    return this.#isFlushing || this.#isDirty || this.#held.length > 0;
  }

  /** When `retry` wants to be called; Infinity when never. */
  get due(): number {
    return this.#retryAt;
  }

  // ---- records

  /** The log is new: says whose session it is. */
  client(id: string): void {
    if (this.#log === undefined) return;
    this.#client = id;
    this.#append(encodeClient(id));
  }

  /** A message is accepted. */
  accepted(message: Accepted, now: number): void {
    if (this.#log === undefined) return;
    this.#append(this.encodeAccepted(message, this.offset(now)));
    this.#accepted.push(message.number);
  }

  /** Another change: of a message, by its number, or of a packet identifier. One that goes on with a run is of that. */
  change(type: number, of: number, packetId = 0): void {
    if (this.#log === undefined) return;
    this.#isDirty = true;
    const changes = this.#changes, last = changes.length - FIELDS;
    const count = last >= this.#flushedChanges && changes[last] === type ? changes[last + 3]! : 0;
    const isNext = count > 0 && count < LONGEST && changes[last + 1]! + count === of &&
      (type !== SENT || changes[last + 2]! + count === packetId);
    if (isNext && type !== CONNECTED) changes[last + 3] = count + 1;
    else changes.push(type, of, packetId, 1);
  }

  #append(record: Uint8Array): void {
    this.#size += FRAME + record.length;
    this.#isDirty = true;
    this.#log!.append(record);
  }

  /** How much later than the session's clock that of the log is, now; milliseconds. */
  offset(now: number): number {
    return this.#log!.wall() - now;
  }

  /** The record of a message; its memory is used again for the next one. `offset`: of the clocks, as it is, or was. */
  encodeAccepted({ number, due, packet }: Accepted, offset: number): Uint8Array {
    const size = 17 + packet.length;
    if (size > this.#scratch.length) this.#grow(size);
    this.#scratch[0] = this.#accepts;
    this.#view.setFloat64(1, number);
    this.#view.setFloat64(9, due + offset);
    this.#scratch.set(packet, 17);
    return this.#scratch.subarray(0, size);
  }

  /** The record of a run of changes; its memory is used again for the next one. */
  encodeChange(type: number, of: number, packetId = 0, count = 1): Uint8Array {
    const scratch = this.#scratch, view = this.#view;
    scratch[0] = type;
    switch (type) {
      case CONNECTED:
        scratch[1] = of;
        return scratch.subarray(0, 2);
      case RECORDED:
      case RELEASED:
        view.setUint16(1, of);
        view.setUint16(3, count);
        return scratch.subarray(0, 5);
      case SENT:
        view.setFloat64(1, of);
        view.setUint16(9, count);
        view.setUint16(11, packetId);
        return scratch.subarray(0, 13);
      default:
        view.setFloat64(1, of);
        view.setUint16(9, count);
        return scratch.subarray(0, 11);
    }
  }

  #grow(size: number): void {
    this.#scratch = new Uint8Array(2 * size);
    this.#view = viewOf(this.#scratch);
  }

  // ---- what waits for them

  /** Does something once all that was written is kept: in this order, and at once if it is. */
  afterwards(act: () => void): void {
    if (!this.#isDirty && !this.#isFlushing && this.#held.length === 0) act();
    else this.#held.push({ flush: this.#isDirty ? this.#flushes + 1 : this.#flushes, act });
  }

  /** The connection is lost: what was held back was meant for it. */
  lost(): void {
    this.#held.clear();
  }

  // ---- flushes

  /** Whether there is something to flush, and no flush under way: then that is to be done, and `flushed` or `failed`. */
  begin(): boolean {
    if (!this.#isDirty || this.#isFlushing || this.#retryAt < Infinity) return false;
    const changes = this.#changes;
    for (let i = 0; i < changes.length; i += FIELDS) {
      this.#append(this.encodeChange(changes[i]!, changes[i + 1]!, changes[i + 2]!, changes[i + 3]!));
    }
    this.#flushedChanges = changes.length;
    this.#isFlushing = true;
    this.#isDirty = false;
    this.#flushes++;
    this.#flushedAccepted = this.#accepted.length;
    return true;
  }

  /** What was written before the flush is kept. */
  flushed(keeping: Keeping): void {
    this.#isFlushing = false;
    this.#client = undefined;
    this.#changes = this.#changes.slice(this.#flushedChanges);
    this.#flushedChanges = 0;
    const accepted = this.#accepted;
    this.#accepted = accepted.slice(this.#flushedAccepted);
    accepted.length = this.#flushedAccepted;
    if (accepted.length > 0) keeping.kept(accepted);
    while (this.#held.first !== undefined && this.#held.first.flush <= this.#flushes) this.#held.shift()!.act();
  }

  /** It is not: the messages are given up, and everything else is tried again. */
  failed(error: MqttError, keeping: Keeping, now: number): void {
    this.#isFlushing = false;
    this.#isDirty = true;
    this.#retryAt = now + RETRY;
    this.#flushedChanges = 0;
    const accepted = this.#accepted.splice(0, this.#flushedAccepted);
    keeping.notKept(accepted, error);
    this.#forget(new Set(accepted));
  }

  /** Forgets what was said of messages that the log does not have. */
  #forget(numbers: ReadonlySet<number>): void {
    const changes = this.#changes;
    this.#changes = [];
    for (let i = 0; i < changes.length; i += FIELDS) {
      const type = changes[i]!, isOfMessage = type === SENT || type === RECEIVED || type === DONE;
      for (let j = 0; j < changes[i + 3]!; j++) {
        const of = changes[i + 1]! + j;
        if (!isOfMessage || !numbers.has(of)) this.change(type, of, changes[i + 2]! + j);
      }
    }
  }

  /** The time has come to try again. */
  retry(): void {
    this.#retryAt = Infinity;
    if (this.#client !== undefined) this.#append(encodeClient(this.#client));
  }

  // ---- the size of the log

  /** Whether half of the log means nothing any more, when `live` bytes in so many records mean something. */
  isSparse(live: number, records: number): boolean {
    return this.#log !== undefined && this.#size > 2 * (live + FRAME * records) + this.#log.slack;
  }

  /** The log was written anew with so many bytes in so many records; or it was not, and that is not tried before it has doubled. */
  replaced(bytes: number, records: number): void {
    this.#size = bytes + FRAME * records;
  }
}

/** The record that says whose session it is. */
export function encodeClient(id: string): Uint8Array {
  const bytes = utf8.encode(id);
  const record = new Uint8Array(1 + bytes.length);
  record[0] = CLIENT;
  record.set(bytes, 1);
  return record;
}
