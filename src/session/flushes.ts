/** What of the messages published at QoS 0 the broker has: it answers the PINGREQ behind them.
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
  /** How many messages had been published. */
  readonly published: number;
  readonly since: number;
}

/**
 * The calls of `flush()`. Each has a PINGREQ behind the last byte of what was published before; the broker answers
 * PINGREQs in order, those of the keep alive among them. Messages are counted, and a lost connection tells how many of
 * them have gone out on it without such an answer: those may be lost. Times are in milliseconds.
 */
export class Flushes {
  readonly #output: Output;
  readonly #events: Events;
  readonly #timeout: number;
  /** Those whose PINGREQ is in the output, and those whose PINGREQ has gone out; `undefined`: the keep alive's. */
  #waiting: Flush[] = [];
  #sent: (Flush | undefined)[] = [];
  /** PINGREQs of the keep alive that are in the output, before all else. */
  #pings = 0;
  /** How many messages were published; of how many of them it was answered, or told, what became of them. */
  published = 0;
  #known = 0;
  /** Messages were lost with a connection, and nobody was told: why. */
  #loss: MqttError | undefined;

  constructor(output: Output, events: Events, timeout: number) {
    this.#output = output;
    this.#events = events;
    this.#timeout = timeout;
  }

  /** Whether somebody waits. */
  get isAwaited(): boolean {
    return this.#waiting.length > 0 || this.#sent.some((flush) => flush?.call !== undefined);
  }

  /**
   * Settles the call when the broker has what was published before.
   *
   * @throws {MqttError} `"overflow"`; nothing is asked for then.
   */
  flush(call: Call, now: number): void {
    const error = this.#loss;
    this.#loss = undefined;
    if (error !== undefined) return this.#events.settle(call, { error });
    this.#output.add(encode({ type: PINGREQ }));
    this.#waiting.push({ call, published: this.published, since: now });
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
    this.#events.settle(flush.call);
  }

  /** When the first of them has failed: no byte came or went for `timeout`. `lastByte` is when one did. */
  due(lastByte: number): number {
    const first = this.#first;
    return first === undefined ? Infinity : Math.max(first.since, lastByte) + this.#timeout;
  }

  get #first(): Flush | undefined {
    return this.#sent.find((flush) => flush?.call !== undefined) ??
      this.#waiting.find(({ call }) => call !== undefined);
  }

  /** Gives up those that were due by then. */
  expire(by: number, lastByte: number, error: MqttError): void {
    while (this.due(lastByte) <= by) this.#fail(this.#first!, error);
  }

  /** All of them have failed, and so may more of them. */
  fail(error: MqttError): void {
    for (let first = this.#first; first !== undefined; first = this.#first) this.#fail(first, error);
  }

  #fail(flush: Flush, error: MqttError): void {
    this.#events.settle(flush.call, { error });
    flush.call = undefined;
  }

  /** The connection is lost, and with it what has gone out; `unsent` messages have not. Others wait for the next connection. */
  lost(error: MqttError, unsent: number): void {
    const out = this.published - unsent;
    const isLost = out > this.#known;
    let isTold = false;
    const flushes = [...this.#sent, ...this.#waiting].filter((flush) => flush?.call !== undefined) as Flush[];
    this.#sent = [];
    this.#pings = 0;
    this.#waiting = flushes.filter(({ call, published }) => {
      if (published > out && !isLost) return true;
      const isDone = published <= this.#known;
      this.#events.settle(call, { error: isDone ? undefined : error });
      isTold ||= !isDone;
      return false;
    });
    if (isLost && !isTold) this.#loss = error;
    this.#known = Math.max(this.#known, out);
    for (const _ of this.#waiting) this.#output.acknowledge(encode({ type: PINGREQ }));
  }
}
