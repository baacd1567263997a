/** The caller's handlers of messages that come from a thread: called in order, so many at once as they were subscribed with.
 * @module */

import type { OnPublish } from "../options.ts";
import { surface } from "../errors.ts";
import type { Message } from "../message.ts";
import type { Waiting } from "../session/consumer.ts";
import { Fifo } from "../session/fifo.ts";

/** Hears that a handler is done with the message of a number; `failed`: it has thrown, or its promise was rejected. */
export type Settled = (number: number, failed: boolean) => void;

/** A message, by the number that the thread knows it by. */
interface Taken extends Waiting {
  readonly number: number;
}

/** One handler; the thread knows it by its number. */
export class RemoteHandler {
  readonly number: number;
  readonly onpub: OnPublish;
  readonly #settled: Settled;
  /** How many of its promises may run at once. */
  #concurrency = 1;
  /** Promises of it that are not settled. */
  #running = 0;
  readonly #waiting = new Fifo<Taken>();

  constructor(number: number, onpub: OnPublish, settled: Settled) {
    this.number = number;
    this.onpub = onpub;
    this.#settled = settled;
  }

  /** So many promises of it may run at once from now on; not inside this call, in which the program hears nothing. */
  widen(concurrency: number): void {
    this.#concurrency = concurrency;
    if (this.#waiting.length > 0) void Promise.resolve().then(() => this.#callNext());
  }

  /** Takes a message, by its number. */
  take(number: number, message: Message): Waiting {
    const taken = { number, message, pending: 1 };
    this.#waiting.push(taken);
    this.#callNext();
    return taken;
  }

  #callNext(): void {
    while (this.#running < this.#concurrency) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#call(next);
    }
  }

  #call(taken: Taken): void {
    const { message } = taken;
    try {
      const outcome = this.onpub(message.topic, message) as unknown;
      if (typeof (outcome as PromiseLike<unknown> | undefined | null)?.then !== "function") {
        return this.#done(taken, false);
      }
      this.#running++;
      Promise.resolve(outcome).then(() => this.#goOn(taken, false), (error) => {
        surface(error);
        this.#goOn(taken, true);
      });
    } catch (error) {
      surface(error);
      this.#done(taken, true);
    }
  }

  #done(taken: Taken, failed: boolean): void {
    taken.pending = 0;
    this.#settled(taken.number, failed);
  }

  #goOn(taken: Taken, failed: boolean): void {
    this.#running--;
    this.#done(taken, failed);
    this.#callNext();
  }

  /** Whether messages wait for it. */
  get isAwaited(): boolean {
    return this.#waiting.length > 0;
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

/** All handlers of a client. */
export class RemoteHandlers {
  readonly #settled: Settled;
  /** As long as a filter has them. */
  readonly #byNumber = new Map<number, Entry>();
  /** One function is one handler, of however many filters, and when it is subscribed again. */
  readonly #byFunction = new WeakMap<OnPublish, Entry>();
  /** Those that no filter has any more, and what came before waits for. */
  readonly #left = new Set<RemoteHandler>();
  /** What was asked for last, by filter. */
  readonly #routes = new Map<string, Route>();
  #numbers = 0;

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
      entry.handler.widen(concurrency);
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
    }
    this.#byNumber.set(entry.handler.number, entry);
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
    const { handler } = entry;
    this.#byNumber.delete(handler.number);
    for (const other of this.#left) if (!other.isAwaited) this.#left.delete(other);
    if (handler.isAwaited) this.#left.add(handler);
  }

  /** A message for the handler of that number has come: what is to be done with it, if there is such a handler. */
  take(handler: number, number: number, message: Message): Waiting | undefined {
    const entry = this.#byNumber.get(handler);
    if (entry !== undefined) return entry.handler.take(number, message);
    this.#settled(number, false);
    return undefined;
  }

  /** The client has disconnected: what waits is not handled any more. */
  clear(): void {
    for (const { handler } of this.#byNumber.values()) handler.clear();
    for (const handler of this.#left) handler.clear();
  }
}
