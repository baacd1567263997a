/** Filters that many share: each is subscribed once, and the last values of its topics are kept for those who come later. */
import { setTimeout as pause } from "node:timers/promises";
import { type Client, type MessageProperties, MqttError } from "../../mod.ts";
import type { Value } from "./payload.ts";
import { toJson } from "./properties.ts";
import { checkFilter } from "./topics.ts";

/** What is kept: topics of one filter, and bytes in all. */
const KEPT_TOPICS = 1000;
const KEPT_BYTES = 16_777_216;
/** Milliseconds before what the broker did not answer is asked again. */
const AGAIN = 1000;

/** One who wants a filter's messages. */
export interface Listener {
  /** The subscription's count is the number of this message among those of its filter. */
  message(value: Value, subscription: Subscription): void;
  /** The broker has granted the filter. */
  granted?(subscription: Subscription): void;
  /** It has not, and nothing will come. */
  refused(error: Error): void;
}

/** A filter, subscribed once for all who listen. */
export interface Subscription {
  readonly filter: string;
  /** Unlike that of any other subscription, also of the same filter later. */
  readonly id: string;
  /** Messages so far. */
  readonly count: number;
}

interface Shared extends Subscription {
  count: number;
  /** Whether the broker grants it, once it has been asked; undefined: a newcomer has it asked (again), for what it keeps. */
  answer: Promise<boolean> | undefined;
  readonly listeners: Set<Listener>;
  readonly kept: Map<string, Kept>;
}

interface Kept extends Value {
  readonly shared: Shared;
  /** What it takes, in bytes. */
  readonly size: number;
}

/** The filters of one client. */
export class Filters {
  readonly #client: Promise<Client>;
  readonly #filters = new Map<string, Shared>();
  /** What is kept of all filters, the oldest first. */
  readonly #kept = new Set<Kept>();
  #keptBytes = 0;
  /** Messages so far. */
  received = 0;

  constructor(client: Promise<Client>) {
    this.#client = client;
  }

  /** The connection is lost. The client subscribes again by itself; what was kept may have changed until then. */
  lost(): void {
    for (const shared of this.#filters.values()) {
      shared.answer = undefined;
      this.#forget(shared);
    }
  }

  /** The broker has refused a filter, now or on a later connection. */
  refused(filter: string, error: Error): void {
    const shared = this.#filters.get(filter);
    if (shared === undefined) return;
    this.#filters.delete(filter);
    this.#forget(shared);
    for (const listener of shared.listeners) listener.refused(error);
  }

  /**
   * Listens to a filter, and returns what gives it up, and resolves when the broker has been told. While the broker is
   * away the filter is noted, and subscribed when it comes.
   *
   * @throws {TypeError | RangeError} If the filter is none.
   */
  listen(filter: string, listener: Listener): () => Promise<void> {
    checkFilter(filter);
    const shared: Shared = this.#filters.get(filter) ?? {
      filter,
      id: crypto.randomUUID().slice(0, 8),
      count: 0,
      answer: undefined,
      listeners: new Set(),
      kept: new Map(),
    };
    this.#filters.set(filter, shared);
    shared.listeners.add(listener);
    for (const value of shared.kept.values()) listener.message(value, shared);
    shared.answer ??= this.#ask(shared);
    void shared.answer.then((isGranted) => {
      if (isGranted && shared.listeners.has(listener)) listener.granted?.(shared);
    });
    return () => this.#giveUp(shared, listener);
  }

  async #ask(shared: Shared): Promise<boolean> {
    const { filter } = shared, isWanted = () => this.#filters.get(filter) === shared;
    const onpub = (_: string, message: Value) => this.#take(shared, message);
    const client = await this.#client;
    try {
      return await insist(client, isWanted, () => client.subscribe(filter, { onpub }));
    } catch (error) {
      if (isWanted()) this.refused(filter, error as Error);
      return false;
    }
  }

  async #giveUp(shared: Shared, listener: Listener): Promise<void> {
    const { filter } = shared;
    shared.listeners.delete(listener);
    if (shared.listeners.size > 0 || this.#filters.get(filter) !== shared) return;
    this.#filters.delete(filter);
    this.#forget(shared);
    const client = await this.#client;
    await insist(client, () => !this.#filters.has(filter), () => client.unsubscribe(filter));
  }

  #take(shared: Shared, message: Value): void {
    if (this.#filters.get(shared.filter) !== shared) return; // given up, and the broker does not know yet
    // One that was kept comes again when somebody subscribes another filter that matches it.
    if (message.retain && shared.kept.has(message.topic)) return;
    this.received++;
    shared.count++;
    this.#keep(shared, message);
    for (const listener of shared.listeners) listener.message(message, shared);
  }

  /** Keeps the last value of a topic, and forgets the oldest of this filter or of all, where they are too many. */
  #keep(shared: Shared, { topic, payload, properties }: Value): void {
    this.#drop(shared.kept.get(topic));
    // An empty one is how a broker is told to forget a value; whether it was told so cannot be seen.
    if (payload.length === 0) return void (shared.answer = undefined);
    const size = payload.length + topic.length + (properties ? JSON.stringify(toJson(properties) ?? "").length : 0);
    const value = { topic, payload: payload.slice(), retain: true, properties: copyOf(properties), shared, size };
    shared.kept.set(topic, value);
    this.#kept.add(value);
    this.#keptBytes += size;
    while (shared.kept.size > KEPT_TOPICS) this.#evict(shared.kept.values().next().value!);
    while (this.#keptBytes > KEPT_BYTES) this.#evict(this.#kept.values().next().value!);
  }

  #evict(value: Kept): void {
    this.#drop(value);
    value.shared.answer = undefined;
  }

  #drop(value: Kept | undefined): void {
    if (value === undefined) return;
    value.shared.kept.delete(value.topic);
    this.#kept.delete(value);
    this.#keptBytes -= value.size;
  }

  #forget({ kept }: Shared): void {
    for (const value of kept.values()) this.#drop(value);
  }
}

/** Correlation data is a part of a larger block, which must not be kept with it. */
function copyOf(properties: MessageProperties | undefined): MessageProperties | undefined {
  const { correlation } = properties ?? {};
  return correlation === undefined ? properties : { ...properties, correlation: correlation.slice() };
}

/**
 * Asks until the broker has answered; whether it has, and the answer is still wanted. No answer is no refusal: what was
 * not answered in time, was lost with two connections, or found no room, is asked for again.
 */
async function insist(client: Client, isWanted: () => boolean, ask: () => Promise<unknown>): Promise<boolean> {
  while (isWanted() && client.status.type !== "closed") {
    try {
      await ask();
      return isWanted();
    } catch (error) {
      // A number is the broker's answer; "unsupported" is one that it gave when it was connected.
      if (!(error instanceof MqttError) || typeof error.code === "number" || error.code === "unsupported") throw error;
    }
    await pause(AGAIN, undefined, { ref: false });
  }
  return false;
}
