/** WebSocket to MQTT: pages and programs subscribe and publish in JSON over one connection to the broker. See WEBSOCKET.md. */
import { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type WebSocket, WebSocketServer } from "ws";
import { type AwayError, Broker } from "./broker.ts";
import { pathOf, refuse } from "./guard.ts";
import { listen } from "./listen.ts";
import { Losses } from "./losses.ts";
import { Outbox, weigh } from "./outbox.ts";
import { json, payloadOf } from "./payload.ts";
import { fromJson } from "./properties.ts";
import { serve } from "./page.ts";
import * as program from "./program.ts";
import type { WaitingLimits } from "./waiting.ts";

/** The bounds are those of WEBSOCKET.md. */
export interface WebSocketOptions extends program.BrokerOptions, program.ListenOptions {
  /** Bytes of a message from a socket; 1 MiB by default. */
  maxMessage?: number;
  /** Sockets, and filters of each; 256 and 100 by default. */
  maxSockets?: number;
  maxFilters?: number;
  /** What may wait for a slow socket; 5,000 messages and 1 MiB by default. */
  maxWaiting?: WaitingLimits;
  /** Milliseconds between pings; a socket that answers none of four, and takes nothing, is ended. 15,000 by default. */
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
  properties?: unknown;
  /** Comes back with the answer. A publish without it is answered only when it fails. */
  id?: unknown;
}

/** Bytes the socket may have in its own buffer; what is more waits in the outbox. */
const HIGH_WATER = 262_144;
/** What requests of one socket may weigh that have no answer, and answers that it has not taken; then it is not read. */
const ASKED = 1_024_000;
/** A socket that answers as many pings with nothing, and takes nothing, is given up. */
const MISSED_HEARTBEATS = 4;

