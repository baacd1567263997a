/** The client in the event loop: turns the session's events into promises, and has the one timer.
 * @module */

import type {
  Client,
  ConnectionStatus,
  DisconnectOptions,
  MessagesOptions,
  OnPublish,
  OnStatus,
  OutgoingMessage,
  PublishOptions,
  RequestOptions,
  Responder,
  RespondOptions,
  Stats,
  SubscribeCallback,
  SubscribeOptions,
} from "../api.ts";
import { invoke, type MqttError, surface } from "../errors.ts";
import type { Limits } from "../options5.ts";
import type { Message } from "../message.ts";
import type { Handling, Work } from "../session/consumer.ts";
import type { AuthEvent, Call, RetryEvent, SessionEvent } from "../session/events.ts";
import type { Outgoing, Publication as Outbound } from "../session/outgoing.ts";
import type { Farewell } from "../session/farewell.ts";
import { Inbox } from "../session/inbox.ts";
import { Session } from "../session/session.ts";
import type { Planned } from "../session/subscriber.ts";
import type { Trust } from "../session/trust.ts";
import { onAbort } from "./abort.ts";
import { Alarm } from "./alarm.ts";
import { Acknowledgement, isDropped, packetSize, promiseOf, publishAll, rejection } from "./call.ts";
import { askAnswer, type Authenticate } from "./authenticate.ts";
import type { Clock } from "./clock.ts";
import { deferred, handled } from "../deferred.ts";
import { Exchange } from "./exchange.ts";
import { durable, Keeper, type OpenStore } from "./keeper.ts";
import { type DialPlace, Link, type LinkParts } from "./link.ts";
import { MessageIterator } from "./message_iterator.ts";
import {
  checkDisconnect,
  checkMessages,
  checkPublications,
  checkSubscribe,
  checkUnsubscribe,
  isConditional,
  type Publication,
  publication,
  publishFlags,
  withdrawn,
} from "./arguments.ts";
import type { Settings } from "./settings.ts";

/** So many bytes are written at once, although this tick's code may go on: 4 KiB messages take 0.7 of the time of writes of 64 KiB. */
const WRITE = 262_144;

const DONE = Promise.resolve(0);

const WRITES = { writes: true };

/** What a client is made of, besides its settings. */
export interface LoopParts {
  /** Opens a connection. */
  dial: DialPlace;
  /** Says when the next attempt is, where the program decides that; undefined: there is none. */
  policy?: ((retry: RetryEvent) => number | undefined | Promise<number | undefined>) | undefined;
  /** Answers what the broker asks of a client that authenticates. */
  authenticate?: Authenticate | undefined;
  onpub?: OnPublish | undefined;
  /** What it subscribes to with its first connection. */
  subscriptions?: readonly Planned[] | undefined;
  onstatus?: OnStatus | undefined;
  /** Where the session is kept. */
  store?: OpenStore | undefined;
  clock: Clock;
  /** Has `wake` called when there is a hint that the way to the broker has changed; returns what ends that. */
  hints?: ((wake: () => void) => () => void) | undefined;
  /** Called when the client has ended. */
  closed?(): void;
  /** Hears what handlers throw and reject with; by default, that is an uncaught error. */
  failed?(error: unknown): void;
  /** Called when it has done what there was to do: the counters may have changed. */
  advanced?(): void;
}

/** A client whose loop runs in the event loop of its thread. */
export class LoopClient implements Client {
  readonly #parts: LoopParts;
  readonly #places: Settings["places"];
  readonly #linkParts: LinkParts;
  readonly #clock: Clock;
  readonly #session: Session;
  readonly #keeper: Keeper | undefined;
  /** The store is given up. */
  #closing: void | Promise<void> = undefined;
  /** Tells of publishes that were rejected, if somebody hears that. */
  readonly #dropped: ((call: Acknowledgement, error: MqttError) => void) | undefined;
  #link: Link | undefined;
  readonly #opened = deferred<number | undefined>();
  readonly #ended = deferred<MqttError>();
  readonly #timeout: number;
  /** Requests and answers, once there are some. */
  #exchange: Exchange | undefined;
  #left: Promise<void> | undefined;
  #drained: Promise<void> | undefined;
  /** Settled when publish() may go on; all who wait share it. */
  #room: Promise<number> | undefined;
  /** Whether the session's events are being handled. */
  #handling = false;
  /** Whether there may be more of them meanwhile. */
  #again = false;
  /** Whether they will be handled at the end of this tick. */
  #scheduled = false;
  readonly #stopListening: () => void;
  readonly #alarm: Alarm;

