/** Handlers that return promises, iterators, and what waits for them: no program hangs, and nothing is out of order. */
import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertLess, assertThrows } from "@std/assert";
import {
  type Client,
  connect,
  type ConnectOptions,
  connectSync,
  connectWorker,
  type Message,
  MqttError,
  type Status,
} from "../../mod.ts";
import { needs } from "../support/process.ts";
import { startMosquitto } from "../support/servers.ts";
import { codeOf, within } from "./support.ts";

const module = new URL("../worker/modules/idle.ts", import.meta.url);
const modes: [name: string, open: (port: number, op?: ConnectOptions) => Promise<Client>][] = [
  ["connect", (port, op) => connect("127.0.0.1", undefined, { port, ...op })],
  ["connectWorker", (port, op) => connectWorker("127.0.0.1", undefined, { port, ...op })],
  ["connectWorker with a module", (port, op) => connectWorker("127.0.0.1", module, { port, ...op })],
];

const turn = (milliseconds = 0) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Publishes so many messages from another client, and does not wait for them. */
async function pour(port: number, topic: string, count: number): Promise<void> {
  const mqtt = await connect("127.0.0.1", undefined, { port });
  for (let i = 0; i < count; i++) await mqtt.publish(topic, `${i}`);
  await mqtt.flush();
  await mqtt.disconnect();
}

for (const [mode, open] of modes) {
  const play = (title: string, act: (mqtt: Client, port: number) => Promise<void>, op?: ConnectOptions): void => {
    test(`${mode}: ${title}`, needs("mosquitto"), async () => {
      const broker = await startMosquitto();
      try {
        const mqtt = await open(broker.port, op);
        try {
          await within(act(mqtt, broker.port), title);
        } finally {
          await mqtt.disconnect();
        }
      } finally {
        await broker.stop();
      }
    });
  };

  play("an async handler gets one message after the other, in order", async (mqtt, port) => {
    const lines: string[] = [];
    let running = 0, most = 0;
    await mqtt.subscribe("t", {
      async onpub(_topic, message) {
        most = Math.max(most, ++running);
        await turn(Math.random() * 2);
        lines.push(message.text());
        running--;
      },
    });
    await pour(port, "t", 300);
    while (lines.length < 300) await turn(5);
    assertEquals([most, lines], [1, Array.from({ length: 300 }, (_, i) => `${i}`)]);
  });

  play("concurrency: so many at once, no more", async (mqtt, port) => {
    let running = 0, most = 0, done = 0;
    await mqtt.subscribe("t", {
      concurrency: 5,
      async onpub() {
        most = Math.max(most, ++running);
        await turn(1);
        running--;
        done++;
      },
    });
    await pour(port, "t", 100);
    while (done < 100) await turn(5);
    assertEquals(most, 5);
  });

  play("a handler may await whatever the client offers while messages queue behind it", async (mqtt, port) => {
    let handled = 0;
    const outcomes: unknown[] = [];
    await mqtt.subscribe("t", {
      async onpub() {
        if (handled++ > 0) return;
        await turn(200); // the others come meanwhile
        outcomes.push(await mqtt.subscribe("other"), await mqtt.flush(), await mqtt.unsubscribe("other"));
        for (let i = 0; i < 300; i++) await mqtt.publish("room", new Uint8Array(1000));
        outcomes.push("room");
      },
    });
    await pour(port, "t", 20_000);
    while (handled < 20_000) await turn(5);
    assertEquals(outcomes, [0, undefined, undefined, "room"]);
  });

  play("one loop may await the next message of another, and two of each other's", async (mqtt, port) => {
    const one = mqtt.messages("one", { limit: 2 }), two = mqtt.messages("two", { limit: 2 });
    await mqtt.flush();
    const pairs: string[] = [];
    const both = (async () => {
      for await (const message of one) {
        const other = await two.next();
        pairs.push(`${message} ${other.value}`);
        if (pairs.length === 500) break;
      }
    })();
    await pour(port, "one", 500); // far more than its limit, before there is one of the other
    await pour(port, "two", 500);
    await both;
    assertEquals(pairs, Array.from({ length: 500 }, (_, i) => `${i} ${i}`));
    await two.return?.();
  });

  play("a handler that never settles: others go on until the common bound, disconnect() works", async (mqtt, port) => {
    const statuses: string[] = [];
    let stuck = 0, others = 0;
    await mqtt.subscribe("stuck", { onpub: () => new Promise(() => void stuck++) });
    await mqtt.subscribe("other", { onpub: () => void others++ });
    await pour(port, "stuck", 20);
    await pour(port, "other", 100);
    while (others < 100) await turn(5);
    assertEquals([stuck, statuses], [1, []]);
  }, { receiveMaximum: 100, keepalive: 1 });

  play("flush() tells that the broker has it all", async (mqtt, port) => {
    const got: string[] = [];
    const other = await connect("127.0.0.1", (_, message) => got.push(message.text()), { port });
    await other.subscribe("t");
    for (let i = 0; i < 100; i++) void mqtt.publish("t", `${i}`);
    await mqtt.flush();
    await other.flush(); // what the broker had is before its answer
    assertEquals(got.length, 100);
    await other.disconnect();
  });

  play("disconnect({ drain: true }) waits for handlers and loops, which may publish", async (mqtt, port) => {
    const results: string[] = [], taken: string[] = [];
    const other = await connect("127.0.0.1", (_, message) => results.push(message.text()), { port });
    await other.subscribe("result");
    let handled = 0;
    await mqtt.subscribe("t", {
      async onpub(_topic, message) {
        handled++;
        await turn(2);
        await mqtt.publish("result", message.text());
      },
    });
    const loop = (async () => {
      for await (const message of mqtt.messages("t")) {
        await turn(1);
        taken.push(message.text());
      }
    })();
    await mqtt.flush();
    await pour(port, "t", 50);
    while (handled === 0) await turn(1);
    while (mqtt.stats.unsettled < 10 && taken.length < 40) await turn(1);
    await mqtt.disconnect({ drain: true });
    await loop;
    await other.flush();
    assertGreater(results.length, 9);
    assertEquals([results.length, taken.length], [handled, handled]);
    await other.disconnect();
  });

  play("what cannot be settled for timeout is told, and who waits for the broker is, too", async (mqtt, port) => {
    let stuck = 0;
    await mqtt.subscribe("t", { onpub: () => new Promise(() => void stuck++) });
    await pour(port, "t", 200);
    while (stuck === 0) await turn(5);
    while (mqtt.stats.unsettled < 30) await turn(5);
    assertEquals(await codeOf(mqtt.subscribe("x")), "overflow");
    assertEquals(mqtt.status.type, "connected");
  }, { maxBuffered: 10_000, timeout: 3000 });
}

