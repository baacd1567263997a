/** What of the messages published the broker has: it answers the PINGREQ behind those of QoS 0, and acknowledges the others.
 * @module */

import type { MqttError } from "../errors.ts";
import { encode } from "../protocol/encoder.ts";
import { countPackets, type Output } from "../protocol/output.ts";
import { PINGREQ } from "../protocol/packet.ts";
import type { Call, Events } from "./events.ts";

/** Somebody who waits until the broker has the messages published before. */
interface Flush {
  /** Undefined when it is settled, and its PINGRESP may still come. */
  call: Call | undefined;
  /** How many messages of QoS 0 had been published. */
  published: number;
  /** How many of QoS 1 and 2 had been accepted, and how many of those are not done. */
  readonly accepted: number;
  pending: number;
  /** Whether the broker has those of QoS 0. */
  isAnswered: boolean;
  readonly since: number;
}

/**
 * The calls of `flush()`. Each has a PINGREQ behind the last byte of what was published before; the broker answers
 * PINGREQs in order, those of the keep alive among them. Messages are counted, and a lost connection tells how many of
 * them have gone out on it without such an answer: those may be lost. Messages of QoS 1 and 2 are not lost with it, and
 * are waited for over connections. Times are in milliseconds.
 */
export class Flushes {
  readonly #output: Output;
  readonly #events: Events;
  readonly #timeout: number;
  /** Those whose PINGREQ is in the output, and those whose PINGREQ has gone out; `undefined`: the keep alive's. */
  #waiting: Flush[] = [];
  #sent: (Flush | undefined)[] = [];
  /** Those that wait for acknowledgements, answered or not. */
  #unacknowledged: Flush[] = [];
  /** PINGREQs of the keep alive that are in the output, before all else. */
  #pings = 0;
  /** Of how many messages of QoS 0 it was answered, or told, what became of them. */
  #known = 0;
  /** Whether there is a connection. */
  #isOpen = false;
  /** Messages were lost with a connection, and nobody was told: why. */
  #loss: MqttError | undefined;

  constructor(output: Output, events: Events, timeout: number) {
    this.#output = output;
    this.#events = events;
    this.#timeout = timeout;
  }

  /** Whether somebody waits. */
  get isAwaited(): boolean {
    return this.#first !== undefined;
  }

  /**
   * Settles the call when the broker has what was published before. Of QoS 1 and 2 so many messages were `accepted`, and so
   * many of them are `pending`.
   *
   * @throws {MqttError} `"overflow"`; nothing is asked for then.
   */
  flush(call: Call, { accepted, pending }: { accepted: number; pending: number }, now: number): void {
    const error = this.#loss;
    this.#loss = undefined;
    if (error !== undefined) return this.#events.settle(call, { error });
    if (this.#isOpen) this.#output.add(encode({ type: PINGREQ }));
    const flush = { call, published: this.#output.published, accepted, pending, isAnswered: false, since: now };
    this.#waiting.push(flush);
    if (pending > 0) this.#unacknowledged.push(flush);
  }

  /** A message of QoS 1 or 2 is done: the broker has it, or the error tells why not. */
  readonly done = (number: number, error: MqttError | undefined): void => {
    if (this.#unacknowledged.length === 0) return;
    for (const flush of this.#unacknowledged) {
      if (number >= flush.accepted) continue;
      flush.pending--;
      if (error !== undefined) this.#fail(flush, error);
      else this.#settle(flush);
    }
    this.#unacknowledged = this.#unacknowledged.filter(({ call, pending }) => call !== undefined && pending > 0);
  };

  /** Settles the call of a flush when there is nothing more to wait for. */
  #settle(flush: Flush): void {
    if (!flush.isAnswered || flush.pending > 0) return;
    this.#events.settle(flush.call);
    flush.call = undefined;
  }

  /** The keep alive sends PINGREQ, before all that waits. */
  ping(): void {
    this.#output.addFirst(encode({ type: PINGREQ }));
    this.#pings++;
  }

  /** These bytes go out: their PINGREQs will be answered. */
  taken(bytes: Uint8Array): void {
    if (this.#pings === 0 && this.#waiting.length === 0) return;
    for (let count = countPackets(bytes, PINGREQ); count > 0; count--) {
      if (this.#pings > 0) {
        this.#pings--;
        this.#sent.push(undefined);
      } else {
        this.#sent.push(this.#waiting.shift());
      }
    }
  }

  /** PINGRESP. */
  answered(): void {
    const flush = this.#sent.shift();
    if (flush === undefined) return;
    this.#known = Math.max(this.#known, flush.published);
    flush.isAnswered = true;
    this.#settle(flush);
  }

  /** When the first of them has failed: no byte came or went for `timeout`. `lastByte` is when one did. */
  due(lastByte: number): number {
    const first = this.#first;
    return first === undefined ? Infinity : Math.max(first.since, lastByte) + this.#timeout;
  }

  get #first(): Flush | undefined {
    for (const flushes of [this.#unacknowledged, this.#sent, this.#waiting]) {
      const first = flushes.find((flush) => flush?.call !== undefined);
      if (first !== undefined) return first;
    }
    return undefined;
  }

  /** Gives up those that were due by then. */
  expire(by: number, lastByte: number, error: MqttError): void {
    if (this.due(lastByte) > by) return;
    while (this.due(lastByte) <= by) this.#fail(this.#first!, error);
    this.#unacknowledged = this.#unacknowledged.filter(({ call }) => call !== undefined);
  }

  /** All of them have failed, and so may more of them. */
  fail(error: MqttError): void {
    for (let first = this.#first; first !== undefined; first = this.#first) this.#fail(first, error);
  }

  #fail(flush: Flush, error: MqttError): void {
    this.#events.settle(flush.call, { error });
    flush.call = undefined;
  }

  /** There is a connection, and messages of QoS 0 that waited for it are in the output now: the PINGREQs come behind them. */
  connected(): void {
    this.#isOpen = true;
    for (const flush of this.#waiting) {
      flush.published = this.#output.published;
      this.#output.addAnyway(encode({ type: PINGREQ }));
    }
  }

  /** The connection is lost, and with it what has gone out; `unsent` messages have not. Others wait for the next connection. */
  lost(error: MqttError, unsent: number): void {
    this.#isOpen = false;
    const out = this.#output.published - unsent;
    const isLost = out > this.#known;
    let isTold = false;
    const flushes = [...this.#sent, ...this.#waiting].filter((flush) => flush?.call !== undefined) as Flush[];
    this.#sent = [];
    this.#pings = 0;
    this.#waiting = flushes.filter((flush) => {
      const { published } = flush;
      if (published > out && !isLost) return true;
      flush.isAnswered = published <= this.#known;
      isTold ||= !flush.isAnswered;
      if (flush.isAnswered) this.#settle(flush);
      else this.#fail(flush, error);
      return false;
    });
    this.#unacknowledged = this.#unacknowledged.filter(({ call }) => call !== undefined);
    if (isLost && !isTold) this.#loss = error;
    this.#known = Math.max(this.#known, out);
  }
}
