/** A simulated broker: one session, many connections, and all the faults a seed asks for. */
import type { Connect, NaivePacket, Publish } from "../support/naive.ts";
import { encodeProperties, type NaiveProperty, numberIn } from "../support/naive_properties.ts";
import type { Random } from "../support/random.ts";
import { mistakesOf } from "./mistakes.ts";
import type { Wanted } from "./versions.ts";
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
  /** The newest version that it speaks, and how it answers a newer one: as the older has it, as the newer, or not at all. */
  newest: 4 | 5;
  refusesVersion: "older" | "newer" | "silently";
}

/** A message that the broker sent. */
export interface Sent {
  readonly seq: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: number;
  readonly retain: boolean;
  readonly packetId: number;
  /** Of version 5: seconds until it expires. */
  readonly expiry: number | undefined;
  /** The filters that it came for last, where the packet says so by their identifiers; with none of those, it is for all. */
  filters: readonly string[];
  /** Bytes of its properties, without their length. */
  propertiesSize: number;
  /** QoS 2: whether the client has it already, in this session. */
  received: boolean;
}

/** Reason codes of version 5: of filters that are refused, of CONNACK, and of DISCONNECT. No two of them have one in common. */
export const REFUSALS: readonly number[] = [0x80, 0x83, 0x87, 0x8f, 0x97];
const UNSUBACK_REFUSALS = [0x80, 0x83, 0x87];
const CONNACK_REFUSALS = [0x84, 0x85, 0x86, 0x88, 0x89, 0x8a, 0x8a, 0x9c, 0x9f, 0x9f];
export const GOODBYES: readonly number[] = [0x8b, 0x8d, 0x96, 0x98, 0xa0];
/** The filter was not there. */
const NO_SUBSCRIPTION = 0x11;
/** Properties of version 5. */
const EXPIRY = 2, SUBSCRIPTION_ID = 11, KEEPALIVE = 19, REASON = 31, RECEIVE_MAXIMUM = 33, ALIASES = 34, USER = 38;
const IDS_AVAILABLE = 41;

/** Whether an error's code is that of a filter that is refused. */
export function isRefusal(code: string | number): boolean {
  return REFUSALS.includes(code as number);
}

/** Whether it is that of a DISCONNECT of the broker. */
export function isGoodbye(code: string | number): boolean {
  return GOODBYES.includes(code as number);
}

const LATE_FAULTS = ["fin", "reset", "half-open", "stall", "silent", "mute", "deaf", "garbage", "goodbye"] as const;
const FAULTS = [...LATE_FAULTS, "refusal", "refusal"] as const;

/** What version a client is to speak, and what its broker does. */
export function chooseVersion(
  random: Random,
  seed: number,
): { version: Wanted } & Pick<Manners, "newest" | "refusesVersion"> {
  const version = seed % 2 === 0 ? 4 : random.chance(0.4) ? "auto" : 5;
  return {
    version,
    newest: version === "auto" ? random.pick([4, 4, 5]) : 5,
    refusesVersion: random.pick(["older", "newer", "silently"]),
  };
}

