/** QoS 1 and 2 by mode: what publish() resolves to and when, what is acknowledged and when, and what waits. */
import { test } from "node:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, assertEquals, assertGreater, assertLess, assertLessOrEqual, assertThrows } from "@std/assert";
import {
  type Client,
  type ConnectOptions,
  connectSync,
  connectWorker,
  type Message,
  MqttError,
  type QoS,
  type SyncClient,
} from "../../mod.ts";
import { needs } from "../support/process.ts";
import { startMosquitto } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";
import { block, modes, numbered, onScripted, outcome, Scene, turn } from "./qos_scene.ts";
import { within } from "./support.ts";

const soon = 10_000;
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

for (const [mode, open] of modes) {
  /** On mosquitto. */
  const play = (title: string, act: (scene: Scene) => Promise<void>, op?: ConnectOptions, config = ""): void => {
    test(`${mode}: ${title}`, needs("mosquitto"), async () => {
      const broker = await startMosquitto({ config: ["log_type none", "max_queued_messages 0", config].join("\n") });
      try {
        const mqtt = await open(broker.port, op);
        try {
          await within(act(new Scene(mqtt, broker.port)), title);
        } finally {
          await mqtt.disconnect();
        }
      } finally {
        await broker.stop();
      }
    });
  };

  /** On a broker that acknowledges as it is told. */
  const scripted = (title: string, act: (scene: Scene) => Promise<void>, op?: ConnectOptions): void => {
    test(`${mode}: ${title}`, () => onScripted(open, op, act));
  };

  for (const qos of [0, 1, 2] as const) {
    play(`QoS ${qos}: publish() gives 0, and each message comes once, in order`, async (scene) => {
      const { mqtt } = scene;
      assertEquals(await scene.subscribe("t", qos), qos);
      assertEquals(await mqtt.publish("t", "first", { qos }), 0);
      assertEquals(mqtt.stats.unacknowledged, 0);
      assertEquals(await mqtt.publish(numbered("t", 1000, qos)), 0);
      await scene.until(() => scene.got.length >= 1001, "1,001 messages");
      await mqtt.flush();
      assertEquals(scene.texts, ["first", ...numbers(1000)].map((text) => `${text} ${qos}`));
      assert(scene.got.every(({ dup, retain }) => !dup && !retain));
      assertEquals([mqtt.stats.unacknowledged, mqtt.stats.ignored], [0, 0]);
    });
  }

  play("a list may have messages of every QoS; an empty one is done", async (scene) => {
    await scene.subscribe("t", 2);
    const messages = ([2, 0, 1] as QoS[]).map((qos) => ({ topic: "t", message: `${qos}`, qos, retain: qos === 1 }));
    assertEquals([await scene.mqtt.publish(messages), await scene.mqtt.publish([])], [0, 0]);
    await scene.until(() => scene.got.length >= 3, "three messages");
    assertEquals(scene.texts.sort(), ["0 0", "1 1", "2 2"]);
    const mistake = await outcome(() => scene.mqtt.publish([...messages, { topic: "a/#", message: "" }]));
    assert(mistake instanceof TypeError);
    await scene.mqtt.flush();
    assertEquals(scene.got.length, 3, "none of a list with a mistake is published");
    const again = await open(scene.port) as Client | SyncClient;
    const other = new Scene(again, scene.port);
    await other.subscribe("t", 1);
    await other.until(() => other.got.length > 0, "the retained message");
    assertEquals([other.texts, other.got[0]!.retain], [["1 1"], true]);
    await again.disconnect();
  });

  play(
    "[MQTT-3.8.4-6] the granted QoS is told: the lowest of several, and no more than the broker has",
    async (scene) => {
      assertEquals(await scene.subscribe("a", 0), 0);
      assertEquals(await scene.subscribe(["b", "c"], 1), 1);
      assertEquals(await scene.subscribe("d", 2), 1);
      await scene.mqtt.publish("a", "a", { qos: 1 });
      await scene.mqtt.publish("d", "d", { qos: 1 });
      await scene.until(() => scene.got.length >= 2, "two messages");
      assertEquals(scene.texts.sort(), ["a 0", "d 1"]);
    },
    {},
    "max_qos 1",
  );

  play("[MQTT-3.1.2-9] a will of QoS 2 is one", async (scene) => {
    const broker = scene.port;
    await scene.subscribe("will", 2);
    const controller = await startScript("tests/client/child.ts", ["will2", `${broker}`]);
    await controller.output(/connected/);
    await controller.stop();
    await scene.until(() => scene.got.length > 0, "the will");
    assertEquals(scene.texts, ["gone 2"]);
  });

  scripted("maxInflight: so many are sent and not acknowledged, the others wait in order", async (scene) => {
    const { mqtt } = scene;
    for (const qos of [1, 2] as const) await mqtt.publish(numbered(`late/${qos}`, 100, qos));
    await mqtt.publish("$most", "");
    await scene.until(() => scene.said(/^most/).length > 0, "what the broker has counted");
    assertEquals(scene.said(/^most/), ["most 7"]);
    for (const qos of [1, 2]) {
      const texts = scene.said(new RegExp(`PUBLISH \\d+ late/${qos}`)).map((line) => Number(line.split(" ")[4]));
      assertEquals(texts, numbers(100));
    }
  }, { maxInflight: 7 });

  scripted(
    "[MQTT-4.3.3-1] QoS 2 is PUBLISH, PUBREC, PUBREL, PUBCOMP; by default no more than 19 at once",
    async (scene) => {
      await scene.mqtt.publish(numbered("late/x", 60, 2));
      await scene.mqtt.publish("$most", "");
      await scene.until(() => scene.said(/^most/).length > 0, "what the broker has counted");
      assertEquals(scene.said(/^most/), ["most 19"]);
      const ids = (type: string) => scene.said(new RegExp(`^0 ${type}`)).map((line) => line.split(" ")[2]);
      assertEquals([ids("PUBLISH").length, ids("PUBREL")], [60, ids("PUBLISH")]);
    },
  );

  const settle = (title: string, qos: 1 | 2): void => {
    const type = qos === 1 ? "PUBACK" : "PUBREC";
    scripted(`QoS ${qos}: ${title}`, async (scene) => {
      const { mqtt } = scene, lines = numbers(4).map((i) => `t ${i} ${qos} ${11 + i}`);
      const acknowledged = () => scene.said(new RegExp(`^0 ${type}`)).map((line) => Number(line.split(" ")[2]));
      /** What the broker has got by now: its answer to PINGREQ comes behind. */
      const look = async () => {
        await mqtt.flush();
        await mqtt.publish("$most", "");
        const before = scene.said(/^most/).length;
        while (scene.said(/^most/).length === before) await turn(2);
        return acknowledged();
      };
      if ("receive" in mqtt) {
        mqtt.subscribe("t", { qos });
        await scene.give(...lines);
        for (const i of numbers(4)) {
          assertEquals(mqtt.receive(soon)?.text(), `${i}`);
          assertEquals(await look(), [11, 12, 13, 14].slice(0, i), "not before the next one is asked for");
        }
        assertEquals([mqtt.receive(0), await look()], [undefined, [11, 12, 13, 14]]);
        return;
      }
      const ends: (() => void)[] = [];
      const onpub = (_: string, message: Message) =>
        new Promise<void>((resolve, reject) =>
          ends.push(message.text() === "3" ? () => reject(new MqttError("timeout", "of no use")) : resolve)
        );
      await mqtt.subscribe("t", { qos, onpub, concurrency: 3 });
      await scene.give(...lines);
      await scene.until(() => ends.length === 3, "three at once");
      assertEquals(await look(), []);
      ends[1]!();
      await scene.until(() => ends.length === 4, "another one");
      ends[2]!();
      assertEquals(await look(), [], "the first of them is not done");
      ends[0]!();
      await scene.until(() => acknowledged().length === 3, "three acknowledgements");
      assertEquals(await look(), [11, 12, 13]);
      assertEquals(mqtt.stats.unsettled, 1);
      ends[3] = () => {};
    });
  };
  settle("nothing is acknowledged before it is settled; then in the order of receipt [MQTT-4.6.0-2]", 1);
  settle("nothing is acknowledged before it is settled; then in the order of receipt [MQTT-4.6.0-3]", 2);

  scripted("a message that waits is taken back by its signal; one that was sent is not", async (scene) => {
    const { mqtt } = scene, controller = new AbortController(), reason = new Error("enough");
    const { signal } = controller;
    if ("receive" in mqtt) {
      // Its signal cannot be aborted while it blocks: before, it can.
      controller.abort(reason);
      for (const qos of [0, 1, 2] as const) {
        assertEquals(assertThrows(() => mqtt.publish("t", "x", { qos, signal }), MqttError).code, "disconnect");
      }
      assertEquals(mqtt.publish("t", "y", { qos: 1, signal: new AbortController().signal }), 0);
      await scene.until(() => scene.said(/PUBLISH/).length > 0, "the other message");
      assertEquals(scene.said(/PUBLISH/), ["0 PUBLISH 1 t y 1"]);
      return;
    }
    const sent = mqtt.publish("never/1", "sent", { qos: 1, signal });
    const waits = mqtt.publish("t", "waits", { qos: 1, signal }).catch((error) => error);
    const other = mqtt.publish("t", "other", { qos: 1 });
    await scene.until(() => scene.said(/PUBLISH/).length > 0, "the first message");
    controller.abort(reason);
    const error = await within(waits, "the outcome");
    assertEquals([error.code, mqtt.stats.unacknowledged], ["disconnect", 2]);
    await mqtt.publish("$acknowledge", "");
    assertEquals(await within(Promise.all([sent, other]), "both"), [0, 0]);
    await scene.until(() => scene.said(/PUBLISH/).length > 1, "the other message");
    assertEquals(scene.said(/PUBLISH/), ["0 PUBLISH 1 never/1 sent 1", "0 PUBLISH 2 t other 1"]);
  }, { maxInflight: 1 });

  scripted(
    "beyond maxBuffered bytes that are not acknowledged: overflow, and what was accepted goes on",
    async (scene) => {
      const { mqtt } = scene, payload = new Uint8Array(1000);
      const list = numbers(200).map(() => ({ topic: "late/x", message: payload, qos: 1 as const }));
      if ("receive" in mqtt) {
        assertEquals(mqtt.publish(list), 0, "it waits for room");
        assertThrows(() => mqtt.publish("t", new Uint8Array(200_000), { qos: 1 }), MqttError, "maxBuffered");
        return;
      }
      const outcomes = numbers(200).map(() => outcome(() => mqtt.publish("never/x", payload, { qos: 1 })));
      await scene.until(() => mqtt.stats.unacknowledged > 80, "most of them");
      const accepted = mqtt.stats.unacknowledged;
      assertLessOrEqual(accepted, 100);
      const rest = outcome(() => mqtt.publish("late/x", payload, { qos: 2 }));
      assertEquals(await rest, "overflow");
      await scene.until(() => scene.said(/PUBLISH/).length === accepted, "what was accepted");
      await mqtt.publish("$acknowledge", "");
      const done = await within(Promise.all(outcomes), "their outcomes");
      assertEquals([done.filter((code) => code === 0).length, done.filter((code) => code === "overflow").length], [
        accepted,
        200 - accepted,
      ]);
      assertEquals(await mqtt.publish("t", "again", { qos: 1 }), 0);
    },
    { maxBuffered: 100_000, maxInflight: 1000 },
  );

  if (mode !== "connectSync") {
    play("messages() has a QoS, and never lowers that of subscribe() [MQTT-3.8.4-3]", async (scene) => {
      const mqtt = scene.mqtt as Client;
      const iterate = async (qos?: QoS) => {
        const messages = mqtt.messages("t", { qos });
        const next = messages.next();
        await mqtt.flush();
        await mqtt.publish("t", "x", { qos: 2 });
        const { value } = await next;
        await messages.return?.();
        return (value as Message).qos;
      };
      assertEquals([await iterate(), await iterate(1), await iterate(2)], [0, 1, 2]);
      await scene.subscribe("t", 2);
      assertEquals(await iterate(1), 2);
      await mqtt.publish("t", "still", { qos: 2 });
      await scene.until(() => scene.texts.includes("still 2"), "a message after the loop");
    });

    scripted("an iterator acknowledges a message when it is asked for the next one, or left", async (scene) => {
      const mqtt = scene.mqtt as Client;
      const acknowledged = () => scene.said(/PUBACK/).map((line) => Number(line.split(" ")[2]));
      const messages = mqtt.messages("t", { qos: 1 });
      const first = messages.next();
      await mqtt.flush();
      await scene.give("t 0 1 21", "t 1 1 22", "t 2 1 23");
      assertEquals((await first).value?.text(), "0");
      await mqtt.flush();
      assertEquals(acknowledged(), []);
      assertEquals((await messages.next()).value?.text(), "1");
      await scene.until(() => acknowledged().length > 0, "the first acknowledgement");
      await mqtt.flush();
      assertEquals(acknowledged(), [21]);
      await messages.return?.();
      await scene.until(() => acknowledged().length === 3, "the others");
      assertEquals(acknowledged(), [21, 22, 23]);
    });
  }
}

