/** WebSocket to MQTT: pages and programs subscribe and publish in JSON over one connection to the broker. See WEBSOCKET.md. */
import { Buffer } from "node:buffer";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { type WebSocket, WebSocketServer } from "ws";
import { type AwayError, Broker, json } from "./broker.ts";
import { pathOf, refuse } from "./guard.ts";
import { listen } from "./listen.ts";
import { Outbox } from "./outbox.ts";
import * as program from "./program.ts";

/** The bounds are those of WEBSOCKET.md. */
export interface WebSocketOptions extends program.BrokerOptions, program.ListenOptions {
  /** Bytes of a message from a socket; 1 MiB by default. */
  maxMessage?: number;
  /** Sockets, and filters of each; 256 and 100 by default. */
  maxSockets?: number;
  maxFilters?: number;
  /** Messages, and characters, that may wait for a slow socket; 5,000 and 1 MiB by default. */
  maxWaiting?: { messages: number; size: number };
  /** Milliseconds between pings; a socket that answers none is ended. 15,000 by default. */
  heartbeat?: number;
}

/** What a socket sends. */
interface Request {
  type: "subscribe" | "unsubscribe" | "publish";
  filter: string;
  topic: string;
  payload?: string;
  base64?: string;
  retain?: boolean;
  /** Comes back with the answer. A publish without it is answered only when it fails. */
  id?: unknown;
}

/** Bytes the socket may have in its own buffer; what is more waits in the outbox. */
const HIGH_WATER = 262_144;
/** Publishes of one socket that may wait for the broker; then the socket is not read. */
const PUBLISHING = 1000;

/** Starts the bridge and the page; it listens at once, whether the broker is there or not. */
export async function startWebSocket(options: WebSocketOptions): Promise<program.Bridge> {
  const { maxSockets = 256, maxFilters = 100, heartbeat = 15_000, maxMessage = 1_048_576 } = options;
  const broker = new Broker(options.broker, options.op, options.log);
  const sockets = new Set<WebSocket>();
  let dropped = 0, failure = "";

  const server = createServer((request, response) => {
    const refusal = refuse(request, options);
    if (pathOf(request) !== "/status") return void serve(request, response);
    if (refusal) response.writeHead(refusal.status).end(refusal.reason);
    else response.setHeader("content-type", "application/json").end(JSON.stringify(status()));
  });
  const upgrader = new WebSocketServer({ noServer: true, clientTracking: false, maxPayload: maxMessage });
  server.on("upgrade", (request, socket, head) => {
    const refusal = refuse(request, options) ??
      (sockets.size < maxSockets ? undefined : { status: 503, reason: "Too many sockets are open" });
    if (!refusal) return upgrader.handleUpgrade(request, socket, head, attend);
    const length = Buffer.byteLength(refusal.reason);
    socket.on("error", (error) => failure = error.message);
    socket.end(
      `HTTP/1.1 ${refusal.status} Refused\r\nConnection: close\r\nContent-Length: ${length}\r\n\r\n${refusal.reason}`,
    );
  });

  /** Serves one socket, from its first message to its last. */
  function attend(socket: WebSocket): void {
    const filters = new Map<string, () => void>();
    let publishing = 0, alive = true, last: unknown;
    const outbox = new Outbox({
      ready: () => socket.readyState === socket.OPEN && socket.bufferedAmount < HIGH_WATER,
      write(frames) {
        for (const frame of frames.slice(0, -1)) socket.send(frame);
        socket.send(frames.at(-1)!, () => outbox.flush());
      },
      lost: (count) => JSON.stringify({ type: "dropped", count }),
    }, options.maxWaiting ?? { messages: 5000, size: 1_048_576 });

    const send = (message: Record<string, unknown>) => outbox.push(JSON.stringify(message));
    const tell = () => {
      const { broker: state, reason, away } = broker.status();
      send({ type: "state", broker: state, reason, away });
    };

    function subscribe({ filter, id }: Request): void {
      if (typeof filter !== "string") throw new TypeError("Cannot subscribe as filter must be a string");
      if (filters.has(filter)) throw new TypeError(`"${filter}" is subscribed already`);
      if (filters.size >= maxFilters) throw new RangeError(`Cannot subscribe to more than ${maxFilters} filters`);
      let answered = false;
      filters.set(filter, () => {}); // until subscribe() has returned
      const stop = broker.subscribe(filter, {
        granted() {
          if (!answered) send({ type: "subscribed", filter, id });
          answered = true;
        },
        message(value) {
          if (value === last) return; // it came by another filter of this socket
          last = value;
          outbox.push(`{"type":"message",${json(value)}}`);
        },
        refused(error) {
          filters.delete(filter);
          send({ type: "error", filter, id, message: error.message });
        },
      });
      filters.set(filter, stop);
    }

    function unsubscribe({ filter, id }: Request): void {
      const stop = filters.get(filter);
      if (stop === undefined) throw new TypeError(`"${filter}" is not subscribed`);
      filters.delete(filter);
      stop();
      send({ type: "unsubscribed", filter, id });
    }

    async function publish({ topic, payload = "", base64, retain = false, id }: Request): Promise<void> {
      if (++publishing === PUBLISHING) socket.pause();
      try {
        await broker.publish(topic, base64 === undefined ? payload : Buffer.from(base64, "base64"), { retain });
        if (id !== undefined) send({ type: "published", id });
      } finally {
        if (--publishing === PUBLISHING >> 1) socket.resume();
      }
    }

    async function take(text: string): Promise<void> {
      let id: unknown;
      try {
        const request = JSON.parse(text) as Request;
        id = request.id;
        if (request.type === "publish") await publish(request);
        else if (request.type === "subscribe") subscribe(request);
        else if (request.type === "unsubscribe") unsubscribe(request);
        else throw new TypeError(`Cannot do ${JSON.stringify(request.type)}: subscribe, unsubscribe or publish`);
      } catch (error) {
        const { message, retryAfter } = error as AwayError;
        send({ type: "error", id, message, retryAfter });
      }
    }

    sockets.add(socket);
    broker.changed.add(tell);
    tell();
    const beat = setInterval(() => {
      if (!alive && !socket.isPaused) return socket.terminate();
      alive = false;
      socket.ping();
    }, heartbeat);
    socket.on("pong", () => alive = true);
    socket.on("message", (data, isBinary) => {
      if (isBinary) socket.close(1003, "JSON in text messages, please");
      else void take((data as Buffer).toString());
    });
    socket.on("error", (error) => failure = error.message);
    socket.on("close", () => {
      clearInterval(beat);
      broker.changed.delete(tell);
      for (const stop of filters.values()) stop();
      sockets.delete(socket);
      dropped += outbox.dropped;
    });
  }

  function status(): Record<string, unknown> {
    return { ...broker.status(), sockets: sockets.size, dropped, failure };
  }

  const url = await listen(server, options);
  return {
    url,
    status,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.terminate();
      server.closeAllConnections();
      await Promise.all([closed, broker.close()]);
    },
  };
}

