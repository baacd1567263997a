/** What a handler may do while 100,000 messages wait behind the one that it has, in each mode. */
import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { type Client, connect, type ConnectOptions, connectSync, connectWorker, type Message } from "../../mod.ts";
import { deferred } from "../../src/deferred.ts";
import { NUMBERS, startFlood } from "../bounds/flood.ts";
import { needs } from "../support/process.ts";
import { type Action, send, stall, startScripted, wait } from "../support/scripted.ts";
import { type Server, startMosquitto } from "../support/servers.ts";
import { endsToo, failure, within } from "./support.ts";

const COUNT = NUMBERS;
/** Room for all of them: each counts 256 bytes more than its payload. */
const ROOM = 64 << 20;
const DEADLINE = 60_000;
const local = "127.0.0.1";
const tools = needs("mosquitto");
const module = new URL("../worker/modules/idle.ts", import.meta.url);
const modes: [name: string, open: (op: ConnectOptions) => Promise<Client>][] = [
  ["connect", (op) => connect(local, undefined, op)],
  ["connectWorker", (op) => connectWorker(local, undefined, op)],
  ["connectWorker with a module", (op) => connectWorker(local, module, op)],
];

interface Broker {
  needs: { skip?: string };
  start(): Promise<Server>;
}

const real: Broker = { needs: tools, start: () => startMosquitto({ config: "log_type none" }) };
/** Sends 100,000 messages as soon as "numbers" is subscribed for. */
const flooding: Broker = { needs: {}, start: () => startFlood() };

const turn = (milliseconds = 0) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Looks again and again whether it is so. */
async function until(holds: () => boolean, what: string): Promise<void> {
  for (const start = performance.now(); !holds();) {
    assert(performance.now() - start < DEADLINE, `${what} in time`);
    await turn(2);
  }
}

/** Another client publishes the numbers from 0 on; settled when the broker has them. */
async function pour(port: number, topic: string, count: number): Promise<void> {
  const mqtt = await connect(local, undefined, { port, timeout: DEADLINE });
  for (let i = 0; i < count; i++) void mqtt.publish(topic, `${i}`);
  await mqtt.flush();
  await mqtt.disconnect();
}

/** What a handler got: numbers, in order from 0 on. */
class Numbers {
  next = 0;
  wrong: string | undefined;

  take(message: Message): number {
    const text = message.text();
    if (text !== `${this.next}`) this.wrong ??= `${text} instead of ${this.next}`;
    return this.next++;
  }

  async all(count = COUNT): Promise<void> {
    await until(() => this.next >= count || this.wrong !== undefined, `${count} messages`);
    assertEquals([this.next, this.wrong], [count, undefined]);
  }
}

/** How often each error surfaces as an uncaught one while `act` runs. */
async function surfacing(act: (found: Map<string, number>) => Promise<unknown>): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  const original = globalThis.queueMicrotask;
  globalThis.queueMicrotask = (callback) =>
    original(() => {
      try {
        callback();
      } catch (error) {
        found.set(String(error), (found.get(String(error)) ?? 0) + 1);
      }
    });
  try {
    await act(found);
  } finally {
    globalThis.queueMicrotask = original;
  }
  return found;
}

