/** From what the caller gave to what the client works with; whatever is wrong throws before any I/O.
 * @module */

import type { ConnectOptions, Credential, ReconnectOptions } from "./api.ts";
import { MqttError } from "./errors.ts";
import { MAX_REMAINING_LENGTH, type QoS, type WillFields } from "./protocol/packet.ts";
import type { SessionSettings } from "./protocol/session.ts";
import { checkName, checkString } from "./protocol/topic.ts";
import type { Proxy } from "./transport/proxy.ts";
import type { Target } from "./transport/tcp.ts";

const utf8 = new TextEncoder();

/** What a client is made of, apart from its connections. */
export interface Settings extends SessionSettings {
  id: string;
  uname: Credential | undefined;
  passwd: Credential | undefined;
  will: WillFields | undefined;
  /** Milliseconds. */
  timeout: number;
  reconnect: Required<ReconnectOptions> | undefined;
  signal: AbortSignal | undefined;
  /** Whether a server that is not trusted is refused although it gets no credentials. */
  rejectUntrusted: boolean;
}

/** Where `addr` and `op` say the broker is. */
export function parseTarget(addr: string, op: ConnectOptions): { target: Target; uname?: string; passwd?: string } {
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(addr) ? parseUrl(addr, "the broker's URL", ["mqtt", "mqtts"]) : undefined;
  const host = url?.host ?? addr;
  if (host === "" || /[\s/@\0]/.test(host)) {
    throw new TypeError("Cannot connect as addr must be a host name, an address, a URL or a connection");
  }
  const secure = op.tls === undefined ? url?.protocol === "mqtts" : op.tls !== false;
  const port = op.port ?? url?.port ?? (secure ? 8883 : 1883);
  checkRange("port", port, 1, 65_535);
  return {
    target: {
      host,
      port,
      tls: secure ? (typeof op.tls === "object" ? op.tls : {}) : undefined,
      proxy: op.proxy === undefined ? undefined : parseProxy(op.proxy),
    },
    ...(url?.uname && { uname: url.uname }),
    ...(url?.passwd && { passwd: url.passwd }),
  };
}

function parseProxy(text: string | URL): Proxy {
  const { protocol, host, port, uname, passwd } = parseUrl(text, "the proxy's URL", ["socks5", "http"]);
  if (protocol === "socks5" && Math.max(utf8.encode(uname).length, utf8.encode(passwd).length) > 255) {
    throw new RangeError("Cannot use the proxy's user name and password as SOCKS5 allows 255 bytes");
  }
  return { protocol, host, port: port ?? (protocol === "http" ? 80 : 1080), uname, passwd };
}

/** A URL's parts. It may hold a password, so no error repeats it. */
function parseUrl<P extends string>(text: string | URL, what: string, protocols: readonly P[]) {
  try {
    const url = new URL(text);
    const protocol = protocols.find((known) => url.protocol === `${known}:`);
    if (protocol !== undefined && url.hostname !== "") {
      return {
        protocol,
        host: url.hostname.replace(/^\[|\]$/g, ""),
        port: url.port === "" ? undefined : Number(url.port),
        uname: decodeURIComponent(url.username),
        passwd: decodeURIComponent(url.password),
      };
    }
  } catch {
    // What URL and decodeURIComponent throw repeats the text.
  }
  const forms = protocols.map((protocol) => `${protocol}://`).join(" or ");
  throw new TypeError(`Cannot use ${what} as it must be ${forms}[user:password@]host[:port]`);
}

/** The options, checked and completed. */
export function parseSettings(op: ConnectOptions, fromUrl: { uname?: string; passwd?: string }): Settings {
  const {
    keepalive = 60,
    cleanSession = true,
    id = randomId(),
    timeout = 10_000,
  } = op;
  const { maxPacketSize = 16 << 20, maxBuffered = 16 << 20 } = op;
  checkRange("keepalive", keepalive, 0, 65_535);
  checkRange("timeout", timeout, 1, 2 ** 31 - 1);
  checkRange("maxPacketSize", maxPacketSize, 1, MAX_REMAINING_LENGTH + 5);
  checkRange("maxBuffered", maxBuffered, 1, Number.MAX_SAFE_INTEGER);
  checkString(id, "the client identifier");
  if (id === "" && !cleanSession) {
    throw new TypeError("Cannot use an empty client identifier without cleanSession [MQTT-3.1.3-7]");
  }
  const uname = op.uname ?? fromUrl.uname, passwd = op.passwd ?? fromUrl.passwd;
  checkCredential(uname, "uname");
  checkCredential(passwd, "passwd");
  if (passwd !== undefined && uname === undefined) {
    throw new TypeError("Cannot use passwd without uname [MQTT-3.1.2-22]");
  }
  return {
    keepalive,
    cleanSession,
    id,
    uname,
    passwd,
    will: parseWill(op.will),
    timeout,
    maxPacketSize,
    maxBuffered,
    reconnect: parseReconnect(op.reconnect),
    signal: op.signal,
    rejectUntrusted: typeof op.tls === "object" && op.tls.untrusted === "reject",
  };
}

