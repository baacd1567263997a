/** A thread, from its start to its end.
 * @module */

import type { TransferListItem, Worker } from "node:worker_threads";
import { deferred } from "../deferred.ts";
import { MqttError } from "../errors.ts";
import { workerThreads } from "../runtime.ts";

/** Milliseconds a thread has to end by itself; after that it is terminated: the application's module may keep it busy. */
const LINGER = 1000;

/** What a thread is made of. */
export interface ThreadParts {
  /** The script that it runs. It ends when it is told `"exit"`. */
  code: string;
  /** What the script finds as `workerData`. */
  data: unknown;
  /** Hears what the thread says to the worker's own port. */
  heard?(message: unknown): void;
  /** Called when it has ended although nobody has asked for that. */
  crashed(error: MqttError): void;
}

/** A running thread. It keeps the program running, until `keep` says otherwise. */
export class Thread {
  readonly #worker: Worker;
  readonly #ended = deferred<void>();
  #isAsked = false;

  constructor({ code, data, heard, crashed }: ThreadParts) {
    const { Worker } = workerThreads();
    const worker = this.#worker = new Worker(code, { eval: true, workerData: data });
    let cause: unknown;
    if (heard !== undefined) worker.on("message", heard);
    worker.on("error", (error) => cause = error);
    worker.on("exit", (code) => {
      this.#ended.resolve();
      if (this.#isAsked) return;
      const why = cause instanceof Error ? cause.message : `it exited with code ${code}`;
      crashed(new MqttError("socketclosed", `The connection is lost: its thread crashed: ${why}`, cause));
    });
  }

  /** Whether it keeps the program running. Bun has it do so whenever somebody begins to listen to it. */
  keep(running: boolean): void {
    if (running) this.#worker.ref();
    else this.#worker.unref();
  }

  /** Says something to it. */
  post(message: unknown, transfer: TransferListItem[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  /** Asks it to end, and makes it end if it does not. */
  async end(): Promise<void> {
    this.#isAsked = true;
    this.post("exit");
    const timer = setTimeout(() => this.terminate(), LINGER);
    await this.#ended.promise;
    clearTimeout(timer);
  }

  /** Makes it end. */
  terminate(): void {
    void this.#worker.terminate();
  }
}
