/** What the reason codes of MQTT 5 say to a person (table 2-6).
 * @module */

import { type ErrorCode, MqttError } from "../errors.ts";
import type { Properties } from "../protocol/packet.ts";

/** Of PUBREL and PUBCOMP: the packet identifier is unknown (sections 3.6.2.1 and 3.7.2.1). */
export const UNKNOWN_ID = 146;

/** From 128 on; what is not there is no code of the standard. */
const WORDS: Readonly<Record<number, string>> = {
  0: "it has ended it, without a reason",
  128: "it does not say why",
  129: "a packet that it cannot read",
  130: "a mistake in the protocol",
  131: "it cannot handle what was sent",
  132: "it does not speak MQTT 5",
  133: "it does not accept the client identifier",
  134: "user name or password are wrong",
  135: "the client is not authorized",
  136: "it is unavailable",
  137: "it is busy",
  138: "the client is banned",
  139: "it is shutting down",
  140: "it does not know the authentication method",
  141: "the keep alive is over",
  142: "another client has taken the session over",
  143: "the topic filter is not accepted",
  144: "the topic name is not accepted",
  145: "the packet identifier is in use",
  146: "the packet identifier is unknown",
  147: "more than its Receive Maximum was sent",
  148: "the topic alias is none",
  149: "the packet is too large",
  150: "too many messages",
  151: "a quota is exceeded",
  152: "an administrator has ended it",
  153: "the payload is not what its format says",
  154: "it keeps no retained messages",
  155: "it does not take this QoS",
  156: "another server is to be used",
  157: "it has moved to another server",
  158: "it has no shared subscriptions",
  159: "too many connections",
  160: "the longest time for a connection is over",
  161: "it has no subscription identifiers",
  162: "it has no subscriptions with wildcards",
};

/** The error of a reason code: what the broker did, what the code means, the broker's own words, and the statement. */
export function reasonError(
  code: number,
  { what, advice = "", properties, statement }: {
    what: string;
    advice?: string;
    properties: Properties | undefined;
    statement: string;
  },
): MqttError {
  const { reason, serverReference } = properties ?? {};
  const told = reason === undefined ? "" : `, and says ${JSON.stringify(reason)}`;
  const other = serverReference === undefined ? "" : ` (${serverReference})`;
  const message = `The broker ${what}: ${WORDS[code] ?? `code ${code}`}${other}${advice}${told} ${statement}`;
  // 0 is that of a DISCONNECT without a mistake: the connection has ended.
  return new MqttError(code >= 128 ? code as ErrorCode : "socketclosed", message, undefined, {
    reason,
    serverReference,
  });
}
