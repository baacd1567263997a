/** What the session tells its shell.
 * @module */

import type { Status } from "../api.ts";
import type { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import type { Inbox } from "./inbox.ts";

/** Somebody who waits: the shell settles it when it is told to, once. `code` is the granted QoS of a SUBSCRIBE, and undefined otherwise. */
export interface Call {
  resolve(code: number | undefined): void;
  reject(error: MqttError): void;
}

/**
 * | event | what the shell does |
 * |---|---|
 * | a message | calls `session.handlers` with it |
 * | `dial` | opens a connection, then `opened` or `lost` |
 * | `login` | asks for the credentials, then `login` or `lost` |
 * | `end` | says to the transport that nothing more will be written |
 * | `hangup` | closes the transport, or gives up the attempt |
 * | `settled` | settles the call |
 * | `inbox` | wakes the iterator that waits |
 * | `status` | tells the program |
 * | `closed` | all is over: `run()` resolves |
 * | `unheard` | lets the error surface: nobody has heard of the end |
 */
export type SessionEvent =
  | Message
  | { readonly type: "dial"; readonly attempt: number }
  | { readonly type: "login"; readonly attempt: number }
  | { readonly type: "end" | "hangup" }
  | {
    readonly type: "settled";
    readonly call: Call;
    readonly code: number | undefined;
    readonly error: MqttError | undefined;
  }
  | { readonly type: "inbox"; readonly inbox: Inbox }
  | { readonly type: "status"; readonly status: Status }
  | { readonly type: "closed" | "unheard"; readonly error: MqttError };
