/** `version: "auto"`: version 5 where the broker has it, 3.1.1 where it refuses, or just closes. */
import { test } from "node:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, assertEquals, assertLess } from "@std/assert";
import type { ConnectOptions, Status } from "../../mod.ts";
import { needs } from "../support/process.ts";
import { type Server, startMosquitto, startNats, startRabbit } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";
import { modes, outcome, Scene } from "./qos_scene.ts";
import { within } from "./support.ts";

const brokers: [name: string, version: 4 | 5, start: (data: string) => Promise<Server>][] = [
  ["mosquitto", 5, () => startMosquitto()],
  ["nats-server", 4, (data) => startNats({ data })],
  ["rabbitmq-server", 4, (data) => startRabbit({ data })],
];

for (const [name, expected, start] of brokers) {
  test(`${name}: the version is ${expected}, in every mode, with one attempt`, needs(name), () =>
    within(
      (async () => {
        const data = mkdtempSync(join(tmpdir(), "mqtt3c-auto-")), broker = await start(data);
        try {
          for (const [mode, open] of modes) {
            const told: Status[] = [], onstatus = (status: Status) => void told.push(status);
            const mqtt = await open(broker.port, { version: "auto", onstatus });
            const { status } = mqtt;
            assert(status.type === "connected");
            assertEquals(status.version, expected, mode);
            const scene = new Scene(mqtt, broker.port), topic = `auto/${mode.replaceAll(" ", "")}`;
            await scene.subscribe(topic, 1);
            await mqtt.publish(topic, "x", { qos: 1 });
            await mqtt.publish(topic, "x", { qos: 0 });
            await scene.until(() => scene.got.length === 2, "a message");
            assertEquals(scene.got.map(({ payload }) => [...payload]), [[120], [120]], mode);
            const properties = { contentType: "text/plain" };
            assertEquals(
              await outcome(() => mqtt.publish(topic, "y", { qos: 1, properties })),
              expected === 5 ? 0 : "unsupported",
            );
            assertEquals(
              new Set(told.flatMap((status) => status.type === "connecting" ? [status.attempt] : [])),
              new Set([1]),
            );
            await mqtt.disconnect();
          }
        } finally {
          await broker.stop();
          rmSync(data, { recursive: true, force: true });
        }
      })(),
      name,
      60_000,
    ));
}

for (const [mode, open] of modes) {
  test(`${mode}: what waits offline goes out in the version that there is; what has properties does not, and that is told`, () =>
    within(
      (async () => {
        const broker = await startScript("tests/client/older_broker.ts");
        try {
          const port = Number((await broker.output(/port (\d+)\n/))[1]);
          const told: Status[] = [], onstatus = (status: Status) => void told.push(status);
          const op: ConnectOptions = { version: "auto", offline: true, reconnect: true, onstatus, keepalive: 0 };
          const mqtt = await open(port, op), scene = new Scene(mqtt, port, broker);
          const rich = outcome(() => mqtt.publish("rich", "1", { qos: 1, properties: { contentType: "a" } }));
          const plain = outcome(() => mqtt.publish("plain", "2", { qos: 1, expiry: 100 }));
          const older = outcome(() => mqtt.subscribe("a", { noLocal: true }));
          await outcome(() => mqtt.publish("zero", "3"));
          if (!("receive" in mqtt)) assertEquals([await rich, await older], ["unsupported", "unsupported"]);
          assertEquals(await plain, 0);
          assert(mqtt.status.type === "connected" && mqtt.status.version === 4);
          await scene.until(() => scene.said(/PUBLISH (plain|zero)/).length >= 2, "both");
          assertEquals(scene.said(/CONNECT/).map((line) => line.split(" ").slice(1)), [["CONNECT", "5"], [
            "CONNECT",
            "4",
          ]]);
          await mqtt.disconnect();
        } finally {
          await broker.stop();
        }
      })(),
      mode,
    ));

  test(`${mode}: options of version 5 end a client on a broker that has not, and one deadline holds for both attempts`, () =>
    within(
      (async () => {
        const broker = await startScript("tests/client/older_broker.ts");
        try {
          const port = Number((await broker.output(/port (\d+)\n/))[1]);
          assertEquals(await outcome(() => open(port, { version: "auto", topicAliases: 5 })), "unsupported");
        } finally {
          await broker.stop();
        }
        const silent = await startScript("tests/client/older_broker.ts", ["silent"]);
        try {
          const port = Number((await silent.output(/port (\d+)\n/))[1]), start = performance.now();
          assertEquals(await outcome(() => open(port, { version: "auto", timeout: 3000 })), "timeout");
          assertLess(performance.now() - start, 5900);
        } finally {
          await silent.stop();
        }
      })(),
      mode,
    ));
}
