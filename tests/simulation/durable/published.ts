/** The model of what is published, over any number of processes: what may be sent when, and what becomes of it. */
import type { Settings } from "../../../src/client/settings.ts";
import type { MqttError } from "../../../src/errors.ts";
import type { Outgoing } from "../../../src/session/outgoing.ts";
import { encodeNaive, encodeNaive5, type NaivePacket, type Publish } from "../../support/naive.ts";
import { type NaiveProperty, numberIn } from "../../support/naive_properties.ts";
import { numberOf } from "../broker.ts";
import { same } from "../packets.ts";
import type { LogState } from "./log.ts";

/** Times are rounded: for so many milliseconds a message may be sent that is stale. */
const LATE = 1;

/** The property of version 5. */
const EXPIRY = 2;

/** A message of the client's. */
export interface Published {
  readonly seq: number;
  readonly qos: 0 | 1 | 2;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly size: number;
  /** Milliseconds since 1970, or Infinity. */
  readonly due: number;
  readonly isUntilStored: boolean;
  /** Whether it is still to be sent, or acknowledged. */
  isLive: boolean;
  /** Whether this process has accepted it, and its call waits. */
  hasCall: boolean;
  /** What the program was told: it is stored, or acknowledged; or it is given up, and why. */
  isPromised: boolean;
  fate: string | undefined;
  /** The reason code with which the broker has refused it. */
  code: number | undefined;
  /** 0: none in this session, as far as it can be seen; and when the connection began. */
  packetId: number;
  packetIdThen: number;
  /** The one that was sent in this session. */
  packetIdOut: number;
  /** Whether it was sent on this connection, and ever; whether it was sent in a session that the broker has forgotten. */
  isOut: boolean;
  wasOut: boolean;
  isAnew: boolean;
  /** Whether the broker has sent PUBREC, and whether it has acknowledged the message. */
  isReceived: boolean;
  isAcknowledged: boolean;
  /** Whether a lie of the broker, or a damaged log, may be the reason for what becomes of it. */
  isExcused: boolean;
  /** Whether this process has given it a packet identifier. */
  hasId: boolean;
  /** What the session of this process knows it by. */
  outgoing: Outgoing | undefined;
}

/** What the history knows besides. */
interface Surroundings {
  readonly log: () => LogState;
  /** Milliseconds since 1970. */
  readonly wall: () => number;
  readonly fail: (what: string) => void;
}

export class Publishing {
  readonly #settings: Settings;
  readonly #around: Surroundings;
  readonly all: Published[] = [];
  /** Those that are live, in the order of accepting; and those of them that the broker has sent PUBREC for, in that order. */
  live: Published[] = [];
  received: Published[] = [];
  /** Identifiers for which PUBREL is due on this connection, in order. */
  #owedReleases: number[] = [];
  /** Identifiers that the broker has lied about in this session. */
  readonly #tainted = new Set<number>();
  /** Whether the broker had a session that no log knew of. */
  isTakenOver = false;
  /** Whether the session was lost on this connection. */
  #isLost = false;
  /** Those that must have been given up for that when the session has told all that there is. */
  #rejected: Published[] = [];
  #lastQoS0 = -1;
  /** By the wall clock. */
  #connectedAt = 0;

  constructor(settings: Settings, around: Surroundings) {
    this.#settings = settings;
    this.#around = around;
  }

