/**
 * The broker, as the three bridges see it: one connection that is made again whenever it ends, filters
 * that many share, publishes the broker has confirmed, and a count of what was lost.
 */
import { Buffer, isUtf8 } from "node:buffer";
import { type Client, connect, type ConnectOptions, MqttError, type PublishOptions } from "../../mod.ts";
import { checkFilter, checkTopic } from "./topics.ts";

/** Milliseconds before an attempt, at most: they double while attempts fail, or connections end at once. */
const MIN_DELAY = 100;
const MAX_DELAY = 5000;
/** Milliseconds before what the broker did not answer is asked again. */
const AGAIN = 1000;
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
  /** The subscription's count is the number of this message among those of its filter. */
  message(value: Value, subscription: Subscription): void;
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
  /** Whether the broker may have kept values that `kept` has not: a newcomer has it asked for them. */
  partial: boolean;
  readonly listeners: Set<Listener>;
  readonly kept: Map<string, Kept>;
}

interface Kept extends Value {
  readonly shared: Shared;
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
  /** What is kept of all filters, the oldest first. */
  readonly #kept = new Set<Kept>();
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
    for (const shared of this.#filters.values()) void this.#ask(client, shared);
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

  /**
   * Listens to a filter, and returns what gives it up, and resolves when the broker has been told. While
   * the broker is away the filter is noted, and subscribed when it comes.
   *
   * @throws {TypeError | RangeError} If the filter is none.
   */
  subscribe(filter: string, listener: Listener): () => Promise<void> {
    checkFilter(filter);
    const shared: Shared = this.#filters.get(filter) ?? {
      filter,
      id: crypto.randomUUID().slice(0, 8),
      count: 0,
      granted: false,
      partial: true,
      listeners: new Set(),
      kept: new Map(),
    };
    this.#filters.set(filter, shared);
    shared.listeners.add(listener);
    if (shared.granted) listener.granted?.(shared);
    for (const value of shared.kept.values()) listener.message(value, shared);
    if (shared.partial && this.#client !== undefined) void this.#ask(this.#client, shared);
    return () => this.#giveUp(shared, listener);
  }

  async #ask(client: Client, shared: Shared): Promise<void> {
    shared.partial = false;
    const isWanted = () => this.#filters.get(shared.filter) === shared;
    const onpub = (_: string, message: Value) => this.#take(shared, message);
    try {
      if (!await this.#insist(client, isWanted, () => client.subscribe(shared.filter, { onpub }))) return;
      if (shared.granted) return;
      shared.granted = true;
      for (const listener of shared.listeners) listener.granted?.(shared);
    } catch (error) {
      if (!isWanted()) return;
      this.#filters.delete(shared.filter);
      this.#forget(shared);
      for (const listener of shared.listeners) listener.refused(error as Error);
    }
  }

  async #giveUp(shared: Shared, listener: Listener): Promise<void> {
    const { filter } = shared, client = this.#client;
    shared.listeners.delete(listener);
    if (shared.listeners.size > 0 || this.#filters.get(filter) !== shared) return;
    this.#filters.delete(filter);
    this.#forget(shared);
    if (client !== undefined) {
      await this.#insist(client, () => !this.#filters.has(filter), () => client.unsubscribe(filter));
    }
  }

  /**
   * Asks the broker until it has answered; whether it has, and the answer is still wanted. No answer is no
   * refusal: where the connection has ended, the next one asks for all that is wanted then.
   */
  async #insist(client: Client, isWanted: () => boolean, ask: () => Promise<unknown>): Promise<boolean> {
    for (;;) {
      const answered = await ask().then(() => true, (error) => {
        if (error instanceof MqttError && error.code !== 128) return false;
        throw error;
      });
      if (!answered) await pause(AGAIN, this.#stop.signal);
      if (client !== this.#client || this.#stop.signal.aborted || !isWanted()) return false;
      if (answered) return true;
    }
  }

  #take(shared: Shared, message: Value): void {
    if (this.#filters.get(shared.filter) !== shared) return; // given up, and the broker does not know yet
    // One that was kept comes again when somebody subscribes another filter that matches it.
    if (message.retain && shared.kept.has(message.topic)) return;
    this.#counts.received++;
    shared.count++;
    this.#keep(shared, message);
    for (const listener of shared.listeners) listener.message(message, shared);
  }

  /** Remembers the last value of a topic, and forgets the oldest of this filter or of all, where they are too many. */
  #keep(shared: Shared, { topic, payload }: Value): void {
    this.#drop(shared.kept.get(topic));
    // An empty one is how a broker is told to forget a value; whether it was told so cannot be seen.
    if (payload.length === 0) return void (shared.partial = true);
    const value = { topic, payload: payload.slice(), retain: true, shared };
    shared.kept.set(topic, value);
    this.#kept.add(value);
    this.#keptBytes += payload.length + topic.length;
    while (shared.kept.size > KEPT_TOPICS) this.#evict(shared.kept.values().next().value!);
    while (this.#keptBytes > KEPT_BYTES) this.#evict(this.#kept.values().next().value!);
  }

  #evict(value: Kept): void {
    this.#drop(value);
    value.shared.partial = true;
  }

  #drop(value: Kept | undefined): void {
    if (value === undefined) return;
    value.shared.kept.delete(value.topic);
    this.#kept.delete(value);
    this.#keptBytes -= value.payload.length + value.topic.length;
  }

  #forget({ kept }: Shared): void {
    for (const value of kept.values()) this.#drop(value);
  }

  /**
   * Publishes a message; resolves when the broker has confirmed it.
   *
   * @throws {TypeError | RangeError} If the topic is none.
   * @throws {AwayError} If the broker is away: nothing was sent.
   * @throws {MqttError} If the connection ended first: it may have arrived, or not.
   */
  async publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<void> {
    checkTopic(topic);
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

/**
 * The payload of a request in JSON: text (`payload`), or bytes (`base64`).
 *
 * @throws {TypeError} If it is none.
 */
export function payloadOf({ payload = "", base64 }: { payload?: unknown; base64?: unknown }): string | Uint8Array {
  if (base64 === undefined) {
    if (typeof payload !== "string") throw new TypeError("Cannot publish as payload must be a string");
    return payload;
  }
  if (typeof base64 !== "string") throw new TypeError("Cannot publish as base64 must be a string");
  // What is no base64 is skipped there: then it does not come out again.
  const bytes = Buffer.from(base64, "base64"), withoutPadding = base64.replace(/={1,2}$/, "");
  if (bytes.toString("base64").replace(/=+$/, "") === withoutPadding) return bytes;
  throw new TypeError("Cannot publish as base64 is not base64");
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
