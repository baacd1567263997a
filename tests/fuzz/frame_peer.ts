/** The npm package `ws`, which takes frames apart and makes them in its own way. */
import { Buffer } from "node:buffer";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Writable } from "node:stream";
import type { Close } from "../../src/transport/websocket_frames.ts";
import { hex } from "../support/bytes.ts";

/** What came of a stream of frames. */
export interface Found {
  /** The payloads of data frames, one after the other. */
  data: Buffer;
  /** The payloads of pings, in hexadecimal; ours keeps the last one. */
  pings: string[];
  /** What the close frame says, after which there is nothing. */
  closed: Close | undefined;
  /** What is wrong, and the code with which the connection is closed for it. */
  mistake: { code: number; message: string } | undefined;
}

interface FrameOptions {
  fin: boolean;
  opcode: number;
  mask: boolean;
  readOnly: boolean;
  rsv1: boolean;
}

/** Its parts by their files: Bun has a WebSocket of its own for the name of the package. */
const require = createRequire(import.meta.url), folder = join(dirname(require.resolve("ws/package.json")), "lib");
const Receiver = require(join(folder, "receiver.js")) as new (options: { isServer: boolean }) => Writable;
const { frame } = require(join(folder, "sender.js")) as {
  frame(payload: Buffer, options: FrameOptions): Buffer[];
};

/** A frame of a server. */
export function frameOfWs(opcode: number, payload: Uint8Array, fin: boolean): Buffer {
  return Buffer.concat(frame(Buffer.from(payload), { fin, opcode, mask: false, readOnly: false, rsv1: false }));
}

/** A receiver of `ws`, of the frames of a server or a client: what it has found so far, and the end after which it takes nothing. */
export class WsReader {
  readonly found: Omit<Found, "data"> & { data: Buffer[]; pongs: string[] } = {
    data: [],
    pings: [],
    pongs: [],
    closed: undefined,
    mistake: undefined,
  };
  readonly #receiver: Writable;

  constructor(isServer: boolean) {
    const { found } = this;
    this.#receiver = new Receiver({ isServer })
      .on("message", (data: Buffer) => found.data.push(data))
      .on("ping", (data: Buffer) => found.pings.push(hex(data)))
      .on("pong", (data: Buffer) => found.pongs.push(hex(data)))
      .on("conclude", (code: number, reason: Buffer) => found.closed = { code, reason: reason.toString() });
  }

  /** Takes the next bytes. By the method that streams call: so it is done when this returns. */
  take(bytes: Uint8Array): void {
    const { found } = this;
    if (found.mistake !== undefined || found.closed !== undefined) return;
    this.#receiver._write(Buffer.from(bytes), "buffer" as never, (error) => {
      if (error) found.mistake = { code: closeCode(error), message: error.message };
    });
  }
}

/** It keeps the code under a symbol of its own. */
function closeCode(error: Error): number {
  const key = Object.getOwnPropertySymbols(error).find(({ description }) => description === "status-code");
  return Number((error as unknown as Record<symbol, unknown>)[key!]);
}

/** What `ws` finds in a stream of a server. */
export function readByWs(input: Uint8Array): Found {
  const reader = new WsReader(false);
  reader.take(input);
  const { data, pings, closed, mistake } = reader.found;
  return { data: Buffer.concat(data), pings, closed, mistake };
}
