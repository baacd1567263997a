/** What `deno task pack` makes works where it is to work: installed in an empty folder, or imported by URL. */
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import ts from "typescript";
import { assert, assertEquals, assertMatch } from "@std/assert";
import * as source from "../../mod.ts";
import { pack, type Packed } from "../../scripts/pack.ts";
import { type Registry, startRegistry } from "../support/npm_registry.ts";
import { bunBinary, needs, run } from "../support/process.ts";
import { type Server, startAedes } from "../support/servers.ts";

const root = join(import.meta.dirname!, "..", "..");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { name: string; version: string };

const readme = readFileSync(join(root, "README.md"), "utf8");
/** The lines of the README that install the tarball. */
const installs = readme.match(/^(npm|bun) .*\.tgz$/gm)!;
/** Its whole program, what that prints, and the lines that run it. */
const [, hello, output] = /^```ts\n([^]*?)```\n\n```text\n([^]*?)```$/m.exec(readme)!;
const runs = readme.match(/^(node|bun|deno) .*\bhello\.mjs$/gm)!;

/** Runs each mode once against the broker that is given, with the names of the package as `mqtt3c`. */
const modes = `
async function main(url, module) {
  console.log(Object.keys(mqtt3c).filter((name) => name !== "default" && name !== "__esModule").sort().join());
  console.log(mqtt3c.MqttError.name); // Node shows it of an uncaught one
  for (const open of [mqtt3c.connect, mqtt3c.connectWorker]) {
    const mqtt = await open(url, async (topic, message) => {
      console.log(open.name, topic, message.text());
      await mqtt.disconnect();
    });
    await mqtt.subscribe("a/b");
    await mqtt.publish("a/b", "hi");
    await mqtt.run();
  }
  const sync = mqtt3c.connectSync(url);
  sync.subscribe("a/b");
  sync.publish("a/b", "hi");
  const message = sync.receive(5000);
  console.log("connectSync", message.topic, message.text());
  sync.disconnect();

  const mqtt = await mqtt3c.connectWorker(url, new URL(module));
  const answers = mqtt.messages("answer");
  const first = answers.next();
  await mqtt.subscribe("question");
  await mqtt.publish("question", "hi");
  console.log("module", (await first).value.text());
  await mqtt.disconnect();
}
main(...process.argv.slice(-2));
`;
const esm = (from: string) => `import process from "node:process"; import * as mqtt3c from "${from}";${modes}`;
const commonJs = `const mqtt3c = require("mqtt3c");${modes}`;
const printed = `${
  Object.keys(source).sort().join()
}\nMqttError\nconnect a/b hi\nconnectWorker a/b hi\nconnectSync a/b hi\nmodule hi\n`;

/** Hears the question in its thread, and answers with a client of its own. */
const answering = (from: string, url: string) => `
import { connect } from "${from}";
export default async (topic, message) => {
  const mqtt = await connect("${url}");
  await mqtt.publish("answer", message.text());
  await mqtt.disconnect();
};`;

const typed = `
import { connect, type Client, type ConnectOptions, Message, MqttError } from "mqtt3c";
const options: ConnectOptions = { port: 1883, will: { topic: "t", message: "m" } };
async function main(): Promise<void> {
  const mqtt: Client = await connect("localhost", (topic: string, message: Message) => console.log(topic, message.text()), options);
  const granted: number = await mqtt.subscribe("#");
  for await (const { payload } of mqtt.messages("#")) console.log(granted, payload.length);
  const end: MqttError = await mqtt.run();
  console.log(end.code);
  // @ts-expect-error a topic is a string
  mqtt.publish(1, "");
}
main();
`;

