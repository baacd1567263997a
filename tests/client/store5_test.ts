/** A session in a store, with MQTT 5: its messages keep their properties, and the other version can go on with it. */
import { test } from "node:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { type ConnectOptions, fileStore, type Status } from "../../mod.ts";
import { needs } from "../support/process.ts";
import { startMosquitto } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";
import { modes, type Mqtt, outcome, Scene } from "./qos_scene.ts";
import { within } from "./support.ts";

for (const [mode, open] of modes) {
  test(`${mode}: a session in a store, of version 5, of version 4, and of version 5 again`, () =>
    within(
      (async () => {
        const folder = mkdtempSync(join(tmpdir(), "mqtt3c-version-"));
        const brokers = [await startScript("tests/client/broker5.ts"), await startScript("tests/client/qos_broker.ts")];
        const ports = await Promise.all(
          brokers.map(async (broker) => Number((await broker.output(/port (\d+)\n/))[1])),
        );
        const told: Status[] = [];
        /** Opens a client with the store on the broker of a version. */
        const start = async (version: 4 | 5, op: ConnectOptions = {}) => {
          const store = fileStore(join(folder, "store")), onstatus = (status: Status) => void told.push(status);
          const port = ports[version === 5 ? 0 : 1]!;
          return await open(port, {
            version,
            id: "S",
            session: true,
            keepalive: 0,
            store,
            onstatus,
            ...op,
          });
        };
        const said = (version: 4 | 5, pattern: RegExp) =>
          brokers[version === 5 ? 0 : 1]!.stdout().split("\n").filter((line) => pattern.test(line));
        const end = async (mqtt: Mqtt) => void await outcome(() => mqtt.disconnect());
        const until = (mqtt: Mqtt, holds: () => boolean, what: string) =>
          new Scene(mqtt, 0, brokers[0]).until(holds, what);
        try {
          const first = await start(5);
          const until1 = { qos: 1, until: "stored" } as const;
          await first.publish("never/rich", "1", { ...until1, expiry: 1000, properties: { user: [["a", "b"]] } });
          await first.publish("never/plain", "2", { ...until1, expiry: 1000 });
          await until(first, () => said(5, /PUBLISH/).length === 2, "both");
          await end(first);

          const present = JSON.stringify({ sessionPresent: true });
          const second = await start(5, { properties: { user: [["connack", present]] } });
          await until(second, () => said(5, /PUBLISH/).length === 4, "both again");
          const [rich, plain] = said(5, /^1 PUBLISH/).map((line) => JSON.parse(line.replace(/^1 PUBLISH /, "")));
          assertEquals([rich.topic, rich.dup, rich.properties[1]], ["never/rich", true, [38, ["a", "b"]]]);
          assertEquals([plain.topic, plain.dup, plain.properties[0][0]], ["never/plain", true, 2]);
          assertLessOrEqual(plain.properties[0][1], 1000);
          await end(second);

          told.length = 0;
          const third = await start(4);
          await until(third, () => said(4, /PUBLISH/).length >= 1, "the plain one");
          assertEquals(said(4, /PUBLISH/).map((line) => line.split(" ").slice(3)), [["never/plain", "2", "1"]]);
          await until(third, () => told.some(({ type }) => type === "dropped"), "what became of the other");
          const dropped = told.find((status) => status.type === "dropped");
          assert(dropped?.type === "dropped");
          assertEquals([dropped.topic, dropped.error.code], ["never/rich", "unsupported"]);
          await third.publish("never/later", "3", until1);
          await until(third, () => said(4, /PUBLISH/).length === 2, "the later one");
          await end(third);

          const fourth = await start(5);
          await until(fourth, () => said(5, /^2 PUBLISH/).length === 2, "both, as there is no session");
          const topics = said(5, /^2 PUBLISH/).map((line) => JSON.parse(line.replace(/^2 PUBLISH /, "")).topic);
          assertEquals(topics, ["never/plain", "never/later"]);
          await end(fourth);
        } finally {
          for (const broker of brokers) await broker.stop();
          rmSync(folder, { recursive: true, force: true });
        }
      })(),
      mode,
    ));

  test(
    `${mode}: [MQTT5-3.2.2-4] the broker has a session whose store is gone: it begins anew, and that is told`,
    needs("mosquitto"),
    () =>
      within(
        (async () => {
          const folder = mkdtempSync(join(tmpdir(), "mqtt3c-orphan-")), broker = await startMosquitto();
          const told: Status[] = [];
          const start = async (name: string) => {
            const store = fileStore(join(folder, name)), onstatus = (status: Status) => void told.push(status);
            return await open(broker.port, { version: 5, id: "S", session: 60, keepalive: 0, store, onstatus });
          };
          const connections = () =>
            told.flatMap((status) => status.type === "connected" ? [status.sessionPresent] : []);
          const lost = () => told.flatMap((status) => status.type === "store" ? [status.error.code] : []);
          const leave = async (mqtt: Mqtt) => {
            await new Scene(mqtt, broker.port).until(() => connections().length > 0, "connected");
            await mqtt.disconnect();
            return [connections(), lost()];
          };
          try {
            assertEquals(await leave(await start("one")), [[false], []]);
            told.length = 0;
            assertEquals(await leave(await start("one")), [[true], []], "its own");
            told.length = 0;
            assertEquals(await leave(await start("other")), [[false], ["sessionlost"]], "that of a store that is gone");
            told.length = 0;
            assertEquals(await leave(await start("other")), [[true], []], "its own");
          } finally {
            await broker.stop();
            rmSync(folder, { recursive: true, force: true });
          }
        })(),
        mode,
      ),
  );
}
