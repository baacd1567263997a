/** The model of what the client publishes at QoS 1 and 2: what it may send when, and what becomes of it. */
import type { Settings } from "../../../src/client/settings.ts";
import type { MqttError } from "../../../src/errors.ts";
import type { Outgoing } from "../../../src/session/outgoing.ts";
import { type Ack, encodeNaive, encodeNaive5, type NaivePacket, type Publish } from "../../support/naive.ts";
import { type NaiveProperty, numberIn } from "../../support/naive_properties.ts";
import { numberOf } from "../broker.ts";
import { same } from "../packets.ts";
import { UNKNOWN } from "./broker.ts";

/** A message of the client's. */
export interface Sending {
  readonly seq: number;
  readonly qos: 1 | 2;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly retain: boolean;
  /** Of version 5: what it says of itself, and for how many seconds it is worth something. */
  readonly user: NaiveProperty[];
  readonly expiry: number | undefined;
  /** When it is not sent any more, if it was never sent in this session; Infinity: never. */
  readonly due: number;
  /** When it was made ready to be sent on this connection. */
  readyAt: number | undefined;
  readonly size: number;
  /** `waiting`: it is to be sent on this connection; `received`: the broker has sent PUBREC; `failed`: its call is rejected, and it is gone. */
  state: "waiting" | "sent" | "received" | "done" | "failed";
  /** 0: none in this session. */
  packetId: number;
  /** Whether it was ever sent; in a session that the broker has forgotten since, and anew. */
  wasSent: boolean;
  isAnew: boolean;
  /** Whether an acknowledgement of the broker was a lie. */
  isExcused: boolean;
  /** Whether the broker of a connection does not take it, and is to free its packet identifier. */
  isRefused: boolean;
  /** The reason code with which the broker has acknowledged it, or refused it. */
  code: number;
  /** What its call was settled with: a reason code below 128, or an error. */
  outcome: number | MqttError | undefined;
  /** Whether the call was given up, and the message is still to be sent. */
  isGivenUp: boolean;
  /** What the session knows it by. */
  outgoing: Outgoing | undefined;
}

/** What a broker takes on a connection. */
interface Limits {
  readonly receiveMaximum: number;
  readonly maxQoS: number;
  readonly retain: boolean;
  readonly maxPacketSize: number;
}

const NO_LIMITS: Limits = { receiveMaximum: Infinity, maxQoS: 2, retain: true, maxPacketSize: Infinity };

const EXPIRY = 2, ALIAS = 35;

/** What a CONNACK says of that. */
function limitsIn(properties: readonly NaiveProperty[] = []): Limits {
  return {
    receiveMaximum: numberIn(properties, 33) ?? Infinity,
    maxQoS: numberIn(properties, 36) ?? 2,
    retain: numberIn(properties, 37) !== 0,
    maxPacketSize: numberIn(properties, 39) ?? Infinity,
  };
}

export class Publishing {
  readonly #settings: Settings;
  readonly #fail: (what: string) => void;
  readonly all: Sending[] = [];
  /** Those that are not done, in the order of accepting. */
  #live: Sending[] = [];
  /** Of them, those that the broker has sent PUBREC for, in that order. */
  #received: Sending[] = [];
  /** PUBRELs that are due on this connection, in order. */
  #owedReleases: { readonly packetId: number; readonly isUnknown: boolean }[] = [];
  /** Identifiers of requests without an answer. */
  readonly #requests = new Set<number>();
  /** How many packet identifiers were taken, as far as it can be seen. */
  #takenIds = 0;
  #limits = NO_LIMITS;
  /** Whether another process had the session: then identifiers of QoS 2 are freed first. Asked for, and free. */
  #isTakenOver = false;
  readonly #asked = new Set<number>();
  readonly #free = new Set<number>();
  /** Identifiers that the broker has lied about. */
  readonly #tainted = new Set<number>();
  ignored = 0;
  #bytes = 0;

  constructor(settings: Settings, fail: (what: string) => void) {
    this.#settings = settings;
    this.#fail = fail;
  }

  get live(): readonly Sending[] {
    return this.#live;
  }

  /** Whether a call waits for an acknowledgement. */
  get isAwaited(): boolean {
    return this.#live.some(({ isGivenUp }) => !isGivenUp);
  }

  // ---- what the program does

