/** A connection handed in as web streams: `Deno.Conn`, `Deno.TlsConn`, or any `{ readable, writable }`.
 * @module */

import { socketError } from "./socket.ts";
import type { Sink, Transport, Trust } from "./transport.ts";

/** The streams of a connection; `Deno.Conn` is one. */
export interface Streams {
  /** What comes from the broker. */
  readonly readable: ReadableStream<Uint8Array>;
  /** What goes to the broker. */
  readonly writable: WritableStream<Uint8Array>;
}

/** The adapter from web streams to a {@linkcode Transport}. */
export class StreamTransport implements Transport {
  readonly sock: Streams;
  readonly trusted: Trust;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #sink: Sink | undefined;
  #resume = () => {};

  constructor(sock: Streams, trusted: Trust) {
    this.sock = sock;
    this.trusted = trusted;
    this.#reader = sock.readable.getReader();
    this.#writer = sock.writable.getWriter();
  }

  start(sink: Sink): void {
    this.#sink = sink;
    void this.#read(sink);
  }

  async #read(sink: Sink): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        if (done || this.#sink === undefined) return this.#closed();
        if (!sink.received(value, value.length)) await new Promise<void>((resolve) => this.#resume = resolve);
      }
    } catch (error) {
      this.#closed(error);
    }
  }

  /** The bytes are copied: a stream may hand on what it was given as it is. */
  write(bytes: Uint8Array): void {
    this.#writer.write(bytes.slice()).then(() => this.#sink?.written(), (error) => this.#closed(error));
  }

  resume(): void {
    this.#resume();
  }

  end(): void {
    this.#writer.close().catch((error) => this.#closed(error));
  }

  close(): void {
    this.#sink = undefined;
    this.#resume();
    // Both may have failed already, which closed() has told.
    this.#reader.cancel().catch(() => undefined);
    this.#writer.abort().catch(() => undefined);
  }

  #closed(cause?: unknown): void {
    const sink = this.#sink;
    this.close();
    sink?.closed(socketError(cause));
  }
}
