/** What only version 5 has: what is asked for with it, and what the broker says it can do.
 * @module */

import type { QoS } from "./protocol/packet.ts";

/** Pairs of name and value, whose order is kept; names may repeat themselves. */
export type UserProperties = readonly (readonly [name: string, value: string])[];

/**
 * What the broker of this connection can do, and how much it takes. With MQTT 3.1.1 it does not say: then it is what the
 * protocol allows.
 */
export interface Limits {
  /** How many messages of QoS 1 and 2 it takes before it has acknowledged them. */
  readonly receiveMaximum: number;
  /** The highest QoS that it takes. */
  readonly maxQoS: QoS;
  /** Whether it keeps retained messages. */
  readonly retain: boolean;
  /** Bytes of the largest packet that it takes. */
  readonly maxPacketSize: number;
  /** How many topic aliases it takes. */
  readonly topicAliases: number;
  /** Whether filters may have wildcards. */
  readonly wildcards: boolean;
  /** Whether subscriptions may have identifiers. */
  readonly subscriptionIds: boolean;
  /** Whether subscriptions may be shared. */
  readonly shared: boolean;
  /** Seconds after which a silent client sends PINGREQ. */
  readonly keepalive: number;
  /** Seconds for which the broker keeps the session. */
  readonly session: number;
  /** What the broker gives to make response topics of. */
  readonly responseInformation?: string | undefined;
  /** Its own words. */
  readonly reason?: string | undefined;
  /** Its user properties. */
  readonly user?: UserProperties | undefined;
}

/** What CONNECT says besides, with version 5. */
export interface ConnectProperties {
  /** User properties. */
  user?: UserProperties | undefined;
  /** Whether the broker may give what response topics are made of: `mqtt.limits.responseInformation` [MQTT5-3.1.2-28]. */
  requestResponse?: boolean | undefined;
  /** Whether the broker may give reasons, and user properties, where something failed; it may by default [MQTT5-3.1.2-29]. */
  requestProblem?: boolean | undefined;
}

/** How a client proves who it is, in as many steps as the method takes (section 4.12 of MQTT 5). */
export interface AuthOptions {
  /** The name of the method, such as `"SCRAM-SHA-256"`, which client and broker have agreed on. */
  method: string;
  /** What the client begins with, at most 65,535 bytes. */
  data?: Uint8Array | undefined;
  /**
   * Answers what the broker has sent. It is called, too, with what comes last, where the broker proves itself; that has no
   * answer. If it throws or rejects, the connection ends. With `connectSync` it may not return a promise.
   */
  answer(data: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** The properties of a packet that has none but the program's own. */
export interface PacketProperties {
  /** User properties. */
  user?: UserProperties | undefined;
}

/** How filters are subscribed, with version 5. */
export interface SubscriptionOptions {
  /** Whether the client's own messages do not come back to it; not of a shared subscription [MQTT5-3.8.3-4]. False by default. */
  noLocal?: boolean | undefined;
  /** Whether messages keep the `retain` that they were published with [MQTT5-3.3.1-13]; false by default. */
  retainAsPublished?: boolean | undefined;
  /** Which retained messages come: all (0, the default), those of a new subscription (1), none (2) [MQTT5-3.3.1-9]. */
  retainHandling?: 0 | 1 | 2 | undefined;
  /**
   * The identifier that its messages have, in `message.properties.subscriptionIds`: 1 to 268,435,455. By default the client
   * chooses one, by which it tells apart the copies of a message that filters have in common.
   */
  id?: number | undefined;
  /** What SUBSCRIBE says besides. */
  properties?: PacketProperties | undefined;
}
