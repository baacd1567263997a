/** The client of `connectWorker` whose `onpub` is a module: all of it lives in a thread, and the caller holds this.
 * @module */

import type {
  Client,
  ConnectionStatus,
  DisconnectOptions,
  MessagesOptions,
  OnStatus,
  OutgoingMessage,
  PublishOptions,
  ReconnectPolicy,
  RequestOptions,
  Responder,
  RespondOptions,
  Stats,
  Status,
  SubscribeCallback,
  SubscribeOptions,
  Trace,
} from "../api.ts";
import { deferred, handled } from "../deferred.ts";
import { invoke, MqttError, surface } from "../errors.ts";
import type { Limits } from "../options5.ts";
import { copyPayload, makeBlock, Message } from "../message.ts";
import type { Version } from "../protocol/packet.ts";
import type { Waiting } from "../session/consumer.ts";
import { Ending } from "../session/ending.ts";
import { type Call, Events } from "../session/events.ts";
import { encodeFarewell, type Farewell } from "../session/farewell.ts";
import { HEARD_WITHIN, HIGH_WATER } from "../session/state.ts";
import type { SessionStore } from "../store/session_store.ts";
import type { Planned } from "../session/subscriber.ts";
import type { Trust } from "../session/trust.ts";
import { FileStore } from "../store/file_store.ts";
import { makeToken, releaseLock } from "../store/lock.ts";
import { restore } from "../worker/messages.ts";
import { Thread } from "../worker/thread.ts";
import { onAbort } from "./abort.ts";
import {
  checkDisconnect,
  checkPublications,
  checkSubscribe,
  checkUnsubscribe,
  publication,
  publishFlags,
} from "./arguments.ts";
import type { Authenticate } from "./authenticate.ts";
import { Exchange } from "./exchange.ts";
import { check } from "./checks.ts";
import { promiseOf, publishAll, rejection } from "./call.ts";
import { systemClock } from "./system_clock.ts";
import { moduleCode } from "./module_code.ts";
import { Iterations } from "./module_iterations.ts";
import {
  type CarriedStatus,
  COUNTERS,
  type Crossing,
  type Failure,
  type FromHost,
  type HostData,
  isOfConnection,
  restoreStatus,
  type ToHost,
} from "./module_messages.ts";
import { ModulePublisher } from "./module_publisher.ts";
import { Outbox } from "./outbox.ts";
import { answer, asksOf, withoutFunctions } from "./module_questions.ts";
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

