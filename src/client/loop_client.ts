/** The client in the event loop: turns the session's events into promises, and has the one timer.
 * @module */

import type {
  Client,
  ConnectionStatus,
  MessagesOptions,
  OnPublish,
  OnStatus,
  PublishOptions,
  Stats,
  SubscribeCallback,
  SubscribeOptions,
} from "../api.ts";
import { invoke, type MqttError, surface } from "../errors.ts";
import type { Message } from "../message.ts";
import { PUBLISH } from "../protocol/packet.ts";
import type { Call, SessionEvent } from "../session/events.ts";
import { Inbox } from "../session/inbox.ts";
import { Session } from "../session/session.ts";
import type { RouteListener } from "../session/subscriptions.ts";
import type { Trust } from "../session/trust.ts";
import type { Dial, Transport } from "../transport/transport.ts";
import { onAbort } from "./abort.ts";
import { type Clock, systemClock } from "./clock.ts";
import { deferred, handled } from "./deferred.ts";
import { MessageIterator } from "./message_iterator.ts";
import { askCredential, checkMessages, checkSubscribe, checkUnsubscribe, publishFlags } from "./settings.ts";
import type { Settings } from "./settings.ts";

/** So many bytes are written at once, although this tick's code may go on: 4 KiB messages take 0.7 of the time of writes of 64 KiB. */
const WRITE = 262_144;

const DONE = Promise.resolve();

/** What a client is made of, besides its settings. */
export interface LoopParts {
  /** Opens a connection. */
  dial: Dial;
  onpub?: OnPublish | undefined;
  onstatus?: OnStatus | undefined;
  clock?: Clock;
  routeListener?: RouteListener;
  /** Called when the client has ended. */
  closed?(): void;
}

/** One attempt and its connection. */
interface Link {
  readonly attempt: number;
  /** Gives up what is under way until the transport has started. */
  abort: AbortController | undefined;
  transport: Transport | undefined;
  /** Whether the transport reads. */
  reading: boolean;
}

/** A client whose loop runs in the event loop of its thread. */
export class LoopClient implements Client {
  readonly #settings: Settings;
  readonly #parts: LoopParts;
  readonly #clock: Clock;
  readonly #session: Session;
  #link: Link | undefined;
  readonly #opened = deferred<number | undefined>();
  readonly #ended = deferred<MqttError>();
  #left: Promise<void> | undefined;
  /** Settled when publish() may go on. */
  #room: Promise<void> | undefined;
  /** What every call gets from the end on. */
  #refusal: Promise<never> | undefined;
  /** Whether the session's events are being handled, and whether there may be more of them; whether that is scheduled. */
  #handling = false;
  #again = false;
  #scheduled = false;
  readonly #stopListening: () => void;
  #stopTimer = () => {};
  #timerDue = Infinity;

  /** Starts to connect. */
  constructor(settings: Settings, parts: LoopParts) {
    this.#settings = settings;
    this.#parts = parts;
    this.#clock = parts.clock ?? systemClock;
    const random = () => this.#clock.random();
    this.#session = new Session(settings, { ...parts, random }, this.#opened, this.#clock.now());
    if (parts.onstatus !== undefined) this.#session.listen();
    this.#stopListening = onAbort(settings.signal, (reason) => void handled(this.#disconnect(reason)));
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

  publish(topic: string, message: string | Uint8Array, options?: PublishOptions): Promise<void> {
    const session = this.#session;
    try {
      session.publish(topic, message, options === undefined ? 0 : publishFlags(options));
    } catch (error) {
      return this.#rejection(error);
    }
    const waits = session.isFull;
    if (session.buffered > WRITE) this.#write();
    if (waits || !this.#handling) this.#schedule();
    if (!waits) return DONE;
    return this.#room ??= this.#call<void>((call) => session.awaitRoom(call), () => this.#room = undefined);
  }

  subscribe(
    topic: string | readonly string[],
    options: SubscribeOptions | SubscribeCallback = {},
    callback?: SubscribeCallback,
  ): Promise<number> {
    if (typeof options === "function") return this.subscribe(topic, {}, options);
    return this.#call<number>((call) => {
      const { filters, onpub } = checkSubscribe(topic, options, callback);
      this.#session.subscribe(filters, onpub, call, this.#clock.now());
    }, callback);
  }

