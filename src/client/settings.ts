/** From what the caller gave to what the client works with; whatever is wrong throws before any I/O.
 * @module */

import type {
  ConnectOptions,
  Credential,
  MessagesOptions,
  OnPublish,
  PublishOptions,
  SubscribeCallback,
  SubscribeOptions,
} from "../api.ts";
import { MqttError } from "../errors.ts";
import { type FilterRequest, MAX_REMAINING_LENGTH, type QoS, type WillFields } from "../protocol/packet.ts";
import type { SessionSettings } from "../session/settings.ts";
import { checkFilter, checkName, checkString } from "../protocol/topic.ts";
import type { Proxy } from "../transport/proxy.ts";
import type { Target, TlsOptions } from "../transport/tcp.ts";

const utf8 = new TextEncoder();

/** The longest field, in bytes. */
const MAX_BINARY = 65_535;
/** The longest host name, in bytes (RFC 1928, section 5). */
const MAX_HOST = 255;
/** The longest timer, in milliseconds. */
const MAX_TIMER = 2 ** 31 - 1;

/** What a client is made of, apart from its connections. */
export interface Settings extends SessionSettings {
  readonly uname: Credential | undefined;
  readonly passwd: Credential | undefined;
  readonly signal: AbortSignal | undefined;
}

type Url<P> = { protocol: P; host: string; port: number | undefined; uname: string; passwd: string };

/** Where `addr` and `op` say the broker is; and the user name and password of a URL, if it has some. */
export function parseTarget(
  addr: string,
  op: ConnectOptions,
): { target: Target; address: string; uname?: string; passwd?: string } {
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(addr);
  const url: Partial<Url<string>> = isUrl ? parseUrl(addr, "the broker's URL", ["mqtt", "mqtts"]) : {};
  const { host = addr, uname, passwd } = url;
  check(host !== "" && !/[\s/@\0]/.test(host), "addr", "a host name, an address, a URL or a connection");
  if (utf8.encode(host).length > MAX_HOST) {
    throw new RangeError(`Cannot use addr as a name has ${MAX_HOST} bytes at most`);
  }
  const { tls = url.protocol === "mqtts" } = op;
  check(tls !== false || url.protocol !== "mqtts", "tls", "on with mqtts:");
  const { port = url.port ?? (tls ? 8883 : 1883) } = op;
  checkRange("port", port, 1, 65_535);
  const proxy = op.proxy === undefined ? undefined : parseProxy(op.proxy);
  const target = { host, port, tls: tls === true ? {} : tls || undefined, proxy };
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  return { target, address, ...(uname && { uname }), ...(passwd && { passwd }) };
}

function parseProxy(text: string | URL): Proxy {
  const url = parseUrl(text, "the proxy's URL", ["socks5", "http"]);
  if (url.protocol === "socks5" && [url.uname, url.passwd].some((part) => utf8.encode(part).length > 255)) {
    throw new RangeError("Cannot use the proxy's user name and password as SOCKS5 allows 255 bytes");
  }
  return { ...url, port: url.port ?? (url.protocol === "http" ? 80 : 1080) };
}

/** A URL's parts. It may hold a password, so no error repeats it. */
function parseUrl<P extends string>(text: string | URL, what: string, protocols: readonly P[]): Url<P> {
  try {
    const url = new URL(text);
    const protocol = protocols.find((known) => url.protocol === `${known}:`);
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const [uname, passwd] = [url.username, url.password].map(decodeURIComponent) as [string, string];
    if (protocol && host) return { protocol, host, port: url.port ? Number(url.port) : undefined, uname, passwd };
  } catch {
    // What URL and decodeURIComponent throw repeats the text.
  }
  const forms = protocols.map((protocol) => `${protocol}://`).join(" or ");
  throw new TypeError(`Cannot use ${what} as it must be ${forms}[user:password@]host[:port]`);
}