/** What the page consists of. */
const uplot = dirname(createRequire(import.meta.url).resolve("uplot"));
const page = join(import.meta.dirname!, "page");
const files: Record<string, readonly [file: string, type: string]> = {
  "/": [join(page, "index.html"), "text/html"],
  "/page.js": [join(page, "page.js"), "text/javascript"],
  "/page.css": [join(page, "page.css"), "text/css"],
  "/icon.svg": [join(page, "icon.svg"), "image/svg+xml"],
  "/uplot.js": [join(uplot, "uPlot.esm.js"), "text/javascript"],
  "/uplot.css": [join(uplot, "uPlot.min.css"), "text/css"],
};

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [file, type] = files[pathOf(request)] ?? [];
  if (file === undefined || request.method !== "GET") return void response.writeHead(404).end();
  const bytes = await readFile(file).catch((error: Error) => error);
  if (bytes instanceof Error) return void response.writeHead(404).end(bytes.message);
  response.writeHead(200, {
    "content-type": `${type}; charset=utf-8`,
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
  }).end(bytes);
}

if (program.isProgram(import.meta.url)) {
  const values = program.parse(
    `websocket.ts [--broker mqtt://localhost] [--host 127.0.0.1] [--port 8080] [--token ...] [--origin https://...]...
The environment may have MQTT_USER, MQTT_PASSWORD and BRIDGE_TOKEN.`,
    { ...program.brokerArgs, ...program.listenArgs },
  );
  const { log } = program;
  const bridge = await startWebSocket({ ...program.brokerOptions(values), ...program.listenOptions(values), log });
  program.runUntilSignal(bridge);
  log(`WebSocket and page on ${bridge.url} for ${values.broker}`);
}
