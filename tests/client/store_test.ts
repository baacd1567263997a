/** A session in a store, by mode: what it keeps over processes, what it tells, and what it cannot keep. */
import { test } from "node:test";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { assert, assertEquals, assertGreater, assertLess, assertRejects, assertStringIncludes } from "@std/assert";
import {
  connect,
  type ConnectOptions,
  connectSync,
  fileStore,
  MqttError,
  type SessionStore,
  type Status,
  type SyncClient,
} from "../../mod.ts";
import { needs } from "../support/process.ts";
import { startMosquitto } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";
import { block, modes, type Mqtt, type OpenOn, outcome, Scene } from "./qos_scene.ts";
import { within } from "./support.ts";

/** A log in memory, which may be full. */
class MemoryStore implements SessionStore {
  records: Uint8Array[] = [];
  #appended: Uint8Array[] = [];
  isFull = false;
  /** Whether it cannot be replaced. */
  isStuck = false;
  /** Whether it cannot be closed. */
  isUnclosable = false;
  isOpen = false;
  flushes = 0;

  open({ read }: Parameters<SessionStore["open"]>[0]): void {
    this.isOpen = true;
    this.records.forEach(read);
  }

  append(record: Uint8Array): void {
    this.#appended.push(record.slice());
  }

  flush(): void {
    this.flushes++;
    const appended = this.#appended.splice(0);
    if (this.isFull) throw new Error("No space left");
    this.records.push(...appended);
  }

  replace(records: Iterable<Uint8Array>): void {
    if (this.isStuck) throw new Error("No space for another file");
    this.records = [...records].map((record) => record.slice());
  }

  close(): void {
    if (this.isUnclosable) throw new Error("It cannot be closed");
    this.isOpen = false;
  }
}

interface Stage {
  /** Opens a client on the broker; a new one each time, with the same store unless it says otherwise. */
  start(op?: ConnectOptions): Promise<Scene>;
  path: string;
  /** What all clients have told. */
  statuses: Status[];
}

/** Plays with clients that come one after the other, on one scripted broker and one store. */
async function onStage(open: OpenOn, act: (stage: Stage) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "mqtt3c-session-"));
  const broker = await startScript("tests/client/qos_broker.ts");
  const clients: Mqtt[] = [];
  try {
    const port = Number((await broker.output(/port (\d+)\n/))[1]), path = join(folder, "store");
    const statuses: Status[] = [];
    const start = async (op: ConnectOptions = {}) => {
      const store = fileStore(path), onstatus = (status: Status) => void statuses.push(status);
      const mqtt = await open(port, { keepalive: 0, id: "survivor", session: true, store, onstatus, ...op });
      clients.push(mqtt);
      return new Scene(mqtt, port, broker);
    };
    await within(act({ start, path, statuses }), "the scene");
  } finally {
    for (const mqtt of clients) if (mqtt.status.type !== "closed") await mqtt.disconnect();
    await broker.stop();
    rmSync(folder, { recursive: true });
  }
}

/** The broker hangs up, and keeps the session or not; the client ends with that, as it does not come back. */
async function hangUp({ mqtt, ...scene }: Scene, how: "keep" | "forget"): Promise<void> {
  await mqtt.publish(`$drop/${how}`, "");
  if ("receive" in mqtt) assertEquals(mqtt.run().code, "socketclosed");
  else assertEquals((await mqtt.run()).code, "socketclosed");
  void scene;
}

