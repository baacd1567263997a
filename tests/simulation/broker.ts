/** A simulated broker: one session, many connections, and all the faults a seed asks for. */
import { encodeNaive, type NaivePacket, type Publish } from "../support/naive.ts";
import type { Random } from "../support/random.ts";
import type { Wire } from "./wire.ts";
import type { World } from "./world.ts";

/** What the broker may do to a connection; all of it is off in the quiet end of a history. */
export interface Manners {
  /** How often a connection has a fault, and a subscription is refused: 0 to 1. */
  faults: number;
  refusals: number;
  /** Whether it hangs up when it is asked for one of the filters it forbids. */
  forbids: boolean;
  /** Whether messages come with QoS 1 and 2, too. */
  qos: boolean;
}

/** A message that the broker sent. */
export interface Sent {
  readonly seq: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: number;
  readonly retain: boolean;
  readonly packetId: number;
  /** QoS 2: whether the client has it already, in this session. */
  received: boolean;
}

/** Bytes that no broker may send after CONNACK, whole or at their start. */
const GARBAGE = [
  [0x00, 0x00],
  [0xf0, 0x00],
  [0x20, 0x02, 0x00, 0x00],
  [0x82, 0x05, 0x00, 0x01, 0x00, 0x00, 0x00],
  [0x30, 0xff, 0xff, 0xff, 0xff],
  [0x30, 0xff, 0xff, 0xff, 0x7f],
  [0x90, 0xff, 0xff, 0xff, 0x7f],
  [0x36, 0x05, 0x00, 0x01, 0x61, 0x00, 0x01],
  [0x30, 0x03, 0x00, 0x01, 0x23],
  [0x90, 0x03, 0xff, 0xff, 0x00],
  [0xd1, 0x00],
];

const LATE_FAULTS = ["fin", "reset", "half-open", "stall", "silent", "mute", "deaf", "garbage"] as const;
const FAULTS = [...LATE_FAULTS, "refusal", "refusal"] as const;

export class Broker {
  readonly manners: Manners;
  readonly #world: World;
  readonly #random: Random;
  /** The session: subscriptions, and messages that wait for PUBACK or PUBREC. */
  readonly filters: Set<string> = new Set();
  readonly #unacknowledged = new Map<number, Sent>();
  #packetId = 0;
  #answered = 0;
  #present = false;
  /** Every message, by its number. */
  readonly sent: Sent[] = [];
  wire: Wire | undefined;

  constructor(world: World, random: Random, manners: Manners) {
    this.#world = world;
    this.#random = random;
    this.manners = manners;
  }

  /** What becomes of a new connection. */
  plan(wire: Wire): void {
    const random = this.#random;
    if (!random.chance(this.manners.faults)) return;
    // The first connection fares better: without it, there is no other.
    const isFirst = wire.index === 0 && random.chance(0.8);
    const fault = isFirst ? random.pick(LATE_FAULTS) : random.pick(FAULTS);
    const act = () => {
      if (wire.closed || wire.fault !== "none") return;
      wire.fault = fault;
      wire.faultAt = this.#world.now;
      if (fault === "fin") wire.brokerEnds();
      else if (fault === "reset") wire.reset();
      else if (fault === "half-open") wire.kill();
      else if (fault === "stall") wire.stall(random.int(1, 20_000));
      else if (fault === "deaf") wire.deafen(random.int(1, 20_000));
      else if (fault === "mute") this.#world.after(random.int(1000, 20_000), () => wire.brokerEnds());
      else if (fault === "garbage") {
        // Behind messages for which there may be no room.
        if (wire === this.wire) this.publish(random.int(0, 10), 20);
        const garbage = random.pick(GARBAGE);
        // As the first packet a CONNACK would not be a mistake, but a lie.
        wire.send(Uint8Array.from(garbage[0] === 0x20 && !wire.connacked ? [0] : garbage), true);
      }
    };
    if (fault === "refusal" || !isFirst && random.chance(fault === "mute" ? 0.5 : 0.1)) act();
    else this.#world.after(isFirst ? random.int(500, 10_000) : random.size(20_000) + 1, act);
  }

