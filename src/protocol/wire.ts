/** The data types of the protocol as bytes (section 1.5).
 * @module */

import { utf8 } from "./bytes.ts";
import { broken, RULES } from "./rules.ts";

/** Part of a packet. */
export type Field = Uint8Array | readonly number[];

/** A two byte integer. */
export function uint16(value: number): Field {
  return [value >> 8, value & 255];
}

/** A four byte integer. */
export function uint32(value: number): Field {
  return [value >>> 24, value >>> 16 & 255, value >>> 8 & 255, value & 255];
}

/** Bytes, with their length before them. */
export function binary(bytes: Uint8Array): Field[] {
  return [uint16(bytes.length), bytes];
}

/** A UTF-8 encoded string. */
export function string(text: string): Field[] {
  return binary(utf8.encode(text));
}

/** A variable byte integer. */
export function varint(value: number): Field {
  const bytes = new Uint8Array(lengthSize(value));
  putLength(bytes, 0, value);
  return bytes;
}

/** The bytes of the fields, one behind the other. */
export function concat(fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(sizeOfFields(fields));
  let at = 0;
  for (const field of fields) {
    all.set(field, at);
    at += field.length;
  }
  return all;
}

/** The same bytes, as a view over them. */
export function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length);
}

/** How many bytes all of the fields have. */
export function sizeOfFields(fields: readonly Field[]): number {
  return fields.reduce((sum, { length }) => sum + length, 0);
}

/** How many bytes a variable byte integer takes, such as a remaining length (section 2.2.3). */
export function lengthSize(length: number): number {
  return length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x200000 ? 3 : 4;
}

/** Writes a variable byte integer and returns where it ends. */
export function putLength(bytes: Uint8Array, at: number, length: number): number {
  for (; length > 127; length >>>= 7) bytes[at++] = length & 127 | 128;
  bytes[at++] = length;
  return at;
}

/**
 * The variable byte integer of version 5 at a place; -1 when it goes on at `end`. It takes `lengthSize` bytes, as it must
 * be as short as it can be.
 *
 * @throws {MqttError} `"protocol"`
 */
export function getLength(bytes: Uint8Array, at: number, end: number): number {
  let length = 0;
  for (let shift = 0; at < end; shift += 7) {
    const byte = bytes[at++]!;
    length |= (byte & 127) << shift;
    if (byte === 0 && shift > 0) throw broken("a number in more bytes than it needs", RULES.shortest, 5);
    if (byte < 128) return length;
    if (shift === 21) throw broken("a number of more than four bytes", RULES.format, 5);
  }
  return -1;
}
