/** From an address, or a connection, to a client.
 * @module */

import { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import type { Client, ConnectOptions, OnPublish } from "./api.ts";
import { type Dial, LoopClient } from "./client.ts";
import { check, checkFunction, parseSettings, parseTarget } from "./settings.ts";
import { traceDial } from "./trace.ts";
import { SocketTransport } from "./transport/socket.ts";
import { type Streams, StreamTransport } from "./transport/streams.ts";
import { dial, ready, secured } from "./transport/tcp.ts";
import { MqttError } from "./errors.ts";

/** An established connection: a `net.Socket`, a `tls.TLSSocket`, another Duplex, a `Deno.Conn`, or web streams. */
export type Connection = Duplex | Streams;

/**
 * Connects to a broker, or over an established connection, and starts the loop.
 *
 * `addr` is a host name or address, an `mqtt:` or `mqtts:` URL (with port, user name and password
 * where `op` does not give them), or a connection that somebody opened, through a proxy perhaps.
 * `onpub` gets every message that no subscription's own `onpub` or iterator takes.
 *
 * With `uname` or `passwd`, over TLS, the server's certificate must be valid for its name, or
 * nothing is sent to it. Without, `trusted` says what is known of it.
 *
 * @example Print what a broker publishes
 * ```ts no-run
 * import { connect } from "@mqtt3c/client";
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
export async function connect(addr: string | Connection, onpub?: OnPublish, op: ConnectOptions = {}): Promise<Client> {
  checkFunction(onpub, "onpub");
  const { target, ...fromUrl } = typeof addr === "string" ? parseTarget(addr, op) : { target: undefined };
  const settings = parseSettings(op, fromUrl);
  const open: Dial = target ? (signal) => dial(target, signal) : adopt(addr as Connection, op);
  const client = new LoopClient(settings, traceDial(open, op.trace), onpub);
  await client.open();
  return client;
}

/** Makes a handed-in connection a transport. It is checked at once, and opened once. */
function adopt(connection: Connection, op: ConnectOptions): Dial {
  for (const option of ["reconnect", "port", "proxy"] as const) {
    check(!op[option], `${option} with a connection handed in`, "left out: that connection is the only one");
  }
  const secure = connection instanceof TLSSocket || "handshake" in (connection ?? {});
  check(
    secure || !op.tls,
    "tls with a connection handed in",
    "left out: upgrade it with tls.connect({ socket }) first",
  );
  if (connection instanceof Duplex) {
    if (op.signal?.aborted) connection.destroy(); // whoever gives it away need not close it
    return (signal) => adoptSocket(connection, op, signal);
  }
  const { readable, writable } = (connection ?? {}) as Partial<Streams>;
  const streams = readable instanceof ReadableStream && writable instanceof WritableStream;
  check(streams, "addr", "a host name, an address, a URL or a connection");
  check(!readable.locked && !writable.locked, "the connection", "one whose streams are not locked");
  if (op.signal?.aborted) new StreamTransport(connection, false).close();
  return (signal) => adoptStreams(connection, signal);
}

async function adoptSocket(socket: Duplex, op: ConnectOptions, signal: AbortSignal): Promise<SocketTransport> {
  if (!(socket instanceof TLSSocket)) return new SocketTransport(socket, false);
  const name = typeof op.tls === "object" ? op.tls.servername : undefined;
  // Not in the types of Node: true until 'secureConnect', on all three runtimes.
  if ((socket as TLSSocket & { secureConnecting: boolean }).secureConnecting && !socket.destroyed) {
    await ready(
      socket,
      "secureConnect",
      signal,
      (cause) => new MqttError("tls", `The TLS handshake failed: ${cause?.message ?? "the server closed"}`, cause),
    );
  }
  return secured(socket, name);
}

/** `Deno.TlsConn` finishes its handshake only with a server that is trusted. */
async function adoptStreams(
  connection: Streams & { handshake?: () => Promise<unknown> },
  signal: AbortSignal,
): Promise<StreamTransport> {
  const transport = new StreamTransport(connection, connection.handshake !== undefined);
  const close = () => transport.close();
  signal.addEventListener("abort", close);
  try {
    await connection.handshake?.();
  } catch (cause) {
    transport.close();
    throw new MqttError("tls", `The TLS handshake failed: ${(cause as Error).message}`, cause);
  } finally {
    signal.removeEventListener("abort", close);
  }
  return transport;
}
