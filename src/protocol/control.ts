/** Bytes to packets: all but PUBLISH.
 * @module */

import type { Fields } from "./fields.ts";
import * as packet from "./packet.ts";
import { NAMES } from "./packet.ts";
import { must, RULES } from "./rules.ts";
import { decodeFilter, decodeName, decodeString } from "./text.ts";

/** The reason codes of each packet of version 5 (table 2-6), and where it says so. */
const PUBLISHED = [0, 16, 128, 131, 135, 144, 145, 151, 153];
const RELEASED = [0, 146];
const CODES: Record<number, readonly number[]> = {
  [packet.CONNACK]: [
    ...[0, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 140],
    ...[144, 149, 151, 153, 154, 155, 156, 157, 159],
  ],
  [packet.PUBACK]: PUBLISHED,
  [packet.PUBREC]: PUBLISHED,
  [packet.PUBREL]: RELEASED,
  [packet.PUBCOMP]: RELEASED,
  [packet.SUBACK]: [0, 1, 2, 128, 131, 135, 143, 145, 151, 158, 161, 162],
  [packet.UNSUBACK]: [0, 17, 128, 131, 135, 143, 145],
  [packet.DISCONNECT]: [
    ...[0, 4, 128, 129, 130, 131, 135, 137, 139, 141, 142, 143, 144, 147, 148, 149, 150, 151, 152, 153, 154, 155],
    ...[156, 157, 158, 159, 160, 161, 162],
  ],
  [packet.AUTH]: [0, 24, 25],
};
const CODE_RULES = {
  [packet.CONNACK]: RULES.connackCode,
  [packet.PUBACK]: RULES.pubackCode,
  [packet.PUBREC]: RULES.pubrecCode,
  [packet.PUBREL]: RULES.pubrelCode,
  [packet.PUBCOMP]: RULES.pubcompCode,
  [packet.SUBACK]: RULES.subackCode,
  [packet.UNSUBACK]: RULES.unsubackCode,
  [packet.DISCONNECT]: RULES.disconnectCode,
  [packet.AUTH]: RULES.authCode,
};

function reasonCode(type: keyof typeof CODE_RULES, fields: Fields): number {
  const code = fields.byte();
  must(CODES[type]!.includes(code), `a ${NAMES[type]} with reason code ${code}`, CODE_RULES[type], fields.version);
  return code;
}

/**
 * The packet that the fields are of.
 *
 * @throws {MqttError} `"protocol"`
 */
export function decodeControl(type: packet.ControlPacket["type"], fields: Fields): packet.ControlPacket {
  switch (type) {
    case packet.CONNECT:
      return decodeConnect(fields);
    case packet.CONNACK:
      return decodeConnack(fields);
    case packet.SUBSCRIBE:
    case packet.UNSUBSCRIBE:
      return decodeRequest(type, fields);
    case packet.SUBACK:
    case packet.UNSUBACK:
      return decodeAnswer(type, fields);
    case packet.PINGREQ:
    case packet.PINGRESP:
      return { type };
    case packet.DISCONNECT:
      return fields.left === 0 ? { type } : { type, ...decodeEnd(type, fields) };
    case packet.AUTH:
      // With nothing in it, it is code 0 without properties (section 3.15.2.1), although others need a method.
      return fields.left === 0 ? { type, code: 0 } : { type, code: reasonCode(type, fields), ...decodeRest(fields) };
    default: {
      const packetId = fields.packetId(RULES.ackId);
      return fields.left === 0 ? { type, packetId } : { type, packetId, ...decodeEnd(type, fields) };
    }
  }
}

/** A reason code, and properties, whose length may be left out. */
function decodeEnd(type: packet.AckPacket["type"] | typeof packet.DISCONNECT, fields: Fields): {
  code: number;
  properties?: packet.Properties | undefined;
} {
  const code = reasonCode(type, fields);
  return fields.left === 0 ? { code } : { code, ...decodeRest(fields) };
}

/** Properties, behind which nothing is. */
function decodeRest(fields: Fields): { properties: packet.Properties | undefined } {
  const properties = fields.properties();
  fields.end(RULES.format);
  return { properties };
}

function decodeConnack(fields: Fields): packet.ConnackPacket {
  const type = packet.CONNACK, { version } = fields;
  const flags = fields.byte();
  must(flags < 2, `a CONNACK with acknowledge flags ${flags}`, RULES.connackFlags, version);
  const sessionPresent = flags === 1;
  if (version === 4) return { type, sessionPresent, code: fields.byte() };
  return { type, sessionPresent, code: reasonCode(type, fields), ...decodeRest(fields) };
}

