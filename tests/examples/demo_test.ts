import { test } from "node:test";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { needs } from "../support/process.ts";
import { freePort, startMosquitto } from "../support/servers.ts";
import { runScript } from "../support/spawn.ts";

/** The demo's output without its times, checked for the whole story. */
async function story(args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runScript("examples/demo.ts", args);
  assertEquals({ code, stderr }, { code: 0, stderr: "" }, stdout);
  const lines = stdout.trim().split("\n");
  for (const line of lines) assertMatch(line, /^ {0,3}\d+\.\d\d s {2}(broker|display|sensor|demo) +\S/);
  assertEquals(lines.filter((line) => /display +received .*temperature/.test(line)).length, 6, stdout);
  assertMatch(stdout, /kills process \d+[^]*received .*\/status +gone without a goodbye[^]*the will has fired/);
  assertMatch(stdout, /run\(\) ended with "disconnect"\n.*done\n$/);
  return lines[0]!;
}

test("the demo shows the main job on an embedded broker", async () => {
  assertStringIncludes(await story([]), "embedded");
});

test("the demo runs on a broker of the user's", needs("mosquitto"), async () => {
  const broker = await startMosquitto();
  assertStringIncludes(
    await story(["--broker", `127.0.0.1:${broker.port}`]),
    `yours, at 127.0.0.1:${broker.port}`,
  );
  await broker.stop();
});

test("the demo says why it cannot connect", async () => {
  const { code, stderr } = await runScript("examples/demo.ts", ["--broker", `127.0.0.1:${freePort()}`]);
  assertEquals(code, 1);
  assertMatch(stderr, /^demo: Cannot connect .*\(cannotconnect\)\n$/);
});

test("the demo says what it may be given", async () => {
  const { code, stderr } = await runScript("examples/demo.ts", ["--nonsense"]);
  assertEquals(code, 2);
  assertMatch(stderr, /^demo: Unknown option '--nonsense'.*\ndeno task demo \[--broker/);
});
