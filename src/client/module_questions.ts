/** What a client in a thread asks its caller, whose functions cannot cross: asked on the one side, answered on the other.
 * @module */

import type { ReconnectPolicy } from "../options.ts";
import { type Deferred, deferred } from "../deferred.ts";
import type { MqttError } from "../errors.ts";
import type { RetryEvent } from "../session/events.ts";
import { type CarriedError, carry, restore } from "../worker/messages.ts";
import type { Authenticate } from "./authenticate.ts";
import { askCredential } from "./credentials.ts";
import { askPolicy } from "./policy.ts";
import type { Place } from "./places.ts";
import type { Settings } from "./settings.ts";

/** A credential, where the broker is, what it is answered, or when the next attempt is. */
export type Question =
  | { readonly what: "uname" | "passwd" }
  | { readonly what: "addr"; readonly place: number }
  | { readonly what: "auth"; readonly data: Uint8Array }
  | { readonly what: "reconnect"; readonly failures: number; readonly delay: number; readonly error: CarriedError };

/** The answer to the question of that number, or why there is none. */
export interface Answer {
  readonly number: number;
  readonly value: unknown;
  readonly error: CarriedError | undefined;
}

/** Which functions the caller has. */
export interface Asks {
  readonly uname: boolean;
  readonly passwd: boolean;
  /** By the index of the place. */
  readonly addr: readonly boolean[];
}

/** The functions that credentials and places are. */
export function asksOf({ places }: Settings): Asks {
  return {
    uname: places.some(({ uname }) => typeof uname === "function"),
    passwd: places.some(({ passwd }) => typeof passwd === "function"),
    addr: places.map(({ find }) => find !== undefined),
  };
}

/** A place without what stays with the caller. */
export function withoutFunctions({ address, credentials, target, uname, passwd }: Place): Place {
  return {
    address,
    credentials,
    target,
    uname: typeof uname === "function" ? undefined : uname,
    passwd: typeof passwd === "function" ? undefined : passwd,
  };
}

/** What the caller has. */
interface Asked {
  readonly settings: Settings;
  readonly policy: ReconnectPolicy | undefined;
  readonly authenticate: Authenticate | undefined;
}

/** Answers for the caller. */
export async function answer(
  number: number,
  question: Question,
  asked: Asked,
): Promise<Answer> {
  try {
    return { number, value: await valueOf(question, asked), error: undefined };
  } catch (error) {
    // Of a credential that fails, the thread's client says what the cause means.
    const isCredential = question.what === "uname" || question.what === "passwd";
    return { number, value: undefined, error: carry(isCredential ? (error as MqttError).cause : error) };
  }
}

async function valueOf(
  question: Question,
  { settings: { places }, policy, authenticate }: Asked,
): Promise<unknown> {
  switch (question.what) {
    case "uname":
    case "passwd": {
      const { what } = question; // the options' own, which is the same at every place
      return await askCredential(places.find((place) => typeof place[what] === "function")?.[what], what);
    }
    case "addr":
      return withoutFunctions(await places[question.place]!.find!());
    case "auth":
      return await authenticate!(question.data);
    case "reconnect": {
      const { failures, delay } = question, error = restore(question.error) as MqttError;
      return askPolicy(policy!, { type: "retry", failures, delay, error });
    }
  }
}

/** The questions that the caller has not answered yet. */
export class Questions {
  readonly #post: (number: number, question: Question) => void;
  readonly #open = new Map<number, Deferred<unknown>>();
  #numbers = 0;

  /** `post` sends a question to the caller. */
  constructor(post: (number: number, question: Question) => void) {
    this.#post = post;
  }

  #ask<T>(question: Question): Promise<T> {
    const number = ++this.#numbers, answer = deferred<unknown>();
    this.#open.set(number, answer);
    this.#post(number, question);
    return answer.promise as Promise<T>;
  }

  /** The caller has answered. */
  answered({ number, value, error }: Answer): void {
    const asked = this.#open.get(number);
    this.#open.delete(number);
    if (error === undefined) asked?.resolve(value);
    else asked?.reject(restore(error));
  }

  /** The places, with functions that ask the caller where that has functions. */
  places(places: readonly Place[], asks: Asks): Place[] {
    const complete = (place: Place): Place => ({
      ...place,
      ...(asks.uname && { uname: () => this.#ask<string | Uint8Array>({ what: "uname" }) }),
      ...(asks.passwd && { passwd: () => this.#ask<string | Uint8Array>({ what: "passwd" }) }),
    });
    return places.map((place, index) => {
      if (!asks.addr[index]) return complete(place);
      return { ...place, find: async () => complete(await this.#ask<Place>({ what: "addr", place: index })) };
    });
  }

  /** Asks what the broker is answered. */
  readonly authenticate = (data: Uint8Array): Promise<Uint8Array> => this.#ask({ what: "auth", data });

  /** Asks when the next attempt is. */
  readonly policy = ({ failures, delay, error }: RetryEvent): Promise<number | undefined> =>
    this.#ask({ what: "reconnect", failures, delay, error: carry(error) });
}
