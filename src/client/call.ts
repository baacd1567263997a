/** A call of the program, as a promise that the session settles.
 * @module */

import { invoke, type MqttError } from "../errors.ts";
import { utf8 } from "../protocol/bytes.ts";
import type { Version } from "../protocol/packet.ts";
import { withExpiry } from "../protocol/properties.ts";
import { lengthSize } from "../protocol/wire.ts";
import type { Call } from "../session/events.ts";
import type { Publication } from "../session/outgoing.ts";
import { deferred, handled } from "../deferred.ts";

/** Who settles calls. */
interface Settling {
  /** Why no call can be made any more. */
  readonly reason: MqttError | undefined;
}

/** The codes of refusals that SUBACK and UNSUBACK may have (tables 3-8 and 3-9 of MQTT 5). */
const ANSWERS: ReadonlySet<unknown> = new Set([128, 131, 135, 143, 145, 151, 158, 161, 162]);

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
        // Nobody has to await what the callback, or run(), tells. Connections may end with a reason code, too: that is no answer.
        const { code } = error, isEnd = error === session.reason;
        const isToldBack = callback !== undefined && !isEnd && ANSWERS.has(code);
        if (isToldBack || isEnd) handled(promise);
        reject(error);
        if (isToldBack) invoke(callback, code as number);
      },
    });
  } catch (error) {
    return rejection(session, error);
  }
  return promise as Promise<T>;
}

/** A rejected promise; nobody has to await why the client has ended, nor what was told as `dropped`. */
export function rejection(session: Settling, error: unknown, dropped?: Dropped): Promise<never> {
  const promise = Promise.reject(error);
  return error === session.reason || tellIfDropped(error, dropped) ? handled(promise) : promise;
}

/** Publishes that fail with these are told to `onstatus`, as what is published may be awaited by nobody. */
const DROPPED: ReadonlySet<unknown> = new Set(["overflow", "sessionlost", "stale", "store", "unsupported"]);

/** Tells that a message was dropped; there is none where nobody listens. */
export type Dropped = ((error: MqttError) => void) | undefined;

/** Tells of a publish that was rejected, if that is told; whether it is. */
function tellIfDropped(error: unknown, dropped: Dropped): boolean {
  const isTold = dropped !== undefined && isDropped(error);
  if (isTold) dropped(error as MqttError);
  return isTold;
}

/** Whether an error of a publish is one that `onstatus` is told of. */
export function isDropped(error: unknown): boolean {
  return DROPPED.has((error as Partial<MqttError> | undefined)?.code);
}

/** The bytes of a PUBLISH packet (section 3.3). */
export function packetSize(
  { topic, message, flags, expiry, properties }: Publication,
  version: Version,
): number {
  const payload = typeof message === "string" ? utf8.encode(message) : message;
  const own = expiry === undefined ? properties : withExpiry(properties, expiry);
  const propertiesSize = version === 5 ? own?.length ?? 1 : 0;
  const size = 2 + utf8.encode(topic).length + (flags > 1 ? 2 : 0) + propertiesSize + payload.length;
  return 1 + lengthSize(size) + size;
}

/** The call of a message of QoS 1 or 2: there is one for each, and this takes half the time of {@linkcode promiseOf}. */
export class Acknowledgement implements Call {
  readonly #session: Settling;
  /** Tells that the message was dropped. */
  readonly #dropped: ((call: Acknowledgement, error: MqttError) => void) | undefined;
  /** The message, and the size of its packet. */
  topic = "";
  size = 0;
  #resolve: (code: number) => void = () => {};
  #reject: (error: MqttError) => void = () => {};
  /** Settled with the call. */
  readonly promise: Promise<number>;

  constructor(session: Settling, dropped?: (call: Acknowledgement, error: MqttError) => void) {
    this.#session = session;
    this.#dropped = dropped;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  resolve(code: number | undefined): void {
    this.#resolve(code!);
  }

  reject(error: MqttError): void {
    const dropped = this.#dropped && ((error: MqttError) => this.#dropped!(this, error));
    if (error === this.#session.reason || tellIfDropped(error, dropped)) handled(this.promise);
    this.#reject(error);
  }
}

/**
 * Publishes each of a list, in order; the highest of their codes when all are done. What one throws is a rejection like any
 * other. `isTold`: whether nobody has to await an error, as it is told elsewhere.
 */
export function publishAll<P>(
  publications: readonly P[],
  publish: (each: P) => Promise<number>,
  isTold: (error: unknown) => boolean,
): Promise<number> {
  const { promise, resolve, reject } = deferred<number>();
  Promise.all(publications.map(async (each) => await publish(each))).then(
    (codes) => resolve(codes.reduce((highest, code) => Math.max(highest, code), 0)),
    (error) => {
      if (isTold(error)) handled(promise);
      reject(error);
    },
  );
  return promise;
}
