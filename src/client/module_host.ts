/** The client in the thread of an `onpub` module: does what the caller asks for, and tells the caller.
 * @module */

import type { Client } from "../api.ts";
import type { OnPublish, SubscribeOptions } from "../options.ts";
import type { Status } from "../status.ts";
import { type Deferred, deferred } from "../deferred.ts";
import { MqttError } from "../errors.ts";
import { type Message, partsOf } from "../message.ts";
import { nextTurn, runtimeProcess, workerThreads } from "../runtime.ts";
import { Decoder } from "../protocol/decoder.ts";
import { type MessageProperties, PUBLISH } from "../protocol/packet.ts";
import type { Asked } from "../session/subscriptions.ts";
import type { Trust } from "../session/trust.ts";
import { dial } from "../transport/tcp.ts";
import { traceDial } from "../transport/trace.ts";
import { carry } from "../worker/messages.ts";
import { FileStore } from "../store/file_store.ts";
import { isDropped } from "./call.ts";
import { systemClock } from "./system_clock.ts";
import { openStore } from "./keeper.ts";
import { LoopClient } from "./loop_client.ts";
import { carryStatus, COUNTERS, type Crossing, type Failure, type FromHost } from "./module_messages.ts";
import type { HostData } from "./module_data.ts";
import type { ToHost } from "./module_messages.ts";
import { Outbox } from "./outbox.ts";
import { Questions } from "./module_questions.ts";

/** Where this module is, for the thread to import; nothing here runs when it is imported. */
export function locate(): string {
  return import.meta.url;
}

/** Starts the client, and returns who hears what the caller says. */
export function startHost(): (message: unknown) => void {
  const host = new Host(workerThreads().workerData as HostData);
  return (message) => message === "exit" ? runtimeProcess().exit() : host.hear(message as Crossing<ToHost>);
}

/** An iterator of the caller. */
interface Iteration {
  readonly iterator: AsyncIterableIterator<Message>;
  /** How many messages may cross; `more` is settled when there are some again. */
  free: number;
  more: Deferred<void> | undefined;
  /** Settled when all have crossed. */
  done: Promise<void>;
}

/** What a handler of the caller failed with is not told: it has surfaced there. */
const SURFACED = Symbol("surfaced");

class Host {
  readonly #data: HostData;
  readonly #outbox: Outbox<FromHost>;
  readonly #packets: Decoder;
  #client: Client | undefined;
  /** Why the client has ended. */
  #reason: unknown;
  /** Messages that the caller's handlers have. */
  readonly #unsettled = new Map<number, Deferred<void>>();
  readonly #iterations = new Map<number, Iteration>();
  /** Messages that the caller may take back. */
  readonly #withdrawable = new Map<number, AbortController>();
  readonly #questions = new Questions((number, question) => this.#outbox.add({ type: "ask", number, question }));
  #numbers = 0;
  /** What the caller knows of the server's certificate, and as the client identifier. */
  #trusted: Trust = false;
  #id: string;
  readonly #counters: Float64Array;

