/** The thread that the connections of a program share: it starts with the first client, and ends with the last.
 * @module */

import type { TransferListItem } from "node:worker_threads";
import { MqttError } from "../errors.ts";
import { threadCode } from "./code.ts";
import type { ThreadData, ToThread } from "./messages.ts";
import { SpareRings } from "./spare_rings.ts";
import { Thread } from "./thread.ts";

/** A client whose connections live in the thread. */
export interface User {
  /** Whether it blocks: then its thread does not keep the program running. */
  readonly blocking: boolean;
  /** The thread has ended, and all connections with it. */
  crashed(error: MqttError): void;
}

/** One running thread, and the clients that use it. */
export class SharedThread {
  readonly #thread: Thread;
  readonly #users = new Set<User>();
  /** Whether it keeps the program running. */
  #isKept = true;
  /** Its element is 1 when the thread has ended: who blocks hears of that by no event. */
  readonly #ended = new Int32Array(new SharedArrayBuffer(4));
  /** Why it was given up. */
  #failure: MqttError | undefined;
  /** Whether it has ever said something to a client that blocks: until then it may be starting. */
  hasSpoken = false;

  constructor(code: string) {
    this.#thread = new Thread({
      code,
      data: { ended: this.#ended } satisfies ThreadData,
      crashed: (error) => {
        Atomics.store(this.#ended, 0, 1); // it may not have come so far as to do that itself
        for (const user of this.#users) user.crashed(this.#failure ?? error);
      },
    });
  }

  /** Whether it has ended, or was given up. */
  get isOver(): boolean {
    return this.#failure !== undefined || Atomics.load(this.#ended, 0) === 1;
  }

  /** Whether nobody uses it any more: then it is ending. */
  get isLeft(): boolean {
    return this.#users.size === 0;
  }

  /** Takes a client in. */
  join(user: User): void {
    this.#users.add(user);
    this.#keep();
  }

  /** A client has ended: the last one ends the thread. */
  async leave(user: User): Promise<void> {
    this.#users.delete(user);
    if (this.isLeft) await this.#thread.end();
    else this.#keep();
  }

  /** Only on a change: Deno counts. */
  #keep(): void {
    const keeps = this.#hasWaiting;
    if (keeps !== this.#isKept) this.#thread.keep(keeps);
    this.#isKept = keeps;
  }

  /** Whether some client does not block. */
  get #hasWaiting(): boolean {
    for (const { blocking } of this.#users) if (!blocking) return true;
    return false;
  }

  /** Says something to the thread. */
  post(message: ToThread, transfer: TransferListItem[]): void {
    this.#thread.post(message, transfer);
  }

  /** Gives the thread up, which has ended or does not answer: its other clients hear of it. Returns why. */
  giveUp(): MqttError {
    if (this.isOver && this.#failure === undefined) {
      return new MqttError("socketclosed", "The connection is lost: its thread crashed");
    }
    this.#thread.terminate();
    return this.#failure ??= new MqttError(
      "socketclosed",
      "The connection is lost: its thread does not answer any more",
    );
  }
}

/** Gives each client the thread that runs, and another one when that is over; and its connections their rings. */
export class Sharing {
  readonly spareRings: SpareRings = new SpareRings();
  readonly #locate: () => string;
  #code: string | undefined;
  #running: SharedThread | undefined;

  /** `locate` gives the thread's code. */
  constructor(locate: () => string) {
    this.#locate = locate;
  }

  /**
   * The thread's code.
   *
   * @throws {TypeError} If there is none, in a bundle.
   */
  get code(): string {
    return this.#code ??= this.#locate();
  }

  /** The thread for a client. */
  join(user: User): SharedThread {
    if (this.#running === undefined || this.#running.isLeft || this.#running.isOver) {
      this.#running = new SharedThread(this.code);
    }
    this.#running.join(user);
    return this.#running;
  }
}

/** The program's. Marked as pure: a bundle without threads leaves it out. */
export const program: Sharing = /* @__PURE__ */ new Sharing(threadCode);
