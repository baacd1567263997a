/** A broker of QoS 1 and 2: it keeps a session, or does not, and answers as well as its manners allow. */
import type { Ack, Connect, NaivePacket, Publish, Subscribe } from "../../support/naive.ts";
import { type NaiveProperty, numberIn } from "../../support/naive_properties.ts";
import type { Random } from "../../support/random.ts";
import { numbered, numberOf } from "../broker.ts";

/** How often it does what it should not: 0 to 1. All of it is 0 in the quiet end of a history. */
export interface Manners {
  /** It has lost the session when the client comes back. */
  forgets: number;
  /** It acknowledges in another order; twice; what was never sent. */
  disorder: number;
  twice: number;
  wrong: number;
  /** It sends a message again that it sent on this connection. */
  repeats: number;
  /** Of version 5: it does not take a message, and says why. */
  refuses: number;
  /** Of version 5: it sends PUBREC or PUBREL with a packet identifier that is not in use. */
  strays: number;
  /** Of version 5: it takes less than the protocol allows, on the next connection. */
  limits: number;
  /** It does not grant a subscription, or a lower QoS than was asked for. */
  denies: number;
  /** It has a message for a subscription before it has answered that. */
  hastes: number;
}

/** As it should be. */
export const POLITE: Manners = {
  forgets: 0,
  disorder: 0,
  twice: 0,
  wrong: 0,
  repeats: 0,
  refuses: 0,
  strays: 0,
  limits: 0,
  denies: 0,
  hastes: 0,
};

/** Reason codes of version 5: of PUBACK and PUBREC for a message that is not taken, and of DISCONNECT. */
const REFUSALS = [0x80, 0x83, 0x87, 0x90, 0x97];
const GOODBYES = [0x80, 0x89, 0x8b, 0x8e, 0x8e, 0x8e, 0x98, 0xa0];
/** Nobody has subscribed to the topic. */
const NOBODY = 0x10;
/** Of PUBREL and PUBCOMP: the packet identifier is unknown. */
export const UNKNOWN = 0x92;
/** Codes of SUBACK for a subscription that is not granted; version 4 has the first of them. */
const DENIALS = [0x80, 0x83, 0x87, 0x91, 0x97];
/** Properties of version 5. */
const EXPIRY = 17, RECEIVE_MAXIMUM = 33, ALIASES = 34, MAXIMUM_QOS = 36, RETAIN = 37, LARGEST = 39, ID = 11;

/** What it sends. */
export interface Answer {
  readonly packet: NaivePacket;
  /** Whether it is true: one that is not may free a message that the broker never got. */
  readonly isGenuine: boolean;
}

/** A message for the client. */
export interface Sent {
  readonly seq: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: number;
  packetId: number;
  /** Whether the client has acknowledged it: with PUBREC, with PUBACK or PUBCOMP; or it went with a session. */
  state: "queued" | "sent" | "received" | "done" | "lost";
  /** Whether PUBREL went out. */
  isReleased: boolean;
}

export class Broker {
  readonly manners: Manners;
  readonly #random: Random;
  readonly #version: number;
  /** So many messages may be sent and not acknowledged. */
  #window: number;
  /** So many packet identifiers are used in turn. */
  readonly #identifiers: number;
  /** How often each message of the client was handed on, by its number, in the order of the first times. */
  readonly arrivals: Map<number, number> = new Map();
  /** Of version 5: the messages of the client that it does not take. */
  readonly #refused = new Set<number>();
  /** Every message for the client, by its number. */
  readonly sent: Sent[] = [];
  /** The session: identifiers of QoS 2 that wait for PUBREL, and messages that the client has not acknowledged. */
  #received = new Set<number>();
  #outgoing: Sent[] = [];
  #packetId = 0;
  /** The filters that are subscribed to in this session. */
  readonly subscribed: Set<string> = new Set();
  /** Of version 5: the subscription identifiers. */
  readonly #ids = new Map<string, number>();
  /** Of version 5: for how many milliseconds the session outlives its connection, and when that was lost. */
  #expiry = Infinity;
  #lostAt = 0;
  #hasSession = false;
  #isConnected = false;
  #answers: Answer[] = [];

