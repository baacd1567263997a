/**
 * A hub of SMQ that does what the hub of the Barracuda App Server does, byte for byte, and is as unforgiving; with its
 * own naive codec, so that a mistake of the bridge shows.
 */
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";

export interface HubOptions {
  port?: number;
  /** With it, the hub is at wss:. */
  tls?: { cert: string; key: string };
  /** The code of Connack, 0 to accept, and the text behind it; everybody is accepted by default. */
  authenticate?: (credentials: Buffer, seed: number, address: string) => [code: number, text?: string];
  /** Topics nobody may subscribe or create. */
  denied?: readonly string[];
  /** Topics whose Create is never answered. */
  unanswered?: readonly string[];
  /** Bytes that may wait for a client that does not read, besides those in the system's buffers; 1 MiB by default. */
  maxQueue?: number;
  /** Called with each message, as it came. */
  onmessage?: (topic: string, data: Buffer, sender: number) => void;
  /** Keeps the frames it gets; true by default. */
  record?: boolean;
}

export interface Hub {
  port: number;
  url: string;
  /** Every frame of every client, in order, as hexadecimal text. */
  frames: string[];
  /** Clients that are connected, by uid. */
  clients: Map<string, Client>;
  /** Messages it has dropped, as a subscriber did not read. */
  dropped(): number;
  /** The number of a topic, as a hexadecimal text. */
  tid(topic: string): string;
  /** Sends a message to those who subscribe the topic, as if another client had; to how many. */
  publish(topic: string, data: string | Uint8Array, sender?: number): number;
  /** Ends all connections at once, as a kill does, and the server. */
  kill(): Promise<void>;
}

export interface Client {
  socket: WebSocket;
  etid: number;
  subscribed: Set<number>;
  /** The header with the user and the password of the URL. */
  authorization: string | undefined;
}

/** Bytes of a frame, at most; who sends a larger one is cut off. */
const MAX_FRAME = 65_535;

const ascii = (text: string) => [...Buffer.from(text)];
const u32 = (value: number) => [value >>> 24, value >>> 16 & 255, value >>> 8 & 255, value & 255];
const read32 = (bytes: Uint8Array, at: number) =>
  bytes[at]! * 2 ** 24 + bytes[at + 1]! * 2 ** 16 + bytes[at + 2]! * 2 ** 8 + bytes[at + 3]!;

