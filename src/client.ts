/** The client in the event loop: the one loop, the one timer, and the promises.
 * @module */

import type { Client, MessagesOptions, OnPublish, PublishOptions, SubscribeCallback, SubscribeOptions } from "./api.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type Deferred, deferred, handled } from "./deferred.ts";
import { MqttError } from "./errors.ts";
import type { Message } from "./message.ts";
import { CONNACK, PUBLISH, type QoS, SUBACK } from "./protocol/packet.ts";
import { Session, type SessionEvent } from "./protocol/session.ts";
import { checkFilter } from "./protocol/topic.ts";
import { MessageQueue } from "./queue.ts";
import { checkTrust, refusal } from "./refusal.ts";
import { Requests } from "./requests.ts";
import { Retry } from "./retry.ts";
import { askCredential, check, checkFunction, checkQoS, checkRange } from "./settings.ts";
import { listFilters, lowest, publishFlags, type Settings } from "./settings.ts";
import { call, type Subscription, Subscriptions } from "./subscriptions.ts";
import type { Dial, Transport, Trust } from "./transport/transport.ts";

/** So many bytes are written at once, although this tick's code may go on: 4 KiB messages take 0.7 of the time of writes of 64 KiB. */
const WRITE = 262_144;
/** publish() waits while more bytes than this do. */
const HIGH_WATER = 65_536;
/** Milliseconds in which a broker that got DISCONNECT may close the connection before we do. */
const LINGER = 1000;
/** For as long as a timer rang late, and no longer than this, the socket is looked at before anything is given up; milliseconds. */
const LATE = 100;

const ACCEPTED = Promise.resolve();

/** One connection, from the attempt to its end. What comes from another than the client's own is not heard. */
interface Link {
  /** Gives up what is under way until the transport has started. */
  abort: AbortController | undefined;
  /** Settled once, with why it ended. */
  readonly over: Deferred<MqttError | undefined>;
  /** When what the state waits for has failed; milliseconds. */
  deadline: number;
  transport: Transport | undefined;
  /** Whether a write is in flight; whether the transport reads. */
  writing: boolean;
  reading: boolean;
}

/**
 * | state | in which | leads to |
 * |---|---|---|
 * | `connecting` | a connection is opened, CONNACK awaited | `open`, `waiting`, `closed` |
 * | `open` | the broker accepted | `waiting`, `closing`, `closed` |
 * | `waiting` | time passes until the next attempt | `connecting`, `closed` |
 * | `closing` | what was accepted is sent, then DISCONNECT | `leaving`, `closed` |
 * | `leaving` | DISCONNECT is sent, the broker may close | `closed` |
 * | `closed` | everything is settled | |
 */
type State = "connecting" | "open" | "waiting" | "closing" | "leaving" | "closed";

/** A client whose loop runs in the event loop of its thread. */
export class LoopClient implements Client {
  readonly #settings: Settings;
  readonly #dial: Dial;
  readonly #onpub: OnPublish | undefined;
  readonly #clock: Clock;
  readonly #session: Session;
  #state: State = "connecting";
  #link: Link;
  readonly #subscriptions: Subscriptions;
  readonly #requests = new Requests();
  /** Settled by the first CONNACK. */
  readonly #opened = deferred<void>();
  readonly #ended = deferred<MqttError>();
  /** Settled when disconnect() is done; the end it makes; what every call gets from the end on. */
  #left: Deferred<void> | undefined;
  #farewell: MqttError | undefined;
  #refusal: Promise<never> | undefined;
  /** Settled when publish() may go on. */
  #room: Deferred<void> | undefined;
  #fullQueues = 0;
  #pumping = false;
  #scheduled = false;
  #disarm = () => {};
  #timerDue = Infinity;
  /** What was due by then is given up when it rings. */
  #judged = -Infinity;

