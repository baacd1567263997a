/** The model of what the client receives: who gets a message, and when it may be acknowledged. */
import type { Settings } from "../../../src/client/settings.ts";
import type { Ack, NaivePacket, Publish } from "../../support/naive.ts";
import { encodeProperties } from "../../support/naive_properties.ts";
import { numberOf } from "../broker.ts";
import { UNKNOWN } from "./broker.ts";

/** What a message that is not settled counts besides its payload. */
const EXTRA = 256;

/** A message that is with its consumers. */
export interface Delivery {
  readonly seq: number;
  readonly qos: number;
  readonly packetId: number;
  readonly size: number;
  pending: number;
  begun: boolean;
  /** Whether a handler has failed. */
  hasFailed: boolean;
  /** Whether nothing is acknowledged when it is settled. */
  isForgotten: boolean;
  /** What is acknowledged then, on this connection. */
  receipt: Receipt | undefined;
}

interface Receipt {
  readonly packetId: number;
  /** What it is of; undefined when that was settled when it came. */
  readonly delivery: Delivery | undefined;
  isSettled: boolean;
}

/** Who gets messages. */
export interface Consumer {
  readonly name: string;
  /** A handler, by how many promises may be pending; or an iterator. */
  readonly concurrency: number | undefined;
  /** How many promises of a handler are pending. */
  running: number;
  /** What it must get next. */
  expected: Delivery[];
  /** What an iterator has. */
  given: Delivery | undefined;
  isLeft: boolean;
}

/** How it is looked up who gets a message. */
export type Route = (topic: string) => readonly Consumer[];

export class Receiving {
  readonly #settings: Settings;
  readonly #fail: (what: string) => void;
  readonly #route: Route;
  /** Whether the program takes messages itself; what waits for that, and what it has. */
  readonly #takes: boolean;
  kept: Delivery[] = [];
  #taken: Delivery | undefined;
  readonly #consumers: readonly Consumer[];
  /** What is not settled, by packet identifier, of all connections. */
  readonly #hands = new Map<number, Delivery>();
  readonly #recorded = new Set<number>();
  /** What is to be acknowledged on this connection. */
  readonly #receipts: Record<number, Receipt[]> = { 1: [], 2: [] };
  /** PUBCOMPs that are to be sent, in order; whether PUBREL was for something. */
  #owedCompletions: { readonly packetId: number; readonly isKnown: boolean }[] = [];
  /** Messages that nobody takes, and until when somebody may. */
  #unclaimed: Delivery[] = [];
  #claimUntil = -Infinity;
  givenUp = 0;
  /** Whether nothing is delivered any more; whether it may be that nothing is waited for, either. */
  isOver = false;
  mayHaveLeft = false;
  /** What is not settled. */
  count = 0;
  bytes = 0;
  delivered = 0;
  /** How many were passed over as they are too long. */
  dropped = 0;
  /** Of version 5: those of QoS 2 on which a handler has failed: they are not recorded, and PUBREC may be lost. */
  readonly #mayComeAgain = new Set<number>();
  /** How often each consumer got each message. */
  readonly #calls = new Map<string, number>();

  constructor(
    settings: Settings,
    { route, takes, consumers, fail }: {
      route: Route;
      takes: boolean;
      consumers: readonly Consumer[];
      fail: (what: string) => void;
    },
  ) {
    this.#settings = settings;
    this.#route = route;
    this.#takes = takes;
    this.#consumers = consumers;
    this.#fail = fail;
  }

