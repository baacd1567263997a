/** Brokers that give more than a client can take, or take nothing. */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { encodeNaive, type NaivePacket, NaiveReader } from "../support/naive.ts";
import type { Server } from "../support/servers.ts";

export interface Flood extends Server {
  /** Bytes given to the sockets, in all. */
  sent: number;
}

/** What is poured onto a subscription: a block of packets, again and again, so many bytes in all. */
interface Torrent {
  block: Uint8Array;
  most: number;
}

/** 192 MB. */
const MUCH = 192 << 20;
const BLOCK = 65_536;

function message(topic: string, size: number, payload = new Uint8Array(size)): Uint8Array {
  return encodeNaive({ type: "PUBLISH", topic, payload, qos: 0, retain: false, dup: false, packetId: 0 });
}

function join(packets: Uint8Array[]): Uint8Array {
  const block = new Uint8Array(packets.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const packet of packets) {
    block.set(packet, at);
    at += packet.length;
  }
  return block;
}

const FLOOD: Torrent = { block: join(Array<Uint8Array>(64).fill(message("flood", 1000))), most: Infinity };
/** In each block a small message that is kept, among others. */
const SURVIVORS: Torrent = {
  block: join([message("survivors/kept", 10), ...Array<Uint8Array>(16).fill(message("survivors/other", 4064))]),
  most: MUCH,
};

/** So many messages, numbered. */
export const NUMBERS = 100_000;

function numbers(): Torrent {
  const encoder = new TextEncoder();
  const block = join(Array.from({ length: NUMBERS }, (_, i) => message("numbers", 0, encoder.encode(`${i}`))));
  return { block, most: block.length };
}

/** What a subscription is answered with, if anything. */
function torrentOf(topic: string): Torrent | undefined {
  if (topic === "flood") return FLOOD;
  if (topic === "survivors/other") return SURVIVORS;
  if (topic === "numbers") return numbers();
  const [, size] = /^(some|wait)\//.exec(topic) ?? [];
  if (size === undefined) return undefined;
  const packet = message(topic, 4096);
  return { block: join(Array<Uint8Array>(BLOCK >> 12).fill(packet)), most: size === "some" ? MUCH / 12 : MUCH };
}

/** The start of the longest packet there is. */
const PROMISE = Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, 0x61);

export interface FloodOptions {
  /** Nothing is read after the second CONNECT. */
  deaf?: boolean;
  /** Nothing is read while what it writes does not go out. */
  stubborn?: boolean;
}

/**
 * Answers CONNECT and SUBSCRIBE. A subscription to `flood` is flooded for as long as there is a connection; one to
 * `wait/...` gets 192 MB of messages of 4 KiB, one to `some/...` 16 MiB of them; one to `numbers` gets 100,000 small ones, numbered from 0 on; one to `survivors/other` gets 192 MB of
 * them, with a small one to `survivors/kept` in each 64 KiB; then come the answers to pings. One to `promise` gets the start of the longest packet there
 * is; a message to `all` is answered with one to each subscription.
 */
export async function startFlood({ deaf = false, stubborn = false }: FloodOptions = {}): Promise<Flood> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const flood: Flood = { port: 0, sent: 0, stop: () => Promise.resolve() };
  const server = createServer((socket) => {
    connections++;
    const reader = new NaiveReader();
    const topics: string[] = [];
    const send = (packet: NaivePacket) => void socket.write(encodeNaive(packet));
    /** Answers that come behind what is poured. */
    const behind: NaivePacket[] = [];
    let pouring = 0;
    const pour = ({ block, most }: Torrent) => {
      let poured = 0;
      if (most < Infinity) pouring++;
      const go = () => {
        if (stubborn) socket.resume();
        if (poured >= most) return;
        while (poured < most && !socket.destroyed) {
          poured += block.length;
          flood.sent += block.length;
          if (socket.write(block)) continue;
          if (stubborn) socket.pause();
          break;
        }
        if (poured < most || --pouring > 0) return;
        for (const packet of behind.splice(0)) send(packet);
      };
      socket.on("drain", go);
      go();
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
            const torrent = torrentOf(topic);
            if (torrent !== undefined) pour(torrent);
            if (topic === "promise") socket.write(PROMISE);
          }
        } else if (packet.type === "UNSUBSCRIBE") {
          send({ type: "UNSUBACK", packetId: packet.packetId });
        } else if (packet.type === "PINGREQ") {
          if (pouring > 0) behind.push({ type: "PINGRESP" });
          else send({ type: "PINGRESP" });
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
