/** A hub of SMQ, as the facts say, byte for byte; with its own naive codec, so that a mistake of the bridge shows. */
import { Buffer } from "node:buffer";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";

export interface HubOptions {
  port?: number;
  /** Topics nobody may subscribe or create. */
  denied?: readonly string[];
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
  /** Sends a message to those who subscribe the topic, as if another client had. */
  publish(topic: string, data: string | Uint8Array, sender?: number): number;
  /** Ends all connections at once, as a kill does, and the server. */
  kill(): Promise<void>;
}

export interface Client {
  socket: WebSocket;
  etid: number;
  subscribed: Set<number>;
}

const ascii = (text: string) => [...Buffer.from(text)];
const u32 = (value: number) => [value >>> 24, value >>> 16 & 255, value >>> 8 & 255, value & 255];
const read32 = (bytes: Uint8Array, at: number) =>
  bytes[at]! * 2 ** 24 + bytes[at + 1]! * 2 ** 16 + bytes[at + 2]! * 2 ** 8 + bytes[at + 3]!;

export async function startHub(options: HubOptions = {}): Promise<Hub> {
  const { denied = [], record = true, onmessage = () => {} } = options;
  const server = new WebSocketServer({ host: "127.0.0.1", port: options.port ?? 0 });
  await new Promise((resolve, reject) => server.on("listening", resolve).on("error", reject));
  const frames: string[] = [];
  const clients = new Map<string, Client>();
  const etids = new Map<string, number>();
  const tids = new Map<string, number>();
  const names = new Map<number, string>();

  const number = (topic: string) => {
    let tid = tids.get(topic);
    if (tid === undefined) {
      tids.set(topic, tid = 0x80000001 + tids.size); // above 31 bits: to be read as unsigned
      names.set(tid, topic);
    }
    return tid;
  };

  server.on("connection", (socket) => {
    let me: Client | undefined, uid = "";
    const answer = (...bytes: number[]) => socket.send(Uint8Array.from(bytes));
    answer(0x01, 0x01, ...u32(0xdeadbeef), ...ascii("127.0.0.1"));
    socket.on("error", () => socket.terminate());
    socket.on("close", () => {
      if (clients.get(uid) === me) clients.delete(uid);
    });
    socket.on("message", (data, isBinary) => {
      const bytes = data as Buffer;
      if (!isBinary) return socket.terminate();
      if (record) frames.push(bytes.toString("hex"));
      const text = bytes.toString("utf8", 1);
      if (bytes[0] === 0x02) {
        uid = bytes.toString("utf8", 3, 3 + bytes[2]!);
        if (bytes[1] !== 1 || bytes[2]! < 6) {
          answer(0x03, 0x01, 0, 0, 0, 0, ...ascii("bad uid"));
          return socket.close();
        }
        clients.get(uid)?.socket.send(Uint8Array.from([0x0b, ...ascii("reconnect")]));
        const etid = etids.get(uid) ?? 1000 + etids.size;
        etids.set(uid, etid);
        clients.set(uid, me = { socket, etid, subscribed: new Set() });
        return answer(0x03, 0x00, ...u32(etid));
      }
      if (me === undefined) return socket.terminate();
      switch (bytes[0]) {
        case 0x04:
        case 0x06: {
          const allowed = !denied.includes(text), tid = allowed ? number(text) : 0;
          if (allowed && bytes[0] === 0x04) me.subscribed.add(tid);
          return answer(bytes[0] + 1, allowed ? 0 : 1, ...u32(tid), ...ascii(text));
        }
        case 0x08: {
          const tid = read32(bytes, 1), topic = names.get(tid);
          if (topic === undefined) return socket.terminate();
          onmessage(topic, bytes.subarray(13), read32(bytes, 5));
          for (const client of clients.values()) if (client.subscribed.has(tid)) client.socket.send(bytes);
          return;
        }
        case 0x09:
          return void me.subscribed.delete(read32(bytes, 1));
        case 0x0b:
          return socket.close();
        case 0x0c:
          return answer(0x0d);
        default:
          return socket.terminate();
      }
    });
  });

  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `ws://127.0.0.1:${port}`,
    frames,
    clients,
    publish(topic, data, sender = 77) {
      const tid = number(topic);
      const bytes = Buffer.concat([Uint8Array.from([0x08, ...u32(tid), ...u32(sender), ...u32(0)]), Buffer.from(data)]);
      const takers = [...clients.values()].filter(({ subscribed }) => subscribed.has(tid));
      for (const { socket } of takers) socket.send(bytes);
      return takers.length;
    },
    async kill() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of server.clients) socket.terminate();
      await closed;
    },
  };
}
