/** The client that lives in the thread of its `onpub` module: what crosses to its caller and back. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertLess, assertRejects, assertStrictEquals } from "@std/assert";
import {
  type Client,
  connect,
  type ConnectOptions,
  connectWorker,
  type Message,
  type MqttError,
  type OnPublish,
  type Status,
  type TraceRecord,
} from "../../mod.ts";
import { codeOf, endsToo, failure, Inbox, within } from "../client/support.ts";
import { bytes, hex, join as joinBytes } from "../support/bytes.ts";
import { needs } from "../support/process.ts";
import { close, reset, type Scripted, send, stall, startScripted, wait } from "../support/scripted.ts";
import { startMosquitto } from "../support/servers.ts";

const tools = needs("mosquitto", "mosquitto_pub");
const local = "127.0.0.1";
/** The bytes of CONNECT with the identifier ID. */
const connected = 16;
const accept = [wait(connected), send(bytes("20 02 00 00")), endsToo];
const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
const append = new URL(`./modules/append${extension}`, import.meta.url);
const slow = new URL(`./modules/slow${extension}`, import.meta.url);

/** Sleeps without the event loop. */
function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

async function withBroker(act: (port: number) => Promise<unknown>): Promise<void> {
  const mosquitto = await startMosquitto({ config: "log_type none" });
  try {
    await act(mosquitto.port);
  } finally {
    await mosquitto.stop();
  }
}

async function withServer(script: Parameters<typeof startScripted>[0], act: (server: Scripted) => Promise<unknown>) {
  const server = await startScripted(script);
  try {
    await act(server);
  } finally {
    await server.stop();
  }
}

function open(port: number, op: ConnectOptions = {}): Promise<Client> {
  return connectWorker(local, append, { port, id: "ID", keepalive: 0, ...op });
}

test(
  "a main thread that is blocked for ten seconds costs the module nothing: async handlers go on",
  tools,
  () =>
    withBroker(async (port) => {
      const dir = mkdtempSync(join(tmpdir(), "mqtt3c-module-"));
      const file = join(dir, "lines");
      try {
        const client = await connectWorker(local, slow, { port, keepalive: 3 });
        await client.subscribe("slow/#");
        // Three floods, each a second after the last.
        const lines = "seq 200 | mosquitto_pub -l";
        const pub = `${lines} -h ${local} -p ${port} -t slow${file}`;
        const flood = spawn("sh", ["-c", `sleep 1; ${pub}; sleep 1; ${pub}; sleep 1; ${pub}`]);
        const done = new Promise((resolve) => flood.on("close", resolve));
        await new Promise((resolve) => flood.on("spawn", resolve));
        // The broker would hang up after 4.5 s. A busy machine may need more than the ten seconds for what must come.
        const start = performance.now(), found = () => readFileSync(file, "utf8").trimEnd().split("\n");
        do block(10_000); while (found().length < 600 && performance.now() - start < 60_000);
        const expected = Array.from({ length: 200 }, (_, i) => `${i + 1}`);
        assertEquals(found(), [...expected, ...expected, ...expected]);
        assertEquals(await client.subscribe("still/here"), 0);
        await done;
        await client.disconnect();
      } finally {
        rmSync(dir, { recursive: true });
      }
    }),
);

test(
  "what an async handler of the module rejects with surfaces on the caller",
  tools,
  () =>
    withBroker(async (port) => {
      const client = await connectWorker(local, slow, { port });
      const original = globalThis.queueMicrotask;
      const found = new Promise<unknown>((resolve) => {
        globalThis.queueMicrotask = (callback) =>
          original(() => {
            try {
              callback();
            } catch (error) {
              resolve(error);
            }
          });
      });
      try {
        await client.subscribe("slow");
        await client.publish("slow", "throw");
        assertEquals(String(await within(found, "the error")), "RangeError: rejected in time");
      } finally {
        globalThis.queueMicrotask = original;
      }
      await client.disconnect();
    }),
);

/** Has errors that would be uncaught told instead, while `act` runs. */
async function withSurfaced(act: (surfaced: string[]) => Promise<unknown>): Promise<void> {
  const original = globalThis.queueMicrotask;
  const surfaced: string[] = [];
  globalThis.queueMicrotask = (callback) =>
    original(() => {
      try {
        callback();
      } catch (error) {
        surfaced.push(String(error));
      }
    });
  try {
    await act(surfaced);
  } finally {
    globalThis.queueMicrotask = original;
  }
}

