/** What is special about a connection in a thread: who may block, where onpub runs, and how a thread ends. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { connect, type ConnectOptions, connectWorker, type MqttError, type OnPublish } from "../../mod.ts";
import { deferred } from "../../src/deferred.ts";
import { certificates } from "../support/certificates.ts";
import { bytes, hex, join as joinBytes } from "../support/bytes.ts";
import { needs, patience } from "../support/process.ts";
import { close, reset, type Scripted, send, stall, startScripted, wait } from "../support/scripted.ts";
import { startMosquitto } from "../support/servers.ts";
import { codeOf, endsToo, failure, gone, Inbox, within } from "../client/support.ts";

const tools = needs("mosquitto", "mosquitto_pub");
const local = "127.0.0.1";
/** The bytes of CONNECT with the identifier ID. */
const connected = 16;
const accept = [wait(connected), send(bytes("20 02 00 00")), endsToo];
const append = new URL("./modules/append.ts", import.meta.url);
const dying = new URL("./modules/dying.ts", import.meta.url);
const nothing = new URL("./modules/nothing.ts", import.meta.url);

/** Sleeps without the event loop. */
function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

async function withBroker(act: (port: number) => Promise<unknown>): Promise<void> {
  // Its log is a pipe to this thread, which may be blocked.
  const mosquitto = await startMosquitto({ config: "log_type none" });
  try {
    await act(mosquitto.port);
  } finally {
    await mosquitto.stop();
  }
}