  /** A message that is to be published. */
  make(
    { qos, topic, payload, retain, user, expiry }: Pick<
      Sending,
      "qos" | "topic" | "payload" | "retain" | "user" | "expiry"
    >,
    now: number,
  ): Sending {
    const properties: NaiveProperty[] = [...expiry === undefined ? [] : [[EXPIRY, expiry] as NaiveProperty], ...user];
    const packet: Publish = { type: "PUBLISH", topic, payload, qos, retain, dup: false, packetId: 1, properties };
    const encode = this.#settings.version === 5 ? encodeNaive5 : encodeNaive;
    const sending: Sending = {
      seq: this.all.length,
      qos,
      topic,
      payload,
      retain,
      user,
      expiry,
      due: expiry === undefined ? Infinity : now + 1000 * expiry,
      readyAt: undefined,
      size: encode(packet).length,
      state: "waiting",
      packetId: 0,
      wasSent: false,
      isAnew: false,
      isExcused: false,
      isRefused: false,
      code: 0,
      outcome: undefined,
      isGivenUp: false,
      outgoing: undefined,
    };
    this.all.push(sending);
    return sending;
  }

  /** It is accepted, or refused. */
  asked(sending: Sending, error: MqttError | undefined): void {
    const { maxBuffered } = this.#settings, { size, seq } = sending;
    const isTooMuch = this.#bytes + size > maxBuffered;
    if (error !== undefined && error.code === "overflow" && !isTooMuch) {
      this.#fail(`message ${seq} is refused at ${this.#bytes} and ${size} of ${maxBuffered} bytes`);
    }
    const isUnsupported = this.#isUnsupported(sending);
    if ((error?.code === "unsupported") !== isUnsupported && !(isTooMuch && error?.code === "overflow")) {
      this.#fail(`message ${seq} is ${isUnsupported ? "accepted, and the broker does not take it" : "refused"}`);
    }
    if (error === undefined && isTooMuch) this.#fail(`${this.#bytes + size} bytes wait to be acknowledged`);
    if (error !== undefined) {
      sending.outcome = error;
      sending.state = "failed";
      return;
    }
    this.#bytes += size;
    this.#live.push(sending);
  }

  /** Its call is settled. */
  settled(sending: Sending, outcome: number | MqttError, { withdrawn, isOver, isStalled, now }: {
    withdrawn: boolean;
    isOver: boolean;
    isStalled: boolean;
    now: number;
  }): void {
    const { seq } = sending;
    if (sending.outcome !== undefined) this.#fail(`the call of message ${seq} is settled twice`);
    sending.outcome = outcome;
    if (typeof outcome !== "number" && outcome.code === "stale") this.#stale(sending, now);
    const { state } = sending;
    if (typeof outcome === "number") {
      if (outcome !== sending.code) this.#fail(`message ${seq} is acknowledged with ${outcome}, not ${sending.code}`);
      if (state !== "done") this.#fail(`publish ${seq} is done, and the message is ${state}`);
      return;
    }
    sending.isGivenUp = true;
    if (withdrawn) {
      if (state !== "failed") this.#fail(`publish ${seq} fails as it was taken back, and the message is ${state}`);
    } else if (outcome.code === "sessionlost") {
      if (state !== "failed") this.#fail(`publish ${seq} fails as the session is lost, which it is not: ${state}`);
    } else if (outcome.code === "stale" || outcome.code === "unsupported") {
      if (state !== "failed") this.#fail(`publish ${seq} fails as it is ${outcome.code}, and the message is ${state}`);
    } else if (typeof outcome.code === "number") {
      const isRefused = state === "failed" && outcome.code === sending.code;
      if (!isRefused && !isOver) this.#fail(`publish ${seq} fails with ${outcome.code}, and the message is ${state}`);
    } else if (outcome.code === "overflow") {
      if (!isStalled) this.#fail(`publish ${seq} is given up, and there is room for what comes`);
    } else if (!isOver) {
      this.#fail(`publish ${seq} fails with ${outcome}`);
    }
  }

