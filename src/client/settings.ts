/** From what the caller gave to what the client works with; whatever is wrong throws before any I/O.
 * @module */

import type { ConnectOptions } from "../options.ts";
import { isBytes, kindOf } from "../protocol/bytes.ts";
import {
  CONNECT,
  MAX_REMAINING_LENGTH,
  type Properties,
  type Version,
  WILL,
  type WillFields,
} from "../protocol/packet.ts";
import { checkGiven, encodeMessageProperties } from "../protocol/properties.ts";
import { checkName, checkString } from "../protocol/topic.ts";
import { isBun, isDeno } from "../runtime.ts";
import { versionUnsupported } from "../session/limits.ts";
import type { AuthSettings, SessionSettings } from "../session/settings.ts";
import { check, checkFunction, checkQoS, checkRange, isObject, isSignal, MAX_TIMER } from "./checks.ts";
import { toBytes } from "./credentials.ts";
import { checkNames, checkOptions } from "./options.ts";
import { type Located, makePlace, type Place } from "./places.ts";

/** The longest session, in seconds: what a number of four bytes holds. */
const MAX_SESSION = 2 ** 32 - 1;

/** Seconds of a session whose length is not given. */
const ONE_DAY = 86_400;

/** What a client is made of, apart from its connections. */
export interface Settings extends SessionSettings {
  readonly places: readonly Place[];
  readonly signal: AbortSignal | undefined;
}

/** The options, checked and completed; the broker is at one of the places. */
export function parseSettings(op: ConnectOptions, located: readonly Located[] = [{}]): Settings {
  checkOptions(op);
  const { keepalive = 60, timeout = 10_000, maxPacketSize = 16 << 20, maxBuffered = 16 << 20, receiveMaximum = 1000 } =
    op;
  const { maxInflight, sessionLost, offline = false } = op;
  checkRange("keepalive", keepalive, 0, 65_535);
  checkRange("timeout", timeout, 1, MAX_TIMER);
  checkRange("maxPacketSize", maxPacketSize, 1, MAX_REMAINING_LENGTH + 5);
  checkRange("maxBuffered", maxBuffered, 1, Number.MAX_SAFE_INTEGER);
  checkRange("receiveMaximum", receiveMaximum, 1, 65_535);
  if (maxInflight !== undefined) checkRange("maxInflight", maxInflight, 1, 65_535);
  const isKnown = sessionLost === undefined || sessionLost === "resend" || sessionLost === "reject";
  check(isKnown, "sessionLost", '"resend" or "reject"');
  const { id = randomId(), signal } = op;
  checkString(id, "the client identifier");
  check(signal === undefined || isSignal(signal), "signal", "an AbortSignal");
  checkStore(op);
  checkFunction(op.trace, "trace");
  checkFunction(op.onstatus, "onstatus");
  const reconnect = parseReconnect(op.reconnect);
  check(typeof offline === "boolean", "offline", "true or false");
  check(
    !offline || reconnect !== undefined,
    "offline",
    "given with reconnect, by which the client gets its connection",
  );
  const { version: wanted = 4, topicAliases = 0, checkFormat = false } = op;
  check(wanted === 4 || wanted === 5 || wanted === "auto", "version", '4, which is MQTT 3.1.1, 5, or "auto"');
  const version = wanted === 4 ? 4 : 5;
  checkRange("topicAliases", topicAliases, 0, 65_535);
  check(typeof checkFormat === "boolean", "checkFormat", "true or false");
  if (topicAliases > 0 && version === 4) throw versionUnsupported("topicAliases");
  if (checkFormat && version === 4) throw versionUnsupported("checkFormat");
  return {
    version,
    fallsBack: wanted === "auto",
    keepalive,
    ...parseSession(op),
    maxPacketSize,
    maxBuffered,
    maxUnsettled: maxBuffered,
    receiveMaximum,
    maxInflight: maxInflight ?? MAX_INFLIGHT,
    maxInflightQoS2: maxInflight ?? MAX_INFLIGHT_QOS2[wanted === 5 ? 5 : 4],
    topicAliases,
    checksFormat: checkFormat,
    properties: parseProperties(op.properties, version),
    auth: parseAuth(op.auth, version),
    sessionLost,
    id,
    places: located.map((each) => makePlace(op, each)),
    will: parseWill(op.will, version),
    timeout,
    reconnect,
    asksPolicy: typeof op.reconnect === "function",
    offline,
    signal,
    rejectUntrusted: checkTls(op.tls),
    pingPart: 1,
  };
}

/** Whether the session is a clean one, and how long it is kept; how long the broker keeps another is its own to decide in MQTT 3.1.1. */
function parseSession({ session = false, id }: ConnectOptions): Pick<Settings, "cleanSession" | "sessionExpiry"> {
  if (typeof session === "number") checkRange("session", session, 1, MAX_SESSION);
  else check(typeof session === "boolean", "session", "true, false or a number of seconds");
  check(session === false || !!id, "session", "given with an id, by which the broker knows it again [MQTT-3.1.3-7]");
  return { cleanSession: session === false, sessionExpiry: session === true ? ONE_DAY : Number(session) };
}

