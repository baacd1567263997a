/** HTTP to MQTT: POST publishes, GET reads a value, Server-Sent Events subscribe. See HTTP.md. */
import { Buffer, isUtf8 } from "node:buffer";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { fail, type Hold, meaningOf, read, Refused } from "./answers.ts";
import { Broker } from "./broker.ts";
import type { Subscription } from "./filters.ts";
import { pathOf, queryOf, refuse } from "./guard.ts";
import { listen } from "./listen.ts";
import { Losses } from "./losses.ts";
import { Outbox } from "./outbox.ts";
import { json, payloadOf, type Value } from "./payload.ts";
import * as program from "./program.ts";
import { fromHeader, fromJson, toHeader } from "./properties.ts";
import { checkFilter } from "./topics.ts";
import type { WaitingLimits } from "./waiting.ts";

/** The bounds are those of HTTP.md. */
export interface HttpOptions extends program.BrokerOptions, program.ListenOptions {
  /** Bytes of a body, and of all that are under way; 1 MiB and 64 MiB by default. */
  maxBody?: number;
  maxBodies?: number;
  /** Requests under way, and streams open; 2,000 and 256 by default. */
  maxRequests?: number;
  maxStreams?: number;
  /** What may wait for a slow stream; 5,000 messages and 1 MiB by default. */
  maxWaiting?: WaitingLimits;
  /** Milliseconds a GET waits for a value (1,000), a topic that was read stays subscribed (60,000), between heartbeats (15,000). */
  wait?: number;
  linger?: number;
  heartbeat?: number;
}