  constructor(random: Random, manners: Manners, version = 4) {
    this.#random = random;
    this.#version = version;
    this.manners = manners;
    this.#window = random.pick([1, 3, 20, 200]);
    this.#identifiers = this.#window + random.pick([1, 10, 200]);
  }

  /** Another process had this session before, with these filters. */
  inherit(filters: readonly string[] = []): void {
    this.#hasSession = true;
    for (const filter of filters) this.subscribed.add(filter);
    for (let id = 1; id <= 30; id++) if (this.#random.chance(0.5)) this.#received.add(id);
  }

  /** Whether it has nothing to say, and all is acknowledged. */
  get isIdle(): boolean {
    return this.#answers.length === 0;
  }

  /** Messages that are still to be acknowledged. */
  get unacknowledged(): readonly Sent[] {
    return this.#outgoing;
  }

  // ---- connections

  /** CONNECT; whether the session is present. */
  #connect({ cleanSession, properties = [] }: Connect, now: number): boolean {
    const isOver = now - this.#lostAt > this.#expiry;
    const isPresent = !cleanSession && this.#hasSession && !isOver && !this.#random.chance(this.manners.forgets);
    this.#hasSession = isPresent;
    if (this.#version === 5) {
      this.#window = Math.min(this.#window, numberIn(properties, RECEIVE_MAXIMUM) ?? 65_535);
      this.#expiry = 1000 * (numberIn(properties, EXPIRY) ?? 0);
    }
    this.#isConnected = true;
    this.#answers = [];
    if (!isPresent) {
      this.#received.clear();
      this.#ids.clear();
      this.subscribed.clear();
      this.#packetId = 0;
      for (const sent of this.#outgoing) if (sent.state !== "queued") sent.state = "lost";
      this.#outgoing = this.#outgoing.filter(({ state }) => state === "queued");
    }
    const limits = this.#version === 5 ? { properties: this.#limits() } : {};
    this.#say({ type: "CONNACK", sessionPresent: isPresent, code: 0, ...limits });
    for (const sent of this.#outgoing) {
      // Some send a message again although they have PUBREC for it.
      const isRepeated = sent.state === "received" && !sent.isReleased && this.#random.chance(this.manners.repeats);
      if (sent.state === "sent" || isRepeated) {
        sent.state = "sent";
        this.#say(this.#packet(sent, true));
      } else if (sent.state === "received") {
        this.#say({ type: "PUBREL", packetId: sent.packetId });
      }
    }
    return isPresent;
  }

  /** What it can do on this connection. */
  #limits(): NaiveProperty[] {
    const random = this.#random, limits: NaiveProperty[] = [];
    const limit = (identifier: number, ...values: number[]) => {
      if (random.chance(this.manners.limits)) limits.push([identifier, random.pick(values)]);
    };
    limit(RECEIVE_MAXIMUM, 1, 2, 5);
    limit(LARGEST, 40, 100, 150);
    limit(MAXIMUM_QOS, 1);
    limit(RETAIN, 0);
    if (random.chance(0.7)) limits.push([ALIASES, random.pick([1, 2, 100])]);
    return limits;
  }

  /**
   * The client has CONNACK. Were that lost, and the session it tells of kept, the next CONNACK would call that present,
   * and no client could know it from the one before.
   */
  accepted(clean: boolean): void {
    this.#hasSession = !clean && this.#expiry > 0;
  }

  /** The connection is lost: what was not said goes with it. */
  lost(now: number): void {
    this.#isConnected = false;
    this.#lostAt = now;
    this.#answers = [];
  }

