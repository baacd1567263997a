import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { serveWebSocket } from "../support/aedes_websocket.ts";
import { run } from "../support/process.ts";
import { startAedes } from "../support/servers.ts";

const root = join(import.meta.dirname!, "..", "..");

const programs = {
  connectWorker: `
    const mqtt = await connectWorker(url, async (topic, message) => {
      console.log(topic, message.text());
      await mqtt.disconnect();
    });
    await mqtt.subscribe("a/b");
    await mqtt.publish("a/b", "hi");
    console.log((await mqtt.run()).code);`,
  // Nothing is loaded but what mod.ts has imported: this thread sleeps while the other one starts.
  connectSync: `
    const mqtt = connectSync(url, (topic, message) => {
      console.log(topic, message.text());
      mqtt.disconnect();
    });
    mqtt.subscribe("a/b");
    mqtt.publish("a/b", "hi");
    console.log(mqtt.run().code);`,
};

const ways = Object.entries(programs).flatMap(([mode, program]) =>
  ["mqtt", "ws"].map((scheme) => ({ mode, program, scheme }))
);

for (const { mode, program, scheme } of ways) {
  test(`${mode} over ${scheme}: starts its thread from mod.ts imported by http, with an empty cache`, async () => {
    const dir = mkdtempSync(join(tmpdir(), "mqtt3c-http-"));
    const broker = await startAedes(), web = await serveWebSocket(broker.broker);
    const { port } = scheme === "ws" ? web : broker;
    const server = createServer((request, response) => {
      if (!/^\/(mod\.ts|src\/[\w/]+\.ts)$/.test(request.url ?? "")) return response.writeHead(404).end();
      response.setHeader("content-type", "application/typescript").end(readFileSync(join(root, request.url!)));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const head = `import { ${mode} } from "http://${host}/mod.ts"; const url = "${scheme}://127.0.0.1:${port}";`;
      writeFileSync(join(dir, "main.ts"), head + program);
      const args = ["run", "-q", "--no-prompt", "--allow-net=127.0.0.1", `--allow-import=${host}`, "main.ts"];
      const { code, stdout, stderr } = await run(process.execPath, args, {
        cwd: dir,
        env: { DENO_DIR: join(dir, "cache"), NO_COLOR: "1" },
      });
      assertEquals({ code, stdout, stderr }, { code: 0, stdout: "a/b hi\ndisconnect\n", stderr: "" });
    } finally {
      await new Promise((resolve) => server.close(resolve));
      await web.stop();
      await broker.stop();
      rmSync(dir, { recursive: true, force: true });
    }
  });
}
