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

/** The broker's refusal of the connection, from its return code. */
export function refusal(code: number): MqttError {
  const known = code as keyof typeof REFUSALS;
  return new MqttError(known, `The broker refused the connection: ${REFUSALS[known]} [MQTT-3.2.2-4]`);
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
