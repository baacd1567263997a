/** The fourteen control packets of MQTT 3.1.1, section 3, as values.
 * @module */

/** Quality of service: at most once, at least once, exactly once (section 4.3). */
export type QoS = 0 | 1 | 2;

/** Control packet types (table 2.1). */
export const CONNECT = 1, CONNACK = 2, PUBLISH = 3, PUBACK = 4, PUBREC = 5, PUBREL = 6, PUBCOMP = 7;
export const SUBSCRIBE = 8, SUBACK = 9, UNSUBSCRIBE = 10, UNSUBACK = 11, PINGREQ = 12, PINGRESP = 13, DISCONNECT = 14;

/** The names of the types, for messages to people. */
export const NAMES: readonly string[] = ("reserved CONNECT CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP " +
  "SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK PINGREQ PINGRESP DISCONNECT reserved").split(" ");

/** The largest remaining length, in bytes (section 2.2.3). */
export const MAX_REMAINING_LENGTH = 268_435_455;

/** What the broker publishes when the client goes without DISCONNECT (section 3.1.2.5). */
export type WillFields = { topic: string; message: Uint8Array; qos: QoS; retain: boolean };

/** CONNECT (section 3.1). `keepalive` in seconds; 0 = off. */
export type ConnectPacket =
  & { type: typeof CONNECT; id: string; keepalive: number; cleanSession: boolean }
  & { will?: WillFields | undefined; uname?: Uint8Array | undefined; passwd?: Uint8Array | undefined };

/** CONNACK (section 3.2). */
export type ConnackPacket = { type: typeof CONNACK; sessionPresent: boolean; code: number };

/** The packets of a QoS 1 or 2 delivery (sections 3.4 to 3.7): a packet identifier and nothing else. */
export type AckPacket = { type: typeof PUBACK | typeof PUBREC | typeof PUBREL | typeof PUBCOMP; packetId: number };

/** A topic filter and the QoS that is wanted for it. */
export type FilterRequest = { topic: string; qos: QoS };

/** SUBSCRIBE (section 3.8). */
export type SubscribePacket = { type: typeof SUBSCRIBE; packetId: number; filters: readonly FilterRequest[] };

/** SUBACK (section 3.9): one return code for each filter, in order [MQTT-3.9.3-1]. */
export type SubackPacket = { type: typeof SUBACK; packetId: number; codes: readonly number[] };

/** UNSUBSCRIBE (section 3.10). */
export type UnsubscribePacket = { type: typeof UNSUBSCRIBE; packetId: number; filters: readonly string[] };

/** UNSUBACK (section 3.11). */
export type UnsubackPacket = { type: typeof UNSUBACK; packetId: number };

/** The packets of two bytes (sections 3.12 to 3.14). */
export type EmptyPacket = { type: typeof PINGREQ | typeof PINGRESP | typeof DISCONNECT };

/** The packets of a subscription. */
type FilterPacket = SubscribePacket | SubackPacket | UnsubscribePacket | UnsubackPacket;

/** Every packet but PUBLISH. */
export type ControlPacket = ConnectPacket | ConnackPacket | AckPacket | FilterPacket | EmptyPacket;
