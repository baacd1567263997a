/** The broker restarts: every mode is back over a Unix socket and WebSockets, too. Over TCP much more of that is tested. */
import { test } from "node:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assertEquals } from "@std/assert";
import type { Status } from "../../mod.ts";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { freePort, startMosquitto, untilAccepts } from "../support/servers.ts";
import { modes, Scene } from "./qos_scene.ts";

/** Where a broker listens, and how that is said to mosquitto and to the client. */
interface Door {
  /** Its address, as status has it. */
  address: string;
  url: string;
  config: string[];
  /** It opens its ports one after the other. */
  port?: number;
}

const doors: Record<string, (folder: string) => Door> = {
  "a Unix socket": (folder) => {
    const path = join(folder, "mqtt.sock");
    return { address: `unix:${path}`, url: `unix://${path}`, config: [`listener 0 ${path}`] };
  },
  "a WebSocket": () => {
    const port = freePort(), url = `ws://127.0.0.1:${port}`;
    return { address: `127.0.0.1:${port}`, url, config: [`listener ${port} 127.0.0.1`, "protocol websockets"], port };
  },
  "a WebSocket over TLS": () => {
    const port = freePort(), { caFile, server: { certFile, keyFile } } = certificates();
    return {
      address: `localhost:${port}`,
      url: `wss://localhost:${port}`,
      config: [
        `listener ${port} 127.0.0.1`,
        "protocol websockets",
        `cafile ${caFile}`,
        `certfile ${certFile}`,
        `keyfile ${keyFile}`,
      ],
      port,
    };
  },
};

for (const [name, makeDoor] of Object.entries(doors)) {
  for (const [mode, open] of modes) {
    test(
      `${mode}: over ${name}, the broker restarts: the client is back, messages pass`,
      needs("mosquitto", "openssl"),
      async () => {
        const folder = mkdtempSync(join(tmpdir(), "mqtt3c-restart-")), door = makeDoor(folder), statuses: Status[] = [];
        const start = async (port?: number) => {
          const broker = await startMosquitto({ ...port && { port }, config: door.config.join("\n") });
          if (door.port !== undefined) await untilAccepts(door.port);
          return broker;
        };
        let broker = await start();
        try {
          const op = {
            ...door.url.startsWith("wss:") && { tls: { ca: certificates().ca } },
            reconnect: { minDelay: 20, maxDelay: 50 },
            onstatus: (status: Status) => statuses.push(status),
          };
          const mqtt = await open(broker.port, op, door.url), scene = new Scene(mqtt, broker.port);
          await scene.subscribe("a", 1);
          await mqtt.publish("a", "before", { qos: 1 });
          await scene.until(() => scene.texts.includes("before 1"), "a message");
          await broker.stop();
          broker = await start(broker.port);
          assertEquals(await mqtt.publish("a", "after", { qos: 1 }), 0);
          await scene.until(() => scene.texts.includes("after 1"), "a message of the new broker");
          await mqtt.disconnect();
          const connecting = statuses.find(({ type }) => type === "connecting");
          assertEquals(connecting?.type === "connecting" && connecting.address, door.address);
        } finally {
          await broker.stop();
          rmSync(folder, { recursive: true, force: true });
        }
      },
    );
  }
}
