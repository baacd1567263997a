/** Opens connections: TCP, a proxy's tunnel, TLS; and says what is known of the server.
 * @module */

import { connect as connectTcp, isIP, type Socket } from "node:net";
import { checkServerIdentity, connect as connectTls, type TLSSocket } from "node:tls";
import { MqttError } from "../errors.ts";
import { type Proxy, tunnel } from "./proxy.ts";
import { DirectRead, failureOf, socketError, SocketTransport, watch } from "./socket.ts";
import type { Transport, Trust } from "./transport.ts";

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
export interface Target {
  host: string;
  port: number;
  tls?: TlsOptions | undefined;
  proxy?: Proxy | undefined;
}

/**
 * Opens a connection.
 *
 * @throws {MqttError} `"cannotresolve"`, `"cannotconnect"`, `"proxy"` or `"tls"`; or what the signal was aborted with.
 */
export async function dial({ host, port, tls, proxy }: Target, signal: AbortSignal): Promise<Transport> {
  const hop = proxy ?? { host, port };
  // A socket that reads directly cannot be given to TLS later: on Deno it hangs.
  const direct = tls || proxy ? undefined : new DirectRead();
  const socket = await open(hop.host, hop.port, direct, signal);
  if (proxy) await tunnel(socket, proxy, host, port, signal);
  if (!tls) return new SocketTransport(socket, false, direct);
  return secured(await secureSocket(socket, host, tls, signal), tls.servername ?? host);
}

/** The transport over a TLS socket after its handshake, unless that has been followed by an alert at once. */
export function secured(socket: TLSSocket, name: string | undefined): SocketTransport {
  if (socket.destroyed) throw socketError(failureOf(socket));
  return new SocketTransport(socket, trust(socket, name));
}

function open(host: string, port: number, direct: DirectRead | undefined, signal: AbortSignal): Promise<Socket> {
  const socket = connectTcp({
    host,
    port,
    noDelay: true, // small packets would wait 40 ms for others
    autoSelectFamily: true,
    ...(direct && { onread: direct.options }),
  });
  return ready(socket, "connect", signal, (cause) => {
    const unknown = cause?.code === "ENOTFOUND" || cause?.code?.startsWith("EAI_");
    return unknown
      ? new MqttError("cannotresolve", `Cannot resolve the host name "${host}"`, cause)
      : new MqttError("cannotconnect", `Cannot connect to ${host}, port ${port}: is a server running there?`, cause);
  });
}

async function secureSocket(socket: Socket, host: string, tls: TlsOptions, signal: AbortSignal): Promise<TLSSocket> {
  const name = tls.servername ?? host;
  const failure = (cause: Error | undefined) =>
    new MqttError("tls", `The TLS handshake with ${host} failed: ${cause?.message ?? "the server closed"}`, cause);
  try {
    const secure = connectTls({
      socket,
      host: name,
      ...(isIP(name) === 0 && { servername: name }), // an address is no server name (RFC 6066, section 3)
      ...(tls.ca !== undefined && { ca: tls.ca as Buffer[] }),
      ...(tls.cert !== undefined && { cert: tls.cert as Buffer }),
      ...(tls.key !== undefined && { key: tls.key as Buffer }),
      ...(tls.alpn && { ALPNProtocols: [...tls.alpn] }),
      // The chain and the name are looked at in trust(), before anything is sent.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    return await ready(secure, "secureConnect", signal, failure);
  } catch (error) {
    socket.destroy();
    // A certificate or key that is none: Node and Bun throw at once, Deno in the handshake.
    throw error instanceof MqttError || signal.aborted ? error : failure(error as Error);
  }
}

/** Waits for the event; an error, the end of the socket or the signal ends the wait and the socket. */
export function ready<S extends Socket>(
  socket: S,
  event: string,
  signal: AbortSignal,
  failure: (cause: NodeJS.ErrnoException | undefined) => MqttError,
): Promise<S> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      socket.off(event, done).off("error", failed).off("close", closed);
      signal.removeEventListener("abort", aborted);
      act();
    };
    watch(socket);
    const done = () => settle(() => resolve(socket));
    const fail = (error: unknown) =>
      settle(() => {
        socket.destroy();
        reject(error);
      });
    const failed = (error: Error) => fail(failure(error));
    const closed = () => fail(failure(undefined));
    const aborted = () => fail(signal.reason);
    socket.on(event, done).on("error", failed).on("close", closed);
    signal.addEventListener("abort", aborted);
    if (signal.aborted) aborted();
  });
}

/** What is known of the server after the handshake; `name` is what the certificate must be valid for. */
function trust(socket: TLSSocket, name: string | undefined): Trust {
  const certificate = socket.getPeerCertificate();
  const now = new Date();
  if (!socket.authorized) {
    // Compared here, as Deno calls an expired certificate one of an unknown issuer.
    const outdated = new Date(certificate.valid_to) < now || new Date(certificate.valid_from) > now;
    if (outdated || /EXPIRED/.test(String(socket.authorizationError))) return "expired";
    return /ALTNAME/.test(String(socket.authorizationError)) ? "wrongname" : "untrusted";
  }
  return name === undefined || checkServerIdentity(name, certificate) === undefined ? true : "wrongname";
}
