/** Whether a server may be spoken to, from what is known of its certificate.
 * @module */

import { MqttError } from "../errors.ts";

/**
 * What is known of the server's certificate: `true` when it is valid for the name, `false` when
 * there is none (no TLS), and otherwise what is wrong with it.
 */
export type Trust = boolean | "untrusted" | "wrongname" | "expired";

/** Which credentials CONNECT has. */
export type CredentialsGiven = "none" | "uname" | "both";

/** What must be known of a server before anything is sent to it. */
export interface TrustPolicy {
  /** What CONNECT has of user name and password. */
  readonly credentials: CredentialsGiven;
  /** Whether a server that is not trusted is refused although it gets none. */
  readonly rejectUntrusted: boolean;
}

const PROBLEMS = {
  untrusted: "is not from an issuer that is trusted: give the issuer's certificate as tls.ca",
  wrongname: "is valid for another name: connect to that, or give it as tls.servername",
  expired: "has expired, or is not valid yet",
};

/** Why the server must not be spoken to; undefined when it may. */
export function distrust(trusted: Trust, { credentials, rejectUntrusted }: TrustPolicy): MqttError | undefined {
  if (typeof trusted !== "string" || credentials === "none" && !rejectUntrusted) return undefined;
  return new MqttError(trusted, `The server's certificate ${PROBLEMS[trusted]}; nothing was sent to it`);
}
