/** Until when messages that a session had left wait for somebody who takes them.
 * @module */

import { TopicName } from "../protocol/topic.ts";
import type { Backlog } from "./backlog.ts";
import type { Subscriptions } from "./subscriptions.ts";

/** Those that no consumer took, of a session that was resumed: after a while they are acknowledged, and told. */
export class Claims {
  readonly #backlog: Backlog;
  readonly #subscriptions: Subscriptions;
  /** When that is; Infinity when there is nothing to wait for. Milliseconds. */
  due: number = Infinity;

  constructor(backlog: Backlog, subscriptions: Subscriptions) {
    this.#backlog = backlog;
    this.#subscriptions = subscriptions;
  }

  /** Whether such messages may come. */
  get areOpen(): boolean {
    return this.due < Infinity;
  }

  /** There is a connection. Also when what nobody has taken is of a session that was lost since: it takes up room until `by`. */
  connected(sessionPresent: boolean, by: number): void {
    this.due = sessionPresent || this.#backlog.hasUnclaimed ? by : Infinity;
  }

  /** There is a new consumer, for whom they may be. */
  claim(): void {
    if (!this.#backlog.hasUnclaimed) return;
    this.#backlog.claim(({ topic }) => this.#subscriptions.recipients(new TopicName(topic)));
  }

  /** Nobody has taken them in time. */
  giveUp(): void {
    this.lost();
    this.#backlog.giveUpUnclaimed();
  }

  /** The connection is lost: they come again. */
  lost(): void {
    this.due = Infinity;
  }
}
