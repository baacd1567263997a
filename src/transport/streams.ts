/** A connection handed in as web streams: `Deno.Conn`, `Deno.TlsConn`, or any `{ readable, writable }`.
 * @module */

import { Duplex } from "node:stream";

/** The streams of a connection; `Deno.Conn` is one. */
export interface Streams {
  /** What comes from the broker. */
  readonly readable: ReadableStream<Uint8Array>;
  /** What goes to the broker. */
  readonly writable: WritableStream<Uint8Array>;
}

/**
 * A Duplex as it is, or the streams as one, which emits 'secureConnect' when a `handshake`, as `Deno.TlsConn` has, is done.
 * `Duplex.fromWeb` would lose what was not read yet when the other side closes.
 */
export function duplexOf(streams: Duplex | Streams & { handshake?: () => Promise<unknown> }): Duplex {
  if (streams instanceof Duplex) return streams;
  const reader = streams.readable.getReader(), writer = streams.writable.getWriter();
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
