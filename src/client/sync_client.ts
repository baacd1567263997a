/** The client that blocks: waits for the session's events where others have promises.
 * @module */

import type {
  Blocking,
  ConnectionStatus,
  OnPublish,
  OnStatus,
  PublishOptions,
  Stats,
  Status,
  SubscribeOptions,
} from "../api.ts";
import { invoke, MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import { PUBLISH } from "../protocol/packet.ts";
import type { Call, SessionEvent } from "../session/events.ts";
import { Session } from "../session/session.ts";
import type { Trust } from "../session/trust.ts";
import type { Target } from "../transport/tcp.ts";
import type { PortTransport } from "../worker/port_transport.ts";
import { Thread } from "../worker/thread.ts";
import { onAbort } from "./abort.ts";
import { askCredentialNow, checkRange, checkSubscribe, listFilters, publishFlags, type Settings } from "./settings.ts";

/** So many statuses wait for run() or receive(), which tell them. */
const MOST_STATUSES = 1000;

/** What a client is made of, besides its settings. */
interface SyncParts {
  target: Target;
  onpub: OnPublish | undefined;
  onstatus: OnStatus | undefined;
}

/** What a blocking call waits for. */
class Outcome implements Call {
  done = false;
  code: number | undefined;
  error: MqttError | undefined;

  resolve(code: number | undefined): void {
    this.done = true;
    this.code = code;
  }

  reject(error: MqttError): void {
    this.done = true;
    this.error = error;
  }
}

/** A connection to a broker whose calls block; none but `run` and `receive` for longer than `timeout`. */
export class SyncClient implements Blocking, Disposable {
  readonly #target: Target;
  readonly #settings: Settings;
  readonly #onstatus: OnStatus | undefined;
  readonly #thread = new Thread({ blocking: true });
  readonly #session: Session;
  #stopListening = () => {};
  #connection: PortTransport | undefined;
  #attempt = 0;
  /** Whether the connection waits for `opened`; whether it has told something. */
  #opening = false;
  #told = false;
  #left = false;
  /** What run() and receive() tell. */
  readonly #statuses: Status[] = [];

  /**
   * Connects; {@linkcode connectSync} makes the arguments.
   *
   * @ignore
   */
  constructor(settings: Settings, { target, onpub, onstatus }: SyncParts) {
    this.#target = target;
    this.#settings = settings;
    this.#onstatus = onstatus;
    const opened = new Outcome();
    this.#session = new Session(settings, { onpub, random: Math.random }, opened, performance.now());
    this.#session.listen(); // the next call throws why it has ended
    this.#stopListening = onAbort(settings.signal, this.#aborted);
    this.#wait(() => opened.done);
    if (opened.error !== undefined) throw opened.error;
  }

  /** `true`: the server's certificate is valid for its name; `false`: no TLS; otherwise what is wrong with it. */
  get trusted(): Trust {
    return this.#connection?.trusted ?? false;
  }

  /** The last status of the connection, as far as a call has heard of it. */
  get status(): ConnectionStatus {
    return this.#session.status;
  }

  /** Counters. */
  get stats(): Stats {
    return this.#session.stats;
  }

  /**
   * Publishes a message. Returns when its bytes are accepted; while more than 128 KiB wait to be
   * sent, or there is no connection, when there is room.
   *
   * @throws {TypeError | RangeError} If `topic` is no topic name, or an argument has the wrong type.
   * @throws {MqttError} `"timeout"` if there is no room in time; why the connection ended, if it has.
   */
  publish(topic: string, message: string | Uint8Array, options?: PublishOptions): void {
    const session = this.#session;
    const flags = options === undefined ? 0 : publishFlags(options);
    if (this.#thread.hasSaid) { while (this.#connection !== undefined && this.#thread.hear(this.#connection)); }
    if (!session.isReady && session.reason === undefined && !this.#wait(() => session.isReady, this.#due)) {
      throw this.#timeout("There was no room to publish");
    }
    session.publish(topic, message, flags);
    this.#write();
  }

  /**
   * Subscribes to topic filters, and returns the granted QoS (the lowest of several). Messages that
   * come before the answer wait for `run` or `receive`, up to `maxBuffered` bytes.
   *
   * @throws {TypeError | RangeError} If a filter is none.
   * @throws {MqttError} `128` if the broker refused one; `"timeout"`; why the connection ended.
   */
  subscribe(topic: string | readonly string[], options: SubscribeOptions = {}): number {
    const { filters, onpub } = checkSubscribe(topic, options);
    return this.#call((call, now) => this.#session.subscribe(filters, onpub, call, now))!;
  }

  /**
   * Gives up subscriptions; returns when the broker has confirmed, at once when there is no connection.
   *
   * @throws {TypeError | RangeError} If a filter is none.
   * @throws {MqttError} `"timeout"`; why the connection ended.
   */
  unsubscribe(topic: string | readonly string[]): void {
    const filters = listFilters(topic);
    this.#call((call, now) => this.#session.unsubscribe(filters, call, now));
  }

  /**
   * Calls `onpub` with each message until the connection ends, and returns why. `onpub` may publish,
   * subscribe and disconnect; what it throws, `run` throws, and may be called again. Of several that
   * get a message, the first one's; what the others throw surfaces as an uncaught error.
   */
  run(): MqttError {
    for (;;) {
      const message = this.#next(Infinity);
      if (message === undefined) return this.#session.reason!;
      const [first, ...others] = this.#session.handlers;
      try {
        first?.(message.topic, message);
      } finally {
        for (const onpub of others) invoke(onpub, message.topic, message);
      }
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
    const message = this.#next(performance.now() + timeout);
    if (message === undefined && this.#session.reason !== undefined) throw this.#session.reason;
    return message;
  }

  /**
   * Sends what was accepted, then DISCONNECT [MQTT-3.14.4-1], and closes the connection.
   *
   * @throws {MqttError} `"timeout"` if what was accepted could not be sent in time.
   */
  disconnect(): void {
    this.#disconnect(undefined);
  }

  /** The same as {@linkcode SyncClient.disconnect}. */
  [Symbol.dispose](): void {
    this.#disconnect(undefined);
  }

  #disconnect(cause: unknown): void {
    if (this.#left) return;
    this.#left = true;
    const left = new Outcome();
    this.#session.disconnect(left, cause, performance.now());
    this.#wait(() => left.done);
    if (left.error !== undefined) throw left.error;
  }

  readonly #aborted = (reason: unknown) => {
    try {
      this.#disconnect(reason);
    } catch (error) {
      // What could not be sent is of no interest to who aborts; run() tells the reason.
      if (!(error instanceof MqttError)) throw error;
    }
  };

  /** Asks for something, and waits until it is settled, or `timeout` is over. */
  #call(ask: (call: Call, now: number) => void): number | undefined {
    const call = new Outcome();
    ask(call, performance.now());
    if (!this.#wait(() => call.done, this.#due)) {
      this.#session.giveUp(call, this.#timeout("The broker did not answer"), performance.now());
      this.#wait(() => call.done);
    }
    if (call.error !== undefined) throw call.error;
    return call.code;
  }

  get #due(): number {
    return performance.now() + this.#settings.timeout;
  }

  #timeout(failure: string): MqttError {
    const { kept, isReading } = this.#session;
    const why = isReading ? "" : `: ${kept} messages wait for run() or receive()`;
    return new MqttError("timeout", `${failure} within ${this.#settings.timeout} ms${why}`);
  }

  // ---- the loop

  /** The next message; undefined when the time has come (milliseconds), or when the client has ended. */
  #next(due: number): Message | undefined {
    const session = this.#session;
    for (;;) {
      for (const status of this.#statuses.splice(0)) invoke(this.#onstatus, status);
      const event = session.next();
      if (event?.type === PUBLISH) return event;
      if (event !== undefined) this.#handle(event);
      else if (session.status.type === "closed" || !this.#step(due)) return undefined;
    }
  }

  /** Lets time pass until it is so; messages that come meanwhile wait. False when the time has come before. */
  #wait(done: () => boolean, due = Infinity): boolean {
    const session = this.#session;
    for (;;) {
      const event = session.nextKeepingMessages();
      if (event !== undefined) this.#handle(event);
      else if (done() || session.status.type === "closed") return true;
      else if (!this.#step(due)) return false;
    }
  }

  #handle(event: SessionEvent): void {
    switch (event.type) {
      case "dial":
        this.#attempt = event.attempt;
        this.#opening = true;
        this.#connection = this.#thread.open(this.#target, this.#settings);
        return;
      case "login":
        return this.#login();
      case "end":
        return this.#connection?.end();
      case "hangup":
        this.#opening = false;
        this.#connection?.close();
        this.#connection = undefined;
        return;
      case "settled":
        return event.error === undefined ? event.call.resolve(event.code) : event.call.reject(event.error);
      case "status":
        if (this.#onstatus !== undefined) this.#statuses.push(event.status);
        if (this.#statuses.length > MOST_STATUSES) this.#statuses.shift();
        return;
      case "closed":
        this.#stopListening();
        void this.#thread.end();
    }
  }

  #login(): void {
    const session = this.#session, connection = this.#connection!, attempt = this.#attempt;
    const { uname, passwd } = this.#settings;
    try {
      const credentials = { uname: askCredentialNow(uname, "uname"), passwd: askCredentialNow(passwd, "passwd") };
      if (!session.login(attempt, credentials, performance.now())) return;
      connection.start({
        space: () => session.space(attempt),
        received: (chunk, length) => {
          this.#told = true;
          session.received(attempt, chunk, length, performance.now());
          return false;
        },
        written: () => {
          this.#told = true;
          session.written(attempt, performance.now());
        },
        closed: (error) => {
          this.#told = true;
          session.lost(attempt, error, performance.now());
        },
      });
    } catch (error) {
      session.lost(attempt, error as MqttError, performance.now());
    }
  }

  /** Lets time pass until something has happened; false when the time has come, in milliseconds. */
  #step(due: number): boolean {
    const session = this.#session, connection = this.#connection;
    this.#write();
    this.#told = false;
    if (session.isReading) connection?.resume();
    const isOpened = () => this.#opening && (connection!.isOpen || connection!.over !== undefined);
    const heard = this.#told || isOpened() || this.#thread.wait(connection, Math.min(due, session.due));
    const now = performance.now();
    if (isOpened()) {
      this.#opening = false;
      if (connection!.over !== undefined) session.lost(this.#attempt, connection!.over as MqttError, now);
      else session.opened(this.#attempt, connection!, now);
      return true;
    }
    session.tick(now);
    return heard || now < due;
  }

  /** Writes what there is, unless a write is in flight. */
  #write(): void {
    const session = this.#session;
    for (let bytes = session.takeBytes(); bytes !== undefined; bytes = session.takeBytes()) {
      if (!this.#connection!.write(bytes)) return;
      this.#told = true;
      session.written(this.#attempt, performance.now());
    }
  }
}
