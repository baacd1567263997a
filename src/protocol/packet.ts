/** The control packets of MQTT 3.1.1 and of MQTT 5, section 3 of both, as values.
 * @module */

/** The protocol version: 4 is MQTT 3.1.1. Its fields are in every packet; those that only version 5 has may be left out. */
export type Version = 4 | 5;

/** Quality of service: at most once, at least once, exactly once (section 4.3). */
export type QoS = 0 | 1 | 2;

/** Control packet types (table 2.1); AUTH is one of version 5. */
export const CONNECT = 1, CONNACK = 2, PUBLISH = 3, PUBACK = 4, PUBREC = 5, PUBREL = 6, PUBCOMP = 7;
export const SUBSCRIBE = 8, SUBACK = 9, UNSUBSCRIBE = 10, UNSUBACK = 11, PINGREQ = 12, PINGRESP = 13, DISCONNECT = 14;
export const AUTH = 15;

/** In place of a type: the will in a CONNECT, which has properties of its own. */
export const WILL = 0;

/** The names of the types, for messages to people. */
export const NAMES: readonly string[] = ("will CONNECT CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP " +
  "SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK PINGREQ PINGRESP DISCONNECT AUTH").split(" ");

/** The largest remaining length, in bytes (section 2.2.3). */
export const MAX_REMAINING_LENGTH = 268_435_455;

/** What MQTT 5 says of a message besides its topic and payload [MQTT5-3.3.2.3]; what is undefined is not given. */
export interface MessageProperties {
  /** 1: the payload is UTF-8 text; 0: nothing is said of it. */
  readonly payloadFormat?: 0 | 1 | undefined;
  /** What the payload is, such as a MIME type. */
  readonly contentType?: string | undefined;
  /** The topic name to which an answer is to be published: the message is a request. */
  readonly responseTopic?: string | undefined;
  /** Which request an answer is for: at most 65,535 bytes. */
  readonly correlation?: Uint8Array | undefined;
  /** Pairs of name and value, whose order is kept; names may repeat themselves. */
  readonly user?: readonly (readonly [name: string, value: string])[] | undefined;
  /** Received only: the seconds for which the message is still of use. */
  readonly expiry?: number | undefined;
  /** Received only: the identifiers of the subscriptions that it comes for, 1 to 268,435,455. */
  readonly subscriptionIds?: readonly number[] | undefined;
}

/**
 * The properties of any packet of version 5 (section 2.2.2.2): which packet has which, and what each may be, is in the
 * table of properties.ts. Times are in seconds, sizes in bytes; what is a byte on the wire is 0 or 1.
 */
export interface Properties extends MessageProperties {
  readonly topicAlias?: number | undefined;
  readonly sessionExpiry?: number | undefined;
  readonly assignedId?: string | undefined;
  readonly serverKeepalive?: number | undefined;
  readonly authMethod?: string | undefined;
  readonly authData?: Uint8Array | undefined;
  readonly requestProblem?: number | undefined;
  readonly requestResponse?: number | undefined;
  readonly willDelay?: number | undefined;
  readonly responseInformation?: string | undefined;
  readonly serverReference?: string | undefined;
  readonly reason?: string | undefined;
  readonly receiveMaximum?: number | undefined;
  readonly topicAliasMaximum?: number | undefined;
  readonly maximumQoS?: number | undefined;
  readonly retainAvailable?: number | undefined;
  readonly maximumPacketSize?: number | undefined;
  readonly wildcardAvailable?: number | undefined;
  readonly subscriptionIdsAvailable?: number | undefined;
  readonly sharedAvailable?: number | undefined;
}

/** What packets of version 5 have, those without any among them. */
type WithProperties = { properties?: Properties | undefined };

/** What the broker publishes when the client goes without DISCONNECT (section 3.1.2.5). */
export type WillFields = WithProperties & { topic: string; message: Uint8Array; qos: QoS; retain: boolean };

/** CONNECT (section 3.1). `keepalive` in seconds; 0 = off. Version 5 calls `cleanSession` Clean Start. */
export type ConnectPacket =
  & WithProperties
  & { type: typeof CONNECT; id: string; keepalive: number; cleanSession: boolean }
  & { will?: WillFields | undefined; uname?: Uint8Array | undefined; passwd?: Uint8Array | undefined };

/** CONNACK (section 3.2). */
export type ConnackPacket = WithProperties & { type: typeof CONNACK; sessionPresent: boolean; code: number };

/** The packets of a QoS 1 or 2 delivery (sections 3.4 to 3.7). A `code` that is left out is 0, as all are in version 4. */
export type AckPacket = WithProperties & {
  type: typeof PUBACK | typeof PUBREC | typeof PUBREL | typeof PUBCOMP;
  packetId: number;
  code?: number | undefined;
};

/** A topic filter and the QoS that is wanted for it; the rest are subscription options of version 5 (section 3.8.3.1), false and 0 by default. */
export type FilterRequest = {
  topic: string;
  qos: QoS;
  noLocal?: boolean | undefined;
  retainAsPublished?: boolean | undefined;
  retainHandling?: 0 | 1 | 2 | undefined;
};

/** SUBSCRIBE (section 3.8). */
export type SubscribePacket = WithProperties & {
  type: typeof SUBSCRIBE;
  packetId: number;
  filters: readonly FilterRequest[];
};

/** SUBACK (section 3.9): one code for each filter, in order [MQTT-3.9.3-1]. */
export type SubackPacket = WithProperties & { type: typeof SUBACK; packetId: number; codes: readonly number[] };

/** UNSUBSCRIBE (section 3.10). */
export type UnsubscribePacket = WithProperties & {
  type: typeof UNSUBSCRIBE;
  packetId: number;
  filters: readonly string[];
};

/** UNSUBACK (section 3.11); in version 5 with one code for each filter, in order. */
export type UnsubackPacket = WithProperties & {
  type: typeof UNSUBACK;
  packetId: number;
  codes?: readonly number[] | undefined;
};

/** The packets of two bytes (sections 3.12 and 3.13). */
export type PingPacket = { type: typeof PINGREQ } | { type: typeof PINGRESP };

/** DISCONNECT (section 3.14). A `code` that is left out is 0, as all are in version 4. */
export type DisconnectPacket = WithProperties & { type: typeof DISCONNECT; code?: number | undefined };

/** AUTH (section 3.15 of MQTT 5). */
export type AuthPacket = WithProperties & { type: typeof AUTH; code: number };

/** The packets of a subscription. */
type FilterPacket = SubscribePacket | SubackPacket | UnsubscribePacket | UnsubackPacket;

/** Every packet but PUBLISH. */
export type ControlPacket =
  | (ConnectPacket | ConnackPacket | AckPacket | FilterPacket)
  | (PingPacket | DisconnectPacket | AuthPacket);