  hear(wire: Wire, packet: NaivePacket): void {
    if (packet.type === "CONNECT") return this.#connected(wire, packet.cleanSession);
    if (wire.fault === "silent") return;
    const answer = (reply: NaivePacket, longest = 800) => {
      // Slow at times, and always in order.
      const delay = this.#random.chance(0.1) ? this.#random.int(1, longest) : 0;
      this.#answered = Math.max(this.#answered, this.#world.now + delay);
      if (this.#answered === this.#world.now) this.#say(wire, reply);
      else this.#world.after(this.#answered - this.#world.now, () => this.#say(wire, reply));
    };
    switch (packet.type) {
      case "SUBSCRIBE": {
        if (wire.fault === "mute") return;
        if (this.manners.forbids && packet.filters.some(({ topic }) => isForbidden(topic))) {
          if (wire.fault === "none") wire.fault = "forbids";
          wire.forbade = true;
          return wire.brokerEnds();
        }
        const codes = packet.filters.map(({ topic }) => {
          if (this.#random.chance(this.manners.refusals)) return 128;
          this.filters.add(topic);
          return 0;
        });
        return answer({ type: "SUBACK", packetId: packet.packetId, codes });
      }
      case "UNSUBSCRIBE":
        if (wire.fault === "mute") return;
        for (const filter of packet.filters) this.filters.delete(filter);
        return answer({ type: "UNSUBACK", packetId: packet.packetId });
      case "PINGREQ":
        return answer({ type: "PINGRESP" }, 200); // within the shortest keep alive
      case "PUBACK":
        return void this.#unacknowledged.delete(packet.packetId);
      case "PUBREC":
        this.#unacknowledged.delete(packet.packetId);
        return answer({ type: "PUBREL", packetId: packet.packetId });
      case "DISCONNECT":
        if (this.#random.chance(0.8)) wire.brokerEnds();
    }
  }

  #connected(wire: Wire, clean: boolean): void {
    this.wire = wire;
    if (clean || !this.#present) {
      this.filters.clear();
      this.#unacknowledged.clear();
    }
    if (wire.fault === "silent") return;
    const code = wire.fault === "refusal" ? this.#random.pick([1, 2, 3, 3, 4, 5, 5]) : 0;
    const sessionPresent = code === 0 && !clean && this.#present;
    this.#present = !clean;
    this.#say(wire, { type: "CONNACK", sessionPresent, code });
    if (code !== 0) return wire.brokerEnds();
    for (const sent of this.#unacknowledged.values()) this.#say(wire, publishPacket(sent, true));
  }

  /** Sends messages to whoever is connected, numbered in their payloads. */
  publish(count: number, longest: number): void {
    for (let i = 0; i < count; i++) {
      const wire = this.wire;
      if (wire === undefined || wire.brokerClosed || wire.fault === "silent" || this.filters.size === 0) return;
      const topic = `t/${this.#random.int(0, 3)}`;
      if (![...this.filters].some((filter) => filterMatches(filter, topic))) continue;
      const qos = this.manners.qos && this.#random.chance(0.4) ? this.#random.int(1, 2) : 0;
      const packetId = qos === 0 ? 0 : this.#packetId = this.#packetId % 65_535 + 1;
      const seq = this.sent.length;
      const payload = numbered(seq, 4 + this.#random.size(longest));
      const sent = { seq, topic, payload, qos, retain: this.#random.chance(0.2), packetId, received: false };
      this.sent.push(sent);
      if (qos > 0) this.#unacknowledged.set(packetId, sent);
      this.#say(wire, publishPacket(sent, false));
      // Not acknowledged yet: it may come once more, and must not be delivered again.
      if (qos === 2 && this.#random.chance(0.3)) this.#say(wire, publishPacket(sent, true));
    }
  }

  #say(wire: Wire, packet: NaivePacket): void {
    wire.send(encodeNaive(packet));
  }
}

function publishPacket({ topic, payload, qos, retain, packetId }: Sent, dup: boolean): Publish {
  return { type: "PUBLISH", topic, payload, qos, retain, dup, packetId };
}

/** A payload that says its number and length. */
export function numbered(seq: number, length: number): Uint8Array {
  const payload = new Uint8Array(length);
  new DataView(payload.buffer).setUint32(0, seq);
  for (let i = 4; i < Math.min(length, 64); i++) payload[i] = seq + i;
  return payload;
}

/** The number of a payload. */
export function numberOf(payload: Uint8Array): number {
  return new DataView(payload.buffer, payload.byteOffset, payload.length).getUint32(0);
}

/** One in five of those that only one call asks for. */
function isForbidden(filter: string): boolean {
  return filter.startsWith("x/") && Number(filter.slice(2)) % 5 === 0;
}

/** For the filters that the simulation uses. */
export function filterMatches(filter: string, topic: string): boolean {
  return filter === "#" || filter === topic || filter === "t/+" && topic.startsWith("t/");
}
