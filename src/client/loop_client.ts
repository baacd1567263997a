/** The client in the event loop: what is asked of it, as promises.
 * @module */

import type { Client } from "../api.ts";
import type {
  DisconnectOptions,
  MessagesOptions,
  OnPublish,
  OutgoingMessage,
  PublishOptions,
  RequestOptions,
  Responder,
  RespondOptions,
  SubscribeCallback,
  SubscribeOptions,
} from "../options.ts";
import type { ConnectionStatus, Stats } from "../status.ts";
import { type MqttError, surface } from "../errors.ts";
import type { Limits } from "../options5.ts";
import type { Message } from "../message.ts";
import type { Call } from "../session/events.ts";
import type { Outgoing, Publication as Outbound } from "../session/outgoing.ts";
import type { Farewell } from "../session/farewell.ts";
import { Inbox } from "../session/inbox.ts";
import { Session } from "../session/session.ts";
import type { Planned } from "../session/subscriptions.ts";
import type { Trust } from "../session/trust.ts";
import { onAbort } from "./abort.ts";
import { Acknowledgement, isDropped, packetSize, promiseOf, publishAll, rejection } from "./call.ts";
import type { Clock } from "./clock.ts";
import { type Deferred, deferred, handled } from "../deferred.ts";
import { Exchange } from "./exchange.ts";
import { durable } from "./keeper.ts";
import { Loop, type RunParts } from "./loop.ts";
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

/** What a client is made of, besides its settings. */
export interface LoopParts extends RunParts {
  onpub?: OnPublish | undefined;
  /** What it subscribes to with its first connection. */
  subscriptions?: readonly Planned[] | undefined;
  /** Has `wake` called when there is a hint that the way to the broker has changed; returns what ends that. */
  hints?: ((wake: () => void) => () => void) | undefined;
  /** Called when the client has ended. */
  closed?: (() => void) | undefined;
}

/** A client whose loop runs in the event loop of its thread. */
export class LoopClient implements Client {
  readonly #parts: LoopParts;
  readonly #clock: Clock;
  readonly #session: Session;
  readonly #loop: Loop;
  /** Tells of publishes that were rejected, if somebody hears that. */
  readonly #dropped: ((call: Acknowledgement, error: MqttError) => void) | undefined;
  /** Resolves to why it has ended; made when it is asked for. */
  #ended: Deferred<MqttError> | undefined;
  readonly #timeout: number;
  /** Requests and answers, once there are some. */
  #exchange: Exchange | undefined;
  #left: Promise<void> | undefined;
  #drained: Promise<void> | undefined;
  /** The store is given up. */
  #closing: void | Promise<void> = undefined;
  /** Settled when publish() may go on; all who wait share it. */
  #room: Promise<number> | undefined;
  readonly #stopHints: (() => void) | undefined;
  readonly #stopAbort: (() => void) | undefined;

  /** Starts to connect; `opening` is settled when it has its first connection. */
  constructor(settings: Settings, parts: LoopParts, opening: Call) {
    this.#parts = parts;
    this.#clock = parts.clock;
    const random = () => this.#clock.random();
    const sessionParts = { ...parts, random, durable: durable(parts.store, this.#clock.wall) };
    const session = this.#session = new Session(settings, sessionParts, opening, this.#clock.now());
    const ended = (error: MqttError) => this.#end(error);
    this.#loop = new Loop(parts, { session, places: settings.places, ended });
    this.#timeout = settings.timeout;
    if (parts.onstatus !== undefined) {
      session.listen();
      this.#dropped = ({ topic, size }, error) => session.tellDropped(topic, size, error);
    }
    this.#stopHints = parts.hints?.(() => {
      session.wake(this.#clock.now());
      this.#loop.schedule();
    });
    this.#stopAbort = settings.signal && onAbort(settings.signal, (reason) => void handled(this.#disconnect(reason)));
    this.#loop.schedule();
  }

  get sock(): unknown {
    return this.#loop.transport?.sock;
  }

  get trusted(): Trust {
    return this.#loop.transport?.trusted ?? false;
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
    this.#loop.schedule();
    return (this.#ended ??= deferred()).promise;
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
        return publishAll(checkPublications(topic), (each) => this.#send(each), (error) => this.#isTold(error));
      }
      const flags = options === undefined ? 0 : publishFlags(options);
      if (flags > 1 || options !== undefined && isConditional(options)) {
        return this.#send(publication(topic as string, message!, flags, options!));
      }
      waits = session.publish(topic as string, message!, flags);
    } catch (error) {
      return this.#rejected(error, { topic: topic as string, message: message!, flags: 0 });
    }
    if (waits && session.buffered > WRITE) this.#loop.writeNow();
    if (waits || !this.#loop.isHandling) this.#loop.schedule();
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
    this.#loop.schedule();
    const session = this.#session, { topic } = publication;
    const dropped = (error: MqttError) => session.tellDropped(topic, packetSize(publication, session.version), error);
    return rejection(session, error, this.#dropped && dropped);
  }

  /** Whether nobody has to await an error of a publish. */
  #isTold(error: unknown): boolean {
    return error === this.#session.reason || this.#dropped !== undefined && isDropped(error);
  }

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
    if (!this.#loop.isHandling) this.#loop.schedule();
    if (signal === undefined || outgoing === undefined) return call.promise;
    const sent = outgoing;
    const stop = onAbort(signal, (reason) => {
      session.withdraw(sent, withdrawn(reason));
      this.#loop.schedule();
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
        this.#loop.schedule();
      },
      take: (inbox) => {
        const message = session.backlog.take(inbox);
        // The one before may be acknowledged now, or what was held up go on.
        if (session.buffered > 0 || this.#loop.isHeldUp) this.#loop.schedule();
        return message;
      },
      wait: (inbox, waiting) => {
        session.backlog.setWaiting(inbox, waiting);
        if (this.#loop.isHeldUp) this.#loop.schedule();
      },
      leave: async (inbox) => {
        const isAlone = session.leave(inbox);
        this.#loop.schedule(); // it may have been full
        if (isAlone) await this.#call((call) => session.unsubscribeInbox(inbox, call, now()));
      },
      heard: (error) => {
        if (error === session.reason) session.listen();
      },
    });
  }

  reauthenticate(): Promise<void> {
    return this.#call<void>((call) => this.#session.reauthenticate(call, this.#clock.now()));
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
    return this.#parts.store === undefined ? left : left.then(() => this.#closing);
  }

  /** The promise of what the session is asked for. */
  #call<T extends number | void>(ask: (call: Call) => void, callback?: (code: number) => void): Promise<T> {
    this.#loop.schedule();
    return promiseOf<T>(this.#session, ask, callback);
  }

  // ---- the end

  #end(error: MqttError): void {
    this.#stopHints?.();
    this.#stopAbort?.();
    this.#closing = this.#loop.closeStore();
    (this.#ended ??= deferred()).resolve(error);
    this.#exchange?.close(error);
    if (this.#closing === undefined) return this.#parts.closed?.();
    void this.#closing.catch((error) => this.#notClosed(error)).then(() => this.#parts.closed?.());
  }

  /** The store could not be closed: disconnect() fails with that, and where nobody has called it, it surfaces. */
  #notClosed(error: unknown): void {
    if (this.#left === undefined && this.#drained === undefined) surface(error);
  }
}
