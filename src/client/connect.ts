/** From an address, or a connection, to a client.
 * @module */

import { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { Client, ConnectOptions, OnPublish } from "../api.ts";
import { kindOf } from "../protocol/bytes.ts";
import { handshakeFailed, SocketTransport } from "../transport/socket.ts";
import { duplexOf, type Streams } from "../transport/streams.ts";
import { dial, secured } from "../transport/tcp.ts";
import { traceDial } from "../transport/trace.ts";
import type { Dial } from "../transport/transport.ts";
import { openStore } from "./keeper.ts";
import { LoopClient } from "./loop_client.ts";
import { ADDRESSES, isAddress, parseTarget } from "./address.ts";
import { checkOnpub } from "./arguments.ts";
import { check } from "./checks.ts";
import { parseSettings } from "./settings.ts";

/** An established connection: a `net.Socket`, a `tls.TLSSocket`, another Duplex, a `Deno.Conn`, or web streams. */
export type Connection = Duplex | Streams;

/**
 * Connects to a broker, or over an established connection, and starts the loop.
 *
 * `addr` is a host name or address, with `:port` if it is not the usual one; a URL, as text or object, `mqtt:` or
 * `tcp:`, with TLS `mqtts:`, `ssl:` or `tls:` (with port, user name and password where `op` does not give them,
 * percent-encoded); or a connection that somebody opened, through a proxy perhaps.
 * `onpub` gets every message that no subscription's own `onpub` or iterator takes.
 *
 * With `uname` or `passwd`, over TLS, the server's certificate must be valid for its name, or
 * nothing is sent to it. Without, `trusted` says what is known of it.
 *
 * @example Print what a broker publishes
 * ```ts no-run
 * import { connect } from "mqtt3c";
 *
 * const mqtt = await connect("localhost", (topic, message) => console.log(topic, message.text()));
 * await mqtt.subscribe("#");
 * const end = await mqtt.run();
 * console.log(end.code);
 * ```
 *
 * @throws {TypeError | RangeError} If an argument is wrong, before any I/O.
 * @throws {MqttError} If there is no connection; see its `code`.
 */
export async function connect(
  addr: string | URL | Connection,
  onpub?: OnPublish,
  op: ConnectOptions = {},
): Promise<Client> {
  checkOnpub(onpub);
  const { target, ...known } = isAddress(addr) ? parseTarget(addr, op) : { target: undefined };
  const settings = parseSettings(op, known);
  const { open, closed } = target
    ? { open: (signal: AbortSignal) => dial(target, signal), closed: () => {} }
    : handIn(addr as Connection, op);
  const store = op.store && await openStore(op.store, settings.id, false);
  const parts = { dial: traceDial(open, op.trace), onpub, onstatus: op.onstatus, store, closed };
  const client = new LoopClient(settings, parts);
  await LoopClient.opened(client);
  return client;
}

/** Checks a handed-in connection at once, and makes it a transport, once; `closed` is called when the client has ended. */
function handIn(sock: Connection, op: ConnectOptions): { open: Dial; closed(): void } {
  for (const option of ["reconnect", "port", "proxy"] as const) {
    check(!op[option], `${option} with a connection handed in`, "left out: that connection is the only one");
  }
  const secure = isTls(sock) || "handshake" in Object(sock);
  check(
    secure || !op.tls,
    "tls with a connection handed in",
    "left out: upgrade it with tls.connect({ socket }) first",
  );
  const { servername: name, untrusted: _, ...others } = typeof op.tls === "object" ? op.tls : {};
  for (const [option, value] of Object.entries(others)) {
    check(value === undefined, `tls.${option} with a connection handed in`, "left out: its TLS has started without");
  }
  if (sock instanceof Duplex) {
    check(sock.readableEncoding === null, "the connection", "one without an encoding: it reads bytes");
  } else {
    check(
      name === undefined,
      "tls.servername with this connection",
      "left out: only its owner can check its certificate",
    );
    const { readable, writable } = Object(sock) as Partial<Streams>;
    // By what they can do: they may be of another realm.
    const streams = typeof readable?.getReader === "function" && typeof writable?.getWriter === "function";
    check(streams, "addr", `${ADDRESSES}: received ${kindOf(sock)}`);
    check(!readable.locked && !writable.locked, "the connection", "one whose streams are not locked");
  }
  let isAdopted = false;
  return {
    open: (signal) => {
      isAdopted = true;
      return adopt(sock, name, signal);
    },
    // Whoever gives it away need not close it, though it was never used.
    closed: () => void (isAdopted || duplexOf(sock).destroy()),
  };
}

/** Whether it is a `tls.TLSSocket`, without loading what that is. */
function isTls(sock: Connection): sock is TLSSocket {
  return sock instanceof Duplex && "getPeerCertificate" in sock;
}

async function adopt(sock: Connection, name: string | undefined, signal: AbortSignal): Promise<SocketTransport> {
  const stream = duplexOf(sock);
  const transport = new SocketTransport(stream, { sock });
  // `secureConnecting`, until 'secureConnect', is missing in the types. A `Deno.TlsConn` waits for a server that is trusted.
  const shakesHands = stream !== sock && "handshake" in sock;
  const { secureConnecting = shakesHands } = stream as { secureConnecting?: boolean };
  if (secureConnecting && !stream.destroyed) await transport.ready("secureConnect", signal, handshakeFailed);
  if (isTls(stream)) {
    // The name its owner asked for: whether that was checked cannot be seen.
    const { servername } = stream as { servername?: unknown };
    return secured(
      transport as SocketTransport<TLSSocket>,
      name ?? (typeof servername === "string" && servername || undefined),
    );
  }
  transport.trusted = shakesHands;
  return transport;
}
