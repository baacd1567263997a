/** Requests that wait for the broker's answer.
 * @module */

import { type Deferred, deferred, handled } from "./deferred.ts";
import type { MqttError } from "./errors.ts";

interface Request {
  /** When it has failed; milliseconds. */
  readonly due: number;
  /** Whether nobody awaits it: the SUBSCRIBE of an iterator, or one that is made again. */
  readonly patient: boolean;
  answer(codes: readonly number[]): void;
  /** `told`: run() tells it, too, so that nobody has to await the promise. */
  reject(error: MqttError, told: boolean): void;
}

/** By packet identifier, in the order in which they fail. */
export class Requests {
  readonly #waiting = new Map<number, Request>();

  /** When the first has failed; Infinity when none waits. */
  get due(): number {
    const [first] = this.#waiting.values();
    return first?.due ?? Infinity;
  }

  /** Enters a request, and returns its promise, which `answer` settles. */
  add<T>(
    id: number,
    { due, patient }: Pick<Request, "due" | "patient">,
    answer: (codes: readonly number[], done: Deferred<T>) => void,
  ): Promise<T> {
    const done = deferred<T>();
    this.#waiting.set(id, {
      due,
      patient,
      answer: (codes) => answer(codes, done),
      reject: (error, told) => {
        if (told) handled(done.promise);
        done.reject(error);
      },
    });
    return done.promise;
  }

  /** The broker's answer; one that comes too late is for nobody. */
  answer(id: number, codes: readonly number[]): void {
    const request = this.#waiting.get(id);
    this.#waiting.delete(id);
    request?.answer(codes);
  }

  /** Gives up what was due by then. `later`: patient ones are not, they have until then; `told`: nobody has to await it. */
  expire(judged: number, how: { later: number | undefined; told: boolean; error: MqttError }): void {
    const { later, told, error } = how;
    for (const [id, request] of this.#waiting) {
      if (request.due > judged) return;
      this.#waiting.delete(id);
      if (request.patient && later !== undefined) this.#waiting.set(id, { ...request, due: later });
      else request.reject(error, told);
    }
  }

  /** Gives up all, for a reason that run() tells. */
  end(reason: MqttError): void {
    for (const request of this.#waiting.values()) request.reject(reason, true);
    this.#waiting.clear();
  }
}
