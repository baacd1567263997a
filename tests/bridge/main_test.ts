import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { runScript, startScript } from "../support/spawn.ts";
import { ask, dial, listen, post, until } from "./support.ts";
import { freePort } from "../support/servers.ts";

test("main: one command opens broker, greenhouse, bridges and page, and says where", async () => {
  const program = await startScript("examples/bridge/main.ts", ["--port", "0"]);
  const [, web, hash] = await program.output(/(http:\S+)\/#(\S+)/);
  const [, http] = await program.output(/curl -N .* (http:\/\/[^/]+)\/greenhouse/);
  await program.output(/^Ctrl\+C ends/m);
  assertEquals(new URLSearchParams(hash).get("filter"), "greenhouse/#");
  assertMatch((await ask(web!, "/")).text, /<title>MQTT live/);
  await until(async () => JSON.parse((await ask(http!, "/")).text).broker === "connected", "the broker is here");
  const stream = await listen(http!, "/greenhouse/temperature");
  assertMatch((await stream.message()).payload!, /^1\d\.\d\d$/);
  await stream.stop();
  const page = await dial(web!);
  await page.ask({ type: "subscribe", filter: "greenhouse/heater" });
  assertEquals((await post(http!, "/greenhouse/heater/set", "on")).status, 204);
  while ((await page.next("message")).payload !== "on");
  await page.stop();
  program.kill("SIGTERM");
  assertEquals(await program.exited, 0);
  assertEquals(program.stderr(), "");
});

test("the programs tell a mistake in their command line, and how to use them", async () => {
  for (const name of ["main", "http", "websocket", "smq"]) {
    const script = `examples/bridge/${name}.ts`;
    const wrong = await runScript(script, ["--sing"]);
    assertEquals(wrong.code, 2);
    assertMatch(wrong.stderr, new RegExp(`--sing.*[^]*${name}.ts .*--broker`));
    const help = await runScript(script, ["--help"]);
    assertEquals([help.code, help.stderr], [0, ""]);
    assertMatch(help.stdout, /--broker/);
  }
});

test("the programs run without a broker, and end when they are told", async () => {
  const broker = ["--broker", `mqtt://127.0.0.1:${freePort()}`];
  for (const name of ["http", "websocket", "smq"]) {
    const to = name === "smq" ? ["--hub", `ws://127.0.0.1:${freePort()}`] : ["--port", "0"];
    const program = await startScript(`examples/bridge/${name}.ts`, [...broker, ...to]);
    await program.output(/ for mqtt:/);
    program.kill("SIGINT");
    assertEquals(await program.exited, 0);
    const [, said] = /ends: (.*)/.exec(program.stdout())!;
    assert(said!.includes(`"broker":"away"`), said);
  }
});