/** A stream that takes nothing for as many heartbeats is given up. */
const MISSED_HEARTBEATS = 4;
/** Topics that stay subscribed after they were read. */
const LINGERING = 1000;
/** Starts the bridge; it listens at once, whether the broker is there or not. */
export async function startHttp(options: HttpOptions): Promise<program.Bridge> {
  const { maxBody = 1_048_576, maxBodies = 67_108_864, maxRequests = 2000, maxStreams = 256 } = options;
  const { linger = 60_000, heartbeat = 15_000 } = options;
  // First of all: where it cannot listen, nothing else was begun.
  const server = createServer(), url = await listen(server, options);
  const broker = new Broker(options.broker, options.op, options.log);
  const lingering = new Map<string, { stop: () => void; timer: ReturnType<typeof setTimeout> }>();
  const losses = new Losses({ dropped: "to streams: their clients take them more slowly than they come" }, options.log);
  let requests = 0, bodies = 0, streams = 0;

  const tooLarge = () => new Refused(413, `The body is over ${maxBody} bytes`);
  server.on("request", async (request: IncomingMessage, response: ServerResponse) => {
    let size = 0;
    requests++;
    response.on("close", () => {
      requests--;
      bodies -= size;
    });
    const hold = (bytes: number) => {
      size += bytes;
      bodies += bytes;
      if (size > maxBody) throw tooLarge();
      if (bodies > maxBodies) throw new Refused(503, "Too many bodies are under way", { "retry-after": "1" });
    };
    try {
      await handle(request, response, hold);
    } catch (error) {
      fail(response, error as Error);
      // What still comes is read to its end, so that the answer is not lost, but not for long.
      if (!request.complete) {
        const timer = setTimeout(() => request.destroy(), 5000);
        request.on("close", () => clearTimeout(timer)).resume();
      }
    }
  });

  async function handle(request: IncomingMessage, response: ServerResponse, hold: Hold): Promise<void> {
    const refusal = refuse(request, options);
    if (request.headers.origin !== undefined && refusal?.status !== 403) {
      response.setHeader("access-control-allow-origin", request.headers.origin);
      response.setHeader("vary", "origin");
      response.setHeader("access-control-expose-headers", "mqtt-retain, mqtt-properties");
    }
    if (request.method === "OPTIONS" && refusal?.status !== 403) return preflight(response);
    if (refusal) throw new Refused(refusal.status, refusal.reason, { "www-authenticate": "Bearer" });
    if (requests - streams > maxRequests) {
      throw new Refused(503, "Too many requests are under way", { "retry-after": "1" });
    }
    const topic = topicOf(request);
    if (request.method === "POST") {
      if (Number(request.headers["content-length"]) > maxBody) throw tooLarge();
      const body = await read(request, hold);
      if (topic === "") return publishLines(body, response);
      await broker.publish(topic, body, {
        retain: wantsRetain(request),
        ...fromHeader(request.headers["mqtt-properties"]),
      });
      response.writeHead(204).end();
    } else if (request.method !== "GET") {
      throw new Refused(405, "Publish with POST, read with GET", { allow: "GET, POST, OPTIONS" });
    } else if (topic === "") {
      response.setHeader("content-type", "application/json").end(JSON.stringify(status()));
    } else if (request.headers.accept?.includes("text/event-stream")) {
      return stream(topic, request, response);
    } else {
      return answerValue(topic, request, response);
    }
  }

  /** Many messages in one request: each line is `{"topic", "payload" | "base64", "retain"?, "properties"?}`. */
  async function publishLines(body: Buffer, response: ServerResponse): Promise<void> {
    if (!isUtf8(body)) throw new Refused(400, "The body is not UTF-8");
    const lines = body.toString().split("\n");
    const published = await Promise.allSettled(lines.map(async (line) => {
      if (line.trim() === "") return false;
      const message = JSON.parse(line);
      await broker.publish(message.topic, payloadOf(message), {
        retain: message.retain,
        ...fromJson(message.properties),
      });
      return true;
    }));
    const failed = published.findIndex(({ status }) => status === "rejected");
    if (failed === -1) return void response.writeHead(204).end();
    const { reason } = published[failed] as PromiseRejectedResult;
    const count = published.filter((line) => line.status === "fulfilled" && line.value).length;
    const [status, headers] = meaningOf(reason);
    throw new Refused(status, `Line ${failed + 1}: ${reason.message} (${count} messages were published)`, headers);
  }

  /** The last value of a topic, or the next that comes within the time. */
  async function answerValue(topic: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (/[+#]/.test(topic)) throw new Refused(400, "Wildcards are for streams: Accept: text/event-stream");
    checkFilter(topic);
    if (!broker.connected) throw broker.away();
    const wait = Math.min(Math.max(Number(queryOf(request).get("wait") ?? options.wait ?? 1000) || 0, 0), 60_000);
    const value = await new Promise<Value | undefined>((resolve, reject) => {
      const timer = setTimeout(settle, wait);
      response.on("close", settle);
      const stop = broker.subscribe(topic, { message: settle, refused: settle });
      function settle(result?: Value | Error): void {
        clearTimeout(timer);
        response.off("close", settle);
        queueMicrotask(() => void stop()); // a value may be there before subscribe() has returned
        if (result instanceof Error) return reject(result);
        keepSubscribed(topic);
        resolve(result);
      }
    });
    if (value === undefined && !broker.connected) throw broker.away();
    const hint = "the broker keeps what is published with ?retain, and nothing else";
    if (value === undefined) throw new Refused(404, `No value of "${topic}" within ${wait} ms; ${hint}`);
    const bytes = Buffer.from(value.payload), properties = toHeader(value.properties);
    response.writeHead(200, {
      "content-length": bytes.length,
      "content-type": isUtf8(bytes) ? "text/plain; charset=utf-8" : "application/octet-stream",
      "mqtt-retain": `${value.retain}`,
      ...properties && { "mqtt-properties": properties },
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
    }).end(bytes);
  }

  /** Who reads a topic once may do so again: the next GET has its last value at hand. */
  function keepSubscribed(topic: string): void {
    const known = lingering.get(topic);
    clearTimeout(known?.timer);
    lingering.delete(topic);
    const stop = known?.stop ?? broker.subscribe(topic, { message: () => {}, refused: () => leave(topic) });
    lingering.set(topic, { stop, timer: setTimeout(leave, linger, topic) });
    if (lingering.size > LINGERING) leave(lingering.keys().next().value!);
  }

  function leave(topic: string): void {
    const known = lingering.get(topic);
    clearTimeout(known?.timer);
    lingering.delete(topic);
    known?.stop();
  }

  /** A stream of events, until the client leaves. */
  function stream(filter: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    checkFilter(filter);
    if (!broker.connected) throw broker.away();
    if (streams >= maxStreams) throw new Refused(503, "Too many streams are open", { "retry-after": "10" });
    streams++;
    return new Promise((resolve, reject) => {
      let beats: ReturnType<typeof setInterval> | undefined, missed = 0;
      const outbox = new Outbox(
        {
          ready: () => response.headersSent && !response.writableNeedDrain && !response.destroyed,
          write: (frames) => response.write(frames.join("")),
          lost: (count) => event("dropped", { count }),
        },
        options.maxWaiting ?? { messages: 5000, bytes: 1_048_576 },
        losses,
      );
      const stop = broker.subscribe(filter, {
        granted(subscription) {
          if (response.headersSent) return;
          response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
          response.write(`retry: 1000\n: the messages of ${JSON.stringify(filter)}\n\n`);
          const last = request.headers["last-event-id"];
          if (typeof last === "string") outbox.tell(event("missed", { count: countMissed(last, subscription) }));
          outbox.flush();
          beats = setInterval(beat, heartbeat);
          broker.changed.add(tell);
        },
        message: (value, { id, count }) => outbox.push(`id: ${id}-${count}\ndata: {${json(value)}}\n\n`),
        refused(error) {
          if (response.headersSent) response.end(event("refused", { reason: error.message }));
          else reject(error);
        },
      });
      response.on("drain", () => {
        missed = 0;
        outbox.flush();
      }).on("close", () => {
        clearInterval(beats);
        broker.changed.delete(tell);
        void stop();
        streams--;
        resolve();
      });
      function beat(): void {
        missed = response.writableNeedDrain ? missed + 1 : 0;
        if (missed >= MISSED_HEARTBEATS) response.destroy();
        else outbox.tell(": heartbeat\n\n", "heartbeat");
      }
      function tell(): void {
        const { broker: state, reason, away } = broker.status();
        outbox.tell(event(state, { reason, away }), "state");
      }
    });
  }

  function status(): Record<string, unknown> {
    return { ...broker.status(), requests: requests - streams, streams, ...losses.counts };
  }

  return {
    url,
    status,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
      for (const topic of [...lingering.keys()]) leave(topic);
      await broker.close();
      losses.close();
    },
  };
}

/** The path without its first slash; as text, percent-decoded. */
function topicOf(request: IncomingMessage): string {
  try {
    return decodeURIComponent(pathOf(request).slice(1));
  } catch (cause) {
    throw new Refused(400, `The path is not percent-encoded UTF-8: ${(cause as Error).message}`);
  }
}

/** `?retain`, and not `?retain=false`. */
function wantsRetain(request: IncomingMessage): boolean {
  const retain = queryOf(request).get("retain");
  return retain !== null && retain !== "0" && retain !== "false";
}

function event(name: string, data: Record<string, unknown>): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** How many messages a stream that comes again has missed; null when the filter was given up meanwhile. */
function countMissed(last: string, { id, count }: Subscription): number | null {
  return last.startsWith(`${id}-`) ? count - Number(last.slice(id.length + 1)) : null;
}

function preflight(response: ServerResponse): void {
  response.writeHead(204, {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "authorization, content-type, last-event-id, mqtt-properties",
  }).end();
}

if (program.isProgram(import.meta.url)) {
  const usage = `http.ts [--broker mqtt://localhost] [--version 311|5|auto] [--ca authorities.pem]
        [--host 127.0.0.1] [--port 8080] [--token ...] [--origin https://...]...
The environment may have MQTT_USER, MQTT_PASSWORD and BRIDGE_TOKEN.`;
  const values = program.parse(usage, { ...program.brokerArgs, ...program.listenArgs });
  const { log } = program;
  const { url } = await program.run(
    usage,
    async () => startHttp({ ...await program.brokerOptions(values), ...program.listenOptions(values), log }),
  );
  log(`HTTP on ${url} for ${program.withoutLogin(values.broker)}`);
}
