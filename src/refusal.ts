/** Why a connection that was opened is given up: the broker refuses it, or is not to be trusted.
 * @module */

import { MqttError } from "./errors.ts";
import type { Settings } from "./settings.ts";
import type { Trust } from "./transport/transport.ts";

/** What the CONNACK return codes say (table 3.1). */
const REFUSALS = {
  1: "it does not speak MQTT 3.1.1",
  2: "it does not accept the client identifier",
  3: "it is unavailable",
  4: "user name or password are wrong",
  5: "the client is not authorized",
};

/** The broker's refusal of the connection, from its return code; 4 and 5 may be a matter of what it was given. */
export function refusal(code: number, given?: Pick<Settings, "uname" | "passwd">): MqttError {
  const known = code as keyof typeof REFUSALS;
  const advice = code === 4 || code === 5 ? `: check uname and passwd${given === undefined ? "" : said(given)}` : "";
  return new MqttError(known, `The broker refused the connection: ${REFUSALS[known]}${advice} [MQTT-3.2.2-4]`);
}

/** Which of them were given, which is no secret. */
function said({ uname, passwd }: Pick<Settings, "uname" | "passwd">): string {
  if (uname === undefined) return "; none were given";
  return passwd === undefined ? "; no passwd was given" : "; both were given";
}

/** An end before CONNACK, which says nothing of why. To a client without TLS it may be a server that wants it. */
export function endedEarly(error: MqttError, trusted: Trust): MqttError {
  if (error.code !== "socketclosed") return error;
  const advice = trusted === false ? ": is this a TLS port? Then use mqtts:, or tls" : "";
  const why = error.cause instanceof Error ? ` (${error.cause.message})` : "";
  return new MqttError("socketclosed", `The connection was closed before CONNACK${why}${advice}`, error.cause);
}

const DISTRUST = {
  untrusted: "is not from an issuer that is trusted: give the issuer's certificate as tls.ca",
  wrongname: "is valid for another name: connect to that, or give it as tls.servername",
  expired: "has expired, or is not valid yet",
};

/** Refuses a server that is not trusted, where it would get credentials or must be trusted anyway. */
export function checkTrust(trusted: Trust, { uname, rejectUntrusted }: Settings): void {
  if (typeof trusted !== "string" || uname === undefined && !rejectUntrusted) return;
  throw new MqttError(trusted, `The server's certificate ${DISTRUST[trusted]}; nothing was sent to it`);
}
