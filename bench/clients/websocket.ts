// title: WebSocket alone
/** The platform's WebSocket, with no MQTT client on it: the raw socket of a page. */
import { type Job, type Open, packetLength, publishPacket, Skip, topicNames } from "../client.ts";

const CONNECT = new Uint8Array([0x10, 15, 0, 4, 77, 81, 84, 84, 4, 2, 2, 88, 0, 3, 114, 97, 119]);
const SUBSCRIBE = new Uint8Array([0x82, 6, 0, 1, 0, 1, 0x23, 0]);
const DISCONNECT = new Uint8Array([0xe0, 0]);
const ANSWERS = 4 + 5;
const WRITE = 64 * 1024;
/** While more waits, nothing is sent. */
const MOST = 1024 * 1024;

/** Connected, and subscribed to everything; CONNACK and SUBACK are left out of what is counted. */
async function dial(url: string, onbytes: (length: number) => void): Promise<WebSocket> {
  if (typeof WebSocket === "undefined") throw new Skip("the platform has none");
  const socket = new WebSocket(url, "mqtt");
  socket.binaryType = "arraybuffer";
  let answers = ANSWERS;
  await new Promise<void>((resolve, reject) => {
    socket.onopen = () => socket.send(CONNECT);
    socket.onerror = () => reject(new Error("no connection"));
    socket.onmessage = ({ data: { byteLength } }) => {
      if (answers === ANSWERS) socket.send(SUBSCRIBE);
      if (answers > 0) answers -= byteLength;
      else onbytes(byteLength);
      if (answers <= 0) resolve();
    };
  });
  return socket;
}

export const open: Open = () => {
  throw new Skip("it is no client");
};

const turn = () => new Promise((resolve) => setTimeout(resolve));

/** Bytes, until the peer ends the connection. */
export const receive: Job = async ({ url, size }, meter) => {
  let bytes = 0;
  const socket = await dial(url, (length) => {
    if (bytes === 0) meter.start();
    bytes += length;
  });
  await new Promise((resolve) => socket.onclose = resolve);
  return { messages: bytes / packetLength(size), ...meter.stop() };
};

/** Prebuilt packets, in frames of 64 KiB or of one packet. */
export const publish: Job = async (params, meter) => {
  const perWrite = Math.max(1, Math.floor(WRITE / packetLength(params.size)));
  const packet = publishPacket(topicNames(1)[0]!, new Uint8Array(params.size).fill(120));
  const frame = new Uint8Array(perWrite * packet.length);
  for (let i = 0; i < perWrite; i++) frame.set(packet, i * packet.length);
  const socket = await dial(params.url, () => {});
  let messages = 0;
  meter.start();
  const deadline = performance.now() + params.seconds * 1000;
  do {
    while (socket.bufferedAmount > MOST) await turn();
    socket.send(frame);
    messages += perWrite;
  } while (performance.now() < deadline);
  const figures = { messages, ...meter.stop() };
  const closed = new Promise((resolve) => socket.onclose = resolve);
  socket.send(DISCONNECT);
  socket.close();
  await closed;
  return figures;
};