test(
  "each message that a handler fails on is counted once, the module's and the caller's",
  tools,
  () =>
    withBroker(async (port) => {
      const waiting = await connectWorker(local, slow, { port });
      const client = await open(port);
      const failures: [topic: string, message: string, by: Client, surfaces: string][] = [
        ["throw/x", "1", client, "RangeError: thrown at 1"],
        ["slow", "throw", waiting, "RangeError: rejected in time"],
        ["mine/throws", "2", client, "Error: mine 2"],
        ["mine/rejects", "3", client, "Error: mine 3"],
      ];
      await waiting.subscribe("slow");
      await client.subscribe("throw/#");
      await client.subscribe("mine/throws", {
        onpub: (_, message) => {
          throw new Error(`mine ${message}`);
        },
      });
      await client.subscribe("mine/rejects", {
        onpub: async (_, message) => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          throw new Error(`mine ${message}`);
        },
      });
      await client.subscribe("mine/well", { onpub: async () => {} });
      const until = async (what: string, isSo: () => boolean) =>
        await within(
          (async () => {
            while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
          })(),
          what,
        );
      await withSurfaced(async (surfaced) => {
        for (const [topic, message, by, surfaces] of failures) {
          const before = by.stats.failed;
          await client.publish("mine/well", "0");
          await client.publish(topic, message);
          await until(`the failure at ${topic}`, () => by.stats.failed > before);
          await until("the error", () => surfaced.length > 0);
          assertEquals([by.stats.failed, surfaced.splice(0)], [before + 1, [surfaces]], topic);
        }
        await until("all is settled", () => client.stats.unsettled === 0 && waiting.stats.unsettled === 0);
      });
      assertEquals([client.stats.failed, waiting.stats.failed], [3, 1]);
      await Promise.all([client.disconnect(), waiting.disconnect()]);
    }),
);