/** What makes the same store in the thread. */
function carryStore(store: SessionStore | undefined): HostData["store"] {
  if (store === undefined) return undefined;
  const isCarried = store instanceof FileStore;
  check(isCarried, "store", "fileStore(path) when onpub is a module: another store cannot cross to its thread");
  const { path, sync } = store as FileStore;
  return { path, sync, token: makeToken() };
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
  /** Messages that crossed together last. */
  #fresh: Waiting[] = [];
  /** The calls that the thread has not answered, and those of their callers who are told with the answer. */
  readonly #calls = new Map<number, { readonly call: Call; readonly done?: (() => void) | undefined }>();
  readonly #iterations: Iterations = new Iterations({
    outbox: this.#outbox,
    reason: () => this.#ending.reason,
    ask: (make) => promiseOf<void>(this.#ending, make),
    number: (call) => this.#number(call),
    listen: () => this.#listen(),
  });
  #numbers = 0;
  readonly #publisher: ModulePublisher;
  #status: ConnectionStatus;
  /** The thread's counters, in the order of COUNTERS. */
  readonly #counters = new Float64Array(new SharedArrayBuffer(8 * COUNTERS.length));
  #trusted: Trust = false;
  #id: string;
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
    const { places } = settings;
    this.#settings = settings;
    this.#parts = parts;
    this.#store = carryStore(parts.store);
    this.#publisher = new ModulePublisher({
      settings,
      outbox: this.#outbox,
      ending: this.#ending,
      events: this.#events,
      tellsDropped: parts.onstatus !== undefined,
      version: () => this.#version,
      limits: () => this.limits,
      checkEnd: () => this.#checkEnd(),
      number: (call, done) => this.#number(call, done),
      advance: () => systemClock.tick(() => this.#advance()),
    });
    this.#id = settings.id;
    this.#status = { type: "connecting", attempt: 1, address: places[0]!.address };
    const data: HostData = {
      module: parts.module.href,
      settings: {
        ...settings,
        // What waits in the thread is what this waits for, and what need not be waited for.
        maxBuffered: settings.maxBuffered + HIGH_WATER,
        places: places.map(withoutFunctions),
        signal: undefined,
      },
      subscriptions: parts.subscriptions.map(({ onpub, concurrency, ...wanted }) => {
        return { ...wanted, handler: this.#handlers.subscribe([wanted.topic], onpub, concurrency).number };
      }),
      asks: asksOf(settings),
      hears: parts.onstatus !== undefined,
      traces: parts.trace !== undefined,
      store: this.#store,
      counters: this.#counters.buffer,
    };
    this.#thread = new Thread({
      code: moduleCode(),
      data,
      heard: (crossing) => this.#hear(crossing as Crossing<FromHost>),
      crashed: (error) => this.#crashed(error),
    });
    this.#calls.set(0, { call: this.#opened });
    if (parts.onstatus !== undefined) this.#listen();
    this.#stopListening = onAbort(settings.signal, (reason) => void handled(this.#disconnect(reason)));
  }

  /** Settled when the client has its first connection. */
  static async opened(client: ModuleClient): Promise<void> {
    await client.#opened.promise;
  }

  get trusted(): Trust {
    return this.#trusted;
  }

  get id(): string {
    return this.#id;
  }

  get limits(): Limits | undefined {
    return this.#status.type === "connected" ? this.#status.limits : undefined;
  }

  get status(): ConnectionStatus {
    return this.#status;
  }

  get stats(): Stats {
    return Object.fromEntries(COUNTERS.map((name, i) => [name, this.#counters[i]!])) as unknown as Stats;
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
    const publisher = this.#publisher;
    try {
      if (typeof topic === "object" && Array.isArray(topic)) {
        return publishAll(checkPublications(topic), (each) => publisher.publish(each), publisher.isTold);
      }
      const flags = options === undefined ? 0 : publishFlags(options);
      return publisher.publish(publication(topic as string, message!, flags, options));
    } catch (error) {
      return rejection(this.#ending, error);
    }
  }

  /** The version, as far as it is known. */
  get #version(): Version {
    return this.#status.type === "connected" ? this.#status.version : this.#settings.version;
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
      this.#outbox.add({ type: "subscribe", call: this.#number(call, done), asked, handler });
    }, callback);
  }

  unsubscribe(topic: string | readonly string[], callback?: () => void): Promise<void> {
    return promiseOf<void>(this.#ending, (call) => {
      const filters = checkUnsubscribe(topic, callback);
      this.#checkEnd();
      const number = this.#number(call, this.#handlers.unsubscribe(filters));
      this.#outbox.add({ type: "unsubscribe", call: number, filters });
    }, callback);
  }

  messages(topic: string, options: MessagesOptions = {}): AsyncIterableIterator<Message> {
    return this.#iterations.iterate(topic, options);
  }

  reauthenticate(): Promise<void> {
    return promiseOf<void>(this.#ending, (call) => {
      this.#checkEnd();
      this.#outbox.add({ type: "reauthenticate", call: this.#number(call) });
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
      this.#outbox.add({ type: "flush", call: this.#number(call) });
    });
  }

  disconnect(options: DisconnectOptions = {}): Promise<void> {
    const how = checkDisconnect(options);
    if (!how.drain || this.#calls.has(0) || this.#isClosed) return this.#disconnect(undefined, how);
    return this.#drained ??= this.#left ?? promiseOf<void>(this.#ending, (call) => {
      this.#listen();
      this.#outbox.add({ type: "disconnect", call: this.#number(call), how });
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
      if (this.#isClosed) {
        // Who leaves a client that has failed, and nobody knows, hears of it here.
        const { isHeard, reason } = this.#ending;
        this.#listen();
        this.#events.settle(call, { error: isHeard ? undefined : reason });
        return this.#advance();
      }
      this.#ending.ask([call], cause);
      this.#handlers.clear();
      // There is no connection yet; and the program hears nothing inside a call that it is making.
      if (this.#calls.has(0)) return systemClock.tick(() => this.#over(this.#ending.reason!));
      this.#outbox.add({
        type: "disconnect",
        call: this.#number({ resolve: () => this.#leave(), reject: this.#leave }),
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

  /** A number for a call, which the thread answers; `done` is called with any answer. */
  #number(call: Call, done?: () => void): number {
    const number = ++this.#numbers;
    this.#calls.set(number, { call, done });
    return number;
  }

  /** A handler is done with a message. */
  #settle(number: number, failed: boolean): void {
    let { last } = this.#outbox;
    if (last?.type !== "settled") this.#outbox.add(last = { type: "settled", done: [], failed: [] });
    (failed ? last.failed : last.done).push(number);
  }

  // ---- what the thread says

  #hear({ entries, bytes }: Crossing<FromHost>): void {
    const block = makeBlock(bytes);
    let at = 0;
    this.#copyWaiting();
    for (const entry of entries) {
      if (entry.type === "message" || entry.type === "iterated") {
        const { topic, first, size, properties } = entry, payload = at + Math.max(properties, 0);
        this.#deliver(entry, new Message(topic, first, block, payload, at + size - payload, properties));
        at += size;
      } else {
        this.#handle(entry);
        this.#advance();
      }
    }
  }

  /** Others have crossed: what waits is copied out of the memory of those before, or a small message would keep all of it. */
  #copyWaiting(): void {
    for (const { message, pending } of this.#fresh) if (pending > 0) copyPayload(message);
    this.#fresh = [];
  }

  #deliver(entry: FromHost & { type: "message" | "iterated" }, message: Message): void {
    if (entry.type === "message") {
      // After disconnect() nothing is delivered.
      const taken = this.#ending.isAsked ? undefined : this.#handlers.take(entry.handler, entry.number, message);
      if (taken !== undefined && taken.pending > 0) this.#fresh.push(taken);
      return;
    }
    const delivery = this.#iterations.deliver(entry.inbox, message);
    if (delivery !== undefined) this.#fresh.push(delivery);
  }

  #handle(entry: Exclude<FromHost, { type: "message" | "iterated" }>): void {
    switch (entry.type) {
      case "resolved":
        return this.#answered(entry.call, { code: entry.code });
      case "rejected":
        return this.#answered(entry.call, { error: this.#restore(entry.error) });
      case "acknowledged":
        return entry.calls.forEach((call, i) => this.#answered(call, { code: entry.codes[i]! }));
      case "room":
        return this.#publisher.makeRoom(entry.size);
      case "ended":
        return this.#iterations.end(entry.inbox, entry.error && this.#restore(entry.error));
      case "status":
        return this.#tell(entry.status);
      case "trusted":
        this.#trusted = entry.trusted;
        return;
      case "assigned":
        this.#id = entry.id;
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

  #answered(number: number, outcome: { code?: number | undefined; error?: MqttError }): void {
    const asked = this.#calls.get(number);
    if (asked === undefined) return;
    this.#calls.delete(number);
    asked.done?.();
    const { code, error } = outcome;
    this.#events.settle(asked.call, code === undefined ? { error } : { code, error });
  }

  #tell(carried: CarriedStatus): void {
    const status = restoreStatus(carried);
    if (status.type === "closed") return this.#close(status.error);
    if (isOfConnection(status)) this.#status = status;
    this.#events.tell(status);
  }

  // ---- the end

  get #isClosed(): boolean {
    return this.#status.type === "closed";
  }

  /** The thread has no client as its module is none. */
  #unusable(error: Error): void {
    this.#calls.delete(0);
    this.#opened.reject(error);
    this.#listen();
    this.#over(error as MqttError);
  }

  #crashed(error: MqttError): void {
    if (this.#store !== undefined) invoke(() => releaseLock(this.#store!.path, this.#store!.token));
    if (this.#isClosed) this.#over(this.#ending.reason!);
    else this.#over(error);
  }

  /** The client has ended: what it was asked for is settled with why, and what it has received can still be taken. */
  #close(error: MqttError): void {
    if (this.#isClosed) return;
    const reason = this.#ending.come(error);
    this.#stopListening();
    if (this.#iterations.isHeard) this.#listen();
    this.#publisher.end(reason);
    this.#status = this.#events.tell({ type: "closed", error: reason });
    this.#events.push({ type: "closed", error: reason });
    this.#advance();
  }

  /** The thread says nothing more: everything settles. */
  #over(error: MqttError): void {
    const wasClosed = this.#isClosed;
    this.#close(error);
    clearTimeout(this.#silent);
    const reason = this.#ending.reason!;
    this.#iterations.endAll(reason);
    for (const number of [...this.#calls.keys()]) this.#answered(number, { error: reason });
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
