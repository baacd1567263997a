/** The one error class of the library, and its codes.
 * @module */

/**
 * Why an operation or a connection failed; the same on every runtime.
 *
 * | code | when |
 * |---|---|
 * | `1` `2` `3` `4` `5` | the broker's CONNACK return code [MQTT-3.2.2-4] |
 * | `16` | nobody has subscribed to the topic of a request, as MQTT 5 tells |
 * | `128` | a subscription refused [MQTT-3.9.3-2] |
 * | `128` ... `162` | a reason code of a broker that speaks MQTT 5 (table 2-6) |
 * | `"invalidresp"` | the answer to CONNECT is not a valid CONNACK |
 * | `"cannotresolve"` | the host name has no address |
 * | `"cannotconnect"` | no address accepts a connection |
 * | `"timeout"` | a deadline passed |
 * | `"proxy"` | the proxy refused, or does not speak its protocol |
 * | `"untrusted"` `"wrongname"` `"expired"` | the certificate, when it must be trusted |
 * | `"tls"` | any other failure of TLS |
 * | `"socketclosed"` | the connection ended without DISCONNECT |
 * | `"pingresp"` | no PINGRESP in time |
 * | `"unknowncp"` | a packet type the broker must not send |
 * | `"protocol"` | bytes the broker must not send |
 * | `"overflow"` | a packet over `maxPacketSize`, or more than `maxBuffered` to be sent |
 * | `"sessionlost"` | the broker has forgotten the session, and it is not known whether the message has arrived |
 * | `"unsupported"` | the broker, or the version of the protocol, cannot do what was asked |
 * | `"stale"` | the message waited longer than its `expiry` |
 * | `"store"` | the session's store cannot be opened, is in use, or cannot keep what it is to keep |
 * | `"unclaimed"` | a message that no handler and no iterator takes |
 * | `"disconnect"` | after `disconnect()`, dispose or the signal |
 */
export type ErrorCode =
  | (1 | 2 | 3 | 4 | 5)
  | 16
  | (128 | 129 | 130 | 131 | 132 | 133 | 134 | 135 | 136 | 137 | 138 | 139 | 140 | 141 | 142 | 143 | 144 | 145)
  | (146 | 147 | 148 | 149 | 150 | 151 | 152 | 153 | 154 | 155 | 156 | 157 | 158 | 159 | 160 | 161 | 162)
  | ("invalidresp" | "cannotresolve" | "cannotconnect" | "timeout" | "proxy")
  | ("untrusted" | "wrongname" | "expired" | "tls")
  | ("socketclosed" | "pingresp" | "unknowncp" | "protocol" | "overflow" | "sessionlost")
  | ("unsupported" | "stale" | "store" | "unclaimed" | "disconnect");

/** The reason code with which a broker that speaks MQTT 5 is told of its mistake; undefined if that is no mistake of the broker. */
export let disconnectReason: (error: unknown) => number | undefined;
let setDisconnectReason: (error: MqttError, reason: number) => void;

/** What a broker that speaks MQTT 5 says besides a reason code. */
type Told = { readonly reason?: string | undefined; readonly serverReference?: string | undefined };

/** A failure with a `code` to test, a message for a person, and the runtime's own error as `cause`. */
export class MqttError extends Error {
  /** Always `"MqttError"`. */
  override readonly name = "MqttError";
  /** What failed: see {@linkcode ErrorCode}. */
  readonly code: ErrorCode;
  /** The broker's own words, where it has said something [MQTT5-3.2.2-19]. */
  readonly reason: string | undefined;
  /** The server that is to be used instead, as the broker has it; it is followed only by the program (section 4.11 of MQTT 5). */
  readonly serverReference: string | undefined;
  #disconnectReason: number | undefined;

  /** Makes an error; the runtime's own error, when there is one, is the `cause`, and the last is what the broker has said. */
  constructor(code: ErrorCode, message: string, cause?: unknown, { reason, serverReference }: Told = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.reason = reason;
    this.serverReference = serverReference;
  }

  static {
    // Not by `instanceof MqttError`: a bundler renames a class that names itself, and Node shows that name of uncaught errors.
    disconnectReason = (error) =>
      error instanceof Error && #disconnectReason in error ? error.#disconnectReason : undefined;
    setDisconnectReason = (error, reason) => error.#disconnectReason = reason;
  }
}

/** What the program gave cannot be used, so another attempt would fail alike. To the program it is an {@linkcode MqttError}. */
export class UnusableError extends MqttError {}

/** An error for which the broker is disconnected, with the reason code that MQTT 5 has for it [MQTT5-4.13.1-1]. */
export function fault(
  code: ErrorCode,
  message: string,
  { reason, cause }: { reason: number; cause?: unknown },
): MqttError {
  const error = new MqttError(code, message, cause);
  setDisconnectReason(error, reason);
  return error;
}

/** What MQTT 5 calls a protocol error. */
const PROTOCOL_ERROR = 130;

/**
 * A broker's mistake: the message ends with the statement it breaks, such as [MQTT-2.2.2-2], or in version 5
 * [MQTT5-2.1.3-1]: the two number them differently.
 */
export function violation(
  mistake: string,
  statement: string,
  { code = "protocol", version = 4, reason = PROTOCOL_ERROR, cause }: {
    code?: ErrorCode | undefined;
    version?: 4 | 5;
    reason?: number;
    cause?: unknown;
  } = {},
): MqttError {
  const specification = version === 5 ? "MQTT5" : "MQTT";
  return fault(code, `The broker sent ${mistake} [${specification}-${statement}]`, { reason, cause });
}

/** Throws an error of the application's own code as an uncaught one, behind the code that runs now. */
export function surface(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

/** Calls the application; what it throws becomes an uncaught error. */
export function invoke<A extends unknown[]>(callback: ((...args: A) => void) | undefined, ...args: A): void {
  try {
    callback?.(...args);
  } catch (error) {
    surface(error);
  }
}
