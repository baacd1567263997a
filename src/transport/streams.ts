/** A connection handed in as web streams: `Deno.Conn`, `Deno.TlsConn`, or any `{ readable, writable }`.
 * @module */

import type { Duplex } from "node:stream";

/** The streams of a connection; `Deno.Conn` is one. */
export interface Streams {
  /** What comes from the broker. */
  readonly readable: ReadableStream<Uint8Array>;
  /** What goes to the broker. */
  readonly writable: WritableStream<Uint8Array>;
}

/** An established connection. */
export type Connection = Duplex | Streams;

/** Whether it is a Duplex; by what it can do, as it may be of another realm, and `node:stream` is not loaded for it. */
export function isDuplex(connection: Connection): connection is Duplex {
  const { on, pipe, write } = Object(connection) as Partial<Duplex>;
  return [on, pipe, write].every((method) => typeof method === "function");
}

/**
 * The streams as a Duplex, which emits 'secureConnect' when a `handshake`, as `Deno.TlsConn` has, is done.
 * `Duplex.fromWeb` would lose what was not read yet when the other side closes.
 */
export async function duplexOf(streams: Streams & { handshake?: () => Promise<unknown> }): Promise<Duplex> {
  const reader = streams.readable.getReader(), writer = streams.writable.getWriter(); // before anybody else does
  const { Duplex } = await import("node:stream");
  const stream: Duplex = new Duplex({
    read: () => void reader.read().then(({ done, value }) => stream.push(done ? null : value), failed),
    write: (bytes, _encoding, done) => void writer.write(bytes).then(() => done(), done),
    final: (done) => void writer.close().then(() => done(), done),
    // Both may have failed already, which has been told.
    destroy: (error, done) => {
      reader.cancel().catch(() => undefined);
      writer.abort().catch(() => undefined);
      done(error);
    },
  });
  const failed = (error: Error) => void stream.destroy(error);
  streams.handshake?.().then(() => stream.emit("secureConnect"), failed);
  return stream;
}

/** Closes a connection that nobody has read or written. */
export function closeConnection(connection: Connection): void {
  if (isDuplex(connection)) return void connection.destroy();
  connection.readable.cancel().catch(() => undefined);
  connection.writable.abort().catch(() => undefined);
}