  unsubscribe(topic: string | readonly string[], callback?: () => void): Promise<void> {
    return this.#call<void>((call) => {
      this.#session.unsubscribe(checkUnsubscribe(topic, callback), call, this.#clock.now());
    }, callback);
  }

  messages(topic: string, options: MessagesOptions = {}): AsyncIterableIterator<Message> {
    const { qos, limit } = checkMessages(topic, options);
    const session = this.#session;
    return new MessageIterator({
      take: (inbox) => {
        if (this.#link?.reading === false) this.#schedule();
        return session.take(inbox);
      },
      leave: async (inbox) => {
        const isAlone = session.leave(inbox);
        this.#schedule(); // it may have been full
        if (isAlone) await this.#call((call) => session.unsubscribeInbox(inbox, call, this.#clock.now()));
      },
      heard: () => session.listen(),
    }, (wake) => {
      const inbox = new Inbox(topic, limit, wake);
      session.iterate(inbox, qos, this.#clock.now());
      this.#schedule();
      return inbox;
    });
  }

  disconnect(): Promise<void> {
    return this.#disconnect(undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#disconnect(undefined);
  }

  #disconnect(cause: unknown): Promise<void> {
    return this.#left ??= this.#call<void>((call) => this.#session.disconnect(call, cause, this.#clock.now()));
  }

  /** A promise that the session settles; the callback hears of an answer, too. */
  #call<T extends number | void>(ask: (call: Call) => void, callback?: (code: number) => void): Promise<T> {
    const { promise, resolve, reject } = deferred<number | undefined>();
    try {
      ask({
        resolve: (code) => {
          resolve(code);
          invoke(callback, code!);
        },
        reject: (error) => {
          // Nobody has to await what the callback, or run(), tells.
          const isToldBack = callback !== undefined && error.code === 128;
          if (isToldBack || error === this.#session.reason) handled(promise);
          reject(error);
          if (isToldBack) invoke(callback, 128);
        },
      });
    } catch (error) {
      return this.#rejection(error);
    }
    this.#schedule();
    return promise as Promise<T>;
  }

  /** A rejected promise; nobody has to await why the client has ended. */
  #rejection(error: unknown): Promise<never> {
    if (error !== this.#session.reason) return Promise.reject(error);
    return this.#refusal ??= handled(Promise.reject(error));
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
    if (this.#link?.reading === false) this.#session.tick(this.#clock.now());
    this.#advance();
    this.#resume();
  };

  /** Reads on when there is room again. */
  #resume(): void {
    const link = this.#link;
    if (link === undefined || link.reading || !this.#session.isReading) return;
    link.reading = true;
    link.transport!.resume();
  }

  /** After each input: handles the session's events, writes, and sets the timer. */
  #advance(): void {
    this.#again = true;
    if (this.#handling) return;
    this.#handling = true;
    const session = this.#session;
    try {
      while (this.#again) {
        this.#again = false;
        for (let event = session.next(); event !== undefined; event = session.next()) {
          if (event.type !== PUBLISH) this.#handle(event);
          else for (const onpub of session.handlers) invoke(onpub, event.topic, event);
        }
        this.#write();
      }
    } finally {
      this.#handling = false;
    }
    this.#setTimer(session.due);
  }

  #handle(event: Exclude<SessionEvent, Message>): void {
    const link = this.#link;
    switch (event.type) {
      case "dial":
        return this.#dial(event.attempt);
      case "login":
        return void this.#login(link!);
      case "end":
        return link?.transport?.end();
      case "hangup":
        link?.abort?.abort();
        link?.transport?.close();
        return;
      case "settled":
        return event.error === undefined ? event.call.resolve(event.code) : event.call.reject(event.error);
      case "inbox":
        return event.inbox.wake();
      case "status":
        return invoke(this.#parts.onstatus, event.status);
      case "closed":
        this.#stopListening();
        this.#ended.resolve(event.error);
        return this.#parts.closed?.();
      case "unheard":
        return surface(event.error);
    }
  }

  #dial(attempt: number): void {
    const abort = new AbortController();
    const link: Link = this.#link = { attempt, abort, transport: undefined, reading: true };
    this.#parts.dial(abort.signal).then((transport) => {
      if (this.#session.opened(attempt, transport, this.#clock.now())) link.transport = transport;
      else transport.close();
      this.#advance();
    }).catch((error) => this.#lost(attempt, error));
  }

  async #login(link: Link): Promise<void> {
    const { attempt } = link, transport = link.transport!, session = this.#session, clock = this.#clock;
    try {
      const { uname, passwd } = this.#settings;
      const credentials = { uname: await askCredential(uname, "uname"), passwd: await askCredential(passwd, "passwd") };
      if (!session.login(attempt, credentials, clock.now())) return;
      link.abort = undefined; // a signal is 1 KiB, on Deno 5
      transport.start({
        space: () => session.space(attempt),
        received: (chunk, length) => {
          session.received(attempt, chunk, length, clock.now());
          this.#advance();
          return link.reading = session.isReading;
        },
        written: () => {
          session.written(attempt, clock.now());
          this.#advance();
        },
        closed: (error) => this.#lost(attempt, error),
      });
      this.#advance(); // the answer may have come with it
    } catch (error) {
      this.#lost(attempt, error as MqttError);
    }
  }

  #lost(attempt: number, error: MqttError): void {
    this.#session.lost(attempt, error, this.#clock.now());
    this.#advance();
  }

  /** Writes what there is, unless a write is in flight. */
  #write(): void {
    const session = this.#session;
    for (let bytes = session.takeBytes(); bytes !== undefined; bytes = session.takeBytes()) {
      const { attempt, transport } = this.#link!;
      if (!transport!.write(bytes)) return;
      session.written(attempt, this.#clock.now());
      this.#again = true;
    }
  }

  /** Sets the one timer, which is not set again for each packet: one that rings early is set anew. */
  #setTimer(due: number): void {
    if (due >= this.#timerDue && due < Infinity) return;
    this.#stopTimer();
    this.#stopTimer = () => {};
    this.#timerDue = due;
    if (due < Infinity) this.#stopTimer = this.#clock.wait(this.#ring, Math.max(due - this.#clock.now(), 0));
  }

  readonly #ring = () => {
    this.#timerDue = Infinity;
    this.#session.tick(this.#clock.now());
    this.#advance();
    this.#resume(); // who was full may have been given up
  };
}