test(
  "a handler of the caller gets its messages one at a time, in order, and waits for its own promise",
  tools,
  () =>
    withBroker(async (port) => {
      const client = await open(port);
      const heard: string[] = [];
      let running = 0, most = 0;
      const all = new Promise<void>((resolve) => {
        const onpub = async (_: string, message: Message) => {
          most = Math.max(most, ++running);
          if (Number(message.text()) % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
          running--;
          if (heard.push(message.text()) === 500) resolve();
        };
        void client.subscribe("order", { onpub });
      });
      for (let i = 1; i <= 500; i++) await client.publish("order", `${i}`);
      await within(all, "500 messages");
      assertEquals(heard, Array.from({ length: 500 }, (_, i) => `${i + 1}`));
      assertEquals(most, 1);
      await client.disconnect();
    }),
);

test(
  "a handler is replaced and given up as in the event loop: what came before is the old one's",
  tools,
  () =>
    withBroker(async (port) => {
      const client = await open(port);
      const first = new Inbox(), second = new Inbox();
      await client.subscribe(["a", "b"], { onpub: first.onpub });
      await client.publish("a", "1");
      assertEquals(await first.text(), "a: 1");
      void client.subscribe("a", { onpub: second.onpub });
      await client.publish("a", "2");
      await client.publish("b", "3");
      assertEquals(await first.text(), "b: 3");
      assertEquals(await second.text(), "a: 2");
      await client.unsubscribe("a");
      await client.publish("a", "4");
      await client.publish("b", "5");
      assertEquals(await first.text(), "b: 5");
      assertEquals(second.messages, []);
      await client.disconnect();
    }),
);

test("stats tell what the module has not settled, whatever else is said", tools, () =>
  withBroker(async (port) => {
    const dir = mkdtempSync(join(tmpdir(), "mqtt3c-module-"));
    try {
      const client = await connectWorker(local, slow, { port });
      await client.subscribe("slow/#");
      const sender = await connect(local, undefined, { port });
      for (let i = 0; i < 50; i++) await sender.publish(`slow${dir}/lines`, `${i}`);
      await sender.disconnect();
      while (client.stats.unsettled === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      while (client.stats.unsettled > 0) await new Promise((resolve) => setTimeout(resolve, 1));
      assertEquals(readFileSync(join(dir, "lines"), "utf8").split("\n").length, 51);
      await client.disconnect();
    } finally {
      rmSync(dir, { recursive: true });
    }
  }));

test("publish: the caller may reuse its memory, and messages keep their order", () =>
  withServer(accept, async (server) => {
    const client = await open(server.port);
    const payload = new Uint8Array(3);
    const sent: Promise<number>[] = [];
    for (let i = 0; i < 1000; i++) {
      payload.fill(i & 255);
      sent.push(client.publish("t", payload, { retain: i % 2 === 1 }));
    }
    await Promise.all(sent);
    await client.disconnect();
    const expected = Array.from({ length: 1000 }, (_, i) => {
      const [first, byte] = [i % 2 ? "31" : "30", hex(Uint8Array.of(i & 255))];
      return bytes(`${first} 06 0001 "t" ${byte} ${byte} ${byte}`);
    });
    assertEquals(hex(server.received().subarray(connected)), hex(joinBytes([...expected, bytes("e0 00")])));
  }));

test("publish: what waits in both threads is bounded by maxBuffered, and told by overflow", () =>
  withServer([...accept, stall], async (server) => {
    const client = await open(server.port, { maxBuffered: 1 << 20, timeout: 3000 });
    const payload = new Uint8Array(100_000);
    // The kernels take some; then publish() waits.
    const isAccepted = () =>
      Promise.race([client.publish("t", payload), new Promise((resolve) => setTimeout(resolve, 1500, "waits"))]);
    while (await isAccepted() !== "waits");
    // Nobody awaits: what waits is counted by the caller, whatever the thread knows of it.
    const outcomes = Array.from(
      { length: 20 },
      () => client.publish("t", payload).catch(({ code }: MqttError) => code),
    );
    const known = await Promise.race([Promise.all(outcomes.slice(12)), outcomes[0]]);
    assertEquals(known, Array.from({ length: 8 }, () => "overflow"));
    const room = client.publish("t", "");
    assertEquals(await Promise.race([room, new Promise((resolve) => setTimeout(resolve, 50, "waits"))]), "waits");
    assertEquals(await codeOf(client.disconnect()), "timeout");
    assertEquals(await codeOf(room), "disconnect");
    assertEquals((await client.run()).code, "disconnect");
  }));

test("publish that waits goes on when there is room", () =>
  withServer([...accept, stall], async (server) => {
    const client = await open(server.port);
    const payload = new Uint8Array(100_000);
    let published = 0;
    const flooding = (async () => {
      for (; published < 200; published++) await client.publish("t", payload);
    })();
    for (let before = -1; published > before;) {
      before = published;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    assertLess(published, 200);
    (await server.peer()).socket.resume();
    await within(flooding, "room");
    await client.disconnect();
  }));

test("status, trace, stats and identity of errors are those of the thread's client", async () => {
  const big = bytes('30 08 0001 "t" 01 02 03 04 05');
  await withServer([...accept, wait(connected + 6), send(big), wait(connected + 12), close], async (server) => {
    const statuses: Status[] = [], records: TraceRecord[] = [];
    const before = performance.now();
    const client = await open(server.port, {
      maxPacketSize: 8,
      onstatus: (status) => statuses.push(status),
      trace: (record) => records.push(record),
    });
    const { status } = client;
    assertEquals([status.type, client.trusted, client.sock], ["connected", false, undefined]);
    await client.publish("t", "1");
    for (; client.stats.dropped === 0;) await new Promise((resolve) => setTimeout(resolve, 5));
    const pending = failure(client.messages("m").next());
    await client.publish("t", "2");
    const end = await within(client.run(), "run()");
    assertEquals(end.code, "socketclosed");
    assertStrictEquals(await pending, end);
    assertStrictEquals(await failure(client.publish("t", "")), end);
    assertEquals(statuses.map(({ type }) => type), ["connecting", "connected", "dropped", "closed"]);
    assertStrictEquals((statuses.at(-1) as { error?: Error }).error, end);
    assertStrictEquals(client.status.type === "closed" && client.status.error, end);
    const kinds = records.map(({ direction, type }) => `${direction} ${type}`);
    assertEquals(kinds.slice(0, 4), ["sent CONNECT", "received CONNACK", "sent PUBLISH", "received PUBLISH"]);
    for (const { time } of records) assert(time > before - 100 && time < performance.now() + 100, `${time}`);
  });
});

test("credentials are asked for on the caller's thread at every attempt, also when that takes its time", async () => {
  let attempts = 0;
  await withServer(
    [wait(22), send(bytes("20 02 00 00")), (peer) => ++attempts === 1 ? reset(peer) : endsToo(peer)],
    async (server) => {
      const asked: string[] = [];
      const client = await open(server.port, {
        uname: () => (asked.push("uname"), "U"),
        passwd: async () => {
          await new Promise((resolve) => setTimeout(resolve, 10));
          asked.push("passwd");
          return bytes('"P"');
        },
        reconnect: { minDelay: 1, maxDelay: 1 },
      });
      const second = () => server.peers[1]?.received() ?? new Uint8Array(0);
      while (second().length < 22) await new Promise((resolve) => setTimeout(resolve, 5));
      assertEquals(asked, ["uname", "passwd", "uname", "passwd"]);
      assertEquals(hex(second().subarray(-6)), hex(bytes('0001 "U" 0001 "P"')));
      await client.disconnect();
      const refuses = { uname: () => Promise.reject(new Error("no")) };
      const error = await failure(open(server.port, refuses));
      assertEquals([error.code, (error.cause as Error).message], ["cannotconnect", "no"]);
    },
  );
});

test("an end that nobody hears surfaces on the caller, and disconnect() tells one", () =>
  withServer([...accept, wait(connected + 6), close], async (server) => {
    const unheard = await open(server.port);
    const original = globalThis.queueMicrotask;
    const found = new Promise<unknown>((resolve) => {
      globalThis.queueMicrotask = (callback) =>
        original(() => {
          try {
            callback();
          } catch (error) {
            resolve(error);
          }
        });
    });
    try {
      await unheard.publish("t", "1");
      assertEquals((await within(found, "the error") as MqttError).code, "socketclosed");
    } finally {
      globalThis.queueMicrotask = original;
    }
    const left = await open(server.port);
    await left.publish("t", "1");
    while (left.status.type !== "closed") await new Promise((resolve) => setTimeout(resolve, 5));
    assertEquals(await codeOf(left.disconnect()), "socketclosed");
  }));

test("an iterator: its limit holds back, what came before the end is given, and leaving unsubscribes", () => {
  const messages = joinBytes(Array.from({ length: 20 }, (_, i) => bytes(`30 04 0001 "m" ${hex(Uint8Array.of(i))}`)));
  const granted = joinBytes([bytes("90 03 00 01 00"), messages]);
  return withServer([...accept, wait(connected + 8), send(granted), wait(connected + 9), close], async (server) => {
    const client = await open(server.port);
    const iterator = client.messages("m", { limit: 4 });
    const first = await within(iterator.next(), "a message");
    assertEquals([...first.value!.payload], [0]);
    await client.publish("t", "");
    for (let i = 1; i < 20; i++) assertEquals([...(await within(iterator.next(), `message ${i}`)).value!.payload], [i]);
    assertEquals(await codeOf(iterator.next()), "socketclosed");
    assertEquals(await iterator.next(), { done: true, value: undefined });
    assertEquals((await client.run()).code, "socketclosed");
  });
});

test("leaving an iterator while next() waits ends that, and the broker hears UNSUBSCRIBE", () =>
  withServer([
    ...accept,
    wait(connected + 8),
    send(bytes("90 03 00 01 00")),
    wait(connected + 15),
    send(bytes("b0 02 00 02")),
  ], async (server) => {
    const client = await open(server.port);
    const iterator = client.messages("m");
    const next = iterator.next();
    while (server.received().length < connected + 8) await new Promise((resolve) => setTimeout(resolve, 5));
    await within(iterator.return!(), "return()");
    assertEquals(await within(next, "next()"), { done: true, value: undefined });
    assertEquals(hex(server.received().subarray(connected + 8)), hex(bytes('a2 05 0002 0001 "m"')));
    await client.disconnect();
  }));

test("wrong arguments are told at once, and nothing of them crosses", () =>
  withServer(accept, async (server) => {
    const client = await open(server.port);
    await assertRejects(() => client.publish("a/+", ""), TypeError);
    await assertRejects(() => client.publish("a", null as unknown as string), TypeError, 'an empty message is ""');
    await assertRejects(() => client.publish("a", "", { qos: 3 as 0 }), RangeError);
    await assertRejects(() => client.subscribe("a/#/b"), TypeError);
    await assertRejects(() => client.subscribe("a", { onpub: 1 as unknown as OnPublish }), TypeError);
    await assertRejects(() => client.unsubscribe([]), TypeError);
    await client.disconnect();
    assertEquals(hex(server.received().subarray(connected)), hex(bytes("e0 00")));
  }));

test("many messages a second cross both ways", tools, () =>
  withBroker(async (port) => {
    const client = await open(port);
    const sender = await connect(local, undefined, { port });
    const count = 50_000;
    let next = 0;
    const start = performance.now();
    const all = new Promise<void>((resolve) => {
      const onpub: OnPublish = (_, message) => {
        assertEquals(message.text(), `${next}`);
        if (++next === count) resolve();
      };
      void client.subscribe("t", { onpub }).then(async () => {
        for (let i = 0; i < count; i++) await sender.publish("t", `${i}`);
      });
    });
    await within(all, `${count} messages`);
    assertGreater(count / (performance.now() - start), 5, "messages a millisecond");
    await Promise.all([client.disconnect(), sender.disconnect()]);
  }));
