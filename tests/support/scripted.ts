/** A scripted server on loopback: it does to a client what no broker would do. */
import { type AddressInfo, createServer, type Server as NetServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { Buffer } from "node:buffer";
import type { Certificate } from "./certificates.ts";
import { patience } from "./process.ts";
import type { Server } from "./servers.ts";

/** One step of a script; the next one follows when it is done. Staying silent is having no more steps. */
export type Action = (peer: Peer) => unknown;

/** A connection as the server sees it. */
export interface Peer {
  socket: Socket;
  /** All it sent, in order. */
  received(): Uint8Array;
  /** Waits until it has sent this many bytes in all. */
  wait(total: number): Promise<void>;
  /** Resolves when the connection is gone. */
  closed: Promise<void>;
}

export interface Scripted extends Server {
  /** Every connection, oldest first; of TLS, those whose handshake was done. */
  peers: Peer[];
  /** All bytes of all connections: zero is what an untrusted server must get. */
  received(): Uint8Array;
  /** Waits for the connection with this index. */
  peer(index?: number): Promise<Peer>;
}

export interface ScriptedOptions {
  /** Speak TLS with this certificate. */
  tls?: Certificate;
  /** More options for `tls.createServer`: `{ requestCert: true, ca }`. */
  tlsOptions?: Record<string, unknown>;
}

/** Plays the script to every connection. */
export async function startScripted(script: Action[] = [], options: ScriptedOptions = {}): Promise<Scripted> {
  const peers: Peer[] = [];
  const sockets = new Set<Socket>();
  let arrived = () => {};
  const serve = async (socket: Socket) => {
    const peer = watch(socket);
    peers.push(peer);
    arrived();
    for (const action of script) {
      if (socket.destroyed) break;
      await action(peer);
    }
  };
  const server: NetServer = options.tls
    ? createTlsServer({ ...options.tls, ...options.tlsOptions }, serve).on("tlsClientError", () => {})
    : createServer({ allowHalfOpen: true }, serve);
  server.on("connection", (socket: Socket) => {
    socket.setNoDelay(true);
    sockets.add(socket.on("error", () => {}).on("close", () => sockets.delete(socket)));
  });
  await new Promise<void>((resolve, reject) => server.on("error", reject).listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    peers,
    received: () => new Uint8Array(Buffer.concat(peers.map((peer) => peer.received()))),
    async peer(index = 0) {
      await until(() => peers.length > index, (look) => arrived = look, `connection ${index}`);
      return peers[index]!;
    },
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const peer of peers) peer.socket.destroy();
      for (const socket of sockets) socket.destroy();
      await closed;
      await Promise.all(peers.map((peer) => peer.closed));
    },
  };
}

function watch(socket: Socket): Peer {
  const chunks: Uint8Array[] = [];
  let total = 0;
  let gone = false;
  let changed = () => {};
  const closed = new Promise<void>((resolve) => {
    socket.on("error", () => {}).on("close", () => {
      gone = true;
      changed();
      resolve();
    });
  });
  socket.on("data", (chunk: Uint8Array) => {
    chunks.push(chunk);
    total += chunk.length;
    changed();
  });
  return {
    socket,
    closed,
    received: () => new Uint8Array(Buffer.concat(chunks)),
    wait: (wanted) => until(() => gone || total >= wanted, (look) => changed = look, `${wanted} bytes`),
  };
}

/** Resolves when `holds`, looking whenever what was registered is called; rejects when patience ends. */
function until(holds: () => boolean, register: (look: () => void) => void, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`No ${what} within ${patience} ms`)), patience);
    const look = () => {
      if (!holds()) return;
      clearTimeout(timer);
      register(() => {});
      resolve();
    };
    register(look);
    look();
  });
}

/** Sends bytes, or a text. */
export const send = (bytes: Uint8Array | readonly number[] | string): Action => (peer) =>
  void peer.socket.write(typeof bytes === "string" ? bytes : Uint8Array.from(bytes));

/** Waits until the client has sent this many bytes in all (or is gone). */
export const wait = (total: number): Action => (peer) => peer.wait(total);

export const sleep = (ms: number): Action => () => new Promise((resolve) => setTimeout(resolve, ms));

/** Reads no more: the client's bytes fill the buffers of both kernels, then its own. */
export const stall: Action = (peer) => void peer.socket.pause();

/** Reads again after `stall`. */
export const resume: Action = (peer) => void peer.socket.resume();

/** Sends FIN and goes on reading. */
export const end: Action = (peer) => void peer.socket.end();

/** Closes in order, both ways. */
export const close: Action = (peer) => void peer.socket.end(() => peer.socket.destroy());

/** Sends RST. */
export const reset: Action = (peer) => void peer.socket.resetAndDestroy();
