/** User name and password, as bytes; those that a function gives are asked for at every attempt.
 * @module */

import type { Credential } from "../options.ts";
import { MqttError } from "../errors.ts";
import { isBytes, kindOf, utf8 } from "../protocol/bytes.ts";
import { check } from "./checks.ts";

/** The longest field, in bytes. */
const MAX_BINARY = 65_535;

/**
 * A credential's bytes: as given, or as the function says now, which must say something.
 *
 * @throws {MqttError} `"cannotconnect"` if the function fails.
 */
export async function askCredential(credential: Credential | undefined, what: string): Promise<Uint8Array | undefined> {
  try {
    return toCredential(typeof credential === "function" ? await credential() ?? null : credential, what);
  } catch (cause) {
    throw new MqttError("cannotconnect", `Cannot connect as ${what}() failed`, cause);
  }
}

/** The same where nothing can be awaited. */
export function askCredentialNow(credential: Credential | undefined, what: string): Uint8Array | undefined {
  try {
    return toCredential(typeof credential === "function" ? credential() ?? null : credential, what);
  } catch (cause) {
    throw new MqttError("cannotconnect", `Cannot connect as ${what}() failed`, cause);
  }
}

/** A user name is text [MQTT-3.1.3-11], a password any bytes. */
export function toCredential(value: unknown, what: string): Uint8Array | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "string") check(value.isWellFormed(), what, "without a lone surrogate [MQTT-1.5.3-1]");
  const bytes = toBytes(value, what);
  if (what === "uname") check(isText(bytes), what, "UTF-8 without U+0000 [MQTT-3.1.3-11]");
  return bytes;
}

function isText(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return !bytes.includes(0);
  } catch {
    return false;
  }
}

/** Text or bytes as bytes. */
export function toBytes(value: unknown, what: string): Uint8Array {
  const bytes = typeof value === "string" ? utf8.encode(value) : value;
  check(isBytes(bytes), what, `a string or Uint8Array: received ${kindOf(value)}`);
  if (bytes.length > MAX_BINARY) throw new RangeError(`Cannot use ${what} as it is over ${MAX_BINARY} bytes`);
  return bytes;
}