/** The options, checked and completed; `login` is what a URL says. */
export function parseSettings(
  op: ConnectOptions,
  login: { uname?: string; passwd?: string; address?: string },
): Settings {
  check(isObject(op), "op", "an object");
  const { keepalive = 60, timeout = 10_000, maxPacketSize = 16 << 20, maxBuffered = 16 << 20 } = op;
  checkRange("keepalive", keepalive, 0, 65_535);
  checkRange("timeout", timeout, 1, MAX_TIMER);
  checkRange("maxPacketSize", maxPacketSize, 1, MAX_REMAINING_LENGTH + 5);
  checkRange("maxBuffered", maxBuffered, 1, Number.MAX_SAFE_INTEGER);
  const { cleanSession = true, id = randomId(), signal, uname = login.uname, passwd = login.passwd } = op;
  check(typeof cleanSession === "boolean", "cleanSession", "true or false");
  checkString(id, "the client identifier");
  check(id !== "" || cleanSession, "an empty client identifier", "with cleanSession [MQTT-3.1.3-7]");
  check(signal === undefined || signal instanceof AbortSignal, "signal", "an AbortSignal");
  checkFunction(op.trace, "trace");
  checkFunction(op.onstatus, "onstatus");
  if (typeof uname !== "function") toCredential(uname, "uname");
  if (typeof passwd !== "function") toCredential(passwd, "passwd");
  check(passwd === undefined || uname !== undefined, "passwd", "with uname [MQTT-3.1.2-22]");
  return {
    keepalive,
    cleanSession,
    maxPacketSize,
    maxBuffered,
    id,
    uname,
    passwd,
    will: parseWill(op.will),
    timeout,
    reconnect: parseReconnect(op.reconnect),
    signal,
    hasCredentials: uname !== undefined,
    rejectUntrusted: checkTls(op.tls),
    pingAfter: keepalive,
    address: login.address,
  };
}

/** Whether every server that is not trusted is refused. */
function checkTls(tls: boolean | TlsOptions = false): boolean {
  if (typeof tls === "boolean") return false;
  check(isObject(tls), "tls", "true, false or an object");
  const { ca = [], cert = "", key = "", servername = "", alpn = [], untrusted } = tls;
  check([ca].flat().every(isPem), "tls.ca", "PEM text or bytes, or a list of them");
  check([cert, key].every((pem) => pem === "" || isPem(pem)), "tls.cert and tls.key", "PEM text or bytes");
  check(typeof servername === "string", "tls.servername", "a string");
  const isList = Array.isArray(alpn) && alpn.every((name) => typeof name === "string");
  check(isList, "tls.alpn", "a list of strings");
  check(untrusted === undefined || untrusted === "reject", "tls.untrusted", '"reject"');
  return untrusted === "reject";
}

/** Runtimes differ in what they make of other text: no certificate at all, or an error of the handshake. */
function isPem(value: unknown): boolean {
  const text = value instanceof Uint8Array ? String.fromCharCode(...value.subarray(0, 65_536)) : value;
  return typeof text === "string" && text.includes("-----BEGIN ");
}

function parseWill(will: ConnectOptions["will"]): WillFields | undefined {
  if (will === undefined) return undefined;
  check(isObject(will), "will", "an object with a topic");
  const { topic, message, qos = 0, retain = false } = will;
  checkName(topic, "the will's topic");
  checkQoS(qos, 2);
  return { topic, message: toBytes(message, "the will's message"), qos, retain };
}

