/** Topic aliases of MQTT 5 (section 3.3.2.3.4), for what a client sends: a name goes out once, and as a number then.
 * @module */

import { packetEnd } from "./output.ts";
import { PUBLISH } from "./packet.ts";
import { TOPIC_ALIAS } from "./properties.ts";
import { concat, getLength, lengthSize, uint16, varint } from "./wire.ts";

/** What an alias takes of a packet, in bytes: a name that is no longer is not replaced. */
const SIZE = 3;

const latin1 = new TextDecoder("latin1");

/**
 * The aliases of one connection: there are so many, and of more names those that were used last have one. They are given
 * when bytes are written, as nothing that outlives the connection may have them [MQTT5-3.3.2-7].
 */
export class Aliases {
  readonly #maximum: number;
  readonly #largest: number;
  /** By topic name, its bytes as letters; the one that was used last is the last. */
  readonly #aliases = new Map<string, number>();

  /** `maximum`: the highest alias; packets are not made larger than `largest` bytes. */
  constructor(maximum: number, largest: number) {
    this.#maximum = maximum;
    this.#largest = largest;
  }

  /** Whole packets, with aliases in place of the topic names that have one. */
  replace(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const parts: (Uint8Array | readonly number[])[] = [];
    let from = 0;
    for (let start = 0, end = 0; start < bytes.length; start = end) {
      end = packetEnd(bytes, start);
      if (bytes[start]! >> 4 !== PUBLISH) continue;
      const packet = this.#replaced(bytes.subarray(start, end));
      if (packet === undefined) continue;
      parts.push(bytes.subarray(from, start), ...packet);
      from = end;
    }
    if (from === 0) return bytes;
    return concat([...parts, bytes.subarray(from)]);
  }

  /** The parts of a PUBLISH with an alias; undefined when it has none. */
  #replaced(packet: Uint8Array): (Uint8Array | readonly number[])[] | undefined {
    const name = 1 + lengthSize(getLength(packet, 1, packet.length));
    const nameEnd = name + 2 + (packet[name]! << 8 | packet[name + 1]!);
    if (nameEnd - name - 2 <= SIZE) return undefined;
    const properties = nameEnd + ((packet[0]! & 6) === 0 ? 0 : 2);
    const length = getLength(packet, properties, packet.length), first = properties + lengthSize(length);
    const topic = latin1.decode(packet.subarray(name + 2, nameEnd));
    const known = this.#aliases.get(topic), alias = known ?? this.#free;
    const own = varint(length + SIZE), size = own.length + SIZE + packet.length - first;
    const head = known === undefined ? packet.subarray(name, nameEnd) : [0, 0];
    const remaining = head.length + (properties - nameEnd) + size;
    if (1 + lengthSize(remaining) + remaining > this.#largest) return undefined;
    if (known === undefined) this.#forget(alias);
    this.#aliases.delete(topic);
    this.#aliases.set(topic, alias);
    const id = packet.subarray(nameEnd, properties);
    return [[packet[0]!], varint(remaining), head, id, own, [TOPIC_ALIAS], uint16(alias), packet.subarray(first)];
  }

  /** The alias that the next name gets: one that was never used, or that of the name that was not used for the longest time. */
  get #free(): number {
    if (this.#aliases.size < this.#maximum) return this.#aliases.size + 1;
    const [first] = this.#aliases.values();
    return first!;
  }

  /** An alias does not stand for its name any more, if it has one: the first is the one. */
  #forget(alias: number): void {
    const [first] = this.#aliases;
    if (first?.[1] === alias && this.#aliases.size === this.#maximum) this.#aliases.delete(first[0]);
  }
}
