/** The fields of one packet, in order.
 * @module */

import type { MqttError } from "../errors.ts";
import { NAMES, type Properties, type Version } from "./packet.ts";
import { checkProperties, readProperties } from "./properties.ts";
import { broken, must, type Rule, RULES } from "./rules.ts";
import { getLength, lengthSize, viewOf } from "./wire.ts";

/** The error of a packet that ends where it must not. */
export function tooShort(type: number, version: Version): MqttError {
  return broken(`a ${NAMES[type]} that ends within a field`, RULES.format, version);
}

/** Reads fields from `at` to `limit`, which is where the packet ends. */
export class Fields {
  readonly #type: number;
  readonly version: Version;
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #limit: number;

  constructor(type: number, version: Version, bytes: Uint8Array, at: number, limit: number) {
    this.#type = type;
    this.version = version;
    this.#bytes = bytes;
    this.#at = at;
    this.#limit = limit;
  }

  /** How many bytes are left. */
  get left(): number {
    return this.#limit - this.#at;
  }

  /** A byte. */
  byte(): number {
    if (this.left < 1) throw tooShort(this.#type, this.version);
    return this.#bytes[this.#at++]!;
  }

  /** A two byte integer. */
  uint16(): number {
    return this.byte() << 8 | this.byte();
  }

  /** A packet identifier; `rule` says that it is not 0. */
  packetId(rule: Rule): number {
    const id = this.uint16();
    must(id !== 0, `a ${NAMES[this.#type]} with packet identifier 0`, rule, this.version);
    return id;
  }

  /** Bytes that have their length before them. */
  binary(): Uint8Array {
    const length = this.uint16();
    if (this.left < length) throw tooShort(this.#type, this.version);
    return this.#bytes.subarray(this.#at, this.#at += length);
  }

  /** What `item` reads, until the packet ends. */
  list<T>(item: () => T, rule: Rule): T[] {
    const items: T[] = [];
    while (this.left > 0) items.push(item());
    must(items.length > 0, `a ${NAMES[this.#type]} with nothing in it`, rule, this.version);
    return items;
  }

  /** The properties of version 5, of the packet or of its will; undefined when there are none. */
  properties(type: number = this.#type): Properties | undefined {
    if (this.version === 4) return undefined;
    must(this.left > 0, `a ${NAMES[type]} without a properties' length`, RULES.noProperties, this.version);
    const bytes = this.#bytes, length = getLength(bytes, this.#at, this.#limit);
    if (length < 0) throw tooShort(type, this.version);
    const start = this.#at + lengthSize(length);
    const end = start + length;
    if (end > this.#limit) throw tooShort(type, this.version);
    this.#at = end;
    checkProperties(bytes, viewOf(bytes), start, end, type);
    return length === 0 ? undefined : readProperties(bytes, start, end);
  }

  /** Nothing is left. */
  end(rule: Rule): void {
    must(this.left === 0, `a ${NAMES[this.#type]} with bytes after its last field`, rule, this.version);
  }
}
