/** What the session tells its shell.
 * @module */

import type { Status } from "../status.ts";
import type { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import { Fifo } from "./fifo.ts";
import type { Inbox } from "./inbox.ts";

/** Somebody who waits: the shell settles it when it is told to, once. `code` is the granted QoS of a SUBSCRIBE, and undefined otherwise. */
export interface Call {
  resolve(code: number | undefined): void;
  reject(error: MqttError): void;
}

/** What has failed: `failures` attempts and connections in a row, with `error` at last; the next attempt is after `delay` milliseconds, or as the program says. */
export interface RetryEvent {
  readonly type: "retry";
  readonly failures: number;
  readonly error: MqttError;
  readonly delay: number;
}

/** What the broker has sent to authenticate the client, and whether it awaits an answer. */
export interface AuthEvent {
  readonly type: "auth";
  readonly attempt: number;
  readonly data: Uint8Array;
  readonly isAwaited: boolean;
}

/**
 * | event | what the shell does |
 * |---|---|
 * | a message | calls `session.handlers` with it |
 * | `dial` | opens a connection to the place of that index, then `opened` or `lost` |
 * | `retry` | asks the program when the next attempt is, then `plan` |
 * | `login` | asks for the credentials, then `login` or `lost` |
 * | `end` | says to the transport that nothing more will be written |
 * | `auth` | asks the program what it answers, then `answered` or `lost` |
 * | `keepalive` | tells the transport, if that sends the pings, after how many seconds it does; 0: never |
 * | `hangup` | closes the transport, or gives up the attempt |
 * | `settled` | settles the call |
 * | `inbox` | wakes the iterator that waits |
 * | `status` | tells the program |
 * | `closed` | all is over: `run()` resolves |
 * | `unheard` | lets the error surface: nobody has heard of the end |
 */
export type SessionEvent =
  | Message
  | { readonly type: "dial"; readonly attempt: number; readonly place: number }
  | RetryEvent
  | { readonly type: "login"; readonly attempt: number }
  | { readonly type: "end" | "hangup" }
  | AuthEvent
  | { readonly type: "keepalive"; readonly seconds: number }
  | {
    readonly type: "settled";
    readonly call: Call;
    readonly code: number | undefined;
    readonly error: MqttError | undefined;
  }
  | { readonly type: "inbox"; readonly inbox: Inbox }
  | { readonly type: "status"; readonly status: Status }
  | { readonly type: "closed" | "unheard"; readonly error: MqttError };

/** Events that the shell has not asked for yet, in order. */
export class Events {
  readonly #queue = new Fifo<SessionEvent>();
  /** Errors that a call was settled with. */
  readonly #onRejection: (error: MqttError) => void;

  /** `onRejection` hears what calls fail with. */
  constructor(onRejection: (error: MqttError) => void) {
    this.#onRejection = onRejection;
  }

  /** Adds an event. */
  push(event: SessionEvent): void {
    this.#queue.push(event);
  }

  /** How many there are. */
  get length(): number {
    return this.#queue.length;
  }

  /** The next one. */
  next(): SessionEvent | undefined {
    return this.#queue.shift();
  }

  /** Settles a call, if somebody waits. */
  settle(call: Call | undefined, outcome: { code?: number; error?: MqttError | undefined } = {}): void {
    if (call === undefined) return;
    const { code, error } = outcome;
    if (error !== undefined) this.#onRejection(error);
    this.push({ type: "settled", call, code, error });
  }

  /** Tells a status, and returns it. */
  tell<S extends Status>(status: S): S {
    this.push({ type: "status", status });
    return status;
  }

  /** An attempt is over: what it has not begun yet is not begun. */
  cancelAttempt(): void {
    this.#queue.discard(({ type }) => type === "dial" || type === "login" || type === "auth");
  }
}
