/** Who may use a bridge: those with the token, where one is set, and of the pages in browsers those of known origins. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";

export interface GuardOptions {
  /** Asked of everybody, as `Authorization: Bearer` or as the query's `access_token` (RFC 6750, section 2). */
  token?: string;
  /** Origins whose pages may use the bridge, besides its own on this machine: `https://example.org`. */
  origins?: readonly string[];
}

/** The HTTP status to refuse a request with, and why. */
export type Refusal = { status: 401 | 403; reason: string };

/** Why the request is refused, or undefined. */
export function refuse(request: IncomingMessage, { token, origins = [] }: GuardOptions): Refusal | undefined {
  const { origin, authorization } = request.headers;
  if (origin !== undefined && !origins.includes(origin) && !isOwn(origin, request.socket.localPort)) {
    return { status: 403, reason: `Pages of ${origin} may not use this bridge; --origin ${origin} allows it` };
  }
  if (token === undefined) return undefined;
  const given = /^Bearer (.+)$/i.exec(authorization ?? "")?.[1] ?? queryOf(request).get("access_token") ?? "";
  if (timingSafeEqual(digest(given), digest(token))) return undefined;
  return { status: 401, reason: "This bridge asks for a token: Authorization: Bearer <token>" };
}

/** The names are checked, not the Host header, which a page of elsewhere can choose by its DNS. */
function isOwn(origin: string, port: number | undefined): boolean {
  return ["localhost", "127.0.0.1", "[::1]"].some((name) => origin === `http://${name}:${port}`);
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
