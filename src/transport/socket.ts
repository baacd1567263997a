/** A connection over a stream of `node:net` or `node:tls`, or any other Duplex.
 * @module */

import { type OnReadOpts, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setImmediate } from "node:timers";
import { MqttError } from "../errors.ts";
import type { Sink, Transport, Trust } from "./transport.ts";

/**
 * Bytes that a socket reads straight into the sink's memory: half the CPU time of 'data' events.
 * It must be given to the socket when that is made, before there is a sink.
 */
export class DirectRead {
  #sink: Sink | undefined;
  /** What a server said that did not wait for the client. */
  #early: Uint8Array | undefined;

  readonly options: OnReadOpts = {
    buffer: () => this.#sink === undefined ? new Uint8Array(64) : this.#sink.space(),
    callback: (length, chunk) => {
      if (this.#sink !== undefined) return this.#sink.received(chunk, length);
      this.#early = chunk.subarray(0, length);
      return false;
    },
  };

  /** From now on the sink is told; returns whether to read. */
  start(sink: Sink): boolean {
    this.#sink = sink;
    return this.#early === undefined || sink.received(this.#early, this.#early.length);
  }
}

/**
 * Runtimes read again and again while there is something, and no timer rings meanwhile: with a slow
 * callback 35 s were seen on Deno, 20 s on Node. After so many milliseconds of it the others have their turn.
 */
const LONGEST_TURN = 20;
/** Shorter reads are of a stream that leaves turns; they are spared the clock. */
const LONG_READ = 4096;

/** A sink whose reads leave turns to others: where they would not, it says no and later calls `resume`. */
function fair(sink: Sink, resume: () => void): Sink {
  let began = 0;
  const received = (chunk: Uint8Array, length: number) => {
    if (length < LONG_READ) return sink.received(chunk, length);
    if (began === 0) {
      began = performance.now();
      setImmediate(() => began = 0);
    }
    const more = sink.received(chunk, length);
    if (!more || performance.now() - began < LONGEST_TURN) return more;
    setImmediate(resume);
    return false;
  };
  return { space: () => sink.space(), received, written: () => sink.written(), closed: (error) => sink.closed(error) };
}

const failures = new WeakMap<Duplex, Error>();

/** Hears the errors of a socket from the start: on Deno an alert may come right behind the handshake. */
export function watch(socket: Duplex): void {
  socket.on("error", (error: Error) => failures.set(socket, error));
}

/** The error a socket that is watched has had; Deno does not always set `errored`. */
export function failureOf(socket: Duplex): Error | undefined {
  return failures.get(socket);
}

/** The adapter from a Duplex, a `net.Socket` or `tls.TLSSocket` mostly, to a {@linkcode Transport}. */
export class SocketTransport implements Transport {
  readonly sock: Duplex;
  readonly trusted: Trust;
  readonly #direct: DirectRead | undefined;
  /** A socket is done with a chunk once it is written; another stream may hand it on as it is. */
  readonly #copies: boolean;
  #sink: Sink | undefined;

  constructor(sock: Duplex, trusted: Trust, direct?: DirectRead) {
    this.sock = sock;
    this.trusted = trusted;
    this.#direct = direct;
    this.#copies = !(sock instanceof Socket);
    watch(sock);
    sock.on("close", () => this.#closed());
    sock.on("end", () => this.#closed());
  }

  start(to: Sink): void {
    const sink = fair(to, () => this.#sink && this.resume());
    this.#sink = sink;
    if (this.sock.destroyed || this.sock.readableEnded) return this.#closed();
    if (this.#direct === undefined) {
      this.sock.on("data", (chunk: Uint8Array) => {
        if (this.#sink?.received(chunk, chunk.length) === false) this.sock.pause();
      });
      this.sock.resume();
    } else if (this.#direct.start(sink)) {
      this.sock.resume();
    }
  }

  readonly #written = (error?: Error | null) => {
    if (!error) this.#sink?.written();
  };

  write(bytes: Uint8Array): void {
    this.sock.write(this.#copies ? bytes.slice() : bytes, this.#written);
  }

  resume(): void {
    this.sock.resume();
  }

  end(): void {
    this.sock.end();
  }

  close(): void {
    this.#sink = undefined;
    this.sock.destroy();
  }

  #closed(): void {
    const sink = this.#sink;
    this.#sink = undefined;
    this.sock.destroy();
    sink?.closed(socketError(failureOf(this.sock)));
  }
}

/** The end of a connection as the client's error: {@linkcode MqttError} `"tls"` or `"socketclosed"`. */
export function socketError(cause: unknown): MqttError {
  const { code, message } = (cause ?? {}) as NodeJS.ErrnoException;
  // Under TLS 1.3 a client certificate is refused after the handshake.
  if (code?.startsWith("ERR_SSL_")) return new MqttError("tls", `TLS failed: ${message}`, cause);
  return new MqttError(
    "socketclosed",
    `The connection was closed${message ? `: ${message}` : " by the broker"}`,
    cause,
  );
}