  /** Of version 5: it disconnects the client, and says why; whether it can. */
  disconnect(): boolean {
    if (this.#version === 4 || !this.#isConnected || this.#answers[0]?.packet.type === "CONNACK") return false;
    this.#isConnected = false;
    const code = this.#random.pick(GOODBYES);
    this.#answers = [{ packet: { type: "DISCONNECT", code, properties: [] }, isGenuine: true }];
    return true;
  }

  // ---- what it hears

  hear(packet: NaivePacket, now: number): void {
    if (packet.type !== "CONNECT" && !this.#isConnected) return;
    switch (packet.type) {
      case "CONNECT":
        this.#connect(packet, now);
        return this.#fill();
      case "SUBSCRIBE":
        return this.#subscribe(packet);
      case "UNSUBSCRIBE":
        for (const filter of packet.filters) this.#giveUp(filter);
        return this.#say({ type: "UNSUBACK", packetId: packet.packetId, codes: packet.filters.map(() => 0) });
      case "PINGREQ":
        return this.#say({ type: "PINGRESP" });
      case "PUBLISH":
        return this.#take(packet);
      case "PUBREL": {
        const code = this.#received.delete(packet.packetId) ? 0 : UNKNOWN;
        return this.#say({ type: "PUBCOMP", packetId: packet.packetId, code });
      }
      case "PUBACK":
      case "PUBREC":
      case "PUBCOMP":
        this.#acknowledged(packet as Ack);
        return this.#fill();
    }
  }

  #subscribe({ packetId, filters, properties = [] }: Subscribe): void {
    const id = numberIn(properties, ID), random = this.#random, { denies, hastes } = this.manners;
    const codes = filters.map(({ topic, qos }) => {
      if (random.chance(denies)) {
        this.#giveUp(topic);
        return this.#version === 5 ? random.pick(DENIALS) : DENIALS[0]!;
      }
      this.subscribed.add(topic);
      if (id !== undefined) this.#ids.set(topic, id);
      if (random.chance(hastes)) this.publish(topic, random.int(0, 2), 4 + random.size(100));
      return random.chance(denies) ? random.int(0, qos) : qos;
    });
    this.#say({ type: "SUBACK", packetId, codes });
  }

  #giveUp(filter: string): void {
    this.subscribed.delete(filter);
    this.#ids.delete(filter);
  }

  #take({ payload, qos, packetId }: Publish): void {
    const isNew = qos < 2 || !this.#received.has(packetId), random = this.#random;
    const type = qos === 1 ? "PUBACK" : "PUBREC";
    const seq = numberOf(payload);
    const isRefused = this.#version === 5 && qos > 0 && isNew &&
      (this.#refused.has(seq) || !this.arrivals.has(seq) && random.chance(this.manners.refuses));
    if (isRefused) {
      this.#refused.add(seq);
      return this.#say({ type, packetId, code: random.pick(REFUSALS), properties: [] });
    }
    if (qos === 2) this.#received.add(packetId);
    if (isNew) this.arrivals.set(seq, (this.arrivals.get(seq) ?? 0) + 1);
    if (qos === 0) return;
    const code = this.#version === 5 && random.chance(0.2) ? NOBODY : 0;
    this.#say({ type, packetId, code });
  }

