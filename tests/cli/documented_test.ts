/** docs/command_line.md is right: what it says to type works as it stands, and prints what is said. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assertEquals, assertGreater } from "@std/assert";
import { needs } from "../support/process.ts";
import { runShell, withMosquitto } from "./support.ts";

/** The repository, also from the copy of the tests that is built for Node. */
const here = join(import.meta.dirname!, "..", "..");
const root = here.endsWith("dist") ? join(here, "..") : here;
const page = readFileSync(join(root, "docs", "command_line.md"), "utf8");
const blocks = [...page.matchAll(/^```sh\n([^]*?)^```$(?:\n\n^```text\n([^]*?)^```$)?/gm)];

test(
  "docs/command_line.md: every command runs as it stands, and prints what is said",
  needs("mosquitto"),
  () =>
    withMosquitto({}, async ({ port }) => {
      const dir = mkdtempSync(join(tmpdir(), "mqtt3c-docs-"));
      assertGreater(blocks.length, 8);
      try {
        for (const [, script, output] of blocks) {
          // What has the broker's address in it needs the port of this one.
          const here = script!.replaceAll("-h localhost -t", `-h 127.0.0.1:${port} -t`)
            .replaceAll("//localhost", `//127.0.0.1:${port}`);
          const set = script!.includes("||") || script!.includes("| tail") ? "" : "set -e; ";
          const env = { MQTT_URL: `mqtt://127.0.0.1:${port}` };
          const { code, stdout, stderr } = await runShell(`${set}cd "$1"\n${here}`, [dir], env);
          assertEquals([code, stderr], [0, ""], `${script}${stdout}`);
          if (output !== undefined) assertEquals(stdout, output, script);
        }
      } finally {
        rmSync(dir, { recursive: true });
      }
    }),
);

test("docs/command_line.md: the commands and statuses of the table are those of the code", async () => {
  const { stdout } = await runShell("mqtt3c help");
  const commands = [...stdout.matchAll(/^ {2}(\w+) +[A-Z]/gm)].map(([, name]) => name);
  assertEquals(commands, ["sub", "pub", "request", "respond", "bench", "doctor"]);
  for (const name of commands) assertEquals(page.includes(`| \`${name}\``), true, name);
});