/** A file that the module appends to, by a topic. */
async function withFile(act: (topic: string, lines: (count: number) => Promise<string[]>) => Promise<unknown>) {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-module-"));
  const file = join(dir, "lines");
  try {
    await act(`append${file}`, async (count) => {
      for (const start = performance.now(); performance.now() - start < patience;) {
        try {
          const lines = readFileSync(file, "utf8").trimEnd().split("\n");
          if (lines.length >= count) return lines;
        } catch {
          // It is not there yet.
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      throw new Error(`No ${count} lines`);
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Collects what surfaces as an uncaught error while `act` runs. */
async function surfacing(count: number, act: () => Promise<unknown>): Promise<string[]> {
  const found: string[] = [];
  const all = deferred<void>();
  const original = globalThis.queueMicrotask;
  globalThis.queueMicrotask = (callback) =>
    original(() => {
      try {
        callback();
      } catch (error) {
        if (found.push(String(error)) === count) all.resolve();
      }
    });
  try {
    await act();
    await within(all.promise, `${count} errors, after ${found}`);
  } finally {
    globalThis.queueMicrotask = original;
  }
  return found;
}

test("a main thread that is blocked costs neither connection nor messages", tools, () =>
  withBroker(async (port) => {
    const inbox = new Inbox();
    const client = await connectWorker(local, inbox.onpub, { port, keepalive: 2 });
    await client.subscribe("while/blocked");
    const flood = spawn("sh", ["-c", `sleep 1; seq 500 | mosquitto_pub -h ${local} -p ${port} -t while/blocked -l`]);
    const done = new Promise((resolve) => flood.on("close", resolve));
    await new Promise((resolve) => flood.on("spawn", resolve));
    block(5000); // the broker would hang up after 3 s
    const messages = await inbox.take(500);
    assertEquals(messages.map((message) => message.text()), Array.from({ length: 500 }, (_, i) => `${i + 1}`));
    assertEquals(await client.subscribe("still/here"), 0);
    await done;
    await client.disconnect();
  }));

test("a broker that does not answer PINGREQ: pingresp, also while the main thread is blocked", async () => {
  const server = await startScripted(accept);
  try {
    const client = await connectWorker(local, undefined, { port: server.port, id: "ID", keepalive: 1 });
    block(2500);
    const start = performance.now();
    assertEquals((await within(client.run(), "run()")).code, "pingresp");
    assertLess(performance.now() - start, 1000, "it was known before");
    await gone(await server.peer());
    assertMatch(hex(server.received().subarray(connected)), /^c0 00( c0 00)?$/);
  } finally {
    await server.stop();
  }
});

test("[MQTT-3.14.4-2] after DISCONNECT nothing is sent", async () => {
  const server = await startScripted([wait(connected), send(bytes("20 02 00 00"))]);
  try {
    const client = await connectWorker(local, undefined, { port: server.port, id: "ID", keepalive: 1 });
    await client.publish("a", "b");
    await client.disconnect(); // the server does not close: it lingers for longer than the keep alive
    assertEquals(server.received().subarray(connected), bytes('30 04 0001 "a" "b" e0 00'));
  } finally {
    await server.stop();
  }
});

test("a block too large for the ring keeps its place among the others", async () => {
  const server = await startScripted(accept);
  try {
    const client = await connectWorker(local, undefined, { port: server.port, id: "ID", keepalive: 0 });
    const sizes = [10, 300_000, 20, 2_000_000, 100_000, 30, 131_000, 131_100];
    const payloads = sizes.map((size, i) => new Uint8Array(size).fill(i + 1));
    await Promise.all(payloads.map((payload) => client.publish("t", payload)));
    await client.disconnect();
    let at = connected;
    const received = server.received();
    for (const [i, size] of sizes.entries()) {
      assertEquals(received[at], 0x30);
      const head = 1 + (size + 3 < 128 ? 1 : size + 3 < 2 ** 14 ? 2 : size + 3 < 2 ** 21 ? 3 : 4) + 3;
      assert(received.subarray(at + head, at + head + size).every((byte) => byte === i + 1), `payload ${i}`);
      at += head + size;
    }
    assertEquals([...received.subarray(at)], [0xe0, 0]);
  } finally {
    await server.stop();
  }
});

test("what cannot cross to a thread is a TypeError at once", async () => {
  const socket = connectTcp(1, local).on("error", () => {});
  const tls = { ca: () => "" } as unknown as NonNullable<ConnectOptions["tls"]>;
  await assertRejects(() => connectWorker(socket as unknown as string), TypeError, "stays in its thread");
  await assertRejects(() => connectWorker(local, undefined, { tls }), TypeError);
  await assertRejects(() => connectWorker(local, "./module.ts" as unknown as OnPublish), TypeError);
  await assertRejects(() => connectWorker(local, undefined, { passwd: "p" }), TypeError, "MQTT-3.1.2-22");
  await assertRejects(() => connectWorker("", undefined), TypeError);
  socket.destroy();
});

test("credentials are asked for on the calling thread, after the server is trusted, at every attempt", async () => {
  const { server: certificate, unknown, ca } = certificates();
  const asked: string[] = [];
  const op = (server: Scripted): ConnectOptions => ({
    port: server.port,
    tls: { ca },
    id: "ID",
    uname: () => {
      asked.push("uname");
      return Promise.resolve("U");
    },
    passwd: () => {
      asked.push("passwd");
      return bytes('"P"');
    },
  });
  const wrong = await startScripted([], { tls: unknown });
  assertEquals(await codeOf(connectWorker("localhost", undefined, op(wrong))), "untrusted");
  assertEquals([asked, wrong.received().length], [[], 0]);
  await wrong.stop();

  const right = await startScripted([wait(22), send(bytes("20 02 00 00")), endsToo], { tls: certificate });
  const client = await connectWorker("localhost", undefined, op(right));
  assertEquals([client.trusted, client.sock, asked], [true, undefined, ["uname", "passwd"]]);
  assertEquals(right.received().subarray(-6), bytes('0001 "U" 0001 "P"'));
  await client.disconnect();
  await right.stop();
});

test("errors cross with code, message and cause", async () => {
  const here = await failure(connect(local, undefined, { port: 1 }));
  const there = await failure(connectWorker(local, undefined, { port: 1 }));
  assertEquals([there.name, there.code, there.message], [here.name, here.code, here.message]);
  const [cause, known] = [there.cause, here.cause] as NodeJS.ErrnoException[];
  assertEquals([cause!.code, cause!.message], [known!.code, known!.message]);
});

test("reconnect: the same thread opens the next connection, and subscriptions are made again", async () => {
  const granted = [...accept, wait(connected + 8), send(bytes("90 03 00 01 00"))];
  let renewed = () => {};
  const again = new Promise<void>((resolve) => renewed = resolve);
  const server = await startScripted([async (peer) => {
    const actions = server.peers.length === 1 ? [...granted, reset] : [...granted.slice(0, -1), renewed];
    for (const action of actions) await action(peer);
  }]);
  try {
    const reconnect = { minDelay: 10, maxDelay: 50 };
    const client = await connectWorker(local, undefined, { port: server.port, id: "ID", keepalive: 0, reconnect });
    await client.subscribe("t");
    await within(again, "the subscription of the second connection");
    assertEquals(server.peers[1]!.received().subarray(connected), bytes('82 06 0002 0001 "t" 00'));
    await client.disconnect();
  } finally {
    await server.stop();
  }
});

test(
  "an onpub module gets the messages in the thread, the client those it routes itself",
  tools,
  () =>
    withFile((topic, lines) =>
      withBroker(async (port) => {
        const own = new Inbox();
        const client = await connectWorker(local, append, { port });
        await client.subscribe(`${topic}/#`.replace("/lines/#", "/+"));
        await client.subscribe("own/#", { onpub: own.onpub });
        const iterated = client.messages("iterated");
        await client.subscribe("ready");
        const sender = await connect(local, undefined, { port });
        for (let i = 1; i <= 1000; i++) await sender.publish(topic, `${i}`);
        await sender.publish("own/1", "mine");
        await sender.publish("iterated", "mine too");
        assertEquals(await own.text(), "own/1: mine");
        assertEquals((await within(iterated.next(), "a message")).value?.text(), "mine too");
        assertEquals(await lines(1000), Array.from({ length: 1000 }, (_, i) => `${i + 1} 0`));

        await iterated.return?.();
        await client.unsubscribe("own/#");
        await client.subscribe("own/#"); // without a way of its own: the module's
        const thrown = await surfacing(1, async () => {
          await client.subscribe("throw/#");
          await sender.publish("throw/1", "one");
          await sender.publish(topic, "after");
          await lines(1001);
        });
        assertEquals(thrown, ["RangeError: thrown at one"]);
        await sender.disconnect();
        await client.disconnect();
      })
    ),
);

test("whatever an onpub module throws surfaces, and stops nothing", tools, () =>
  withBroker(async (port) => {
    const client = await connectWorker(local, append, { port });
    const thrown = await surfacing(3, async () => {
      await client.subscribe("weird/#");
      for (const what of ["circular", "code", "nothing"]) await client.publish("weird/1", what);
      await client.unsubscribe("weird/#");
      await client.disconnect(); // says nothing of what is still on its way
    });
    assertEquals(thrown, ["Error: circular", "Error: code", "Error: object"]);
  }));

test("a connection that is lost while an iterator is full and publish() waits: both hear of it", async () => {
  const messages = joinBytes(Array.from({ length: 10 }, () => bytes('30 05 0001 "m" "hi"')));
  const granted = joinBytes([bytes("90 03 00 01 00"), messages]);
  const server = await startScripted([...accept, wait(connected + 8), send(granted), stall]);
  try {
    const client = await connectWorker(local, undefined, { port: server.port, id: "ID", keepalive: 0 });
    let published = 0;
    const stuck = (async () => {
      for await (const _ of client.messages("m", { limit: 2 })) {
        for (;; published++) await client.publish("t", new Uint8Array(200_000));
      }
    })();
    const ended = failure(stuck);
    for (let before = -1; published === 0 || published > before;) {
      before = published;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    (await server.peer()).socket.resetAndDestroy();
    assertEquals((await within(ended, "publish()")).code, "socketclosed");
    assertEquals((await within(client.run(), "run()")).code, "socketclosed");
  } finally {
    await server.stop();
  }
});

test("[MQTT-4.3.3-2] an onpub module gets a QoS 2 message once, and the broker its answers", () =>
  withFile(async (topic, lines) => {
    const name = new TextEncoder().encode(topic);
    const publish = (first: number, id: number) =>
      joinBytes([Uint8Array.of(first, name.length + 5, 0, name.length), name, Uint8Array.of(0, id, 0x68)]);
    const server = await startScripted([
      ...accept,
      send(joinBytes([publish(0x32, 7), publish(0x34, 8), publish(0x3c, 8)])),
    ]);
    try {
      const client = await connectWorker(local, append, { port: server.port, id: "ID", keepalive: 0 });
      const peer = await server.peer();
      await peer.wait(connected + 12);
      assertEquals(peer.received().subarray(connected), bytes("40 02 00 07 50 02 00 08 50 02 00 08"));
      assertEquals(await lines(2), ["h 1", "h 2"]);
      await client.disconnect();
      assertEquals((await lines(2)).length, 2);
    } finally {
      await server.stop();
    }
  }));

test("with an onpub module, a broker's mistake is the same as without, and what came before it is delivered", () =>
  withFile(async (topic, lines) => {
    const name = new TextEncoder().encode(topic);
    const good = joinBytes([Uint8Array.of(0x30, name.length + 3, 0, name.length), name, Uint8Array.of(0x68)]);
    for (const [mistake, code] of [["36", "protocol"], ["f0 00", "unknowncp"], ["62 02 00 00", "protocol"]] as const) {
      const server = await startScripted([...accept, send(joinBytes([good, bytes(mistake)]))]);
      const client = await connectWorker(local, append, { port: server.port, id: "ID", keepalive: 0 });
      assertEquals((await within(client.run(), "run()")).code, code);
      await server.stop();
    }
    assertEquals(await lines(3), ["h 0", "h 0", "h 0"]);
    const http = await startScripted([send("HTTP/1.1 400 Bad Request\r\n")]);
    assertEquals(await codeOf(connectWorker(local, append, { port: http.port })), "invalidresp");
    await http.stop();
  }));

test("a module that cannot be loaded, or has no function: connectWorker says so", async () => {
  const server = await startScripted();
  const op = { port: server.port };
  const missing = new URL("./missing.ts", append);
  await assertRejects(() => connectWorker(local, nothing, op), TypeError, "must be a function");
  await assertRejects(() => connectWorker(local, missing, op), Error, "missing");
  await server.stop();
});

for (
  const [topic, why] of [
    ["exit", "it exited with code 3"],
    ["throw", "thrown by the module"],
    ["reject", "rejected by the module"],
  ] as const
) {
  test(`${topic}: when the thread dies, everything is settled with why`, tools, () =>
    withBroker(async (port) => {
      const client = await connectWorker(local, dying, { port });
      await client.subscribe(topic);
      const pending = client.messages("never").next().catch((error: MqttError) => error.code);
      await client.publish(topic, "");
      const end = await within(client.run(), "run()");
      assertEquals(end.code, "socketclosed");
      assertStringIncludes(end.message, why);
      assertEquals(await pending, "socketclosed");
      assertEquals(await codeOf(client.publish("t", "")), "socketclosed");
      assertEquals(await codeOf(client.disconnect().then(() => client.publish("t", ""))), "socketclosed");
    }));
}

test("a module that spins cannot keep the client from leaving", tools, () =>
  withBroker(async (port) => {
    const client = await connectWorker(local, dying, { port, timeout: 3000 });
    await client.subscribe("spin");
    await client.publish("spin", "");
    const start = performance.now();
    await client.disconnect().catch((error: MqttError) => assertEquals(error.code, "timeout"));
    assertLess(performance.now() - start, 9000);
    assertEquals((await client.run()).code, "disconnect");
  }));

test("the end of the connection is told after all that came before, and closes the thread's end", async () => {
  const message = bytes('30 05 0001 "t" "hi"');
  const flood = joinBytes(Array.from({ length: 100_000 }, () => message));
  const server = await startScripted([...accept, send(flood), close]);
  try {
    let count = 0;
    const client = await connectWorker(local, () => void count++, { port: server.port, id: "ID", keepalive: 0 });
    assertEquals((await within(client.run(), "run()")).code, "socketclosed");
    assertEquals(count, 100_000);
  } finally {
    await server.stop();
  }
});

test("a flood while onpub is slow fills the kernels' buffers, not ours", async () => {
  const packet = joinBytes([bytes("30 83 4e 00 01 74"), new Uint8Array(9984)]);
  const total = 64 << 20;
  let written = 0;
  const server = await startScripted([...accept, async ({ socket }) => {
    while (written < total && !socket.destroyed) {
      written += packet.length;
      const room = socket.write(packet) ||
        new Promise((resolve) => socket.once("drain", resolve).once("close", resolve));
      await room;
    }
  }]);
  try {
    let received = 0;
    const slow: OnPublish = (_, { payload }) => {
      received += payload.length;
      block(1);
    };
    const client = await connectWorker(local, slow, { port: server.port, id: "ID", keepalive: 0 });
    for (const start = performance.now(); received < 2 << 20 && performance.now() - start < patience;) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assertGreater(received, 2 << 20);
    assertLess(written - received, 16 << 20);
    const done = client.disconnect();
    (await server.peer()).socket.destroy();
    await done;
  } finally {
    await server.stop();
  }
});