for (const [mode, open] of modes) {
  const play = (
    title: string,
    act: (mqtt: Client, port: number) => Promise<void>,
    { broker = real, ...op }: ConnectOptions & { broker?: Broker } = {},
  ): void => {
    test(`${mode}: a handler ${title}`, broker.needs, async () => {
      const server = await broker.start();
      try {
        const mqtt = await open({ port: server.port, timeout: DEADLINE, ...op });
        try {
          await within(act(mqtt, server.port), title, 2 * DEADLINE);
        } finally {
          await mqtt.disconnect();
        }
      } finally {
        await server.stop();
      }
    });
  };

  /** The first message's handler does something when all are at the broker; the others wait for it. */
  const whileOthersWait = async (
    mqtt: Client,
    { port, count }: { port: number; count: number },
    deed: () => Promise<unknown>,
  ): Promise<Numbers> => {
    const numbers = new Numbers(), poured = deferred<void>(), done = deferred<unknown>();
    await mqtt.subscribe("t", {
      async onpub(_, message) {
        if (numbers.take(message) > 0) return;
        await poured.promise;
        await deed().then(done.resolve, done.reject);
      },
    });
    await pour(port, "t", count);
    poured.resolve();
    await done.promise;
    return numbers;
  };

  play("awaits subscribe(), flush(), unsubscribe() and a loop, and publishes 100,000 messages", async (mqtt, port) => {
    const other = mqtt.messages("other");
    await mqtt.flush();
    const numbers = await whileOthersWait(mqtt, { port, count: COUNT }, async () => {
      assertEquals(await mqtt.subscribe("another"), 0);
      await mqtt.flush();
      await mqtt.unsubscribe("another");
      for (let i = 0; i < COUNT; i++) await mqtt.publish("sink", `${i}`);
      await mqtt.publish("other", "it");
      assertEquals((await other.next()).value?.text(), "it");
    });
    await numbers.all();
    await other.return?.();
  }, { maxBuffered: ROOM });

  play(
    "awaits subscribe() behind more messages than there is room for: overflow, and on it goes",
    async (mqtt, port) => {
      const numbers = await whileOthersWait(mqtt, { port, count: 20_000 }, async () => {
        const { code, message } = await failure(mqtt.subscribe("another"));
        assertEquals(code, "overflow");
        assertStringIncludes(message, "not settled");
      });
      await numbers.all(20_000);
    },
    { maxBuffered: 2 << 20, timeout: 3000 },
  );

  play(
    "throws and rejects now and then: that surfaces and is counted, and the others are handled",
    async (mqtt) => {
      const thrown = new Numbers(), rejected = new Numbers();
      const found = await surfacing(async (found) => {
        await mqtt.subscribe("+", {
          async onpub(_, message) {
            await undefined;
            if (rejected.take(message) % 1000 === 0) throw new RangeError("rejected");
          },
        });
        await mqtt.subscribe("numbers", {
          onpub(_, message) {
            if (thrown.take(message) % 1000 === 0) throw new RangeError("thrown");
          },
        });
        await thrown.all();
        await rejected.all();
        await until(() => found.get("RangeError: rejected") === 100, "100 rejections");
      });
      assertEquals([...found].sort(), [["RangeError: rejected", 100], ["RangeError: thrown", 100]]);
      await until(() => mqtt.stats.unsettled === 0, "the last message");
      assertEquals([mqtt.stats.unsettled, mqtt.stats.failed], [0, 200]);
    },
    { broker: flooding },
  );

  play("gives up its own filter: what came before is its own, in order, until it disconnects", async (mqtt) => {
    const numbers = new Numbers(), left = deferred<void>();
    await mqtt.subscribe("numbers", {
      async onpub(_, message) {
        const number = numbers.take(message);
        if (number === 0) await mqtt.unsubscribe("numbers");
        else if (number === 100) await mqtt.disconnect().then(left.resolve, left.reject);
        else await turn();
      },
    });
    await left.promise;
    assertEquals((await mqtt.run()).code, "disconnect");
    await turn(50);
    assertEquals([numbers.next, numbers.wrong], [101, undefined]);
  }, { broker: flooding, maxBuffered: ROOM });

  play("is the same one when it is subscribed again: one message at a time, in order", async (mqtt, port) => {
    const numbers = new Numbers(), poured = deferred<void>();
    let running = 0, most = 0;
    const onpub = async (_: string, message: Message) => {
      most = Math.max(most, ++running);
      if (numbers.take(message) === 0) await poured.promise;
      else await undefined;
      running--;
    };
    await mqtt.subscribe("t", { onpub });
    await pour(port, "t", 500);
    await mqtt.unsubscribe("t");
    await mqtt.subscribe("t", { onpub });
    const later = await connect(local, undefined, { port, timeout: DEADLINE });
    for (let i = 500; i < 1000; i++) void later.publish("t", `${i}`);
    await later.flush();
    await later.disconnect();
    await mqtt.flush();
    poured.resolve();
    await numbers.all(1000);
    assertEquals(most, 1);
  }, { maxBuffered: ROOM });

  play("is given more concurrency: at once, and in order", async (mqtt, port) => {
    const numbers = new Numbers(), end = deferred<void>();
    const onpub = async (_: string, message: Message) => {
      numbers.take(message);
      await end.promise;
    };
    await mqtt.subscribe("t", { onpub });
    await pour(port, "t", 10);
    await mqtt.flush();
    assertEquals(numbers.next, 1);
    await mqtt.subscribe("t", { onpub, concurrency: 4 });
    await numbers.all(4);
    await mqtt.flush();
    await turn(20);
    assertEquals(numbers.next, 4);
    end.resolve();
    await numbers.all(10);
  });

  play("that is called later finds the payload in memory of its own", async (mqtt, port) => {
    const end = deferred<void>(), sizes: number[] = [];
    await mqtt.subscribe("large", { onpub: () => {} });
    await mqtt.subscribe("small", {
      async onpub(_, { payload }) {
        sizes.push(payload.buffer.byteLength);
        if (sizes.length === 1) await end.promise;
      },
    });
    const other = await connect(local, undefined, { port });
    for (let i = 0; i < 10; i++) {
      void other.publish("small", new Uint8Array(100));
      for (let j = 0; j < 10; j++) void other.publish("large", new Uint8Array(10_000));
    }
    await other.flush();
    await other.disconnect();
    await mqtt.flush();
    end.resolve();
    await until(() => sizes.length === 10, "ten messages");
    // The last of them may have come with the last bytes.
    assertEquals(sizes.slice(1, -1), Array(8).fill(100));
  });

  test(`${mode}: a handler waits for room, while the broker reads nothing until it is rid of 100,000 messages`, async () => {
    const packet = Uint8Array.of(0x30, 4, 0, 1, 0x74, 0x78), flood = new Uint8Array(COUNT * packet.length);
    for (let i = 0; i < COUNT; i++) flood.set(packet, i * packet.length);
    const behind: Action = ({ socket }) => new Promise((resolve) => socket.write(flood, resolve));
    const connected = 16, subscribed = connected + 8;
    const server = await startScripted([
      wait(connected),
      send(Uint8Array.of(0x20, 2, 0, 0)),
      endsToo,
      wait(subscribed),
      send(Uint8Array.of(0x90, 3, 0, 1, 0)),
      stall,
      behind,
      ({ socket }) => void socket.resume(),
    ]);
    try {
      const mqtt = await open({ port: server.port, id: "ID", keepalive: 0, maxBuffered: ROOM });
      let handled = 0;
      const size = 65_536, count = 256;
      await mqtt.subscribe("t", {
        async onpub() {
          if (handled++ > 0) return;
          for (let i = 0; i < count; i++) await mqtt.publish("t", new Uint8Array(size));
        },
      });
      await until(() => handled === COUNT, "all messages");
      const peer = await server.peer();
      await within(peer.wait(subscribed + count * size), "what was published");
      await mqtt.disconnect();
    } finally {
      await server.stop();
    }
  });
}

