/** The README and the pages of docs/ are right: their programs run as they stand, and the tables are complete. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { build } from "../../scripts/build.ts";
import { serveWebSocket } from "../support/aedes_websocket.ts";
import { certificates } from "../support/certificates.ts";
import { bunBinary, needs, run, which } from "../support/process.ts";
import { startAedes, startMicrosocks, startMosquitto } from "../support/servers.ts";

const root = join(import.meta.dirname!, "..", "..");
const read = (file: string) => readFileSync(join(root, file), "utf8");
const readme = read("README.md");
const manifest = JSON.parse(read("package.json")) as { name: string; version: string };

interface Block {
  /** Where it is. */
  name: string;
  language: string;
  code: string;
  /** What is said to be its output, right behind it. */
  output: string | undefined;
}

function blocksOf(page: string): Block[] {
  const text = read(page);
  return [...text.matchAll(/^```(\w*)[^\n]*\n([^]*?)^```$/gm)].map((match) => {
    const output = /\n\n```text\n([^]*?)```\n/y;
    output.lastIndex = match.index + match[0].length;
    const name = `${page} line ${text.slice(0, match.index).split("\n").length}`;
    return { name, language: match[1]!, code: match[2]!, output: output.exec(text)?.[1] };
  });
}

const blocks = blocksOf("README.md");
const pages = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`);
/** Those of ours, and, as js, those of a peer. */
const programs = [...blocks, ...pages.flatMap(blocksOf)].filter(({ language }) => /^[jt]s$/.test(language));
/** Those that do not need a browser. */
const running = programs.filter(({ code }) => !code.includes(`from "${manifest.name}/browser";`));

async function inFolder(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-readme-"));
  try {
    await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The folder of somebody who did what the README says for Deno: an import map; the path is this tree's. */
function denoFolder(dir: string): string {
  const config = JSON.parse(blocks.find(({ language }) => language === "json")!.code);
  const { [manifest.name]: path } = config.imports;
  assertMatch(path, /mod\.ts$/);
  writeFileSync(join(dir, "deno.json"), JSON.stringify({ imports: { [manifest.name]: join(root, "mod.ts") } }));
  return dir;
}

/** The folder of somebody who has installed the npm package. */
async function npmFolder(dir: string): Promise<string> {
  const folder = join(dir, "node_modules", manifest.name);
  mkdirSync(folder, { recursive: true });
  await build(join(folder, "dist"));
  writeFileSync(join(folder, "package.json"), read("package.json"));
  symlinkSync(join(root, "node_modules", "mqtt"), join(dir, "node_modules", "mqtt"));
  return dir;
}

test("README: every block is of a language that a test knows", () => {
  assertGreater(programs.length, 10);
  assertEquals(blocks.filter(({ language }) => !["ts", "sh", "text", "json"].includes(language)), []);
  for (const { name, language, code } of programs) {
    assertMatch(code, language === "ts" ? new RegExp(`from "${manifest.name}(/browser)?";`) : /from "mqtt";/, name);
  }
});

test("pages: every program type-checks", () =>
  inFolder(async (dir) => {
    const files = programs.filter(({ language }) => language === "ts").map(({ name, code }) => {
      const file = join(dir, `${name.replaceAll(/\W/g, "_")}.ts`);
      writeFileSync(file, code);
      return file;
    });
    const { code, stderr } = await run(process.execPath, ["check", "-q", "-c", join(root, "deno.json"), ...files], {
      deadline: 120_000,
    });
    assertEquals(code, 0, stderr);
  }));

const tools = needs("node", "openssl", "microsocks", "mosquitto");

test(
  "pages: every program runs on Deno, Bun and Node, prints what is said, and ends",
  tools,
  () =>
    inFolder(async (dir) => {
      const proxy = await startMicrosocks({ user: "user", password: "password" });
      const commands: [command: string, args: string[], dir: string][] = [
        // deno-fmt-ignore
        [process.execPath, ["run", "-q", "--no-prompt", "--allow-net", "--allow-read", "--allow-write=.", "--allow-env"],
        denoFolder(mkdtempSync(join(dir, "deno-")))],
      ];
      const installed = await npmFolder(mkdtempSync(join(dir, "npm-")));
      commands.push([await bunBinary(), [], installed], [which("node")!, [], installed]);
      for (const [, , cwd] of commands) writeFileSync(join(cwd, "ca.pem"), certificates().ca);
      const { stdout: version } = await run("node", ["--version"]);
      try {
        for (const { name, language, code, output } of running) {
          const isUntrusted = code.includes(`untrusted: "reject"`); // the program reads no ca.pem
          await Promise.all(commands.map(async ([command, args, cwd], i) => {
            if (language === "js" && i === 0) return; // Deno's folder has no packages
            if (/^await using/m.test(code) && command === which("node") && parseInt(version.slice(1)) < 24) return;
            // mosquitto sends a message on before it acknowledges it, and aedes afterwards; a program here has to bear both.
            const isPlain = !/mqtts:|ws:/.test(code);
            const aedes = isPlain ? undefined : await startAedes({ tls: code.includes("mqtts:") });
            const web = code.includes("ws:") ? await serveWebSocket(aedes!.broker) : undefined;
            const broker = aedes ?? await startMosquitto();
            const file = join(cwd, `program${i}.mjs`);
            const source = code.replaceAll(
              `"localhost"`,
              code.includes("open(") ? `"127.0.0.1"` : `"127.0.0.1:${broker.port}"`,
            )
              .replaceAll("open(1883", `open(${broker.port}`)
              .replaceAll("//broker.example", `//localhost:${(web ?? broker).port}`)
              .replaceAll(`"mqtt://localhost"`, `"mqtt://127.0.0.1:${broker.port}"`)
              .replaceAll("127.0.0.1:1080", `127.0.0.1:${proxy.port}`)
              .replaceAll("gateway.session", `gateway${i}.session`);
            writeFileSync(file, source);
            try {
              const result = await run(command, [...args, file], {
                cwd,
                env: { MQTT_PASSWORD: "secret", NO_COLOR: "1" },
              });
              const what = `${name}, ${command}\n${result.stdout}${result.stderr}`;
              assertEquals([result.code, result.stderr], [0, ""], what);
              const expected = isUntrusted ? "untrusted\n" : output;
              if (expected !== undefined) assertEquals(result.stdout, expected, what);
            } finally {
              await web?.stop();
              await broker.stop();
            }
          }));
        }
      } finally {
        await proxy.stop();
      }
    }),
);

