/** Unix sockets: what is told when there is none, or none that can be used. */
import { test } from "node:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { run } from "../support/process.ts";
import { command } from "../support/spawn.ts";
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

test("a Unix socket that this user may not write to is told as such, in every mode", () =>
  inFolder(async (folder) => {
    const path = join(folder, "mqtt.sock"), server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      chmodSync(path, 0);
      // Root may write to every file, unless that right is taken from it.
      const isRoot = process.getuid?.() === 0;
      const [script, args] = command("tests/client/denied.ts", [`unix://${path}`]);
      const { stdout, stderr } = isRoot
        ? await run("setpriv", ["--bounding-set=-dac_override,-dac_read_search", script, ...args])
        : await run(script, args);
      const said = `cannotconnect: Cannot connect to the Unix socket ${path}: ` +
        "the file's permissions do not let this user write to it";
      assertEquals(stdout.trim().split("\n"), modes.map(([mode]) => `${mode}: ${said}`), stderr);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  }));
