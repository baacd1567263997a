/**
 * The broker, as the three bridges see it: one connection that is made again whenever it ends, filters
 * that many share, publishes the broker has confirmed, and a count of what was lost.
 */
import { Buffer, isUtf8 } from "node:buffer";
import { type Client, connect, type ConnectOptions, MqttError, type PublishOptions } from "../../mod.ts";

/** Milliseconds before an attempt, at most: they double while attempts fail, or connections end at once. */
const MIN_DELAY = 100;
const MAX_DELAY = 5000;
/** What is remembered for those who come later: topics of one filter, and bytes in all. */
const KEPT_TOPICS = 1000;
const KEPT_BYTES = 16_777_216;
/** A filter nobody has subscribed. */
const NOBODYS = `$bridge/${crypto.randomUUID()}`;

/** A message, now or from before. */
export interface Value {
  readonly topic: string;
  readonly payload: Uint8Array;
  /** From before: the broker had kept it, or the bridge has. */
  readonly retain: boolean;
}

/** One who wants a filter's messages. */
export interface Listener {
  /** `count` is the number of the message among those of its filter. */
  message(value: Value, count: number): void;
  /** The broker has granted the filter; again after each of its absences. */
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
  granted: boolean;
  readonly listeners: Set<Listener>;
  readonly kept: Map<string, Value>;
}

/** The broker is away; `retryAfter` is in seconds. */
export class AwayError extends Error {
  override readonly name = "AwayError";
  readonly retryAfter: number;

  constructor(reason: string, retryAfter: number) {
    super(`The broker is away: ${reason}`);
    this.retryAfter = retryAfter;
  }
}

/** What a broker's connection has done; see {@linkcode Broker.status}. */
export interface BrokerStatus {
  broker: "connected" | "away";
  /** Why it is away, or was last; empty if it never was. */
  reason: string;
  /** Connections so far. */
  connections: number;
  /** Milliseconds without connection since the first; what others published then never came here. */
  away: number;
  /** Messages received. */
  received: number;
  /** Messages the broker has confirmed; and those whose confirmation the end of the connection cut off. */
  published: number;
  unconfirmed: number;
}

export class Broker {
  readonly #addr: string;
  readonly #op: ConnectOptions;
  readonly #log: (line: string) => void;
  readonly #stop = new AbortController();
  readonly #live: Promise<void>;
  readonly #filters = new Map<string, Shared>();
  #client: Client | undefined;
  #keptBytes = 0;
  /** Messages that wait for the next confirmation, and the promise of it; and the one under way. */
  #waiting = 0;
  #next: Promise<void> | undefined;
  #current: Promise<void> | undefined;
  #leftAt = 0;
  #retryAt = 0;
  #counts = { reason: "not connected yet", connections: 0, away: 0, received: 0, published: 0, unconfirmed: 0 };
  /** Called when the broker has come or gone. */
  readonly changed: Set<() => void> = new Set();

  /** Starts connecting; `op` as for `connect()`. */
  constructor(addr: string, op: ConnectOptions = {}, log: (line: string) => void = () => {}) {
    this.#addr = addr;
    this.#op = op;
    this.#log = log;
    this.#live = this.#run();
  }

  get connected(): boolean {
    return this.#client !== undefined;
  }

  status(): BrokerStatus {
    const { away, ...counts } = this.#counts;
    const since = this.connected || counts.connections === 0 ? 0 : performance.now() - this.#leftAt;
    return { broker: this.connected ? "connected" : "away", ...counts, away: Math.round(away + since) };
  }

