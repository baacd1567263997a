/** Deno's own TCP connection; what holds for every transport is in the suites over all of them. */
import { test } from "node:test";
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import { connect, MqttError } from "../../mod.ts";
import { dialDeno } from "../../src/transport/deno_socket.ts";
import type { Transport } from "../../src/transport/transport.ts";
import { startAedes } from "../support/servers.ts";

const HOST = "127.0.0.1";

/** What a connection tells, and how much it may bring until it is told to go on. */
class Listener {
  readonly heard: string[] = [];
  readonly ended: Promise<MqttError>;
  bytes = 0;
  /** Whether more is wanted after each read. */
  wants = true;
  #end!: (error: MqttError) => void;
  readonly #space = new Uint8Array(65_536);

  constructor() {
    this.ended = new Promise((resolve) => this.#end = resolve);
  }

  space(): Uint8Array {
    return this.#space;
  }

  received(_: Uint8Array, length: number): boolean {
    this.bytes += length;
    this.heard.push("received");
    return this.wants;
  }

  written(): void {
    this.heard.push("written");
  }

  closed(error: MqttError): void {
    this.heard.push("closed");
    this.#end(error);
  }
}

/** A connection and its other end. */
async function pair(): Promise<{ transport: Transport; peer: Deno.TcpConn }> {
  using listener = Deno.listen({ hostname: HOST, port: 0 });
  const accepted = listener.accept();
  const transport = await dialDeno({ host: HOST, port: listener.addr.port }, new AbortController().signal);
  return { transport, peer: await accepted };
}

/** Waits until it is so. */
async function until(isSo: () => boolean): Promise<void> {
  for (const start = performance.now(); !isSo();) {
    assert(performance.now() - start < 20_000, "it takes too long");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Writes all of it. */
async function writeAll(peer: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await peer.write(bytes.subarray(at));
}

test("Deno: a client over TCP has a connection of Deno's own, without delay", async () => {
  const broker = await startAedes();
  try {
    await using mqtt = await connect(`mqtt://${HOST}:${broker.port}`);
    assertEquals(Object.prototype.toString.call(mqtt.sock), "[object Object]");
    assertEquals((mqtt.sock as Deno.TcpConn).remoteAddr.port, broker.port);
  } finally {
    await broker.stop();
  }
});

test("Deno: nothing is read until it is wanted, and then what has come", async () => {
  const { transport, peer } = await pair(), listener = new Listener();
  listener.wants = false;
  transport.start(listener);
  const all = new Uint8Array(16_000_000);
  let isWritten = false;
  const writing = writeAll(peer, all).then(() => isWritten = true);
  await until(() => listener.bytes > 0);
  const { bytes } = listener;
  await new Promise((resolve) => setTimeout(resolve, 300));
  assertEquals([listener.bytes, isWritten], [bytes, false]);
  listener.wants = true;
  transport.resume();
  transport.resume();
  await until(() => listener.bytes === all.length);
  await writing;
  peer.close();
  assertEquals((await listener.ended).code, "socketclosed");
});

test("Deno: timers ring while a connection brings more and more", async () => {
  const { transport, peer } = await pair(), listener = new Listener();
  let isOver = false, rings = 0;
  const flood = (async () => {
    const block = new Uint8Array(1_000_000);
    while (!isOver) await writeAll(peer, block);
  })();
  transport.start(listener);
  const timer = setInterval(() => rings++, 10);
  await until(() => rings > 20);
  clearInterval(timer);
  isOver = true;
  await flood;
  transport.close();
  peer.close();
});

test("Deno: what was written goes out before the end, and the other end may still answer", async () => {
  const { transport, peer } = await pair(), listener = new Listener();
  transport.start(listener);
  const all = new Uint8Array(8_000_000).fill(7);
  assertEquals(transport.write(all), false);
  transport.end();
  let got = 0;
  for await (const chunk of peer.readable) {
    assert(chunk.every((byte) => byte === 7));
    got += chunk.length;
    if (got === all.length) break;
  }
  assertEquals([got, listener.heard], [all.length, ["written"]]);
  assertEquals((await listener.ended).code, "socketclosed");
});

test("Deno: the end comes after all that came before it, though a write has failed", async () => {
  const { transport, peer } = await pair(), listener = new Listener();
  await writeAll(peer, new Uint8Array(30_000));
  peer.close();
  transport.start(listener);
  for (let i = 0; i < 20 && !listener.heard.includes("closed"); i++) {
    transport.write(new Uint8Array(10));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assertEquals((await listener.ended).code, "socketclosed");
  assertEquals([listener.bytes, listener.heard.at(-1)], [30_000, "closed"]);
});

test("Deno: who does not read hears of a write that has failed", async () => {
  const { transport, peer } = await pair(), listener = new Listener();
  listener.wants = false;
  transport.start(listener);
  await writeAll(peer, new Uint8Array(10));
  await until(() => listener.bytes === 10);
  peer.close();
  for (let i = 0; i < 200 && !listener.heard.includes("closed"); i++) {
    transport.write(new Uint8Array(10));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const error = await listener.ended;
  assertInstanceOf(error, MqttError);
  assertEquals(error.code, "socketclosed");
  assertInstanceOf(error.cause, Error);
});

test("Deno: an attempt that is given up ends at once, and leaves nothing open", async () => {
  // A listener that accepts nobody, and whose queue is full: the next one waits.
  using listener = Deno.listen({ hostname: HOST, port: 0, tcpBacklog: 1 });
  const { port } = listener.addr, reason = new Error("enough");
  const waiting: Promise<Transport>[] = [], controllers: AbortController[] = [];
  for (let i = 0; i < 8; i++) {
    const controller = new AbortController();
    controllers.push(controller);
    waiting.push(dialDeno({ host: HOST, port }, controller.signal));
  }
  const open = new Set<Transport>();
  for (const dialled of waiting) dialled.then((transport) => open.add(transport), () => {});
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert(open.size < waiting.length, "all were let in");
  for (const controller of controllers) controller.abort(reason);
  for (const dialled of waiting) {
    const transport = await dialled.catch((error) => assertStrictEquals(error, reason));
    transport?.close();
  }
});

test("Deno: why there is no connection", async () => {
  const { signal } = new AbortController();
  const unknown = await assertRejects(() => dialDeno({ host: "no-such-host.invalid", port: 1 }, signal), MqttError);
  assertEquals(unknown.code, "cannotresolve");
  const listener = Deno.listen({ hostname: HOST, port: 0 }), { port } = listener.addr;
  listener.close();
  const refused = await assertRejects(() => dialDeno({ host: HOST, port }, signal), MqttError);
  assertEquals(refused.code, "cannotconnect");
  assertInstanceOf(refused.cause, Deno.errors.ConnectionRefused);
});
