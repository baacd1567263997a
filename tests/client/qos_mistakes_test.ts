/** Brokers that acknowledge late, twice, out of order, wrongly or never, and send again what they have sent: by mode. */
import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import type { Client, ConnectOptions } from "../../mod.ts";
import { modes, numbered, onScripted, outcome, type Scene } from "./qos_scene.ts";
import { within } from "./support.ts";

for (const [mode, open] of modes) {
  const scripted = (title: string, act: (scene: Scene) => Promise<void>, op?: ConnectOptions): void => {
    test(`${mode}: ${title}`, () => onScripted(open, op, (scene) => within(act(scene), title)));
  };

  for (const qos of [1, 2] as const) {
    scripted(`QoS ${qos}: a broker that acknowledges out of order`, async ({ mqtt }) => {
      assertEquals(await mqtt.publish(numbered("reverse/10", 100, qos)), 0);
      assertEquals([mqtt.stats.unacknowledged, mqtt.stats.ignored], [0, 0]);
    });

    scripted(
      `QoS ${qos}: a broker that acknowledges twice: the other is counted, and the connection lives`,
      async (scene) => {
        const { mqtt } = scene;
        assertEquals(await mqtt.publish(numbered("twice/t", 100, qos)), 0);
        await mqtt.flush();
        await scene.until(() => mqtt.stats.ignored >= 100, "the others");
        assertEquals([mqtt.stats.unacknowledged, mqtt.status.type], [0, "connected"]);
        await scene.until(() => scene.said(/PUBLISH/).length >= 100, "what the broker has got");
        assertEquals(scene.said(/PUBLISH/).length, 100);
      },
    );

    scripted(`QoS ${qos}: a broker that acknowledges with the wrong packets first`, async (scene) => {
      const { mqtt } = scene;
      assertEquals(await mqtt.publish(numbered("wrong/t", 50, qos)), 0);
      await mqtt.flush();
      assertGreater(mqtt.stats.ignored, 100);
      assertEquals([mqtt.stats.unacknowledged, mqtt.status.type], [0, "connected"]);
      await scene.until(() => scene.said(/PUBLISH/).length >= 50, "what the broker has got");
      assertEquals(scene.said(/PUBLISH/).length, 50, "none is sent again");
    });

    for (const how of qos === 1 ? ["never"] : ["never", "half"]) {
      scripted(`QoS ${qos}: a broker that ${how} acknowledges: everything settles at the end`, async (scene) => {
        const { mqtt } = scene;
        if ("receive" in mqtt) {
          assertEquals(await outcome(() => mqtt.publish(numbered(`${how}/t`, 50, qos))), "timeout");
          assertEquals(mqtt.stats.unacknowledged, 50);
        } else {
          const outcomes = Array.from({ length: 50 }, () => outcome(() => mqtt.publish(`${how}/t`, "", { qos })));
          const flush = outcome(() => mqtt.flush());
          const most = qos === 2 ? 19 : 50;
          await scene.until(() => scene.said(/PUBLISH/).length === most, `${most} messages`);
          await mqtt.disconnect();
          assertEquals(new Set(await Promise.all(outcomes)), new Set(["disconnect"]));
          assertEquals(await flush, "disconnect");
        }
        const start = performance.now();
        await mqtt.disconnect();
        assertLess(performance.now() - start, 9000);
      }, mode === "connectSync" ? { timeout: 3000 } : {});
    }
  }

  scripted(
    "[MQTT-4.3.3-2] a message of QoS 2 that comes again, with DUP or without, is handled once until PUBREL",
    async (scene) => {
      await scene.subscribe("t", 2);
      await scene.give("t first 2 7", "t first 2 7", "t first 2 7 dup", "t other 2 7", "t last 2 8");
      await scene.until(() => scene.texts.includes("last 2"), "the last message");
      // PUBREL of the first one may have come between: the broker sends one for each PUBREC, behind all those.
      assertEquals(scene.texts, ["first 2", "last 2"]);
      await scene.until(() => scene.said(/PUBCOMP/).length >= 2, "the ends");
      await scene.give("t again 2 7");
      await scene.until(() => scene.texts.includes("again 2"), "the next message with that identifier");
    },
  );

  scripted(
    "QoS 1: an identifier that is used again at once: each message is handled and acknowledged",
    async (scene) => {
      await scene.subscribe("t", 1);
      await scene.give("t a 1 7", "t b 1 7", "t c 1 7 dup", "t d 1 8");
      await scene.until(() => scene.texts.includes("d 1"), "the last message");
      assertEquals(scene.texts, ["a 1", "b 1", "c 1", "d 1"]);
      await scene.until(() => scene.said(/PUBACK/).length >= 4, "the acknowledgements");
      assertEquals(scene.said(/PUBACK/).map((line) => line.split(" ")[2]), ["7", "7", "7", "8"]);
    },
  );

  if (mode !== "connectSync") {
    scripted("QoS 1 and 2: what comes again while it is in hand joins that", async (scene) => {
      const mqtt = scene.mqtt as Client, got: string[] = [], ends: (() => void)[] = [];
      await mqtt.subscribe("t", {
        qos: 2,
        concurrency: 10,
        onpub(_topic, message) {
          got.push(`${message} ${message.qos}`);
          return new Promise<void>((resolve) => ends.push(resolve));
        },
      });
      await scene.give("t a 1 7", "t a 1 7 dup", "t b 2 8", "t b 2 8 dup", "t c 1 9");
      await scene.until(() => got.length === 3, "three messages");
      await mqtt.flush();
      assertEquals([got, scene.said(/PUB(ACK|REC)/)], [["a 1", "b 2", "c 1"], []]);
      for (const end of ends) end();
      await scene.until(() => scene.said(/PUBCOMP/).length === 1 && scene.said(/PUBACK/).length === 2, "the ends");
    });
  }

  scripted("PUBREL for nothing is answered, and PUBREC for nothing", async (scene) => {
    assert(scene.mqtt.status.type === "connected");
    assertEquals(await scene.mqtt.publish("twice/x", "", { qos: 2 }), 0);
    await scene.mqtt.flush();
    await scene.until(() => scene.said(/PUBREL/).length === 2, "a PUBREL for each PUBREC");
  });
}