  /** The reason code for a message on which a handler has failed. */
  get #failure(): number {
    return this.#settings.version === 5 ? 131 : 0;
  }

  /** Whether there is room for more, surely or surely not; undefined: it depends on what was. */
  get hasRoom(): boolean | undefined {
    const { receiveMaximum, maxUnsettled } = this.#settings;
    if (this.count >= receiveMaximum || this.bytes >= maxUnsettled) return false;
    const isIterated = this.#consumers.some(({ concurrency, expected }) =>
      concurrency === undefined && expected.length
    );
    return this.count === 0 && !isIterated ? true : undefined;
  }

  // ---- what the client hears

  heard(packet: NaivePacket, now: number): void {
    if (packet.type === "PUBREL") {
      const { packetId } = packet;
      this.#owedCompletions.push({ packetId, isKnown: this.#recorded.delete(packetId) });
    }
    if (packet.type === "PUBLISH" && !this.isOver) this.#published(packet, now);
  }

  #published({ topic, qos, dup, packetId, payload, properties }: Publish, now: number): void {
    const seq = numberOf(payload), hand = this.#hands.get(packetId);
    if (payload.length >= this.#settings.maxPacketSize) return this.#dropped(qos, packetId);
    if (qos > 0 && hand?.qos === qos && (qos === 2 || dup && hand.seq === seq)) {
      if (hand.receipt === undefined) this.#expect(hand);
      return;
    }
    if (qos === 2 && this.#recorded.has(packetId)) {
      return void this.#receipts[2]!.push({ packetId, delivery: undefined, isSettled: true });
    }
    const delivery: Delivery = {
      seq,
      qos,
      packetId,
      size: payload.length + encodeProperties(properties).length - 1 + EXTRA,
      pending: 1,
      begun: false,
      hasFailed: false,
      isForgotten: false,
      receipt: undefined,
    };
    this.count++;
    this.bytes += delivery.size;
    if (qos > 0) {
      this.#hands.set(packetId, delivery);
      this.#expect(delivery);
    }
    const consumers = this.#route(topic);
    if (qos > 0 && !this.#takes && consumers.length === 0 && now < this.#claimUntil) {
      this.#unclaimed.push(delivery);
      return;
    }
    for (const consumer of consumers) {
      if (this.#takes && consumer.concurrency !== undefined) continue;
      delivery.pending++;
      consumer.expected.push(delivery);
    }
    if (this.#takes) this.kept.push(delivery);
    else this.#done(delivery);
  }

  /** One over maxPacketSize is passed over, and acknowledged. */
  #dropped(qos: number, packetId: number): void {
    if (qos > 0) this.#receipts[qos]!.push({ packetId, delivery: undefined, isSettled: true });
    if (qos < 2 || !this.#recorded.has(packetId)) this.dropped++;
    if (qos === 2) this.#recorded.add(packetId);
  }

  #expect(delivery: Delivery): void {
    const { packetId, qos } = delivery;
    delivery.receipt = { packetId, delivery, isSettled: false };
    this.#receipts[qos]!.push(delivery.receipt);
  }

  // ---- what consumers do

  /** A handler or an iterator gets a message. */
  gets(consumer: Consumer, seq: number): Delivery | undefined {
    const { name, concurrency, running, expected } = consumer, delivery = expected.shift();
    if (delivery?.seq !== seq) {
      this.#fail(`${name} gets message ${seq} instead of ${delivery?.seq}`);
      return undefined;
    }
    if (concurrency !== undefined && ++consumer.running > concurrency) this.#fail(`${running} promises of ${name}`);
    this.#begin(name, delivery);
    return delivery;
  }

  #begin(name: string, delivery: Delivery): void {
    const { seq, qos } = delivery, key = `${name} ${seq}`, count = (this.#calls.get(key) ?? 0) + 1;
    this.#calls.set(key, count);
    if (qos !== 1 && count > 1 && !this.#mayComeAgain.has(seq)) {
      this.#fail(`${name} gets message ${seq} of QoS ${qos} ${count} times`);
    }
    delivery.begun = true;
    this.delivered++;
  }

  /** A handler is done with it, or has failed. */
  finished(consumer: Consumer, delivery: Delivery, hasFailed: boolean): void {
    consumer.running--;
    delivery.hasFailed ||= hasFailed;
    this.#done(delivery);
  }

  /** An iterator asks for the next one. */
  asks(consumer: Consumer): void {
    const { given } = consumer;
    consumer.given = undefined;
    if (given !== undefined) this.#done(given);
  }

  /** An iterator is left. */
  leaves(consumer: Consumer): void {
    consumer.isLeft = true;
    this.asks(consumer);
    for (const delivery of consumer.expected.splice(0)) {
      delivery.begun = true;
      this.#done(delivery);
    }
  }

  /** A program that blocks asks for the next message, and so is done with the one it has. */
  settleTaken(): void {
    const taken = this.#taken;
    this.#taken = undefined;
    if (taken !== undefined) this.#done(taken);
  }

  /** It gets one; of QoS 0, it need not say when it is done. */
  takes(seq: number): void {
    const delivery = this.#taken = this.kept.shift();
    if (delivery?.seq !== seq) return this.#fail(`message ${seq} is taken instead of ${delivery?.seq}`);
    this.#begin("the program", delivery);
    if (delivery.qos === 0) this.settleTaken();
  }

  #done(delivery: Delivery): void {
    if (--delivery.pending > 0) return;
    const { seq, packetId, qos, size, isForgotten, receipt, hasFailed } = delivery;
    this.count--;
    this.bytes -= size;
    if (this.#hands.get(packetId) === delivery) this.#hands.delete(packetId);
    if (qos === 0 || isForgotten) return;
    if (qos === 2 && this.#failure > 0 && hasFailed) this.#mayComeAgain.add(seq);
    else if (qos === 2) this.#recorded.add(packetId);
    if (receipt !== undefined) receipt.isSettled = true;
  }

  #forget(delivery: Delivery): void {
    delivery.isForgotten = true;
    const { qos, receipt } = delivery;
    if (receipt !== undefined) this.#receipts[qos] = this.#receipts[qos]!.filter((other) => other !== receipt);
    if (this.#hands.get(delivery.packetId) === delivery) this.#hands.delete(delivery.packetId);
  }

  #discard(delivery: Delivery): void {
    this.#forget(delivery);
    this.#done(delivery);
  }

  // ---- messages that nobody takes

  /** There is another consumer of a topic. */
  claim(topics: readonly string[], topicOf: (seq: number) => string): void {
    this.#unclaimed = this.#unclaimed.filter((delivery) => {
      const topic = topicOf(delivery.seq);
      if (!topics.includes(topic)) return true;
      for (const consumer of this.#route(topic)) {
        delivery.pending++;
        consumer.expected.push(delivery);
      }
      this.#done(delivery);
      return false;
    });
  }

  /** The client tells that nobody has taken one. */
  giveUp(now: number): void {
    const delivery = this.#unclaimed.shift();
    if (delivery === undefined) return this.#fail("a message is told that nobody took, and there is none");
    if (now < this.#claimUntil) this.#fail(`message ${delivery.seq} is given up before its time`);
    this.givenUp++;
    this.#done(delivery);
  }

  // ---- what the client sends

  wrote(packet: NaivePacket): void {
    switch (packet.type) {
      case "PUBACK":
        return this.#acknowledged(1, packet);
      case "PUBREC":
        return this.#acknowledged(2, packet);
      case "PUBCOMP": {
        const { packetId, code = 0 } = packet, owed = this.#owedCompletions.shift();
        if (owed?.packetId !== packetId) this.#fail(`PUBCOMP ${packetId} instead of ${owed?.packetId}`);
        const right = this.#settings.version === 4 || owed?.isKnown ? 0 : UNKNOWN;
        if (code !== right) this.#fail(`PUBCOMP ${packetId} has code ${code} instead of ${right}`);
      }
    }
  }

  #acknowledged(qos: number, { packetId, code = 0 }: Ack): void {
    const receipts = this.#receipts[qos]!;
    const isNobodys = ({ delivery }: Receipt) => delivery !== undefined && delivery.pending > 0;
    while (this.mayHaveLeft && receipts[0]?.packetId !== packetId && receipts[0] && isNobodys(receipts[0])) {
      receipts.shift();
    }
    const what = `${qos === 1 ? "PUBACK" : "PUBREC"} ${packetId}`, receipt = receipts.shift();
    if (receipt?.packetId !== packetId) return this.#fail(`${what} instead of ${receipt?.packetId}`);
    const right = receipt.delivery?.hasFailed ? this.#failure : 0;
    if (code !== right) this.#fail(`${what} has code ${code} instead of ${right}`);
    if (!receipt.isSettled) this.#fail(`${what} before the message is settled`);
  }

  // ---- connections

  connected(sessionPresent: boolean, now: number): void {
    this.#claimUntil = sessionPresent || this.#unclaimed.length > 0 ? now + this.#settings.timeout : -Infinity;
    if (!sessionPresent) {
      this.#recorded.clear();
      for (const delivery of [...this.#hands.values()]) this.#forget(delivery);
      return;
    }
    const isDropped = ({ qos, begun }: Delivery) => qos > 0 && !begun;
    this.#discardQueued(isDropped);
    for (const consumer of this.#consumers) {
      if (consumer.concurrency !== undefined) continue;
      const dropped = consumer.expected.filter(isDropped);
      consumer.expected = consumer.expected.filter((delivery) => !isDropped(delivery));
      for (const delivery of dropped) this.#discard(delivery);
    }
    this.discardUnclaimed();
  }

  /** Nobody takes them any more. */
  discardUnclaimed(): void {
    for (const delivery of this.#unclaimed.splice(0)) this.#discard(delivery);
  }

  #discardQueued(isDropped: (delivery: Delivery) => boolean): void {
    for (const consumer of this.#consumers) {
      if (consumer.concurrency === undefined) continue;
      const dropped = consumer.expected.filter(isDropped);
      consumer.expected = consumer.expected.filter((delivery) => !dropped.includes(delivery));
      for (const delivery of dropped) this.#discard(delivery);
    }
    const dropped = this.kept.filter(isDropped);
    this.kept = this.kept.filter((delivery) => !dropped.includes(delivery));
    for (const delivery of dropped) this.#discard(delivery);
  }

  lost(): void {
    this.#receipts[1] = [];
    this.#receipts[2] = [];
    this.#owedCompletions = [];
    this.#claimUntil = -Infinity;
    for (const delivery of this.#hands.values()) delivery.receipt = undefined;
  }

  /** disconnect(): what no handler has begun is nobody's. */
  leave(): void {
    this.isOver = true;
    this.#discardQueued(() => true);
    this.discardUnclaimed();
  }

  // ---- what must hold

  /** After each step: those who may be called are. */
  check(): void {
    for (const { name, concurrency, running, expected } of this.#consumers) {
      if (concurrency === undefined || running >= concurrency || expected.length === 0) continue;
      this.#fail(`message ${expected[0]!.seq} does not go to ${name}`);
    }
  }

  /** All that was to be sent is sent: so is what was settled. */
  checkSent(): void {
    for (const qos of [1, 2]) {
      const [first] = this.#receipts[qos]!;
      if (first?.isSettled) this.#fail(`${qos === 1 ? "PUBACK" : "PUBREC"} ${first.packetId} is not sent`);
    }
    if (this.#owedCompletions.length > 0) this.#fail(`PUBCOMP ${this.#owedCompletions[0]!.packetId} is not sent`);
  }

  /** Whether everything is acknowledged that can be. */
  get isAcknowledged(): boolean {
    return this.#receipts[1]!.length + this.#receipts[2]!.length === 0;
  }

  /** Whether a message reached one of its consumers. */
  has(name: string, seq: number): boolean {
    return this.#calls.has(`${name} ${seq}`);
  }
}