  constructor(data: HostData) {
    this.#data = data;
    this.#id = data.settings.id;
    this.#packets = new Decoder(Infinity, data.settings.version);
    this.#counters = new Float64Array(data.counters);
    const parent = workerThreads().parentPort!;
    this.#outbox = new Outbox((crossing) => parent.postMessage(crossing, [crossing.bytes.buffer]), (callback) => {
      systemClock.tick(() => {
        this.#tellTrusted();
        callback();
      });
    });
    void this.#start();
  }

  async #start(): Promise<void> {
    const { module, settings, subscriptions, asks, traces, store } = this.#data;
    try {
      const onpub = await load(module, settings.timeout);
      const trace = (record: Extract<FromHost, { type: "trace" }>["record"]) =>
        this.#outbox.add({ type: "trace", record: { ...record, time: record.time + performance.timeOrigin } });
      const made = store && new FileStore(store.path, store.sync, store.token);
      const places = this.#questions.places(settings.places, asks);
      const opened = deferred<number | void>();
      this.#client = new LoopClient({ ...settings, places }, {
        clock: systemClock,
        dial: (signal, { target }) => traceDial((signal) => dial(target!, signal), traces ? trace : undefined)(signal),
        policy: this.#questions.policy,
        authenticate: this.#questions.authenticate,
        onpub,
        subscriptions: subscriptions.map(({ handler, ...wanted }) => ({ ...wanted, ...this.#subscribed(handler) })),
        store: made && await openStore(made, settings.id, false),
        onstatus: (status) => this.#tell(status),
        closed: () => void this.#conclude(),
        advanced: () => this.#count(),
        failed: (error) => {
          if (error !== SURFACED) this.#throw(error);
        },
      }, opened);
      this.#answer(0, opened.promise);
    } catch (error) {
      this.#outbox.add({ type: "unusable", error: carry(error) });
    }
  }

  /** An error that is the caller's to surface, and stops nothing here. */
  #throw(error: unknown): void {
    this.#outbox.add({ type: "thrown", error: carry(error) });
  }

  // ---- what the caller says

  hear({ entries, bytes }: Crossing<ToHost>): void {
    let at = 0;
    for (const entry of entries) {
      if (entry.type === "publishes") this.#publish(entry, bytes.subarray(at, at += entry.size));
      else if (entry.type === "publish") this.#publishOne(entry, bytes.subarray(at, at += entry.size));
      else this.#handle(this.#client!, entry);
    }
    this.#count(); // what was published is unacknowledged now, though the broker may say nothing
  }

  /** Publishes what is in the packets; the last promise of QoS 0 is settled when none has to wait. */
  #publish({ size, calls }: Extract<ToHost, { type: "publishes" }>, bytes: Uint8Array): void {
    const client = this.#client!, packets = this.#packets;
    const failed = (error: unknown) => {
      // The end of the client is told otherwise, and that it came too late is no failure of publish(); so is what was dropped.
      if (error !== this.#reason && !(this.#data.hears && isDropped(error))) this.#throw(error);
    };
    let last: Promise<number> | undefined, next = 0, room = size;
    packets.receive(bytes, size);
    let start = packets.waiting;
    for (let packet = packets.next(); packet?.type === PUBLISH; packet = packets.next()) {
      const { topic, payload, qos, retain } = packet, properties = ownProperties(packet);
      if (qos > 0) {
        this.#acknowledge(calls[next++]!, client.publish(topic, payload, { qos, retain, properties }));
        room -= start - packets.waiting;
      } else {
        const published = client.publish(
          topic,
          payload,
          properties === undefined ? { retain } : { retain, properties },
        );
        if (published !== last) published.catch(failed);
        last = published;
      }
      start = packets.waiting;
    }
    if (room > 0) last?.catch(() => {}).then(() => this.#outbox.add({ type: "room", size: room }));
  }

  /** Publishes what is in the packet, on its conditions. */
  #publishOne({ size, call, isWithdrawable, expiry, until }: Extract<ToHost, { type: "publish" }>, bytes: Uint8Array) {
    this.#packets.receive(bytes, size);
    const packet = this.#packets.next() as Message, { topic, payload, qos, retain } = packet;
    const controller = isWithdrawable ? new AbortController() : undefined;
    if (controller !== undefined) this.#withdrawable.set(call, controller);
    const options = { qos, retain, expiry, until, properties: ownProperties(packet), signal: controller?.signal };
    this.#acknowledge(call, this.#client!.publish(topic, payload, options));
  }

  /** Tells that a message is acknowledged, with those that are at the same time. */
  #acknowledge(call: number, published: Promise<number>): void {
    published.then((code) => {
      let { last } = this.#outbox;
      if (last?.type !== "acknowledged") this.#outbox.add(last = { type: "acknowledged", calls: [], codes: [] });
      last.calls.push(call);
      last.codes.push(code);
    }, (error) => this.#outbox.add({ type: "rejected", call, error: this.#failure(error) }))
      .then(() => this.#withdrawable.delete(call));
  }

  #handle(client: Client, entry: Exclude<ToHost, { type: "publishes" | "publish" }>): void {
    switch (entry.type) {
      case "subscribe": {
        const { call, asked, handler } = entry, { onpub, concurrency } = this.#subscribed(handler);
        const options = onpub === undefined ? optionsOf(asked) : { ...optionsOf(asked), onpub, concurrency };
        return this.#answer(call, client.subscribe(asked.filters.map(({ topic }) => topic), options));
      }
      case "withdraw":
        return this.#withdrawable.get(entry.call)?.abort();
      case "reauthenticate":
        return this.#answer(entry.call, client.reauthenticate());
      case "flush":
        return this.#answer(entry.call, client.flush());
      case "unsubscribe":
        return this.#answer(entry.call, client.unsubscribe(entry.filters));
      case "iterate":
        return this.#iterate(client, entry);
      case "taken": {
        const iteration = this.#iterations.get(entry.inbox);
        if (iteration === undefined) return;
        iteration.free += entry.count;
        return iteration.more?.resolve();
      }
      case "leave": {
        const iteration = this.#iterations.get(entry.inbox);
        this.#iterations.delete(entry.inbox);
        iteration?.more?.resolve();
        return this.#answer(entry.call, iteration?.iterator.return?.().then(() => {}) ?? Promise.resolve());
      }
      case "disconnect":
        return this.#answer(entry.call, client.disconnect(entry.how));
      case "settled":
        for (const number of entry.done) this.#settled(number).resolve();
        for (const number of entry.failed) this.#settled(number).reject(SURFACED);
        return;
      case "answer":
        return this.#questions.answered(entry);
    }
  }

  /** Tells the outcome of a call. */
  #answer(call: number, outcome: Promise<number | void>): void {
    outcome.then(
      (code) => this.#outbox.add({ type: "resolved", call, code: code ?? undefined }),
      (error) => this.#outbox.add({ type: "rejected", call, error: this.#failure(error) }),
    );
  }

  #failure(error: unknown): Failure {
    return error === this.#reason ? "end" : carry(error);
  }

  /** The caller keeps the order, and to the concurrency: a way there and back for each message would take too long. */
  #subscribed(handler: number | undefined): { onpub: OnPublish | undefined; concurrency: number } {
    return { onpub: handler === undefined ? undefined : this.#handler(handler), concurrency: Infinity };
  }

  /** A handler that has the caller's called; its promise is settled when that is done. */
  #handler(handler: number): OnPublish {
    return (topic, message) => {
      const number = ++this.#numbers, { bytes, properties } = partsOf(message), first = firstOf(message);
      this.#outbox.add({ type: "message", handler, number, topic, first, size: bytes.length, properties });
      this.#outbox.addBytes(bytes);
      const settled = deferred<void>();
      this.#unsettled.set(number, settled);
      return settled.promise;
    };
  }

  /** The caller's handlers are done with the message of that number. */
  #settled(number: number): Deferred<void> {
    const settled = this.#unsettled.get(number)!;
    this.#unsettled.delete(number);
    return settled;
  }

  #iterate(client: Client, { inbox, asked, limit, ahead }: Extract<ToHost, { type: "iterate" }>): void {
    const options = { ...optionsOf(asked), limit: Math.max(limit - ahead, 1) };
    const iterator = client.messages(asked.filters[0]!.topic, options);
    const iteration: Iteration = { iterator, free: ahead, more: undefined, done: Promise.resolve() };
    this.#iterations.set(inbox, iteration);
    iteration.done = this.#forward(inbox, iteration);
  }

  /** Has the messages of an iterator cross, as the caller takes them; all that are left when the client has ended. */
  async #forward(inbox: number, iteration: Iteration): Promise<void> {
    let error: Failure | undefined;
    try {
      for await (const message of iteration.iterator) {
        const { topic } = message, { bytes, properties } = partsOf(message);
        this.#outbox.add({ type: "iterated", inbox, topic, first: firstOf(message), size: bytes.length, properties });
        this.#outbox.addBytes(bytes);
        iteration.free--;
        while (iteration.free <= 0 && this.#reason === undefined && this.#iterations.has(inbox)) {
          iteration.more = deferred();
          await iteration.more.promise;
        }
      }
    } catch (failure) {
      error = this.#failure(failure);
    }
    this.#iterations.delete(inbox);
    this.#outbox.add({ type: "ended", inbox, error });
  }

  // ---- what the caller is told

  #tell(status: Status): void {
    if (status.type === "closed") this.#reason = status.error;
    this.#outbox.add({ type: "status", status: carryStatus(status) });
  }

  #tellTrusted(): void {
    const { trusted = false, id = this.#id } = this.#client ?? {};
    if (trusted !== this.#trusted) this.#outbox.add({ type: "trusted", trusted });
    if (id !== this.#id) this.#outbox.add({ type: "assigned", id });
    this.#trusted = trusted;
    this.#id = id;
  }

  #count(): void {
    const { stats } = this.#client!;
    for (let i = 0; i < COUNTERS.length; i++) this.#counters[i] = stats[COUNTERS[i]!];
  }

  /** The client has ended: what it has received crosses, then that it is all. */
  async #conclude(): Promise<void> {
    const forwarding = [...this.#iterations.values()].map(({ more, done }) => {
      more?.resolve();
      return done;
    });
    await Promise.all(forwarding);
    nextTurn(() => this.#outbox.add({ type: "over" }));
  }
}

