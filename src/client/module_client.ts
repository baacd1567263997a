/** The client of `connectWorker` whose `onpub` is a module: all of it lives in a thread, and the caller holds this.
 * @module */

import type { Client } from "../api.ts";
import type {
  DisconnectOptions,
  MessagesOptions,
  OutgoingMessage,
  PublishOptions,
  ReconnectPolicy,
  RequestOptions,
  Responder,
  RespondOptions,
  SubscribeCallback,
  SubscribeOptions,
  Trace,
} from "../options.ts";
import type { ConnectionStatus, OnStatus, Stats, Status } from "../status.ts";
import { deferred, handled } from "../deferred.ts";
import { invoke, MqttError, surface } from "../errors.ts";
import type { Limits } from "../options5.ts";
import type { Message } from "../message.ts";
import { Ending } from "../session/ending.ts";
import { Events } from "../session/events.ts";
import { encodeFarewell, type Farewell } from "../session/farewell.ts";
import { HEARD_WITHIN } from "../session/state.ts";
import type { SessionStore } from "../store/session_store.ts";
import type { Planned } from "../session/subscriptions.ts";
import type { Trust } from "../session/trust.ts";
import { releaseLock } from "../store/lock.ts";
import { restore } from "../worker/messages.ts";
import { Thread } from "../worker/thread.ts";
import { onAbort } from "./abort.ts";
import { checkDisconnect, checkSubscribe, checkUnsubscribe } from "./arguments.ts";
import type { Authenticate } from "./authenticate.ts";
import { Exchange } from "./exchange.ts";
import { promiseOf } from "./call.ts";
import { systemClock } from "./system_clock.ts";
import { moduleCode } from "./module_code.ts";
import { Arrivals, type Said } from "./module_arrivals.ts";
import { ModuleCalls } from "./module_calls.ts";
import { carrySettings, carryStore, carrySubscriptions, type HostData } from "./module_data.ts";
import { Iterations } from "./module_iterations.ts";
import {
  type CarriedStatus,
  type Crossing,
  type Failure,
  type FromHost,
  restoreStatus,
  type ToHost,
} from "./module_messages.ts";
import { ModulePublisher } from "./module_publisher.ts";
import { ModuleState } from "./module_state.ts";
import { Outbox } from "./outbox.ts";
import { answer } from "./module_questions.ts";
import { RemoteHandlers } from "./remote_handlers.ts";
import type { Settings } from "./settings.ts";

/** Milliseconds that the thread has, after `timeout`, to tell what became of disconnect(). */
const LINGER = 1000;

/** What a client is made of, besides its settings. */
export interface ModuleParts {
  /** Its default export gets the messages. */
  module: URL;
  subscriptions: readonly Planned[];
  policy: ReconnectPolicy | undefined;
  authenticate: Authenticate | undefined;
  onstatus: OnStatus | undefined;
  trace: Trace | undefined;
  /** Where the session is kept. */
  store: SessionStore | undefined;
}

