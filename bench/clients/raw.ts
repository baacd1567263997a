// title: raw socket
/** The socket alone: what the runtime can do, with no MQTT client on it. */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { type Job, type Open, packetLength, publishPacket, Skip, topicNames } from "../client.ts";

const CONNECT = Buffer.from("\x10\x0f\0\x04MQTT\x04\x02\x02\x58\0\x03raw");
const SUBSCRIBE = Buffer.from([0x82, 6, 0, 1, 0, 1, 0x23, 0]);
const DISCONNECT = Buffer.from([0xe0, 0]);
const WRITE = 64 * 1024;
/** One for all connections: nobody keeps what is in it. */
const buffer = Buffer.allocUnsafe(64 * 1024);

/** Connected; CONNACK and SUBACK are left out of what `onchunk` gets. */
async function dial(url: string, onchunk: (chunk: Uint8Array) => void) {
  const { protocol, hostname: host, port } = new URL(url);
  const to = { host, port: Number(port), noDelay: true };
  let answers = 4;
  function onread(chunk: Uint8Array) {
    if (answers > 0) {
      const n = Math.min(answers, chunk.length);
      answers -= n;
      chunk = chunk.subarray(n);
    }
    if (chunk.length) onchunk(chunk);
  }
  let socket: Socket;
  if (protocol === "mqtts:") {
    socket = connectTls({ ...to, rejectUnauthorized: false });
    socket.on("data", onread);
    await once(socket, "secureConnect");
  } else {
    socket = connect({
      ...to,
      onread: {
        buffer,
        callback(n) {
          onread(buffer.subarray(0, n));
          return true;
        },
      },
    });
    await once(socket, "connect");
  }
  socket.write(CONNECT);
  return {
    socket,
    subscribe() {
      answers += 5;
      socket.write(SUBSCRIBE);
    },
    async close() {
      socket.resume().end(DISCONNECT);
      if (!socket.closed) await once(socket, "close");
    },
  };
}

/** One packet a time: a chunk that is as long as a packet is taken for one. */
export const open: Open = async (url, onmessage) => {
  let sent: Uint8Array = new Uint8Array();
  let message: { payload: Uint8Array } = { payload: sent };
  const { socket, subscribe, close } = await dial(
    url,
    (chunk) => onmessage("", chunk.length === sent.length ? message : { payload: chunk }),
  );
  function write(topic: string, payload: Uint8Array) {
    if (message.payload !== payload) {
      message = { payload };
      sent = publishPacket(topic, payload);
    }
    return socket.write(sent);
  }
  return {
    subscribe,
    close,
    send: write,
    async publish(topic, payload) {
      if (!write(topic, payload)) await once(socket, "drain");
    },
  };
};

/** Bytes, until the peer ends the connection. */
export const receive: Job = async ({ url, size, read }, meter) => {
  if (!read) throw new Skip("it reads no payload");
  let bytes = 0;
  const { socket, subscribe } = await dial(url, (chunk) => {
    if (bytes === 0) meter.start();
    bytes += chunk.length;
  });
  subscribe();
  socket.resume();
  await once(socket, "end");
  const messages = bytes / packetLength(size);
  return { messages, ...meter.stop() };
};

/** Prebuilt packets, in writes of 64 KiB or of one packet. */
export const publish: Job = async (params, meter) => {
  const payload = new Uint8Array(params.size).fill(120);
  const length = packetLength(params.size);
  const perWrite = Math.max(1, Math.floor(WRITE / length));
  const topics = topicNames(params.topics);
  while (topics.length < perWrite) topics.push(...topics);
  const bytes = Buffer.concat(topics.map((topic) => publishPacket(topic, payload)));
  const { socket, close } = await dial(params.url, () => {});
  let messages = 0;
  let at = 0;
  meter.start();
  const deadline = performance.now() + params.seconds * 1000;
  do {
    const n = Math.min(perWrite, topics.length - at);
    const part = bytes.subarray(at * length, (at + n) * length);
    if (!socket.write(part)) await once(socket, "drain");
    messages += n;
    at = (at + n) % topics.length;
  } while (performance.now() < deadline);
  const { seconds } = meter.stop();
  await close();
  return { ...meter.stop(), messages, seconds };
};

export const relay: Job = () => {
  throw new Skip("a broker's packets are not parsed");
};
