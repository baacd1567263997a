import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { gzipSync } from "node:zlib";
import { dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { type BuildOptions, buildSync } from "esbuild";
import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { build } from "../../scripts/build.ts";
import { bunBinary, needs, run } from "../support/process.ts";
import { startAedes } from "../support/servers.ts";

const root = join(import.meta.dirname!, "..", "..");
const sources = JSON.stringify(join(root, "mod.ts"));

async function inFolder(act: (dir: string) => unknown): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-bundle-"));
  try {
    await act(dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Writes a program's bundle into a folder, and returns the bundle's file. */
type Bundler = (entry: string, out: string) => string | Promise<string>;

function esbuild(extension: string, options: BuildOptions): Bundler {
  return (entry, outdir) => {
    const outExtension = { ".js": extension };
    const logOverride = { "empty-import-meta": "silent" } as const;
    const entryPoints = { main: entry };
    buildSync({ entryPoints, outdir, outExtension, bundle: true, platform: "node", logOverride, ...options });
    return join(outdir, `main${extension}`);
  };
}

function bun(...options: string[]): Bundler {
  return async (entry, out) => {
    const file = join(out, "main");
    // Where it works it leaves a file when it is killed.
    const args = ["build", entry, "--outfile", file, ...options];
    const { code, stderr } = await run(await bunBinary(), args, { cwd: dirname(entry) });
    assertEquals(code, 0, stderr);
    return file;
  };
}

const esm = esbuild(".mjs", { format: "esm" });
const commonJs = esbuild(".cjs", { format: "cjs" });

/** Has a client without a thread, and a thread in each way there is, one over TLS: it prints what it receives; the module writes it to a file. */
const program = `
import { connect, connectSync, connectWorker } from "mqtt3c";
const [plain, secure, module] = process.argv.slice(-3);
async function main() {
  for (const [topic, open] of Object.entries({ loop: connect, worker: connectWorker })) {
    const mqtt = await open(plain, async (topic, message) => {
      console.log(topic, message.text());
      await mqtt.disconnect();
    });
    await mqtt.subscribe(topic);
    await mqtt.publish(topic, "hi");
    await mqtt.run();
  }

  const sync = connectSync(secure);
  sync.subscribe("sync");
  sync.publish("sync", "hi");
  const message = sync.receive(5000);
  console.log(message.topic, message.text());
  sync.disconnect();

  const other = await connectWorker(plain, new URL(module));
  await other.subscribe("module");
  const messages = other.messages("end");
  await other.publish("module", "hi");
  await other.publish("end", "bye");
  console.log((await messages.next()).value.text());
  await other.disconnect();
}
main();
`;
const onpub = `
import { writeFileSync } from "node:fs";
export default (topic, message) => writeFileSync(new URL("heard", import.meta.url), topic + " " + message);
`;

test("a bundle of the npm package has the threads' code in it", needs("node"), (t) =>
  inFolder(async (dir) => {
    const mqtt3c = join(dir, "from", "node_modules", "mqtt3c");
    await build(join(mqtt3c, "dist"));
    cpSync(join(root, "package.json"), join(mqtt3c, "package.json"));
    const entry = join(dir, "from", "main.ts"), module = join(dir, "onpub.mjs");
    writeFileSync(module, onpub);
    const [plain, secure] = [await startAedes(), await startAedes({ tls: true })];
    const args = [`mqtt://127.0.0.1:${plain.port}`, `mqtts://127.0.0.1:${secure.port}`, pathToFileURL(module).href];

    async function runs(command: string, ...before: string[]): Promise<void> {
      const ended = await run(command, [...before, ...args], { cwd: dir, env: { NO_COLOR: "1" } });
      assertEquals(ended, { code: 0, stdout: "loop hi\nworker hi\nsync hi\nbye\n", stderr: "" });
      assertEquals(readFileSync(join(dir, "heard"), "utf8"), "module hi");
      rmSync(join(dir, "heard"));
    }
    const deno = ["run", "-q", "--no-prompt", "--allow-net=127.0.0.1", `--allow-read=${dir}`, `--allow-write=${dir}`];
    const split = esbuild(".mjs", { format: "esm", splitting: true, minify: true });
    const bundles: [string, Bundler, (file: string) => Promise<unknown>][] = [
      ["esbuild, on Node", esm, (file) => runs("node", file)],
      ["esbuild, on Node, as a module given as text", esm, (file) => {
        return runs("node", "--input-type=module", "--eval", `import ${JSON.stringify(file)}`);
      }],
      ["esbuild, on Deno", esm, (file) => runs(process.execPath, ...deno, file)],
      ["esbuild, CommonJS, on Node", commonJs, (file) => runs("node", file)],
      ["esbuild, minified and split, on Node", split, (file) => runs("node", file)],
      ["bun build", bun("--target=bun"), async (file) => runs(await bunBinary(), file)],
      ["bun build, CommonJS", bun("--target=bun", "--format=cjs"), async (file) => runs(await bunBinary(), file)],
      ["bun build --compile", bun("--compile", "--minify"), (file) => runs(file)],
    ];
    try {
      for (const [name, bundler, act] of bundles) {
        await t.test(name, async () => {
          writeFileSync(entry, program);
          await act(await bundler(entry, join(dir, name)));
        });
      }
      await t.test("unless it has connect only", async () => {
        writeFileSync(entry, `import { connect } from "mqtt3c"; console.log(connect);`);
        hasNoThread(await esm(entry, join(dir, "connect")));
      });
    } finally {
      await Promise.all([plain.stop(), secure.stop()]);
    }
  }));

function hasNoThread(file: string): void {
  const bundle = readFileSync(file, "utf8");
  for (const word of ["worker_threads", "SharedArrayBuffer", "startRelay"]) {
    assert(!bundle.includes(word), `${word} is in the bundle`);
  }
  assert(bundle.includes("LoopClient"));
}

test("a bundle of mod.ts with connect only has nothing of the threads in it", () =>
  inFolder(async (dir) => {
    writeFileSync(join(dir, "main.ts"), `import { connect } from ${sources}; console.log(connect);`);
    hasNoThread(await esm(join(dir, "main.ts"), join(dir, "out")));
  }));

test(
  "a bundle of mod.ts with a thread says at once what to do, and starts none",
  needs("node"),
  (t) =>
    inFolder(async (dir) => {
      writeFileSync(
        join(dir, "main.ts"),
        `import { connectSync, connectWorker } from ${sources};
      const start = performance.now();
      const tell = (error) => console.log(error.name + ": " + error.message);
      console.log("started");
      try { connectSync("127.0.0.1"); } catch (error) { tell(error); }
      connectWorker("127.0.0.1", undefined, { reconnect: true }).catch(tell)
        .then(() => console.log(performance.now() - start < 1000 ? "at once" : "late"));`,
      );
      const bundles: [string, Bundler, () => string | Promise<string>][] = [
        ["esbuild", esm, () => "node"],
        ["esbuild, CommonJS", commonJs, () => "node"],
        ["bun build", bun("--target=bun"), bunBinary],
      ];
      for (const [name, bundler, command] of bundles) {
        await t.test(name, async () => {
          const file = await bundler(join(dir, "main.ts"), join(dir, name));
          const { code, stdout, stderr } = await run(await command(), [file]);
          const error = "TypeError: Cannot start a thread as a bundle of mqtt3c's sources has no code for it: " +
            "bundle the npm package mqtt3c instead, or leave mod.ts out of the bundle (external)\n";
          assertEquals({ code, stdout, stderr }, { code: 0, stdout: `started\n${error}${error}at once\n`, stderr: "" });
        });
      }
    }),
);

/** A bundle for pages; no external module is allowed, so one of node: would fail it. */
function forPages(code: string, mqtt3c: string): { text: string; zipped: number } {
  const { outputFiles } = buildSync({
    stdin: { contents: code.replace('"mqtt3c"', JSON.stringify(mqtt3c)), resolveDir: root },
    bundle: true,
    format: "esm",
    platform: "browser",
    minify: true,
    write: false,
  });
  const { text, contents } = outputFiles[0]!;
  return { text, zipped: gzipSync(contents, { level: 9 }).length };
}

test("a bundle of browser.ts needs no other module, has nothing of threads, files and sockets, and is small", () => {
  const browser = join(root, "browser.ts");
  const small = forPages(`export { connect } from "mqtt3c"`, browser);
  const all = forPages(`export * from "mqtt3c"`, browser);
  for (const word of ["node:", "worker_threads", "process.", "readwrite", "setImmediate"]) {
    assert(!small.text.includes(word), `${word} is in the bundle`);
  }
  assert(all.text.includes("readwrite"));
  assertLess(small.zipped, 55_500);
  assertLess(all.zipped, 58_100);
});

test("a bundle for pages of the npm package is that of browser.ts; what a page cannot have is told when it is made", () =>
  inFolder(async (dir) => {
    const mqtt3c = join(dir, "node_modules", "mqtt3c");
    await build(join(mqtt3c, "dist"));
    cpSync(join(root, "package.json"), join(mqtt3c, "package.json"));
    const bundle = (contents: string) =>
      buildSync({
        ...{ bundle: true, format: "esm", platform: "browser", write: false, logLevel: "silent" },
        stdin: { contents, resolveDir: dir },
      });
    for (const name of ["mqtt3c", "mqtt3c/browser"]) {
      const { outputFiles } = bundle(`import { connect } from "${name}"; console.log(connect);`);
      assert(outputFiles![0]!.text.includes("PageSocket"));
    }
    for (const name of ["connectSync", "fileStore"]) {
      assertThrows(() => bundle(`import { ${name} } from "mqtt3c"; console.log(${name});`), Error, `"${name}"`);
    }
  }));
