/** The mistakes that bytes can show, with the statement that each breaks in either version of the protocol.
 * @module */

import { type ErrorCode, type MqttError, violation } from "../errors.ts";
import type { Version } from "./packet.ts";

/** Reason codes of DISCONNECT (table 3-10 of MQTT 5): a packet that cannot be read, and one that must not be sent. */
const MALFORMED = 129, PROTOCOL_ERROR = 130, TOO_MANY = 147, ALIAS_INVALID = 148;

/** By version, the statement without its brackets; what only one version forbids has one. `reason`: what DISCONNECT says. */
export interface Rule {
  readonly 4?: string;
  readonly 5?: string;
  readonly reason: number;
  /** Of the error; `"protocol"` by default. */
  readonly code?: ErrorCode;
}

/** Their names. */
type RuleName =
  | ("format" | "shortest" | "utf8" | "nul" | "flags" | "pubrelFlags" | "subscribeFlags")
  | ("unsubscribeFlags" | "disconnectFlags" | "authFlags" | "qos3" | "dup" | "publishId" | "requestId")
  | ("ackId" | "answerId" | "emptyTopic" | "wildcard" | "hash" | "plus" | "shareName")
  | ("shareFilter" | "protocolName" | "protocolLevel" | "connectFlag" | "noWillQoS" | "noWillRetain" | "willQoS")
  | ("passwordAlone" | "emptyId" | "connectEnd" | "connackFlags" | "noFilters" | "requestedQoS" | "noLocalShared")
  | ("optionBits" | "noGiveUp" | "noSubackCodes" | "noUnsubackCodes" | "connackCode" | "pubackCode" | "pubrecCode")
  | ("pubrelCode" | "pubcompCode" | "subackCode" | "unsubackCode" | "disconnectCode" | "authCode" | "noProperties")
  | ("reserved" | "clientsOnly")
  | (
    | "secondConnack"
    | "answersNothing"
    | "answerCount"
    | "answerQoS"
    | "authUnasked"
    | "authMethod"
    | "tooMany"
    | "presentAnew"
    | "presentRefused"
    | "serverExpiry"
  )
  | ("value" | "responseWildcard" | "noMethod" | "alias0" | "aliasAbove" | "noAliases");