  get #fail(): (what: string) => void {
    return this.#around.fail;
  }

  // ---- what the program does

  make(
    qos: 0 | 1 | 2,
    payload: Uint8Array,
    { expiry, untilStored }: { expiry?: number; untilStored: boolean },
  ): Published {
    const seq = this.all.length, topic = `up/${seq}`;
    const is5 = this.#settings.version === 5, encode = is5 ? encodeNaive5 : encodeNaive;
    const properties: NaiveProperty[] = expiry === undefined ? [] : [[EXPIRY, expiry]];
    const packet: Publish = {
      type: "PUBLISH",
      topic,
      payload,
      qos,
      retain: false,
      dup: false,
      packetId: 1,
      properties,
    };
    const published: Published = {
      seq,
      qos,
      topic,
      payload,
      size: encode(packet).length,
      due: expiry === undefined ? Infinity : this.#around.wall() + 1000 * expiry,
      isUntilStored: untilStored,
      isLive: true,
      hasCall: true,
      isPromised: false,
      code: undefined,
      fate: undefined,
      packetId: 0,
      packetIdThen: 0,
      packetIdOut: 0,
      isOut: false,
      wasOut: false,
      isAnew: false,
      isReceived: false,
      isAcknowledged: false,
      isExcused: false,
      hasId: false,
      outgoing: undefined,
    };
    this.all.push(published);
    this.live.push(published);
    return published;
  }

  /** It was not accepted. */
  refused(published: Published, error: MqttError): void {
    const isTight = this.#settings.maxBuffered < 1_000_000;
    if (error.code !== "overflow" || !isTight) this.#fail(`publish() throws ${error}`);
    published.hasCall = false;
    this.#giveUp(published, "overflow");
  }

  /** Its call is settled. */
  settled(published: Published, outcome: number | MqttError, isOver: boolean): void {
    const { seq, qos, hasCall, isUntilStored, isAcknowledged, isExcused } = published;
    if (!hasCall) this.#fail(`the call of message ${seq} is settled twice`);
    published.hasCall = false;
    if (typeof outcome !== "number") return this.#failed(published, outcome, isOver);
    published.isPromised = true;
    if (qos === 0) return this.#drop(published);
    const isStored = isUntilStored && this.#around.log().bySeq.has(seq);
    if (!isStored && !isAcknowledged && !isExcused) this.#fail(`publish ${seq} is done, and it is not acknowledged`);
  }

  #failed(published: Published, { code }: MqttError, isOver: boolean): void {
    if (isOver) return; // it stays in the log
    if (published.fate === undefined) this.gaveUp(published, String(code));
  }

  /** The session has given it up, and tells why. */
  gaveUp(published: Published, code: string): void {
    const { seq, due, packetId, isLive, isExcused } = published;
    if (code === String(published.code)) return; // the broker has refused it
    if (!isLive && !isExcused) this.#fail(`message ${seq} is given up, and it was done: ${code}`);
    if (code === "stale") {
      if (due > this.#around.wall()) this.#fail(`message ${seq} is stale before its time`);
      if (packetId > 0) this.#fail(`message ${seq} is stale, and it was sent`);
    } else if (code === "sessionlost") {
      if (!this.#isLost || !this.#isRejected(published)) this.#fail(`message ${seq} is given up: ${code}`);
    } else if (code === "store") {
      if (this.#around.log().bySeq.has(seq)) this.#fail(`message ${seq} could not be kept, and the log has it`);
    } else if (code !== "withdrawn") {
      this.#fail(`message ${seq} is given up: ${code}`);
    }
    this.#giveUp(published, code);
  }

  #giveUp(published: Published, code: string): void {
    published.fate = code;
    this.#drop(published);
  }

  #drop(published: Published): void {
    published.isLive = false;
    this.live = this.live.filter((other) => other !== published);
    this.received = this.received.filter((other) => other !== published);
  }

  // ---- what the client sends

  wrote(packet: NaivePacket): void {
    if (packet.type === "PUBLISH" && packet.qos === 0) this.#wroteQoS0(packet);
    else if (packet.type === "PUBLISH") this.#wrote(packet);
    else if (packet.type === "PUBREL") this.#released(packet.packetId);
  }

  #wroteQoS0({ topic, payload }: Publish): void {
    const seq = numberOf(payload), published = this.all[seq];
    if (published?.topic !== topic || !same(payload, published.payload)) return this.#fail(`message ${seq} is garbled`);
    if (seq <= this.#lastQoS0) this.#fail(`message ${seq} of QoS 0 is sent behind ${this.#lastQoS0}`);
    if (published.fate !== undefined) this.#fail(`message ${seq} is sent, and was given up: ${published.fate}`);
    this.#lastQoS0 = seq;
    published.wasOut = true;
  }

  /** The time that is left: as it is now, or was when the connection began. */
  #checkExpiry({ seq, due }: Published, properties: readonly NaiveProperty[] = []): void {
    const left = (time: number) => due === Infinity ? Infinity : Math.max(Math.ceil((due - time) / 1000), 1);
    const found = numberIn(properties, EXPIRY) ?? Infinity, least = left(this.#around.wall());
    if (found < least || found > left(this.#connectedAt)) {
      this.#fail(`message ${seq} has an expiry of ${found} s, and ${least} are left`);
    }
  }

  #wrote({ payload, topic, qos, dup, packetId, properties }: Publish): void {
    const fail = this.#fail, seq = numberOf(payload), published = this.all[seq];
    if (published === undefined) return fail(`a message that nobody published: ${seq}`);
    published.isExcused ||= this.#tainted.has(packetId);
    if (topic !== published.topic || qos !== published.qos || !same(payload, published.payload)) {
      fail(`message ${seq} is garbled`);
    }
    this.#checkUnused(packetId, published);
    published.wasOut = true;
    if (published.isExcused && !published.isLive) return; // it waited in the output when the broker lied
    if (!published.isLive) fail(`message ${seq} is sent, and it is done: ${published.fate ?? "acknowledged"}`);
    if (published.isOut) fail(`message ${seq} is sent twice`);
    if (published.isReceived) fail(`message ${seq} is sent, and the broker has it`);
    const logged = this.#around.log().bySeq.get(seq);
    if (logged === undefined) fail(`message ${seq} is sent before it is kept`);
    else if (logged.packetId !== packetId) {
      fail(`message ${seq} is sent with identifier ${packetId}, and ${logged.packetId} is kept`);
    }
    const first = this.live.find((other) => other.qos === qos && !other.isOut && !other.isReceived);
    if (first !== published && !first?.isExcused) fail(`message ${seq} is sent before ${first?.seq}`);
    const { packetIdThen, outgoing } = published;
    if (packetIdThen > 0 ? !dup || packetId !== packetIdThen : dup && outgoing !== undefined) {
      fail(`message ${seq} is sent with identifier ${packetId} and DUP ${dup}, and ${packetIdThen} before`);
    }
    if (this.#settings.version === 5) this.#checkExpiry(published, properties);
    published.packetId = published.packetIdOut = packetId;
    published.isOut = true;
    this.#checkWindow();
  }

  #checkUnused(packetId: number, user: Published | undefined): void {
    const other = this.live.find((live) => live !== user && live.packetId === packetId);
    if (other !== undefined && !other.isExcused) {
      this.#fail(`identifier ${packetId} is taken, and message ${other.seq} has it`);
    }
  }

  #checkWindow(): void {
    const { maxInflight, maxInflightQoS2 } = this.#settings;
    const flying = this.live.filter(({ isOut, isReceived }) => isOut && !isReceived).length;
    const flying2 = this.live.filter(({ qos, isOut, isReceived }) => qos === 2 && isOut && !isReceived).length;
    const { length } = this.received;
    if (flying + length > maxInflight) this.#fail(`${flying + length} messages are in flight`);
    if (flying2 + length > maxInflightQoS2) this.#fail(`${flying2 + length} messages of QoS 2 are in flight`);
  }

  #released(packetId: number): void {
    const logged = [...this.#around.log().messages.values()].find((message) => message.packetId === packetId);
    const isReceived = logged === undefined || this.#around.log().received.includes(logged);
    const published = logged === undefined ? undefined : this.all[logged.seq];
    if (!isReceived && published?.isLive && !published.isExcused) {
      this.#fail(`PUBREL ${packetId} before RECEIVED is kept`);
    }
    if (this.#owedReleases[0] === packetId) this.#owedReleases.shift();
    else if (!this.isTakenOver) this.#fail(`PUBREL ${packetId} instead of ${this.#owedReleases[0]}`);
  }

  // ---- what the client hears

  heard(packet: NaivePacket, isGenuine: boolean): void {
    if (packet.type !== "PUBACK" && packet.type !== "PUBREC" && packet.type !== "PUBCOMP") return;
    const { type, packetId, code = 0 } = packet;
    if (!isGenuine) this.#taint(packetId);
    const published = this.live.find((live) => live.packetId === packetId);
    if (type !== "PUBCOMP" && code >= 128) {
      if (published === undefined) return;
      published.code = code;
      return this.#giveUp(published, String(code));
    }
    if (type === "PUBREC" && published?.qos !== 1) this.#owedReleases.push(packetId);
    if (published === undefined) return;
    if (type === "PUBREC" && published.qos === 2 && !published.isReceived) {
      published.isReceived = true;
      this.received.push(published);
    }
    const isDone = type === "PUBACK" ? published.qos === 1 : type === "PUBCOMP" && published.isReceived;
    if (!isDone) return;
    published.isAcknowledged = true;
    this.#drop(published);
  }

  /** What the broker says of this identifier may be no longer true. */
  #taint(packetId: number): void {
    this.#tainted.add(packetId);
    for (const published of this.live) {
      published.isExcused ||= published.packetId === packetId ||
        (published.outgoing?.packetId ?? packetId) === packetId;
    }
  }

  // ---- connections and processes

  connected(sessionPresent: boolean, isTakenOver: boolean): void {
    this.#connectedAt = this.#around.wall();
    this.#isLost = !sessionPresent;
    if (sessionPresent) {
      this.isTakenOver ||= isTakenOver;
      this.#owedReleases = this.received.map(({ packetId }) => packetId);
    } else {
      this.isTakenOver = false;
      this.#owedReleases = [];
      this.#tainted.clear();
      for (const published of this.live) {
        if (published.packetId === 0) continue;
        published.packetId = published.packetIdOut = 0;
        published.isAnew = true;
        published.isReceived = false;
        if (this.#isRejected(published)) this.#rejected.push(published);
      }
      this.received = [];
    }
    for (const published of this.live) published.packetIdThen = published.packetId;
  }

  /** Whether it is not sent again when the session is lost. */
  #isRejected({ qos }: Published): boolean {
    const { sessionLost } = this.#settings;
    return sessionLost === undefined ? qos === 2 : sessionLost === "reject";
  }

  lost(): void {
    this.#isLost = false;
    this.#owedReleases = [];
    for (const published of this.live) {
      published.isOut = false;
      const packetId = published.outgoing?.packetId ?? 0;
      if (packetId > 0) published.packetId = packetId;
    }
  }

  /** The log has kept an identifier for a message. */
  sent(seq: number, packetId: number): void {
    const published = this.all[seq]!;
    if (published.isLive && published.packetId === 0) published.packetId = packetId;
    published.isExcused ||= this.#tainted.has(packetId);
  }

  /** The process has died, or ended; the next one knows what the log says. */
  restart(isDamaged: boolean): void {
    this.lost();
    const log = this.#around.log();
    this.received = [];
    this.#lastQoS0 = -1;
    this.live = [];
    for (const published of this.all) {
      const { seq, qos, isLive, isPromised, isAcknowledged, fate, packetIdOut } = published;
      const logged = log.bySeq.get(seq);
      published.hasCall = published.isOut = false;
      published.outgoing = undefined;
      published.isLive = logged !== undefined;
      if (isDamaged) published.isExcused = true;
      if (logged === undefined) {
        if (isPromised && isLive && qos > 0 && !published.isExcused) {
          this.#fail(`message ${seq} was told as stored, and the log does not have it`);
        }
        if (fate === undefined && !isAcknowledged) published.fate = "died";
        continue;
      }
      if (fate === "store" || fate === "overflow") this.#fail(`message ${seq} was refused, and the log has it`);
      if (isLive && packetIdOut > 0 && logged.packetId !== packetIdOut && !published.isExcused) {
        this.#fail(`message ${seq} was sent with identifier ${packetIdOut}, and the log has ${logged.packetId}`);
      }
      if (logged.due !== published.due) this.#fail(`message ${seq} gets stale at ${logged.due}, not ${published.due}`);
      published.packetId = logged.packetId;
      if (isDamaged || !isLive) published.packetIdOut = 0;
      published.isReceived = false;
      this.live.push(published);
    }
    for (const { seq } of log.received) {
      this.all[seq]!.isReceived = true;
      this.received.push(this.all[seq]!);
    }
  }

  // ---- what must hold

  /** Whenever the session may have let out something: that is not stale. */
  checkStale(): void {
    for (const published of this.live) {
      const { seq, hasId, outgoing, due } = published;
      if (hasId || outgoing === undefined || outgoing.packetId <= 0) continue;
      published.hasId = true;
      if (due + LATE <= this.#around.wall()) this.#fail(`message ${seq} is sent, and it is stale`);
    }
  }

  /** After each step, once the session has told all that there is. */
  check(): void {
    for (const { seq, hasCall, isAcknowledged } of this.all) {
      if (isAcknowledged && hasCall) this.#fail(`message ${seq} is acknowledged, and its call waits`);
    }
    for (const { seq, isLive } of this.#rejected.splice(0)) {
      if (isLive) this.#fail(`message ${seq} is not given up, and the session is lost`);
    }
  }

  /** The log says what is true, when nothing is to be written. */
  checkLog(): void {
    const log = this.#around.log(), live = this.live.filter(({ qos }) => qos > 0);
    if (live.some(({ isExcused }) => isExcused)) return;
    for (const { seq, packetId, hasCall, isUntilStored } of live) {
      const logged = log.bySeq.get(seq);
      if (hasCall && isUntilStored) this.#fail(`message ${seq} is stored, and its call waits`);
      if (logged === undefined) return this.#fail(`message ${seq} waits, and the log does not have it`);
      if (packetId > 0 && logged.packetId !== packetId) {
        this.#fail(`message ${seq} has identifier ${packetId}, and in the log ${logged.packetId}`);
      }
    }
    for (const seq of log.bySeq.keys()) {
      const { isLive, isExcused } = this.all[seq]!;
      if (!isLive && !isExcused) this.#fail(`message ${seq} is done, and the log has it`);
    }
    const received = this.received.map(({ seq }) => seq).join(), logged = log.received.map(({ seq }) => seq).join();
    if (received !== logged) this.#fail(`PUBREC came for ${received}, and the log has ${logged}`);
  }

  /** How often each message has arrived, in the order in which they did first. */
  checkArrivals(arrivals: ReadonlyMap<number, number>): void {
    for (const { seq, qos, isPromised, fate, isAcknowledged, isExcused, isAnew, wasOut } of this.all) {
      const count = arrivals.get(seq) ?? 0;
      if (count > 0 && !wasOut) this.#fail(`message ${seq} arrived, and was never sent`);
      if (isExcused || qos === 0) continue;
      if ((isPromised && fate === undefined || isAcknowledged) && count === 0) {
        this.#fail(`message ${seq} was told as stored or acknowledged, and never arrived`);
      }
      if (qos === 2 && count > 1 && !isAnew) this.#fail(`message ${seq} of QoS 2 arrived ${count} times`);
    }
    const last = [-1, -1, -1];
    for (const seq of arrivals.keys()) {
      const { qos, isExcused } = this.all[seq]!;
      if (isExcused || qos === 0) continue;
      if (seq < last[qos]!) this.#fail(`message ${seq} arrived behind ${last[qos]}`);
      last[qos] = seq;
    }
  }
}
