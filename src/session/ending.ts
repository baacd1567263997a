/** The end of a client: why, and who hears of it.
 * @module */

import { MqttError } from "../errors.ts";
import type { Call, Events } from "./events.ts";

/** Why a client has ended or is about to, and those who wait for that. */
export class Ending {
  readonly #events: Events;
  /** Those who called disconnect(). */
  readonly #calls: Call[] = [];
  #disconnected: MqttError | undefined;
  #reason: MqttError | undefined;
  /** Whether somebody hears of the end. */
  #heard = false;
  /** What disconnect() could not do, as far as that is known before the end. */
  failure: MqttError | undefined;

  constructor(events: Events) {
    this.#events = events;
  }

  /** Whether the program has disconnected. */
  get isAsked(): boolean {
    return this.#disconnected !== undefined;
  }

  /** What every call gets from now on; undefined while calls can be made. */
  get reason(): MqttError | undefined {
    return this.#reason;
  }

  /** Whether somebody hears of the end, or has asked for it. */
  get isHeard(): boolean {
    return this.#heard || this.isAsked;
  }

  /** The program disconnects, because of `cause`; whether for the first time. */
  ask(calls: readonly Call[], cause: unknown): boolean {
    this.#calls.push(...calls);
    if (this.isAsked) return false;
    this.#reason = this.#disconnected = new MqttError("disconnect", "The client has disconnected", cause);
    return true;
  }

  /** The client has ended with an error, which is not the reason if the program has disconnected. */
  come(error: MqttError): MqttError {
    return this.#reason = this.#disconnected ?? error;
  }

  /** Tells those who called disconnect() what became of what was accepted. */
  settle(failure: MqttError | undefined): void {
    const error = this.failure ?? failure;
    for (const call of this.#calls.splice(0)) this.#events.settle(call, { error });
  }

  /** Somebody hears of the end. */
  listen(): void {
    this.#heard = true;
  }

  /** A call has failed with an error: if that is the reason of the end, its caller has heard of it. */
  rejected(error: MqttError): void {
    if (error === this.#reason) this.listen();
  }
}
