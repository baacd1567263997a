/** The server's side of a WebSocket, by hand: plain, slow, and sharing nothing with the library (RFC 6455). */
import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";
import { patience } from "./process.ts";
import type { Action, Peer } from "./scripted.ts";

/** What is odd about a frame. */
export interface Odd {
  /** Of several fragments not the last one. */
  more?: boolean;
  /** The reserved bits: 4 is that of compression. */
  reserved?: number;
  masked?: boolean;
  /** The length as it is announced, and in how many bytes. */
  length?: bigint;
  size?: 1 | 2 | 8;
}

/** The bytes of a frame. */
export function frame(opcode: number, payload: Uint8Array | string = "", odd: Odd = {}): Uint8Array {
  const body = typeof payload === "string" ? Buffer.from(payload) : payload;
  const length = odd.length ?? BigInt(body.length);
  const size = odd.size ?? (length < 126n ? 1 : length < 65_536n ? 2 : 8);
  const head = Buffer.alloc(1 + (size === 1 ? 1 : 1 + size));
  head[0] = (odd.more ? 0 : 0x80) | (odd.reserved ?? 0) << 4 | opcode;
  head[1] = (odd.masked ? 0x80 : 0) | (size === 1 ? Number(length) : size === 2 ? 126 : 127);
  if (size === 2) head.writeUInt16BE(Number(length), 2);
  if (size === 8) head.writeBigUInt64BE(length, 2);
  return new Uint8Array(Buffer.concat([head, odd.masked ? Buffer.alloc(4) : Buffer.alloc(0), body]));
}

/** A close frame. */
export function closeFrame(code: number, reason: Uint8Array | string = ""): Uint8Array {
  return frame(8, new Uint8Array(Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason as string)])));
}

/** The request, and the frames behind it, of what a client has sent. */
export interface Heard {
  /** Undefined until it is whole. */
  request: string | undefined;
  frames: { opcode: number; last: boolean; masked: boolean; payload: Uint8Array }[];
}

export function hear(bytes: Uint8Array): Heard {
  const all = Buffer.from(bytes), end = all.indexOf("\r\n\r\n");
  if (end === -1) return { request: undefined, frames: [] };
  const frames: Heard["frames"] = [];
  for (let at = end + 4; at + 2 <= all.length;) {
    const first = all[at]!, second = all[at + 1]!, short = second & 127;
    let head = at + 2, length = short;
    if (short === 126) length = all.readUInt16BE(head), head += 2;
    if (short === 127) length = Number(all.readBigUInt64BE(head)), head += 8;
    const mask = all.subarray(head, head + 4);
    const body = all.subarray(head + 4, head + 4 + length);
    if (body.length < length) break;
    const payload = Uint8Array.from(body, (byte, i) => byte ^ mask[i % 4]!);
    frames.push({ opcode: first & 15, last: first >= 128, masked: second >= 128, payload });
    at = head + 4 + length;
  }
  return { request: all.subarray(0, end + 4).toString("latin1"), frames };
}

/** What Sec-WebSocket-Accept is for a request. */
export function acceptOf(request: string): string {
  const [, key = ""] = /^sec-websocket-key: (.*)\r$/im.exec(request) ?? [];
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

/** Waits until what the client has sent is enough, or it is gone; several may wait at once. */
export function until(peer: Peer, holds: (heard: Heard) => boolean): Promise<Heard> {
  const { socket } = peer;
  return new Promise((resolve, reject) => {
    const settle = (outcome: Heard | Error) => {
      clearTimeout(timer);
      socket.off("data", look).off("close", look);
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    };
    const look = () => {
      const heard = hear(peer.received());
      if (holds(heard) || socket.destroyed) settle(heard);
    };
    const timer = setTimeout(() => settle(new Error(`The client has not sent enough within ${patience} ms`)), patience);
    socket.on("data", look).on("close", look);
    look();
  });
}

/** The answer that agrees, with other lines perhaps. */
export const agreed = (request: string, change: (lines: string[]) => string[] = (lines) => lines): string =>
  change([
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${acceptOf(request)}`,
    "Sec-WebSocket-Protocol: mqtt",
  ]).concat("", "").join("\r\n");

/** Answers the request: `bytes` come together with the answer. */
export const upgrade =
  (change?: (lines: string[]) => string[], bytes: Uint8Array = new Uint8Array()): Action => async (peer) => {
    const { request = "" } = await until(peer, ({ request }) => request !== undefined);
    peer.socket.write(Buffer.concat([Buffer.from(agreed(request, change), "latin1"), bytes]));
  };

/** Waits for as many data frames of the client. */
export const frames = (count: number): Action => (peer) =>
  until(peer, ({ frames }) => frames.filter(({ opcode }) => opcode <= 2).length >= count);
