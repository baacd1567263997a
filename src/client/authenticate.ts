/** The program's answers to what a broker asks of it in AUTH packets.
 * @module */

import { MqttError } from "../errors.ts";
import type { AuthOptions } from "../options5.ts";
import { isBytes, kindOf } from "../protocol/bytes.ts";
import { check } from "./checks.ts";

/** Gives the answer to what the broker has sent. */
export type Authenticate = AuthOptions["answer"];

/**
 * What the program answers.
 *
 * @throws {MqttError} `"cannotconnect"` if it fails.
 */
export async function askAnswer(answer: Authenticate, data: Uint8Array, isAwaited: boolean): Promise<Uint8Array> {
  try {
    return checked(await answer(data), isAwaited);
  } catch (cause) {
    throw failed(cause);
  }
}

/** The same where nothing can be awaited. */
export function askAnswerNow(answer: Authenticate, data: Uint8Array, isAwaited: boolean): Uint8Array {
  try {
    return checked(answer(data), isAwaited);
  } catch (cause) {
    throw failed(cause);
  }
}

/** What comes last is not answered. */
function checked(given: unknown, isAwaited: boolean): Uint8Array {
  if (!isAwaited) return new Uint8Array(0);
  check(isBytes(given), "what auth.answer() returned", `a Uint8Array: received ${kindOf(given)}`);
  return given;
}

function failed(cause: unknown): MqttError {
  return new MqttError("cannotconnect", "Cannot authenticate as auth.answer() failed", cause);
}