function parseReconnect(reconnect: ConnectOptions["reconnect"] = false): Settings["reconnect"] {
  if (reconnect === false) return undefined;
  check(reconnect === true || isObject(reconnect), "reconnect", "true, false or an object");
  const given = reconnect === true ? {} : reconnect;
  const { minDelay = 1000, maxDelay = 30_000, stableAfter = 30_000, attempts = Infinity } = given;
  checkRange("reconnect.minDelay", minDelay, 1, MAX_TIMER);
  checkRange("reconnect.maxDelay", maxDelay, minDelay, MAX_TIMER);
  checkRange("reconnect.stableAfter", stableAfter, 0, Number.MAX_SAFE_INTEGER);
  if (attempts !== Infinity) checkRange("reconnect.attempts", attempts, 1, Number.MAX_SAFE_INTEGER);
  return { minDelay, maxDelay, stableAfter, attempts };
}

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
function toCredential(value: unknown, what: string): Uint8Array | undefined {
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

function toBytes(value: unknown, what: string): Uint8Array {
  const bytes = typeof value === "string" ? utf8.encode(value) : value;
  check(bytes instanceof Uint8Array, what, "a string or Uint8Array");
  if (bytes.length > MAX_BINARY) throw new RangeError(`Cannot use ${what} as it is over ${MAX_BINARY} bytes`);
  return bytes;
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

/** @throws {TypeError} If it is not `right`; the value itself is not told, as it may be a secret. */
export function check(right: boolean, what: string, must: string): asserts right {
  if (!right) throw new TypeError(`Cannot use ${what} as it must be ${must}`);
}

/** @throws {TypeError | RangeError} If a number option is no whole number within its range. */
export function checkRange(what: string, value: unknown, min: number, max: number): void {
  check(typeof value === "number", what, "a number");
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`Cannot use ${what} as it must be a whole number of ${min} to ${max}: received ${value}`);
}

/** @throws {TypeError} If it is given and no function. */
export function checkFunction(value: unknown, what: string): void {
  check(value === undefined || typeof value === "function", what, "a function");
}

/** @throws {RangeError} If it is no QoS, or one over `max`. */
export function checkQoS(qos: unknown, max: QoS): void {
  const known = qos === undefined || qos === 0 || qos === 1 || qos === 2;
  if (known && (qos ?? 0) <= max) return;
  throw new RangeError(
    `Cannot use QoS ${qos} as ${known ? `only QoS ${max} is supported yet` : "it must be 0, 1 or 2"}`,
  );
}

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** 23 characters that every broker accepts [MQTT-3.1.3-5]: 32 bits choose among 62 with a bias of 10^-8. */
function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(23)), (word) => ALPHABET[word % 62]).join("");
}

/** Byte 1 of a PUBLISH, without its type. */
export function publishFlags(options: PublishOptions): number {
  checkQoS(options.qos, 0);
  return options.retain ? 1 : 0;
}

/** The topic filters, checked. */
export function listFilters(topic: string | readonly string[]): readonly string[] {
  const filters = typeof topic === "string" ? [topic] : topic;
  if (!Array.isArray(filters)) {
    throw new TypeError(`Cannot use the topic filter as it must be a string: received ${typeof topic}`);
  }
  if (filters.length === 0) throw new TypeError("Cannot subscribe to nothing [MQTT-3.8.3-3]");
  const list = [...filters]; // without the holes of a sparse one
  list.forEach(checkFilter);
  return list;
}

/** What subscribe() asks for, checked. */
export function checkSubscribe(
  topic: string | readonly string[],
  options: SubscribeOptions,
  callback?: SubscribeCallback,
): { filters: FilterRequest[]; onpub: OnPublish | undefined } {
  check(isObject(options), "the options", "an object");
  const { qos = 0, onpub } = options;
  const filters = listFilters(topic).map((topic) => ({ topic, qos }));
  checkFunction(callback, "the callback");
  checkFunction(onpub, "onpub");
  checkQoS(qos, 0);
  return { filters, onpub };
}

/** What unsubscribe() gives up, checked. */
export function checkUnsubscribe(topic: string | readonly string[], callback?: () => void): readonly string[] {
  const filters = listFilters(topic);
  checkFunction(callback, "the callback");
  return filters;
}

/** What messages() asks for, checked. */
export function checkMessages(topic: string, options: MessagesOptions): { qos: QoS; limit: number } {
  const { qos = 0, limit = 1000 } = options;
  checkFilter(topic);
  checkQoS(qos, 0);
  checkRange("limit", limit, 1, Number.MAX_SAFE_INTEGER);
  return { qos, limit };
}
