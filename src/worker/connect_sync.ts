/** The client that blocks: no promises, no event loop.
 * @module */

import type { ConnectOptions, OnPublish, PublishOptions, SubscribeOptions } from "../api.ts";
import { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import { CONNACK, PUBLISH, SUBACK } from "../protocol/packet.ts";
import { Session, type SessionEvent } from "../protocol/session.ts";
import { checkTrust, refusal } from "../refusal.ts";
import { Retry } from "../retry.ts";
import { askCredentialNow, check, checkFunction, checkQoS, checkRange } from "../settings.ts";
import { listFilters, lowest, publishFlags, type Settings } from "../settings.ts";
import { call, type Subscription, Subscriptions } from "../subscriptions.ts";
import type { Target } from "../transport/tcp.ts";
import type { Trust } from "../transport/transport.ts";
import { parseRemote } from "./connect_worker.ts";
import type { PortTransport } from "./port_transport.ts";
import { Thread } from "./thread.ts";

/** Milliseconds in which a broker that got DISCONNECT may close the connection before we do. */
const LINGER = 1000;
/** What a message that waits takes besides its payload, in bytes, about. */
const MESSAGE = 128;

/**
 * Connects like `connect`, and waits for everything: no call returns a promise, and none needs an
 * event loop. A program that does one thing after the other, or a thread of your own, is simple then.
 *
 * The socket and the keep alive are in a thread of their own, so the connection lives while the
 * program computes or sleeps. A connection alone does not keep the program running. Keep it open: of each
 * that was closed, the runtime holds about 0.5 MiB until the program's event loop runs, if it ever does.
 *
 * `addr` is a name, an address or a URL; `uname` and `passwd` may be functions that are not async;
 * the signal can only be aborted by code that runs, such as `onpub`.
 *
 * @example Print what a broker publishes
 * ```ts no-run
 * import { connectSync } from "@mqtt3c/client";
 *
 * const mqtt = connectSync("localhost", (topic, message) => console.log(topic, message.text()));
 * mqtt.subscribe("#");
 * const end = mqtt.run(); // does not return unless the connection ends
 * console.log(end.code);
 * ```
 *
 * @throws {TypeError | RangeError} If an argument is wrong, before any I/O.
 * @throws {MqttError} If there is no connection; see its `code`.
 */
export function connectSync(addr: string, onpub?: OnPublish, op: ConnectOptions = {}): SyncClient {
  checkFunction(onpub, "onpub");
  const { target, settings } = parseRemote(addr, op);
  return new SyncClient(target, settings, onpub);
}

/** A message, and those that wanted it themselves when it came. */
type Delivery = { message: Message; found: readonly Subscription[] };

/**
 * | state | in which | leads to |
 * |---|---|---|
 * | `dialling` | the thread opens a connection | `connecting`, `waiting`, `closed` |
 * | `connecting` | CONNACK is awaited | `open`, `waiting`, `closed` |
 * | `open` | the broker accepted | `waiting`, `closed` |
 * | `waiting` | time passes until the next attempt | `dialling`, `closed` |
 * | `closed` | every call throws why | |
 */
type State = "dialling" | "connecting" | "open" | "waiting" | "closed";

/** A connection to a broker whose calls block; none but `run` and `receive` for longer than `timeout`. */
export class SyncClient implements Disposable {
  readonly #target: Target;
  readonly #settings: Settings;
  readonly #onpub: OnPublish | undefined;
  readonly #thread = new Thread({ blocking: true });
  readonly #session: Session;
  readonly #retry: Retry;
  readonly #subscriptions = new Subscriptions();
  readonly #requests = new Map<number, (codes: readonly number[]) => void>();
  #connection: PortTransport | undefined;
  #state: State = "waiting";
  /** When the state has lasted too long, and when the attempt began; milliseconds. */
  #deadline = 0;
  #started = 0;
  #writing = false;
  /** Whether the connection has told something. */
  #told = false;
  /** Why the last connection ended; what disconnect() makes of it; what every call throws from the end on. */
  #lost: MqttError | undefined;
  #farewell: MqttError | undefined;
  #reason: MqttError | undefined;
  /** Messages that came while something else was awaited, the next one at #head; their size in bytes. */
  #inbox: Delivery[] = [];
  #head = 0;
  #size = 0;

  /**
   * Connects; {@linkcode connectSync} makes the arguments.
   *
   * @ignore
   */
  constructor(target: Target, settings: Settings, onpub: OnPublish | undefined) {
    this.#target = target;
    this.#settings = settings;
    this.#onpub = onpub;
    this.#session = new Session(settings);
    this.#retry = new Retry(settings.reconnect);
    settings.signal?.addEventListener("abort", this.#aborted);
    if (settings.signal?.aborted) this.#aborted();
    this.#until(() => this.#state === "open", "No connection", Infinity);
  }

  /** `true`: the server's certificate is valid for its name; `false`: no TLS; otherwise what is wrong with it. */
  get trusted(): Trust {
    return this.#connection?.trusted ?? false;
  }

  /**
   * Publishes a message. Returns when its bytes are accepted; while more than 128 KiB wait to be
   * sent, when there is room.
   *
   * @throws {TypeError | RangeError} If `topic` is no topic name, or an argument has the wrong type.
   * @throws {MqttError} `"timeout"` if there is no room in time; why the connection ended, if it has.
   */
  publish(topic: string, message: string | Uint8Array, options?: PublishOptions): void {
    const flags = options === undefined ? 0 : publishFlags(options);
    this.#check();
    if (this.#thread.hasSaid) { while (this.#connection !== undefined && this.#thread.hear(this.#connection)); }
    this.#until(this.#canWrite, "There was no room to publish");
    this.#session.output.publish(topic, message, flags);
    this.#flush();
  }

  readonly #canWrite = () => this.#state === "open" && !this.#writing && this.#connection!.over === undefined;

  /**
   * Subscribes to topic filters, and returns the granted QoS (the lowest of several). Messages that
   * come before the answer wait for `run` or `receive`, up to `maxBuffered` bytes.
   *
   * @throws {TypeError | RangeError} If a filter is none.
   * @throws {MqttError} `128` if the broker refused one; `"timeout"`; why the connection ended.
   */
  subscribe(topic: string | readonly string[], options: SubscribeOptions = {}): number {
    check(typeof options === "object" && options !== null, "the options", "an object");
    const { qos = 0, onpub } = options;
    const filters = listFilters(topic);
    checkFunction(onpub, "onpub");
    checkQoS(qos, 0);
    this.#check();
    const id = this.#session.subscribe(filters.map((topic) => ({ topic, qos })));
    const entered = filters.map((filter) => this.#subscriptions.ask(filter, qos, onpub));
    const codes = this.#answer(id);
    const refused = this.#subscriptions.refuse(entered, codes);
    if (refused !== undefined) throw refused;
    return lowest(codes);
  }

  /**
   * Gives up subscriptions; returns when the broker has confirmed.
   *
   * @throws {TypeError | RangeError} If a filter is none.
   * @throws {MqttError} `"timeout"`; why the connection ended.
   */
  unsubscribe(topic: string | readonly string[]): void {
    const filters = listFilters(topic);
    this.#check();
    const id = this.#session.unsubscribe(filters);
    const known = filters.map((filter) => this.#subscriptions.get(filter));
    this.#answer(id);
    for (const subscription of known) this.#subscriptions.remove(subscription);
  }

  #answer(id: number): readonly number[] {
    let answer: readonly number[] | undefined;
    this.#requests.set(id, (codes) => answer = codes);
    try {
      this.#until(() => answer !== undefined, "The broker did not answer");
    } finally {
      this.#requests.delete(id);
    }
    return answer!;
  }

  /**
   * Calls `onpub` with each message until the connection ends, and returns why. `onpub` may publish,
   * subscribe and disconnect; what it throws, `run` throws, and may be called again. Of several that
   * get a message, the first one's; what the others throw surfaces as an uncaught error.
   */
  run(): MqttError {
    for (;;) {
      const next = this.#take();
      if (next !== undefined) this.#deliver(next);
      else if (this.#reason !== undefined) return this.#reason;
      else this.#step(Infinity);
    }
  }

  #deliver({ message, found }: Delivery): void {
    const [first, ...others] = found.length === 0 ? [this.#onpub] : found.map(({ onpub }) => onpub);
    try {
      first?.(message.topic, message);
    } finally {
      for (const onpub of others) call(onpub, message.topic, message);
    }
  }

  /**
   * The next message, whatever `onpub` there is for it; undefined when none comes within `timeout`
   * milliseconds. 0 takes what is there; by default it waits until the connection ends.
   *
   * @throws {MqttError} Why the connection ended, once all messages are taken.
   */
  receive(timeout: number = Infinity): Message | undefined {
    if (timeout !== Infinity) checkRange("timeout", timeout, 0, Number.MAX_SAFE_INTEGER);
    const due = performance.now() + timeout;
    for (;;) {
      const next = this.#take();
      if (next !== undefined) return next.message;
      this.#check();
      if (!this.#step(due)) return undefined;
    }
  }

  /**
   * Sends what was accepted, then DISCONNECT [MQTT-3.14.4-1], and closes the connection.
   *
   * @throws {MqttError} `"timeout"` if what was accepted could not be sent in time.
   */
  disconnect(): void {
    this.#disconnect();
  }

  /** The same as {@linkcode SyncClient.disconnect}. */
  [Symbol.dispose](): void {
    this.#disconnect();
  }

  readonly #aborted = () => {
    try {
      this.#disconnect(this.#settings.signal?.reason);
    } catch {
      // What could not be sent is of no interest to who aborts; run() tells the reason.
    }
  };

  #disconnect(cause?: unknown): void {
    if (this.#farewell !== undefined || this.#state === "closed") return;
    this.#farewell = new MqttError("disconnect", "The client has disconnected", cause);
    const { timeout } = this.#settings;
    const due = performance.now() + timeout;
    const connection = this.#connection;
    const open = this.#state === "open";
    this.#session.leave();
    const written = () => !this.#writing && this.#session.output.buffered === 0;
    if (open && this.#drain(written, due)) {
      this.#write(connection!, this.#session.disconnect());
      if (this.#drain(written, due)) {
        this.#connection?.end();
        this.#drain(() => false, performance.now() + LINGER);
      }
    }
    this.#finish(this.#farewell);
    if (open && this.#session.output.buffered + connection!.unsent > 0) {
      throw this.#lost ?? new MqttError("timeout", `What was accepted could not be sent within ${timeout} ms`);
    }
  }

  /** Lets time pass until it is so, and drops what comes; false when the connection ends before, or the time comes. */
  #drain(done: () => boolean, due: number): boolean {
    while (!done()) {
      if (this.#state !== "open") return false;
      if (this.#next() === undefined && !done() && !this.#step(due)) return false;
    }
    return true;
  }

  #check(): void {
    if (this.#reason !== undefined) throw this.#reason;
  }

  /** Lets time pass until it is so; messages that come meanwhile wait. */
  #until(done: () => boolean, failure: string, due: number = performance.now() + this.#settings.timeout): void {
    const { timeout, maxBuffered } = this.#settings;
    while (!done()) {
      this.#check();
      const full = this.#size > maxBuffered;
      const message = full ? undefined : this.#next();
      if (message !== undefined) {
        this.#inbox.push(this.#delivery(message));
        this.#size += message.payload.length + MESSAGE;
      } else if (!done() && !this.#step(due, !full)) {
        const why = full ? `: ${this.#inbox.length - this.#head} messages wait for run() or receive()` : "";
        throw new MqttError("timeout", `${failure} within ${timeout} ms${why}`);
      }
    }
  }

  #delivery(message: Message): Delivery {
    return { message, found: this.#subscriptions.match(this.#session.topic) };
  }

  #take(): Delivery | undefined {
    const next = this.#inbox[this.#head];
    if (next === undefined) {
      const message = this.#next();
      return message && this.#delivery(message);
    }
    this.#size -= next.message.payload.length + MESSAGE;
    // Half of it goes at once.
    if (++this.#head * 2 >= this.#inbox.length) {
      this.#inbox = this.#inbox.slice(this.#head);
      this.#head = 0;
    }
    return next;
  }

  /** The next message that was received; answers on the way reach those who wait for them. */
  #next(): Message | undefined {
    try {
      for (;;) {
        const event = this.#session.next();
        if (event === undefined || event.type === PUBLISH) return event;
        this.#control(event);
      }
    } catch (error) {
      this.#lose(error as MqttError);
      return undefined;
    }
  }

  #control(event: Exclude<SessionEvent, Message>): void {
    if (event.type !== CONNACK) {
      this.#requests.get(event.packetId)?.(event.type === SUBACK ? event.codes : []);
    } else if (event.code !== 0) {
      this.#lose(refusal(event.code));
    } else {
      this.#state = "open";
      this.#deadline = Infinity;
      const renewed = this.#session.resume(this.#subscriptions.all);
      if (renewed === undefined) return;
      this.#requests.set(renewed.packetId, (codes) => {
        this.#requests.delete(renewed.packetId);
        const error = this.#subscriptions.refuse(renewed.filters, codes);
        if (error !== undefined) this.#lose(error);
      });
    }
  }

  /**
   * Lets time pass until something has happened, of which the state may be part; false when the
   * time has come, in milliseconds. `read`: everything that came before has been taken.
   */
  #step(due: number, read = true): boolean {
    if (this.#state === "closed") return true;
    const connection = this.#connection;
    this.#flush();
    this.#told = false;
    if (read) connection?.resume();
    const isDialled = () => this.#state === "dialling" && (connection!.isOpen || connection!.over !== undefined);
    const heard = this.#told || isDialled() || this.#thread.wait(connection, Math.min(due, this.#deadline));
    if (isDialled()) {
      if (connection!.over === undefined) this.#greet(connection!);
      else this.#lose(connection!.over as MqttError);
    } else if (performance.now() >= this.#deadline) this.#expire();
    else return heard;
    return true;
  }

  #flush(): void {
    while (this.#state === "open" && !this.#writing) {
      const block = this.#session.output.take();
      if (block === undefined) return;
      this.#write(this.#connection!, block);
    }
  }

  #write(connection: PortTransport, bytes: Uint8Array<ArrayBuffer>): void {
    this.#writing = true;
    if (connection.write(bytes)) this.#written();
  }

  #written(): void {
    this.#told = true;
    this.#writing = false;
    this.#session.output.written();
  }

  #greet(connection: PortTransport): void {
    const { uname, passwd, id, will } = this.#settings;
    try {
      checkTrust(connection.trusted, this.#settings);
      const credentials = { uname: askCredentialNow(uname, "uname"), passwd: askCredentialNow(passwd, "passwd") };
      this.#state = "connecting";
      connection.start({
        space: () => this.#session.space(),
        received: (chunk, length) => {
          this.#told = true;
          this.#session.receive(chunk, length);
          return false;
        },
        written: () => this.#written(),
        closed: (error) => this.#lose(error),
      });
      this.#write(connection, this.#session.connect({ id, will, ...credentials }, performance.now()));
    } catch (error) {
      this.#lose(error as MqttError);
    }
  }

  /** What the state waited for did not come in time. */
  #expire(): void {
    const { timeout } = this.#settings;
    if (this.#state !== "waiting") {
      const failure = this.#thread.hasStarted
        ? "No connection, or no answer to CONNECT,"
        : "The connection's thread did not start (on Deno it needs --allow-read)";
      return this.#lose(new MqttError("timeout", `${failure} within ${timeout} ms`));
    }
    this.#state = "dialling";
    this.#started = performance.now();
    this.#deadline = this.#started + timeout;
    this.#connection = this.#thread.open(this.#target, this.#settings);
  }

  /** The connection is gone. */
  #lose(error: MqttError): void {
    if (this.#state === "closed") return;
    this.#told = true;
    this.#lost = error;
    this.#connection?.close();
    this.#connection = undefined;
    this.#session.lost();
    const now = performance.now();
    const delay = this.#retry.after(error, this.#state === "open", now - this.#started, Math.random());
    if (delay === undefined || this.#farewell !== undefined) return this.#finish(error);
    this.#state = "waiting";
    this.#deadline = now + delay;
  }

  /** The one exit. */
  #finish(error: MqttError): void {
    this.#state = "closed";
    this.#deadline = Infinity;
    this.#reason ??= this.#farewell ?? error;
    if (this.#farewell !== undefined) this.#inbox = [];
    this.#settings.signal?.removeEventListener("abort", this.#aborted);
    this.#connection?.close();
    this.#connection = undefined;
    void this.#thread.end();
  }
}
