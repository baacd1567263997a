/** The answer to CONNECT: which bytes are a CONNACK at all, and what its return codes say (section 3.2).
 * @module */

import { MqttError } from "../errors.ts";
import { CONNACK, type ConnackPacket, type DisconnectPacket, type Version } from "../protocol/packet.ts";
import { reasonError } from "./reasons.ts";
import type { CredentialsGiven, Trust } from "./trust.ts";

/** What the CONNACK return codes say (table 3.1). */
const RETURN_CODES = {
  1: "it does not speak MQTT 3.1.1",
  2: "it does not accept the client identifier",
  3: "it is unavailable",
  4: "user name or password are wrong",
  5: "the client is not authorized",
};

/** Which of them were given, which is no secret. */
const GIVEN = { none: "none were given", uname: "no passwd was given", both: "both were given" };

/** The error of a CONNACK whose code is not 0; 4 and 5, and their like in version 5, may be a matter of the credentials. */
export function connectionRefused({ code, properties }: ConnackPacket, given: CredentialsGiven): MqttError {
  if (code >= 128) {
    const advice = code === 134 || code === 135 ? `: check uname and passwd; ${GIVEN[given]}` : "";
    return reasonError(code, { what: "refused the connection", advice, properties, statement: "[MQTT5-3.2.2-8]" });
  }
  const known = code as keyof typeof RETURN_CODES;
  const advice = code === 4 || code === 5 ? `: check uname and passwd; ${GIVEN[given]}` : "";
  return new MqttError(known, `The broker refused the connection: ${RETURN_CODES[known]}${advice} [MQTT-3.2.2-4]`);
}

/**
 * The error of an end before CONNACK. One that says nothing of why, but what the runtime has of it, with a code, may be that of
 * a server that wants TLS.
 */
export function endedEarly(error: MqttError, trusted: Trust): MqttError {
  if (error.code !== "socketclosed") return error;
  const isBare = error.cause === undefined || Object(error.cause).code !== undefined;
  const advice = trusted === false && isBare ? ": is this a TLS port? Then use mqtts:, or tls" : "";
  const why = error.cause instanceof Error ? ` (${error.cause.message})` : "";
  return new MqttError("socketclosed", `The connection was closed before CONNACK${why}${advice}`, error.cause);
}

/**
 * Whether the first bytes of a server can be those of a CONNACK; the bytes that have not come yet are undefined.
 * A session is present only where `cleanSession` is false and the connection accepted [MQTT-3.2.2-1] [MQTT-3.2.2-4].
 */
export function isConnackStart(
  bytes: readonly (number | undefined)[],
  cleanSession: boolean,
  version: Version,
): boolean {
  const [type, length = 2, flags = 0, code = 0] = bytes;
  // In version 5 its properties follow, which the decoder checks. A broker that has only 3.1.1 answers as that has it.
  if (version === 5 && length !== 2) return type === CONNACK << 4;
  if (version === 5 && bytes[3] === 0) return false;
  return type === CONNACK << 4 && length === 2 && code <= 5 && flags <= (cleanSession || code !== 0 ? 0 : 1);
}

/** The first bytes of an alert of TLS: its record type, and the major version (RFC 8446, section 5.1). */
const ALERT = [0x15, 3];
/** The first letters of an answer over HTTP. */
const HTTP = Array.from("HTTP/", (letter) => letter.charCodeAt(0));

/** A CONNACK of a broker that does not speak version 5. */
export function olderConnack(code: number): ConnackPacket {
  return { type: CONNACK, sessionPresent: false, code };
}

/** The error of a DISCONNECT that the broker has sent (section 3.14 of MQTT 5). */
export function disconnected({ code = 0, properties }: DisconnectPacket): MqttError {
  return reasonError(code, { what: "ended the connection", advice: "", properties, statement: "[MQTT5-3.14.4-3]" });
}

/** The error of a first answer that is no CONNACK, from as many of its bytes as are looked at [MQTT-3.2.0-1]. */
export function notConnack(bytes: readonly (number | undefined)[], version: Version): MqttError {
  const head = bytes.filter((byte) => byte !== undefined);
  const begins = (start: readonly number[]) => start.every((byte, i) => (head[i] ?? byte) === byte);
  const hint = begins(ALERT)
    ? "it is a TLS server's: use mqtts:, or tls"
    : begins(HTTP)
    ? "it is an HTTP server's: another port is the MQTT broker's, or use ws: or wss:"
    : "is this port an MQTT broker's?";
  const shown = head.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const message = `The server's answer, ${shown}, is not a CONNACK of ${
    version === 5 ? "MQTT 5" : "MQTT 3.1.1"
  }: ${hint} [MQTT-3.2.0-1]`;
  return new MqttError("invalidresp", message);
}