  /** The error to give to those who come while the broker is away. */
  away(): AwayError {
    return new AwayError(this.#counts.reason, Math.max(1, Math.ceil((this.#retryAt - performance.now()) / 1000)));
  }

  /** Sends what was accepted, waits until it is confirmed, and disconnects. */
  async close(): Promise<void> {
    while (this.#next !== undefined) await Promise.allSettled([this.#next]);
    await Promise.allSettled([this.#current]);
    this.#stop.abort();
    await this.#live;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted; failures++) {
      const started = performance.now();
      try {
        const client = await connect(this.#addr, undefined, { keepalive: 15, ...this.#op, signal });
        this.#enter(client);
        const end = await client.run();
        this.#leave(end);
        if (performance.now() - started > 1000) failures = 0;
      } catch (error) {
        if (!(error instanceof MqttError)) throw error; // a wrong argument
        if (error.message !== this.#counts.reason) this.#log(`No broker: ${error.message}`);
        this.#counts.reason = error.message;
      }
      const delay = Math.random() * Math.min(MAX_DELAY, MIN_DELAY * 2 ** failures);
      this.#retryAt = performance.now() + delay;
      await pause(delay, signal);
    }
  }

  #enter(client: Client): void {
    if (this.#counts.connections++ > 0) this.#counts.away += performance.now() - this.#leftAt;
    else this.#counts.reason = "";
    this.#client = client;
    this.#log(
      `The broker is here; away for ${this.status().away} ms so far, ${this.#counts.unconfirmed} messages perhaps lost`,
    );
    for (const shared of this.#filters.values()) this.#ask(client, shared);
    for (const listener of this.changed) listener();
  }

  #leave(end: MqttError): void {
    this.#client = undefined;
    this.#leftAt = performance.now();
    this.#counts.reason = end.message;
    if (!this.#stop.signal.aborted) this.#log(`The broker is away: ${end.message}`);
    for (const shared of this.#filters.values()) {
      shared.granted = false;
      this.#forget(shared);
    }
    for (const listener of this.changed) listener();
  }

  /** Listens to a filter, and returns what gives it up. While the broker is away it is noted, and subscribed when it comes. */
  subscribe(filter: string, listener: Listener): () => void {
    let shared = this.#filters.get(filter);
    if (shared === undefined) {
      const id = crypto.randomUUID().slice(0, 8);
      shared = { filter, id, count: 0, granted: false, listeners: new Set([listener]), kept: new Map() };
      this.#filters.set(filter, shared);
      if (this.#client !== undefined) this.#ask(this.#client, shared);
    } else {
      shared.listeners.add(listener);
      if (shared.granted) listener.granted?.(shared);
      for (const value of shared.kept.values()) listener.message(value, shared.count);
    }
    const given = shared;
    return () => this.#giveUp(given, listener);
  }

  #ask(client: Client, shared: Shared): void {
    client.subscribe(shared.filter, { onpub: (_, message) => this.#take(shared, message) }).then(() => {
      if (client !== this.#client) return;
      shared.granted = true;
      for (const listener of shared.listeners) listener.granted?.(shared);
    }, (error) => {
      // Where the connection ended, the next one asks again.
      if (client !== this.#client || this.#filters.get(shared.filter) !== shared) return;
      this.#filters.delete(shared.filter);
      this.#forget(shared);
      for (const listener of shared.listeners) listener.refused(error);
    });
  }

  #giveUp(shared: Shared, listener: Listener): void {
    shared.listeners.delete(listener);
    if (shared.listeners.size > 0 || this.#filters.get(shared.filter) !== shared) return;
    this.#filters.delete(shared.filter);
    this.#forget(shared);
    this.#client?.unsubscribe(shared.filter).catch((error) => this.#counts.reason = error.message);
  }

  #take(shared: Shared, message: Value): void {
    // One that was kept comes again when somebody subscribes another filter that matches it.
    if (message.retain && shared.kept.has(message.topic)) return;
    this.#counts.received++;
    shared.count++;
    this.#keep(shared, message);
    for (const listener of shared.listeners) listener.message(message, shared.count);
  }

  /** Remembers the last value of a topic; an empty one is how a broker is told to forget it. */
  #keep({ kept }: Shared, { topic, payload }: Value): void {
    this.#drop(kept, topic);
    if (payload.length === 0) return;
    kept.set(topic, { topic, payload: payload.slice(), retain: true });
    this.#keptBytes += payload.length + topic.length;
    for (const oldest of kept.keys()) {
      if (kept.size <= KEPT_TOPICS && this.#keptBytes <= KEPT_BYTES) break;
      this.#drop(kept, oldest);
    }
  }

  #drop(kept: Map<string, Value>, topic: string): void {
    const value = kept.get(topic);
    if (value === undefined) return;
    kept.delete(topic);
    this.#keptBytes -= value.payload.length + topic.length;
  }

  #forget({ kept }: Shared): void {
    for (const topic of kept.keys()) this.#drop(kept, topic);
  }

  /**
   * Publishes a message; resolves when the broker has confirmed it.
   *
   * @throws {TypeError | RangeError} If the topic is none.
   * @throws {AwayError} If the broker is away: nothing was sent.
   * @throws {MqttError} If the connection ended first: it may have arrived, or not.
   */
  async publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<void> {
    const client = this.#client;
    if (client === undefined) throw this.away();
    try {
      await client.publish(topic, payload, options);
    } catch (error) {
      if (error instanceof MqttError && error.code !== "overflow") this.#counts.unconfirmed++;
      throw error;
    }
    this.#waiting++;
    await (this.#next ??= this.#confirm(client));
  }

  /**
   * QoS 0 has no acknowledgement, but a broker reads in order: its UNSUBACK for a filter that nobody has
   * says that all before it has arrived. One is under way at a time; what is published meanwhile shares the next.
   */
  async #confirm(client: Client): Promise<void> {
    await Promise.allSettled([this.#current]);
    this.#current = this.#next;
    this.#next = undefined;
    const count = this.#waiting;
    this.#waiting = 0;
    try {
      await client.unsubscribe(NOBODYS);
      this.#counts.published += count;
    } catch (error) {
      this.#counts.unconfirmed += count;
      throw error;
    }
  }
}

/** Waits, but not for longer than the signal lets it. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}

let lastValue: Value | undefined;
let lastJson = "";

/** A value as JSON without its braces; the payload is text (`payload`) where it is UTF-8, or else `base64`. */
export function json(value: Value): string {
  if (value === lastValue) return lastJson;
  const { topic, payload, retain } = value;
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  const content = isUtf8(bytes)
    ? `"payload":${JSON.stringify(bytes.toString())}`
    : `"base64":"${bytes.toString("base64")}"`;
  lastValue = value;
  return lastJson = `"topic":${JSON.stringify(topic)},${content}${retain ? `,"retain":true` : ""}`;
}
