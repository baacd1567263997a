/** Packets to bytes.
 * @module */

import {
  CONNACK,
  CONNECT,
  type ConnectPacket,
  type ControlPacket,
  MAX_REMAINING_LENGTH,
  PUBREL,
  SUBACK,
  SUBSCRIBE,
  UNSUBSCRIBE,
} from "./packet.ts";

const utf8 = new TextEncoder();

/** The bytes of any packet but PUBLISH, which `Output` writes in place. */
export function encode(packet: ControlPacket): Uint8Array<ArrayBuffer> {
  const { type } = packet;
  switch (type) {
    case CONNECT:
      return encodeConnect(packet);
    case CONNACK:
      return frame(type, 0, [[packet.sessionPresent ? 1 : 0, packet.code]]);
    case SUBSCRIBE:
      return frame(type, 2, [
        uint16(packet.packetId),
        ...packet.filters.flatMap(({ topic, qos }) => [...string(topic), [qos]]),
      ]);
    case SUBACK:
      return frame(type, 0, [uint16(packet.packetId), packet.codes]);
    case UNSUBSCRIBE:
      return frame(type, 2, [uint16(packet.packetId), ...packet.filters.flatMap(string)]);
    default:
      return "packetId" in packet
        ? frame(type, type === PUBREL ? 2 : 0, [uint16(packet.packetId)])
        : frame(type, 0, []);
  }
}

type Field = Uint8Array | readonly number[];

function encodeConnect({ id, keepalive, cleanSession, will, uname, passwd }: ConnectPacket): Uint8Array<ArrayBuffer> {
  const flags = (cleanSession ? 2 : 0) |
    (will ? 4 | will.qos << 3 | (will.retain ? 0x20 : 0) : 0) |
    (uname ? 0x80 : 0) | (passwd ? 0x40 : 0);
  // The order of the payload's fields is fixed [MQTT-3.1.3-1].
  return frame(CONNECT, 0, [
    ...string("MQTT"),
    [4, flags],
    uint16(keepalive),
    ...string(id),
    ...(will ? [...string(will.topic), ...binary(will.message)] : []),
    ...(uname ? binary(uname) : []),
    ...(passwd ? binary(passwd) : []),
  ]);
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

function frame(type: number, flags: number, fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const length = fields.reduce((sum, field) => sum + field.length, 0);
  if (length > MAX_REMAINING_LENGTH) {
    throw new RangeError(`Cannot send a packet of ${length} bytes as the protocol allows ${MAX_REMAINING_LENGTH}`);
  }
  const bytes = new Uint8Array(1 + lengthSize(length) + length);
  bytes[0] = type << 4 | flags;
  let at = putLength(bytes, 1, length);
  for (const field of fields) {
    bytes.set(field, at);
    at += field.length;
  }
  return bytes;
}

/** How many bytes a remaining length takes (section 2.2.3). */
export function lengthSize(length: number): number {
  return length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x200000 ? 3 : 4;
}

/** Writes a remaining length (section 2.2.3) and returns where it ends. */
export function putLength(bytes: Uint8Array, at: number, length: number): number {
  while (length > 127) {
    bytes[at++] = length & 127 | 128;
    length >>>= 7;
  }
  bytes[at++] = length;
  return at;
}