/** A store keeps a session. */
function checkStore({ store, session = false }: ConnectOptions): void {
  if (store === undefined) return;
  const methods = ["open", "append", "flush", "replace", "close"] as const;
  const isStore = isObject(store) && methods.every((name) => typeof store[name] === "function");
  check(
    isStore,
    "store",
    `fileStore(path), in a page indexedDBStore(name), or an object with ${methods.join(", ")}: received ${
      kindOf(store)
    }`,
  );
  check(session !== false, "store", "given with session: it keeps the session that the broker keeps, too");
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
  check(!isDeno, "tls.ciphers", "left out on Deno, which cannot choose them");
  const ignored = isBun && /(^|[:, ])TLS_/.test(ciphers);
  check(!ignored, "tls.ciphers", "left out, or have names of TLS 1.2 only: Bun cannot choose those of TLS 1.3");
}

/** What CONNECT says besides. */
function parseProperties(properties: ConnectOptions["properties"], version: Version): Properties | undefined {
  if (properties === undefined) return undefined;
  check(isObject(properties), "properties", "an object");
  checkNames("connectProperties", properties);
  if (version === 4) throw versionUnsupported("properties");
  const { user, requestResponse, requestProblem } = properties;
  const bit = (value: boolean | undefined, what: string): 0 | 1 | undefined => {
    check(value === undefined || typeof value === "boolean", what, "true or false");
    return value === undefined ? undefined : value ? 1 : 0;
  };
  const given = {
    user,
    requestResponse: bit(requestResponse, "properties.requestResponse"),
    requestProblem: bit(requestProblem, "properties.requestProblem"),
  };
  checkGiven(CONNECT, given, "properties.");
  return given;
}

/** Without what stays with the program. */
function parseAuth(auth: ConnectOptions["auth"], version: Version): AuthSettings | undefined {
  if (auth === undefined) return undefined;
  check(isObject(auth), "auth", "an object with a method and a function answer()");
  checkNames("auth", auth);
  const { method, data } = auth;
  checkString(method, "auth.method");
  check(data === undefined || isBytes(data), "auth.data", "a Uint8Array");
  check(typeof auth.answer === "function", "auth.answer", "a function");
  if (version === 4) throw versionUnsupported("auth");
  return { method, data };
}

function parseWill(will: ConnectOptions["will"], version: Version): WillFields | undefined {
  if (will === undefined) return undefined;
  check(isObject(will), "will", "an object with a topic and a message");
  checkNames("will", will);
  const { topic, message, qos = 0, retain = false, delay, expiry, properties = {} } = will;
  checkName(topic, "the will's topic");
  checkQoS(qos);
  check(typeof retain === "boolean", "will.retain", "true or false");
  const fields = { topic, message: toBytes(message, "the will's message"), qos, retain };
  if (delay !== undefined) checkRange("will.delay", delay, 0, MAX_SESSION);
  if (expiry !== undefined) checkRange("will.expiry", expiry, 1, MAX_SESSION);
  encodeMessageProperties(properties, {}, WILL); // it says what is wrong
  const isPlain = delay === undefined && expiry === undefined && will.properties === undefined;
  if (!isPlain && version === 4) throw versionUnsupported("will.delay, will.expiry or will.properties");
  return isPlain ? fields : { ...fields, properties: { ...properties, willDelay: delay, expiry } };
}

function parseReconnect(reconnect: ConnectOptions["reconnect"] = false): Settings["reconnect"] {
  if (reconnect === false) return undefined;
  const isPolicy = typeof reconnect === "function";
  check(reconnect === true || isPolicy || isObject(reconnect), "reconnect", "true, false, an object or a function");
  const given = reconnect === true || isPolicy ? {} : reconnect;
  checkNames("reconnect", given);
  const { minDelay = 1000, maxDelay = 30_000, stableAfter = 30_000, attempts = Infinity } = given;
  checkRange("reconnect.minDelay", minDelay, 1, MAX_TIMER);
  checkRange("reconnect.maxDelay", maxDelay, minDelay, MAX_TIMER);
  checkRange("reconnect.stableAfter", stableAfter, 0, Number.MAX_SAFE_INTEGER);
  if (attempts !== Infinity) checkRange("reconnect.attempts", attempts, 1, Number.MAX_SAFE_INTEGER);
  return { minDelay, maxDelay, stableAfter, attempts };
}

/**
 * mosquitto 2.0.11 at its defaults loses messages of QoS 2 when more than 20 are under way; while 20 are, it answers QoS 1
 * with PUBACK and drops it.
 */
const MAX_INFLIGHT = 100, MAX_INFLIGHT_QOS2 = { 4: 19, 5: MAX_INFLIGHT }; // version 5 has the broker's Receive Maximum

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** 23 characters that every broker accepts [MQTT-3.1.3-5]: 32 bits choose among 62 with a bias of 10^-8. */
function randomId(): string {
  let id = "";
  for (const word of crypto.getRandomValues(new Uint32Array(23))) id += ALPHABET[word % 62];
  return id;
}
