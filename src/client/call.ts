/** A call of the program, as a promise that the session settles.
 * @module */

import { invoke, type MqttError } from "../errors.ts";
import type { Call } from "../session/events.ts";
import { deferred, handled } from "../deferred.ts";

/** Who settles calls. */
interface Settling {
  /** Why no call can be made any more. */
  readonly reason: MqttError | undefined;
}

/**
 * Asks the session for something, and returns the promise of it; the callback hears of an answer, too.
 * A promise is rejected as well when `ask` throws.
 */
export function promiseOf<T extends number | void>(
  session: Settling,
  ask: (call: Call) => void,
  callback?: (code: number) => void,
): Promise<T> {
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
        if (isToldBack || error === session.reason) handled(promise);
        reject(error);
        if (isToldBack) invoke(callback, 128);
      },
    });
  } catch (error) {
    return rejection(session, error);
  }
  return promise as Promise<T>;
}

/** A rejected promise; nobody has to await why the client has ended. */
export function rejection(session: Settling, error: unknown): Promise<never> {
  const promise = Promise.reject(error);
  return error === session.reason ? handled(promise) : promise;
}

/** The call of a message of QoS 1 or 2: there is one for each, and this takes half the time of {@linkcode promiseOf}. */
export class Acknowledgement implements Call {
  readonly #session: Settling;
  #resolve: (code: number) => void = () => {};
  #reject: (error: MqttError) => void = () => {};
  /** Settled with the call. */
  readonly promise: Promise<number>;

  constructor(session: Settling) {
    this.#session = session;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  resolve(code: number | undefined): void {
    this.#resolve(code!);
  }

  reject(error: MqttError): void {
    if (error === this.#session.reason) handled(this.promise);
    this.#reject(error);
  }
}

/** Publishes each of a list, in order; the highest of their codes when all are done. What one throws is a rejection like any other. */
export async function publishAll<P>(
  publications: readonly P[],
  publish: (each: P) => Promise<number>,
): Promise<number> {
  const codes = await Promise.all(publications.map(async (each) => await publish(each)));
  return codes.reduce((highest, code) => Math.max(highest, code), 0);
}
