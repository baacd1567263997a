/** From what the caller gave to what the client works with; whatever is wrong throws before any I/O.
 * @module */

import type {
  ConnectOptions,
  Credential,
  MessagesOptions,
  PublishOptions,
  SubscribeCallback,
  SubscribeOptions,
} from "../api.ts";
import { MqttError } from "../errors.ts";
import { isBytes, kindOf } from "../protocol/bytes.ts";
import { type FilterRequest, MAX_REMAINING_LENGTH, type QoS, type WillFields } from "../protocol/packet.ts";
import { checkFilter, checkName, checkString } from "../protocol/topic.ts";
import type { SessionSettings } from "../session/settings.ts";
import type { Proxy } from "../transport/proxy.ts";
import type { Target } from "../transport/tcp.ts";
import { checkNames } from "./options.ts";

const utf8 = new TextEncoder();

/** The longest field, in bytes. */
const MAX_BINARY = 65_535;
/** The longest host name, in bytes (RFC 1928, section 5). */
const MAX_HOST = 255;
/** The longest timer, in milliseconds. */
const MAX_TIMER = 2 ** 31 - 1;
/** The longest session, in seconds: what a number of four bytes holds. */
const MAX_SESSION = 2 ** 32 - 1;

/** What a client is made of, apart from its connections. */
export interface Settings extends SessionSettings {
  readonly uname: Credential | undefined;
  readonly passwd: Credential | undefined;
  readonly signal: AbortSignal | undefined;
}

/** What a URL says; user name and password are "" if it has none. */
interface UrlParts<S> {
  scheme: S;
  host: string;
  port: number | undefined;
  uname: string;
  passwd: string;
}

/** The schemes of a broker's URL, and whether they mean TLS. */
const SCHEMES = { mqtt: false, mqtts: true, tcp: false, ssl: true, tls: true };
type Scheme = keyof typeof SCHEMES;

/** What addresses may be called, and is not supported yet. */
const UNSUPPORTED = /^(wss?|(mqtt\+)?unix):/i;

/** What `addr` may be. */
export const ADDRESSES = "host, host:port, [IPv6]:port, a URL (mqtt:, mqtts:, tcp:, ssl:, tls:) or a connection";
/** How a password with `#`, `/`, `?`, `@` or `%` gets into a URL. */
const ENCODE = "percent-encode # / ? @ and % in the user name and the password (%23 %2F %3F %40 %25)";

/** Where `addr` and `op` say the broker is; and the user name and password of a URL, if it has some. */
export function parseTarget(
  addr: string | URL,
  op: ConnectOptions,
): { target: Target; address: string; uname?: string; passwd?: string } {
  checkOptions(op);
  const { scheme, host, port: ownPort, uname, passwd } = parseAddress(addr);
  const secure = scheme !== undefined && SCHEMES[scheme];
  const { tls = secure } = op;
  check(tls !== false || !secure, "tls", `on with ${scheme}:`);
  const { port = ownPort ?? (tls ? 8883 : 1883) } = op;
  checkRange("port", port, 1, 65_535);
  const proxy = op.proxy === undefined ? undefined : parseProxy(op.proxy);
  const target = { host, port, tls: tls === true ? {} : tls || undefined, proxy };
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  return { target, address, ...(uname && { uname }), ...(passwd && { passwd }) };
}

/** Whether it says where the broker is, rather than being a connection to it. */
export function isAddress(addr: unknown): addr is string | URL {
  return typeof addr === "string" || isUrl(addr);
}

/** Whether it is a URL object, of whatever realm. */
export function isUrl(value: unknown): value is URL {
  return value instanceof URL || Object.prototype.toString.call(value) === "[object URL]";
}

