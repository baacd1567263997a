/** What the broker of a connection can do, and how much it takes (section 3.2.2.3 of MQTT 5).
 * @module */

import type { Limits } from "../api.ts";
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
  const { subscriptionIdsAvailable = version === 5 ? 1 : 0, serverKeepalive, responseInformation, user } = properties;
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
    user,
  });
}
