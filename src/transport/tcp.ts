/** Opens connections: TCP, a Unix socket, a proxy's tunnel, TLS, a WebSocket over them; and says what is known of the server.
 * @module */

import type { Socket } from "node:net";
import type { PeerCertificate, SecureContext, TLSSocket } from "node:tls";
import { isBun, isDeno } from "../runtime.ts";
import type { Trust } from "../session/trust.ts";
import { dialDeno } from "./deno_socket.ts";
import { type Host, ipVersion } from "./host.ts";
import { type Proxy, tunnel } from "./proxy.ts";
import { DirectRead, distrust, handshakeFailed, SocketTransport } from "./socket.ts";
import { makeContext, type TlsOptions } from "./tls_options.ts";
import type { Transport } from "./transport.ts";
import { noSocket, unreached } from "./unreached.ts";

/** Where a connection goes, and how. */
export type Target = TcpTarget | UnixTarget;
export type TcpTarget = Host & {
  tls?: TlsOptions | undefined;
  proxy?: Proxy | undefined;
  websocket?: WebSocketTarget | undefined;
};
export type UnixTarget = { path: string };

/** What is asked of the server of a WebSocket, on the connection to it. */
export type WebSocketTarget = {
  /** The server's name as the request has it. */
  authority: string;
  /** Path and query. */
  resource: string;
  headers: readonly (readonly [name: string, value: string])[];
  /** Whether a server that has a certificate must be trusted before it is asked. */
  mustTrust: boolean;
};

/**
 * Opens a connection.
 *
 * @throws {MqttError} `"cannotresolve"`, `"cannotconnect"`, `"proxy"`, `"tls"`, or what is wrong with the certificate where it
 * must be trusted; or what the signal was aborted with.
 */
export async function dial(target: Target, signal: AbortSignal): Promise<Transport> {
  if ("path" in target) return open(target, true, signal);
  const { tls, proxy, websocket } = target;
  // Before there is a connection: nobody would listen to it meanwhile, and what cannot be used is told first.
  const context = tls && await makeContext(tls);
  const upgrade = websocket && await (await import("./websocket.ts")).upgrader(websocket);
  const transport = proxy === undefined && context === undefined
    ? await dialPlain(target, signal)
    : await dialThrough(target, context, signal);
  return upgrade === undefined ? transport : upgrade(transport, signal);
}

/** A connection that carries nothing but ours. */
function dialPlain({ host, port }: Host, signal: AbortSignal): Promise<Transport> {
  return isDeno ? dialDeno({ host, port }, signal) : open({ host, port }, true, signal);
}

/** A connection through a proxy, or with TLS on it. */
async function dialThrough(
  { host, port, tls, proxy }: TcpTarget,
  context: SecureContext | undefined,
  signal: AbortSignal,
): Promise<Transport> {
  const plain = await open(proxy ?? { host, port }, false, signal);
  if (proxy) await tunnel(plain, proxy, { host, port }, signal);
  if (context === undefined) return plain;
  return await secure(plain.stream, tls?.servername ?? host, { context, alpn: tls?.alpn }, signal);
}

/** Only for those who need it: 2 ms of a program's start. */
function loadTls(): Promise<typeof import("node:tls")> {
  return import("node:tls");
}

/** Small packets would wait 40 ms for others without `noDelay`. */
const QUICK = { noDelay: true, autoSelectFamily: true };

/**
 * A socket that reads `directly` cannot be given to TLS later: on Deno it hangs. On Bun, reading so is a copy of what 'data'
 * gives: 64 KiB messages take 0.65 of the time without.
 */
async function open(
  to: Host | UnixTarget,
  directly: boolean,
  signal: AbortSignal,
): Promise<SocketTransport<Socket>> {
  const { connect } = await import("node:net");
  const direct = directly && !isBun ? new DirectRead() : undefined;
  const socket = connect({ ...to, ...QUICK, ...(direct && { onread: direct.options }) });
  if (direct) socket.pause();
  const transport = new SocketTransport(socket, { direct });
  await transport.ready("connect", signal, (cause) => "path" in to ? noSocket(to.path, cause) : unreached(to, cause));
  return transport;
}

async function secure(
  socket: Socket,
  name: string,
  { context, alpn }: { context: SecureContext; alpn: TlsOptions["alpn"] },
  signal: AbortSignal,
): Promise<SocketTransport> {
  const { connect: connectTls } = await loadTls();
  const servername = ipVersion(name) === 0 ? name : undefined; // an address is no server name (RFC 6066, section 3)
  const ALPNProtocols = alpn && [...alpn];
  // The chain and the name are looked at in trust(), before anything is sent.
  const unchecked = { rejectUnauthorized: false, checkServerIdentity: () => undefined };
  const options = { socket, host: name, servername, secureContext: context, ALPNProtocols, ...unchecked };
  const transport: SocketTransport<TLSSocket> = new SocketTransport(connectTls(options));
  await transport.ready("secureConnect", signal, handshakeFailed);
  return secured(transport, name);
}

/** The transport after its handshake, unless that has been followed by an alert at once. */
export async function secured(
  transport: SocketTransport<TLSSocket>,
  name: string | undefined,
): Promise<SocketTransport> {
  const { checkServerIdentity } = await loadTls();
  const { stream } = transport;
  if (stream.destroyed) throw transport.failure();
  transport.trusted = trust(stream, (certificate) => {
    return name === undefined || checkServerIdentity(name, certificate) === undefined;
  });
  return transport;
}

/** What is known of the server after the handshake; `isValid` looks at the name in its certificate. */
function trust(socket: TLSSocket, isValid: (certificate: PeerCertificate) => boolean): Trust {
  const certificate = socket.getPeerCertificate();
  if (socket.authorized) return isValid(certificate) || "wrongname";
  const problem = String(socket.authorizationError), now = new Date();
  // Compared here, as Deno calls an expired certificate one of an unknown issuer.
  const outdated = new Date(certificate.valid_to) < now || new Date(certificate.valid_from) > now;
  return outdated ? "expired" : distrust(problem) ?? "untrusted";
}
