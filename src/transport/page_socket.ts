/** A connection over the WebSocket of the platform, for pages and their workers: the browser has TLS, proxies and frames.
 * @module */

import { MqttError } from "../errors.ts";
import { pageTick } from "../page_tick.ts";
import type { Sink, Transport } from "./transport.ts";
import { closedBy } from "./websocket_close.ts";

/** While more bytes than this have not left, nothing more is given to the browser, which would take it all. */
const MOST_UNSENT = 1_048_576;
/** No event tells that bytes have left: they are looked for each time after so many milliseconds, and when something comes. */
const LOOK = 10;

/** The code of an end without a close frame. */
const ABNORMAL = 1006;

/** What a connection of a page is opened with. */
export interface PageSocketOptions {
  /** Bytes that may have come while the client does not read: nothing can hold them back. */
  readonly maxBuffered: number;
}

/**
 * Opens a WebSocket.
 *
 * @throws {MqttError} `"cannotconnect"`, or what the signal was aborted with.
 */
export function openPageSocket(url: string, options: PageSocketOptions, signal: AbortSignal): Promise<Transport> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const socket = openSocket(url);
    const transport = new PageSocket(socket, options);
    const waiting = new AbortController();
    const settle = (error?: unknown) => {
      waiting.abort();
      if (error === undefined) return resolve(transport);
      transport.close();
      reject(error);
    };
    const aborted = () => settle(signal.reason);
    const failed = () => settle(refused(url));
    const opened = () => settle(socket.protocol === "mqtt" ? undefined : noMqtt(url, socket.protocol));
    signal.addEventListener("abort", aborted, waiting);
    socket.addEventListener("open", opened, waiting);
    socket.addEventListener("close", failed, waiting);
  });
}

function openSocket(url: string): WebSocket {
  try {
    const socket = new WebSocket(url, "mqtt"); // [MQTT-6.0.0-3]
    socket.binaryType = "arraybuffer";
    return socket;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MqttError("cannotconnect", `Cannot connect to ${whereIs(url)}: the browser refuses: ${why}`, cause);
  }
}

/** The adapter from a platform's WebSocket to a {@linkcode Transport}. */
class PageSocket implements Transport {
  readonly sock: WebSocket;
  /** The browser opens none with TLS whose certificate is not valid for the name. */
  readonly trusted: boolean;
  readonly #maxBuffered: number;
  #sink: Sink | undefined;
  /** Whether the sink wants more. */
  #reading = false;
  /** What has come meanwhile, and its bytes. */
  #waiting: Uint8Array[] = [];
  #waitingSize = 0;
  /** Why it is over, while the sink has not been told. */
  #over: MqttError | undefined;
  /** Whether the sink waits for a write, and what looks whether its bytes have left: it does nothing when that is over. */
  #writing = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Until it is closed: given as options, listeners take its signal. */
  readonly #listening = new AbortController();

