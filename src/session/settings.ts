/** What a session is made with.
 * @module */

import type { OnPublish } from "../options.ts";
import type { MqttError } from "../errors.ts";
import type { Properties, Version, WillFields } from "../protocol/packet.ts";
import type { AttemptsSettings } from "./attempts.ts";
import type { Log } from "./journal.ts";
import type { Restored } from "./restored.ts";
import type { Planned } from "./subscriptions.ts";
import type { TrustPolicy } from "./trust.ts";

/** What becomes of the messages that were sent and not acknowledged when the broker has forgotten the session. */
export type SessionLost = "resend" | "reject";

/** How a client proves who it is. */
export interface AuthSettings {
  readonly method: string;
  /** What it begins with. */
  readonly data: Uint8Array | undefined;
}

/** Times are in milliseconds, sizes in bytes. */
export interface SessionSettings extends AttemptsSettings, Pick<TrustPolicy, "rejectUntrusted"> {
  readonly version: Version;
  /** Whether version 4 is tried where the broker does not take 5. */
  readonly fallsBack: boolean;
  readonly will: WillFields | undefined;
  /** Seconds, as CONNECT tells the broker; 0 = off. */
  readonly keepalive: number;
  /** In which part of the keep alive PINGREQ is sent; 0: never, as the thread does that which has the connection. */
  readonly pingPart: number;
  readonly cleanSession: boolean;
  /** Seconds for which the broker is to keep the session, as version 5 tells it; 0: not at all. */
  readonly sessionExpiry: number;
  /** How many topic aliases there may be, both ways. */
  readonly topicAliases: number;
  /** Whether a payload that says of itself that it is text has to be. */
  readonly checksFormat: boolean;
  /** What CONNECT says besides. */
  readonly properties: Properties | undefined;
  /** How it proves who it is, in more than one step. */
  readonly auth: AuthSettings | undefined;
  /** Of what comes. */
  readonly maxPacketSize: number;
  /** Of what waits to be sent. */
  readonly maxBuffered: number;
  /** Of what was received and is not settled. */
  readonly maxUnsettled: number;
  /** So many messages of QoS 1 and 2 may be sent and not acknowledged; and so many of QoS 2. */
  readonly maxInflight: number;
  readonly maxInflightQoS2: number;
  /** What becomes of those when the broker has forgotten the session; undefined: it depends on the QoS. */
  readonly sessionLost: SessionLost | undefined;
  /** So many messages may be received and not settled. */
  readonly receiveMaximum: number;
  /** Of an attempt to connect, a request, and disconnecting. */
  readonly timeout: number;
}

/** Where a session is kept, what a process before this one has left there, and what was wrong with it. */
export interface Durable {
  readonly log: Log;
  readonly restored: Restored;
  readonly problems: readonly MqttError[];
}

/** What a session is given besides. */
export interface SessionParts {
  /** Gets the messages that no subscription takes. */
  readonly onpub?: OnPublish | undefined;
  /** What is subscribed from the first connection on. */
  readonly subscriptions?: readonly Planned[] | undefined;
  /** Chance: 0 to 1. */
  random(): number;
  /** Where the session is kept, if not in memory. */
  readonly durable?: Durable | undefined;
}
