/** A message on its way to the broker, and what may become of it.
 * @module */

import { MqttError } from "../errors.ts";
import { type AckPacket, PUBACK } from "../protocol/packet.ts";
import type { Call } from "./events.ts";
import { reasonError } from "./reasons.ts";
import type { Shelved } from "./shelf.ts";

/** Where a message is. */
export const WAITING = 0, SENT = 1, RECEIVED = 2, DONE = 3;

/** In place of a packet identifier: it was never sent, or only in a session that the broker has forgotten. */
export const NEW = 0, ANEW = -1;

/** A message that was accepted. */
export interface Outgoing extends Shelved {
  readonly qos: Level;
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
  /** The reason code of the broker's PUBACK or PUBREC; 0 before. */
  code: number;
  /** Why it was given up, though the broker may have it and is to free its packet identifier first. */
  refusal: MqttError | undefined;
  /** When it is not sent any more; milliseconds. */
  readonly due: number;
  /** Whether the call waits no longer than until the store has it. */
  untilStored: boolean;
}

/** A message to be published, with the flags of byte 1. */
export interface Publication {
  readonly topic: string;
  readonly message: string | Uint8Array;
  readonly flags: number;
  /** The properties of version 5, encoded, with their length. */
  readonly properties?: Uint8Array | undefined;
  /** Seconds until it is not sent any more, if it has not been sent by then. */
  readonly expiry?: number | undefined;
  /** Whether the call waits no longer than until the store has it. */
  readonly untilStored?: boolean | undefined;
}

/** QoS. */
export type Level = 0 | 1 | 2;

/** The message of a packet that is on the shelf: it waits. */
export function makeOutgoing({ page, start, size }: Shelved, number: number, due: number): Outgoing {
  const qos = (page.bytes[start]! & 6) >> 1 as Level;
  return {
    page,
    start,
    size,
    qos,
    number,
    call: undefined,
    state: WAITING,
    packetId: NEW,
    due,
    code: 0,
    refusal: undefined,
    untilStored: false,
  };
}

/** Whether it waits, and was not sent in a session that the broker has. */
export function isUnsent({ state, packetId }: Outgoing): boolean {
  return state === WAITING && packetId <= 0;
}

/** Whether it is too old to be sent for the first time. */
export function isStale(outgoing: Outgoing, now: number): boolean {
  return outgoing.due <= now && isUnsent(outgoing);
}

/** The broker does not take it. */
export function refusedError({ type, code = 0, properties }: AckPacket): MqttError {
  const statement = type === PUBACK ? "[MQTT5-3.4.2-1]" : "[MQTT5-3.5.2-1]";
  return reasonError(code, { what: "does not take the message", properties, statement });
}

/** It was too old. */
export function staleError(): MqttError {
  return new MqttError("stale", "The message was not sent within its expiry: there was no connection, or no room");
}

/** The bytes of its packet, where they are now. */
export function bytesOf({ page, start, size }: Shelved): Uint8Array {
  return page.bytes.subarray(start, start + size);
}

/** It was sent in a session that the broker has forgotten. */
export function sessionLostError(): MqttError {
  return new MqttError(
    "sessionlost",
    "The broker has forgotten the session: the message was sent, and it is not known whether it has arrived",
  );
}
