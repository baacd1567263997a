/** What a client tells of itself: statuses, and counters.
 * @module */

import type { MqttError } from "./errors.ts";
import type { Limits } from "./options5.ts";

/** What becomes of the connection. `address` says where the broker is, without credentials; undefined for a connection handed in, and for what a function is to give. */
export type ConnectionStatus =
  /** A connection is opened; `attempt` counts from 1 since the last one that the broker accepted. */
  | { readonly type: "connecting"; readonly attempt: number; readonly address: string | undefined }
  /** The broker has accepted; `sessionPresent`: it has kept the session [MQTT-3.2.2-2]; `version`: 4 is MQTT 3.1.1. */
  | { readonly type: "connected"; readonly sessionPresent: boolean; readonly version: 4 | 5; readonly limits: Limits }
  /** The connection, or an attempt, has failed with `error`; the next attempt begins in `delay` milliseconds. */
  | { readonly type: "waiting"; readonly error: MqttError; readonly delay: number }
  /** The client has ended: what `run()` tells. */
  | { readonly type: "closed"; readonly error: MqttError };

/** What `onstatus` hears: the connection's status, and what happened on it. */
export type Status =
  | ConnectionStatus
  /** A subscription of the options, or one that was made again after a reconnect, was refused: it has ended. */
  | { readonly type: "refused"; readonly filter: string; readonly error: MqttError }
  /** Nothing was settled for `timeout`, and so nothing is read: `unsettled` messages are with handlers and iterators. */
  | { readonly type: "stalled"; readonly unsettled: number }
  /** The session's store was damaged, and what is left of it is used; or it cannot keep what is to be kept, and goes on. */
  | { readonly type: "store"; readonly error: MqttError }
  /**
   * A message was passed over, or `publish()` was rejected with `"overflow"`, `"sessionlost"`, `"stale"` or `"store"`, so
   * nobody has to await that; `size` in bytes, of the whole packet; `error` says why.
   */
  | { readonly type: "dropped"; readonly topic: string; readonly size: number; readonly error: MqttError };

/** Hears what becomes of the connection. What it throws surfaces as an uncaught error. */
export type OnStatus = (status: Status) => void;

/** Counters, since the client was made. */
export interface Stats {
  /** Messages that were given to a connection, of every QoS; those that were sent again count once. */
  readonly sent: number;
  /** How often messages of QoS 1 and 2 were sent again on another connection. */
  readonly resent: number;
  /** Messages that came, those that came again included, and without those over `maxPacketSize`. */
  readonly received: number;
  /** Messages that were passed over, as they exceed `maxPacketSize`. */
  readonly dropped: number;
  /** Messages received that are not settled now: handlers and iterators have them, or they wait for those. */
  readonly unsettled: number;
  /** Messages that a handler threw for, or whose promise was rejected. */
  readonly failed: number;
  /** Messages of a session that was resumed which nobody took in time: they were acknowledged all the same. */
  readonly unclaimed: number;
  /** Messages published at QoS 1 or 2 that the broker has not acknowledged yet. */
  readonly unacknowledged: number;
  /** Acknowledgements that were for nothing: a broker repeats them rightly when a message is sent again. */
  readonly ignored: number;
}
