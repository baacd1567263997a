/** A connection over a WebSocket (RFC 6455, with section 6 of MQTT), on any other transport: that brings backpressure, TLS and
 * proxies. Loaded only by programs that have such a connection.
 * @module */

import { MqttError } from "../errors.ts";
import { newBytes } from "../runtime.ts";
import { distrust, type Trust } from "../session/trust.ts";
import type { Sink, Transport } from "./transport.ts";
import { closedBy } from "./websocket_close.ts";
import { BINARY, Block, CLOSE, FrameReader, MAX_PAYLOAD, PONG } from "./websocket_frames.ts";
import { Handshake, type WebSocketTarget } from "./websocket_handshake.ts";

/** A connection starts with a small block, and has a larger one when a read filled it. */
const FIRST_BLOCK = 1024, BLOCK = 262_144;

const NORMAL = 1000;

/** Makes a connection one over a WebSocket; `signal` gives it up. */
export type Upgrade = (below: Transport, signal: AbortSignal) => Promise<Transport>;

/** What it takes to ask for a WebSocket is there, before there is a connection. */
export async function upgrader(target: WebSocketTarget): Promise<Upgrade> {
  const { createHash } = await import("node:crypto");
  const sha1 = (text: string) => createHash("sha1").update(text).digest("base64");
  return (below, signal) => {
    const error = distrust(below.trusted, { credentials: "none", rejectUntrusted: target.mustTrust });
    if (error === undefined) return upgrade(below, new Handshake(target, sha1), signal);
    below.close();
    return Promise.reject(error);
  };
}

function upgrade(below: Transport, handshake: Handshake, signal: AbortSignal): Promise<Transport> {
  return new Promise((resolve, reject) => {
    const settle = (error?: unknown) => {
      signal.removeEventListener("abort", aborted);
      if (error === undefined) return resolve(transport);
      transport.close();
      reject(error);
    };
    const aborted = () => settle(signal.reason);
    const transport = new WebSocketTransport(below, handshake, settle);
    signal.addEventListener("abort", aborted);
    if (signal.aborted) aborted();
    else transport.open();
  });
}

/** The frames between a sink and the transport below. */
class WebSocketTransport implements Transport, Sink {
  readonly #below: Transport;
  readonly #opened: (error?: MqttError) => void;
  /** Until the server has agreed. */
  #handshake: Handshake | undefined;
  readonly #reader = new FrameReader();
  #sink: Sink | undefined;
  #block = new Uint8Array(FIRST_BLOCK);
  /** How much of the block has been read to. */
  #filled = 0;
  /** What has come and is not taken apart, as the sink does not want more: at most one block. */
  #rest: Uint8Array = new Uint8Array(0);
  /** Whether the sink wants more. */
  #reading = false;
  /** Whether a write is in flight below, and the block that it is in, unless that is the request. */
  #writing = false;
  #frame: Block | undefined;
  /** What the sink writes and is in no frame yet, and whether it waits for `written`. */
  #bytes: Uint8Array = new Uint8Array(0);
  #waits = false;
  /** The code that a close frame is to have, when all is written; whether one has been sent, after which nothing is. */
  #closing = 0;
  #said = false;
  #closed = false;
  /** Why it is over, when there was no sink yet to hear it. */
  #over: MqttError | undefined;

  /** `opened` is called once, perhaps with what went wrong. */
  constructor(below: Transport, handshake: Handshake, opened: (error?: MqttError) => void) {
    this.#below = below;
    this.#handshake = handshake;
    this.#opened = opened;
  }

  get sock(): unknown {
    return this.#below.sock;
  }

  get trusted(): Trust {
    return this.#below.trusted;
  }

