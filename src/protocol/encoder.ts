/** Packets to bytes.
 * @module */

import type { ConnectPacket, ControlPacket, FilterRequest, Version } from "./packet.ts";
import * as packets from "./packet.ts";
import { propertyFields } from "./properties.ts";
import { binary, type Field, lengthSize, putLength, sizeOfFields, string, uint16 } from "./wire.ts";

const { CONNACK, CONNECT, MAX_REMAINING_LENGTH, PINGREQ, PINGRESP, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE } =
  packets;

/**
 * The bytes of any packet but PUBLISH, which `Output` writes in place. In version 4 what only version 5 has is left out.
 *
 * @throws {TypeError | RangeError} If a property is wrong, or the packet too long.
 */
export function encode(packet: ControlPacket, version: Version = 4): Uint8Array<ArrayBuffer> {
  const { type } = packet;
  const fields = version === 5 ? fieldsOf5(packet) : fieldsOf(packet);
  const length = sizeOfFields(fields);
  if (length > MAX_REMAINING_LENGTH) {
    throw new RangeError(`Cannot send a packet of ${length} bytes as the protocol allows ${MAX_REMAINING_LENGTH}`);
  }
  const bytes = new Uint8Array(1 + lengthSize(length) + length);
  // These three have flags (table 2.2).
  bytes[0] = type << 4 | (type === PUBREL || type === SUBSCRIBE || type === UNSUBSCRIBE ? 2 : 0);
  let at = putLength(bytes, 1, length);
  for (const field of fields) {
    bytes.set(field, at);
    at += field.length;
  }
  return bytes;
}

function fieldsOf(packet: ControlPacket): Field[] {
  if (packet.type === CONNECT) return connectFields(packet, 4);
  if (packet.type === CONNACK) return [[packet.sessionPresent ? 1 : 0, packet.code]];
  if (!("packetId" in packet)) return [];
  const id = uint16(packet.packetId);
  if (packet.type === SUBSCRIBE) return [id, ...packet.filters.flatMap(({ topic, qos }) => [...string(topic), [qos]])];
  if (packet.type === UNSUBSCRIBE) return [id, ...packet.filters.flatMap(string)];
  return packet.type === SUBACK ? [id, packet.codes] : [id];
}

/** The same in version 5: properties go before what a request is about, and codes, when they are not 0, before those. */
function fieldsOf5(packet: ControlPacket): Field[] {
  if (packet.type === CONNECT) return connectFields(packet, 5);
  if (packet.type === PINGREQ || packet.type === PINGRESP) return [];
  const properties = propertyFields(packet.type, packet.properties);
  if (packet.type === CONNACK) return [[packet.sessionPresent ? 1 : 0, packet.code], ...properties];
  const id = "packetId" in packet ? [uint16(packet.packetId)] : [];
  if (packet.type === SUBSCRIBE) return [...id, ...properties, ...packet.filters.flatMap(requestFields)];
  if (packet.type === UNSUBSCRIBE) return [...id, ...properties, ...packet.filters.flatMap(string)];
  if (packet.type === SUBACK || packet.type === UNSUBACK) return [...id, ...properties, packet.codes ?? []];
  const { code = 0 } = packet;
  const hasProperties = properties.length > 1;
  if (code === 0 && !hasProperties) return id;
  // AUTH is the one that cannot leave out its properties' length only (section 3.15.2.1).
  return [...id, [code], ...(hasProperties || packet.type === packets.AUTH ? properties : [])];
}

/** A topic filter and its subscription options (section 3.8.3.1). */
function requestFields({ topic, qos, noLocal, retainAsPublished, retainHandling = 0 }: FilterRequest): Field[] {
  return [...string(topic), [qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | retainHandling << 4]];
}

/** The order of the payload's fields is fixed [MQTT-3.1.3-1]. */
function connectFields(packet: ConnectPacket, version: Version): Field[] {
  const { id, keepalive, cleanSession, will, uname, passwd } = packet;
  const propertiesOf = (type: number, properties: ConnectPacket["properties"]) =>
    version === 5 ? propertyFields(type, properties) : [];
  const willFlags = will ? 0x04 | will.qos << 3 | (will.retain ? 0x20 : 0) : 0;
  const flags = (cleanSession ? 0x02 : 0) | willFlags | (passwd ? 0x40 : 0) | (uname ? 0x80 : 0);
  const fields = [...string("MQTT"), [version, flags], uint16(keepalive)];
  fields.push(...propertiesOf(CONNECT, packet.properties), ...string(id));
  if (will) fields.push(...propertiesOf(packets.WILL, will.properties), ...string(will.topic), ...binary(will.message));
  return [...fields, ...(uname ? binary(uname) : []), ...(passwd ? binary(passwd) : [])];
}
