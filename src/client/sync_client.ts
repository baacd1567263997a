/** The client that blocks: waits for the session's events where others have promises.
 * @module */

import type { Blocking, SyncClient as BlockingClient } from "../api.ts";
import type {
  DisconnectOptions,
  OnPublish,
  OutgoingMessage,
  PublishOptions,
  ReconnectPolicy,
  SubscribeOptions,
} from "../options.ts";
import type { ConnectionStatus, OnStatus, Stats, Status } from "../status.ts";
import { invoke, MqttError } from "../errors.ts";
import type { Limits } from "../options5.ts";
import type { Message } from "../message.ts";
import { PUBLISH } from "../protocol/packet.ts";
import type { AuthEvent, Call, SessionEvent } from "../session/events.ts";
import type { Farewell } from "../session/farewell.ts";
import { Session } from "../session/session.ts";
import type { Planned } from "../session/subscriptions.ts";
import type { Trust } from "../session/trust.ts";
import { Connector } from "../worker/connector.ts";
import { onAbort } from "./abort.ts";
import { askAnswerNow, type Authenticate } from "./authenticate.ts";
import type { Clock } from "./clock.ts";
import { systemClock } from "./system_clock.ts";
import {
  checkDisconnect,
  checkPublications,
  checkSubscribe,
  isConditional,
  listFilters,
  type Publication,
  publication,
  publishFlags,
  withdrawn,
} from "./arguments.ts";
import { checkRange } from "./checks.ts";
import { Outcome } from "./outcome.ts";
import { askPolicy } from "./policy.ts";
import type { Settings } from "./settings.ts";
import { durable, Keeper, type OpenStore } from "./keeper.ts";
import { SyncLink, type SyncLinkParts, type Waiting } from "./sync_link.ts";

/** So many statuses wait for run() or receive(), which tell them. */
const MOST_STATUSES = 1000;

/** What a client is made of, besides its settings. */
interface SyncParts {
  onpub: OnPublish | undefined;
  /** What it subscribes to with its first connection. */
  subscriptions?: readonly Planned[] | undefined;
  onstatus: OnStatus | undefined;
  /** Where the session is kept. */
  store?: OpenStore | undefined;
  /** Answers what the broker asks of a client that authenticates. */
  authenticate?: Authenticate | undefined;
  /** When the next attempt is, where the program says that. */
  policy?: ReconnectPolicy | undefined;
  /** Opens its connections, and waits for them. */
  thread?: Waiting;
  clock?: Clock;
}

/** A client whose calls return when what they ask for is done. */
export class SyncClient implements Blocking, BlockingClient {
  readonly #timeoutAfter: number;
  readonly #onstatus: OnStatus | undefined;
  readonly #policy: ReconnectPolicy | undefined;
  readonly #authenticateWith: Authenticate | undefined;
  readonly #thread: Waiting;
  readonly #clock: Clock;
  readonly #session: Session;
  readonly #keeper: Keeper | undefined;
  readonly #linkParts: SyncLinkParts;
  #link: SyncLink | undefined;
  #stopListening = () => {};
  #left = false;
  /** Whether disconnect() calls handlers first. */
  #draining = false;
  /** What run() and receive() tell. */
  readonly #statuses: Status[] = [];

  /** Connects. */
  constructor(
    settings: Settings,
    { onstatus, policy, authenticate, store, thread, clock = systemClock, ...handlers }: SyncParts,
  ) {
    this.#thread = thread ?? new Connector({ blocking: true });
    this.#clock = clock;
    this.#timeoutAfter = settings.timeout;
    this.#onstatus = onstatus;
    this.#policy = policy;
    this.#authenticateWith = authenticate;
    const opened = new Outcome();
    const parts = { ...handlers, random: () => clock.random(), durable: durable(store, clock.wall) };
    this.#session = new Session(settings, parts, opened, clock.now());
    this.#keeper = store && new Keeper(store.store, { session: this.#session, now: clock.now, advance: () => {} });
    this.#linkParts = { session: this.#session, thread: this.#thread, clock, settings };
    this.#session.listen(); // the next call throws why it has ended
    this.#stopListening = onAbort(settings.signal, this.#aborted);
    this.#wait(() => opened.done);
    if (opened.error !== undefined) throw opened.error;
  }

  get trusted(): Trust {
    return this.#link?.trusted ?? false;
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

  publish(topic: string, message: string | Uint8Array, options?: PublishOptions): number;
  publish(messages: readonly OutgoingMessage[]): number;
  publish(
    topic: string | readonly OutgoingMessage[],
    message?: string | Uint8Array,
    options?: PublishOptions,
  ): number {
    if (typeof topic === "object" && Array.isArray(topic)) return this.#publishAll(checkPublications(topic));
    const flags = options === undefined ? 0 : publishFlags(options);
    if (flags > 1 || options !== undefined && isConditional(options)) {
      return this.#publishAll([publication(topic as string, message!, flags, options!)]);
    }
    this.#publish(topic as string, message!, flags);
    return 0;
  }

  /** Publishes a message of QoS 0. */
  #publish(topic: string, message: string | Uint8Array, flags: number): void {
    this.#awaitRoom();
    this.#session.publish(topic, message, flags);
    this.#link?.write();
  }