/** Starts the bridge and the page; it listens at once, whether the broker is there or not. */
export async function startWebSocket(options: WebSocketOptions): Promise<program.Bridge> {
  const { maxSockets = 256, maxFilters = 100, heartbeat = 15_000, maxMessage = 1_048_576 } = options;
  // First of all: where it cannot listen, nothing else was begun.
  const server = createServer(), url = await listen(server, options);
  const broker = new Broker(options.broker, options.op, options.log);
  const sockets = new Set<WebSocket>();
  const losses = new Losses({ dropped: "to sockets: they take them more slowly than they come" }, options.log);
  let failure = "";

  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
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
    const filters = new Map<string, () => Promise<void>>();
    let asked = 0, missed = 0, full = false, last: unknown;
    const outbox = new Outbox(
      {
        ready() {
          full = socket.bufferedAmount >= HIGH_WATER;
          return !full && socket.readyState === socket.OPEN;
        },
        write(frames) {
          for (const frame of frames.slice(0, -1)) socket.send(frame);
          socket.send(frames.at(-1)!, () => {
            if (full) missed = 0; // it reads: its answer to a ping may be far behind
            outbox.flush();
          });
          regulate();
        },
        lost: (count) => JSON.stringify({ type: "dropped", count }),
      },
      options.maxWaiting ?? { messages: 5000, bytes: 1_048_576 },
      losses,
    );

    const tell = () => {
      const { broker: state, reason, away } = broker.status();
      outbox.tell(JSON.stringify({ type: "state", broker: state, reason, away }), "state");
    };

    /** Takes more from the socket, or not. */
    function regulate(): void {
      const weight = asked + outbox.weight;
      if (weight >= ASKED) socket.pause();
      else if (weight <= ASKED / 2) socket.resume();
    }

    /** Resolves with the answer when the broker has granted the filter. */
    function subscribe({ filter, id }: Request): Promise<Record<string, unknown>> {
      if (filters.has(filter)) throw new TypeError(`"${filter}" is subscribed already`);
      if (filters.size >= maxFilters) throw new RangeError(`Cannot subscribe to more than ${maxFilters} filters`);
      last = undefined;
      return new Promise((resolve, reject) => {
        const stop = broker.subscribe(filter, {
          granted: () => resolve({ type: "subscribed", filter, id }),
          message(value) {
            if (value === last) return; // it came by another filter of this socket
            last = value;
            outbox.push(`{"type":"message",${json(value)}}`);
          },
          refused(error) {
            filters.delete(filter);
            reject(error);
          },
        });
        filters.set(filter, () => {
          reject(new Error("It was given up before the broker had granted it"));
          return stop();
        });
      });
    }

    function unsubscribe({ filter, id }: Request): Promise<void> {
      const stop = filters.get(filter);
      if (stop === undefined) throw new TypeError(`"${filter}" is not subscribed`);
      filters.delete(filter);
      outbox.tell(JSON.stringify({ type: "unsubscribed", filter, id }));
      return stop();
    }

    async function publish(request: Request): Promise<Record<string, unknown> | undefined> {
      const { topic, retain = false, id } = request;
      await broker.publish(topic, payloadOf(request), { retain, ...fromJson(request.properties) });
      return id === undefined ? undefined : { type: "published", id };
    }

    function perform(request: Request): Promise<Record<string, unknown> | undefined | void> {
      if (request.type === "publish") return publish(request);
      if (request.type === "subscribe") return subscribe(request);
      if (request.type === "unsubscribe") return unsubscribe(request);
      throw new TypeError(`Cannot do ${JSON.stringify(request.type)}: subscribe, unsubscribe or publish`);
    }

    async function take(text: string): Promise<void> {
      const weight = weigh(text);
      let request: Partial<Request> = {};
      asked += weight;
      regulate();
      try {
        request = JSON.parse(text);
        const answer = await perform(request as Request);
        if (answer) outbox.tell(JSON.stringify(answer));
      } catch (error) {
        const { message, retryAfter } = error as AwayError;
        outbox.tell(JSON.stringify({ type: "error", filter: request?.filter, id: request?.id, message, retryAfter }));
      }
      asked -= weight;
      regulate();
    }

    sockets.add(socket);
    broker.changed.add(tell);
    tell();
    const beat = setInterval(() => {
      // What a socket that is not read answers cannot be known; whether it takes what it was sent can.
      if (socket.isPaused && socket.bufferedAmount === 0) missed = 0;
      if (++missed > MISSED_HEARTBEATS) return socket.terminate();
      socket.ping();
    }, heartbeat);
    socket.on("pong", () => missed = 0);
    socket.on("message", (data, isBinary) => {
      if (isBinary) socket.close(1003, "JSON in text messages, please");
      else void take((data as Buffer).toString());
    });
    socket.on("error", (error) => failure = error.message);
    socket.on("close", () => {
      clearInterval(beat);
      broker.changed.delete(tell);
      for (const stop of filters.values()) void stop();
      sockets.delete(socket);
    });
  }

  function status(): Record<string, unknown> {
    return { ...broker.status(), sockets: sockets.size, ...losses.counts, failure };
  }

  return {
    url,
    status,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.terminate();
      server.closeAllConnections();
      await Promise.all([closed, broker.close()]);
      losses.close();
    },
  };
}

if (program.isProgram(import.meta.url)) {
  const usage = `websocket.ts [--broker mqtt://localhost] [--version 311|5|auto] [--ca authorities.pem]
        [--host 127.0.0.1] [--port 8080] [--token ...] [--origin https://...]...
The environment may have MQTT_USER, MQTT_PASSWORD and BRIDGE_TOKEN.`;
  const values = program.parse(usage, { ...program.brokerArgs, ...program.listenArgs });
  const { log } = program;
  const { url } = await program.run(
    usage,
    async () => startWebSocket({ ...await program.brokerOptions(values), ...program.listenOptions(values), log }),
  );
  log(`WebSocket and page on ${url} for ${program.withoutLogin(values.broker)}`);
}
