/** Where the broker is: addresses, URLs, and those of a proxy.
 * @module */

import type { ConnectOptions } from "../options.ts";
import { kindOf, utf8 } from "../protocol/bytes.ts";
import type { Proxy } from "../transport/proxy.ts";
import type { Target } from "../transport/tcp.ts";
import type { WebSocketTarget } from "../transport/websocket_handshake.ts";
import { check, checkRange } from "./checks.ts";
import { parseHeaders } from "./headers.ts";
import { checkOptions } from "./options.ts";

/** The longest host name, in bytes (RFC 1928, section 5). */
const MAX_HOST = 255;

/** The longest path of a Unix socket, in bytes: Linux has room for these and one more; systems with less say so. */
const MAX_PATH = 107;
/** The path of a WebSocket where the URL has none: what brokers have by default. */
const WEBSOCKET_PATH = "/mqtt";

/** What a URL says; what it does not have is "". */
interface UrlParts<S> {
  scheme: S;
  host: string;
  port: number | undefined;
  uname: string;
  passwd: string;
  /** As it is written, with its percent signs. */
  path: string;
  query: string;
}

/** The schemes of a broker's URL: whether they mean TLS, and what is behind the host, or instead of it. */
const SCHEMES = {
  mqtt: { secure: false, over: "tcp" },
  mqtts: { secure: true, over: "tcp" },
  tcp: { secure: false, over: "tcp" },
  ssl: { secure: true, over: "tcp" },
  tls: { secure: true, over: "tcp" },
  ws: { secure: false, over: "websocket" },
  wss: { secure: true, over: "websocket" },
  unix: { secure: false, over: "unix" },
  "mqtt+unix": { secure: false, over: "unix" },
} as const;
type Scheme = keyof typeof SCHEMES;

/** Ports, without TLS and with it. */
const PORTS = { tcp: [1883, 8883], websocket: [80, 443] } as const;

/** Where a broker is: `host`, `host:port`, or a URL. */
export type Address = string | URL;

/** What `addr` may be. */
export const ADDRESSES =
  "host, host:port, [IPv6]:port, a URL (mqtt:, mqtts:, tcp:, ssl:, tls:, ws:, wss:, unix:) or a connection";
/** How a password with `#`, `/`, `?`, `@` or `%` gets into a URL. */
const ENCODE = "percent-encode # / ? @ and % in the user name and the password (%23 %2F %3F %40 %25)";

/** What an address says: the user name and password are those of a URL, if it has some. */
interface Parsed {
  target: Target;
  /** For people to read. */
  address: string;
  uname?: string;
  passwd?: string;
}

/** Where `addr` and `op` say the broker is. */
export function parseTarget(addr: string | URL, op: ConnectOptions): Parsed {
  checkOptions(op);
  const parts = parseAddress(addr);
  const { scheme = "mqtt", host, port: ownPort, uname, passwd } = parts;
  const { secure, over } = SCHEMES[scheme];
  if (over === "unix") return unixTarget(parts.path!, op);
  const { tls = secure } = op;
  check(tls !== false || !secure, "tls", `on with ${scheme}:`);
  const usual = PORTS[over][tls ? 1 : 0];
  const { port = ownPort ?? usual } = op;
  checkRange("port", port, 1, 65_535);
  const proxy = op.proxy === undefined ? undefined : parseProxy(op.proxy);
  const name = host.includes(":") ? `[${host}]` : host;
  let websocket: WebSocketTarget | undefined;
  if (over === "websocket") {
    const headers = parseHeaders(op.headers), { path, query } = parts;
    // What is in headers and queries may be a secret, as user name and password are.
    const isSecret = [uname, passwd, query].some(Boolean) || op.uname !== undefined || headers.length > 0;
    const isRejecting = typeof tls === "object" && tls.untrusted === "reject";
    const authority = `${name.replace(/%[^\]]*/, "")}${port === usual ? "" : `:${port}`}`; // a zone means nothing there
    const resource = `${path || WEBSOCKET_PATH}${query}`;
    websocket = { authority, resource, headers, mustTrust: isSecret || isRejecting };
  } else {
    checkNoHeaders(op);
  }
  const target = { host, port, tls: tls === true ? {} : tls || undefined, proxy, websocket };
  return { target, address: `${name}:${port}`, ...(uname && { uname }), ...(passwd && { passwd }) };
}

