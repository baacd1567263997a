/** Who may use a bridge: those with the token, where one is set, and of the pages in browsers those of known origins. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";

export interface GuardOptions {
  /** Asked of everybody, as `Authorization: Bearer` or as the query's `access_token` (RFC 6750, section 2). */
  token?: string;
  /** Origins whose pages may use the bridge, besides its own: `https://example.org`. */
  origins?: readonly string[];
  /** The name or address the bridge listens on. */
  host?: string;
}

/** The HTTP status to refuse a request with, and why. */
export type Refusal = { status: 401 | 403; reason: string };

const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

/** Why the request is refused, or undefined. */
export function refuse(request: IncomingMessage, options: GuardOptions): Refusal | undefined {
  const { token, origins = [] } = options;
  const { host = "", origin, authorization } = request.headers;
  const isKnown = isKnownHost(host, options);
  const own = [
    ...LOCAL.map((name) => `http://${name}:${request.socket.localPort}`),
    ...isKnown ? [`http://${host}`] : [],
  ];
  if (origin !== undefined && !origins.includes(origin) && !own.includes(origin)) {
    return { status: 403, reason: `Pages of ${origin} may not use this bridge; --origin ${origin} allows it` };
  }
  if (token === undefined) {
    if (isKnown) return undefined;
    return { status: 403, reason: `This bridge does not go by the name ${host}; --origin http://${host} allows it` };
  }
  const given = /^Bearer (.+)$/i.exec(authorization ?? "")?.[1] ?? queryOf(request).get("access_token") ?? "";
  if (timingSafeEqual(digest(given), digest(token))) return undefined;
  return { status: 401, reason: "This bridge asks for a token: Authorization: Bearer <token>" };
}

/**
 * Whether a page that came by this name, or a request without Origin, is what it seems: the owner of any
 * other name can let its DNS answer with the address of this machine, and its page read here as its own.
 */
function isKnownHost(host: string, { origins = [], host: listening = "" }: GuardOptions): boolean {
  const name = host.toLowerCase().replace(/:\d*$/, "");
  return [...LOCAL, listening].includes(name) || isIP(name.replace(/^\[|\]$/g, "")) > 0 ||
    origins.some((origin) => origin.replace(/^\w+:\/\/|:\d+$/g, "") === name);
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

/** The request's path as it was sent: a URL parser would take `..` and `//` for more than letters. */
export function pathOf(request: IncomingMessage): string {
  return request.url!.split("?", 1)[0]!;
}

export function queryOf(request: IncomingMessage): URLSearchParams {
  return new URLSearchParams(request.url!.slice(pathOf(request).length + 1));
}