  /** Asks the server. */
  open(): void {
    this.#below.start(this);
    if (this.#closed) return;
    this.#writing = !this.#below.write(this.#handshake!.request);
  }

  start(sink: Sink): void {
    if (this.#over !== undefined) return sink.closed(this.#over);
    this.#sink = sink;
    this.resume();
  }

  // ---- what comes from below

  space(): Uint8Array {
    if (this.#block.length - this.#filled < this.#block.length >> 3) {
      this.#block = newBytes(this.#block.length);
      this.#filled = 0;
    }
    return this.#block.subarray(this.#filled);
  }

  received(chunk: Uint8Array, length: number): boolean {
    const block = this.#block;
    if (chunk.buffer === block.buffer) {
      this.#filled += length;
      if (length === chunk.length && block.length < BLOCK) {
        this.#block = newBytes(4 * block.length);
        this.#filled = 0;
      }
    }
    const bytes = chunk.subarray(0, length);
    if (this.#handshake === undefined) return this.#take(bytes);
    try {
      const at = this.#handshake.take(bytes);
      if (at === undefined) return true;
      this.#handshake = undefined;
      this.#rest = bytes.subarray(at);
      this.#opened();
    } catch (error) {
      this.#opened(error as MqttError);
    }
    return false; // until there is a sink
  }

  /** Hands on what is in the frames, and then what ends them; whether to read on. */
  #take(bytes: Uint8Array): boolean {
    const reader = this.#reader, { length } = bytes;
    let at = 0;
    while (this.#reading) {
      if (reader.mistake !== undefined) return this.#fail(reader.mistake, reader.mistake.closeCode);
      if (reader.closed !== undefined) return this.#fail(closedBy(reader.closed), reader.closed.code);
      if (at === length) break;
      at = reader.take(bytes, at, length);
      const { from, to } = reader;
      if (to > from) this.#reading = this.#sink!.received(bytes.subarray(from, to), to - from);
      if (this.#closed) return false;
    }
    this.#rest = bytes.subarray(at);
    if (reader.ping !== undefined) this.#write();
    return this.#reading;
  }

  /** The connection is over; the server is told with a close frame, if nothing else is being written. */
  #fail(error: MqttError, code: number): false {
    const sink = this.#sink;
    this.#bytes = new Uint8Array(0);
    this.#closing = code === 1005 ? NORMAL : code;
    this.#write();
    this.close();
    sink?.closed(error);
    return false;
  }

  closed(error: MqttError): void {
    const sink = this.#sink;
    this.close();
    if (this.#handshake !== undefined) return this.#opened(unanswered(this.#handshake, error, this.trusted));
    this.#over = error.code === "socketclosed" ? unannounced(error) : error;
    sink?.closed(this.#over);
  }

  // ---- what goes below

  write(bytes: Uint8Array): boolean {
    this.#bytes = bytes;
    this.#write();
    this.#waits = this.#bytes.length > 0 || this.#writing;
    return !this.#waits;
  }

  /** Writes frames until one is in flight, or there are no more. */
  #write(): void {
    while (!this.#writing && !this.#said && !this.#closed) {
      const block = Block.take(), frame = this.#next(block);
      if (frame === undefined) return block.free();
      this.#writing = !this.#below.write(frame);
      if (this.#writing) this.#frame = block;
      else block.free();
    }
  }

  #next(block: Block): Uint8Array | undefined {
    const { ping } = this.#reader;
    if (ping !== undefined) {
      this.#reader.ping = undefined;
      return block.frame(PONG, ping);
    }
    if (this.#bytes.length > 0) {
      const bytes = this.#bytes;
      this.#bytes = bytes.subarray(MAX_PAYLOAD);
      return block.frame(BINARY, bytes.subarray(0, MAX_PAYLOAD));
    }
    if (this.#closing === 0) return undefined;
    this.#said = true;
    return block.frame(CLOSE, Uint8Array.of(this.#closing >> 8, this.#closing & 255));
  }

  written(): void {
    this.#writing = false;
    this.#frame?.free();
    this.#frame = undefined;
    this.#write();
    if (!this.#waits || this.#bytes.length > 0 || this.#writing) return;
    this.#waits = false;
    this.#sink?.written();
  }

  resume(): void {
    if (this.#sink === undefined || this.#reading) return;
    this.#reading = true;
    if (this.#take(this.#rest)) this.#below.resume();
  }

  /** The server answers with a close frame, and closes the connection below (section 7.1.1). */
  end(): void {
    this.#closing = NORMAL;
    this.#write();
  }

  close(): void {
    this.#sink = undefined;
    this.#closed = true;
    this.#reading = false;
    this.#below.close();
  }
}

/** The error of an end before the answer. */
function unanswered(handshake: Handshake, error: MqttError, trusted: Trust): MqttError {
  if (error.code !== "socketclosed") return error;
  const why = error.cause instanceof Error ? ` (${error.cause.message})` : "";
  const advice = trusted === false ? ", and TLS (wss:) what it wants" : "";
  const what = `it closed the connection without an answer${why}: is this the port of its WebSocket${advice}?`;
  return handshake.refused(what, error.cause);
}

/** The error of an end without a close frame. */
function unannounced({ message, cause }: MqttError): MqttError {
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  const reason = new Error(`without a WebSocket close frame${why}`, { cause });
  return new MqttError("socketclosed", `${message}, without a WebSocket close frame`, reason);
}
