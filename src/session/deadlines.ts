/** What time says to a session: when something is due, and what is done then.
 * @module */

import type { MqttError } from "../errors.ts";
import { unanswered, unread } from "./failures.ts";
import type { Intake } from "./intake.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { Parts } from "./parts.ts";

/** Gives up what has failed, and has the keep alive send PINGREQ. Times are in milliseconds. */
export class Deadlines {
  readonly #parts: Parts;
  readonly #lifecycle: Lifecycle;
  readonly #intake: Intake;
  /** In which a request must be answered. */
  readonly #timeout: number;

  constructor(timeout: number, parts: Parts, { lifecycle, intake }: { lifecycle: Lifecycle; intake: Intake }) {
    this.#timeout = timeout;
    this.#parts = parts;
    this.#lifecycle = lifecycle;
    this.#intake = intake;
  }

  /** When `tick` wants to be called; Infinity when never. */
  get due(): number {
    if (this.#lifecycle.isDrained) return this.#lifecycle.now;
    const look = this.#parts.secondLook.due;
    return Math.min(look < Infinity ? look : this.#failing, this.#pingDue);
  }

  /** When the keep alive wants `tick`; never after DISCONNECT, when nothing is sent any more [MQTT-3.14.4-2]. */
  get #pingDue(): number {
    return this.#lifecycle.isOver ? Infinity : this.#lifecycle.connection?.due ?? Infinity;
  }

  /** When the first of those that wait has failed. */
  get #failing(): number {
    const { due, state } = this.#lifecycle;
    if (state === "closed") return due;
    const { journal, flight, authentication, subscriber, stall, claims } = this.#parts;
    const kept = Math.min(journal.due, flight.due, authentication.due);
    return Math.min(due, subscriber.due, stall.due, claims.due, this.#flushDue, kept);
  }

  /** When the first flush has failed. Without a connection it waits for one; but a program that blocks does not wait longer. */
  get #flushDue(): number {
    const { isOpen, lastByte } = this.#lifecycle;
    return isOpen || this.#intake.isBlocked ? this.#parts.flushes.due(lastByte) : Infinity;
  }

  /** Gives up what has failed, at the second look, and sends PINGREQ when the keep alive wants it. */
  tick(now: number): void {
    const { due } = this;
    const timeout = this.#timeout, lifecycle = this.#lifecycle;
    const { secondLook, backlog, stall, authentication, journal, flight, claims, subscriber, flushes } = this.#parts;
    lifecycle.now = now;
    if (lifecycle.isDrained) lifecycle.leaveDrained();
    if (now < due) return;
    if (now < secondLook.due && secondLook.due < Infinity) return this.#ping(); // and look on
    const by = secondLook.take();
    // As it was when they were due: what is given up here makes room, and the answer may come with what is read then.
    const reading = this.#intake.isReading;
    const error = unanswered(timeout, { reading, unsettled: backlog.count });
    if (lifecycle.due <= by) lifecycle.expire();
    if (stall.due <= by && stall.check({ isReading: this.#intake.isReading }, now)) this.#giveUpStalled();
    if (authentication.due <= by) authentication.fail(error);
    if (journal.due <= by) journal.retry();
    if (flight.due <= by) flight.expire(now);
    if (claims.due <= by) claims.giveUp();
    const failure = subscriber.expire(by, { reading, error, now });
    if (this.#flushDue <= by) flushes.expire(by, lifecycle.lastByte, error);
    if (failure !== undefined) lifecycle.lose(failure);
    this.#ping();
    if (this.#failing <= now) secondLook.plan(now, due);
  }

  /** Those who wait for room, or for an acknowledgement, would wait for ever: the broker may read no more until we do. */
  #giveUpStalled(): void {
    const timeout = this.#timeout, { flight, publisher, backlog: { count } } = this.#parts;
    if (flight.isAwaited) flight.fail(unread(`No acknowledgement was read within ${timeout} ms`, count));
    publisher.settle({ error: unread(`There was no room to publish within ${timeout} ms`, count) });
  }

  #ping(): void {
    if (this.#pingDue > this.#lifecycle.now) return;
    try {
      if (this.#lifecycle.connection?.isPingDue(this.#lifecycle.now, this.#intake.isReading)) {
        this.#parts.flushes.ping();
      }
    } catch (error) {
      this.#lifecycle.lose(error as MqttError);
    }
  }
}
