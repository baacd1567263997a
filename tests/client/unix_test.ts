/** Unix sockets: reconnecting in every mode, and what is told when there is none. */
import { test } from "node:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Status } from "../../mod.ts";
import { needs, run } from "../support/process.ts";
import { startMosquitto } from "../support/servers.ts";
import { modes as qosModes, Scene } from "./qos_scene.ts";
import { modes } from "./modes.ts";
import { failure } from "./support.ts";

async function inFolder(act: (folder: string) => unknown): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "mqtt3c-unix-"));
  try {
    await act(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

for (const [mode, open] of modes) {
  test(`${mode}: a Unix socket that is not there, is none, or has nobody behind it is told as such`, () =>
    inFolder(async (folder) => {
      const file = join(folder, "file"), dead = join(folder, "dead");
      writeFileSync(file, "");
      // A socket whose server has ended without removing it.
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(dead, resolve));
      await run("ln", [dead, join(folder, "kept")]);
      await new Promise((resolve) => server.close(resolve));
      const rows: [string, RegExp][] = [
        [join(folder, "none"), /there is no such file: is a server running\?/],
        [join(folder, "none", "none"), /there is no such file/],
        [file, /no server listens there|the file is no socket/],
        [join(folder, "kept"), /no server listens there/],
      ];
      for (const [path, message] of rows) {
        const error = await failure(open(`unix://${path}`, undefined, { timeout: 3000 }));
        assertEquals(error.code, "cannotconnect", error.message);
        assertStringIncludes(error.message, `Cannot connect to the Unix socket ${path}: `);
        assertMatch(error.message, message);
        assert(error.cause instanceof Error);
      }
    }));
}

for (const [mode, open] of qosModes) {
  test(
    `${mode}: over a Unix socket, the broker restarts: the client is back, messages pass`,
    needs("mosquitto"),
    () =>
      inFolder(async (folder) => {
        const path = join(folder, "mqtt.sock"), config = `listener 0 ${path}`;
        let broker = await startMosquitto({ config });
        const { port } = broker, statuses: Status[] = [];
        try {
          const mqtt = await open(port, {
            reconnect: { minDelay: 20, maxDelay: 50 },
            onstatus: (status: Status) => statuses.push(status),
          }, `unix://${path}`);
          const scene = new Scene(mqtt, port);
          await scene.subscribe("a", 1);
          await mqtt.publish("a", "before", { qos: 1 });
          await scene.until(() => scene.got.length === 1, "a message");
          await broker.stop();
          broker = await startMosquitto({ port, config });
          assertEquals(await mqtt.publish("a", "after", { qos: 1 }), 0);
          await scene.until(
            () => scene.texts.includes("after 1") || scene.got.length > 1,
            "a message of the new broker",
          );
          await mqtt.disconnect();
          const connecting = statuses.find(({ type }) => type === "connecting");
          assertEquals(connecting?.type === "connecting" && connecting.address, `unix:${path}`);
        } finally {
          await broker.stop();
        }
      }),
  );
}