  constructor(
    settings: Settings,
    dial: Dial,
    onpub: OnPublish | undefined,
    clock: Clock = systemClock,
    subscriptions: Subscriptions = new Subscriptions(),
  ) {
    this.#settings = settings;
    this.#dial = dial;
    this.#onpub = onpub;
    this.#clock = clock;
    this.#subscriptions = subscriptions;
    this.#session = new Session(settings);
    this.#link = this.#newLink(settings.timeout);
    settings.signal?.addEventListener("abort", this.#aborted);
  }

  /** Opens the connection and starts the loop; `connect()` without the arguments. */
  open(): Promise<void> {
    if (this.#settings.signal?.aborted) this.#aborted();
    void this.#live();
    return this.#opened.promise;
  }

  get sock(): unknown {
    return this.#link.transport?.sock;
  }

  get trusted(): Trust {
    return this.#link.transport?.trusted ?? false;
  }

  run(): Promise<MqttError> {
    return this.#ended.promise;
  }

  publish(topic: string, message: string | Uint8Array, options?: PublishOptions): Promise<void> {
    const output = this.#session.output;
    try {
      const flags = options === undefined ? 0 : publishFlags(options);
      if (this.#refusal !== undefined) return this.#refusal;
      output.publish(topic, message, flags);
    } catch (error) {
      return Promise.reject(error);
    }
    const waits = output.buffered > HIGH_WATER;
    if (output.buffered > WRITE) this.#flush();
    if (waits || !this.#pumping) this.#schedule();
    return waits ? (this.#room ??= deferred()).promise : ACCEPTED;
  }

  subscribe(
    topic: string | readonly string[],
    options: SubscribeOptions | SubscribeCallback = {},
    callback?: SubscribeCallback,
  ): Promise<number> {
    if (typeof options === "function") return this.subscribe(topic, {}, options);
    try {
      check(typeof options === "object" && options !== null, "the options", "an object");
      const { qos = 0, onpub } = options;
      const filters = listFilters(topic);
      checkFunction(callback, "the callback");
      checkFunction(onpub, "onpub");
      checkQoS(qos, 0);
      return this.#refusal ??
        this.#subscribe(filters, qos, (filter) => this.#subscriptions.ask(filter, qos, onpub), false, callback);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Asks the broker, and enters each filter. */
  #subscribe(
    filters: readonly string[],
    qos: QoS,
    enter: (filter: string) => Subscription,
    patient: boolean,
    callback?: SubscribeCallback,
  ): Promise<number> {
    const id = this.#session.subscribe(filters.map((topic) => ({ topic, qos })));
    // Entered before the answer: the broker may send messages first (section 3.8.4).
    return this.#granted(id, filters.map(enter), patient, callback);
  }

  /** The answer to a SUBSCRIBE: what is refused goes, and its iterators end. */
  #granted(
    id: number,
    entered: readonly Subscription[],
    patient: boolean,
    callback?: SubscribeCallback,
  ): Promise<number> {
    return this.#request<number>(id, (codes, done) => {
      const error = this.#subscriptions.refuse(entered, codes);
      // The callback hears of a refusal: then nobody has to await the promise.
      if (callback !== undefined) handled(done.promise);
      if (error !== undefined) done.reject(error);
      else done.resolve(lowest(codes));
      call(callback, error?.code as 128 ?? lowest(codes));
    }, patient);
  }

  unsubscribe(topic: string | readonly string[], callback?: () => void): Promise<void> {
    try {
      const filters = listFilters(topic);
      checkFunction(callback, "the callback");
      if (this.#refusal !== undefined) return this.#refusal;
      const id = this.#session.unsubscribe(filters);
      const known = filters.map((filter) => this.#subscriptions.get(filter));
      return this.#request<void>(id, (_, done) => {
        for (const subscription of known) this.#subscriptions.remove(subscription);
        done.resolve();
        call(callback);
      });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  messages(topic: string, options: MessagesOptions = {}): AsyncIterableIterator<Message> {
    const { qos = 0, limit = 1000 } = options;
    checkFilter(topic);
    checkQoS(qos, 0);
    checkRange("limit", limit, 1, Number.MAX_SAFE_INTEGER);
    const queue: MessageQueue = new MessageQueue(limit, {
      full: () => void this.#fullQueues++,
      drained: () => {
        this.#fullQueues--;
        this.#schedule();
      },
      left: async () => {
        if (this.#refusal !== undefined || !this.#subscriptions.leave(topic, queue)) return;
        await this.unsubscribe(topic).catch((error) => {
          if (this.#refusal === undefined) throw error; // otherwise there is nothing left to give up
        });
      },
    });
    const join = () => this.#subscriptions.join(topic, qos, queue);
    const subscribed = this.#refusal ??
      new Promise<number>((resolve) => resolve(this.#subscribe([topic], qos, join, true)));
    subscribed.catch((error: MqttError) => {
      queue.end(error.code === "disconnect" ? undefined : error);
      // The broker may subscribe all the same, when it answers late: nobody wants that any more.
      const alone = this.#refusal === undefined && this.#subscriptions.leave(topic, queue);
      if (alone) void handled(this.unsubscribe(topic));
    });
    return queue;
  }

  /** The promise of a request whose answer, or failure in time, is awaited. */
  #request<T>(id: number, answer: (codes: readonly number[], done: Deferred<T>) => void, patient = false): Promise<T> {
    this.#schedule();
    return this.#requests.add(id, { due: this.#clock.now() + this.#settings.timeout, patient }, answer);
  }

  disconnect(): Promise<void> {
    return this.#disconnect();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#disconnect();
  }

  readonly #aborted = () => void handled(this.#disconnect(this.#settings.signal?.reason));

  #disconnect(cause?: unknown): Promise<void> {
    if (this.#left !== undefined) return this.#left.promise;
    if (this.#state === "closed") return ACCEPTED;
    this.#farewell = new MqttError("disconnect", "The client has disconnected", cause);
    this.#left = deferred();
    this.#refusal = handled(Promise.reject(this.#farewell));
    if (this.#state === "open") {
      this.#state = "closing";
      this.#session.leave();
      this.#link.deadline = this.#clock.now() + this.#settings.timeout;
      this.#schedule();
    } else {
      this.#fail(this.#link, this.#farewell);
    }
    return this.#left.promise;
  }

  /** The loop: one connection after the other, and the one exit. */
  async #live(): Promise<void> {
    const retry = new Retry(this.#settings.reconnect);
    for (;;) {
      const started = this.#clock.now();
      const error = await this.#connection();
      const lasted = this.#clock.now() - started;
      const delay = retry.after(error, this.#state === "open", lasted, this.#clock.random());
      if (delay === undefined || this.#left !== undefined) return this.#finish(error);
      this.#state = "waiting";
      this.#link = this.#newLink(delay);
      const stopped = await this.#link.over.promise;
      if (stopped !== undefined) return this.#finish(stopped);
      this.#state = "connecting";
      this.#link = this.#newLink(this.#settings.timeout);
    }
  }

  /** One connection, from the attempt to its end. */
  async #connection(): Promise<MqttError> {
    const link = this.#link;
    this.#attempt(link).catch((error) => this.#fail(link, error));
    const error = await link.over.promise as MqttError;
    this.#session.lost();
    return error;
  }

  async #attempt(link: Link): Promise<void> {
    const { uname, passwd, id, will } = this.#settings;
    const { signal } = link.abort!;
    const session = this.#session;
    signal.throwIfAborted();
    const transport = await this.#dial(signal);
    link.transport = transport;
    if (signal.aborted) return transport.close();
    checkTrust(transport.trusted, this.#settings);
    const credentials = { uname: await askCredential(uname, "uname"), passwd: await askCredential(passwd, "passwd") };
    if (signal.aborted) return;
    transport.start({
      space: () => session.space(),
      received: (chunk, length) => {
        session.receive(chunk, length);
        return link.reading = this.#pump();
      },
      written: () => {
        if (link !== this.#link) return;
        this.#written(transport);
        this.#flush();
      },
      closed: (error) => this.#fail(link, error),
    });
    link.abort = undefined; // a signal is 1 KiB, on Deno 5
    if (signal.aborted) return;
    this.#write(transport, session.connect({ id, will, ...credentials }, this.#clock.now()));
    this.#flush(); // the answer may have come with it
  }

  #newLink(milliseconds: number): Link {
    const deadline = this.#clock.now() + milliseconds;
    this.#arm(deadline);
    return {
      abort: new AbortController(),
      over: deferred(),
      deadline,
      transport: undefined,
      writing: false,
      reading: true,
    };
  }

  /** Ends a connection; the loop goes on from there. */
  #fail(link: Link, error: MqttError | undefined): void {
    if (link !== this.#link) return;
    link.deadline = Infinity;
    link.writing = true; // nothing is written to it any more
    link.abort?.abort(error);
    link.transport?.close();
    link.over.resolve(error);
  }

  /** Tells all that the session has to tell, as long as the iterators have room, then answers. Whether to read on. */
  #pump(): boolean {
    if (this.#pumping) return true;
    this.#pumping = true;
    try {
      while (this.#wanted()) {
        const event = this.#session.next();
        if (event === undefined) break;
        if (event.type !== PUBLISH) this.#control(event);
        else this.#subscriptions.deliver(event, this.#session.topic, this.#onpub);
      }
    } catch (error) {
      this.#fail(this.#link, error as MqttError);
    } finally {
      this.#pumping = false;
    }
    this.#flush();
    return this.#wanted();
  }

  /** Whether what comes can be taken: an iterator that is full stops everything but the handshake and the end. */
  #wanted(): boolean {
    return this.#fullQueues === 0 || this.#left !== undefined || this.#state === "connecting";
  }

  #control(event: Exclude<SessionEvent, Message>): void {
    if (event.type !== CONNACK) {
      this.#requests.answer(event.packetId, event.type === SUBACK ? event.codes : []);
    } else if (event.code !== 0) {
      this.#fail(this.#link, refusal(event.code));
    } else {
      this.#state = "open";
      this.#link.deadline = Infinity;
      const renewed = this.#session.resume(this.#subscriptions.all);
      if (renewed !== undefined) {
        this.#granted(renewed.packetId, renewed.filters, true).catch((error: MqttError) => {
          // An iterator hears of its refusal itself; what subscribe() asked for is run()'s to tell.
          const told = error.code === 128 &&
            !renewed.filters.some(({ topic, asked }) => asked && !this.#subscriptions.get(topic));
          if (!told && this.#state === "open") this.#fail(this.#link, error);
        });
      }
      this.#opened.resolve();
      this.#makeRoom();
      this.#rearm();
    }
  }

  /** Gathers what is sent within a tick into one write. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.tick(this.#tick);
  }

  readonly #tick = () => {
    const link = this.#link;
    this.#scheduled = false;
    this.#rearm();
    if (!link.reading && this.#pump()) {
      link.reading = true;
      link.transport?.resume();
    }
    this.#flush();
    this.#makeRoom();
  };

  /** Writes what there is, unless a write is in flight. */
  #flush(): void {
    for (;;) {
      const { transport, writing } = this.#link;
      if (writing || transport === undefined || this.#state !== "open" && this.#state !== "closing") return;
      let bytes = this.#session.output.take();
      if (bytes === undefined) {
        if (this.#state !== "closing") return;
        this.#state = "leaving";
        bytes = this.#session.disconnect();
      }
      this.#write(transport, bytes);
    }
  }

  #write(transport: Transport, bytes: Uint8Array): void {
    const link = this.#link;
    link.writing = true;
    if (transport.write(bytes) && link === this.#link) this.#written(transport);
  }

  #written(transport: Transport): void {
    const now = this.#clock.now();
    this.#link.writing = false;
    this.#session.output.written();
    this.#session.sent(now);
    this.#makeRoom();
    if (this.#state !== "leaving") return;
    transport.end();
    this.#link.deadline = now + LINGER;
    this.#rearm();
  }

  #makeRoom(): void {
    if (this.#room === undefined || this.#session.output.buffered > HIGH_WATER) return;
    this.#room.resolve();
    this.#room = undefined;
  }

  /** When the first of those that wait has failed. */
  get #due(): number {
    return Math.min(this.#link.deadline, this.#requests.due);
  }

  /** Sets the one timer, which is not set again for each packet: when it rings early, it is then. */
  #arm(due: number): void {
    if (due < this.#timerDue && this.#judged === -Infinity) this.#set(due);
  }

  #set(due: number): void {
    this.#disarm();
    this.#timerDue = due;
    this.#disarm = this.#clock.wait(this.#ring, Math.max(due - this.#clock.now(), 0));
  }

  #rearm(): void {
    this.#arm(Math.min(this.#session.due, this.#due));
  }

  readonly #ring = () => {
    const now = this.#clock.now(), late = now - this.#timerDue, judged = this.#judged;
    this.#timerDue = Infinity;
    this.#judged = -Infinity;
    if (this.#link.deadline <= judged) this.#expire();
    const { timeout } = this.#settings;
    // The answer may be behind messages that a full iterator has no room for.
    const later = this.#fullQueues > 0 ? now + timeout : undefined;
    if (this.#requests.due <= judged) {
      const error = new MqttError("timeout", `The broker did not answer within ${timeout} ms`);
      this.#requests.expire(judged, { later, told: this.#state !== "open", error });
    }
    try {
      this.#session.tick(now, this.#fullQueues === 0);
    } catch (error) {
      this.#fail(this.#link, error as MqttError);
    }
    this.#flush();
    if (this.#due > now) return this.#rearm();
    // The thread may have been blocked, or suspended: what is in the socket by now has its turn first.
    this.#set(now + Math.min(late, LATE));
    this.#judged = now;
  };

  /** What the state waited for did not come in time. */
  #expire(): void {
    const { timeout } = this.#settings;
    const failure = this.#state === "connecting"
      ? `No connection, or no answer to CONNECT, within ${timeout} ms`
      : `${this.#unsent} bytes could not be sent within ${timeout} ms of disconnect()`;
    this.#fail(this.#link, this.#state === "waiting" ? undefined : new MqttError("timeout", failure));
  }

  /** Bytes that were accepted, and as far as we know not sent. */
  get #unsent(): number {
    return this.#session.output.buffered + (this.#link.transport?.unsent ?? 0);
  }

  /** The one exit: everything settles. */
  #finish(error: MqttError): void {
    // What disconnect() could not send any more is its caller's to know.
    const disconnected = this.#state === "connecting" || this.#state === "waiting";
    if (disconnected) this.#session.output.restart(); // to what no connection got
    const unsent = this.#unsent;
    const reason = this.#farewell ?? error;
    this.#state = "closed";
    this.#disarm();
    this.#settings.signal?.removeEventListener("abort", this.#aborted);
    this.#refusal = handled(Promise.reject(reason));
    this.#requests.end(reason);
    if (this.#room !== undefined) handled(this.#room.promise);
    this.#room?.reject(reason);
    const news = reason.code === "disconnect" ? undefined : reason;
    for (const subscription of this.#subscriptions.all) this.#subscriptions.remove(subscription, news);
    handled(this.#opened.promise);
    this.#opened.reject(reason);
    this.#ended.resolve(reason);
    if (unsent === 0) this.#left?.resolve();
    else if (!disconnected) this.#left?.reject(error);
    else this.#left?.reject(new MqttError("socketclosed", `${unsent} bytes were not sent: there was no connection`));
  }
}
