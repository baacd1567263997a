/** A broker of QoS 1 and 2: it keeps a session, or does not, and answers as well as its manners allow. */
import type { Ack, NaivePacket, Publish } from "../../support/naive.ts";
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
}

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
  /** So many messages may be sent and not acknowledged. */
  readonly #window: number;
  /** So many packet identifiers are used in turn. */
  readonly #identifiers: number;
  /** How often each message of the client was handed on, by its number, in the order of the first times. */
  readonly arrivals: Map<number, number> = new Map();
  /** Every message for the client, by its number. */
  readonly sent: Sent[] = [];
  /** The session: identifiers of QoS 2 that wait for PUBREL, and messages that the client has not acknowledged. */
  #received = new Set<number>();
  #outgoing: Sent[] = [];
  #packetId = 0;
  #hasSession = false;
  #isConnected = false;
  #answers: Answer[] = [];

  constructor(random: Random, manners: Manners) {
    this.#random = random;
    this.manners = manners;
    this.#window = random.pick([1, 3, 20, 200]);
    this.#identifiers = this.#window + random.pick([1, 10, 200]);
  }

  /** Another process had this session before. */
  inherit(): void {
    this.#hasSession = true;
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
  #connect(clean: boolean): boolean {
    const isPresent = !clean && this.#hasSession && !this.#random.chance(this.manners.forgets);
    this.#hasSession = isPresent;
    this.#isConnected = true;
    this.#answers = [];
    if (!isPresent) {
      this.#received.clear();
      this.#packetId = 0;
      for (const sent of this.#outgoing) if (sent.state !== "queued") sent.state = "lost";
      this.#outgoing = this.#outgoing.filter(({ state }) => state === "queued");
    }
    this.#say({ type: "CONNACK", sessionPresent: isPresent, code: 0 });
    for (const sent of this.#outgoing) {
      // Some send a message again although they have PUBREC for it.
      const isRepeated = sent.state === "received" && !sent.isReleased && this.#random.chance(this.manners.repeats);
      if (sent.state === "sent" || isRepeated) {
        sent.state = "sent";
        this.#say(publishPacket(sent, true));
      } else if (sent.state === "received") {
        this.#say({ type: "PUBREL", packetId: sent.packetId });
      }
    }
    return isPresent;
  }

  /**
   * The client has CONNACK. Were that lost, and the session it tells of kept, the next CONNACK would call that present,
   * and no client could know it from the one before.
   */
  accepted(clean: boolean): void {
    this.#hasSession = !clean;
  }

  /** The connection is lost: what was not said goes with it. */
  lost(): void {
    this.#isConnected = false;
    this.#answers = [];
  }

  // ---- what it hears

  hear(packet: NaivePacket): void {
    switch (packet.type) {
      case "CONNECT":
        this.#connect(packet.cleanSession);
        return this.#fill();
      case "SUBSCRIBE":
        return this.#say({ type: "SUBACK", packetId: packet.packetId, codes: packet.filters.map(({ qos }) => qos) });
      case "UNSUBSCRIBE":
        return this.#say({ type: "UNSUBACK", packetId: packet.packetId });
      case "PINGREQ":
        return this.#say({ type: "PINGRESP" });
      case "PUBLISH":
        return this.#take(packet);
      case "PUBREL":
        this.#received.delete(packet.packetId);
        return this.#say({ type: "PUBCOMP", packetId: packet.packetId });
      case "PUBACK":
      case "PUBREC":
      case "PUBCOMP":
        this.#acknowledged(packet as Ack);
        return this.#fill();
    }
  }

  #take({ payload, qos, packetId }: Publish): void {
    const isNew = qos < 2 || !this.#received.has(packetId);
    if (qos === 2) this.#received.add(packetId);
    const seq = numberOf(payload);
    if (isNew) this.arrivals.set(seq, (this.arrivals.get(seq) ?? 0) + 1);
    if (qos === 0) return;
    this.#say({ type: qos === 1 ? "PUBACK" : "PUBREC", packetId });
  }

  #acknowledged({ type, packetId }: Ack): void {
    const sent = this.#outgoing.find((sent) => sent.packetId === packetId && sent.state !== "queued");
    if (sent === undefined) return;
    if (type === "PUBREC" && sent.qos === 2) {
      sent.state = "received";
      return this.#say({ type: "PUBREL", packetId });
    }
    const isDone = type === "PUBACK" ? sent.qos === 1 : type === "PUBCOMP" && sent.state === "received";
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
      this.#say(publishPacket(sent, false));
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
    if (some.length > 0) this.#say(publishPacket(this.#random.pick(some), true));
  }

  #say(packet: NaivePacket): void {
    this.#answers.push({ packet, isGenuine: true });
  }

  /** The next packet that goes to the client. */
  speak(): Answer | undefined {
    const random = this.#random, { disorder, twice, wrong } = this.manners, answers = this.#answers;
    if (!this.#isConnected || answers.length === 0) return undefined;
    if (answers[0]!.packet.type !== "CONNACK" && random.chance(wrong)) {
      return { packet: this.#wrong(), isGenuine: false };
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
    return { type, packetId: type === "PUBREL" ? this.#random.int(60_000, 60_010) : this.#random.int(1, 40) };
  }
}

function isAcknowledgement({ type }: NaivePacket): boolean {
  return type === "PUBACK" || type === "PUBREC" || type === "PUBREL" || type === "PUBCOMP";
}

function publishPacket({ topic, payload, qos, packetId }: Sent, dup: boolean): Publish {
  return { type: "PUBLISH", topic, payload, qos, retain: false, dup, packetId };
}