test("connect: statuses tell when it has stalled", needs("mosquitto"), async () => {
  const broker = await startMosquitto();
  const statuses: Status[] = [];
  const op = {
    port: broker.port,
    receiveMaximum: 10,
    timeout: 1000,
    onstatus: (status: Status) => void statuses.push(status),
  };
  const mqtt = await connect("127.0.0.1", () => new Promise(() => {}), op);
  try {
    await mqtt.subscribe("t");
    await pour(broker.port, "t", 20);
    while (statuses.at(-1)?.type !== "stalled") await turn(5);
    await turn(3000);
    assertEquals(statuses.filter(({ type }) => type === "stalled"), [{ type: "stalled", unsettled: 10 }]);
  } finally {
    await mqtt.disconnect();
    await broker.stop();
  }
});

test(
  "connectSync: a handler that returns a promise is a TypeError that says what to use",
  needs("mosquitto"),
  async () => {
    const broker = await startMosquitto();
    const mqtt = connectSync("127.0.0.1", async () => await turn(), { port: broker.port });
    try {
      mqtt.subscribe("t");
      mqtt.publish("t", "x");
      const error = assertThrows(() => mqtt.run(), TypeError);
      for (const word of ["connect ", "connectWorker"]) assert(error.message.includes(word), error.message);
    } finally {
      mqtt.disconnect();
      await broker.stop();
    }
  },
);

test(
  "connectSync: flush, and disconnect({ drain }) calls the handlers of what came meanwhile",
  needs("mosquitto"),
  async () => {
    const broker = await startMosquitto();
    const got: string[] = [];
    const mqtt = connectSync("127.0.0.1", (_topic: string, message: Message) => void got.push(message.text()), {
      port: broker.port,
    });
    try {
      mqtt.subscribe("t");
      for (let i = 0; i < 10; i++) mqtt.publish("t", `${i}`);
      mqtt.flush();
      mqtt.unsubscribe("t"); // what the broker has sent is before its answer
      assertEquals([got, mqtt.stats.unsettled], [[], 10]);
      mqtt.disconnect({ drain: true });
      assertEquals(got, Array.from({ length: 10 }, (_, i) => `${i}`));
    } finally {
      await broker.stop();
    }
  },
);

test(
  "connectSync: what it waits for is behind messages that nobody takes: overflow, and it says why",
  needs("mosquitto"),
  async () => {
    const broker = await startMosquitto();
    const mqtt = connectSync("127.0.0.1", undefined, { port: broker.port, maxBuffered: 100_000, timeout: 3000 });
    try {
      mqtt.subscribe("t");
      for (let i = 0; i < 100; i++) mqtt.publish("t", new Uint8Array(5000));
      const error = assertThrows(() => mqtt.flush(), MqttError, "not settled");
      assertEquals(error.code, "overflow");
      assertLess(mqtt.stats.unsettled, 100);
      while (mqtt.receive(100) !== undefined);
      mqtt.flush();
    } finally {
      mqtt.disconnect();
      await broker.stop();
    }
  },
);