  /** It was too old when it could have been sent. */
  #stale(sending: Sending, now: number): void {
    const { seq, packetId, state, due } = sending;
    if (state !== "waiting" || packetId > 0) this.#fail(`message ${seq} is stale, and is ${state}`);
    if (due > now) this.#fail(`message ${seq} is stale ${due - now} ms too early`);
    this.#drop(sending, "failed");
  }

  /** One that nobody waits for any more is told as too old. */
  toldStale(topic: string, size: number, now: number): void {
    const sending = this.#live.find((live) =>
      live.isGivenUp && isOld(live, now) && live.topic === topic && live.size === size
    );
    if (sending === undefined) this.#fail(`a message to ${topic} is told as stale, and there is none`);
    else this.#stale(sending, now);
  }

  /** Whether the broker of this connection does not take it. */
  #isUnsupported({ qos, retain, size }: Sending): boolean {
    const { maxQoS, maxPacketSize, retain: keeps } = this.#limits;
    return qos > maxQoS || retain && !keeps || size > maxPacketSize;
  }

  /** It is taken back by its signal. */
  withdrawn(sending: Sending): void {
    if (sending.wasSent) this.#fail(`message ${sending.seq} is taken back, and was sent`);
    this.#drop(sending, "failed");
  }

  #drop(sending: Sending, state: "done" | "failed"): void {
    sending.state = state;
    this.#bytes -= sending.size;
    this.#live = this.#live.filter((other) => other !== sending);
    this.#received = this.#received.filter((other) => other !== sending);
  }

  // ---- what the client sends

  /** What the client has made ready to be sent by now. */
  ready(now: number): void {
    for (const sending of this.#live) {
      if (sending.state === "waiting" && sending.outgoing?.state === 1) sending.readyAt ??= now;
    }
  }

  /** `size`: in bytes, with an alias when it has one. */
  wrote(packet: NaivePacket, size: number): void {
    const { maxPacketSize } = this.#limits;
    if (size > maxPacketSize) this.#fail(`${packet.type} has ${size} bytes, and the broker takes ${maxPacketSize}`);
    if (packet.type === "PUBLISH") return this.#wrote(packet);
    if (packet.type === "PUBREL") return this.#released(packet);
    if (packet.type !== "SUBSCRIBE" && packet.type !== "UNSUBSCRIBE") return;
    this.#checkUnused(packet.packetId, undefined);
    this.#requests.add(packet.packetId);
    this.#takenIds++;
  }

  #wrote({ payload, topic, qos, retain, dup, packetId, properties }: Publish): void {
    const fail = this.#fail, seq = numberOf(payload), sending = this.all[seq];
    if (sending === undefined) return fail(`a message that nobody published: ${seq}`);
    if (sending.isExcused && sending.state === "done") return; // it waited in the output when the broker lied
    if (
      topic !== sending.topic || qos !== sending.qos || retain !== sending.retain || !same(payload, sending.payload)
    ) {
      fail(`message ${seq} is garbled`);
    }
    if (sending.state !== "waiting") fail(`message ${seq} is sent, and is ${sending.state}`);
    const { readyAt = -Infinity } = sending;
    this.#checkProperties(sending, properties);
    const isLeftOut = (other: Sending) => other !== sending && isOld(other, readyAt);
    const first = this.#live.find((other) => other.qos === qos && other.state === "waiting" && !isLeftOut(other));
    if (!dup && sending.due <= readyAt) fail(`message ${seq} is sent ${readyAt - sending.due} ms after its expiry`);
    if (first !== sending) fail(`message ${seq} is sent before ${first?.seq}`);
    if (dup !== sending.packetId > 0) fail(`message ${seq} is sent with DUP ${dup}`);
    if (sending.packetId > 0 && sending.packetId !== packetId) {
      fail(`message ${seq} is sent again with identifier ${packetId} instead of ${sending.packetId}`);
    }
    this.#checkUnused(packetId, sending);
    if (qos === 2 && !dup && this.#isTakenOver && !this.#free.delete(packetId)) {
      fail(`message ${seq} is sent with identifier ${packetId}, which the broker may hold`);
    }
    if (sending.packetId === 0) this.#take(packetId);
    sending.packetId = packetId;
    sending.wasSent = true;
    sending.state = "sent";
    sending.isExcused ||= this.#tainted.has(packetId);
    this.#checkWindow();
  }

  /** What it says of itself, and the time that is left: nothing else, but perhaps a topic alias. */
  #checkProperties({ seq, user, expiry, due, readyAt = 0 }: Sending, properties: readonly NaiveProperty[] = []): void {
    const left = expiry === undefined ? undefined : Math.max(Math.ceil((due - readyAt) / 1000), 1);
    const found = numberIn(properties, EXPIRY);
    if (found !== left) this.#fail(`message ${seq} has an expiry of ${found} s, and ${left} are left`);
    const others = properties.filter(([identifier]) => identifier !== EXPIRY && identifier !== ALIAS);
    if (JSON.stringify(others) !== JSON.stringify(user)) this.#fail(`message ${seq} has other properties`);
  }

  /**
   * A packet identifier is taken into use. They are taken in turn, so the highest is no higher than their count; on a
   * connection that is lost some are taken for what is never seen.
   */
  #take(packetId: number): void {
    this.#takenIds++;
    if (this.#isTakenOver || this.#settings.version === 4) return;
    if (packetId > this.#takenIds + UNSEEN) {
      this.#fail(`identifier ${packetId} is the ${this.#takenIds}th that is taken`);
    }
  }

  #checkUnused(packetId: number, user: Sending | undefined): void {
    const other = this.#live.find((live) => live !== user && live.packetId === packetId);
    if (other !== undefined) this.#fail(`identifier ${packetId} is taken, and message ${other.seq} has it`);
    if (this.#requests.has(packetId)) this.#fail(`identifier ${packetId} is taken, and a request has it`);
    const isFreed = this.#asked.has(packetId) || this.#free.has(packetId);
    if (isFreed && user?.qos !== 2) this.#fail(`identifier ${packetId} is taken, and is kept for QoS 2`);
  }

  /** How many may be in flight, and how many of QoS 2. */
  get #window(): { maxInflight: number; maxInflightQoS2: number } {
    const { maxInflight, maxInflightQoS2 } = this.#settings;
    return { maxInflight: Math.min(maxInflight, this.#limits.receiveMaximum), maxInflightQoS2 };
  }

  #checkWindow(): void {
    const { maxInflight, maxInflightQoS2 } = this.#window;
    const flying = this.#live.filter(({ state }) => state === "sent" || state === "received");
    const qos2 = flying.filter(({ qos }) => qos === 2);
    if (flying.length > maxInflight) this.#fail(`${flying.length} messages are in flight`);
    if (qos2.length > maxInflightQoS2) this.#fail(`${qos2.length} messages of QoS 2 are in flight`);
  }

  #released({ packetId, code = 0 }: Ack): void {
    const [owed] = this.#owedReleases, isOwed = owed?.packetId === packetId;
    const right = this.#settings.version === 5 && isOwed && owed.isUnknown ? UNKNOWN : 0;
    if (code !== right) this.#fail(`PUBREL ${packetId} has code ${code} instead of ${right}`);
    if (isOwed) return void this.#owedReleases.shift();
    if (!this.#isTakenOver) return this.#fail(`PUBREL ${packetId} instead of ${owed?.packetId}`);
    this.#checkUnused(packetId, undefined);
    this.#asked.add(packetId);
    this.#takenIds++;
  }

  /** PUBREL is to be sent; `isUnknown`: for a PUBREC with an identifier that no message of QoS 2 has. */
  #owe(packetId: number, { isUnknown = false }: { isUnknown?: boolean } = {}): void {
    this.#owedReleases.push({ packetId, isUnknown });
  }

  // ---- what the client hears

  heard(packet: NaivePacket, isGenuine: boolean): void {
    switch (packet.type) {
      case "SUBACK":
      case "UNSUBACK":
        return void this.#requests.delete(packet.packetId);
      case "PUBACK":
      case "PUBREC": {
        const sending = this.#live.find(({ packetId, state }) => packetId === packet.packetId && state !== "received");
        const isKnown = this.#received.some(({ packetId }) => packetId === packet.packetId);
        const isRight = sending !== undefined && (packet.type === "PUBACK") === (sending.qos === 1);
        const { code = 0 } = packet;
        if (isRight) sending.code = code;
        if (isRight && code >= 128) {
          if (this.#isTakenOver && sending.qos === 2) this.#free.add(packet.packetId);
          return this.#drop(sending, "failed");
        }
        if (!isRight) this.ignored++;
        else sending.isExcused ||= !isGenuine;
        if (packet.type === "PUBREC" && sending?.qos !== 1) {
          this.#owe(packet.packetId, { isUnknown: !isRight && !isKnown });
        }
        if (!isRight) return;
        if (packet.type === "PUBACK") return this.#drop(sending, "done");
        sending.state = "received";
        this.#received.push(sending);
        return;
      }
      case "PUBCOMP":
        return this.#completed(packet.packetId, isGenuine);
    }
  }

  #completed(packetId: number, isGenuine: boolean): void {
    const sending = this.#received.find((received) => received.packetId === packetId);
    if (sending !== undefined) {
      sending.isExcused ||= !isGenuine;
      if (!isGenuine) this.#tainted.add(packetId); // the broker may still hold it
      this.#drop(sending, sending.isRefused ? "failed" : "done");
      if (this.#isTakenOver) this.#free.add(packetId);
    } else if (this.#asked.delete(packetId)) {
      this.#free.add(packetId);
      if (!isGenuine) this.#tainted.add(packetId);
    } else {
      this.ignored++;
    }
  }

  // ---- connections

  /** `properties`: those of CONNACK. What waits and is too much for this broker is given up. */
  connected(sessionPresent: boolean, isFirst: boolean, properties?: readonly NaiveProperty[]): void {
    this.#limits = limitsIn(properties);
    if (sessionPresent) this.#resumed(isFirst);
    else this.#forgotten();
    const unsupported = this.#live.filter((sending) => sending.state === "waiting" && this.#isUnsupported(sending));
    for (const sending of unsupported) {
      const { qos, packetId } = sending;
      if (qos === 1 || packetId === 0) {
        this.#drop(sending, "failed");
        continue;
      }
      // The broker may have it: it has failed when its identifier is free.
      sending.isRefused = true;
      sending.state = "received";
      this.#received.push(sending);
      this.#owe(packetId);
    }
    if (sessionPresent) { for (const packetId of this.#asked) this.#owe(packetId); }
  }

  #resumed(isFirst: boolean): void {
    this.#isTakenOver ||= isFirst;
    for (const { packetId } of this.#received) this.#owe(packetId);
  }

  #forgotten(): void {
    this.#isTakenOver = false;
    this.#asked.clear();
    this.#free.clear();
    this.#tainted.clear();
    const { sessionLost } = this.#settings;
    for (const sending of this.#live.filter(({ packetId }) => packetId > 0)) {
      sending.packetId = 0;
      sending.isAnew = true;
      sending.isRefused = false;
      sending.state = "waiting";
      const isSentAgain = sessionLost === undefined ? sending.qos === 1 : sessionLost === "resend";
      if (!isSentAgain) this.#drop(sending, "failed");
    }
    this.#received = [];
  }

  lost(): void {
    this.#limits = NO_LIMITS;
    this.#owedReleases = [];
    this.#requests.clear();
    for (const sending of this.#live) {
      const packetId = sending.outgoing?.packetId ?? 0;
      sending.readyAt = undefined;
      if (sending.state === "sent") sending.state = "waiting";
      if (sending.state !== "waiting" || sending.packetId > 0 || packetId <= 0) continue;
      // It was in the output when the connection was lost: that counts as sent.
      this.#checkUnused(packetId, sending);
      if (sending.qos === 2) this.#free.delete(packetId);
      this.#take(packetId);
      sending.packetId = packetId;
    }
  }

  // ---- what must hold

  /** After each step. */
  check(isOver: boolean): void {
    for (const { seq, state, outcome } of this.all) {
      if (state === "done" && outcome === undefined) this.#fail(`message ${seq} is acknowledged, and its call waits`);
      if (state === "failed" && outcome === undefined) this.#fail(`message ${seq} is given up, and its call waits`);
      if (isOver && outcome === undefined) this.#fail(`publish ${seq} does not settle`);
    }
  }

  /** All that was to be sent is sent: so is what answers. */
  checkSent(now: number): void {
    if (this.#owedReleases.length > 0) this.#fail(`PUBREL ${this.#owedReleases[0]!.packetId} is not sent`);
    const { maxInflight, maxInflightQoS2 } = this.#window;
    const flying = this.#live.filter(({ state }) => state === "sent" || state === "received");
    const qos2 = flying.filter(({ qos }) => qos === 2).length;
    if (flying.length >= maxInflight) return;
    const waiting = this.#live.find((sending) => {
      const { state, qos } = sending;
      return state === "waiting" && !isOld(sending, now) && (qos === 1 || qos2 < maxInflightQoS2 && !this.#isTakenOver);
    });
    if (waiting !== undefined) this.#fail(`message ${waiting.seq} is not sent, and the window has room`);
  }

  /** How often each message has arrived. */
  checkArrivals(arrivals: ReadonlyMap<number, number>): void {
    for (const { seq, qos, outcome, isExcused, isAnew, wasSent } of this.all) {
      const count = arrivals.get(seq) ?? 0;
      if (count > 0 && !wasSent) this.#fail(`message ${seq} arrived, and was never sent`);
      if (isExcused) continue;
      if (typeof outcome === "number" && count === 0) this.#fail(`message ${seq} is acknowledged, and never arrived`);
      if (qos === 2 && count > 1 && !isAnew) this.#fail(`message ${seq} of QoS 2 arrived ${count} times`);
    }
  }
}

/** So many packet identifiers may be taken on the connections of a history for what is never seen. */
const UNSEEN = 100;

/** Whether it is too old to be sent for the first time in this session. */
function isOld({ state, packetId, due }: Sending, now: number): boolean {
  return state === "waiting" && packetId === 0 && due <= now;
}
