/** The thread of a client, as the client sees it.
 * @module */

import { setImmediate } from "node:timers";
import { MessageChannel, receiveMessageOnPort, type TransferListItem, Worker } from "node:worker_threads";
import { deferred } from "../deferred.ts";
import { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import { PUBLISH } from "../protocol/packet.ts";
import type { Target } from "../transport/tcp.ts";
import { threadCode } from "./code.ts";
import { type FromRelay, type FromThread, restore, type ThreadData, type ToThread } from "./messages.ts";
import { PortTransport } from "./port_transport.ts";

/** Milliseconds without a sign of life after which a thread is asked for one. */
const SILENCE = 1000;
/** Milliseconds without a sign of life after which a thread counts as dead. */
const DEATH = 5000;
/** Milliseconds a thread has to end by itself; after that it is terminated: the application's module may keep it busy. */
const LINGER = 1000;

/** How connections are opened. */
export interface DialSettings {
  keepalive: number;
  maxPacketSize: number;
}

/** A thread, started when it is first needed, and again when it has crashed. */
export class Thread {
  readonly #code = threadCode();
  readonly #module: string | undefined;
  readonly #blocking: boolean;
  readonly #routes = new Set<string>();
  #said: Int32Array = new Int32Array(2);
  #worker: Worker | undefined;
  #connection: PortTransport | undefined;
  /** The count in #said when the thread was last listened to. */
  #heard = 0;
  /** Milliseconds waited since without a sign of life. */
  #silent = 0;
  #ended = Promise.resolve();

  /** `module` gets the messages; `blocking` lets a program end whose only thread that is left is this one. */
  constructor({ module, blocking = false }: { module?: URL | undefined; blocking?: boolean }) {
    this.#module = module?.href;
    this.#blocking = blocking;
  }

  /** Opens a connection; `signal` gives it up. */
  async dial(target: Target, settings: DialSettings, signal: AbortSignal): Promise<PortTransport> {
    const transport = this.open(target, settings);
    signal.addEventListener("abort", () => {
      transport.close();
      transport.fail(signal.reason);
    });
    transport.port.on("message", (message: FromRelay) => transport.hear(message));
    await transport.opened?.promise;
    return transport;
  }

  /** Starts to open a connection. */
  open(target: Target, { keepalive, maxPacketSize }: DialSettings): PortTransport {
    const { port1, port2: port } = new MessageChannel();
    const connection = this.#connection = new PortTransport(port1, this.#blocking ? undefined : setImmediate);
    this.#silent = 0; // there was nobody to speak
    const { input: { memory: input }, output: { memory: output } } = connection;
    this.#post({ target, keepalive, maxPacketSize, input, output, port }, [port]);
    return connection;
  }

  /** Whether the thread has said something since it was heard. */
  get hasSaid(): boolean {
    return Atomics.load(this.#said, 0) !== this.#heard;
  }

  /** Hears what the thread has said to the connection. */
  hear(connection: PortTransport): boolean {
    const said = Atomics.load(this.#said, 0);
    if (said !== this.#heard) this.#silent = 0;
    this.#heard = said;
    const found = receiveMessageOnPort(connection.port);
    if (found !== undefined) connection.hear(found.message);
    else if (!connection.sleep()) connection.look();
    else return false;
    return true;
  }

  /** Blocks until the connection has heard something; false when the time has come, in milliseconds. */
  wait(connection: PortTransport | undefined, due: number): boolean {
    for (;;) {
      if (connection === undefined) this.#heard = Atomics.load(this.#said, 0);
      else if (this.hear(connection)) return true;
      else if (connection.over === undefined && this.#isDead()) {
        this.#forget();
        connection.fail(new MqttError("socketclosed", "The connection is lost: its thread does not answer any more"));
        return true;
      }
      const time = Math.min(due - performance.now(), SILENCE);
      if (time <= 0) return false;
      if (Atomics.wait(this.#said, 0, this.#heard, time) !== "timed-out") this.#silent = 0;
      else if ((this.#silent += time) >= SILENCE && connection !== undefined) this.#post("areYouAlive");
    }
  }

  /** A thread that has never spoken is starting, and has the time of the attempt. */
  #isDead(): boolean {
    return Atomics.load(this.#said, 1) === 1 || this.#heard > 0 && this.#silent >= DEATH;
  }

  /** The next connection has another thread. */
  #forget(): void {
    void this.#worker?.terminate();
    this.#worker = undefined;
  }

  /** Tells which filters the client routes itself. */
  readonly route = (filter: string, own: boolean): void => {
    if (own === this.#routes.has(filter)) return;
    if (own) this.#routes.add(filter);
    else this.#routes.delete(filter);
    this.#worker?.postMessage({ route: filter, own } satisfies ToThread);
  };

  /** Gives the module a message that the client had to acknowledge. */
  readonly deliver = (topic: string, { payload, qos, retain, dup }: Message): void => {
    const first = PUBLISH << 4 | (dup ? 8 : 0) | qos << 1 | (retain ? 1 : 0);
    this.#post({ first, topic, payload: payload.slice() }); // or the block it lies in crosses with it
  };

  #post(message: ToThread, transfer: TransferListItem[] = []): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(message, transfer);
  }

  #start(): Worker {
    const said: Int32Array = this.#said = new Int32Array(new SharedArrayBuffer(8));
    const workerData: ThreadData = {
      said: this.#blocking ? said : undefined,
      module: this.#module,
      routes: [...this.#routes],
    };
    const worker = new Worker(this.#code, { eval: true, workerData });
    const ended = deferred<void>();
    this.#ended = ended.promise;
    let cause: unknown;
    worker.on("message", ({ thrown }: FromThread) =>
      queueMicrotask(() => {
        throw restore(thrown);
      }));
    worker.on("error", (error) => cause = error);
    worker.on("exit", (code) => {
      ended.resolve();
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      const why = cause instanceof Error ? cause.message : `it exited with code ${code}`;
      this.#connection?.fail(
        new MqttError("socketclosed", `The connection is lost: its thread crashed: ${why}`, cause),
      );
    });
    if (this.#blocking) worker.unref(); // after on(), which refs it on Bun
    return worker;
  }

  /** Ends the thread. */
  async end(): Promise<void> {
    const worker = this.#worker;
    // The runtime keeps the worker until an event loop hears of its end, but not the connection's memory with it.
    this.#connection = undefined;
    if (worker === undefined) return;
    worker.postMessage("exit" satisfies ToThread);
    const timer = setTimeout(() => worker.terminate(), LINGER);
    await this.#ended;
    clearTimeout(timer);
  }
}
