/** What the caller of `connectWorker` and the thread of its module say to each other.
 * @module */

import type { PublishOptions, TraceRecord } from "../options.ts";
import type { ConnectionStatus, Stats, Status } from "../status.ts";
import type { Farewell } from "../session/farewell.ts";
import type { Asked } from "../session/subscriptions.ts";
import type { Trust } from "../session/trust.ts";
import { type CarriedError, carry, restore } from "../worker/messages.ts";
import type { MqttError } from "../errors.ts";
import type { Answer, Question } from "./module_questions.ts";

/** The counters, in the order in which the thread keeps them as numbers of eight bytes. */
export const COUNTERS: readonly (keyof Stats)[] = [
  ...([
    "sent",
    "resent",
    "received",
    "dropped",
    "unsettled",
    "failed",
    "unclaimed",
    "unacknowledged",
    "ignored",
  ] as const),
];

/** What is said within a tick: the entries in order, and the bytes that some of them tell the size of, one after the other. */
export interface Crossing<Entry> {
  entries: Entry[];
  bytes: Uint8Array<ArrayBuffer>;
}

/** A message for the caller; `first` is byte 1 of its packet, `size` that of its bytes, the first of which are `properties`, -1 in version 4. */
interface CarriedMessage {
  topic: string;
  first: number;
  size: number;
  properties: number;
}

/** The reason of a failure; `"end"`: why the client has ended, which the status tells. */
export type Failure = CarriedError | "end";

/** To the thread. `call` is a number that the outcome comes back with. */
export type ToHost =
  /** PUBLISH packets: those of QoS 0 are confirmed by `room`, the others have a call each, in order. */
  | { type: "publishes"; size: number; calls: number[] }
  /** One with conditions, which always has a call; `isWithdrawable`: it may be taken back. */
  | { type: "publish"; size: number; call: number; isWithdrawable: boolean } & Pick<PublishOptions, "expiry" | "until">
  | { type: "withdraw"; call: number }
  /** `handler` is the number of the caller's; undefined: the module gets the messages. */
  | { type: "subscribe"; call: number; asked: Asked; handler: number | undefined }
  | { type: "flush" | "reauthenticate"; call: number }
  | { type: "unsubscribe"; call: number; filters: readonly string[] }
  /** An iterator; `ahead`: how many messages cross before they are asked for. */
  | { type: "iterate"; inbox: number; asked: Asked; limit: number; ahead: number }
  /** So many more messages of an iterator may cross. */
  | { type: "taken"; inbox: number; count: number }
  | { type: "leave"; call: number; inbox: number }
  | { type: "disconnect"; call: number; how: { drain: boolean } & Farewell }
  /** Messages that the caller's handlers are done with, and those that they failed on. */
  | { type: "settled"; done: number[]; failed: number[] }
  /** What a function of the caller gave, or why it gave nothing. */
  | { type: "answer" } & Answer;

/** From the thread. */
export type FromHost =
  /** The module cannot be used. */
  | { type: "unusable"; error: CarriedError }
  | { type: "resolved"; call: number; code: number | undefined }
  | { type: "rejected"; call: number; error: Failure }
  /** Messages of QoS 1 and 2 that the broker has acknowledged. */
  | { type: "acknowledged"; calls: number[]; codes: number[] }
  /** So many bytes of PUBLISH packets of QoS 0 do not wait any more. */
  | { type: "room"; size: number }
  /** A message for a handler of the caller; `number` comes back when it is settled. */
  | { type: "message"; handler: number; number: number } & CarriedMessage
  /** A message for an iterator. */
  | { type: "iterated"; inbox: number } & CarriedMessage
  | { type: "ended"; inbox: number; error: Failure | undefined }
  | { type: "status"; status: CarriedStatus }
  | { type: "trusted"; trusted: Trust }
  /** The client identifier that the broker has assigned. */
  | { type: "assigned"; id: string }
  | { type: "trace"; record: TraceRecord }
  | { type: "ask"; number: number; question: Question }
  /** What the module threw or rejected with, or why a message could not be published. */
  | { type: "thrown"; error: CarriedError }
  /** The client has ended, and everything is told. */
  | { type: "over" };

/** A status as it crosses. */
export type CarriedStatus = { readonly status: Status; readonly error: CarriedError | undefined };

/** Packs a status; its error crosses beside it. */
export function carryStatus(status: Status): CarriedStatus {
  if (!("error" in status)) return { status, error: undefined };
  const { error, ...others } = status;
  return { status: others as Status, error: carry(error) };
}

/** Unpacks it. */
export function restoreStatus({ status, error }: CarriedStatus): Status {
  return error === undefined ? status : { ...status, error: restore(error) as MqttError } as Status;
}

/** Whether a status is one of the connection's own, and not of something that happened on it. */
export function isOfConnection(status: Status): status is ConnectionStatus {
  return status.type !== "refused" && status.type !== "dropped" && status.type !== "stalled";
}
