/** Chance that can be repeated: the same seed gives the same test. */
import type { NaivePacket } from "./naive.ts";

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
}