test(
  "a module that throws and rejects now and then: the caller hears of it, and the others are handled",
  async () => {
    const server = await startFlood();
    try {
      const fails = new URL("../worker/modules/fails.ts", import.meta.url);
      const found = await surfacing(async (found) => {
        const mqtt = await connectWorker(local, fails, { port: server.port });
        await mqtt.subscribe("numbers");
        await until(() => found.get("RangeError: rejected") === 100, "100 rejections");
        await until(() => mqtt.stats.unsettled === 0, "the last message");
        assertEquals([mqtt.stats.unsettled, mqtt.stats.failed], [0, 200]);
        await mqtt.disconnect();
      });
      assertEquals([...found].sort(), [["RangeError: rejected", 100], ["RangeError: thrown", 100]]);
    } finally {
      await server.stop();
    }
  },
);

test("connectSync: a handler of run() may do all that while 100,000 messages wait", tools, async () => {
  const broker = await startMosquitto({ config: "log_type none" });
  try {
    const numbers = new Numbers(), got: unknown[] = [];
    const mqtt = connectSync(local, undefined, { port: broker.port, maxBuffered: ROOM, timeout: DEADLINE });
    mqtt.subscribe("t", {
      onpub(_, message) {
        const number = numbers.take(message);
        if (number === 0) {
          got.push(mqtt.subscribe("another"));
          mqtt.flush();
          mqtt.unsubscribe("another");
          for (let i = 0; i < COUNT; i++) mqtt.publish("sink", `${i}`);
          mqtt.flush();
        } else if (number === COUNT - 1) mqtt.disconnect();
      },
    });
    for (let i = 0; i < COUNT; i++) mqtt.publish("t", `${i}`);
    mqtt.flush();
    assertGreater(mqtt.stats.unsettled, 0);
    assertEquals(mqtt.run().code, "disconnect");
    assertEquals([got, numbers.next, numbers.wrong], [[0], COUNT, undefined]);
  } finally {
    await broker.stop();
  }
});
