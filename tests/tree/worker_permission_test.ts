import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { run } from "../support/process.ts";

const mod = JSON.stringify(join(import.meta.dirname!, "..", "..", "mod.ts"));

/** Each mode's failure, and whether it came at once. */
const program = `
  import { connectSync, connectWorker } from ${mod};
  const start = performance.now();
  const tell = ({ code, message }) => console.log(code, performance.now() - start < 5000, message.split("\\n")[0]);
  try { connectSync("127.0.0.1"); } catch (error) { tell(error); }
  await connectWorker("127.0.0.1").catch(tell);`;

test("a thread that may not read its own code says so at once, also to a client that sleeps", async () => {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-permission-"));
  try {
    writeFileSync(join(dir, "main.js"), program);
    const args = ["run", "-q", "--no-prompt", "--allow-net=127.0.0.1", join(dir, "main.js")];
    const { code, stdout } = await run(process.execPath, args, { env: { NO_COLOR: "1" } });
    const lines = stdout.trim().split("\n");
    assertEquals([code, lines.length], [0, 2]);
    for (const line of lines) {
      assertMatch(
        line,
        /^socketclosed true The connection's thread did not start: Requires read access to .*--allow-read/,
      );
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});
