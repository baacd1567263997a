/** Opens connections: TCP, a Unix socket, a proxy's tunnel, TLS, a WebSocket over them; and says what is known of the server.
 * @module */

import type { Socket } from "node:net";
import type { PeerCertificate, SecureContext, TLSSocket } from "node:tls";
import { MqttError } from "../errors.ts";
import { isBun, isDeno, runtimeProcess } from "../runtime.ts";
import type { Trust } from "../session/trust.ts";
import { authorityOf, type Host, ipVersion } from "./host.ts";
import { type Proxy, tunnel } from "./proxy.ts";
import { DirectRead, distrust, handshakeFailed, SocketTransport } from "./socket.ts";
import { makeContext, type TlsOptions } from "./tls_options.ts";
import type { Transport } from "./transport.ts";
import type { WebSocketTarget } from "./websocket_handshake.ts";

/** Where a connection goes, and how. */
export type Target = TcpTarget | UnixTarget;
export type TcpTarget = Host & {
  tls?: TlsOptions | undefined;
  proxy?: Proxy | undefined;
  websocket?: WebSocketTarget | undefined;
};
export type UnixTarget = { path: string };

/**
 * Opens a connection.
 *
 * @throws {MqttError} `"cannotresolve"`, `"cannotconnect"`, `"proxy"`, `"tls"`, or what is wrong with the certificate where it
 * must be trusted; or what the signal was aborted with.
 */
export async function dial(target: Target, signal: AbortSignal): Promise<Transport> {
  if ("path" in target) return open(target, true, signal);
  const { host, port, tls, proxy, websocket } = target;
  // Before there is a connection: nobody would listen to it meanwhile, and what cannot be used is told first.
  const context = tls && await makeContext(tls);
  const upgrade = websocket && await (await import("./websocket.ts")).upgrader(websocket);
  const plain = await open(proxy ?? { host, port }, !tls && !proxy, signal);
  if (proxy) await tunnel(plain, proxy, { host, port }, signal);
  const transport = context === undefined
    ? plain
    : await secure(plain.stream, tls?.servername ?? host, { context, alpn: tls?.alpn }, signal);
  return upgrade === undefined ? transport : upgrade(transport, signal);
}

/** Only for those who need it: 2 ms of a program's start. */
function loadTls(): Promise<typeof import("node:tls")> {
  return import("node:tls");
}

/** Loaded with the first connection. Kept: asking for it again takes 14 us on Node, and 3 KB. */
let net: Promise<typeof import("node:net")> | undefined;

/** Small packets would wait 40 ms for others without `noDelay`. */
const QUICK = { noDelay: true, autoSelectFamily: true };

/**
 * Whether sockets can read straight into our memory: Deno can since 2.8. On Bun it is a copy of what 'data' gives: 64 KiB
 * messages take 0.7 of the time without.
 */
const READS_DIRECTLY = !isBun && !/^2\.[0-7]\./.test(runtimeProcess().versions["deno"] ?? "");

/** A socket that reads `directly` cannot be given to TLS later: on Deno it hangs. */
async function open(
  to: Host | UnixTarget,
  directly: boolean,
  signal: AbortSignal,
): Promise<SocketTransport<Socket>> {
  const { connect } = await (net ??= import("node:net"));
  const direct = directly && READS_DIRECTLY ? new DirectRead() : undefined;
  const socket = connect({ ...to, ...QUICK, ...(direct && { onread: direct.options }) });
  if (direct) socket.pause();
  const transport = new SocketTransport(socket, { direct });
  await transport.ready("connect", signal, (cause) => "path" in to ? noSocket(to.path, cause) : unreached(to, cause));
  return transport;
}

function unreached(to: Host, cause: NodeJS.ErrnoException | undefined): MqttError {
  const { host, port } = to;
  const isUnknown = cause?.code === "ENOTFOUND" || cause?.code?.startsWith("EAI_") ||
    cause?.syscall === "getaddrinfo";
  if (isUnknown && !isDenied(cause)) {
    return new MqttError("cannotresolve", `Cannot resolve the host name "${host}"`, cause);
  }
  const why = isDenied(cause)
    ? `permission is missing: run with --allow-net=${authorityOf(to)}`
    : "is a server running there?";
  return new MqttError("cannotconnect", `Cannot connect to ${host}, port ${port}: ${why}`, cause);
}

/** What the errors of a Unix socket mean. */
const SOCKET_ERRORS: Record<string, string> = {
  ENOENT: "there is no such file: is a server running?",
  ECONNREFUSED: "no server listens there: has it ended without removing the file?",
  EACCES: "the file's permissions do not let this user write to it",
  EPERM: "the file's permissions do not let this user write to it",
  ENOTSOCK: "the file is no socket",
  EINVAL: "the system has no sockets with such a path: is it too long?",
};

function noSocket(path: string, cause: NodeJS.ErrnoException | undefined): MqttError {
  const why = isDenied(cause)
    ? `permission is missing: run with --allow-read=${path} --allow-write=${path}`
    : SOCKET_ERRORS[cause?.code ?? ""] ?? cause?.message ?? "it was closed";
  return new MqttError("cannotconnect", `Cannot connect to the Unix socket ${path}: ${why}`, cause);
}

/** Whether Deno lacks the permission; it says so with a code of its own for names, and with a class for addresses. */
function isDenied(cause: NodeJS.ErrnoException | undefined): boolean {
  if (cause === undefined || !isDeno) return false;
  const { name, code, syscall } = cause;
  return name === "NotCapable" || name === "PermissionDenied" || code === "EPERM" && syscall === "getaddrinfo";
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
