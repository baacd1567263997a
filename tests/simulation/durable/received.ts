/** The model of what is received, over any number of processes: what is handled how often, and when it may be answered. */
import type { NaivePacket } from "../../support/naive.ts";
import { numberOf } from "../broker.ts";
import type { Sent } from "../qos/broker.ts";
import type { LogState } from "./log.ts";

/** What the history knows besides. */
interface Surroundings {
  readonly log: () => LogState;
  /** What the broker has sent, by number. */
  readonly sent: readonly Sent[];
  /** Whether nobody may have got a message. */
  readonly isNobodys: (seq: number) => boolean;
  readonly fail: (what: string) => void;
}

export class Receiving {
  readonly #around: Surroundings;
  /** How often each message was handled, and may be. */
  readonly #handled = new Map<number, number>();
  readonly #allowed = new Map<number, number>();
  /** Messages in hand, and their packet identifiers: those of a session that is lost are not recorded. */
  readonly #inHand = new Map<number, number>();
  /** Packet identifiers of QoS 2 that are settled, and not released. */
  readonly #recorded = new Set<number>();
  /** What a handler has not begun, by packet identifier. */
  readonly #came = new Map<number, number>();
  /** Packet identifiers of QoS 2 of what nobody takes: it is settled at once, or when it has waited long enough. */
  readonly #nobodys = new Set<number>();
  /** Packet identifiers for which PUBREL has come on this connection; and has come with nothing recorded to release, or again. */
  readonly #released = new Set<number>();
  readonly #repeated = new Set<number>();
  #isExcused = false;
  #hasLeft = false;
  delivered = 0;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  // ---- what the client hears, and its handlers do

  heard(packet: NaivePacket, isGenuine: boolean): void {
    if (packet.type === "PUBREL") {
      const wasRecorded = this.#recorded.delete(packet.packetId);
      this.#nobodys.delete(packet.packetId);
      this.#released.add(packet.packetId);
      if (!isGenuine || !wasRecorded) this.#repeated.add(packet.packetId);
    }
    if (packet.type !== "PUBLISH" || packet.qos === 0) return;
    const { packetId, qos } = packet, seq = numberOf(packet.payload);
    this.#came.set(seq, packetId);
    if (qos === 2 && this.#around.isNobodys(seq)) this.#nobodys.add(packetId);
  }

  handled(seq: number): void {
    const { qos } = this.#around.sent[seq]!, count = (this.#handled.get(seq) ?? 0) + 1;
    this.#handled.set(seq, count);
    this.delivered++;
    const packetId = this.#came.get(seq);
    if (qos > 0 && packetId !== undefined) this.#inHand.set(seq, packetId);
    const allowed = this.#allowed.get(seq) ?? 1;
    if (qos !== 1 && count > allowed && !this.#isExcused) {
      this.#around.fail(`message ${seq} of QoS ${qos} is handled ${count} times, and ${allowed} may be`);
    }
  }

  settled(seq: number): void {
    const packetId = this.#inHand.get(seq);
    this.#inHand.delete(seq);
    if (packetId !== undefined && this.#around.sent[seq]!.qos === 2) this.#recorded.add(packetId);
  }

  // ---- what the client sends

  wrote(packet: NaivePacket): void {
    const { recorded } = this.#around.log();
    if (packet.type === "PUBREC" && !recorded.has(packet.packetId) && !this.#released.has(packet.packetId)) {
      this.#around.fail(`PUBREC ${packet.packetId} before RECORDED is kept`);
    }
    if (packet.type === "PUBCOMP" && recorded.has(packet.packetId) && !this.#repeated.has(packet.packetId)) {
      this.#around.fail(`PUBCOMP ${packet.packetId} before RELEASED is kept`);
    }
  }

  // ---- connections and processes

  connected(sessionPresent: boolean): void {
    if (sessionPresent) return;
    this.#recorded.clear();
    this.#nobodys.clear();
    this.#inHand.clear();
    this.#came.clear();
  }

  lost(): void {
    this.#released.clear();
    this.#repeated.clear();
  }

  /** disconnect(): what is settled from now on may be recorded or not. */
  left(): void {
    this.#hasLeft = true;
  }

  /** The process has died: what it had in hand, or has not recorded, may be handled again. */
  died(isDamaged: boolean): void {
    const { recorded } = this.#around.log();
    this.lost();
    this.#isExcused ||= isDamaged;
    this.#hasLeft = false;
    this.#inHand.clear();
    this.#recorded.clear();
    this.#nobodys.clear();
    for (const packetId of recorded) this.#recorded.add(packetId);
    for (const { seq, qos, state, packetId } of this.#around.sent) {
      if (qos !== 2 || state !== "sent" || recorded.has(packetId)) continue;
      this.#allowed.set(seq, (this.#handled.get(seq) ?? 0) + 1);
    }
  }

  // ---- what must hold

  /** The log says what is true, when nothing is to be written. */
  checkLog(): void {
    if (this.#hasLeft) return;
    const known = (ids: Iterable<number>) =>
      [...ids].filter((id) => !this.#nobodys.has(id)).sort((one, other) => one - other);
    const logged = known(this.#around.log().recorded), recorded = known(this.#recorded);
    if (logged.join() !== recorded.join()) this.#around.fail(`${recorded} are recorded, and in the log ${logged}`);
  }

  /** All that the broker has sent was handled. */
  checkAll(): void {
    if (this.#isExcused) return;
    for (const { seq, qos, state } of this.#around.sent) {
      if (qos === 0 || state !== "done" || this.#around.isNobodys(seq)) continue;
      if (!this.#handled.has(seq)) this.#around.fail(`message ${seq} was never handled`);
    }
  }
}
