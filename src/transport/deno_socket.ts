/** A TCP connection of Deno's own: a program that needs nothing of `node:net` starts 25 ms sooner.
 * @module */

import { MqttError } from "../errors.ts";
import { nextTurn } from "../runtime.ts";
import type { Host } from "./host.ts";
import type { Sink, Transport } from "./transport.ts";
import { Turn } from "./turn.ts";
import { unreached } from "./unreached.ts";

/** What a `Deno.TcpConn` can do. */
interface Conn {
  read(space: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
  setNoDelay(): void;
}

/** `Deno`, where there is one. */
interface Runtime {
  connect(to: { hostname: string; port: number; signal: AbortSignal }): Promise<Conn>;
}

/**
 * Opens a connection.
 *
 * @throws {MqttError} `"cannotresolve"`, `"cannotconnect"`; or what the signal was aborted with.
 */
export async function dialDeno(to: Host, signal: AbortSignal): Promise<Transport> {
  const { Deno } = globalThis as unknown as { Deno: Runtime };
  let conn: Conn;
  try {
    conn = await Deno.connect({ hostname: to.host, port: to.port, signal });
  } catch (error) {
    throw signal.aborted ? signal.reason : unreached(to, error as NodeJS.ErrnoException);
  }
  conn.setNoDelay();
  return new DenoTransport(conn);
}

/** The adapter from a `Deno.TcpConn` to a {@linkcode Transport}. */
class DenoTransport implements Transport {
  readonly sock: Conn;
  readonly trusted = false;
  readonly #turn = new Turn();
  #sink: Sink | undefined;
  /** Whether the sink wants more. */
  #wants = false;
  /** Whether that is being read. */
  #reads = false;
  /** Whether a write is under way. */
  #writes = false;
  /** Why nothing can be written any more. */
  #broken: Error | undefined;
  /** Whether nothing more will be written, once that is done. */
  #ends = false;

  constructor(sock: Conn) {
    this.sock = sock;
  }

  start(sink: Sink): void {
    this.#sink = sink;
    this.resume();
  }

  resume(): void {
    this.#wants = true;
    if (!this.#reads) void this.#read();
  }

  async #read(): Promise<void> {
    this.#reads = true;
    while (this.#wants && this.#sink !== undefined) {
      const space = this.#sink.space();
      let length: number | null;
      try {
        length = await this.sock.read(space);
      } catch (error) {
        return this.#closed(error as Error);
      }
      if (length === null) return this.#closed();
      this.#turn.begin(length);
      this.#wants = this.#sink?.received(space, length) ?? false;
      if (this.#turn.isOver(length)) await new Promise<void>((resolve) => nextTurn(resolve));
    }
    this.#reads = false;
    if (this.#broken !== undefined) this.#closed(this.#broken);
  }

  write(bytes: Uint8Array): boolean {
    this.#writes = true;
    void this.#write(bytes);
    return false;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length;) at += await this.sock.write(at === 0 ? bytes : bytes.subarray(at));
    } catch (error) {
      // What had come before that is still read; then reading tells the end.
      if (this.#reads) this.#broken = error as Error;
      else this.#closed(error as Error);
      return;
    }
    this.#writes = false;
    this.#sink?.written();
    if (this.#ends && !this.#writes) this.end();
  }

  end(): void {
    this.#ends = true;
    if (!this.#writes) this.sock.closeWrite().catch(() => {}); // it is closed already, which reading tells
  }

  close(): void {
    this.#sink = undefined;
    try {
      this.sock.close();
    } catch { /* it is closed already */ }
  }

  #closed(cause?: Error): void {
    const sink = this.#sink;
    this.close();
    const why = cause ? `: ${cause.message}` : " by the broker";
    sink?.closed(new MqttError("socketclosed", `The connection was closed${why}`, cause));
  }
}