test("README: shell blocks have the two commands early, and tasks and files that exist", () => {
  const { tasks } = JSON.parse(read("deno.json"));
  const lines = blocks.filter(({ language }) => language === "sh").flatMap(({ code }) => code.trim().split("\n"));
  for (const line of lines) {
    const task = /^(?:npx -y )?deno task (\w+)$/.exec(line)?.[1];
    if (task) assert(task in tasks, `No task ${task}`);
    else if (/\.tgz$/.test(line)) {
      assertMatch(line, new RegExp(`^(npm install|bun add) \\./${manifest.name}-${manifest.version}\\.tgz$`));
    } else assertMatch(line, /^(node|bun|deno run --allow-net) hello\.mjs$/);
  }
  for (const command of ["npx -y deno task demo", "npx -y deno task test"]) {
    assert(lines.includes(command), command);
    assert(readme.indexOf(command) < 2000, `${command} is on the first screen`);
  }
  assertMatch(readme, /`hello\.mjs`/);
  assertMatch(read(".ci/run"), /^npx -y deno task test$/m);
});

/** The names that a pattern captures in the part of a source file between two texts. */
function names(file: string, pattern: RegExp, from: string, to: string): string[] {
  const source = read(file);
  const start = source.indexOf(from);
  return [...source.slice(start, source.indexOf(to, start)).matchAll(pattern)].map(([, name]) => name!);
}

test("docs/errors.md says of every code what to do", () => {
  const page = read("docs/errors.md");
  for (const code of [...names("src/errors.ts", /("\w+")/g, "export type ErrorCode", ";"), "16", "`128` to `162`"]) {
    assertMatch(page, new RegExp(`^\\| .*${code}.* \\| [A-Z]`, "m"), code);
  }
});

test("README: the tables name every option, code, status and member", () => {
  const section = (title: string) => readme.slice(readme.indexOf(`\n## ${title}\n`)).split(/\n## /)[1]!;
  const lists: [title: string, wanted: string[]][] = [
    ["Options", names("src/options.ts", /^ {2}(\w+)\?:/gm, "interface ConnectOptions", "\n}")],
    ["Options", names("src/transport/tls_options.ts", /^ {2}(\w+)\?:/gm, "interface TlsOptions", "\n}")],
    ["Reconnecting", names("src/options.ts", /^ {2}(\w+)\?:/gm, "interface ReconnectOptions", "\n}")],
    ["Errors", names("src/errors.ts", /("\w+")/g, "export type ErrorCode", ";")],
    ["Status", names("src/status.ts", /type: ("\w+")/g, "export type ConnectionStatus", "export interface Stats")],
    ["The client", names("src/api.ts", /^ {2}(?:readonly )?(\w+)[(:]/gm, "export interface Client", "\n}")],
  ];
  for (const [title, wanted] of lists) {
    assertGreater(wanted.length, 3, title);
    for (const name of wanted) assertMatch(section(title), new RegExp(`(?<!\\w)${name}(?!\\w)`), `${title}: ${name}`);
  }
});
