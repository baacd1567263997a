/** What the broker of a connection can do, and how much it takes (section 3.2.2.3 of MQTT 5).
 * @module */

import type { Limits } from "../options5.ts";
import { MqttError } from "../errors.ts";
import { tooLarge } from "../protocol/packer.ts";
import { type ConnackPacket, MAX_REMAINING_LENGTH, type QoS } from "../protocol/packet.ts";
import type { SessionSettings } from "./settings.ts";

/** The longest packet of the protocol, in bytes. */
const LONGEST = MAX_REMAINING_LENGTH + 5;

/** What a CONNACK says; where it says nothing, as with MQTT 3.1.1, the broker takes all that the protocol allows. */
export function limitsOf(
  { properties = {} }: Pick<ConnackPacket, "properties">,
  { version, keepalive, sessionExpiry }: Pick<SessionSettings, "version" | "keepalive" | "sessionExpiry">,
): Limits {
  const { receiveMaximum = 65_535, maximumQoS = 2, maximumPacketSize = LONGEST, topicAliasMaximum = 0 } = properties;
  const { retainAvailable = 1, wildcardAvailable = 1, sharedAvailable = 1 } = properties;
  const { subscriptionIdsAvailable = version === 5 ? 1 : 0, serverKeepalive, responseInformation, reason, user } =
    properties;
  return Object.freeze({
    receiveMaximum,
    maxQoS: maximumQoS as QoS,
    retain: retainAvailable === 1,
    maxPacketSize: maximumPacketSize,
    topicAliases: topicAliasMaximum,
    wildcards: wildcardAvailable === 1,
    subscriptionIds: subscriptionIdsAvailable === 1,
    shared: sharedAvailable === 1,
    keepalive: serverKeepalive ?? keepalive,
    session: properties.sessionExpiry ?? sessionExpiry,
    responseInformation,
    reason,
    user,
  });
}

/** A packet of a message: the flags of byte 1, and its size in bytes. */
interface Sized {
  readonly flags: number;
  readonly size: number;
}

/** The flags of byte 1 that no message may have: RETAIN, and the bits of QoS. */
export function forbiddenFlags({ maxQoS, retain }: Limits): number {
  return (retain ? 0 : 1) | [6, 4, 0][maxQoS]!;
}

/** Whether the broker takes less than the protocol allows. */
export function isLimited(limits: Limits): boolean {
  return forbiddenFlags(limits) !== 0 || limits.maxPacketSize < LONGEST;
}

/** Why the broker would not take a message; undefined if it does. */
export function messageUnsupported(
  { maxQoS, retain, maxPacketSize }: Limits,
  { flags, size }: Sized,
): MqttError | undefined {
  const qos = flags >> 1 & 3;
  if (qos > maxQoS) {
    return unsupported(`a message of QoS ${qos}: this broker takes ${maxQoS} at most`, "[MQTT5-3.2.2-11]");
  }
  if ((flags & 1) === 1 && !retain) return unsupported("retain: this broker keeps no messages", "[MQTT5-3.2.2-14]");
  return size <= maxPacketSize ? undefined : tooLarge(size, maxPacketSize);
}

/** Why the broker would not take a filter; undefined if it does. */
export function filterUnsupported({ wildcards, shared }: Limits, topic: string): MqttError | undefined {
  if (!wildcards && /[+#]/.test(topic)) {
    return unsupported(`"${topic}": this broker has no subscriptions with wildcards`, "(section 3.2.2.3.11)");
  }
  if (!shared && topic.startsWith("$share/")) {
    return unsupported(`"${topic}": this broker has no shared subscriptions`, "(section 3.2.2.3.13)");
  }
  return undefined;
}

/** The error of an identifier that the broker does not take. */
export function subscriptionIdUnsupported(id: number): MqttError {
  return unsupported(`id ${id}: this broker has no subscription identifiers`, "(section 3.2.2.3.12)");
}

/** The error of something that version 4 does not have. */
export function versionUnsupported(what: string): MqttError {
  return new MqttError("unsupported", `Cannot use ${what} over MQTT 3.1.1: it takes version: 5`);
}

function unsupported(what: string, source: string): MqttError {
  return new MqttError("unsupported", `Cannot use ${what} ${source}`);
}
