/** A connection over a stream of `node:net` or `node:tls`, or any other Duplex.
 * @module */

import type { OnReadOpts } from "node:net";
import type { Duplex } from "node:stream";
import { MqttError } from "../errors.ts";
import { nextTurn } from "../runtime.ts";
import type { Trust } from "../session/trust.ts";
import type { Sink, Transport } from "./transport.ts";

/**
 * Bytes that a socket reads straight into the sink's memory: half the CPU time of 'data' events.
 * The socket must be told when it is made, before there is a sink, and be paused until then.
 */
export class DirectRead {
  to: Pick<Sink, "space" | "received"> | undefined;
  readonly options: OnReadOpts = {
    buffer: () => this.to?.space() ?? new Uint8Array(64),
    callback: (length, chunk) => this.to?.received(chunk, length) ?? false,
  };
}

/**
 * Runtimes read again and again while there is something, and no timer rings meanwhile: with a slow
 * callback 35 s were seen on Deno, 20 s on Node. After so many milliseconds of it the others have their turn.
 */
const LONGEST_TURN = 20;
/** A shorter read has emptied the socket, so other events have had their turn: the clock is not read for it. */
const LONG_READ = 4096;

/** Why a stream is not ready; the cause is its error, if it had one. */
type Failure = (cause: NodeJS.ErrnoException | undefined) => MqttError;

/** The adapter from a Duplex, a `net.Socket` or `tls.TLSSocket` mostly, to a {@linkcode Transport}. */
export class SocketTransport<S extends Duplex = Duplex> implements Transport {
  readonly stream: S;
  readonly sock: unknown;
  trusted: Trust = false;
  readonly #direct: DirectRead | undefined;
  /** Whether what is written may be handed on as it is. */
  readonly #handsOn: boolean;
  #sink: Sink | undefined;
  /** Whether the sink wants more. */
  #reading = true;
  /** Whether the sink waits for a write. */
  #writing = false;
  /** When this turn's first long read came; 0 before it. */
  #began = 0;
  #over = false;
  /** The first one. Deno does not always keep it in `errored`. */
  #error: NodeJS.ErrnoException | undefined;

  /** Make it in the same tick as the stream, so that no error is missed. `sock` is what the application gets as `mqtt.sock`. */
  constructor(stream: S, { sock = stream, direct }: { sock?: unknown; direct?: DirectRead | undefined } = {}) {
    this.stream = stream;
    this.sock = sock;
    this.#direct = direct;
    this.#handsOn = !("setNoDelay" in stream);
    stream.on("error", (error) => {
      this.#error ??= error;
      this.#ended(); // Node and Deno do not close a TLS connection that breaks
    });
  }

  /** Waits for the event; an error, the end of the stream or the signal ends the wait and the stream. */
  ready(event: string, signal: AbortSignal, failure: Failure): Promise<void> {
    const { stream } = this;
    return new Promise((resolve, reject) => {
      const settle = (error?: unknown) => {
        stream.off(event, done).off("error", failed).off("close", failed);
        signal.removeEventListener("abort", aborted);
        if (error === undefined) return resolve();
        stream.destroy();
        reject(error);
      };
      const done = () => settle(), failed = () => settle(failure(this.#error)), aborted = () => settle(signal.reason);
      stream.on(event, done).on("error", failed).on("close", failed);
      signal.addEventListener("abort", aborted);
      if (signal.aborted) aborted();
    });
  }

  start(sink: Sink): void {
    const { stream } = this;
    this.#sink = sink;
    if (stream.destroyed || stream.readableEnded || this.#error) return this.#closed();
    stream.on("close", this.#ended).on("end", this.#ended);
    if (this.#direct) this.#direct.to = this;
    else stream.on("data", (chunk: Uint8Array) => this.received(chunk, chunk.length) || stream.pause());
    stream.resume();
  }

  /** Where the stream may read to. */
  space(): Uint8Array {
    return this.#sink!.space();
  }

  /** Passes a read on; whether to go on. Where reads leave no turn to others, it stops, and goes on after them. */
  received(chunk: Uint8Array, length: number): boolean {
    if (length >= LONG_READ && this.#began === 0) {
      this.#began = performance.now();
      nextTurn(() => this.#began = 0);
    }
    this.#reading = this.#sink?.received(chunk, length) ?? false;
    if (!this.#reading || length < LONG_READ || performance.now() - this.#began < LONGEST_TURN) return this.#reading;
    nextTurn(() => this.#sink && this.resume());
    return this.#reading = false;
  }

  /** A socket is done with a chunk once it is written; another stream may hand it on as it is, and gets a copy. */
  write(bytes: Uint8Array): boolean {
    const { stream } = this;
    this.#writing = true;
    if (this.#over) {
      this.#ended();
      return false;
    }
    let gone = false;
    stream.write(this.#handsOn ? bytes.slice() : bytes, (error) => {
      if (error || gone) return;
      this.#writing = false;
      this.#sink?.written();
    });
    // Not only when it calls back, as others come first: on Deno round trips take 1.08 of a socket's, not 1.26.
    gone = stream.writableLength === 0 && !stream.errored && !stream.destroyed;
    if (gone) this.#writing = false;
    return gone;
  }

  resume(): void {
    this.#reading = true;
    if (this.#over) this.#closed();
    else this.stream.resume();
  }

  end(): void {
    this.stream.end();
  }

  close(): void {
    this.#sink = undefined;
    if (this.#direct) this.#direct.to = undefined;
    this.stream.destroy();
  }

  /**
   * The stream has ended. The sink is told at once if it reads, or waits for a write that will never be done; otherwise
   * when it reads on, after the bytes that it has not taken yet.
   */
  readonly #ended = () => {
    this.#over = this.#sink !== undefined;
    if (this.#reading || this.#writing) this.#closed();
  };

  #closed(): void {
    const sink = this.#sink;
    this.close();
    sink?.closed(this.failure());
  }

  /** Why it is over: `"tls"` or `"socketclosed"`. */
  failure(): MqttError {
    const cause = this.#error;
    // Under TLS 1.3 a client certificate is refused after the handshake.
    if (cause?.code?.startsWith("ERR_SSL_")) return new MqttError("tls", `TLS failed: ${cause.message}`, cause);
    const why = cause ? `: ${cause.message}` : " by the broker";
    return new MqttError("socketclosed", `The connection was closed${why}`, cause);
  }
}

/** Why a stream is not ready when TLS does not start; who opened it may have had the certificate checked. */
export function handshakeFailed(cause: NodeJS.ErrnoException | undefined): MqttError {
  const reason = cause?.message ?? "the server closed the connection";
  const problem = `${cause?.code} ${cause?.message}`;
  // A server that speaks TLS says with an alert what it does not like: our own certificate, or our version.
  if (/alert/i.test(problem)) return new MqttError("tls", `The TLS handshake failed: ${reason}`, cause);
  const code = distrust(problem);
  if (code !== undefined) return new MqttError(code, `The TLS handshake failed: ${reason}`, cause);
  return new MqttError("tls", `The TLS handshake failed: is this a TLS port? ${reason}`, cause);
}

/** What is wrong with a certificate, in the words of any runtime. */
export function distrust(problem: string): "untrusted" | "wrongname" | "expired" | undefined {
  if (/EXPIRED|NOT_YET_VALID|NotValidYet/i.test(problem)) return "expired";
  if (/ALTNAME|NotValidForName|not valid for name/i.test(problem)) return "wrongname";
  return /SELF_SIGNED|UNABLE_TO_|UnknownIssuer/i.test(problem) ? "untrusted" : undefined;
}
