/** What a client and its thread say to each other, apart from the bytes in their rings.
 * @module */

import type { MessagePort } from "node:worker_threads";
import { type ErrorCode, MqttError, UnusableError } from "../errors.ts";
import type { Target } from "../transport/tcp.ts";
import type { Trust } from "../session/trust.ts";
import type { RingPair } from "./spare_rings.ts";

/** What a thread of connections is made with. */
export interface ThreadData {
  /** Its element is 1 when the thread has ended. */
  ended: Int32Array;
}

/** How a connection is opened, and the memory and the port it has with the client. */
export interface Dialling extends RingPair {
  target: Target;
  /** Seconds; 0 = off. */
  keepalive: number;
  /** Whether the server may want another one. */
  mayChange: boolean;
  port: MessagePort;
  /** For a blocking client, which waits on it with `Atomics.wait`: its element counts what the connection has said. */
  said: Int32Array | undefined;
}

/** To the thread itself: open a connection; end. */
export type ToThread = Dialling | "exit";

/** To a connection in the thread: look at the rings; a block outside them, which is after all that is in them; another keep alive, in seconds; give a sign of life; the end. */
export type ToRelay = "look" | ArrayBuffer | { keepalive: number } | "areYouAlive" | "end" | "close";

/** From there: look at the rings; the block outside them is sent; it is open; it is over, after the `rest`. */
export type FromRelay = "look" | "sent" | { trusted: Trust } | { over: CarriedError; rest: Uint8Array };

/** An error as it crosses: structured clone keeps no code, and no cause everywhere. */
export interface CarriedError {
  name: string;
  message: string;
  code: string | number | undefined;
  stack: string | undefined;
  cause: CarriedError | undefined;
  /** Whether it is an {@linkcode UnusableError}. */
  unusable?: boolean;
  /** What the broker has said of an {@linkcode MqttError}. */
  reason?: string | undefined;
  serverReference?: string | undefined;
}

/** The longest chain of causes that crosses: one may lead back to itself. */
const MAX_CAUSES = 8;

/** Packs an error, or whatever was thrown. */
export function carry(error: unknown, causes: number = MAX_CAUSES): CarriedError {
  if (!(error instanceof Error)) return carry(new Error(describe(error)), 0);
  const { name, message, stack, cause } = error;
  const { code } = error as NodeJS.ErrnoException;
  return {
    name: describe(name),
    message: describe(message),
    code: typeof code === "string" || typeof code === "number" ? code : undefined,
    stack: typeof stack === "string" ? stack : undefined,
    cause: cause === undefined || causes === 0 ? undefined : carry(cause, causes - 1),
    unusable: error instanceof UnusableError,
    ...(error instanceof MqttError && { reason: error.reason, serverReference: error.serverReference }),
  };
}

/** Whatever it is, as text; some things cannot say what they are. */
function describe(value: unknown): string {
  try {
    return String(value);
  } catch {
    return typeof value;
  }
}

/** Unpacks it: an {@linkcode MqttError} and a TypeError are that again. */
export function restore({ name, message, code, stack, cause: carried, unusable, ...told }: CarriedError): Error {
  const cause = carried && restore(carried);
  if (unusable) return new UnusableError(code as ErrorCode, message, cause);
  if (name === "MqttError") return new MqttError(code as ErrorCode, message, cause, told);
  const options = cause && { cause };
  const error = name === "TypeError" ? new TypeError(message, options) : new Error(message, options);
  Object.assign(error, { name, stack }, code !== undefined && { code });
  return error;
}