  /** Starts to connect. */
  constructor(settings: Settings, parts: LoopParts) {
    this.#parts = parts;
    this.#clock = parts.clock;
    this.#alarm = new Alarm(this.#clock, (now) => {
      this.#session.tick(now);
      this.#advance();
      this.#alarm.set(this.#session.due);
      this.#link?.resume(); // an iterator that was full may have been given up
    });
    const random = () => this.#clock.random();
    const sessionParts = { ...parts, random, durable: durable(parts.store, this.#clock.wall) };
    this.#session = new Session(settings, sessionParts, this.#opened, this.#clock.now());
    this.#keeper = parts.store && new Keeper(parts.store.store, {
      session: this.#session,
      now: this.#clock.now,
      advance: this.#advance,
    });
    this.#places = settings.places;
    this.#timeout = settings.timeout;
    const { dial } = parts;
    this.#linkParts = { session: this.#session, clock: this.#clock, dial, advance: this.#advance };
    if (parts.onstatus !== undefined) {
      this.#session.listen();
      this.#dropped = ({ topic, size }, error) => this.#session.tellDropped(topic, size, error);
    }
    const stopHints = parts.hints?.(() => {
      this.#session.wake(this.#clock.now());
      this.#schedule();
    });
    const stopAbort = onAbort(settings.signal, (reason) => void handled(this.#disconnect(reason)));
    this.#stopListening = () => {
      stopHints?.();
      stopAbort();
    };
    this.#schedule();
  }

  /** Settled when the client has its first connection. */
  static async opened(client: LoopClient): Promise<void> {
    await client.#opened.promise;
  }

  get sock(): unknown {
    return this.#link?.transport?.sock;
  }

  get trusted(): Trust {
    return this.#link?.transport?.trusted ?? false;
  }

  get id(): string {
    return this.#session.id;
  }

  get limits(): Limits | undefined {
    return this.#session.limits;
  }

  get status(): ConnectionStatus {
    return this.#session.status;
  }

  get stats(): Stats {
    return this.#session.stats;
  }

  run(): Promise<MqttError> {
    this.#session.listen();
    this.#schedule();
    return this.#ended.promise;
  }

  publish(topic: string, message: string | Uint8Array, options?: PublishOptions): Promise<number>;
  publish(messages: readonly OutgoingMessage[]): Promise<number>;
  publish(
    topic: string | readonly OutgoingMessage[],
    message?: string | Uint8Array,
    options?: PublishOptions,
  ): Promise<number> {
    const session = this.#session;
    let waits: boolean;
    try {
      if (typeof topic === "object" && Array.isArray(topic)) {
        return publishAll(checkPublications(topic), (each) => this.#send(each), this.#isTold);
      }
      const flags = options === undefined ? 0 : publishFlags(options);
      if (flags > 1 || options !== undefined && isConditional(options)) {
        return this.#send(publication(topic as string, message!, flags, options!));
      }
      waits = session.publish(topic as string, message!, flags);
    } catch (error) {
      return this.#rejected(error, { topic: topic as string, message: message!, flags: 0 });
    }
    if (waits && session.buffered > WRITE) this.#writeNow();
    if (waits || !this.#handling) this.#schedule();
    if (!waits) return DONE;
    if (!session.isRoomAwaited) {
      const call = new Acknowledgement(session, this.#dropped && (() => {})); // none is dropped: it is stalled, which is told
      this.#room = call.promise;
      session.awaitRoom(call);
    }
    return this.#room!;
  }

  /** The rejection of a publish. */
  #rejected(error: unknown, publication: Outbound): Promise<never> {
    this.#schedule();
    const session = this.#session, { topic } = publication;
    const dropped = (error: MqttError) => session.tellDropped(topic, packetSize(publication, session.version), error);
    return rejection(session, error, this.#dropped && dropped);
  }

  /** Whether nobody has to await an error of a publish. */
  readonly #isTold = (error: unknown): boolean =>
    error === this.#session.reason || this.#dropped !== undefined && isDropped(error);

  /** Publishes a message of QoS 1 or 2, or one that can be taken back. */
  #send(publication: Publication): Promise<number> {
    const { topic, message, flags, signal, expiry, properties } = publication;
    if (signal?.aborted) return Promise.reject(withdrawn(signal.reason));
    if (flags < 2 && expiry === undefined && properties === undefined) {
      return this.publish(topic, message, { retain: flags === 1 });
    }
    const session = this.#session, call = new Acknowledgement(session, this.#dropped);
    let outgoing: Outgoing | undefined;
    try {
      outgoing = session.send(publication, call, this.#clock.now());
    } catch (error) {
      return this.#rejected(error, publication);
    }
    call.topic = topic;
    call.size = outgoing?.size ?? 0;
    if (!this.#handling) this.#schedule();
    if (signal === undefined || outgoing === undefined) return call.promise;
    const sent = outgoing;
    const stop = onAbort(signal, (reason) => {
      session.withdraw(sent, withdrawn(reason));
      this.#schedule();
    });
    call.promise.then(stop, stop);
    return call.promise;
  }

  subscribe(
    topic: string | readonly string[],
    options: SubscribeOptions | SubscribeCallback = {},
    callback?: SubscribeCallback,
  ): Promise<number> {
    if (typeof options === "function") return this.subscribe(topic, {}, options);
    return this.#call<number>((call) => {
      const { onpub, concurrency, ...asked } = checkSubscribe(topic, options, callback);
      this.#session.subscribe(asked, { onpub, concurrency }, call, this.#clock.now());
    }, callback);
  }

  unsubscribe(topic: string | readonly string[], callback?: () => void): Promise<void> {
    return this.#call<void>((call) => {
      this.#session.unsubscribe(checkUnsubscribe(topic, callback), call, this.#clock.now());
    }, callback);
  }

  messages(topic: string, options: MessagesOptions = {}): AsyncIterableIterator<Message> {
    const { limit, ...asked } = checkMessages(topic, options);
    const session = this.#session, now = () => this.#clock.now();
    return new MessageIterator((wake) => new Inbox(topic, limit, wake), {
      open: (inbox) => {
        session.iterate(inbox, asked, now());
        this.#schedule();
      },
      take: (inbox) => {
        const message = session.backlog.take(inbox);
        // The one before may be acknowledged now, or what was held up go on.
        if (session.buffered > 0 || this.#isHeldUp) this.#schedule();
        return message;
      },
      wait: (inbox, waiting) => {
        session.backlog.setWaiting(inbox, waiting);
        if (this.#isHeldUp) this.#schedule();
      },
      leave: async (inbox) => {
        const isAlone = session.leave(inbox);
        this.#schedule(); // it may have been full
        if (isAlone) await this.#call((call) => session.unsubscribeInbox(inbox, call, now()));
      },
      heard: () => session.listen(),
    });
  }

  reauthenticate(): Promise<void> {
    return this.#call<void>((call) => this.#session.authentication.again(call, this.#clock.now()));
  }

  request(topic: string, message: string | Uint8Array, options?: RequestOptions): Promise<Message> {
    return this.#asking.request(topic, message, options);
  }

  respond(filter: string, handler: Responder, options?: RespondOptions): Promise<number> {
    return this.#asking.respond(filter, handler, options);
  }

  get #asking(): Exchange {
    return this.#exchange ??= new Exchange(this, this.#timeout);
  }

  flush(): Promise<void> {
    return this.#call<void>((call) => this.#session.flush(call, this.#clock.now()));
  }

  disconnect(options: DisconnectOptions = {}): Promise<void> {
    const how = checkDisconnect(options);
    if (!how.drain) return this.#disconnect(undefined, how);
    return this.#drained ??= this.#left ??
      this.#whenClosed((call) => this.#session.disconnect(call, how, this.#clock.now()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#disconnect(undefined);
  }

  #disconnect(cause: unknown, how: Farewell = {}): Promise<void> {
    const ask = (call: Call) => this.#session.disconnect(call, { cause, ...how, drain: false }, this.#clock.now());
    if (this.#left !== undefined) return this.#left;
    const left = this.#whenClosed(ask);
    if (this.#session.reason !== undefined) this.#left = left; // and not that DISCONNECT cannot say that
    return left;
  }

  /** Disconnecting is done when the store, too, is given up: another client may have it then. */
  #whenClosed(ask: (call: Call) => void): Promise<void> {
    const left = this.#call<void>(ask);
    return this.#keeper === undefined ? left : left.then(() => this.#closing);
  }

  /** The promise of what the session is asked for. */
  #call<T extends number | void>(ask: (call: Call) => void, callback?: (code: number) => void): Promise<T> {
    this.#schedule();
    return promiseOf<T>(this.#session, ask, callback);
  }

  // ---- handlers

  readonly #handlers: Handling = {
    call: (onpub, message) => {
      try {
        const result = onpub(message.topic, message);
        if (result !== undefined && isPromise(result)) return result;
      } catch (error) {
        this.#session.backlog.countFailure();
        this.#failed(error);
      }
      return undefined;
    },
    watch: (promise, work) => {
      Promise.resolve(promise).then(() => this.#settle(work, false), (error) => {
        this.#failed(error);
        this.#settle(work, true);
      });
    },
  };

  #failed(error: unknown): void {
    if (this.#parts.failed === undefined) surface(error);
    else this.#parts.failed(error);
  }

  /** What waits for the handler goes to it at once; acknowledgements are gathered: a write for each takes ten times as long. */
  #settle(work: Work, failed: boolean): void {
    const session = this.#session;
    session.backlog.settle(work, failed);
    if (this.#isHeldUp) session.tick(this.#clock.now()); // what is decoded then counts from then
    this.#advance({ writes: false });
    this.#schedule();
  }

  /** Whether something goes on when messages are settled: reading, or disconnect(). */
  get #isHeldUp(): boolean {
    return this.#link?.isPaused || this.#session.isDraining;
  }

  // ---- the loop

  /** Gathers what is asked for within a tick into one write. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.tick(this.#tick);
  }

  readonly #tick = () => {
    this.#scheduled = false;
    // What waited for room in an iterator is decoded now, and may end the connection.
    if (this.#isHeldUp) this.#session.tick(this.#clock.now());
    this.#advance();
    this.#alarm.set(this.#session.due);
    this.#link?.resume();
  };

  /** Writes inside a call of the program: what comes of it is told when that is over. */
  #writeNow(): void {
    const outer = this.#handling;
    this.#handling = true;
    this.#write();
    this.#handling = outer;
  }

  /** Keeps what is to be kept, and writes what may be written then; whether something may have come of it. */
  #write(): boolean {
    const hasKept = this.#keeper?.keep() ?? false; // a store that keeps at once has settled calls
    const hasWritten = this.#link?.write() ?? false;
    return hasKept || hasWritten;
  }

  /** After each input: handles the session's events, and writes. Messages alone make nothing due, as long as they are read. */
  readonly #advance = ({ writes }: { writes: boolean } = WRITES): void => {
    this.#again = true;
    if (this.#handling) return;
    this.#handling = true;
    const session = this.#session;
    let onlyMessages = true;
    while (this.#again) {
      this.#again = false;
      for (;;) {
        const event = session.nextDelivering(this.#handlers);
        if (event === undefined) break;
        onlyMessages = false;
        this.#handle(event);
      }
      if (writes && this.#write()) this.#again = true;
    }
    this.#handling = false;
    if (!onlyMessages || !session.isReading) this.#alarm.set(session.due);
    this.#parts.advanced?.();
  };

  /** The store could not be closed: disconnect() fails with that, and where nobody has called it, it surfaces. */
  readonly #notClosed = (error: unknown): void => {
    if (this.#left === undefined && this.#drained === undefined) surface(error);
  };

  /** Gives up the store. */
  #closeStore(): void | Promise<void> {
    try {
      return this.#keeper?.close();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Asks the program when the next attempt is. */
  async #plan(retry: RetryEvent): Promise<void> {
    this.#session.plan(await this.#parts.policy!(retry), this.#clock.now());
    this.#advance();
  }

  /** Asks the program what it answers. */
  async #authenticate({ attempt, data, isAwaited }: AuthEvent): Promise<void> {
    try {
      const answer = await askAnswer(this.#parts.authenticate!, data, isAwaited);
      if (isAwaited) this.#session.authentication.answered(attempt, answer);
    } catch (error) {
      this.#session.lost(attempt, error as MqttError, this.#clock.now());
    }
    this.#advance();
  }

  #handle(event: SessionEvent): void {
    switch (event.type) {
      case "dial":
        this.#link = new Link(event.attempt, this.#places[event.place]!, this.#linkParts);
        return;
      case "retry":
        return void this.#plan(event);
      case "login":
        return void this.#link!.login();
      case "end":
        return this.#link!.end();
      case "auth":
        return void this.#authenticate(event);
      case "keepalive":
        return this.#link!.keepAlive(event.seconds);
      case "hangup":
        return this.#link?.close();
      case "settled":
        return event.error === undefined ? event.call.resolve(event.code) : event.call.reject(event.error);
      case "inbox":
        return event.inbox.wake();
      case "status":
        return invoke(this.#parts.onstatus, event.status);
      case "closed":
        this.#stopListening();
        this.#closing = this.#closeStore();
        this.#ended.resolve(event.error);
        this.#exchange?.close(event.error);
        if (this.#closing === undefined) return this.#parts.closed?.();
        return void this.#closing.catch(this.#notClosed).then(() => this.#parts.closed?.());
      case "unheard":
        return surface(event.error);
    }
  }
}

/** Whether a handler returned something to wait for. */
function isPromise(value: unknown): boolean {
  return typeof (value as PromiseLike<unknown> | null)?.then === "function";
}
