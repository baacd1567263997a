/** From an address, or a connection, to a client.
 * @module */

import type { TLSSocket } from "node:tls";
import type { Client } from "../api.ts";
import type { ConnectOptions, OnPublish } from "../options.ts";
import { kindOf } from "../protocol/bytes.ts";
import { handshakeFailed, SocketTransport } from "../transport/socket.ts";
import { closeConnection, type Connection, duplexOf, isDuplex, type Streams } from "../transport/streams.ts";
import { dial, secured } from "../transport/tcp.ts";
import type { Dial } from "../transport/transport.ts";
import { type Address, ADDRESSES, checkNoHeaders } from "./address.ts";
import { checkOnpub } from "./arguments.ts";
import { check } from "./checks.ts";
import { finder, type Finding, isPlaces, type Located, parsePlaces } from "./places.ts";
import { parseSettings, type Settings } from "./settings.ts";
import { startClient } from "./start_client.ts";
import { systemClock } from "./system_clock.ts";

/** A function that says where the broker is, or opens a connection to it; it is asked at every attempt. */
export type Opener = () => Address | Connection | Promise<Address | Connection>;

/**
 * Connects to a broker, or over an established connection, and starts the loop.
 *
 * `addr` is a host name or address, with `:port` if it is not the usual one; a URL, as text or object, `mqtt:` or
 * `tcp:`, with TLS `mqtts:`, `ssl:` or `tls:`, over a WebSocket `ws:` or `wss:` (with port, user name and password where `op`
 * does not give them, percent-encoded), `unix:///path` of a Unix socket; a connection that somebody opened, through a proxy perhaps; a function that gives one of these, or a
 * promise of it, at every attempt; or a list of addresses and functions, which are tried in turn.
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
  addr: Address | Connection | Opener | readonly (Address | Opener)[],
  onpub?: OnPublish,
  op: ConnectOptions = {},
): Promise<Client> {
  checkOnpub(onpub);
  const { settings, closed } = isPlaces(addr)
    ? { settings: parseSettings(op, parsePlaces(addr, op, finder(op, opened(op)))), closed: undefined }
    : handedIn(addr as Connection, op);
  return await startClient(settings, { op, onpub, clock: systemClock, dial, closed });
}

/** What the functions of `addr` may give: a connection, which is closed if it cannot be used. */
function opened(op: ConnectOptions): Finding {
  return {
    advice: ADDRESSES,
    connection: (given) => {
      const sock = given as Connection;
      try {
        return { open: handIn(sock, op) };
      } catch (error) {
        if (isDuplex(sock)) sock.destroy();
        throw error;
      }
    },
  };
}

/** A client of a connection that was handed in, which is checked at once; `closed` is called when the client has ended. */
function handedIn(sock: Connection, op: ConnectOptions): { settings: Settings; closed: () => void } {
  const settings = parseSettings(op);
  check(!op.reconnect, "reconnect with a connection handed in", "left out: give a function that opens connections");
  const open = handIn(sock, op);
  let isAdopted = false;
  const adopted: Located = {
    open: (signal) => {
      isAdopted = true;
      return open(signal);
    },
  };
  return {
    settings: { ...settings, places: settings.places.map((place) => ({ ...place, ...adopted })) },
    // Whoever gives it away need not close it, though it was never used.
    closed: () => void (isAdopted || closeConnection(sock)),
  };
}

/** Checks an established connection, and makes it a transport when that is asked for, once. */
function handIn(sock: Connection, op: ConnectOptions): Dial {
  for (const option of ["port", "proxy"] as const) {
    check(!op[option], `${option} with a connection handed in`, "left out: it is established already");
  }
  checkNoHeaders(op);
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
  if (isDuplex(sock)) {
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
  return (signal) => adopt(sock, name, signal);
}

/** Whether it is a `tls.TLSSocket`, without loading what that is. */
function isTls(sock: Connection): sock is TLSSocket {
  return isDuplex(sock) && "getPeerCertificate" in sock;
}

async function adopt(sock: Connection, name: string | undefined, signal: AbortSignal): Promise<SocketTransport> {
  const stream = isDuplex(sock) ? sock : await duplexOf(sock);
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
