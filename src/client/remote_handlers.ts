/** The caller's handlers of messages that come from a thread: called in order, so many at once as they were subscribed with.
 * @module */

import type { OnPublish } from "../api.ts";
import { surface } from "../errors.ts";
import type { Message } from "../message.ts";
import { Fifo } from "../session/fifo.ts";

/** Hears the number of each message that a handler is done with, and whether it failed. */
export type Settled = (number: number, failed: boolean) => void;

/** One handler; the thread knows it by its number. */
export class RemoteHandler {
  readonly number: number;
  readonly onpub: OnPublish;
  /** How many of its promises may run at once. */
  concurrency = 1;
  readonly #settled: Settled;
  /** Promises of it that are not settled. */
  #running = 0;
  readonly #waiting = new Fifo<{ number: number; message: Message }>();

  /** `settled` hears of each message. */
  constructor(number: number, onpub: OnPublish, settled: Settled) {
    this.number = number;
    this.onpub = onpub;
    this.#settled = settled;
  }

  /** Takes a message, by the number that the thread knows it by. */
  take(number: number, message: Message): void {
    if (this.#running >= this.concurrency) this.#waiting.push({ number, message });
    else this.#call(number, message);
  }

  #call(number: number, message: Message): void {
    let outcome: unknown;
    try {
      outcome = this.onpub(message.topic, message);
    } catch (error) {
      surface(error);
      return this.#settled(number, true);
    }
    if (typeof (outcome as PromiseLike<unknown> | undefined | null)?.then !== "function") {
      return this.#settled(number, false);
    }
    this.#running++;
    Promise.resolve(outcome).then(() => this.#done(number, false), (error) => {
      surface(error);
      this.#done(number, true);
    });
  }

  #done(number: number, failed: boolean): void {
    this.#running--;
    this.#settled(number, failed);
    while (this.#running < this.concurrency) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#call(next.number, next.message);
    }
  }

  /** Drops what waits: nobody wants it any more. */
  clear(): void {
    this.#waiting.clear();
  }
}

/** What one subscribe() has made of a filter. */
interface Route {
  readonly entry: Entry | undefined;
}

/** A handler, and how many filters have it. */
interface Entry {
  readonly handler: RemoteHandler;
  uses: number;
}

/** All handlers of a client, as long as a filter has them. */
export class RemoteHandlers {
  readonly #settled: Settled;
  readonly #byNumber = new Map<number, Entry>();
  /** One function is one handler, of however many filters. */
  readonly #byFunction = new Map<OnPublish, Entry>();
  /** What was asked for last, by filter. */
  readonly #routes = new Map<string, Route>();
  #numbers = 0;

  /** `settled` hears of each message. */
  constructor(settled: Settled) {
    this.#settled = settled;
  }

  /**
   * Enters what a subscribe() gives for its filters, a handler or none: its number, and what is to be called with the
   * answer, as messages that come before that may be for the handlers before.
   */
  subscribe(
    filters: readonly string[],
    onpub: OnPublish | undefined,
    concurrency: number,
  ): { number: number | undefined; done: () => void } {
    const entry = onpub && this.#enter(onpub);
    if (entry !== undefined) {
      entry.uses += filters.length;
      entry.handler.concurrency = concurrency;
    }
    const route = { entry };
    const before = filters.map((filter) => this.#replace(filter, route));
    return { number: entry?.handler.number, done: () => before.forEach((old) => this.#release(old)) };
  }

  #enter(onpub: OnPublish): Entry {
    let entry = this.#byFunction.get(onpub);
    if (entry === undefined) {
      entry = { handler: new RemoteHandler(++this.#numbers, onpub, this.#settled), uses: 0 };
      this.#byFunction.set(onpub, entry);
      this.#byNumber.set(entry.handler.number, entry);
    }
    return entry;
  }

  #replace(filter: string, route: Route): Route | undefined {
    const before = this.#routes.get(filter);
    this.#routes.set(filter, route);
    return before;
  }

  /** Gives up filters; what is returned is to be called with the answer. */
  unsubscribe(filters: readonly string[]): () => void {
    const routes = filters.map((filter) => this.#routes.get(filter));
    return () =>
      filters.forEach((filter, i) => {
        const route = routes[i];
        if (route === undefined || this.#routes.get(filter) !== route) return; // asked for again since
        this.#routes.delete(filter);
        this.#release(route);
      });
  }

  #release(route: Route | undefined): void {
    const entry = route?.entry;
    if (entry === undefined || --entry.uses > 0) return;
    this.#byNumber.delete(entry.handler.number);
    this.#byFunction.delete(entry.handler.onpub);
  }

  /** A message for the handler of that number has come. */
  take(handler: number, number: number, message: Message): void {
    const entry = this.#byNumber.get(handler);
    if (entry === undefined) this.#settled(number, false);
    else entry.handler.take(number, message);
  }

  /** The client has disconnected: what waits is not handled any more. */
  clear(): void {
    for (const { handler } of this.#byNumber.values()) handler.clear();
  }
}