export class Broker {
  readonly manners: Manners;
  readonly #world: World;
  readonly #random: Random;
  /** The session: subscriptions with their identifiers, and messages that wait for PUBACK or PUBREC. */
  readonly filters: Map<string, number | undefined> = new Map();
  readonly #unacknowledged = new Map<number, Sent>();
  /** Of version 5: what was sent on this connection and is not acknowledged to the end, and how much of that may be. */
  readonly #open = new Set<number>();
  #receiveMaximum = Infinity;
  /** Of version 5: whether it has subscription identifiers. */
  readonly #hasIds: boolean;
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
    this.#hasIds = random.chance(0.7);
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
      else if (fault === "goodbye") this.#sayGoodbye(wire);
      else if (fault === "garbage") {
        // Behind messages for which there may be no room.
        if (wire === this.wire) this.publish(random.int(0, 10), 20);
        const { bytes, reason } = random.pick(mistakesOf(wire.spoken));
        // As the first packet a CONNACK would not be a mistake, but a lie.
        if (bytes[0] === 0x20 && !wire.connacked) wire.sendGarbage(Uint8Array.of(0), 0x81);
        else wire.sendGarbage(Uint8Array.from(bytes), reason);
      }
    };
    if (fault === "refusal" || !isFirst && random.chance(fault === "mute" ? 0.5 : 0.1)) act();
    else this.#world.after(isFirst ? random.int(500, 10_000) : random.size(20_000) + 1, act);
  }

  hear(wire: Wire, packet: NaivePacket): void {
    if (packet.type === "CONNECT") return this.#connected(wire, packet);
    if (wire.fault === "silent") return;
    const is5 = wire.version === 5;
    const answer = (reply: NaivePacket, longest = 800) => {
      // Slow at times, and always in order.
      const delay = this.#random.chance(0.1) ? this.#random.int(1, longest) : 0;
      this.#answered = Math.max(this.#answered, this.#world.now + delay);
      if (this.#answered === this.#world.now) wire.say(reply);
      else this.#world.after(this.#answered - this.#world.now, () => wire.say(reply));
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
          if (this.#random.chance(this.manners.refusals)) return is5 ? this.#random.pick(REFUSALS) : 128;
          this.filters.set(topic, is5 ? numberIn(packet.properties!, SUBSCRIPTION_ID) : undefined);
          return 0;
        });
        return answer({ type: "SUBACK", packetId: packet.packetId, codes, ...this.#saying(wire) });
      }
      case "UNSUBSCRIBE":
        if (wire.fault === "mute") return;
        return answer({ type: "UNSUBACK", packetId: packet.packetId, ...this.#giveUp(wire, packet.filters) });
      case "PINGREQ":
        return answer({ type: "PINGRESP" }, 200); // within the shortest keep alive
      case "PUBACK":
        this.#open.delete(packet.packetId);
        return void this.#unacknowledged.delete(packet.packetId);
      case "PUBREC":
        this.#unacknowledged.delete(packet.packetId);
        if ((packet.code ?? 0) < 128) return answer({ type: "PUBREL", packetId: packet.packetId });
        return void this.#open.delete(packet.packetId);
      case "PUBCOMP":
        return void this.#open.delete(packet.packetId);
      case "DISCONNECT":
        if (this.#random.chance(0.8)) wire.brokerEnds();
    }
  }

  #connected(wire: Wire, { cleanSession: clean, properties = [] }: Connect): void {
    if (wire.version > this.manners.newest) return this.#refuseVersion(wire);
    this.wire = wire;
    const is5 = wire.version === 5;
    if (clean || !this.#present) {
      this.filters.clear();
      this.#unacknowledged.clear();
    }
    this.#open.clear();
    this.#receiveMaximum = is5 ? numberIn(properties, RECEIVE_MAXIMUM) ?? 65_535 : Infinity;
    if (wire.fault === "silent") return;
    wire.speak(wire.version);
    const refusals = is5 ? CONNACK_REFUSALS : [1, 2, 3, 3, 4, 5, 5];
    const code = wire.fault === "refusal" ? this.#random.pick(refusals) : 0;
    const sessionPresent = code === 0 && !clean && this.#present;
    this.#present = !clean;
    wire.say({ type: "CONNACK", sessionPresent, code, ...is5 && { properties: this.#abilities(wire) } });
    if (code !== 0) return wire.brokerEnds();
    for (const sent of this.#unacknowledged.values()) this.#send(wire, sent, true);
  }

  /** Ends a connection of a version that is too new. */
  #refuseVersion(wire: Wire): void {
    if (wire.fault === "silent") return;
    const { refusesVersion } = this.manners, isOlder = refusesVersion === "older";
    if (refusesVersion !== "silently") {
      wire.speak(isOlder ? 4 : 5);
      wire.say({ type: "CONNACK", sessionPresent: false, code: isOlder ? 1 : 132, properties: [] });
    }
    wire.brokerEnds();
  }

  /** Of version 5: what the broker says of itself. */
  #abilities(wire: Wire): NaiveProperty[] {
    const random = this.#random, { properties } = this.#saying(wire), aliases = random.pick([0, 1, 20]);
    if (random.chance(0.3)) properties!.push([KEEPALIVE, wire.keepalive = random.pick([0, 2, 5, 20])]);
    if (random.chance(0.3)) properties!.push([RECEIVE_MAXIMUM, random.pick([1, 10])]);
    if (aliases > 0) properties!.push([ALIASES, aliases]);
    if (!this.#hasIds || random.chance(0.3)) properties!.push([IDS_AVAILABLE, this.#hasIds ? 1 : 0]);
    wire.takeAliases(aliases);
    return properties!;
  }

  /** Of version 5: properties that only people read. */
  #saying(wire: Wire): { properties?: NaiveProperty[] } {
    if (wire.version === 4) return {};
    const properties: NaiveProperty[] = [];
    if (this.#random.chance(0.3)) properties.push([REASON, "the broker's own words"]);
    if (this.#random.chance(0.3)) properties.push([USER, ["name", "value"]]);
    return { properties };
  }

  /** Gives filters up; with version 5, it may keep some of them, and says so. */
  #giveUp(wire: Wire, filters: readonly string[]): { codes?: number[]; properties?: NaiveProperty[] } {
    const random = this.#random;
    if (wire.version === 4) {
      for (const filter of filters) this.filters.delete(filter);
      return {};
    }
    const codes = filters.map((filter) => {
      if (random.chance(this.manners.refusals)) return random.pick(UNSUBACK_REFUSALS);
      return this.filters.delete(filter) ? 0 : NO_SUBSCRIPTION;
    });
    return { codes, ...this.#saying(wire) };
  }

  /** Ends the connection; with version 5, it says why. */
  #sayGoodbye(wire: Wire): void {
    const isAccepted = wire === this.wire && wire.version === 5;
    if (isAccepted) wire.say({ type: "DISCONNECT", code: this.#random.pick(GOODBYES), ...this.#saying(wire) });
    wire.brokerEnds();
  }

  /** Sends messages to whoever is connected, numbered in their payloads. */
  publish(count: number, longest: number): void {
    for (let i = 0; i < count; i++) {
      const wire = this.wire;
      if (wire === undefined || wire.brokerClosed || wire.fault === "silent" || this.filters.size === 0) return;
      const topic = `t/${this.#random.int(0, 3)}`;
      if (![...this.filters.keys()].some((filter) => filterMatches(filter, topic))) continue;
      const hasRoom = this.#open.size < this.#receiveMaximum;
      const qos = this.manners.qos && this.#random.chance(0.4) && hasRoom ? this.#random.int(1, 2) : 0;
      const packetId = qos === 0 ? 0 : this.#packetId = this.#packetId % 65_535 + 1;
      const seq = this.sent.length;
      const payload = numbered(seq, 4 + this.#random.size(longest));
      const retain = this.#random.chance(0.2);
      const expiry = wire.version === 5 && this.#random.chance(0.2) ? this.#random.int(1, 100) : undefined;
      const sent = {
        seq,
        topic,
        payload,
        qos,
        retain,
        packetId,
        expiry,
        filters: [],
        propertiesSize: 0,
        received: false,
      };
      this.sent.push(sent);
      if (qos > 0) this.#unacknowledged.set(packetId, sent);
      this.#send(wire, sent, false);
      // Not acknowledged yet: with version 4 it may come once more, and must not be delivered again.
      if (qos === 2 && wire.version === 4 && this.#random.chance(0.3)) this.#send(wire, sent, true);
    }
  }

  #send(wire: Wire, sent: Sent, dup: boolean): void {
    const { topic, payload, qos, retain, packetId, expiry } = sent;
    const packet: Publish = { type: "PUBLISH", topic, payload, qos, retain, dup, packetId };
    if (wire.version === 4) return wire.say(packet);
    if (qos > 0) this.#open.add(packetId);
    const properties: NaiveProperty[] = expiry === undefined ? [] : [[EXPIRY, expiry]];
    const identified = [...this.filters].filter(([filter, id]) => id !== undefined && filterMatches(filter, topic));
    for (const [, id] of identified) properties.push([SUBSCRIPTION_ID, id!]);
    sent.filters = identified.map(([filter]) => filter);
    sent.propertiesSize = encodeProperties(properties).length - 1;
    wire.say({ ...packet, properties });
  }
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