export async function startHub(options: HubOptions = {}): Promise<Hub> {
  const { denied = [], unanswered = [], record = true, maxQueue = 1_048_576 } = options;
  const { authenticate = () => [0], onmessage = () => {} } = options;
  const http = options.tls ? createTlsServer(options.tls) : createServer();
  const server = new WebSocketServer({ server: http });
  await new Promise((resolve, reject) => {
    http.on("error", reject).listen(options.port ?? 0, "127.0.0.1", () => resolve(undefined));
  });
  const frames: string[] = [];
  const clients = new Map<string, Client>();
  const tids = new Map<string, number>();
  const names = new Map<number, string>();
  let dropped = 0;

  /** A number that nobody has: of all 32 bits, to be read as unsigned. */
  function unused(): number {
    for (;;) {
      const number = read32(randomBytes(4), 0);
      const isTaken = names.has(number) || [...clients.values()].some(({ etid }) => etid === number);
      if (number !== 0 && !isTaken) return number;
    }
  }

  function numberOf(topic: string): number {
    let tid = tids.get(topic);
    if (tid === undefined) {
      tids.set(topic, tid = unused());
      names.set(tid, topic);
    }
    return tid;
  }

  /** Writes to a client; false when too much waits for it, and nothing was written. */
  function write(socket: WebSocket, bytes: Uint8Array): boolean {
    if (socket.bufferedAmount > maxQueue) return false;
    socket.send(bytes);
    return true;
  }

  function deliver(tid: number, bytes: Uint8Array): number {
    const takers = [...clients.values()].filter(({ subscribed }) => subscribed.has(tid));
    for (const { socket } of takers) if (!write(socket, bytes)) dropped++;
    return takers.length;
  }

  server.on("connection", (socket, request) => {
    const seed = read32(randomBytes(4), 0), address = request.socket.remoteAddress!.replace("::ffff:", "");
    let me: Client | undefined, uid = "";
    // Who cannot take an answer is cut off.
    const answer = (...bytes: number[]) => void (write(socket, Uint8Array.from(bytes)) || socket.terminate());
    const bye = (text: string) => {
      answer(0x0b, ...ascii(text));
      leave();
      socket.close();
    };
    const leave = () => {
      if (clients.get(uid) === me) clients.delete(uid);
    };
    answer(0x01, 0x01, ...u32(seed), ...ascii(address));
    socket.on("error", () => socket.terminate());
    socket.on("close", leave);

    function refuse(code: number, text = ""): void {
      answer(0x03, code, 0, 0, 0, 0, ...ascii(text));
      socket.close();
    }

    function connect(bytes: Buffer): void {
      const length = bytes[2]!, given = bytes.subarray(4 + length, 4 + length + bytes[3 + length]!);
      if (bytes[0] !== 0x02 || bytes[1] !== 1 || length < 6) return refuse(1);
      const [code, text] = authenticate(given, seed, address);
      if (code !== 0) return refuse(code, text);
      uid = bytes.toString("utf8", 3, 3 + length);
      // While the old connection lives, its number goes on to the new one, and it is closed; otherwise there is a new one.
      const old = clients.get(uid);
      if (old) {
        write(old.socket, Uint8Array.from([0x0b, ...ascii("reconnect")]));
        old.socket.close();
      }
      const { authorization } = request.headers;
      me = { socket, etid: old?.etid ?? unused(), subscribed: new Set(), authorization };
      clients.set(uid, me);
      answer(0x03, 0x00, ...u32(me.etid));
    }

    socket.on("message", (data, isBinary) => {
      const bytes = data as Buffer;
      if (!isBinary || bytes.length > MAX_FRAME) return socket.terminate();
      if (record) frames.push(bytes.toString("hex"));
      if (me === undefined) return connect(bytes);
      if (clients.get(uid) !== me) return; // its place is taken
      const text = bytes.toString("utf8", 1);
      switch (bytes[0]) {
        case 0x04:
        case 0x06: {
          const allowed = !denied.includes(text), tid = allowed ? numberOf(text) : 0;
          if (allowed && bytes[0] === 0x04) me.subscribed.add(tid);
          if (unanswered.includes(text)) return;
          return answer(bytes[0] + 1, allowed ? 0 : 1, ...u32(tid), ...ascii(text));
        }
        case 0x08: {
          if (bytes.length < 13) return socket.terminate();
          if (read32(bytes, 5) !== me.etid) return bye("corrupt frame");
          const tid = read32(bytes, 1), topic = names.get(tid);
          if (topic === undefined) return; // lost, and nobody is told
          onmessage(topic, bytes.subarray(13), me.etid);
          return void deliver(tid, bytes);
        }
        case 0x09:
          return void me.subscribed.delete(read32(bytes, 1));
        case 0x0b:
          return socket.close();
        case 0x0c:
          return answer(0x0d);
        case 0x0d:
          return;
        default:
          return socket.terminate();
      }
    });
  });

  const { port } = http.address() as AddressInfo;
  return {
    port,
    url: `${options.tls ? "wss" : "ws"}://127.0.0.1:${port}`,
    frames,
    clients,
    dropped: () => dropped,
    tid: (topic) => Buffer.from(u32(numberOf(topic))).toString("hex"),
    publish(topic, data, sender = 77) {
      const tid = numberOf(topic);
      const bytes = Buffer.concat([Uint8Array.from([0x08, ...u32(tid), ...u32(sender), ...u32(0)]), Buffer.from(data)]);
      return deliver(tid, bytes);
    },
    async kill() {
      const closed = Promise.all([
        new Promise((resolve) => server.close(resolve)),
        new Promise((resolve) => http.close(resolve)),
      ]);
      for (const socket of server.clients) socket.terminate();
      http.closeAllConnections();
      await closed;
    },
  };
}