for (const qos of [1, 2] as const) {
  test(`connectWorker with a module: QoS ${qos} is acknowledged while the main thread is blocked`, async () => {
    const dir = mkdtempSync(join(tmpdir(), "mqtt3c-module-"));
    const file = join(dir, "lines");
    const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
    const slow = new URL(`../worker/modules/slow${extension}`, import.meta.url);
    try {
      await onScripted((port, op) => connectWorker("127.0.0.1", slow, { port, ...op }), {}, async (scene) => {
        await scene.mqtt.subscribe("#", { qos });
        const lines = numbers(20).map((i) => `t${file} ${i} ${qos} ${11 + i}`);
        await scene.mqtt.publish("$later/200", lines.join("\n"));
        block(2000);
        await scene.until(() => scene.took.length >= 20 * qos - (qos - 1), "the acknowledgements");
        assertLess(Math.max(...scene.took), 1500);
        assertEquals(readFileSync(file, "utf8"), numbers(20).map((i) => `${i}\n`).join(""));
        const type = qos === 1 ? "PUBACK" : "PUBREC";
        assertEquals(
          scene.said(new RegExp(type)).map((line) => Number(line.split(" ")[2])),
          numbers(20).map((i) => 11 + i),
        );
      });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
}

for (const qos of [1, 2] as const) {
  test(`connectSync: QoS ${qos} blocks until it is acknowledged; in time it is not: timeout, and it stays in flight`, () =>
    onScripted((port, op) => Promise.resolve(connectSync("127.0.0.1", undefined, { port, ...op })), {
      timeout: 3000,
    }, async (scene) => {
      const mqtt = scene.mqtt as SyncClient;
      assertEquals(mqtt.publish("late/1", "x", { qos }), 0);
      const start = performance.now();
      const error = assertThrows(() => mqtt.publish("never/1", "stays", { qos }), MqttError);
      assertGreater(performance.now() - start, 2990);
      assertEquals([error.code, mqtt.stats.unacknowledged], ["timeout", 1]);
      mqtt.publish("$acknowledge", "");
      for (const end = performance.now() + soon; mqtt.stats.unacknowledged > 0;) {
        assertLess(performance.now(), end);
        mqtt.receive(20);
      }
      assertEquals(mqtt.publish("t", "next", { qos }), 0);
      await scene.until(() => scene.said(/PUBLISH/).length === 3, "three messages");
      assertEquals(scene.said(/PUBLISH.*stays/).length, 1);
    }));

  test(`connectSync: QoS ${qos} in flight is sent again, with DUP, on the next connection`, () =>
    onScripted(
      (port, op) => Promise.resolve(connectSync("127.0.0.1", undefined, { port, ...op })),
      { timeout: 3000, id: "id", session: true, reconnect: { minDelay: 10, maxDelay: 10 } },
      async (scene) => {
        const mqtt = scene.mqtt as SyncClient;
        assertEquals(await outcome(() => mqtt.publish("never/1", "stays", { qos })), "timeout");
        mqtt.publish("$drop/keep", "");
        await scene.until(() => scene.said(/^1 PUBLISH/).length > 0, "it on the next connection");
        mqtt.publish("$acknowledge", "");
        await scene.until(() => mqtt.stats.unacknowledged === 0, "its acknowledgement");
        assertEquals(scene.said(/PUBLISH/), [
          `0 PUBLISH 1 never/1 stays ${qos}`,
          `1 PUBLISH 1 never/1 stays ${qos} dup`,
        ]);
      },
    ));
}
