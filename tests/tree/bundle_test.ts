import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { bunBinary, needs, run } from "../support/process.ts";

const mod = JSON.stringify(join(import.meta.dirname!, "..", "..", "mod.ts"));

async function inBundle(code: string, look: (file: string) => unknown): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-bundle-"));
  try {
    writeFileSync(join(dir, "main.ts"), code);
    const args = ["build", "--target=node", "--outfile", join(dir, "bundle.mjs"), join(dir, "main.ts")];
    const { code: status, stderr } = await run(await bunBinary(), args);
    assertEquals(status, 0, stderr);
    await look(join(dir, "bundle.mjs"));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test("a bundle of connect has nothing of the worker in it", () =>
  inBundle(`import { connect } from ${mod}; console.log(connect);`, (file) => {
    const bundle = readFileSync(file, "utf8");
    for (const word of ["worker_threads", "SharedArrayBuffer", "mqtt3cRelay", "src/worker"]) {
      assert(!bundle.includes(word), `${word} is in the bundle`);
    }
    assertStringIncludes(bundle, "class LoopClient");
  }));

test(
  "a bundle of connectWorker says why it cannot work, and does not start itself again",
  needs("node"),
  () =>
    inBundle(
      `import { connectWorker } from ${mod};
     console.log("started");
     console.log(await connectWorker("127.0.0.1").catch((error) => error.code + ": " + error.message));`,
      async (file) => {
        const { stdout, code } = await run("node", [file]);
        const [first, second, ...others] = stdout.trim().split("\n");
        assertEquals([first, others, code], ["started", [], 0]);
        assertStringIncludes(second!, "socketclosed: The connection is lost: its thread crashed");
        assertStringIncludes(second!, "mqtt3cRelay");
      },
    ),
);
