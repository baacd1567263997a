/** From what the caller gave to what the client works with; whatever is wrong throws before any I/O.
 * @module */

import type { ConnectOptions, Credential, ReconnectOptions } from "./api.ts";
import { MqttError } from "./errors.ts";
import { MAX_REMAINING_LENGTH, type QoS, type WillFields } from "./protocol/packet.ts";
import type { SessionSettings } from "./protocol/session.ts";
import { checkName, checkString } from "./protocol/topic.ts";
import type { Proxy } from "./transport/proxy.ts";
import type { Target, TlsOptions } from "./transport/tcp.ts";

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
  check(host !== "" && !/[\s/@\0]/.test(host), "addr", "a host name, an address, a URL or a connection");
  const tls = op.tls === undefined ? url?.protocol === "mqtts" : op.tls !== false;
  const port = op.port ?? url?.port ?? (tls ? 8883 : 1883);
  checkRange("port", port, 1, 65_535);
  const target = {
    host,
    port,
    tls: tls ? (typeof op.tls === "object" ? op.tls : {}) : undefined,
    proxy: op.proxy === undefined ? undefined : parseProxy(op.proxy),
  };
  return { target, ...(url?.uname && { uname: url.uname }), ...(url?.passwd && { passwd: url.passwd }) };
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
    const port = url.port === "" ? undefined : Number(url.port);
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const [uname, passwd] = [url.username, url.password].map(decodeURIComponent) as [string, string];
    if (protocol !== undefined && host !== "") return { protocol, host, port, uname, passwd };
  } catch {
    // What URL and decodeURIComponent throw repeats the text.
  }
  const forms = protocols.map((protocol) => `${protocol}://`).join(" or ");
  throw new TypeError(`Cannot use ${what} as it must be ${forms}[user:password@]host[:port]`);
}

/** The options, checked and completed. */
export function parseSettings(op: ConnectOptions, fromUrl: { uname?: string; passwd?: string }): Settings {
  check(typeof op === "object" && op !== null, "op", "an object");
  const { keepalive = 60, cleanSession = true, id = randomId(), timeout = 10_000, signal } = op;
  const { maxPacketSize = 16 << 20, maxBuffered = 16 << 20 } = op;
  const { uname = fromUrl.uname, passwd = fromUrl.passwd } = op;
  checkRange("keepalive", keepalive, 0, 65_535);
  checkRange("timeout", timeout, 1, 2 ** 31 - 1);
  checkRange("maxPacketSize", maxPacketSize, 1, MAX_REMAINING_LENGTH + 5);
  checkRange("maxBuffered", maxBuffered, 1, Number.MAX_SAFE_INTEGER);
  check(typeof cleanSession === "boolean", "cleanSession", "true or false");
  check(signal === undefined || signal instanceof AbortSignal, "signal", "an AbortSignal");
  checkFunction(op.trace, "trace");
  checkString(id, "the client identifier");
  check(id !== "" || cleanSession, "an empty client identifier", "with cleanSession [MQTT-3.1.3-7]");
  checkCredential(uname, "uname");
  checkCredential(passwd, "passwd");
  check(passwd === undefined || uname !== undefined, "passwd", "with uname [MQTT-3.1.2-22]");
  const { will, reconnect } = { will: parseWill(op.will), reconnect: parseReconnect(op.reconnect) };
  const rejectUntrusted = checkTls(op.tls);
  const session = { keepalive, cleanSession, maxPacketSize, maxBuffered };
  return { ...session, id, uname, passwd, will, timeout, reconnect, signal, rejectUntrusted };
}

/** Whether every server that is not trusted is refused. */
function checkTls(tls: boolean | TlsOptions | undefined): boolean {
  if (typeof tls === "boolean" || tls === undefined) return false;
  check(typeof tls === "object" && tls !== null, "tls", "true, false or an object");
  const { ca, cert, key, servername, alpn, untrusted } = tls;
  const pem = (value: unknown) => typeof value === "string" || value instanceof Uint8Array;
  const lists = (value: unknown, each: (item: unknown) => boolean) => Array.isArray(value) && value.every(each);
  check(ca === undefined || pem(ca) || lists(ca, pem), "tls.ca", "PEM text or bytes, or a list of them");
  check(
    (cert === undefined || pem(cert)) && (key === undefined || pem(key)),
    "tls.cert and tls.key",
    "PEM text or bytes",
  );
  check(servername === undefined || typeof servername === "string", "tls.servername", "a string");
  check(alpn === undefined || lists(alpn, (name) => typeof name === "string"), "tls.alpn", "a list of strings");
  check(untrusted === undefined || untrusted === "reject", "tls.untrusted", '"reject"');
  return untrusted === "reject";
}

