/** The answer to CONNECT: which bytes are a CONNACK at all, and what its return codes say (section 3.2).
 * @module */

import { MqttError } from "../errors.ts";
import { CONNACK } from "../protocol/packet.ts";

/** What the CONNACK return codes say (table 3.1). */
const RETURN_CODES = {
  1: "it does not speak MQTT 3.1.1",
  2: "it does not accept the client identifier",
  3: "it is unavailable",
  4: "user name or password are wrong",
  5: "the client is not authorized",
};

/** The error of a CONNACK whose return code is not 0. */
export function connectionRefused(code: number): MqttError {
  const known = code as keyof typeof RETURN_CODES;
  return new MqttError(known, `The broker refused the connection: ${RETURN_CODES[known]} [MQTT-3.2.2-4]`);
}

/**
 * Whether the first bytes of a server can be those of a CONNACK; the bytes that have not come yet are undefined.
 * A session is present only where `cleanSession` is false and the connection accepted [MQTT-3.2.2-1] [MQTT-3.2.2-4].
 */
export function isConnackStart(bytes: readonly (number | undefined)[], cleanSession: boolean): boolean {
  const [type, length = 2, flags = 0, code = 0] = bytes;
  return type === CONNACK << 4 && length === 2 && code <= 5 && flags <= (cleanSession || code !== 0 ? 0 : 1);
}

/** The error of a first answer that is no CONNACK [MQTT-3.2.0-1]. */
export function notConnack(bytes: readonly (number | undefined)[]): MqttError {
  const shown = bytes.filter((byte) => byte !== undefined).map((byte) => byte.toString(16).padStart(2, "0"));
  return new MqttError(
    "invalidresp",
    `The server's answer is not a CONNACK of MQTT 3.1.1: is this port an MQTT broker's? It sent ${
      shown.join(" ")
    } [MQTT-3.2.0-1]`,
  );
}
