/** The thread that the connections of a program share: when it starts and ends, and what one connection does to the others. */
import { readdirSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { assertEquals, assertLess, assertRejects, assertStringIncludes } from "@std/assert";
import { type Client, connectWorker, type MqttError } from "../../mod.ts";
import { deferred } from "../../src/deferred.ts";
import { LoopClient } from "../../src/client/loop_client.ts";
import { parseSettings } from "../../src/client/settings.ts";
import { systemClock } from "../../src/client/system_clock.ts";
import { threadCode } from "../../src/worker/code.ts";
import { Connector } from "../../src/worker/connector.ts";
import { program, Sharing, type User } from "../../src/worker/shared_thread.ts";
import { gone, Inbox, within } from "../client/support.ts";
import { bytes, join } from "../support/bytes.ts";
import { patience } from "../support/process.ts";
import { send, startScripted, wait } from "../support/scripted.ts";
import { runScript } from "../support/spawn.ts";

const local = "127.0.0.1";
/** The bytes of CONNECT with the identifier ID. */
const connected = 16;
const accept = [wait(connected), send(bytes("20 02 00 00"))];
const op = { id: "ID", keepalive: 0 };

/** The code of a thread that fails when a connection to the host "crash" is asked for. */
const crashing = () =>
  `${threadCode()}
  process.getBuiltinModule("node:worker_threads").parentPort.on("message", ({ target }) => {
    if (target?.host === "crash") throw new Error("it was told to");
  });`;

/** A client in the event loop whose connections are in a thread of `sharing`. */
async function open(sharing: Sharing, port: number): Promise<Client> {
  const connector = new Connector({ sharing }), opened = deferred<number | undefined>();
  const settings = { ...parseSettings(op), pingPart: 0 };
  const client = new LoopClient(settings, {
    clock: systemClock,
    dial: (signal) => connector.dial({ host: local, port }, settings, signal),
    closed: () => void connector.end(),
  }, opened);
  await opened.promise;
  return client;
}

test("connections have one thread; closing one leaves the others", async () => {
  const server = await startScripted(accept);
  try {
    const threads = () => process.platform === "linux" ? readdirSync("/proc/self/task").length : 0;
    const clients = [await connectWorker(local, undefined, { ...op, port: server.port })];
    const before = threads();
    const others = Array.from({ length: 15 }, () => connectWorker(local, undefined, { ...op, port: server.port }));
    clients.push(...await within(Promise.all(others), "fifteen connections"));
    // What a runtime adds for its own use is no thread for each.
    assertLess(threads() - before, 15);
    const [first, ...rest] = clients;
    const peers = server.peers.slice();
    (await server.peer()).socket.on("end", () => peers[0]!.socket.end());
    await first!.disconnect();
    await gone(peers[0]!);
    for (const client of rest) await client.publish("t", "x");
    for (const peer of peers.slice(1)) await within(peer.wait(connected + 6), "the others' messages");
    for (const peer of peers.slice(1)) peer.socket.on("end", () => peer.socket.end());
    await Promise.all(rest.map((client) => client.disconnect()));
    await Promise.all(peers.slice(1).map(gone));
  } finally {
    await server.stop();
  }
});

test("a crash of the thread is told to each connection, and the next one has another", async () => {
  const server = await startScripted(accept);
  const sharing = new Sharing(crashing);
  try {
    const clients = await Promise.all([1, 2, 3].map(() => open(sharing, server.port)));
    const killer = new Connector({ sharing });
    const failed = assertRejects(() => killer.dial({ host: "crash", port: 1 }, op, new AbortController().signal));
    for (const client of clients) {
      const end = await within(client.run(), "run()");
      assertEquals(end.code, "socketclosed");
      assertStringIncludes(end.message, "its thread crashed: ");
      assertStringIncludes(end.message, "it was told to");
    }
    await within(failed, "the connection that was asked for");
    await killer.end();
    const next = await open(sharing, server.port);
    await next.publish("t", "x");
    server.peers.at(-1)!.socket.on("end", () => server.peers.at(-1)!.socket.end());
    await next.disconnect();
  } finally {
    await server.stop();
  }
});

test("the flood and the large blocks of one connection leave the others their turn", async () => {
  const flood = join(Array.from({ length: 2000 }, () => bytes('30 05 0001 "t" "hi"')));
  let flooding = true;
  const server = await startScripted([...accept, async ({ socket }) => {
    if (server.peers.length > 1) return socket.on("data", (chunk) => socket.write(chunk)); // an echo
    let wake = () => {};
    socket.on("drain", () => wake()).on("close", () => wake());
    while (flooding && !socket.destroyed) {
      if (socket.write(flood)) await new Promise((resolve) => setImmediate(resolve));
      else await new Promise<void>((resolve) => wake = resolve);
    }
  }]);
  try {
    let count = 0;
    const flooded = await connectWorker(local, () => void count++, { ...op, port: server.port });
    const publishing = (async () => {
      for (const block = new Uint8Array(1 << 20); flooding;) await flooded.publish("t", block);
    })();
    const inbox = new Inbox();
    const quiet = await connectWorker(local, inbox.onpub, { ...op, port: server.port });
    const times: number[] = [];
    for (let i = 0; i < 50; i++) {
      const start = performance.now();
      await quiet.publish("t", "x");
      await inbox.take(1);
      times.push(performance.now() - start);
    }
    times.sort((a, b) => a - b);
    assertLess(times[25]!, 500, `round trips of ${times[0]} to ${times[49]} ms, ${count} messages of the other`);
    flooding = false;
    await publishing;
    for (const { socket } of server.peers) socket.destroy();
    await Promise.all([flooded.run(), quiet.run()]);
  } finally {
    flooding = false;
    await server.stop();
  }
});

test("the thread keeps a program running exactly while a client that does not block uses it", async () => {
  const server = await startScripted([...accept, ({ socket }) => void socket.on("end", () => socket.end())]);
  try {
    // A blocking client is left open: alone it keeps nothing running.
    const { stdout, stderr, code } = await runScript("tests/worker/child.ts", ["kept", `${server.port}`], {
      deadline: patience,
    });
    assertEquals([stdout, stderr, code], ["heard\ndone\n", "", 0]);
  } finally {
    await server.stop();
  }
});

test("a client that ends hears nothing of the thread, and the last one ends it", async () => {
  const heard: MqttError[] = [];
  const user = (blocking: boolean): User => ({ blocking, crashed: (error) => void heard.push(error) });
  const users = [user(true), user(false)] as const;
  const sharing = new Sharing(() => program.code);
  const thread = sharing.join(users[0]);
  assertEquals(sharing.join(users[1]) === thread, true);
  await thread.leave(users[0]);
  assertEquals([thread.isLeft, thread.isOver], [false, false]);
  await within(thread.leave(users[1]), "the end of the thread");
  assertEquals([thread.isLeft, heard], [true, []]);
  const other = sharing.join(users[0]);
  assertEquals(other === thread, false);
  await within(other.leave(users[0]), "the end of the other thread");
});

test("connections one after the other have the same few rings, however they end, and each its own bytes alone", async () => {
  const server = await startScripted([({ socket }) => {
    const value = server.peers.length;
    socket.write(new Uint8Array(2_000_000).fill(value));
    if (value % 3 === 0) socket.once("data", () => socket.resetAndDestroy());
  }]);
  const used = new Set<SharedArrayBuffer>();
  const sharing = new Sharing(() => program.code);
  const next = sharing.spareRings.next.bind(sharing.spareRings);
  sharing.spareRings.next = (last) => {
    const pair = next(last);
    used.add(pair.input);
    return pair;
  };
  const isAll = (bytes: Uint8Array, value: number) => bytes.every((byte) => byte === value);
  const dial = (connector: Connector) =>
    connector.dial({ host: local, port: server.port }, op, new AbortController().signal);
  try {
    const keeper = new Connector({ sharing }); // the thread stays
    const kept = await dial(keeper);
    for (let value = 2; value <= 41; value++) {
      const connector = new Connector({ sharing });
      const transport = await dial(connector);
      const enough = deferred<void>();
      let got = 0, isOwn = true;
      transport.start({
        space: () => new Uint8Array(65_536),
        received(chunk, length) {
          isOwn &&= isAll(chunk.subarray(0, length), value);
          got += length;
          if (got > 600_000) enough.resolve();
          return value % 3 !== 1; // some are closed with all that they have got ahead
        },
        written() {},
        closed: () => enough.resolve(),
      });
      transport.write(new Uint8Array(200_000).fill(value));
      if (value % 3 !== 1) await within(enough.promise, `enough, or the end, of connection ${value}`);
      transport.close();
      await connector.end();
      assertEquals([value, isOwn], [value, true]);
    }
    kept.close();
    await keeper.end();
    server.peers.forEach((peer, i) => assertEquals([i, isAll(peer.received(), i + 1)], [i, true]));
    assertLess(used.size, 10); // some are not free yet when the next connection comes
  } finally {
    await server.stop();
  }
});
