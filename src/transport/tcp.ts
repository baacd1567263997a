/** Opens connections: TCP, a proxy's tunnel, TLS; and says what is known of the server.
 * @module */

import { connect as connectTcp, isIP, type Socket } from "node:net";
import type { PeerCertificate, SecureContextOptions, TLSSocket } from "node:tls";
import { MqttError } from "../errors.ts";
import { type Host, type Proxy, tunnel } from "./proxy.ts";
import { DirectRead, distrust, handshakeFailed, SocketTransport } from "./socket.ts";
import type { Trust } from "../session/trust.ts";
import type { Transport } from "./transport.ts";

/** TLS as the application asks for it. */
export interface TlsOptions {
  /** The certificates that are trusted instead of the runtime's own, as PEM. */
  ca?: string | Uint8Array | readonly (string | Uint8Array)[];
  /** The client's certificate chain, as PEM. */
  cert?: string | Uint8Array;
  /** The client's private key, as PEM. */
  key?: string | Uint8Array;
  /** The name the certificate must be valid for; the broker's host by default. */
  servername?: string;
  /** Application protocols to offer (RFC 7301), for example `["mqtt"]`. */
  alpn?: readonly string[];
  /** `"reject"` refuses every server that is not trusted; by default those who ask for credentials are. */
  untrusted?: "reject";
}

/** Where a connection goes, and how. */
export type Target = { host: string; port: number; tls?: TlsOptions | undefined; proxy?: Proxy | undefined };

/**
 * Opens a connection.
 *
 * @throws {MqttError} `"cannotresolve"`, `"cannotconnect"`, `"proxy"` or `"tls"`; or what the signal was aborted with.
 */
export async function dial({ host, port, tls, proxy }: Target, signal: AbortSignal): Promise<Transport> {
  if (tls) await loadTls(); // before there is a connection that nobody listens to meanwhile
  const transport = await open(proxy ?? { host, port }, !tls && !proxy, signal);
  if (proxy) await tunnel(transport, proxy, { host, port }, signal);
  return tls ? upgrade(transport.stream, tls.servername ?? host, tls, signal) : transport;
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
    return cause?.code === "ENOTFOUND" || cause?.code?.startsWith("EAI_") || cause?.syscall === "getaddrinfo"
      ? new MqttError("cannotresolve", `Cannot resolve the host name "${host}"`, cause)
      : new MqttError("cannotconnect", `Cannot connect to ${host}, port ${port}: is a server running there?`, cause);
  });
  return transport;
}

async function upgrade(socket: Socket, name: string, tls: TlsOptions, signal: AbortSignal): Promise<SocketTransport> {
  const { connect: connectTls } = await loadTls();
  const { ca, cert, key } = tls as SecureContextOptions;
  const servername = isIP(name) === 0 ? name : undefined; // an address is no server name (RFC 6066, section 3)
  const ALPNProtocols = tls.alpn && [...tls.alpn];
  // The chain and the name are looked at in trust(), before anything is sent.
  const unchecked = { rejectUnauthorized: false, checkServerIdentity: () => undefined };
  const options = { socket, host: name, servername, ca, cert, key, ALPNProtocols, ...unchecked };
  let secure: SocketTransport<TLSSocket>;
  try {
    secure = new SocketTransport(connectTls(options));
  } catch (cause) {
    socket.destroy(); // a certificate or the key is none
    throw handshakeFailed(cause as Error);
  }
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
