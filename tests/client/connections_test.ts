/** Connections handed in, in every state somebody may leave them. */
import { test } from "node:test";
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, type Streams } from "../../mod.ts";
import { type Action, close, type Scripted, send, startScripted, wait } from "../support/scripted.ts";
import { codeOf, endsToo, failure, gone, Inbox, noise, within } from "./support.ts";
import { freePort } from "../support/servers.ts";

const connack = Uint8Array.of(0x20, 2, 0, 0);
const accept = [wait(14), send(connack), endsToo];

async function withServer(script: Action[], act: (server: Scripted) => Promise<unknown>): Promise<void> {
  const server = await startScripted(script);
  try {
    await act(server);
  } finally {
    await server.stop();
  }
}

async function open({ port }: Scripted): Promise<Socket> {
  const socket = connectTcp(port, "127.0.0.1");
  await once(socket, "connect");
  return socket;
}

test("a socket that still connects is awaited; one that cannot says so", () =>
  withServer(accept, async ({ port }) => {
    const client = await connect(connectTcp(port, "127.0.0.1"));
    await client.disconnect();
    const error = await failure(connect(connectTcp(freePort(), "127.0.0.1"), undefined, { timeout: 2000 }));
    assert(error.code === "socketclosed" || error.code === "cannotconnect", `${error.code}`);
    assertEquals((error.cause as { code?: string }).code, "ECONNREFUSED");
  }));

test("a socket that was destroyed, or whose server is gone: socketclosed", () =>
  withServer([close], async (server) => {
    const destroyed = await open(server);
    destroyed.destroy();
    assertEquals(await codeOf(connect(destroyed)), "socketclosed");
    const ended = await open(server);
    await once(ended.resume(), "end");
    assertEquals(await codeOf(connect(ended)), "socketclosed");
    const closed = await open(server);
    await once(closed.resume(), "close");
    assertEquals(await codeOf(connect(closed)), "socketclosed");
  }));

test("a silent server behind a socket: timeout, and the socket is closed", () =>
  withServer([], async (server) => {
    const socket = await open(server);
    assertEquals(await codeOf(connect(socket, undefined, { timeout: 200 })), "timeout");
    assert(socket.destroyed);
    await gone(await server.peer());
  }));

test("the signal closes a socket that was handed in", () =>
  withServer([], async (server) => {
    const controller = new AbortController();
    const socket = await open(server);
    const connecting = codeOf(connect(socket, undefined, { signal: controller.signal }));
    await (await server.peer()).wait(14);
    controller.abort();
    assertEquals(await connecting, "disconnect");
    assert(socket.destroyed);
    const late = await open(server);
    assertEquals(await codeOf(connect(late, undefined, { signal: controller.signal })), "disconnect");
    await gone(await server.peer(1));
  }));

test("what a wrong socket's server said before CONNECT: invalidresp", () =>
  withServer([send("220 smtp.example ESMTP\r\n")], async (server) => {
    const socket = await open(server);
    await once(socket, "readable"); // it waits in the socket's own buffer
    assertEquals(await codeOf(connect(socket)), "invalidresp");
  }));

