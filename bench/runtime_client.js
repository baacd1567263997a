/** One connection of the runtime, with no client on it: `PORT read|echo onread|data|own SECONDS`; prints a figure. */
import { connect } from "node:net";
import process from "node:process";

const [port, job, how, seconds] = process.argv.slice(2);
const packet = new Uint8Array(64);
let began = 0, sent = 0, bytes = 0, write = () => {};
const times = [];

/** Bytes have come: counts them, or sends the next packet. */
function heard(length) {
  const now = performance.now();
  if (began === 0) began = now;
  bytes += length;
  if (job === "echo") {
    if (sent > 0) times.push(now - sent);
    sent = performance.now();
    write(packet);
  }
  if (now - began > 1000 * Number(seconds)) finish(now);
}

/** Gigabytes a second, or the median of the round trips in microseconds. */
function finish(now) {
  times.sort((a, b) => a - b);
  console.log(job === "echo" ? 1000 * times[times.length >> 1] : bytes / 1e6 / (now - began));
  process.exit();
}

/** Deno's own connection. */
async function onDeno() {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
  conn.setNoDelay();
  write = (block) => void conn.write(block);
  write(new TextEncoder().encode(job[0]));
  const space = new Uint8Array(262_144);
  for (let length = await conn.read(space); length !== null; length = await conn.read(space)) heard(length);
}

/** Bun's own. */
async function onBun() {
  const socket = { data: (_, block) => heard(block.length), error: () => {} };
  const conn = await Bun.connect({ hostname: "127.0.0.1", port: Number(port), socket });
  write = (block) => void conn.write(block);
  write(new TextEncoder().encode(job[0]));
}

/** That of `node:net`, with 'data' events or reading into memory of ours. */
function onNode() {
  const space = new Uint8Array(262_144);
  const onread = how === "data" ? undefined : {
    buffer: space,
    callback: (length) => {
      heard(length);
      return true;
    },
  };
  const socket = connect({ host: "127.0.0.1", port: Number(port), noDelay: true, onread });
  if (how === "data") socket.on("data", (block) => heard(block.length));
  write = (block) => void socket.write(block);
  socket.on("connect", () => write(new TextEncoder().encode(job[0])));
}

if (how !== "own") onNode();
else if ("Deno" in globalThis) await onDeno();
else await onBun();