for (const [mode, open] of modes) {
  const play = (title: string, act: (stage: Stage) => Promise<void>): void => {
    test(`store, ${mode}: ${title}`, () => onStage(open, act));
  };
  const isModules = mode === "connectWorker with a module";

  play(
    "[MQTT-4.4.0-1] what was stored and not acknowledged is sent again by the next client, in order",
    async (stage) => {
      const first = await stage.start();
      for (let i = 0; i < 6; i++) {
        const qos = i % 2 + 1 as 1 | 2;
        assertEquals(await first.mqtt.publish("never/t", `${i}`, { qos, until: "stored" }), 0);
      }
      await first.until(() => first.said(/^0 PUBLISH/).length === 6, "six messages");
      await hangUp(first, "keep");
      const second = await stage.start();
      await second.until(() => second.said(/^1 PUBLISH/).length === 6, "six messages again");
      const withoutDup = second.said(/^1 PUBLISH/).map((line) => line.replace(/ dup$/, "").slice(2));
      for (const qos of [1, 2]) {
        const of = (lines: string[]) => lines.filter((line) => line.endsWith(` ${qos}`));
        assertEquals(
          of(withoutDup),
          of(second.said(/^0 PUBLISH/).map((line) => line.slice(2))),
          "the same, with the same ids",
        );
      }
      assert(second.said(/^1 PUBLISH/).every((line) => line.endsWith(" dup")));
      assertEquals(second.mqtt.stats.unacknowledged, 6);
      await second.mqtt.publish("$acknowledge", "");
      await second.mqtt.flush();
      assertEquals(second.mqtt.stats.unacknowledged, 0);
      await hangUp(second, "keep");
      const third = await stage.start();
      await third.mqtt.flush();
      assertEquals(
        [third.said(/^2 /), third.mqtt.stats.unacknowledged],
        [[], 0],
        "what is acknowledged is not sent again",
      );
    },
  );

  play(
    "[MQTT-4.6.0-4] PUBREL is sent again by the next client, in the order of PUBREC, and not PUBLISH",
    async (stage) => {
      const first = await stage.start();
      for (let i = 0; i < 5; i++) await first.mqtt.publish("half/t", `${i}`, { qos: 2, until: "stored" });
      await first.until(() => first.said(/^0 PUBREL/).length === 5, "five PUBRELs");
      await hangUp(first, "keep");
      const second = await stage.start();
      await second.until(() => second.said(/^1 PUBREL/).length === 5, "five PUBRELs again");
      assertEquals(second.said(/^1 /), first.said(/^0 PUBREL/).map((line) => line.replace("0", "1")));
    },
  );

  play(
    "sessionLost: a broker that has forgotten the session gets QoS 1 anew; QoS 2 is given up, and told",
    async (stage) => {
      const first = await stage.start();
      await first.mqtt.publish("never/1", "one", { qos: 1, until: "stored" });
      await first.mqtt.publish("never/2", "two", { qos: 2, until: "stored" });
      await first.until(() => first.said(/^0 PUBLISH/).length === 2, "two messages");
      await hangUp(first, "forget");
      const second = await stage.start();
      await second.until(() => second.said(/^1 PUBLISH/).length === 1, "a message");
      assertEquals(second.said(/^1 /).map((line) => line.replace(/PUBLISH \d+/, "PUBLISH")), [
        "1 PUBLISH never/1 one 1",
      ]);
      await second.until(() => stage.statuses.some(({ type }) => type === "dropped"), "the status");
      const dropped = stage.statuses.find((status) => status.type === "dropped")!;
      assertEquals([dropped.topic, dropped.error.code], ["never/2", "sessionlost"]);
      assertEquals(second.mqtt.stats.unacknowledged, 1);
    },
  );

  play(
    "until: a publish that waits for the window, too, is stored at once; it is sent by the next client",
    async (stage) => {
      const first = await stage.start({ maxInflight: 1 });
      for (let i = 0; i < 50; i++) await first.mqtt.publish("never/t", `${i}`, { qos: 1, until: "stored" });
      await first.until(() => first.said(/^0 PUBLISH/).length === 1, "a message");
      await hangUp(first, "keep");
      const second = await stage.start();
      await second.until(() => second.said(/^1 PUBLISH/).length === 50, "fifty messages");
      const texts = second.said(/^1 PUBLISH/).map((line) => line.split(" ").slice(4).join(" "));
      assertEquals(texts, ["0 1 dup", ...Array.from({ length: 49 }, (_, i) => `${i + 1} 1`)]);
    },
  );

  play("expiry: a message that waits too long is not sent, and its publish rejects", async (stage) => {
    const scene = await stage.start({ maxInflight: 1 });
    await scene.mqtt.publish("never/t", "first", { qos: 1, until: "stored" });
    assertEquals(await outcome(() => scene.mqtt.publish("t", "late", { qos: 1, expiry: 1 })), "stale");
    await scene.mqtt.publish("$acknowledge", "");
    await scene.mqtt.publish("t", "next", { qos: 1, expiry: 100 });
    await scene.until(() => scene.said(/^0 PUBLISH/).length >= 2, "two messages");
    assertEquals(scene.said(/^0 PUBLISH/).map((line) => line.split(" ")[4]), ["first", "next"]);
  });

  play("the store of another client, and one that is open, are refused, and lose nothing", async (stage) => {
    const first = await stage.start();
    await first.mqtt.publish("never/t", "x", { qos: 1, until: "stored" });
    const second = await stage.start({ id: "survivor2" }).catch((error) => error);
    assert(second instanceof MqttError && second.code === "store", `${second}`);
    assertStringIncludes(second.message, "in use");
    await hangUp(first, "keep");
    const third = await stage.start({ id: "survivor2" }).catch((error) => error);
    assert(third instanceof MqttError && third.code === "store", `${third}`);
    assertStringIncludes(third.message, '"survivor"');
    const fourth = await stage.start();
    await fourth.until(() => fourth.said(/^1 PUBLISH/).length === 1, "the message");
  });

  play("a file that is no store is kept aside, and told", async (stage) => {
    writeFileSync(stage.path, "my diary");
    const scene = await stage.start();
    assertEquals(await scene.mqtt.publish("t", "x", { qos: 2, until: "stored" }), 0);
    await scene.mqtt.flush();
    await scene.until(() => stage.statuses.some(({ type }) => type === "store"), "the status");
    const told = stage.statuses.filter((status) => status.type === "store");
    assertEquals(told.map(({ error }) => error.code), ["store"]);
    assertStringIncludes(told[0]!.error.message, stage.path);
  });

  test(`store, ${mode}: 100,000 messages leave a small file`, needs("mosquitto"), async () => {
    const folder = mkdtempSync(join(tmpdir(), "mqtt3c-session-")), path = join(folder, "store");
    const broker = await startMosquitto({ config: "log_type none" });
    try {
      const mqtt = await open(broker.port, { maxInflight: 1000, id: "x", session: true, store: fileStore(path) });
      const list = Array.from({ length: 10_000 }, () => ({ topic: "t", message: "x".repeat(100), qos: 1 as const }));
      for (let i = 0; i < 10; i++) await mqtt.publish(list);
      await mqtt.disconnect();
      const lengths: number[] = [], problems: MqttError[] = [];
      const store = fileStore(path); // whose lock is released
      store.open({
        blocking: true,
        read: ({ length }) => void lengths.push(length),
        told: (error) => void problems.push(error),
      });
      store.close();
      assertEquals(problems, []);
      assertLess(
        statSync(path).size,
        (4 << 20) + (1 << 18),
        "4 MiB that mean nothing, and a flush; of 17 MB that were written",
      );
    } finally {
      await broker.stop();
      rmSync(folder, { recursive: true });
    }
  });

  if (isModules) {
    test(`store, ${mode}: a store of one's own is refused, as it cannot cross to the thread`, async () => {
      const refused = await open(1, { id: "x", session: true, store: new MemoryStore() }).catch((error) => error);
      assert(refused instanceof TypeError, `${refused}`);
    });
    continue;
  }

  play(
    "a store that is full rejects what it cannot keep, loses nothing else, and goes on when there is room",
    async (stage) => {
      const store = new MemoryStore();
      const { mqtt, ...scene } = await stage.start({ store });
      await mqtt.publish("never/1", "kept", { qos: 1, until: "stored" });
      store.isFull = true;
      assertEquals(await outcome(() => mqtt.publish("t", "lost", { qos: 1 })), "store");
      assertEquals(await outcome(() => mqtt.publish("t", "lost", { qos: 2, until: "stored" })), "store");
      assertEquals(await mqtt.publish("t", "QoS 0"), 0);
      assertEquals(mqtt.stats.unacknowledged, 1);
      store.isFull = false;
      assertEquals(await mqtt.publish("t", "again", { qos: 2 }), 0);
      await mqtt.publish("$acknowledge", "");
      await mqtt.flush();
      assertEquals(mqtt.stats.unacknowledged, 0);
      void scene;
      await mqtt.disconnect();
      assert(!store.isOpen);
      assertGreater(store.records.length, 3);
    },
  );

  play("a store that cannot be compacted is told, and goes on", async (stage) => {
    const store = new MemoryStore();
    store.isStuck = true;
    const scene = await stage.start({ store });
    for (let i = 0; i < 50; i++) assertEquals(await scene.mqtt.publish("t", new Uint8Array(100_000), { qos: 1 }), 0);
    await scene.until(() => stage.statuses.some(({ type }) => type === "store"), "the status");
    const told = stage.statuses.filter((status) => status.type === "store");
    assertEquals(told.map(({ error }) => error.code), ["store"]);
    store.isStuck = false;
    for (let i = 0; i < 100; i++) await scene.mqtt.publish("t", new Uint8Array(100_000), { qos: 1 });
    assertLess(store.records.length, 200, "it was compacted then");
  });

  play("a store that cannot be closed: disconnect() says so, and the client has ended", async (stage) => {
    const store = new MemoryStore();
    const { mqtt } = await stage.start({ store });
    store.isUnclosable = true;
    const failure = await outcome(() => mqtt.disconnect());
    assertStringIncludes(String(failure), "It cannot be closed");
    assertEquals(mqtt.status.type, "closed");
    assertEquals(await outcome(() => mqtt.publish("t", "")), "disconnect");
  });

  play("nothing is sent before it is stored", async (stage) => {
    const store = new MemoryStore();
    store.isFull = true;
    const scene = await stage.start({ store });
    assertEquals(await outcome(() => scene.mqtt.publish("t", "x", { qos: 1 })), "store");
    await scene.mqtt.publish("t", "QoS 0");
    await scene.mqtt.flush();
    assertEquals(scene.said(/PUBLISH/), []);
  });
}