test("what has come before the server closes is given, however slowly it is taken", () => {
  const publish = Array.from({ length: 50 }, () => [0x30, 5, 0, 1, 0x6d, 0x68, 0x69]).flat();
  const granted = [0x90, 3, 0, 1, 0, ...publish];
  return withServer([wait(14), send(connack), wait(22), send(granted), close], async (server) => {
    const duplex = Duplex.from(await open(server)) as Duplex;
    for (const connection of [await open(server), duplex, "127.0.0.1"]) {
      const client = await connect(
        connection,
        undefined,
        connection === "127.0.0.1" ? { port: server.port, id: "" } : { id: "" },
      );
      let count = 0;
      const taking = (async () => {
        for await (const _ of client.messages("m", { limit: 2 })) {
          count++;
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
      })();
      assertEquals(await codeOf(taking), "socketclosed");
      assertEquals([count, (await client.run()).code], [50, "socketclosed"]);
    }
  });
});

test("a socket with listeners of its owner keeps them", () =>
  withServer(accept, async (server) => {
    const socket = await open(server);
    const closed = new Promise((resolve) => socket.on("close", resolve));
    const client = await connect(socket);
    await client.disconnect();
    await within(closed, "the owner's 'close'");
  }));

/** A Duplex whose other end is a script: what is written is collected, what is pushed is read. */
class Line extends Duplex {
  readonly written: Uint8Array[] = [];
  readonly #rest: Uint8Array;
  constructor(rest: Uint8Array = new Uint8Array(0)) {
    super();
    this.#rest = rest;
  }
  override _read(): void {}
  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    if (this.written.length < 1000) this.written.push(chunk); // not copied, as a queue would do
    if (this.written.length === 1) this.push(Uint8Array.of(...connack, ...this.#rest));
    done();
  }
}

/** A line that was talked on before: its end says the rest while CONNECT is written. */
async function startedLine(rest: Uint8Array): Promise<Line> {
  const line = new Line(rest);
  line.on("data", () => {}).push("hello");
  await new Promise((resolve) => setTimeout(resolve, 10));
  line.removeAllListeners("data");
  return line;
}

test("a Duplex that answers while it is written to: what that asks for is answered at once", async () => {
  const line = await startedLine(Uint8Array.of(0x32, 6, 0, 1, 0x74, 0, 7, 0x31));
  const client = await connect(line, undefined, { keepalive: 0 });
  await new Promise((resolve) => setTimeout(resolve, 100));
  assertEquals(line.written.slice(1).map((bytes) => [...bytes.subarray(0, 4)]), [[0x40, 2, 0, 7]]);
  line.destroy();
  assertEquals((await client.run()).code, "socketclosed");
});

test("a loop that awaits each publish() lets timers ring, although the line takes everything at once", async () => {
  const line = new Line();
  const client = await connect(line);
  for (const size of [10, 300_000]) {
    const payload = new Uint8Array(size), start = performance.now();
    let rang = false;
    setTimeout(() => rang = true, 50);
    while (!rang && performance.now() - start < 20_000) await client.publish("t", payload);
    assert(rang, `no timer rang while messages of ${size} bytes were published`);
  }
  line.destroy();
  assertEquals((await client.run()).code, "socketclosed");
});

test("a Duplex that keeps what it is given sees it unchanged", async () => {
  const line = new Line();
  const client = await connect(line, undefined, { id: "ID", keepalive: 0 });
  const payloads = [noise(100), noise(70_000), noise(100)];
  for (let round = 0; round < 20; round++) {
    for (const payload of payloads) await client.publish("t", payload);
  }
  const done = client.disconnect();
  await within(once(line, "finish"), "the end");
  line.push(null);
  await done;
  const bytes = line.written.reduce((sum, chunk) => sum + chunk.length, 0);
  assertEquals(bytes, 16 + 20 * (70_007 + 2 * 105) + 2);
  const all = Uint8Array.from(line.written.flatMap((chunk) => [...chunk]));
  assertEquals(all.subarray(16 + 5, 16 + 105).join(), payloads[0]!.join());
  assertEquals(all.subarray(-102, -2).join(), payloads[2]!.join());
});

test("a Duplex in any mood: cut into single bytes, views of one buffer, an error, a destroy", async () => {
  const packets = Uint8Array.of(0x30, 4, 0, 1, 0x74, 0x31, 0x30, 4, 0, 1, 0x74, 0x32, 0x30, 4, 0, 1, 0x74, 0x33);
  for (const size of [1, 2, 5, 18]) {
    const line = new Line(), inbox = new Inbox();
    const client = await connect(line, inbox.onpub);
    for (let at = 0; at < packets.length; at += size) line.push(packets.subarray(at, at + size));
    assertEquals((await inbox.take(3)).map((message) => message.text()), ["1", "2", "3"]);
    const cause = new Error("cable cut");
    line.destroy(size > 2 ? cause : undefined);
    const end = await within(client.run(), "run()");
    assertEquals([end.code, end.cause], ["socketclosed", size > 2 ? cause : undefined]);
  }
});

/** Web streams whose other end is the test. */
function streams(): { line: Streams; fromBroker: WritableStreamDefaultWriter<Uint8Array>; sent: Uint8Array[] } {
  const inbound = new TransformStream<Uint8Array, Uint8Array>();
  const fromBroker = inbound.writable.getWriter();
  const sent: Uint8Array[] = [];
  const writable = new WritableStream<Uint8Array>({
    write(chunk) {
      sent.push(chunk);
      if (sent.length === 1) fromBroker.write(connack).catch(() => {});
    },
    close: () => fromBroker.close(),
  });
  return { line: { readable: inbound.readable, writable }, fromBroker, sent };
}

test("web streams: messages, an error of the source, its end, and a locked stream", async () => {
  const inbox = new Inbox();
  const good = streams();
  const client = await connect(good.line, inbox.onpub);
  assertEquals([client.sock === good.line, client.trusted], [true, false]);
  await good.fromBroker.write(Uint8Array.of(0x30, 4, 0, 1, 0x74, 0x31));
  assertEquals(await inbox.text(), "t: 1");
  await client.publish("t", "2");
  await client.disconnect();
  assertEquals(good.sent.slice(1).map((chunk) => chunk.join()), ["48,4,0,1,116,50", "224,0"]);

  const broken = streams();
  const cause = new Error("cable cut");
  const second = await connect(broken.line);
  await assertRejects(() => connect(broken.line), TypeError, "locked");
  await broken.fromBroker.abort(cause);
  const end = await within(second.run(), "run()");
  assertEquals([end.code, end.cause], ["socketclosed", cause]);

  const finished = streams();
  const third = await connect(finished.line);
  await finished.fromBroker.close();
  assertEquals((await within(third.run(), "run()")).code, "socketclosed");
});

test("web streams whose sink never accepts: disconnect gives up in time", async () => {
  const inbound = new TransformStream<Uint8Array, Uint8Array>();
  const fromBroker = inbound.writable.getWriter();
  let writes = 0;
  const writable = new WritableStream<Uint8Array>({
    write() {
      if (writes++ > 0) return new Promise(() => {});
      fromBroker.write(connack);
    },
  });
  const client = await connect({ readable: inbound.readable, writable }, undefined, { timeout: 200 });
  const pending = codeOf(client.publish("t", new Uint8Array(100_000)));
  assertEquals(await codeOf(client.disconnect(), 2000), "timeout");
  assertEquals(await pending, "disconnect");
});
