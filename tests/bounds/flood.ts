/** Brokers that give more than a client can take, or take nothing. */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { encodeNaive, type NaivePacket, NaiveReader } from "../support/naive.ts";
import type { Server } from "../support/servers.ts";

export interface Flood extends Server {
  /** Bytes given to the sockets, in all. */
  sent: number;
}

const MESSAGE = encodeNaive({
  type: "PUBLISH",
  topic: "flood",
  payload: new Uint8Array(1000),
  qos: 0,
  retain: false,
  dup: false,
  packetId: 0,
});
const MANY = new Uint8Array(64 * MESSAGE.length);
for (let i = 0; i < 64; i++) MANY.set(MESSAGE, i * MESSAGE.length);
const PROMISE = Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, 0x61);

/**
 * Answers CONNECT and SUBSCRIBE. A subscription to `flood` is flooded for as long as there is a
 * connection, one to `promise` gets the start of the longest packet there is; a message to `all` is
 * answered with one to each subscription. With `deaf`, nothing is read after the second CONNECT.
 */
export async function startFlood({ deaf = false }: { deaf?: boolean } = {}): Promise<Flood> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const flood: Flood = { port: 0, sent: 0, stop: () => Promise.resolve() };
  const server = createServer((socket) => {
    connections++;
    const reader = new NaiveReader();
    const topics: string[] = [];
    const send = (packet: NaivePacket) => void socket.write(encodeNaive(packet));
    const pour = () => {
      while (!socket.destroyed && socket.write(MANY)) flood.sent += MANY.length;
    };
    sockets.add(socket);
    socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket)).on("data", (bytes) => {
      for (const packet of reader.push(bytes)) {
        if (packet.type === "CONNECT") {
          send({ type: "CONNACK", sessionPresent: false, code: 0 });
          if (deaf && connections > 1) socket.pause();
        } else if (packet.type === "SUBSCRIBE") {
          const { packetId, filters } = packet;
          send({ type: "SUBACK", packetId, codes: filters.map(() => 0) });
          for (const { topic } of filters) {
            topics.push(topic);
            if (topic === "flood") socket.on("drain", pour), pour();
            if (topic === "promise") socket.write(PROMISE);
          }
        } else if (packet.type === "UNSUBSCRIBE") {
          send({ type: "UNSUBACK", packetId: packet.packetId });
        } else if (packet.type === "PINGREQ") {
          send({ type: "PINGRESP" });
        } else if (packet.type === "PUBLISH" && packet.topic === "all") {
          for (const topic of topics) send({ ...packet, topic });
        } else if (packet.type === "DISCONNECT") {
          socket.destroy();
        }
      }
    });
  });
  await new Promise<void>((resolve) => server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, resolve));
  flood.port = (server.address() as AddressInfo).port;
  flood.stop = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return flood;
}
