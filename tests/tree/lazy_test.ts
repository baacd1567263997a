/** What only some programs need is loaded by those only. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { buildSync } from "esbuild";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { bunBinary, needs, run } from "../support/process.ts";
import { startAedes } from "../support/servers.ts";

const root = join(import.meta.dirname!, "..", "..");

test("mod.ts imports no module of node: before that is needed", () => {
  const entryPoints = [join(root, "mod.ts")];
  const { metafile } = buildSync({
    entryPoints,
    bundle: true,
    platform: "node",
    format: "esm",
    write: false,
    metafile: true,
  });
  const external = Object.values(metafile.outputs).flatMap(({ imports }) => imports.filter(({ external }) => external));
  assertEquals(external.filter(({ kind }) => kind !== "dynamic-import"), []);
  assert(external.length > 0);
});

const program = (mqtt3c: string, modes: string) => `
import process from "node:process";
import { ${modes} } from ${JSON.stringify(mqtt3c)};
const [where] = process.argv.slice(2);
for (const open of [${modes}]) {
  const mqtt = await open(where).catch((error) => console.log(String(error.message ?? error)));
  await mqtt?.subscribe("a");
  await mqtt?.disconnect();
}
console.log("done");
process.exit();
`;

test("a program that connects over TCP loads nothing of WebSockets, one with ws: does", needs("node"), async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-lazy-")), broker = await startAedes();
  try {
    // In this copy, whoever loads it fails.
    for (const part of ["mod.ts", "src"]) cpSync(join(root, part), join(dir, part), { recursive: true });
    const files = readdirSync(join(dir, "src", "transport")).filter((name) => name.startsWith("websocket"));
    assertEquals(files.length, 4);
    for (const file of files) {
      const path = join(dir, "src", "transport", file);
      writeFileSync(path, `${readFileSync(path, "utf8")}\nthrow new Error("loaded");\n`);
    }
    const main = join(dir, "main.ts");
    writeFileSync(main, program("./mod.ts", "connect, connectWorker"));
    // As the npm package is built: one file, in which it is evaluated when it is asked for.
    const entry = join(dir, "entry.ts"), built = join(dir, "main.mjs");
    writeFileSync(entry, program("./mod.ts", "connect"));
    buildSync({ entryPoints: [entry], outfile: built, bundle: true, platform: "node", format: "esm" });
    const commands: [string, string, string[]][] = [
      ["Deno", process.execPath, ["run", "-q", "-A", "--no-check", main]],
      ["Bun", await bunBinary(), [main]],
      ["Node, built", "node", [built]],
    ];
    for (const [name, command, args] of commands) {
      await t.test(name, async () => {
        const tcp = await run(command, [...args, `mqtt://127.0.0.1:${broker.port}`], { cwd: dir });
        assertEquals([tcp.code, tcp.stdout], [0, "done\n"], tcp.stderr);
        const web = await run(command, [...args, `ws://127.0.0.1:${broker.port}`], { cwd: dir });
        assertStringIncludes(web.stdout, "loaded");
        assert(web.stdout.endsWith("done\n"), web.stdout + web.stderr);
      });
    }
  } finally {
    await broker.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