describe("what is published", needs("npm", "node"), () => {
  let dir: string, user: string, packed: Packed, registry: Registry, broker: Server, args: string[];
  const env = () => ({
    ...registry.env,
    npm_config_cache: join(dir, "npm"),
    BUN_INSTALL_CACHE_DIR: join(dir, "bun"),
    DENO_DIR: join(dir, "deno"),
    NO_COLOR: "1",
  });

  /** Whether a program in all modes did what it is to do, and nothing warned of anything. */
  async function works(command: string, args: string[], cwd: string = user): Promise<void> {
    const ended = await run(command, args, { cwd, env: env(), deadline: 60_000 });
    assertEquals(ended, { code: 0, stdout: printed, stderr: "" }, `${command} ${args.join(" ")}`);
  }

  async function ok(command: string, args: string[], cwd: string = user): Promise<string> {
    const { code, stdout, stderr } = await run(command, args, { cwd, env: env(), deadline: 60_000 });
    assertEquals(code, 0, `${command} ${args.join(" ")}\n${stdout}${stderr}`);
    return stdout;
  }

  before(async () => {
    dir = realpathSync(mkdtempSync(join(tmpdir(), "mqtt3c-package-")));
    user = join(dir, "user");
    mkdirSync(user);
    packed = await pack(join(dir, "packed"));
    registry = await startRegistry(packed.tarball, manifest);
    broker = await startAedes();
    copyFileSync(packed.tarball, join(user, basename(packed.tarball)));
    await ok("sh", ["-c", installs.find((line) => line.startsWith("npm "))!]);
    const url = `mqtt://127.0.0.1:${broker.port}`, module = join(user, "module.mjs");
    writeFileSync(module, answering("mqtt3c", url));
    args = [url, pathToFileURL(module).href];
    writeFileSync(join(user, "program.mjs"), esm("mqtt3c"));
    writeFileSync(join(user, "program.cjs"), commonJs);
  });

  after(async () => {
    await broker?.stop();
    await registry?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("package: has one module and one file of types for each entry, the command, and what a person reads", () => {
    assertEquals(
      packed.files.sort(),
      [
        ...["CHANGELOG.md", "LICENSE", "README.md"],
        ...["dist/browser.d.ts", "dist/browser.js", "dist/cli/main.js", "dist/mod.d.ts", "dist/mod.js"],
        "package.json",
      ],
    );
  });

  test("package: Node imports it, and every mode works", async () => {
    await works("node", ["program.mjs", ...args]);
  });

  test("package: Node requires it", async () => {
    await works("node", ["program.cjs", ...args]);
  });

  test("package: Bun imports it, and requires it", async () => {
    for (const program of ["program.mjs", "program.cjs"]) {
      await works(await bunBinary(), [program, ...args]);
    }
  });

  test("package: Bun installs it as the README says", async () => {
    const folder = mkdtempSync(join(dir, "bun-")), bin = join(dir, "bin");
    mkdirSync(bin);
    symlinkSync(await bunBinary(), join(bin, "bun"));
    copyFileSync(packed.tarball, join(folder, basename(packed.tarball)));
    for (const file of ["program.mjs", "module.mjs"]) copyFileSync(join(user, file), join(folder, file));
    await ok("sh", ["-c", `PATH="$0:$PATH"; ${installs.find((line) => line.startsWith("bun "))}`, bin], folder);
    await works("node", ["program.mjs", args[0]!, pathToFileURL(join(folder, "module.mjs")).href], folder);
  });

  test("package: the whole program of the README runs where it is installed, by each of its lines", async () => {
    writeFileSync(join(user, "hello.mjs"), hello!.replace(`"localhost"`, JSON.stringify(args[0])));
    const commands: Record<string, string> = { node: "node", bun: await bunBinary(), deno: process.execPath };
    assertEquals(runs.length, 3);
    for (const line of runs) {
      const [name, ...rest] = line.split(" ");
      assertEquals(await ok(commands[name!]!, rest), output, line);
    }
  });

  test("package: Deno imports what npm has installed", async () => {
    await works(process.execPath, ["run", "-q", "-A", "program.mjs", ...args]);
  });

  test("package: Deno takes npm:mqtt3c, and has its types", async () => {
    const folder = mkdtempSync(join(dir, "npm-"));
    writeFileSync(join(folder, "module.mjs"), answering(`npm:mqtt3c@${manifest.version}`, args[0]!));
    writeFileSync(join(folder, "program.mjs"), esm("npm:mqtt3c"));
    const module = pathToFileURL(join(folder, "module.mjs")).href;
    await works(process.execPath, ["run", "-q", "-A", "program.mjs", args[0]!, module], folder);
    writeFileSync(join(folder, "typed.ts"), typed.replace(`"mqtt3c"`, `"npm:mqtt3c"`));
    await ok(process.execPath, ["check", "-q", "typed.ts"], folder);
  });

  test("package: its command runs by npx, bunx and deno run", async () => {
    const bun = await bunBinary(), broker = ["-L", args[0]!];
    assertEquals(await ok("npx", ["mqtt3c", "--version"]), `${manifest.version}\n`);
    await ok("npx", ["mqtt3c", "pub", ...broker, "-t", "kept", "-m", "hi", "-q", "1", "-r"]);
    const subscribe = ["sub", ...broker, "-t", "kept", "-v", "-C", "1"];
    assertEquals(await ok(bun, ["x", "mqtt3c", ...subscribe]), "kept hi\n");
    assertEquals(await ok(process.execPath, ["run", "-q", "-A", "npm:mqtt3c", ...subscribe], dir), "kept hi\n");
  });

  test("package: its types resolve in TypeScript, from modules and CommonJS, for Node, bundlers and pages", async (t) => {
    for (const name of ["typed.mts", "typed.cts"]) writeFileSync(join(user, name), typed);
    const { Node16, NodeNext, ESNext } = ts.ModuleKind, { Bundler } = ts.ModuleResolutionKind;
    const node = { lib: ["lib.es2022.d.ts", "lib.esnext.disposable.d.ts"], types: ["node"] };
    const page = { lib: [...node.lib, "lib.dom.d.ts"], types: [], customConditions: ["browser"] };
    const ways: [name: string, file: string, options: ts.CompilerOptions, errors?: number[]][] = [
      ["node16", "typed.mts", { ...node, module: Node16 }],
      ["node16, which does not let CommonJS require modules", "typed.cts", { ...node, module: Node16 }, [1479]],
      ["nodenext, which lets CommonJS require modules", "typed.cts", { ...node, module: NodeNext }],
      ["bundler", "typed.mts", { ...node, module: ESNext, moduleResolution: Bundler }],
      ["bundler, for pages, without the types of Node", "typed.mts", {
        ...page,
        module: ESNext,
        moduleResolution: Bundler,
      }],
    ];
    const { ES2022 } = ts.ScriptTarget, typeRoots = [join(root, "node_modules", "@types")];
    const common = { noEmit: true, strict: true, exactOptionalPropertyTypes: true, target: ES2022, typeRoots };
    for (const [name, file, options, errors = []] of ways) {
      await t.test(name, () => {
        const program = ts.createProgram([join(user, file)], { ...common, ...options });
        // The declarations of the package are checked, too; those of Node and the language are not ours.
        const ours = program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(user));
        assertEquals(ours.map(({ fileName }) => basename(fileName)).sort(), [
          "customConditions" in options ? "browser.d.ts" : "mod.d.ts",
          file,
        ]);
        const wrong = [
          ...program.getOptionsDiagnostics(),
          ...program.getGlobalDiagnostics(),
          ...ours.flatMap((
            file,
          ) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]),
        ];
        const told = wrong.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n")).join("\n");
        assertEquals(wrong.map(({ code }) => code), errors, told);
      });
    }
  });

  test("package: Vite makes a page of it, in which nothing is of Node", async () => {
    const page = join(user, "page");
    mkdirSync(page);
    writeFileSync(join(page, "index.html"), `<!doctype html><script type="module" src="main.js"></script>`);
    writeFileSync(join(page, "main.js"), `import { connect } from "mqtt3c"; connect("wss://broker.example");`);
    const vite = join(dirname(createRequire(import.meta.url).resolve("vite/package.json")), "bin", "vite.js");
    await ok("node", [vite, "build", "--logLevel", "warn"], page);
    const [file, ...others] = readdirSync(join(page, "dist", "assets"));
    assertEquals(others, []);
    const code = readFileSync(join(page, "dist", "assets", file!), "utf8");
    for (const word of ["node:", "browser-external", "worker_threads"]) assert(!code.includes(word), word);
    assertMatch(code, /new WebSocket\(/);
  });

  test("one module: Node and Bun import it by path, Deno by URL with its types; every mode works", async () => {
    const folder = mkdtempSync(join(dir, "url-")), program = join(folder, "program.mjs");
    const asked: string[] = [];
    const server = createServer((request, response) => {
      const name = request.url!.slice(1);
      asked.push(name);
      if (!/^mqtt3c\.(js|d\.ts)$/.test(name)) return response.writeHead(404).end();
      const type = name.endsWith(".js") ? "text/javascript" : "application/typescript";
      response.setHeader("content-type", type).end(readFileSync(join(dirname(packed.module), name)));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`, url = `http://${host}/mqtt3c.js`;
    try {
      const module = join(folder, "module.mjs"), given = [args[0]!, pathToFileURL(module).href];
      writeFileSync(module, answering(pathToFileURL(packed.module).href, args[0]!));
      writeFileSync(program, esm(pathToFileURL(packed.module).href));
      for (const command of ["node", await bunBinary()]) await works(command, [program, ...given]);

      writeFileSync(module, answering(url, args[0]!));
      writeFileSync(program, esm(url));
      const allowed = ["--no-prompt", "--allow-net=127.0.0.1", `--allow-import=${host}`, `--allow-read=${folder}`];
      await works(process.execPath, ["run", "-q", ...allowed, program, ...given], folder);
      assertEquals([...new Set(asked)], ["mqtt3c.js"], "nothing else is needed");
      writeFileSync(join(folder, "typed.ts"), typed.replace(`"mqtt3c"`, `"${url}"`));
      await ok(process.execPath, ["check", "-q", `--allow-import=${host}`, "typed.ts"], folder);
      assertEquals([...new Set(asked)], ["mqtt3c.js", "mqtt3c.d.ts"]);
    } finally {
      await new Promise((resolve) => (server.close(resolve), server.closeAllConnections()));
    }
  });
});