  #acknowledged({ type, packetId, code = 0 }: Ack): void {
    const sent = this.#outgoing.find((sent) => sent.packetId === packetId && sent.state !== "queued");
    if (sent === undefined) return;
    const hasFailed = type === "PUBREC" && code >= 128 && sent.state === "sent";
    if (type === "PUBREC" && sent.qos === 2 && !hasFailed) {
      sent.state = "received";
      return this.#say({ type: "PUBREL", packetId });
    }
    const isDone = hasFailed ||
      (type === "PUBACK" ? sent.qos === 1 : type === "PUBCOMP" && sent.state === "received");
    if (!isDone) return;
    sent.state = "done";
    this.#outgoing.splice(this.#outgoing.indexOf(sent), 1);
  }

  // ---- what it says

  /** Has a message for the client. */
  publish(topic: string, qos: number, size: number): void {
    const seq = this.sent.length;
    const sent: Sent = {
      seq,
      topic,
      qos,
      payload: numbered(seq, size),
      packetId: 0,
      state: "queued",
      isReleased: false,
    };
    this.sent.push(sent);
    this.#outgoing.push(sent);
    this.#fill();
  }

  /** Sends what its window has room for. */
  #fill(): void {
    if (!this.#isConnected) return;
    let room = this.#window - this.#outgoing.filter(({ state }) => state !== "queued").length;
    for (const sent of [...this.#outgoing]) {
      if (sent.state !== "queued") continue;
      if (sent.qos > 0 && room-- <= 0) return;
      if (sent.qos === 0) {
        sent.state = "done";
        this.#outgoing.splice(this.#outgoing.indexOf(sent), 1);
      } else {
        sent.state = "sent";
        sent.packetId = this.#freeId();
      }
      this.#say(this.#packet(sent, false));
    }
  }

  #freeId(): number {
    do this.#packetId = this.#packetId % this.#identifiers + 1; while (
      this.#outgoing.some(({ packetId, state }) => state !== "queued" && packetId === this.#packetId)
    );
    return this.#packetId;
  }

  /** Sends one again that it sent on this connection. */
  repeat(): void {
    if (!this.#isConnected || !this.#random.chance(this.manners.repeats)) return;
    const some = this.#outgoing.filter(({ state }) => state === "sent");
    if (some.length > 0) this.#say(this.#packet(this.#random.pick(some), true));
  }

  #packet({ topic, payload, qos, packetId }: Sent, dup: boolean): Publish {
    const packet: Publish = { type: "PUBLISH", topic, payload, qos, retain: false, dup, packetId };
    if (this.#version === 4) return packet;
    const id = this.#ids.get(topic);
    return { ...packet, properties: id === undefined ? [] : [[ID, id]] };
  }

  #say(packet: NaivePacket): void {
    this.#answers.push({ packet, isGenuine: true });
  }

  /** The next packet that goes to the client. */
  speak(): Answer | undefined {
    const random = this.#random, { disorder, twice, wrong, strays } = this.manners, answers = this.#answers;
    if (answers.length === 0) return undefined;
    if (answers[0]!.packet.type !== "CONNACK" && random.chance(wrong)) {
      return { packet: this.#wrong(), isGenuine: false };
    }
    if (answers[0]!.packet.type !== "CONNACK" && random.chance(strays)) {
      return { packet: { type: random.pick(["PUBREC", "PUBREL"]), packetId: strayId(random) }, isGenuine: false };
    }
    const isAgain = !answers[0]!.isGenuine;
    const at = !isAgain && random.chance(disorder) ? random.int(0, answers.length - 1) : 0;
    // Acknowledgements may be out of order; nothing comes before CONNACK, and messages keep theirs.
    const isAck = isAcknowledgement(answers[at]!.packet) && answers[0]!.packet.type !== "CONNACK";
    const [answer] = answers.splice(isAck ? at : 0, 1);
    if (isAcknowledgement(answer!.packet) && random.chance(twice)) {
      // PUBREL at once, or its identifier may be that of another message by then.
      const isRelease = answer!.packet.type === "PUBREL";
      answers.splice(isRelease ? 0 : random.int(0, answers.length), 0, { ...answer!, isGenuine: false });
    }
    if (answer!.packet.type === "PUBREL" && answer!.isGenuine) this.#released(answer!.packet.packetId);
    return answer;
  }

  /** Behind PUBREL, a message does not come again. */
  #released(id: number): void {
    for (const sent of this.#outgoing) sent.isReleased ||= sent.state === "received" && sent.packetId === id;
    this.#answers = this.#answers.filter(({ packet }) =>
      packet.type !== "PUBLISH" || packet.packetId !== id || !packet.dup
    );
  }

  /** An acknowledgement of anything. */
  #wrong(): NaivePacket {
    const type = this.#random.pick(["PUBACK", "PUBREC", "PUBCOMP", "PUBREL"] as const);
    return { type, packetId: type === "PUBREL" ? strayId(this.#random) : this.#random.int(1, 40) };
  }
}

/** A packet identifier that is not in use. */
function strayId(random: Random): number {
  return random.int(60_000, 60_010);
}

function isAcknowledgement({ type }: NaivePacket): boolean {
  return type === "PUBACK" || type === "PUBREC" || type === "PUBREL" || type === "PUBCOMP";
}