/** @throws {TypeError} If there are headers where nothing has some. */
export function checkNoHeaders({ headers }: ConnectOptions): void {
  check(headers === undefined, "headers", "left out: only ws: and wss: have them");
}

/** A Unix socket, for which most options of a connection mean nothing. */
function unixTarget(path: string, op: ConnectOptions): Parsed {
  for (const option of ["port", "proxy"] as const) {
    check(op[option] === undefined, `${option} with unix:`, "left out: a Unix socket has none");
  }
  check(!op.tls, "tls with unix:", "left out: what passes through a Unix socket does not leave the machine");
  checkNoHeaders(op);
  return { target: { path }, address: `unix:${path}` };
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
  const { scheme, host, uname, passwd, ...url } = parseUrl(text, what, ["socks5", "socks5h", "http"]);
  const protocol = scheme === "http" ? "http" : "socks5"; // either way the proxy resolves the name
  if (protocol === "socks5" && [uname, passwd].some((part) => utf8.encode(part).length > 255)) {
    throw new RangeError("Cannot use the proxy's user name and password as SOCKS5 allows 255 bytes");
  }
  const { port = protocol === "http" ? 80 : 1080 } = url;
  checkRange("the proxy's port", port, 1, 65_535);
  return { protocol, host, port, uname, passwd };
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
  if (scheme === undefined) return refuse(form);
  const over = Object.hasOwn(SCHEMES, scheme) ? SCHEMES[scheme as Scheme].over : "tcp";
  // A URL loses them in silence.
  if (/[\t\n\r]/.test(written)) return refuse("without tabs and line breaks");
  // Of ws: the standard would change more than of a scheme that it does not know: a path /, letters of the query.
  const plain = over === "websocket" ? written.replace(/^[^:]+/, "mqtt") : written;
  if (!URL.canParse(plain)) return refuse(written.includes("@") ? `${form}; ${ENCODE}` : form);
  const { hostname, port, username, password, pathname, search: query, hash } = new URL(plain);
  const rest = pathname + query + hash;
  // A password with one of # / ? ends the host early: nothing may be sent there, nor told of it.
  if (rest.includes("@")) return refuse(`without an @ behind the host: ${ENCODE}`);
  const [uname, passwd, name] = [username, password, hostname].map(decode);
  if (uname === undefined || passwd === undefined) return refuse(`one whose % start two digits: ${ENCODE}`);
  const parts = { scheme, host: "", port: port === "" ? undefined : Number(port), uname, passwd, query };
  if (over === "unix") {
    const must = `${scheme}:///path, percent-encoded, without a host, a query or a fragment`;
    if (hostname !== "" || query + hash !== "") return refuse(must);
    return { ...parts, path: socketPath(pathname) ?? refuse(must) };
  }
  if (over === "websocket" && hash !== "") return refuse("without a fragment: percent-encode a # of the query (%23)");
  if (over === "tcp" && rest !== "" && rest !== "/") return refuse(`without a path, query or fragment: ${form}`);
  const address = hostname.replace(/^\[|\]$/g, "");
  if (address === "") return refuse(form);
  const host = isIPv6(address) ? address : name !== undefined && isHostName(name) ? toAscii(name, what) : refuse(form);
  // An object always has a path; on Bun, what has none has one if it has a query.
  const isBare = isUrl(text) ? pathname === "/" : !/^[^/]*\/\/[^/?#]*\//.test(written);
  return { ...parts, host, path: isBare ? "" : pathname };
}

/** The path of a Unix socket; undefined if it is none. */
function socketPath(pathname: string): string | undefined {
  const path = decode(pathname);
  if (path === undefined || path.length < 2 || path.includes("\0")) return undefined;
  if (utf8.encode(path).length > MAX_PATH) {
    throw new RangeError(`Cannot use addr as the path of a Unix socket has ${MAX_PATH} bytes at most`);
  }
  return path;
}

/** Percent-decoded; undefined if it is not well encoded. */
function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
