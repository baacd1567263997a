/** Packets to bytes.
 * @module */

import type { ConnectPacket, ControlPacket } from "./packet.ts";
import { CONNACK, CONNECT, MAX_REMAINING_LENGTH, PUBREL, SUBACK, SUBSCRIBE, UNSUBSCRIBE } from "./packet.ts";

const utf8 = new TextEncoder();

/** The bytes of any packet but PUBLISH, which `Output` writes in place. */
export function encode(packet: ControlPacket): Uint8Array<ArrayBuffer> {
  const { type } = packet;
  const fields = fieldsOf(packet);
  const length = fields.reduce((sum, field) => sum + field.length, 0);
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

type Field = Uint8Array | readonly number[];

function fieldsOf(packet: ControlPacket): Field[] {
  if (packet.type === CONNECT) return connectFields(packet);
  if (packet.type === CONNACK) return [[packet.sessionPresent ? 1 : 0, packet.code]];
  if (!("packetId" in packet)) return [];
  const id = uint16(packet.packetId);
  if (packet.type === SUBSCRIBE) return [id, ...packet.filters.flatMap(({ topic, qos }) => [...string(topic), [qos]])];
  if (packet.type === UNSUBSCRIBE) return [id, ...packet.filters.flatMap(string)];
  return packet.type === SUBACK ? [id, packet.codes] : [id];
}

/** The order of the payload's fields is fixed [MQTT-3.1.3-1]. */
function connectFields({ id, keepalive, cleanSession, will, uname, passwd }: ConnectPacket): Field[] {
  const willFlags = will ? 0x04 | will.qos << 3 | (will.retain ? 0x20 : 0) : 0;
  const flags = (cleanSession ? 0x02 : 0) | willFlags | (passwd ? 0x40 : 0) | (uname ? 0x80 : 0);
  const fields = [...string("MQTT"), [4, flags], uint16(keepalive), ...string(id)];
  if (will) fields.push(...string(will.topic), ...binary(will.message));
  return [...fields, ...(uname ? binary(uname) : []), ...(passwd ? binary(passwd) : [])];
}

function uint16(value: number): Field {
  return [value >> 8, value & 255];
}

function binary(bytes: Uint8Array): Field[] {
  return [uint16(bytes.length), bytes];
}

function string(text: string): Field[] {
  return binary(utf8.encode(text));
}

/** How many bytes a remaining length takes (section 2.2.3). */
export function lengthSize(length: number): number {
  return length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x200000 ? 3 : 4;
}

/** Writes a remaining length (section 2.2.3) and returns where it ends. */
export function putLength(bytes: Uint8Array, at: number, length: number): number {
  for (; length > 127; length >>>= 7) bytes[at++] = length & 127 | 128;
  bytes[at++] = length;
  return at;
}