function parseWill(will: ConnectOptions["will"]): WillFields | undefined {
  if (will === undefined) return undefined;
  if (typeof will !== "object" || will === null || will.topic === undefined) {
    throw new TypeError("Cannot use the will as it must have a topic");
  }
  checkName(will.topic, "the will's topic");
  const message = typeof will.message === "string" ? utf8.encode(will.message) : will.message;
  if (!(message instanceof Uint8Array)) {
    throw new TypeError("Cannot use the will as its message must be a string or Uint8Array");
  }
  if (message.length > 65_535) throw new RangeError("Cannot use the will as its message is over 65,535 bytes");
  checkQoS(will.qos, 2);
  return { topic: will.topic, message, qos: will.qos ?? 0, retain: will.retain ?? false };
}

function parseReconnect(reconnect: ConnectOptions["reconnect"]): Settings["reconnect"] {
  if (reconnect === undefined || reconnect === false) return undefined;
  const {
    minDelay = 1000,
    maxDelay = 30_000,
    stableAfter = 30_000,
    attempts = Infinity,
  } = reconnect === true ? {} : reconnect;
  checkRange("reconnect.minDelay", minDelay, 1, 2 ** 31 - 1);
  checkRange("reconnect.maxDelay", maxDelay, minDelay, 2 ** 31 - 1);
  checkRange("reconnect.stableAfter", stableAfter, 0, Number.MAX_SAFE_INTEGER);
  if (attempts !== Infinity) checkRange("reconnect.attempts", attempts, 1, Number.MAX_SAFE_INTEGER);
  return { minDelay, maxDelay, stableAfter, attempts };
}

/**
 * A credential's bytes: as given, or as the function says now.
 *
 * @throws {MqttError} `"cannotconnect"` if the function fails.
 */
export async function askCredential(credential: Credential | undefined, what: string): Promise<Uint8Array | undefined> {
  if (typeof credential !== "function") return typeof credential === "string" ? utf8.encode(credential) : credential;
  try {
    const value = await credential();
    checkCredential(value, `what ${what}() returned`, false);
    return typeof value === "string" ? utf8.encode(value) : value as Uint8Array;
  } catch (cause) {
    throw new MqttError("cannotconnect", `Cannot connect as ${what}() failed`, cause);
  }
}

function checkCredential(value: unknown, what: string, optional = true): void {
  if (optional && (value === undefined || typeof value === "function")) return;
  if (value instanceof Uint8Array) {
    if (value.length > 65_535) throw new RangeError(`Cannot use ${what} as it is over 65,535 bytes`);
  } else {
    checkString(value, what);
  }
}

/** @throws {RangeError} If a number option is no whole number within its range. */
export function checkRange(what: string, value: unknown, min: number, max: number): void {
  if (typeof value !== "number") {
    throw new TypeError(`Cannot use ${what} as it must be a number: received ${typeof value}`);
  }
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`Cannot use ${what} as it must be a whole number of ${min} to ${max}: received ${value}`);
  }
}

/** @throws {TypeError} If it is given and no function. */
export function checkFunction(value: unknown, what: string): void {
  if (value !== undefined && typeof value !== "function") {
    throw new TypeError(`Cannot use ${what} as it must be a function: received ${typeof value}`);
  }
}

/** @throws {RangeError} If it is no QoS, or one over `max`. */
export function checkQoS(qos: unknown, max: QoS): void {
  if (qos === undefined || (Number.isInteger(qos) && qos as number >= 0 && qos as number <= max)) return;
  throw new RangeError(
    qos === 1 || qos === 2
      ? `Cannot use QoS ${qos} as only QoS 0 is supported yet`
      : `Cannot use the QoS as it must be 0, 1 or 2: received ${qos}`,
  );
}

/** 23 characters that every broker accepts [MQTT-3.1.3-5]. */
function randomId(): string {
  const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  // 62 * 4 = 248: the bytes above would make some characters likelier than others.
  let id = "";
  while (id.length < 23) {
    for (const byte of crypto.getRandomValues(new Uint8Array(32))) {
      if (byte < 248 && id.length < 23) id += alphabet[byte % 62];
    }
  }
  return id;
}