  /** Publishes a message of QoS 0 with properties or an expiry. */
  #publishWith(publication: Publication): void {
    this.#awaitRoom();
    this.#session.send(publication, new Outcome(), this.#clock.now());
    this.#link?.write();
  }

  #awaitRoom(): void {
    this.#link?.look();
    if (this.#isReady() || this.#session.reason !== undefined || this.#wait(this.#isReady, this.#due)) return;
    throw this.#unanswered("There was no room to publish");
  }

  /** Publishes in order, and waits for what is acknowledged. */
  #publishAll(publications: readonly Publication[]): number {
    const calls: Outcome[] = [];
    for (const publication of publications) {
      const { topic, message, flags, signal } = publication;
      if (signal?.aborted) throw withdrawn(signal.reason);
      if (flags > 1) calls.push(this.#send(publication));
      else if (isConditional(publication)) this.#publishWith(publication);
      else this.#publish(topic, message, flags);
    }
    for (const call of calls) this.#acknowledged(call);
    return calls.reduce((highest, { code = 0 }) => Math.max(highest, code), 0);
  }

  /** Publishes a message of QoS 1 or 2; when those before it leave no room, some are acknowledged first. */
  #send(publication: Publication): Outcome {
    const session = this.#session, call = new Outcome();
    for (;;) {
      const { unacknowledged } = session;
      try {
        session.send(publication, call, this.#clock.now());
        return call;
      } catch (error) {
        if (unacknowledged === 0 || (error as MqttError).code !== "overflow") throw error;
        const hasFewer = () => session.unacknowledged < unacknowledged;
        if (!this.#wait(hasFewer, this.#due)) throw this.#unanswered("There was no room to publish");
      }
    }
  }

  /** Waits until a message is acknowledged, for no longer than `timeout` in which none is. */
  #acknowledged(call: Outcome): void {
    const session = this.#session;
    while (!call.done) {
      const { unacknowledged } = session;
      const isSettled = () => call.done || session.unacknowledged < unacknowledged;
      if (!this.#wait(isSettled, this.#due)) throw this.#unanswered("The message was not acknowledged");
    }
    if (call.error !== undefined) throw call.error;
  }

  /** Whether a publish goes out at once, as far as is known: the connection may be lost, which the session hears when it reads. */
  readonly #isReady = (): boolean => this.#session.isReady && this.#link?.isOver === false;

  subscribe(topic: string | readonly string[], options: SubscribeOptions = {}): number {
    const { onpub, concurrency, ...asked } = checkSubscribe(topic, options);
    return this.#call((call, now) => this.#session.subscribe(asked, { onpub, concurrency }, call, now))!;
  }

  unsubscribe(topic: string | readonly string[]): void {
    const filters = listFilters(topic);
    this.#call((call, now) => this.#session.unsubscribe(filters, call, now));
  }

  run(): MqttError {
    this.#session.tick(this.#clock.now());
    for (;;) {
      const message = this.#next(Infinity);
      if (message === undefined) return this.#session.reason!;
      this.#deliver(message);
    }
  }

  /** Calls the handlers of a message: who calls run() gets what the first of them throws. */
  #deliver(message: Message): void {
    const [first, ...others] = this.#session.handlers;
    try {
      if (first !== undefined) this.#handle(first, message);
    } finally {
      for (const onpub of others) invoke(() => this.#handle(onpub, message));
    }
  }

  #handle(onpub: OnPublish, message: Message): void {
    try {
      call(onpub, message);
    } catch (error) {
      this.#session.backlog.countFailure();
      throw error;
    }
  }

  receive(timeout: number = Infinity): Message | undefined {
    if (timeout !== Infinity) checkRange("timeout", timeout, 0, Number.MAX_SAFE_INTEGER);
    const now = this.#clock.now();
    this.#session.tick(now); // what is decoded now may have come long ago
    const message = this.#next(now + timeout);
    if (message === undefined && this.#session.reason !== undefined) throw this.#session.reason;
    return message;
  }

  reauthenticate(): void {
    this.#settled((call, now) => this.#session.reauthenticate(call, now));
  }

  flush(): void {
    this.#settled((call, now) => this.#session.flush(call, now));
  }

  disconnect(options: DisconnectOptions = {}): void {
    this.#disconnect(undefined, checkDisconnect(options));
  }

  [Symbol.dispose](): void {
    this.#disconnect(undefined);
  }

  #disconnect(cause: unknown, { drain, ...farewell }: { drain?: boolean } & Farewell = {}): void {
    if (this.#left || drain && this.#draining) return; // a handler that is called as it drains need not ask again
    if (drain) this.#drain();
    this.#settled((call, now) => {
      this.#session.disconnect(call, { cause, ...farewell }, now);
      this.#left = true;
    });
  }

  /** Calls the handlers of what has come by now; not of what comes while they wait for the broker, or it might never end. */
  #drain(): void {
    const session = this.#session;
    session.backlog.settleGiven();
    this.#draining = true;
    this.#wait(() => true); // what was read and not looked at yet has come, too
    for (let left = session.backlog.kept; left > 0 && session.backlog.kept > 0; left--) {
      const message = this.#next(Infinity);
      if (message !== undefined) invoke(() => this.#deliver(message));
    }
    this.#draining = false;
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
    ask(call, this.#clock.now());
    if (!this.#wait(() => call.done, this.#due)) {
      this.#session.giveUp(call, this.#unanswered("The broker did not answer"), this.#clock.now());
      this.#wait(() => call.done);
    }
    if (call.error !== undefined) throw call.error;
    return call.code;
  }

  /** Asks for something that has a deadline of its own, and waits until it is settled. */
  #settled(ask: (call: Call, now: number) => void): void {
    const call = new Outcome();
    ask(call, this.#clock.now());
    this.#wait(() => call.done);
    if (call.error !== undefined) throw call.error;
  }

  get #due(): number {
    return this.#clock.now() + this.#timeoutAfter;
  }

  #unanswered(failure: string): MqttError {
    const { backlog: { kept }, isReading } = this.#session;
    const error = `${failure} within ${this.#timeoutAfter} ms`;
    if (isReading) return new MqttError("timeout", error);
    return new MqttError("overflow", `${error}: ${kept} messages wait for run() or receive(), more than maxBuffered`);
  }

  // ---- the loop

  /** The next message; undefined when the time has come (milliseconds), or when the client has ended. */
  #next(due: number): Message | undefined {
    const session = this.#session;
    for (let isLast = false;;) {
      for (let status = this.#statuses.shift(); status !== undefined; status = this.#statuses.shift()) {
        invoke(this.#onstatus, status);
      }
      const event = session.next();
      if (event?.type === PUBLISH) {
        this.#keeper?.keep(); // that the one before is settled: who has this one may be busy with it for long
        return event;
      }
      if (event !== undefined) this.#act(event);
      else if (isLast || session.status.type === "closed") return undefined;
      else isLast = this.#step(due);
    }
  }

  /** Lets time pass until it is so; messages that come meanwhile wait. False when the time has come before. */
  #wait(done: () => boolean, due = Infinity): boolean {
    const session = this.#session;
    session.tick(this.#clock.now()); // what is decoded now may have come long ago
    for (let isLast = false;;) {
      const event = session.nextKeepingMessages();
      if (event !== undefined) this.#act(event);
      else if (done() || session.status.type === "closed") return true;
      else if (isLast) return false;
      else isLast = this.#step(due);
    }
  }

  #act(event: SessionEvent): void {
    switch (event.type) {
      case "dial":
        return this.#dial(event.attempt, event.place);
      case "retry":
        return this.#session.plan(askPolicy(this.#policy!, event), this.#clock.now());
      case "login":
        return this.#link!.login();
      case "end":
        return this.#link!.end();
      case "auth":
        return this.#authenticate(event);
      case "keepalive":
        return this.#link!.keepAlive(event.seconds);
      case "hangup":
        this.#link?.close();
        this.#link = undefined;
        return;
      case "settled":
        return event.error === undefined ? event.call.resolve(event.code) : event.call.reject(event.error);
      case "status":
        if (this.#onstatus !== undefined) this.#statuses.push(event.status);
        if (this.#statuses.length > MOST_STATUSES) this.#statuses.shift();
        return;
      case "closed":
        this.#stopListening();
        void this.#thread.end(); // also when the store cannot be closed, which the call throws that has ended the client
        void this.#keeper?.close();
    }
  }

  #authenticate({ attempt, data, isAwaited }: AuthEvent): void {
    try {
      const answer = askAnswerNow(this.#authenticateWith!, data, isAwaited);
      if (isAwaited) this.#session.answered(attempt, answer);
    } catch (error) {
      this.#session.lost(attempt, error as MqttError, this.#clock.now());
    }
  }

  #dial(attempt: number, place: number): void {
    const { session, settings } = this.#linkParts;
    try {
      this.#link = SyncLink.open(attempt, settings.places[place]!, this.#linkParts);
    } catch (error) {
      session.lost(attempt, error as MqttError, this.#clock.now());
    }
  }

  /** Lets time pass until something has happened; whether the time has come, in milliseconds: then what has happened is looked at once more. */
  #step(due: number): boolean {
    const session = this.#session;
    const until = Math.min(due, session.due);
    const hasKept = this.#keeper?.keep() ?? false; // what that has settled is looked at before more is waited for
    this.#link?.write();
    if (hasKept) return this.#clock.now() >= due;
    if (this.#link === undefined) this.#thread.wait(undefined, until);
    else this.#link.wait(until);
    const now = this.#clock.now();
    session.tick(now);
    return now >= due;
  }
}

/** Calls a handler, which must be done when it returns: nothing that it awaits could go on while the program blocks. */
function call(onpub: OnPublish, message: Message): void {
  const result = onpub(message.topic, message);
  if (typeof (result as PromiseLike<unknown> | undefined | null)?.then !== "function") return;
  throw new TypeError(
    "Cannot wait for the promise of a handler as this client blocks: use connect or connectWorker for async handlers",
  );
}
