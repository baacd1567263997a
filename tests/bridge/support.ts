/** What the tests of the bridges share: plain clients of HTTP, of event streams and of JSON over WebSocket. */
import { Buffer } from "node:buffer";
import { get, type IncomingHttpHeaders, request } from "node:http";
import { type AddressInfo, connect as connectSocket, createServer, type Socket } from "node:net";
import { WebSocket } from "ws";
import { connect, type Message } from "../../mod.ts";
import { patience } from "../support/process.ts";

/** Waits until it holds, looking after each `pause` (milliseconds). */
export async function until(holds: () => boolean | Promise<boolean>, what: string, pause = 5): Promise<void> {
  for (const start = performance.now(); !await holds();) {
    if (performance.now() - start > patience) throw new Error(`${what}: not within ${patience} ms`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** A queue whose reader waits for what comes next. */
export class Inbox<T> {
  #items: T[] = [];
  #wake = () => {};

  push(item: T): void {
    this.#items.push(item);
    this.#wake();
  }

  /** The next that fits; the others stay. */
  async next(fits: (item: T) => boolean = () => true): Promise<T> {
    for (;;) {
      const index = this.#items.findIndex(fits);
      if (index === 0) return this.#items.shift()!;
      if (index > 0) return this.#items.splice(index, 1)[0]!;
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`Nothing came within ${patience} ms`)), patience);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** What is there, and not yet read. */
  get waiting(): readonly T[] {
    return this.#items;
  }
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  text: string;
}

export interface Ask {
  method?: string;
  headers?: Record<string, string>;
  /** With `chunked`, sent without its length. */
  body?: string | Uint8Array;
  chunked?: boolean;
}

/** One HTTP request, its path sent as it is written. */
export function ask(
  url: string,
  path: string,
  { method = "GET", headers = {}, body, chunked }: Ask = {},
): Promise<Answer> {
  const length = body === undefined || chunked ? {} : { "content-length": `${Buffer.byteLength(body)}` };
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const sent = request(
      { hostname, port, path, method, headers: { ...length, ...headers }, agent: false },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk) => chunks.push(chunk)).on("error", reject).on("end", () => {
          const all = Buffer.concat(chunks);
          resolve({ status: answer.statusCode!, headers: answer.headers, body: all, text: all.toString() });
        });
      },
    );
    sent.setTimeout(patience, () => sent.destroy(new Error(`No answer to ${path} within ${patience} ms`)));
    sent.on("error", reject);
    sent.end(body);
  });
}

export function post(url: string, path: string, body: string | Uint8Array, more: Ask = {}): Promise<Answer> {
  return ask(url, path, { method: "POST", body, ...more });
}

/** A server-sent event, or a comment. */
export interface Event {
  event: string;
  id: string;
  data: string;
  comment: string;
}

export interface Stream {
  status: number;
  events: Inbox<Event>;
  /** The next message's data, read as JSON. */
  message(): Promise<{ topic: string; payload?: string; base64?: string; retain?: boolean; id: string }>;
  /** Stops and starts reading. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

/** Opens a stream of events, and waits for its head. */
export function listen(url: string, path: string, headers: Record<string, string> = {}): Promise<Stream> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const options = {
      hostname,
      port,
      path,
      headers: { accept: "text/event-stream", ...headers },
      agent: false as const,
    };
    const sent = get(options, (answer) => {
      const events = new Inbox<Event>();
      let text = "";
      const closed = new Promise<void>((resolve) => answer.on("close", resolve));
      answer.on("error", () => {}); // the end of a stream that stop() or the server cut
      answer.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        const blocks = text.split("\n\n");
        text = blocks.pop()!;
        for (const block of blocks) events.push(parse(block));
      });
      resolve({
        status: answer.statusCode!,
        events,
        async message() {
          const { data, id } = await events.next(({ event, data }) => event === "" && data !== "");
          return { ...JSON.parse(data), id };
        },
        pause: () => void answer.pause(),
        resume: () => void answer.resume(),
        stop() {
          sent.destroy();
          return closed;
        },
      });
    });
    sent.on("error", reject);
  });
}

function parse(block: string): Event {
  const found: Event = { event: "", id: "", data: "", comment: "" };
  for (const line of block.split("\n")) {
    const [, name, value] = /^(\w*): ?(.*)$/s.exec(line) ?? [];
    if (name === "") found.comment = value!;
    else if (name === "event" || name === "id" || name === "data") found[name] = value!;
  }
  return found;
}

// deno-lint-ignore no-explicit-any -- JSON, as it comes
type Json = any;

export interface JsonSocket {
  socket: WebSocket;
  inbox: Inbox<Json>;
  send(request: Json): void;
  /** The next message of this type. */
  next(type: string): Promise<Json>;
  /** Sends a request with an id, and waits for the answer that has it. */
  ask(request: Json): Promise<Json>;
  /** Resolves with the code it was closed with. */
  closed: Promise<number>;
  stop(): Promise<void>;
}

let ids = 0;

/** Connects to the WebSocket bridge; rejects with the HTTP status when it refuses. */
export async function dial(url: string, headers: Record<string, string> = {}): Promise<JsonSocket> {
  const socket = new WebSocket(url.replace(/^http/, "ws"), { headers });
  const inbox = new Inbox<Json>();
  const closed = new Promise<number>((resolve) => socket.on("close", resolve));
  socket.on("message", (data: Buffer) => inbox.push(JSON.parse(data.toString())));
  await new Promise<void>((resolve, reject) => {
    socket.on("open", resolve).on("error", reject).on("unexpected-response", (_, { statusCode }) => {
      reject(new Error(`HTTP status ${statusCode}`));
      socket.terminate();
    });
  });
  const send = (request: Json) => socket.send(JSON.stringify(request));
  return {
    socket,
    inbox,
    send,
    next: (type) => inbox.next((message) => message.type === type),
    ask(request) {
      const id = ++ids;
      send({ ...request, id });
      return inbox.next((message) => message.id === id);
    },
    closed,
    async stop() {
      socket.terminate();
      await closed;
    },
  };
}

export interface Subscriber {
  inbox: Inbox<Message>;
  publish(topic: string, message: string | Uint8Array, retain?: boolean): Promise<number>;
  stop(): Promise<void>;
}

/** A client of the broker, with all messages of the filters. */
export async function subscriber(port: number, ...filters: string[]): Promise<Subscriber> {
  const inbox = new Inbox<Message>();
  const mqtt = await connect("127.0.0.1", (_, message) => inbox.push(message), { port });
  if (filters.length > 0) await mqtt.subscribe(filters);
  return {
    inbox,
    publish: (topic, message, retain = false) => mqtt.publish(topic, message, { retain }),
    stop: () => mqtt.disconnect(),
  };
}

/** A slow way to a server: 4 MB a second come back at the most, a piece at a time. */
export async function startSlowWay(to: string): Promise<{ url: string; stop(): Promise<void> }> {
  const { hostname, port } = new URL(to);
  const sockets = new Set<Socket>();
  const server = createServer((here) => {
    const there = connectSocket(Number(port), hostname);
    for (const [socket, other] of [[here, there], [there, here]] as const) {
      sockets.add(socket);
      socket.on("error", () => {}).on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    here.on("data", (bytes) => there.write(bytes));
    there.on("data", (bytes) => {
      here.write(bytes);
      there.pause();
      setTimeout(() => there.resume(), bytes.length / 4000); // pieces of 64 KiB, or of 512 KiB on Bun
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
