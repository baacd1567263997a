import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import * as source from "../../mod.ts";
import { build, sources } from "../../scripts/build.ts";
import { bunBinary, needs, run, which } from "../support/process.ts";
import { startAedes } from "../support/servers.ts";

const root = join(import.meta.dirname!, "..", "..");

const program = `
import * as mqtt3c from "mqtt3c";
const url = process.argv[2];
const message = await new Promise((resolve, reject) => {
  mqtt3c.connect(url, (topic, message) => resolve(topic + " " + message.text())).then(async (mqtt) => {
    await mqtt.subscribe("a/b");
    await mqtt.publish("a/b", "hi");
  }).catch(reject);
});
console.log(message, Object.keys(mqtt3c).sort().join());
process.exit();
`;

const typed = `
import { connect, type Client, type ConnectOptions, Message, MqttError } from "mqtt3c";
const options: ConnectOptions = { port: 1883, will: { topic: "t", message: "m" } };
const mqtt: Client = await connect("localhost", (topic: string, message: Message) => console.log(topic, message.text()), options);
const granted: number = await mqtt.subscribe("#");
for await (const { payload } of mqtt.messages("#")) console.log(granted, payload.length);
const end: MqttError = await mqtt.run();
console.log(end.code);
// @ts-expect-error a topic is a string
mqtt.publish(1, "");
`;

test("the npm package works in Node and Bun, and its types resolve", needs("npm"), async () => {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-package-"));
  const broker = await startAedes();
  const ok = async (command: string, args: string[], cwd: string) => {
    const { code, stdout, stderr } = await run(command, args, { cwd, deadline: 60_000 });
    assertEquals(code, 0, `${command} ${args.join(" ")}\n${stdout}${stderr}`);
    return stdout.trim();
  };
  try {
    const from = join(dir, "from");
    build(join(from, "dist"));
    for (const file of ["package.json", "README.md", "LICENSE", "CHANGELOG.md"]) {
      cpSync(join(root, file), join(from, file));
    }
    const packed = JSON.parse(await ok("npm", ["pack", "--ignore-scripts", "--json"], from))[0];
    const types = ["mod.ts", "browser.ts", ...sources("src")].map((file) => `dist/${file.replace(/\.ts$/, ".d.ts")}`);
    assertEquals(
      packed.files.map(({ path }: { path: string }) => path).sort(),
      [
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "package.json",
        "dist/mod.js",
        "dist/cli/main.js",
        "dist/browser.js",
        ...types,
      ].sort(),
    );

    const user = join(dir, "user");
    mkdirSync(user);
    writeFileSync(join(user, "package.json"), `{ "type": "module" }`);
    await ok("npm", ["install", "--offline", "--ignore-scripts", join(from, packed.filename)], user);
    const expected = `a/b hi ${Object.keys(source).sort().join()}`;
    writeFileSync(join(user, "program.js"), program);
    for (const command of ["node", await bunBinary()]) {
      assertEquals(await ok(command, ["program.js", `mqtt://127.0.0.1:${broker.port}`], user), expected, command);
    }

    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    assertEquals(await ok(join(user, "node_modules", ".bin", "mqtt3c"), ["--version"], user), version);
    const url = ["-L", `mqtt://127.0.0.1:${broker.port}`];
    assertEquals(await ok("npx", ["mqtt3c", "pub", ...url, "-t", "a/b", "-m", "hi", "-q", "1", "-r"], user), "");
    assertEquals(
      await ok(await bunBinary(), ["x", "mqtt3c", "sub", ...url, "-t", "a/+", "-v", "-C", "1"], user),
      "a/b hi",
    );

    const require = createRequire(import.meta.url);
    mkdirSync(join(user, "node_modules", "@types"));
    symlinkSync(join(require.resolve("@types/node/package.json"), ".."), join(user, "node_modules", "@types", "node"));
    writeFileSync(join(user, "typed.ts"), typed);
    // deno-fmt-ignore
    await ok(which("node")!, [require.resolve("typescript/bin/tsc"), "--noEmit", "--strict", "--exactOptionalPropertyTypes",
      "--module", "nodenext", "--target", "es2022", "--lib", "es2022,esnext.disposable", "--types", "node", "typed.ts"], user);
  } finally {
    await broker.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