for (const [mode, open] of modes) {
  const refused = (title: string, op: object, advice: string): void => {
    test(`store, ${mode}: ${title} is a TypeError`, async () => {
      const error = await open(1, op).catch((error) => error);
      assert(error instanceof TypeError, `${error}`);
      assertStringIncludes(error.message, advice);
    });
  };
  refused("a store without session", { id: "x", store: fileStore("x") }, "session");
  refused("a path instead of a store", { id: "x", session: true, store: "x" }, "fileStore(path)");
  refused("a store without flush", { id: "x", session: true, store: { open() {}, append() {} } }, "flush");
  test(`store, ${mode}: options of publish() that cannot be are refused, and nothing is sent`, () =>
    onStage(open, async ({ start }) => {
      const { mqtt, ...scene } = await start();
      void scene;
      for (const options of [{ until: "stored" }, { qos: 1, until: "sent" }, { expiry: "1" }]) {
        assert(
          await outcome(() => mqtt.publish("t", "", options as object)) instanceof TypeError,
          JSON.stringify(options),
        );
      }
      for (const expiry of [0, -1, 0.5, NaN, 2 ** 32]) {
        assert(await outcome(() => mqtt.publish("t", "", { expiry })) instanceof RangeError, `${expiry}`);
      }
    }));
}