function parseWill(will: ConnectOptions["will"]): WillFields | undefined {
  if (will === undefined) return undefined;
  check(typeof will === "object" && will?.topic !== undefined, "will", "an object with a topic");
  checkName(will.topic, "the will's topic");
  const message = typeof will.message === "string" ? utf8.encode(will.message) : will.message;
  check(message instanceof Uint8Array, "the will's message", "a string or Uint8Array");
  if (message.length > 65_535) throw new RangeError("Cannot use the will as its message is over 65,535 bytes");
  checkQoS(will.qos, 2);
  return { topic: will.topic, message, qos: will.qos ?? 0, retain: will.retain ?? false };
}

function parseReconnect(reconnect: ConnectOptions["reconnect"]): Settings["reconnect"] {
  if (reconnect === undefined || reconnect === false) return undefined;
  check(
    reconnect === true || typeof reconnect === "object" && reconnect !== null,
    "reconnect",
    "true, false or an object",
  );
  const given = reconnect === true ? {} : reconnect;
  const { minDelay = 1000, maxDelay = 30_000, stableAfter = 30_000, attempts = Infinity } = given;
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
  if (typeof credential !== "function") return toBytes(credential);
  try {
    return answered(await credential(), what);
  } catch (cause) {
    throw unanswered(what, cause);
  }
}

/** The same where nothing can be awaited. */
export function askCredentialNow(credential: Credential | undefined, what: string): Uint8Array | undefined {
  if (typeof credential !== "function") return toBytes(credential);
  try {
    return answered(credential(), what);
  } catch (cause) {
    throw unanswered(what, cause);
  }
}

function answered(value: unknown, what: string): Uint8Array | undefined {
  checkCredential(value, `what ${what}() returned`, false);
  return toBytes(value as string | Uint8Array);
}

function unanswered(what: string, cause: unknown): MqttError {
  return new MqttError("cannotconnect", `Cannot connect as ${what}() failed`, cause);
}

function toBytes(value: string | Uint8Array | undefined): Uint8Array | undefined {
  return typeof value === "string" ? utf8.encode(value) : value;
}

function checkCredential(value: unknown, what: string, optional = true): void {
  if (optional && (value === undefined || typeof value === "function")) return;
  if (!(value instanceof Uint8Array)) checkString(value, what);
  else if (value.length > 65_535) throw new RangeError(`Cannot use ${what} as it is over 65,535 bytes`);
}

/** @throws {TypeError} If it is not `right`; the value itself is not told, as it may be a secret. */
export function check(right: boolean, what: string, must: string): asserts right {
  if (!right) throw new TypeError(`Cannot use ${what} as it must be ${must}`);
}

/** @throws {TypeError | RangeError} If a number option is no whole number within its range. */
export function checkRange(what: string, value: unknown, min: number, max: number): void {
  check(typeof value === "number", what, "a number");
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`Cannot use ${what} as it must be a whole number of ${min} to ${max}: received ${value}`);
  }
}

/** @throws {TypeError} If it is given and no function. */
export function checkFunction(value: unknown, what: string): void {
  check(value === undefined || typeof value === "function", what, "a function");
}

/** @throws {RangeError} If it is no QoS, or one over `max`. */
export function checkQoS(qos: unknown, max: QoS): void {
  if (qos === undefined || qos === 0 || qos === 1 && max > 0 || qos === 2 && max > 1) return;
  const known = qos === 1 || qos === 2;
  throw new RangeError(
    `Cannot use the QoS ${known ? "as only QoS 0 is supported yet" : "as it must be 0, 1 or 2"}: received ${qos}`,
  );
}

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** 23 characters that every broker accepts [MQTT-3.1.3-5]: 32 bits choose among 62 with a bias of 10^-8. */
function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(23)), (word) => ALPHABET[word % 62]).join("");
}