function decodeRequest(
  type: typeof packet.SUBSCRIBE | typeof packet.UNSUBSCRIBE,
  fields: Fields,
): packet.SubscribePacket | packet.UnsubscribePacket {
  const { version } = fields;
  const packetId = fields.packetId(RULES.requestId);
  const some = version === 5 ? { properties: fields.properties() } : {};
  if (type === packet.SUBSCRIBE) {
    return { type, packetId, filters: fields.list(() => decodeOptions(fields), RULES.noFilters), ...some };
  }
  const filters = fields.list(() => decodeFilter(fields.binary(), version), RULES.noGiveUp);
  return { type, packetId, filters, ...some };
}

/** A topic filter, and how it is subscribed. */
function decodeOptions(fields: Fields): packet.FilterRequest {
  const { version } = fields;
  const topic = decodeFilter(fields.binary(), version);
  const options = fields.byte();
  if (version === 5) must(options < 64, `subscription options ${options}`, RULES.optionBits, version);
  const qos = version === 5 ? options & 3 : options;
  must(qos < 3, `a SUBSCRIBE with requested QoS ${qos}`, RULES.requestedQoS, version);
  if (version === 4) return { topic, qos: qos as packet.QoS };
  const retainHandling = options >> 4;
  must(retainHandling < 3, `retain handling ${retainHandling}`, RULES.value, version);
  const noLocal = (options & 4) !== 0;
  must(!noLocal || !topic.startsWith("$share/"), "no local for a shared subscription", RULES.noLocalShared, version);
  return {
    topic,
    qos: qos as packet.QoS,
    noLocal,
    retainAsPublished: (options & 8) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  };
}

function decodeAnswer(
  type: typeof packet.SUBACK | typeof packet.UNSUBACK,
  fields: Fields,
): packet.SubackPacket | packet.UnsubackPacket {
  const packetId = fields.packetId(RULES.answerId);
  if (fields.version === 5) {
    const properties = fields.properties();
    const none = type === packet.SUBACK ? RULES.noSubackCodes : RULES.noUnsubackCodes;
    return { type, packetId, codes: fields.list(() => reasonCode(type, fields), none), properties };
  }
  if (type === packet.UNSUBACK) return { type, packetId };
  return { type, packetId, codes: fields.list(() => decodeReturnCode(fields), RULES.noSubackCodes) };
}

function decodeReturnCode(fields: Fields): number {
  const code = fields.byte();
  must(code < 3 || code === 128, `a SUBACK with return code ${code}`, RULES.subackCode, 4);
  return code;
}

function decodeConnect(fields: Fields): packet.ConnectPacket {
  const { version } = fields, is4 = version === 4;
  must(decodeString(fields.binary(), version) === "MQTT", "another protocol name", RULES.protocolName, version);
  must(fields.byte() === version, "another protocol level", RULES.protocolLevel, version);
  const flags = fields.byte();
  const has = (bit: number) => (flags & bit) !== 0;
  const qos = flags >> 3 & 3;
  must(!has(0x01), "a CONNECT with its reserved flag set", RULES.connectFlag, version);
  must(has(0x04) || qos === 0, "a will QoS without a will", RULES.noWillQoS, version);
  must(has(0x04) || !has(0x20), "a will retain without a will", RULES.noWillRetain, version);
  must(qos < 3, "a will QoS of 3", RULES.willQoS, version);
  if (is4) must(has(0x80) || !has(0x40), "a password without a user name", RULES.passwordAlone, version);
  const keepalive = fields.uint16();
  const some = is4 ? {} : { properties: fields.properties() };
  const id = decodeString(fields.binary(), version);
  if (is4) must(id !== "" || has(0x02), "an empty client identifier without clean session", RULES.emptyId, version);
  const will = has(0x04) ? decodeWill(fields, { qos: qos as packet.QoS, retain: has(0x20) }) : undefined;
  const uname = has(0x80) ? fields.binary() : undefined;
  const passwd = has(0x40) ? fields.binary() : undefined;
  if (uname !== undefined) decodeString(uname, version);
  fields.end(RULES.connectEnd);
  return { type: packet.CONNECT, id, keepalive, cleanSession: has(0x02), will, uname, passwd, ...some };
}

function decodeWill(fields: Fields, flags: { qos: packet.QoS; retain: boolean }): packet.WillFields {
  const some = fields.version === 5 ? { properties: fields.properties(packet.WILL) } : {};
  const topic = decodeName(fields.binary(), fields.version);
  return { topic, message: fields.binary(), ...flags, ...some };
}
