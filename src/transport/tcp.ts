/** Opens connections: TCP, a proxy's tunnel, TLS; and says what is known of the server.
 * @module */

import { connect as connectTcp, isIP, type Socket } from "node:net";
import type { PeerCertificate, SecureContext, TLSSocket } from "node:tls";
import { MqttError } from "../errors.ts";
import { type Host, type Proxy, tunnel } from "./proxy.ts";
import { DirectRead, distrust, handshakeFailed, SocketTransport } from "./socket.ts";
import type { Trust } from "../session/trust.ts";
import { makeContext, type TlsOptions } from "./tls_options.ts";
import type { Transport } from "./transport.ts";

/** Where a connection goes, and how. */
export type Target = { host: string; port: number; tls?: TlsOptions | undefined; proxy?: Proxy | undefined };

/**
 * Opens a connection.
 *
 * @throws {MqttError} `"cannotresolve"`, `"cannotconnect"`, `"proxy"` or `"tls"`; or what the signal was aborted with.
 */
export async function dial({ host, port, tls, proxy }: Target, signal: AbortSignal): Promise<Transport> {
  // Before there is a connection: nobody would listen to it meanwhile, and what cannot be used is told first.
  const context = tls && await makeContext(tls);
  const transport = await open(proxy ?? { host, port }, !tls && !proxy, signal);
  if (proxy) await tunnel(transport, proxy, { host, port }, signal);
  if (context === undefined) return transport;
  return upgrade(transport.stream, tls?.servername ?? host, { context, alpn: tls?.alpn }, signal);
}

/** Only for those who need it: 2 ms of a program's start. */
function loadTls(): Promise<typeof import("node:tls")> {
  return import("node:tls");
}

/** Small packets would wait 40 ms for others without `noDelay`. */
const QUICK = { noDelay: true, autoSelectFamily: true };

/** A socket that reads `directly` cannot be given to TLS later: on Deno it hangs. */
async function open({ host, port }: Host, directly: boolean, signal: AbortSignal): Promise<SocketTransport<Socket>> {
  const direct = directly ? new DirectRead() : undefined;
  const socket = connectTcp({ host, port, ...QUICK, ...(direct && { onread: direct.options }) });
  if (direct) socket.pause();
  const transport = new SocketTransport(socket, { direct });
  await transport.ready("connect", signal, (cause) => {
    const isUnknown = cause?.code === "ENOTFOUND" || cause?.code?.startsWith("EAI_") ||
      cause?.syscall === "getaddrinfo";
    if (isUnknown && !isDenied(cause)) {
      return new MqttError("cannotresolve", `Cannot resolve the host name "${host}"`, cause);
    }
    const authority = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
    const why = isDenied(cause)
      ? `permission is missing: run with --allow-net=${authority}`
      : "is a server running there?";
    return new MqttError("cannotconnect", `Cannot connect to ${host}, port ${port}: ${why}`, cause);
  });
  return transport;
}

/** Whether Deno lacks the permission; it says so with a code of its own for names, and with a class for addresses. */
function isDenied(cause: NodeJS.ErrnoException | undefined): boolean {
  if (cause === undefined || !("Deno" in globalThis)) return false;
  const { name, code, syscall } = cause;
  return name === "NotCapable" || name === "PermissionDenied" || code === "EPERM" && syscall === "getaddrinfo";
}

async function upgrade(
  socket: Socket,
  name: string,
  { context, alpn }: { context: SecureContext; alpn: TlsOptions["alpn"] },
  signal: AbortSignal,
): Promise<SocketTransport> {
  const { connect: connectTls } = await loadTls();
  const servername = isIP(name) === 0 ? name : undefined; // an address is no server name (RFC 6066, section 3)
  const ALPNProtocols = alpn && [...alpn];
  // The chain and the name are looked at in trust(), before anything is sent.
  const unchecked = { rejectUnauthorized: false, checkServerIdentity: () => undefined };
  const options = { socket, host: name, servername, secureContext: context, ALPNProtocols, ...unchecked };
  const secure: SocketTransport<TLSSocket> = new SocketTransport(connectTls(options));
  await secure.ready("secureConnect", signal, handshakeFailed);
  return secured(secure, name);
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