/** Asks the client in the thread, and tells what that says. */
export class ModuleClient implements Client {
  readonly sock = undefined;
  readonly #settings: Settings;
  readonly #parts: ModuleParts;
  readonly #store: HostData["store"];
  readonly #thread: Thread;
  readonly #outbox: Outbox<ToHost> = new Outbox(
    (crossing) => this.#thread.post(crossing, [crossing.bytes.buffer]),
    systemClock.tick,
  );
  readonly #events: Events = new Events((error) => {
    this.#ending.rejected(error);
    if (this.#ending.isHeard) clearTimeout(this.#unheard);
  });
  readonly #ending: Ending = new Ending(this.#events);
  readonly #opened = deferred<number | undefined>();
  readonly #ended = deferred<MqttError>();
  /** Requests and answers, once there are some. */
  #exchange: Exchange | undefined;
  #left: Promise<void> | undefined;
  #drained: Promise<void> | undefined;
  readonly #handlers = new RemoteHandlers((number, failed) => this.#settle(number, failed));
  readonly #calls: ModuleCalls = new ModuleCalls(this.#events, this.#opened);
  readonly #iterations: Iterations = new Iterations({
    outbox: this.#outbox,
    reason: () => this.#ending.reason,
    ask: (make) => promiseOf<void>(this.#ending, make),
    number: (call) => this.#calls.number(call),
    listen: () => this.#listen(),
  });
  readonly #arrivals = new Arrivals({
    handlers: this.#handlers,
    iterations: this.#iterations,
    isDelivering: () => !this.#ending.isAsked,
  });
  readonly #publisher: ModulePublisher;
  readonly #state: ModuleState;
  #stopListening = () => {};
  /** Rings when nobody has heard of the end. */
  #unheard: ReturnType<typeof setTimeout> | undefined;
  /** Rings when the thread does not tell what became of disconnect(). */
  #silent: ReturnType<typeof setTimeout> | undefined;

  /**
   * Starts the thread, which connects.
   *
   * @throws {TypeError} If there is no code for it, in a bundle.
   */
  constructor(settings: Settings, parts: ModuleParts) {
    this.#settings = settings;
    this.#parts = parts;
    this.#state = new ModuleState(settings);
    this.#store = carryStore(parts.store);
    this.#publisher = new ModulePublisher({
      settings,
      outbox: this.#outbox,
      ending: this.#ending,
      events: this.#events,
      tellsDropped: parts.onstatus !== undefined,
      state: this.#state,
      checkEnd: () => this.#checkEnd(),
      number: (call, done) => this.#calls.number(call, done),
      advance: () => systemClock.tick(() => this.#advance()),
    });
    const data: HostData = {
      module: parts.module.href,
      ...carrySettings(settings),
      subscriptions: carrySubscriptions(parts.subscriptions, this.#handlers),
      hears: parts.onstatus !== undefined,
      traces: parts.trace !== undefined,
      store: this.#store,
      counters: this.#state.counters.buffer,
    };
    this.#thread = new Thread({
      code: moduleCode(),
      data,
      heard: (crossing) => this.#arrivals.take(crossing as Crossing<FromHost>, this.#said),
      crashed: (error) => this.#crashed(error),
    });
    if (parts.onstatus !== undefined) this.#listen();
    this.#stopListening = onAbort(settings.signal, (reason) => void handled(this.#disconnect(reason)));
  }

  /** Settled when the client has its first connection. */
  static async opened(client: ModuleClient): Promise<void> {
    await client.#opened.promise;
  }

  get trusted(): Trust {
    return this.#state.trusted;
  }

  get id(): string {
    return this.#state.id;
  }

  get limits(): Limits | undefined {
    return this.#state.limits;
  }

  get status(): ConnectionStatus {
    return this.#state.status;
  }

  get stats(): Stats {
    return this.#state.stats;
  }

  run(): Promise<MqttError> {
    this.#listen();
    return this.#ended.promise;
  }

  publish(topic: string, message: string | Uint8Array, options?: PublishOptions): Promise<number>;
  publish(messages: readonly OutgoingMessage[]): Promise<number>;
  publish(
    topic: string | readonly OutgoingMessage[],
    message?: string | Uint8Array,
    options?: PublishOptions,
  ): Promise<number> {
    if (typeof topic === "object" && Array.isArray(topic)) return this.#publisher.publishAll(topic);
    return this.#publisher.publish(topic as string, message!, options);
  }

  subscribe(
    topic: string | readonly string[],
    options: SubscribeOptions | SubscribeCallback = {},
    callback?: SubscribeCallback,
  ): Promise<number> {
    if (typeof options === "function") return this.subscribe(topic, {}, options);
    return promiseOf<number>(this.#ending, (call) => {
      const { onpub, concurrency, ...asked } = checkSubscribe(topic, options, callback);
      this.#checkEnd();
      const filters = asked.filters.map(({ topic }) => topic);
      const { number: handler, done } = this.#handlers.subscribe(filters, onpub, concurrency);
      this.#outbox.add({ type: "subscribe", call: this.#calls.number(call, done), asked, handler });
    }, callback);
  }

  unsubscribe(topic: string | readonly string[], callback?: () => void): Promise<void> {
    return promiseOf<void>(this.#ending, (call) => {
      const filters = checkUnsubscribe(topic, callback);
      this.#checkEnd();
      const number = this.#calls.number(call, this.#handlers.unsubscribe(filters));
      this.#outbox.add({ type: "unsubscribe", call: number, filters });
    }, callback);
  }

  messages(topic: string, options: MessagesOptions = {}): AsyncIterableIterator<Message> {
    return this.#iterations.iterate(topic, options);
  }

  reauthenticate(): Promise<void> {
    return promiseOf<void>(this.#ending, (call) => {
      this.#checkEnd();
      this.#outbox.add({ type: "reauthenticate", call: this.#calls.number(call) });
    });
  }

  request(topic: string, message: string | Uint8Array, options?: RequestOptions): Promise<Message> {
    return this.#asking.request(topic, message, options);
  }

  respond(filter: string, handler: Responder, options?: RespondOptions): Promise<number> {
    return this.#asking.respond(filter, handler, options);
  }

  get #asking(): Exchange {
    return this.#exchange ??= new Exchange(this, this.#settings.timeout);
  }

  flush(): Promise<void> {
    return promiseOf<void>(this.#ending, (call) => {
      this.#checkEnd();
      this.#outbox.add({ type: "flush", call: this.#calls.number(call) });
    });
  }

  disconnect(options: DisconnectOptions = {}): Promise<void> {
    const how = checkDisconnect(options);
    if (!how.drain || this.#calls.isOpening || this.#state.isClosed) return this.#disconnect(undefined, how);
    return this.#drained ??= this.#left ?? promiseOf<void>(this.#ending, (call) => {
      this.#listen();
      this.#outbox.add({ type: "disconnect", call: this.#calls.number(call), how });
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#disconnect(undefined);
  }

  #disconnect(cause: unknown, how: Farewell = {}): Promise<void> {
    try {
      encodeFarewell(how, this.#settings); // it says what cannot be said, before anything ends
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#left ??= promiseOf<void>(this.#ending, (call) => {
      if (this.#state.isClosed) {
        // Who leaves a client that has failed, and nobody knows, hears of it here.
        const { isHeard, reason } = this.#ending;
        this.#listen();
        this.#events.settle(call, { error: isHeard ? undefined : reason });
        return this.#advance();
      }
      this.#ending.ask([call], cause);
      this.#handlers.clear();
      // There is no connection yet; and the program hears nothing inside a call that it is making.
      if (this.#calls.isOpening) return systemClock.tick(() => this.#over(this.#ending.reason!));
      this.#outbox.add({
        type: "disconnect",
        call: this.#calls.number({ resolve: () => this.#leave(), reject: this.#leave }),
        how: { ...how, drain: false },
      });
      this.#outbox.send();
      const wait = this.#settings.timeout + LINGER / 2;
      // What it says may have come while this thread was blocked: only after a second wait it is silent.
      this.#silent = setTimeout(() => this.#silent = setTimeout(this.#giveUp, LINGER / 2), wait);
    });
  }

  /** The thread has told what became of disconnect(). */
  readonly #leave = (failure?: MqttError): void => {
    clearTimeout(this.#silent);
    this.#ending.settle(failure);
  };

  readonly #giveUp = () => {
    const failure = `The connection's thread did not answer within ${this.#settings.timeout} ms of disconnect()`;
    this.#over(new MqttError("timeout", failure));
  };

  /** @throws {MqttError} Why no call can be made any more. */
  #checkEnd(): void {
    const { reason } = this.#ending;
    if (reason === undefined) return;
    this.#listen();
    throw reason;
  }

  /** Somebody hears why the client ends, or has heard it. */
  #listen(): void {
    this.#ending.listen();
    clearTimeout(this.#unheard);
  }

  /** A handler is done with a message. */
  #settle(number: number, failed: boolean): void {
    let { last } = this.#outbox;
    if (last?.type !== "settled") this.#outbox.add(last = { type: "settled", done: [], failed: [] });
    (failed ? last.failed : last.done).push(number);
  }

  // ---- what the thread says

  readonly #said = (entry: Said): void => {
    this.#handle(entry);
    this.#advance();
  };

  #handle(entry: Said): void {
    switch (entry.type) {
      case "resolved":
        return this.#calls.answered(entry.call, { code: entry.code });
      case "rejected":
        return this.#calls.answered(entry.call, { error: this.#restore(entry.error) });
      case "acknowledged":
        return entry.calls.forEach((call, i) => this.#calls.answered(call, { code: entry.codes[i]! }));
      case "room":
        return this.#publisher.makeRoom(entry.size);
      case "ended":
        return this.#iterations.end(entry.inbox, entry.error && this.#restore(entry.error));
      case "status":
        return this.#tell(entry.status);
      case "trusted":
        this.#state.trusted = entry.trusted;
        return;
      case "assigned":
        this.#state.id = entry.id;
        return;
      case "trace":
        // The thread's clock began when the thread did.
        return invoke(this.#parts.trace, { ...entry.record, time: entry.record.time - performance.timeOrigin });
      case "ask":
        return void answer(entry.number, entry.question, { ...this.#parts, settings: this.#settings })
          .then((given) => this.#outbox.add({ type: "answer", ...given }));
      case "thrown":
        return surface(restore(entry.error));
      case "unusable":
        return this.#unusable(restore(entry.error));
      case "over":
        return this.#over(this.#ending.reason!);
    }
  }

  #restore(failure: Failure): MqttError {
    return failure === "end" ? this.#ending.reason! : restore(failure) as MqttError;
  }

  #tell(carried: CarriedStatus): void {
    const status = restoreStatus(carried);
    if (status.type === "closed") return this.#close(status.error);
    this.#state.tell(this.#events.tell(status));
  }

  // ---- the end

  /** The thread has no client as its module is none. */
  #unusable(error: Error): void {
    this.#calls.notOpened(error as MqttError);
    this.#listen();
    this.#over(error as MqttError);
  }

  #crashed(error: MqttError): void {
    if (this.#store !== undefined) invoke(() => releaseLock(this.#store!.path, this.#store!.token));
    if (this.#state.isClosed) this.#over(this.#ending.reason!);
    else this.#over(error);
  }

  /** The client has ended: what it was asked for is settled with why, and what it has received can still be taken. */
  #close(error: MqttError): void {
    if (this.#state.isClosed) return;
    const reason = this.#ending.come(error);
    this.#stopListening();
    if (this.#iterations.isHeard) this.#listen();
    this.#publisher.end(reason);
    this.#state.tell(this.#events.tell({ type: "closed", error: reason }));
    this.#events.push({ type: "closed", error: reason });
    this.#advance();
  }

  /** The thread says nothing more: everything settles. */
  #over(error: MqttError): void {
    const wasClosed = this.#state.isClosed;
    this.#close(error);
    clearTimeout(this.#silent);
    const reason = this.#ending.reason!;
    this.#iterations.endAll(reason);
    this.#calls.fail(reason);
    // What disconnect() could not send any more is its caller's to know.
    this.#ending.settle(wasClosed || this.#publisher.unsent === 0 || error === reason ? undefined : error);
    this.#advance();
    void this.#thread.end();
    if (!this.#ending.isHeard) {
      this.#unheard = setTimeout(() => this.#ending.isHeard || surface(reason), HEARD_WITHIN);
    }
  }

  #closed(error: MqttError): void {
    this.#ended.resolve(error);
    this.#exchange?.close(error);
  }

  /** Tells what is to be told. */
  #advance(): void {
    for (let event = this.#events.next(); event !== undefined; event = this.#events.next()) {
      if (event.type === "status") invoke(this.#parts.onstatus, event.status as Status);
      else if (event.type === "closed") this.#closed(event.error);
      else if (event.type !== "settled") continue;
      else if (event.error === undefined) event.call.resolve(event.code);
      else event.call.reject(event.error);
    }
  }
}