/** Where a version has no statement of its own, it is the one by which the connection is closed: 4.8.0-1, 4.13.1-1. */
export const RULES: Readonly<Record<RuleName, Rule>> = {
  // Fields and strings
  format: { 4: "4.8.0-1", 5: "4.13.1-1", reason: MALFORMED },
  shortest: { 5: "1.5.5-1", reason: MALFORMED },
  utf8: { 4: "1.5.3-1", 5: "1.5.4-1", reason: MALFORMED },
  nul: { 4: "1.5.3-2", 5: "1.5.4-2", reason: MALFORMED },
  // The fixed header
  flags: { 4: "2.2.2-2", 5: "2.1.3-1", reason: MALFORMED },
  pubrelFlags: { 4: "3.6.1-1", 5: "3.6.1-1", reason: MALFORMED },
  subscribeFlags: { 4: "3.8.1-1", 5: "3.8.1-1", reason: MALFORMED },
  unsubscribeFlags: { 4: "3.10.1-1", 5: "3.10.1-1", reason: MALFORMED },
  disconnectFlags: { 4: "3.14.1-1", 5: "3.14.1-1", reason: MALFORMED },
  authFlags: { 5: "3.15.1-1", reason: MALFORMED },
  qos3: { 4: "3.3.1-4", 5: "3.3.1-4", reason: MALFORMED },
  dup: { 4: "3.3.1-2", 5: "3.3.1-2", reason: PROTOCOL_ERROR },
  // Packet identifiers
  publishId: { 4: "2.3.1-1", 5: "2.2.1-4", reason: PROTOCOL_ERROR },
  requestId: { 4: "2.3.1-1", 5: "2.2.1-3", reason: PROTOCOL_ERROR },
  ackId: { 4: "2.3.1-1", 5: "2.2.1-5", reason: PROTOCOL_ERROR },
  answerId: { 4: "2.3.1-1", 5: "2.2.1-6", reason: PROTOCOL_ERROR },
  // Topic names and filters
  emptyTopic: { 4: "4.7.3-1", 5: "4.7.3-1", reason: PROTOCOL_ERROR },
  wildcard: { 4: "3.3.2-2", 5: "3.3.2-2", reason: PROTOCOL_ERROR },
  hash: { 4: "4.7.1-2", 5: "4.7.1-1", reason: PROTOCOL_ERROR },
  plus: { 4: "4.7.1-3", 5: "4.7.1-2", reason: PROTOCOL_ERROR },
  shareName: { 5: "4.8.2-1", reason: PROTOCOL_ERROR },
  shareFilter: { 5: "4.8.2-2", reason: PROTOCOL_ERROR },
  // CONNECT
  protocolName: { 4: "3.1.2-1", 5: "3.1.2-1", reason: PROTOCOL_ERROR },
  protocolLevel: { 4: "3.1.2-2", 5: "3.1.2-2", reason: PROTOCOL_ERROR },
  connectFlag: { 4: "3.1.2-3", 5: "3.1.2-3", reason: MALFORMED },
  noWillQoS: { 4: "3.1.2-13", 5: "3.1.2-11", reason: MALFORMED },
  noWillRetain: { 4: "3.1.2-15", 5: "3.1.2-13", reason: MALFORMED },
  willQoS: { 4: "3.1.2-14", 5: "3.1.2-12", reason: MALFORMED },
  passwordAlone: { 4: "3.1.2-22", reason: MALFORMED },
  emptyId: { 4: "3.1.3-7", reason: MALFORMED },
  connectEnd: { 4: "3.1.3-1", 5: "3.1.3-1", reason: MALFORMED },
  // What is in the other packets
  connackFlags: { 4: "2.2.2-1", 5: "3.2.2-1", reason: MALFORMED },
  noFilters: { 4: "3.8.3-3", 5: "3.8.3-2", reason: PROTOCOL_ERROR },
  requestedQoS: { 4: "3.8.3-4", 5: "4.13.1-1", reason: PROTOCOL_ERROR },
  noLocalShared: { 5: "3.8.3-4", reason: PROTOCOL_ERROR },
  optionBits: { 5: "3.8.3-5", reason: MALFORMED },
  noGiveUp: { 4: "3.10.3-2", 5: "3.10.3-2", reason: PROTOCOL_ERROR },
  noSubackCodes: { 4: "3.8.4-5", 5: "3.8.4-6", reason: PROTOCOL_ERROR },
  noUnsubackCodes: { 5: "3.11.3-1", reason: PROTOCOL_ERROR },
  // Reason codes
  connackCode: { 5: "3.2.2-8", reason: PROTOCOL_ERROR },
  pubackCode: { 5: "3.4.2-1", reason: PROTOCOL_ERROR },
  pubrecCode: { 5: "3.5.2-1", reason: PROTOCOL_ERROR },
  pubrelCode: { 5: "3.6.2-1", reason: PROTOCOL_ERROR },
  pubcompCode: { 5: "3.7.2-1", reason: PROTOCOL_ERROR },
  subackCode: { 4: "3.9.3-2", 5: "3.9.3-2", reason: PROTOCOL_ERROR },
  unsubackCode: { 5: "3.11.3-2", reason: PROTOCOL_ERROR },
  disconnectCode: { 5: "3.14.2-1", reason: PROTOCOL_ERROR },
  authCode: { 5: "3.15.2-1", reason: PROTOCOL_ERROR },
  reserved: { 4: "4.8.0-1", 5: "4.13.1-1", reason: MALFORMED, code: "unknowncp" },
  // What a session finds
  clientsOnly: { 4: "4.8.0-1", 5: "4.13.1-1", reason: PROTOCOL_ERROR, code: "unknowncp" },
  secondConnack: { 4: "3.2.0-1", 5: "3.2.0-2", reason: PROTOCOL_ERROR },
  answersNothing: { 4: "2.3.1-7", 5: "2.2.1-6", reason: PROTOCOL_ERROR },
  answerCount: { 4: "3.8.4-5", 5: "3.8.4-6", reason: PROTOCOL_ERROR },
  answerQoS: { 4: "3.8.4-6", 5: "3.8.4-7", reason: PROTOCOL_ERROR },
  authUnasked: { 5: "4.12.0-6", reason: PROTOCOL_ERROR },
  authMethod: { 5: "4.12.0-5", reason: PROTOCOL_ERROR },
  presentAnew: { 5: "3.2.2-2", reason: PROTOCOL_ERROR },
  presentRefused: { 5: "3.2.2-6", reason: PROTOCOL_ERROR },
  serverExpiry: { 5: "3.14.2-2", reason: PROTOCOL_ERROR },
  tooMany: { 5: "3.3.4-9", reason: TOO_MANY },
  // Properties
  noProperties: { 5: "2.2.2-1", reason: MALFORMED },
  value: { 5: "4.13.1-1", reason: PROTOCOL_ERROR },
  responseWildcard: { 5: "3.3.2-14", reason: PROTOCOL_ERROR },
  noMethod: { 5: "4.12.0-5", reason: PROTOCOL_ERROR },
  alias0: { 5: "3.3.2-8", reason: ALIAS_INVALID },
  aliasAbove: { 5: "3.3.2-11", reason: ALIAS_INVALID },
  noAliases: { 5: "3.1.2-27", reason: ALIAS_INVALID },
};

/** The error of a mistake. */
export function broken(mistake: string, rule: Rule, version: Version, cause?: unknown): MqttError {
  const { code, reason } = rule;
  return violation(mistake, rule[version]!, { code, version, reason, cause });
}

/** What the peer must have done. */
export function must(done: boolean, mistake: string, rule: Rule, version: Version): asserts done {
  if (!done) throw broken(mistake, rule, version);
}
