import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { run, startProcess } from "../support/process.ts";
import { startAedes } from "../support/servers.ts";

const root = join(import.meta.dirname!, "..", "..");
const readme = readFileSync(join(root, "README.md"), "utf8");
const blocks = [...readme.matchAll(/^```(\w*)[^\n]*\n([^]*?)^```$/gm)].map(([text, language, code]) => ({
  name: `README line ${readme.slice(0, readme.indexOf(text)).split("\n").length}`,
  language: language!,
  code: code!,
}));
const typescript = blocks.filter(({ language }) => language === "ts");
const shell = blocks.filter(({ language }) => language === "sh");

/** A block as a program: what it imports is this tree, and a fragment gets the client it speaks of. */
function program(code: string, broker = "localhost"): string {
  const ours = /"(?:[^"]*\/mod\.ts|mqtt3c|(?:jsr:)?@mqtt3c\/client)"/g;
  const imported = /^import/m.test(code) && ours.test(code);
  const connected = /\b(?:const|using) mqtt\b/.test(code);
  const head = imported ? "" : `import { connect, MqttError, type Client, type Message } from "./mod.ts";\n` +
    (connected ? "" : `const mqtt = await connect("localhost");\n`);
  return (head + code).replaceAll(ours, JSON.stringify(join(root, "mod.ts")))
    .replaceAll(`"localhost"`, JSON.stringify(broker));
}

async function inFolder(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-readme-"));
  try {
    await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

test("README: every block is of a language that a test knows", () => {
  assertGreater(typescript.length, 0);
  assertEquals(blocks.filter(({ language }) => !["ts", "sh", "text"].includes(language)), []);
});

test("README: every TypeScript block type-checks", () =>
  inFolder(async (dir) => {
    const files = typescript.map(({ name, code }) => {
      const file = join(dir, `${name.replaceAll(" ", "_")}.ts`);
      writeFileSync(file, `${program(code)}\nexport {};\n`);
      return file;
    });
    const { code, stderr } = await run(process.execPath, ["check", "-q", "-c", join(root, "deno.json"), ...files]);
    assertEquals(code, 0, stderr);
  }));

for (const { name, code } of typescript.filter(({ code }) => /connect\("localhost", \(/.test(code))) {
  test(`${name}: the program connects, takes a message, and ends with its broker`, () =>
    inFolder(async (dir) => {
      const broker = await startAedes();
      const subscribed = new Promise((resolve) => broker.broker.once("subscribe", resolve));
      writeFileSync(join(dir, "block.ts"), program(code, `mqtt://127.0.0.1:${broker.port}`));
      const child = await startProcess(process.execPath, ["run", "-q", "-A", join(dir, "block.ts")]);
      try {
        await Promise.race([subscribed, child.exited]);
        broker.broker.publish(
          { cmd: "publish", topic: "a/b", payload: "hello", qos: 0, retain: false, dup: false },
          () => {},
        );
        await child.output(/a\/b.*hello/);
      } finally {
        await broker.stop();
      }
      assertEquals(await child.exited, 0, child.stderr());
      await child.stop();
    }));
}

test("README: shell blocks have the two commands, and tasks that exist", () => {
  const { tasks } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  const lines = shell.flatMap(({ code }) => code.trim().split("\n"));
  for (const line of lines) {
    const task = /^(?:npx -y )?deno task (\w+)/.exec(line)?.[1];
    if (task) assert(task in tasks, `No task ${task}`);
    else {assertMatch(
        line,
        /^(npm install|bun add|deno add|apt-get install|brew install|docker run|mosquitto_(pub|sub)) /,
      );}
  }
  for (const command of ["npx -y deno task demo", "npx -y deno task test"]) assert(lines.includes(command), command);
  assertMatch(readFileSync(join(root, ".ci", "run"), "utf8"), /^npx -y deno task test$/m);
});