/** The properties that the caller has given a message; undefined when it has given none. */
function ownProperties({ properties }: Message): MessageProperties | undefined {
  return properties && Object.keys(properties).length > 0 ? properties : undefined;
}

/** The options of subscribe() that ask for this; all filters have the same. */
function optionsOf({ filters, id, properties }: Asked): SubscribeOptions {
  const { topic: _, ...options } = filters[0]!;
  return { ...options, id, properties };
}

/** Byte 1 of a message's packet. */
function firstOf({ qos, retain, dup }: Message): number {
  return PUBLISH << 4 | (dup ? 8 : 0) | qos << 1 | (retain ? 1 : 0);
}

/**
 * The module's function, within so many milliseconds.
 *
 * @throws {TypeError} If it has none.
 * @throws {MqttError} `"timeout"`
 */
async function load(module: string, timeout: number): Promise<OnPublish> {
  const late = deferred<never>();
  const timer = setTimeout(
    () => late.reject(new MqttError("timeout", `${module} was not loaded within ${timeout} ms`)),
    timeout,
  );
  try {
    const { default: onpub } = await Promise.race([import(module), late.promise]);
    if (typeof onpub === "function") return onpub;
    throw new TypeError(`Cannot use onpub as the default export of ${module} must be a function`);
  } finally {
    clearTimeout(timer);
  }
}
