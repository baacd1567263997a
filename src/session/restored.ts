/** What the records of a log make: the session that a process before this one had.
 * @module */

import { MqttError } from "../errors.ts";
import type { Version } from "../protocol/packet.ts";
import {
  ACCEPTED,
  type Accepted,
  ACCEPTED5,
  CLIENT,
  CONNECTED,
  DONE,
  FRAME,
  RECEIVED,
  RECORDED,
  RELEASED,
  SENT,
} from "./journal.ts";

/** A message that was accepted and is not done. */
export interface RestoredMessage extends Accepted {
  /** 0 when it was never sent. */
  packetId: number;
  /** The version of its packet. */
  readonly version: Version;
}

/**
 * Reads records. Any part of them may be missing, when the log was damaged: what is said of a message that is not known
 * says nothing, and nothing is made up.
 */
export class Restored {
  /** Whose session it is; undefined when there is none. */
  id: string | undefined;
  /** Whether a broker has accepted the client. */
  wasConnected = false;
  /** Whether the broker had a session then that no store knew of. */
  isTakenOver = false;
  /** The messages that are not done, by their number, in the order of accepting; and those that the broker has, in the order of PUBREC. */
  readonly messages: Map<number, RestoredMessage> = new Map();
  readonly received: Set<number> = new Set();
  /** The packet identifiers of messages of QoS 2 that were settled, and not released. */
  readonly recorded: Set<number> = new Set();
  /** Who has a packet identifier, or had it last. */
  readonly #users = new Map<number, RestoredMessage>();
  /** How many messages were accepted in all, and the bytes of all records. */
  accepted = 0;
  size = 0;

  /** Takes the next record. */
  read(record: Uint8Array): void {
    const view = new DataView(record.buffer, record.byteOffset, record.length);
    const [type] = record, { length } = record;
    this.size += length + FRAME;
    if (type === CLIENT) {
      this.id = new TextDecoder().decode(record.subarray(1));
    } else if (type === CONNECTED && length === 2) {
      this.wasConnected = true;
      this.isTakenOver = record[1] === 1;
      if (!this.isTakenOver) this.#forget();
    } else if ((type === ACCEPTED || type === ACCEPTED5) && length > 17) {
      const number = view.getFloat64(1), due = view.getFloat64(9);
      if (!this.messages.has(number)) {
        const version = type === ACCEPTED ? 4 : 5;
        this.messages.set(number, { number, due, packet: record.slice(17), packetId: 0, version });
      }
      this.accepted = Math.max(this.accepted, number + 1);
    } else if (type === SENT && length === 13) {
      const packetId = view.getUint16(11);
      for (const [i, number] of run(view).entries()) this.#send(number, packetId + i);
    } else if (type === RECEIVED && length === 11) {
      for (const number of run(view)) this.#receive(number);
    } else if (type === DONE && length === 11) {
      for (const number of run(view)) this.#end(number);
    } else if (type === RECORDED && length === 5) {
      for (const packetId of idRun(view)) this.recorded.add(packetId);
    } else if (type === RELEASED && length === 5) {
      for (const packetId of idRun(view)) this.recorded.delete(packetId);
    } else {
      throw new MqttError(
        "store",
        `The store has a record of type ${type} with ${length} bytes, which is none of a session`,
      );
    }
  }

  /** A packet identifier is one message's: another one that had it is done, or was sent in a session that is lost, and the record that says so is missing. */
  #send(number: number, packetId: number): void {
    const message = this.messages.get(number), other = this.#users.get(packetId);
    if (message === undefined) return;
    if (other !== undefined && other !== message && other.packetId === packetId) {
      other.packetId = 0;
      this.received.delete(other.number);
    }
    message.packetId = packetId;
    this.#users.set(packetId, message);
  }

  #receive(number: number): void {
    this.received.delete(number);
    if ((this.messages.get(number)?.packetId ?? 0) > 0) this.received.add(number);
  }

  #end(number: number): void {
    this.messages.delete(number);
    this.received.delete(number);
  }

  /** The broker has forgotten the session: what was sent in it is as if it never was. */
  #forget(): void {
    for (const message of this.messages.values()) message.packetId = 0;
    this.received.clear();
    this.recorded.clear();
  }
}

/** The numbers of messages that a record is of. */
function run(record: DataView): number[] {
  return Array.from({ length: record.getUint16(9) }, (_, i) => record.getFloat64(1) + i);
}

/** The packet identifiers that a record is of. */
function idRun(record: DataView): number[] {
  return Array.from({ length: record.getUint16(3) }, (_, i) => record.getUint16(1) + i);
}
