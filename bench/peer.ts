/**
 * The synthetic peer where there is no C compiler: the commands, the output and
 * the behaviour of peer.c, at a script's speed.
 */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { readFileSync, writeSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import process from "node:process";
import { createServer as createTlsServer } from "node:tls";
import { publishPacket, topicNames } from "./client.ts";

const CHUNK = 128 * 1024;

const [mode = "flood", ...rest] = process.argv.slice(2);
const given = new Map(rest.map((arg) => arg.split("=") as [string, string]));
const number = (name: string, otherwise: number) => Number(given.get(name) ?? otherwise);
const size = number("size", 16);
const seconds = number("seconds", 1);
const limit = number("messages", 0) || Infinity;
const raw = number("raw", 0) === 1;

interface Count {
  messages: number;
  bytes: number;
  wrong: number;
  first: number;
  last: number;
}

async function flood(socket: Socket, count: Count) {
  const payload = Buffer.alloc(size, "x");
  const cycle = Buffer.concat(topicNames(number("topics", 100)).map((name) => publishPacket(name, payload)));
  const topics = number("topics", 100);
  const packet = cycle.length / topics;
  const cycles = Math.ceil(CHUNK / cycle.length);
  const prebuilt = Buffer.concat(new Array<Buffer>(cycles).fill(cycle));
  const perChunk = Math.max(1, Math.floor(CHUNK / packet));
  let at = 0;
  count.first = performance.now();
  do {
    const n = Math.min(perChunk, cycles * topics - at, limit - count.messages);
    if (!socket.write(prebuilt.subarray(at * packet, (at + n) * packet))) {
      await once(socket, "drain");
    }
    count.messages += n;
    count.bytes += n * packet;
    at = (at + n) % (cycles * topics);
    count.last = performance.now();
  } while (limit < Infinity ? count.messages < limit : count.last - count.first < seconds * 1000);
  if (raw) socket.end();
  else socket.write(publishPacket("end", Buffer.alloc(size + 64, "x")));
}

/** Takes the whole packets of `input`; returns what is left over. */
function take(socket: Socket, count: Count, input: Buffer): Buffer {
  let at = 0;
  for (;;) {
    let length = 0;
    let body = at + 1;
    let shift = 0;
    let more = true;
    while (more && body < input.length && shift < 28) {
      const byte = input[body++]!;
      length |= (byte & 127) << shift;
      more = byte >= 128;
      shift += 7;
    }
    const end = body + length;
    if (more || end > input.length) return input.subarray(at);
    switch (input[at]! >> 4) {
      case 1:
        socket.write(Buffer.from([0x20, 2, 0, 0]));
        break;
      case 3:
        count.last = performance.now();
        if (count.messages++ === 0) count.first = count.last;
        count.bytes += end - at;
        if (length - 2 - input.readUInt16BE(body) !== size) count.wrong++;
        if (mode === "echo") socket.write(input.subarray(at, end));
        break;
      case 8:
        socket.write(Buffer.from([0x90, 3, input[body]!, input[body + 1]!, 0]));
        if (mode === "flood" && input[end - 2] === 0x23) flood(socket, count);
        break;
      case 12:
        socket.write(Buffer.from([0xd0, 0]));
        break;
      case 14:
        socket.end();
    }
    at = end;
  }
}

function serve(socket: Socket) {
  const count = { messages: 0, bytes: 0, wrong: 0, first: 0, last: 0 };
  let left: Buffer = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on("data", (chunk: Buffer) => {
    left = take(socket, count, left.length ? Buffer.concat([left, chunk]) : chunk);
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    const { first, last, ...figures } = count;
    if (!count.messages) return;
    writeSync(1, JSON.stringify({ ...figures, seconds: (last - first) / 1000 }) + "\n");
  });
}

const cert = given.get("cert");
const pem = cert && readFileSync(cert);
const server = pem
  ? createTlsServer({ key: pem, cert: pem, ciphers: "TLS_AES_128_GCM_SHA256" }, serve)
  : createServer(serve);
server.on("tlsClientError", () => {});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  writeSync(1, JSON.stringify({ port }) + "\n");
});
process.stdin.on("end", () => process.exit(0)).resume();
