/** Where the broker is: addresses, URLs, and those of a proxy.
 * @module */

import type { ConnectOptions } from "../api.ts";
import { kindOf } from "../protocol/bytes.ts";
import type { Proxy } from "../transport/proxy.ts";
import type { Target } from "../transport/tcp.ts";
import { check, checkRange } from "./checks.ts";
import { checkOptions } from "./options.ts";

const utf8 = new TextEncoder();

/** The longest host name, in bytes (RFC 1928, section 5). */
const MAX_HOST = 255;

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

/** Where a broker is: `host`, `host:port`, or a URL. */
export type Address = string | URL;

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