function parseAddress(addr: string | URL): Partial<UrlParts<Scheme>> & { host: string } {
  if (isUrl(addr) || /^[a-z][a-z0-9+.-]*:\/\//i.test(addr)) {
    return parseUrl(addr, "the broker's URL", Object.keys(SCHEMES) as Scheme[]);
  }
  if (isIPv6(addr)) return { host: addr };
  const [, inBrackets, name, digits] = /^(?:\[(.*)\]|([^:]*))(?::(\d+))?$/s.exec(addr) ?? [];
  const port = digits === undefined ? undefined : Number(digits);
  if (inBrackets !== undefined && isIPv6(inBrackets)) return { host: inBrackets, port };
  check(!addr.includes("@"), "addr", `a URL to have a user name and a password, mqtt://user:password@host; ${ENCODE}`);
  check(!!name && isHostName(name), "addr", ADDRESSES);
  return { host: toAscii(name!, "addr"), port };
}

function isIPv6(text: string): boolean {
  const [, address = "", zone] = /^([\da-f:.]+)(?:%(.*))?$/is.exec(text) ?? [];
  return address.includes(":") && URL.canParse(`http://[${address}]`) && (zone === undefined || isHostName(zone));
}

/** Whether it has nothing in it that separates the parts of a URL, nor a space. */
function isHostName(text: string): boolean {
  return text !== "" && !/[\s\p{Cc}/@\\?#%<>^|[\]:]/u.test(text);
}

/** The name as the DNS has it: letters beyond ASCII become Punycode (UTS #46), as in every URL. */
function toAscii(name: string, what: string): string {
  let ascii = name;
  if (!/^[!-~]*$/.test(name)) {
    check(URL.canParse(`http://${name}`), what, "an address with a valid host name");
    ascii = new URL(`http://${name}`).hostname;
  }
  if (ascii.length > MAX_HOST) {
    throw new RangeError(`Cannot use ${what} as the host name has ${MAX_HOST} bytes at most`);
  }
  return ascii;
}

function parseProxy(text: string | URL): Proxy {
  const what = "the proxy's URL";
  check(
    typeof text === "string" || isUrl(text),
    "proxy",
    `socks5://host:port or http://host:port: received ${kindOf(text)}`,
  );
  const { scheme, ...url } = parseUrl(text, what, ["socks5", "socks5h", "http"]);
  const protocol = scheme === "http" ? "http" : "socks5"; // either way the proxy resolves the name
  if (protocol === "socks5" && [url.uname, url.passwd].some((part) => utf8.encode(part).length > 255)) {
    throw new RangeError("Cannot use the proxy's user name and password as SOCKS5 allows 255 bytes");
  }
  const { port = protocol === "http" ? 80 : 1080 } = url;
  checkRange("the proxy's port", port, 1, 65_535);
  return { ...url, protocol, port };
}

/**
 * A URL's parts. It may hold a password, so no error repeats it: what `new URL` and
 * `decodeURIComponent` throw would.
 */
function parseUrl<S extends string>(text: string | URL, what: string, schemes: readonly S[]): UrlParts<S> {
  const refuse = (must: string): never => {
    throw new TypeError(`Cannot use ${what} as it must be ${must}`);
  };
  const form = `${schemes.map((scheme) => `${scheme}://`).join(" or ")}, then [user:password@]host[:port]`;
  const written = String(text);
  const scheme = schemes.find((known) => written.slice(0, known.length + 1).toLowerCase() === `${known}:`);
  if (UNSUPPORTED.test(written)) return refuse(`${form}: WebSocket and Unix sockets are not supported yet`);
  if (scheme === undefined) return refuse(form);
  // A URL loses them in silence.
  if (/[\t\n\r]/.test(written)) return refuse("without tabs and line breaks");
  if (!URL.canParse(written)) return refuse(written.includes("@") ? `${form}; ${ENCODE}` : form);
  const { hostname, port, username, password, pathname, search, hash } = new URL(written);
  const rest = pathname + search + hash;
  // A password with one of # / ? ends the host early: nothing may be sent there, nor told of it.
  if (rest.includes("@")) return refuse(`without an @ behind the host: ${ENCODE}`);
  if (rest !== "" && rest !== "/") return refuse(`without a path, query or fragment: ${form}`);
  const [uname, passwd, name] = [username, password, hostname].map(decode);
  if (uname === undefined || passwd === undefined) return refuse(`one whose % start two digits: ${ENCODE}`);
  const address = hostname.replace(/^\[|\]$/g, "");
  if (address === "") return refuse(form);
  const host = isIPv6(address) ? address : name !== undefined && isHostName(name) ? toAscii(name, what) : refuse(form);
  return { scheme, host, port: port === "" ? undefined : Number(port), uname, passwd };
}

/** Percent-decoded; undefined if it is not well encoded. */
function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** The options, checked and completed; `login` is what a URL says. */
export function parseSettings(
  op: ConnectOptions,
  login: { uname?: string; passwd?: string; address?: string },
): Settings {
  checkOptions(op);
  const { keepalive = 60, timeout = 10_000, maxPacketSize = 16 << 20, maxBuffered = 16 << 20 } = op;
  checkRange("keepalive", keepalive, 0, 65_535);
  checkRange("timeout", timeout, 1, MAX_TIMER);
  checkRange("maxPacketSize", maxPacketSize, 1, MAX_REMAINING_LENGTH + 5);
  checkRange("maxBuffered", maxBuffered, 1, Number.MAX_SAFE_INTEGER);
  const { id = randomId(), signal, uname = login.uname, passwd = login.passwd } = op;
  checkString(id, "the client identifier");
  check(signal === undefined || isSignal(signal), "signal", "an AbortSignal");
  checkFunction(op.trace, "trace");
  checkFunction(op.onstatus, "onstatus");
  if (typeof uname !== "function") toCredential(uname, "uname");
  if (typeof passwd !== "function") toCredential(passwd, "passwd");
  check(passwd === undefined || uname !== undefined, "passwd", "with uname [MQTT-3.1.2-22]");
  return {
    keepalive,
    cleanSession: parseSession(op),
    maxPacketSize,
    maxBuffered,
    id,
    uname,
    passwd,
    will: parseWill(op.will),
    timeout,
    reconnect: parseReconnect(op.reconnect),
    signal,
    credentials: uname === undefined ? "none" : passwd === undefined ? "uname" : "both",
    rejectUntrusted: checkTls(op.tls),
    pingAfter: keepalive,
    address: login.address,
  };
}

/** Whether it is an AbortSignal, of whatever realm. */
function isSignal(value: unknown): value is AbortSignal {
  return value instanceof AbortSignal || Object.prototype.toString.call(value) === "[object AbortSignal]";
}

/** Whether the session is a clean one; how long the broker keeps another is its own to decide in MQTT 3.1.1. */
function parseSession({ session = false, id }: ConnectOptions): boolean {
  if (typeof session === "number") checkRange("session", session, 1, MAX_SESSION);
  else check(typeof session === "boolean", "session", "true, false or a number of seconds");
  check(session === false || !!id, "session", "given with an id, by which the broker knows it again [MQTT-3.1.3-7]");
  return session === false;
}

/** Whether every server that is not trusted is refused. */
function checkTls(tls: ConnectOptions["tls"] = false): boolean {
  if (typeof tls === "boolean") return false;
  check(isObject(tls), "tls", "true, false or an object");
  checkNames("tls", tls);
  const { ca, cert, key, pfx, passphrase, servername = "", alpn = [], minVersion, ciphers, untrusted } = tls;
  if (ca !== undefined) {
    const list = Array.isArray(ca) ? ca : [ca];
    check(list.length > 0, "tls.ca", "left out, or have a certificate: an empty list trusts nobody");
    list.forEach((pem) => checkPem(pem, "tls.ca"));
  }
  if (cert !== undefined) checkPem(cert, "tls.cert");
  if (key !== undefined) checkPem(key, "tls.key");
  check(
    cert === undefined || key !== undefined,
    "tls.cert",
    "given with tls.key: a certificate proves nothing without",
  );
  check(key === undefined || cert !== undefined, "tls.key", "given with tls.cert, the certificate of that key");
  check(pfx === undefined || isBytes(pfx), "tls.pfx", `the bytes of a PKCS#12 file: received ${kindOf(pfx)}`);
  check(pfx === undefined || key === undefined, "tls.pfx", "given without tls.cert and tls.key: it holds both");
  check(passphrase === undefined || typeof passphrase === "string", "tls.passphrase", "a string");
  const isLocked = key !== undefined || pfx !== undefined;
  check(passphrase === undefined || isLocked, "tls.passphrase", "given with what it opens, tls.key or tls.pfx");
  check(typeof servername === "string", "tls.servername", "a string");
  const isList = Array.isArray(alpn) && alpn.every((name) => typeof name === "string");
  check(isList, "tls.alpn", "a list of strings");
  const known = minVersion === undefined || minVersion === "TLSv1.2" || minVersion === "TLSv1.3";
  check(known, "tls.minVersion", '"TLSv1.2" or "TLSv1.3"');
  if (ciphers !== undefined) checkCiphers(ciphers);
  check(untrusted === undefined || untrusted === "reject", "tls.untrusted", '"reject"');
  return untrusted === "reject";
}

/** Runtimes differ in what they make of other text: no certificate at all, or an error of the handshake. */
function checkPem(value: unknown, what: string): void {
  const text = isBytes(value) ? new TextDecoder().decode(value) : value;
  const received = isBytes(value) ? "bytes without it" : typeof text === "string" ? "text without it" : kindOf(text);
  const isPem = typeof text === "string" && text.includes("-----BEGIN ");
  check(isPem, what, `PEM text or bytes ("-----BEGIN ..."), not a path: read the file; received ${received}`);
}

/** What a runtime passes over in silence is refused: all cipher suites on Deno, those of TLS 1.3 on Bun. */
function checkCiphers(ciphers: unknown): void {
  check(typeof ciphers === "string" && ciphers !== "", "tls.ciphers", "a string: names with : between them");
  check(!("Deno" in globalThis), "tls.ciphers", "left out on Deno, which cannot choose them");
  const ignored = "Bun" in globalThis && /(^|[:, ])TLS_/.test(ciphers);
  check(!ignored, "tls.ciphers", "left out, or have names of TLS 1.2 only: Bun cannot choose those of TLS 1.3");
}

function parseWill(will: ConnectOptions["will"]): WillFields | undefined {
  if (will === undefined) return undefined;
  check(isObject(will), "will", "an object with a topic and a message");
  checkNames("will", will);
  const { topic, message, qos = 0, retain = false } = will;
  checkName(topic, "the will's topic");
  checkQoS(qos, 2);
  check(typeof retain === "boolean", "will.retain", "true or false");
  return { topic, message: toBytes(message, "the will's message"), qos, retain };
}

function parseReconnect(reconnect: ConnectOptions["reconnect"] = false): Settings["reconnect"] {
  if (reconnect === false) return undefined;
  check(reconnect === true || isObject(reconnect), "reconnect", "true, false or an object");
  const given = reconnect === true ? {} : reconnect;
  checkNames("reconnect", given);
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
  check(isBytes(bytes), what, `a string or Uint8Array: received ${kindOf(value)}`);
  if (bytes.length > MAX_BINARY) throw new RangeError(`Cannot use ${what} as it is over ${MAX_BINARY} bytes`);
  return bytes;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function checkOptions(op: ConnectOptions): void {
  checkObject(op, "op");
  checkNames("connect", op);
}

/** @throws {TypeError} If options are no object; null is none. */
function checkObject(options: unknown, what: string): asserts options is object {
  if (options === null) throw new TypeError(`Cannot use ${what} as null: leave it out`);
  check(isObject(options), what, `an object: received ${kindOf(options)}`);
}

/** @throws {TypeError} If it is not `right`; the value itself is not told, as it may be a secret. */
export function check(right: boolean, what: string, must: string): asserts right {
  if (!right) throw new TypeError(`Cannot use ${what} as it must be ${must}`);
}

/** @throws {TypeError | RangeError} If a number option is no whole number within its range. */
export function checkRange(what: string, value: unknown, min: number, max: number): void {
  check(typeof value === "number", what, `a number: received ${kindOf(value)}`);
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`Cannot use ${what} as it must be a whole number of ${min} to ${max}: received ${value}`);
}

/** @throws {TypeError} If it is given and no function. */
export function checkFunction(value: unknown, what: string): void {
  check(value === undefined || typeof value === "function", what, "a function");
}

/** @throws {TypeError} If connect's second argument is given and no function. */
export function checkOnpub(onpub: unknown): void {
  const advice = isObject(onpub) ? "the options are the third argument" : `received ${kindOf(onpub)}`;
  check(onpub !== null, "onpub", "left out, or undefined, rather than null");
  check(onpub === undefined || typeof onpub === "function", "onpub", `a function: ${advice}`);
}

/** @throws {TypeError} If subscribe's callback for the return code is no function, or a handler of messages. */
export function checkCallback(callback: unknown): void {
  checkFunction(callback, "the callback");
  const isHandler = typeof callback === "function" && callback.length > 1;
  check(!isHandler, "the callback", "one for the return code, (code) => ...; give a handler of messages as { onpub }");
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

/** Byte 1 of a PUBLISH, without its type. What is right is found out first, in 10 ns. */
export function publishFlags(options: PublishOptions): number {
  if (!isObject(options)) return refuseFlags(options);
  for (const name in options) if (name !== "qos" && name !== "retain") checkNames("publish", options);
  const { qos, retain } = options;
  if (qos !== undefined && qos !== 0 || retain !== undefined && typeof retain !== "boolean") {
    return refuseFlags(options);
  }
  return retain ? 1 : 0;
}

/** @throws {TypeError | RangeError} What is wrong with the options of a publish. */
function refuseFlags(options: PublishOptions): never {
  check(typeof options !== "function", "the options", "an object: publish() returns a promise, and calls nothing back");
  checkObject(options, "the options");
  checkNames("publish", options);
  checkQoS(options.qos, 0);
  throw new TypeError("Cannot use retain as it must be true or false");
}

/** The options of subscribe, checked. */
export function parseSubscribe(options: SubscribeOptions): { qos: QoS; onpub: SubscribeOptions["onpub"] } {
  check(typeof options !== "function", "the options", "an object: give a handler of messages as { onpub }");
  checkObject(options, "the options");
  checkNames("subscribe", options);
  const { qos = 0, onpub } = options;
  checkQoS(qos, 0);
  checkFunction(onpub, "onpub");
  return { qos, onpub };
}

/** The options of messages, checked. */
export function parseMessages(options: MessagesOptions): { qos: QoS; limit: number } {
  checkObject(options, "the options");
  checkNames("messages", options);
  const { qos = 0, limit = 1000 } = options;
  checkQoS(qos, 0);
  checkRange("limit", limit, 1, Number.MAX_SAFE_INTEGER);
  return { qos, limit };
}

/** The topic filters, checked. */
export function listFilters(topic: string | readonly string[]): readonly string[] {
  const filters = typeof topic === "string" ? [topic] : topic;
  if (!Array.isArray(filters)) {
    throw new TypeError(`Cannot use the topic filter as it must be a string: received ${kindOf(topic)}`);
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
): { filters: FilterRequest[]; onpub: SubscribeOptions["onpub"] } {
  const { qos, onpub } = parseSubscribe(options);
  checkCallback(callback);
  return { filters: listFilters(topic).map((topic) => ({ topic, qos })), onpub };
}

/** What unsubscribe() gives up, checked. */
export function checkUnsubscribe(topic: string | readonly string[], callback?: () => void): readonly string[] {
  const filters = listFilters(topic);
  checkFunction(callback, "the callback");
  return filters;
}

/** What messages() asks for, checked. */
export function checkMessages(topic: string, options: MessagesOptions): { qos: QoS; limit: number } {
  checkFilter(topic);
  return parseMessages(options);
}