test("store, connectSync: a message of QoS 2 that was taken is recorded before the next one is given", async () => {
  const store = new MemoryStore(), recorded = () => store.records.filter(([type]) => type === 6).length;
  // deno-lint-ignore require-await
  const open: OpenOn = async (port, op) => connectSync("127.0.0.1", undefined, { port, ...op });
  await onStage(open, async ({ start }) => {
    const scene = await start({ store }), mqtt = scene.mqtt as SyncClient;
    mqtt.publish("$give", "t a 2 1\nt b 2 2\nt c 2 3");
    block(100); // all three have come by then
    assert(mqtt.receive()?.text() === "a" && recorded() === 0);
    assertEquals([mqtt.receive()?.text(), recorded()], ["b", 1]);
    assertEquals([mqtt.receive()?.text(), recorded()], ["c", 2]);
    mqtt.receive(0);
    await scene.until(() => scene.said(/PUBREC/).length === 3, "three PUBRECs");
    assertEquals(recorded(), 3);
  });
});

test("store: a connection that is handed in is closed when the store cannot be opened", async () => {
  const store = new MemoryStore(), sock = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  store.open = () => {
    throw new MqttError("store", "It is in use");
  };
  await assertRejects(
    () => connect(sock, undefined, { id: "handed", session: true, store }),
    MqttError,
    "It is in use",
  );
  assert(sock.destroyed);
});
