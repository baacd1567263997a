/** The model of what the client publishes at QoS 1 and 2: what it may send when, and what becomes of it. */
import type { Settings } from "../../../src/client/settings.ts";
import type { MqttError } from "../../../src/errors.ts";
import type { Outgoing } from "../../../src/session/outgoing.ts";
import { encodeNaive, type NaivePacket, type Publish } from "../../support/naive.ts";
import { numberOf } from "../broker.ts";
import { same } from "../history.ts";

/** A message of the client's. */
export interface Sending {
  readonly seq: number;
  readonly qos: 1 | 2;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly retain: boolean;
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
  /** What its call was settled with: 0, or an error. */
  outcome: number | MqttError | undefined;
  /** Whether the call was given up, and the message is still to be sent. */
  isGivenUp: boolean;
  /** What the session knows it by. */
  outgoing: Outgoing | undefined;
}

export class Publishing {
  readonly #settings: Settings;
  readonly #fail: (what: string) => void;
  readonly all: Sending[] = [];
  /** Those that are not done, in the order of accepting. */
  #live: Sending[] = [];
  /** Of them, those that the broker has sent PUBREC for, in that order. */
  #received: Sending[] = [];
  /** Identifiers for which PUBREL is due on this connection, in order. */
  #owedReleases: number[] = [];
  /** Identifiers of requests without an answer. */
  readonly #requests = new Set<number>();
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
  make(qos: 1 | 2, topic: string, payload: Uint8Array, retain: boolean): Sending {
    const packet: Publish = { type: "PUBLISH", topic, payload, qos, retain, dup: false, packetId: 1 };
    const sending: Sending = {
      seq: this.all.length,
      qos,
      topic,
      payload,
      retain,
      size: encodeNaive(packet).length,
      state: "waiting",
      packetId: 0,
      wasSent: false,
      isAnew: false,
      isExcused: false,
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
  settled(sending: Sending, outcome: number | MqttError, { withdrawn, isOver, isStalled }: {
    withdrawn: boolean;
    isOver: boolean;
    isStalled: boolean;
  }): void {
    const { seq, state } = sending;
    if (sending.outcome !== undefined) this.#fail(`the call of message ${seq} is settled twice`);
    sending.outcome = outcome;
    if (typeof outcome === "number") {
      if (outcome !== 0) this.#fail(`message ${seq} is acknowledged with ${outcome}`);
      if (state !== "done") this.#fail(`publish ${seq} is done, and the message is ${state}`);
      return;
    }
    sending.isGivenUp = true;
    if (withdrawn) {
      if (state !== "failed") this.#fail(`publish ${seq} fails as it was taken back, and the message is ${state}`);
    } else if (outcome.code === "sessionlost") {
      if (state !== "failed") this.#fail(`publish ${seq} fails as the session is lost, which it is not: ${state}`);
    } else if (outcome.code === "overflow") {
      if (!isStalled) this.#fail(`publish ${seq} is given up, and there is room for what comes`);
    } else if (!isOver) {
      this.#fail(`publish ${seq} fails with ${outcome}`);
    }
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

  wrote(packet: NaivePacket): void {
    if (packet.type === "PUBLISH") return this.#wrote(packet);
    if (packet.type === "PUBREL") return this.#released(packet.packetId);
    if (packet.type !== "SUBSCRIBE" && packet.type !== "UNSUBSCRIBE") return;
    this.#checkUnused(packet.packetId, undefined);
    this.#requests.add(packet.packetId);
  }

  #wrote({ payload, topic, qos, retain, dup, packetId }: Publish): void {
    const fail = this.#fail, seq = numberOf(payload), sending = this.all[seq];
    if (sending === undefined) return fail(`a message that nobody published: ${seq}`);
    if (sending.isExcused && sending.state === "done") return; // it waited in the output when the broker lied
    if (
      topic !== sending.topic || qos !== sending.qos || retain !== sending.retain || !same(payload, sending.payload)
    ) {
      fail(`message ${seq} is garbled`);
    }
    if (sending.state !== "waiting") fail(`message ${seq} is sent, and is ${sending.state}`);
    const first = this.#live.find((other) => other.qos === qos && other.state === "waiting");
    if (first !== sending) fail(`message ${seq} is sent before ${first?.seq}`);
    if (dup !== sending.packetId > 0) fail(`message ${seq} is sent with DUP ${dup}`);
    if (sending.packetId > 0 && sending.packetId !== packetId) {
      fail(`message ${seq} is sent again with identifier ${packetId} instead of ${sending.packetId}`);
    }
    this.#checkUnused(packetId, sending);
    if (qos === 2 && !dup && this.#isTakenOver && !this.#free.delete(packetId)) {
      fail(`message ${seq} is sent with identifier ${packetId}, which the broker may hold`);
    }
    sending.packetId = packetId;
    sending.wasSent = true;
    sending.state = "sent";
    sending.isExcused ||= this.#tainted.has(packetId);
    this.#checkWindow();
  }

  #checkUnused(packetId: number, user: Sending | undefined): void {
    const other = this.#live.find((live) => live !== user && live.packetId === packetId);
    if (other !== undefined) this.#fail(`identifier ${packetId} is taken, and message ${other.seq} has it`);
    if (this.#requests.has(packetId)) this.#fail(`identifier ${packetId} is taken, and a request has it`);
    const isFreed = this.#asked.has(packetId) || this.#free.has(packetId);
    if (isFreed && user?.qos !== 2) this.#fail(`identifier ${packetId} is taken, and is kept for QoS 2`);
  }

  #checkWindow(): void {
    const { maxInflight, maxInflightQoS2 } = this.#settings;
    const flying = this.#live.filter(({ state }) => state === "sent" || state === "received");
    const qos2 = flying.filter(({ qos }) => qos === 2);
    if (flying.length > maxInflight) this.#fail(`${flying.length} messages are in flight`);
    if (qos2.length > maxInflightQoS2) this.#fail(`${qos2.length} messages of QoS 2 are in flight`);
  }

  #released(packetId: number): void {
    if (this.#owedReleases[0] === packetId) return void this.#owedReleases.shift();
    if (!this.#isTakenOver) return this.#fail(`PUBREL ${packetId} instead of ${this.#owedReleases[0]}`);
    this.#checkUnused(packetId, undefined);
    this.#asked.add(packetId);
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
        const isRight = sending !== undefined && (packet.type === "PUBACK") === (sending.qos === 1);
        if (!isRight) this.ignored++;
        else sending.isExcused ||= !isGenuine;
        if (packet.type === "PUBREC" && sending?.qos !== 1) this.#owedReleases.push(packet.packetId);
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
      this.#drop(sending, "done");
      if (this.#isTakenOver) this.#free.add(packetId);
    } else if (this.#asked.delete(packetId)) {
      this.#free.add(packetId);
      if (!isGenuine) this.#tainted.add(packetId);
    } else {
      this.ignored++;
    }
  }

  // ---- connections

  connected(sessionPresent: boolean, isFirst: boolean): void {
    if (sessionPresent) {
      this.#isTakenOver ||= isFirst;
      this.#owedReleases = [...this.#received.map(({ packetId }) => packetId), ...this.#asked];
      return;
    }
    this.#isTakenOver = false;
    this.#asked.clear();
    this.#free.clear();
    this.#tainted.clear();
    const { sessionLost } = this.#settings;
    for (const sending of this.#live.filter(({ packetId }) => packetId > 0)) {
      sending.packetId = 0;
      sending.isAnew = true;
      sending.state = "waiting";
      const isSentAgain = sessionLost === undefined ? sending.qos === 1 : sessionLost === "resend";
      if (!isSentAgain) this.#drop(sending, "failed");
    }
    this.#received = [];
  }

  lost(): void {
    this.#owedReleases = [];
    this.#requests.clear();
    for (const sending of this.#live) {
      const packetId = sending.outgoing?.packetId ?? 0;
      if (sending.state === "sent") sending.state = "waiting";
      if (sending.state !== "waiting" || sending.packetId > 0 || packetId <= 0) continue;
      // It was in the output when the connection was lost: that counts as sent.
      this.#checkUnused(packetId, sending);
      if (sending.qos === 2) this.#free.delete(packetId);
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
  checkSent(): void {
    if (this.#owedReleases.length > 0) this.#fail(`PUBREL ${this.#owedReleases[0]} is not sent`);
    const { maxInflight, maxInflightQoS2 } = this.#settings;
    const flying = this.#live.filter(({ state }) => state === "sent" || state === "received");
    const qos2 = flying.filter(({ qos }) => qos === 2).length;
    if (flying.length >= maxInflight) return;
    const waiting = this.#live.find(({ state, qos }) =>
      state === "waiting" && (qos === 1 || qos2 < maxInflightQoS2 && !this.#isTakenOver)
    );
    if (waiting !== undefined) this.#fail(`message ${waiting.seq} is not sent, and the window has room`);
  }

  /** How often each message has arrived. */
  checkArrivals(arrivals: ReadonlyMap<number, number>): void {
    for (const { seq, qos, outcome, isExcused, isAnew, wasSent } of this.all) {
      const count = arrivals.get(seq) ?? 0;
      if (count > 0 && !wasSent) this.#fail(`message ${seq} arrived, and was never sent`);
      if (isExcused) continue;
      if (outcome === 0 && count === 0) this.#fail(`message ${seq} is acknowledged, and never arrived`);
      if (qos === 2 && count > 1 && !isAnew) this.#fail(`message ${seq} of QoS 2 arrived ${count} times`);
    }
  }
}
