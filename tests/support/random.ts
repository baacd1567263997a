/** Chance that can be repeated: the same seed gives the same test. */
import type { NaivePacket } from "./naive.ts";
import { isAllowed, type NaiveProperty } from "./naive_properties.ts";
import { reasonsOf } from "./naive_reasons.ts";

/** A generator of pseudo-random numbers (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 to 1, without 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ mixed >>> 15, mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61);
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  }

  /** A whole number of `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** Mostly small, sometimes up to `max`. */
  size(max: number): number {
    return Math.floor(max ** this.next()) - (this.chance(0.2) ? 1 : 0);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(0, items.length - 1)]!;
  }

  bytes(length: number): Uint8Array {
    const found = new Uint8Array(length);
    for (let i = 0; i < length; i++) found[i] = this.next() * 256;
    return found;
  }

  /** Letters of all lengths of UTF-8, and the BOM. */
  text(length: number): string {
    let text = "";
    for (let i = 0; i < length; i++) {
      text += this.chance(0.8) ? this.pick([..."abcxyz/ $0"]) : this.pick([..."éßЖ€漢\ufeff\u0080\uffff😀\u{10ffff}"]);
    }
    return text;
  }

  name(): string {
    return this.text(this.int(1, 30));
  }

  /** A valid topic filter. */
  filter(): string {
    const levels = Array.from(
      { length: this.int(1, 5) },
      () => this.chance(0.3) ? "+" : this.pick(["", "a", "b", "é", "$x"]),
    );
    if (this.chance(0.3)) levels.push("#");
    return levels.join("/") || "/";
  }

  /** Any of the fourteen packets; payloads up to `max` bytes. */
  packet(max = 300): NaivePacket {
    const packetId = this.int(1, 65_535);
    const qos = this.int(0, 2);
    const some = <T>(make: () => T) => Array.from({ length: this.int(1, 5) }, make);
    switch (this.int(1, 20)) {
      case 1: {
        const uname = this.chance(0.5) ? new TextEncoder().encode(this.name()) : undefined;
        const passwd = uname && this.chance(0.5) ? this.bytes(this.int(0, 20)) : undefined;
        const will = this.chance(0.5)
          ? { topic: this.name(), message: this.bytes(this.size(max)), qos, retain: this.chance(0.5) }
          : undefined;
        const keepalive = this.int(0, 65_535);
        return { type: "CONNECT", id: this.name(), keepalive, cleanSession: this.chance(0.5), will, uname, passwd };
      }
      case 2:
        return { type: "CONNACK", sessionPresent: this.chance(0.5), code: this.int(0, 5) };
      case 3:
        return { type: this.pick(["PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "UNSUBACK"] as const), packetId };
      case 4:
        return { type: "SUBSCRIBE", packetId, filters: some(() => ({ topic: this.filter(), qos: this.int(0, 2) })) };
      case 5:
        return { type: "SUBACK", packetId, codes: some(() => this.pick([0, 1, 2, 128])) };
      case 6:
        return { type: "UNSUBSCRIBE", packetId, filters: some(() => this.filter()) };
      case 7:
        return { type: this.pick(["PINGREQ", "PINGRESP", "DISCONNECT"] as const) };
      default:
        return {
          type: "PUBLISH",
          topic: this.name(),
          payload: this.bytes(this.size(max)),
          qos,
          retain: this.chance(0.5),
          dup: qos > 0 && this.chance(0.5),
          packetId: qos > 0 ? packetId : 0,
        };
    }
  }

  /** Any packet of version 5; of those that only it has, some. */
  packet5(max = 300): NaivePacket {
    const packet = this.chance(0.05) ? { type: this.pick(["DISCONNECT", "AUTH"] as const) } : this.packet(max);
    const { type } = packet;
    switch (type) {
      case "PINGREQ":
      case "PINGRESP":
        return packet;
      case "CONNECT": {
        const will = packet.will && { ...packet.will, properties: this.properties("WILL") };
        return { ...packet, will, properties: this.properties(type) };
      }
      case "SUBSCRIBE": {
        const filters = packet.filters.map((filter) => ({
          ...filter,
          noLocal: this.chance(0.5),
          retainAsPublished: this.chance(0.5),
          retainHandling: this.int(0, 2),
        }));
        return { ...packet, filters, properties: this.properties(type) };
      }
      case "UNSUBSCRIBE":
      case "PUBLISH":
        return { ...packet, properties: this.properties(type) };
      case "SUBACK":
      case "UNSUBACK": {
        const codes = Array.from({ length: this.int(1, 5) }, () => this.pick(reasonsOf(type)));
        return { ...packet, codes, properties: this.properties(type) } as NaivePacket;
      }
      default: {
        const code = this.chance(0.5) ? 0 : this.pick(reasonsOf(type));
        const properties = this.properties(type);
        if (type === "AUTH" && !properties.some(([identifier]) => identifier === 21)) {
          return { type, code: 0, properties: [] };
        }
        return { ...packet, code, properties } as NaivePacket;
      }
    }
  }

  /** Some properties of a packet, by their identifiers; no topic alias, which needs a connection. */
  properties(packet: string): NaiveProperty[] {
    const found: NaiveProperty[] = [];
    if (this.chance(0.4)) return found;
    for (let identifier = 1; identifier < 43; identifier++) {
      if (identifier === 35 || !isAllowed(identifier, packet) || this.chance(0.6)) continue;
      if (identifier === 22 && found.at(-1)?.[0] !== 21) continue;
      const isMany = identifier === 38 || identifier === 11 && packet === "PUBLISH";
      for (let times = isMany ? this.int(1, 4) : 1; times > 0; times--) {
        found.push([identifier, this.#value(identifier)]);
      }
    }
    return found;
  }

  #value(identifier: number): NaiveProperty[1] {
    if ([1, 23, 25, 36, 37, 40, 41, 42].includes(identifier)) return this.int(0, 1);
    if ([19, 33, 34].includes(identifier)) return this.int(1, 65_535);
    if ([2, 17, 24, 39].includes(identifier)) return this.pick([1, 255, 65_536, 4_294_967_295, this.int(1, 1 << 30)]);
    if (identifier === 11) return this.pick([1, 127, 128, 16_383, 16_384, 2_097_152, 268_435_455]);
    if ([9, 22].includes(identifier)) return this.bytes(this.int(0, 20));
    if (identifier === 8) return this.name();
    return identifier === 38 ? [this.text(this.int(0, 9)), this.text(this.int(0, 9))] : this.text(this.int(0, 12));
  }
}