  constructor(sock: WebSocket, { maxBuffered }: PageSocketOptions) {
    this.sock = sock;
    this.trusted = sock.url.startsWith("wss:");
    this.#maxBuffered = maxBuffered;
    sock.addEventListener("message", this.#received, this.#listening);
    sock.addEventListener("close", this.#closed, this.#listening);
    addEventListener("pagehide", this.#hidden, this.#listening);
  }

  /** Bytes that the browser has not sent. */
  get unsent(): number {
    return this.sock.bufferedAmount;
  }

  start(sink: Sink): void {
    this.#sink = sink;
    this.resume();
  }

  readonly #received = ({ data }: MessageEvent<ArrayBuffer | string>) => {
    if (this.#over !== undefined) return;
    if (typeof data === "string") return this.#fail(new MqttError("protocol", NOT_BINARY));
    const chunk = new Uint8Array(data);
    if (this.#reading) {
      this.#reading = this.#sink!.received(chunk, chunk.length);
    } else {
      this.#waiting.push(chunk);
      this.#waitingSize += chunk.length;
      if (this.#waitingSize > this.#maxBuffered) return this.#fail(flooded(this.#maxBuffered), { atOnce: true });
    }
    if (this.#writing) this.#look();
  };

  resume(): void {
    this.#reading = this.#sink !== undefined;
    let taken = 0;
    while (this.#reading && taken < this.#waiting.length) {
      const chunk = this.#waiting[taken++]!;
      this.#waitingSize -= chunk.length;
      this.#reading = this.#sink?.received(chunk, chunk.length) ?? false;
    }
    this.#waiting.splice(0, taken);
    if (this.#reading && this.#over !== undefined) this.#tell();
  }

  /** The browser copies the bytes: their memory is free at once. But while much is under way the sink waits. */
  write(bytes: Uint8Array): boolean {
    const { sock } = this;
    this.#writing = true;
    if (this.#over !== undefined) this.#tell();
    if (sock.readyState !== WebSocket.OPEN) return false; // it closes, which will be told
    sock.send(bytes as Uint8Array<ArrayBuffer>);
    this.#writing = sock.bufferedAmount > MOST_UNSENT;
    if (this.#writing) this.#lookLater();
    return !this.#writing;
  }

  /** In a tick, as a timer that a timer has set, and so on, rings once a minute in a tab in the background. */
  #lookLater(): void {
    pageTick(() => {
      clearTimeout(this.#timer);
      if (this.#writing) this.#timer = setTimeout(this.#look, LOOK);
    });
  }

  /** Tells the sink when what it wrote has left, as far as it has to. */
  readonly #look = () => {
    if (!this.#writing || this.sock.readyState !== WebSocket.OPEN) return;
    if (this.sock.bufferedAmount > MOST_UNSENT) return this.#lookLater();
    this.#writing = false;
    this.#sink?.written();
  };

  end(): void {
    this.sock.close();
  }

  close(): void {
    this.#sink = undefined;
    this.#waiting = [];
    this.#over = undefined;
    this.#writing = false;
    clearTimeout(this.#timer);
    this.#listening.abort();
    this.sock.close();
  }

  /** A page with an open WebSocket may not be kept for going back to; whoever comes back to it connects again. */
  readonly #hidden = () => {
    this.sock.close();
    this.#fail(new MqttError("socketclosed", "The connection was closed as the page was left"));
  };

  readonly #closed = ({ code, reason }: CloseEvent) => {
    this.#fail(code === ABNORMAL ? unannounced() : closedBy({ code, reason }));
  };

  /** It is over: the sink is told at once if it reads or waits for a write, otherwise when it reads on. */
  #fail(error: MqttError, { atOnce = false } = {}): void {
    this.#over ??= error;
    if (this.#sink !== undefined && (this.#reading || this.#writing || atOnce)) this.#tell();
  }

  #tell(): void {
    const sink = this.#sink, error = this.#over;
    this.close();
    sink?.closed(error!);
  }
}

const NOT_BINARY = "The broker sent a text frame, which MQTT has not [MQTT-6.0.0-1]";

/** The host of a URL: queries may have secrets. */
function whereIs(url: string): string {
  return new URL(url).host;
}

/** Nothing tells a page why: neither what the server answers nor what is wrong with its certificate. */
function refused(url: string): MqttError {
  const advice = "the browser does not tell pages why; its console may: is a broker running there, with a WebSocket " +
    "listener, at this path, and is its certificate valid?";
  return new MqttError("cannotconnect", `Cannot connect to ${whereIs(url)}: ${advice}`);
}

function noMqtt(url: string, protocol: string): MqttError {
  const what = protocol === "" ? "no subprotocol" : `the subprotocol ${JSON.stringify(protocol)}`;
  const message = `Cannot connect to ${whereIs(url)}: the server has agreed to ${what}, not to mqtt [MQTT-6.0.0-4]`;
  return new MqttError("cannotconnect", message);
}

function unannounced(): MqttError {
  const reason = new Error(`WebSocket close code ${ABNORMAL}, without a close frame`);
  return new MqttError("socketclosed", "The connection was closed, without a WebSocket close frame", reason);
}

function flooded(maxBuffered: number): MqttError {
  const what = `More than ${maxBuffered} bytes (maxBuffered) have come while messages were not settled`;
  return new MqttError("overflow", `${what}: a page cannot hold a broker back`);
}
