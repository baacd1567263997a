/** What the caller of a client in a thread has asked for, until the thread has answered.
 * @module */

import type { MqttError } from "../errors.ts";
import type { Call, Events } from "../session/events.ts";

/** The number of the call that waits for the first connection: the thread is not asked for it. */
const OPENING = 0;

/** Calls by the numbers with which their answers come. */
export class ModuleCalls {
  readonly #events: Events;
  /** Those that the thread has not answered, and those of their callers who are told with the answer. */
  readonly #asked = new Map<number, { readonly call: Call; readonly done?: (() => void) | undefined }>();
  #numbers = OPENING;

  /** `opening` is settled with the first connection. */
  constructor(events: Events, opening: Call) {
    this.#events = events;
    this.#asked.set(OPENING, { call: opening });
  }

  /** Whether there was no connection yet. */
  get isOpening(): boolean {
    return this.#asked.has(OPENING);
  }

  /** A number for a call; `done` is called with any answer. */
  number(call: Call, done?: () => void): number {
    const number = ++this.#numbers;
    this.#asked.set(number, { call, done });
    return number;
  }

  /** The thread has answered. */
  answered(number: number, outcome: { code?: number | undefined; error?: MqttError }): void {
    const asked = this.#asked.get(number);
    if (asked === undefined) return;
    this.#asked.delete(number);
    asked.done?.();
    const { code, error } = outcome;
    this.#events.settle(asked.call, code === undefined ? { error } : { code, error });
  }

  /** There is no client in the thread. */
  notOpened(error: MqttError): void {
    this.answered(OPENING, { error });
  }

  /** The thread does not answer any more: everything settles. */
  fail(error: MqttError): void {
    for (const number of [...this.#asked.keys()]) this.answered(number, { error });
  }
}
