import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "../../mod.ts";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { runScript, startScript } from "../support/spawn.ts";
import { startHub } from "./hub.ts";
import { ask, dial, Inbox, listen, post, until } from "./support.ts";
import { credentials, freePort, startAedes, startMosquitto } from "../support/servers.ts";

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
  assertEquals((await post(http!, "/photo", new Uint8Array(1_000_000))).status, 204);
  await page.stop();
  program.kill("SIGTERM");
  assertEquals(await program.exited, 0);
  assertEquals(program.stderr(), "");
  assertMatch(program.stdout(), /Ended: the page and the bridges, the greenhouse and its broker are closed\.\n$/);
});

test("main: with a broker of one's own it shows no greenhouse, and a taken port is said", async () => {
  const { port, stop } = await startAedes();
  const args = ["--broker", `mqtt://127.0.0.1:${port}`];
  const program = await startScript("examples/bridge/main.ts", [...args, "--port", "0"]);
  const [, taken] = await program.output(/http:\/\/127.0.0.1:(\d+)\/#filter=%23/);
  await program.output(/^Ctrl\+C ends/m);
  assert(!/greenhouse/.test(program.stdout()), program.stdout());
  const { code, stderr } = await runScript("examples/bridge/main.ts", [...args, "--port", taken!]);
  assertEquals([code, stderr], [
    1,
    `Cannot listen on 127.0.0.1:${taken}: the port is taken; --port 0 takes any\n`,
  ]);
  program.kill("SIGINT");
  assertEquals(await program.exited, 0);
  assertMatch(program.stdout(), /Ended: the page and the bridges are closed\.\n$/);
  await stop();
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

test("the programs tell a wrong option with their usage, not with a stack", async () => {
  for (
    const [name, args, mistake, env] of [
      ["http", ["--port", "abc"], /port abc/],
      ["http", ["--token", ""], /token is empty/],
      ["http", ["--version", "4"], /--version 4: it is 311, 5 or auto/],
      ["http", ["--broker", "http://localhost"], /mqtt/],
      ["websocket", [], /uname/, { MQTT_PASSWORD: "secret" }],
      ["main", ["--port", "70000"], /port 70000/],
      ["smq", ["--hub", "localhost", "--to-smq", "a"], /hub/],
      ["smq", [], /nothing is to go anywhere/],
      ["smq", ["--to-mqtt", "a/+/b"], /no wildcards/],
      ["http", ["--ca", "deno.json"], /--ca without/],
    ] as const
  ) {
    const { code, stderr } = await runScript(`examples/bridge/${name}.ts`, [...args], { env: env ?? {} });
    assertEquals(code, 2, stderr);
    assertMatch(stderr, mistake);
    assertMatch(stderr, new RegExp(`${name}.ts .*--broker`));
  }
});

test("the programs may be started by a link", async () => {
  const tree = join(import.meta.dirname!, "..", ".."), folder = mkdtempSync(join(tmpdir(), "mqtt3c-bridge-"));
  symlinkSync(tree, join(folder, "link"));
  const { code, stdout } = await runScript(`${relative(tree, folder)}/link/examples/bridge/smq.ts`, ["--help"]);
  rmSync(folder, { recursive: true });
  assertEquals(code, 0);
  assertMatch(stdout, /--broker/);
});

test("the programs run without a broker, and end when they are told", async () => {
  const broker = ["--broker", `mqtt://u:secret@127.0.0.1:${freePort()}`];
  for (const name of ["http", "websocket", "smq"]) {
    const to = name === "smq" ? ["--hub", `ws://u:secret@127.0.0.1:${freePort()}`, "--to-smq", "a"] : ["--port", "0"];
    const program = await startScript(`examples/bridge/${name}.ts`, [...broker, ...to]);
    await program.output(/ for mqtt:/);
    program.kill("SIGINT");
    assertEquals(await program.exited, 0);
    const [, said] = /Ended. All counts: (.*)/.exec(program.stdout())!;
    assert(!program.stdout().includes("secret"), program.stdout());
    assert(said!.includes(`"broker":"away"`), said);
  }
});

test("the programs end with an error when the broker refuses them for good", async () => {
  const { broker, port, stop } = await startAedes();
  broker.authenticate = (_, _user, _password, done) => {
    const refusal = Object.assign(new Error("who are you?"), { returnCode: 5 });
    done(refusal as Parameters<typeof done>[0], false);
  };
  const { code, stdout, stderr } = await runScript("examples/bridge/http.ts", [
    "--broker",
    `mqtt://127.0.0.1:${port}`,
    "--port",
    "0",
  ]);
  assertEquals(code, 1);
  assertMatch(stdout, /No broker: .*not authorized/i);
  assertMatch(stderr, /MqttError.*not authorized/i);
  await stop();
});

test(
  "--ca: a broker at mqtts: and a hub at wss: are trusted with it, and not without",
  needs("mosquitto", "openssl"),
  async () => {
    const { caFile, server: certificate } = certificates();
    const { uname: MQTT_USER, passwd: MQTT_PASSWORD } = credentials, env = { MQTT_USER, MQTT_PASSWORD };
    const broker = await startMosquitto({ tls: true, password: true }), hub = await startHub({ tls: certificate });
    const addresses = ["--broker", `mqtts://localhost:${broker.port}`];
    try {
      // The broker is to have a password, which goes to nobody who is not trusted.
      const http = await startScript("examples/bridge/http.ts", [...addresses, "--ca", caFile, "--port", "0"], { env });
      const [, url] = await http.output(/(http:\/\/[^/\s]+)/);
      await http.output(/The broker is here/);
      assertEquals((await post(url!, "/a", "x")).status, 204);
      await http.stop();
      const refused = await runScript("examples/bridge/http.ts", [...addresses, "--port", "0"], { env });
      assertEquals(refused.code, 1);
      assertMatch(refused.stdout, /No broker: .*certificate/);

      const args = [...addresses, "--hub", hub.url, "--to-mqtt", "n", "--to-smq", "up/#"];
      const smq = await startScript("examples/bridge/smq.ts", [...args, "--ca", caFile], { env });
      await smq.output(/The broker is here/);
      await until(
        () => [...hub.clients.values()].some(({ subscribed }) => subscribed.size > 0),
        "the bridge has subscribed",
      );
      const tls = { ca: certificates().ca }, got = new Inbox<string>();
      const mqtt = await connect(`mqtts://localhost:${broker.port}`, (topic, message) => {
        got.push(`${topic}: ${message}`);
      }, { ...credentials, tls });
      await mqtt.subscribe("smq/n");
      hub.publish("n", "from the hub");
      assertEquals(await got.next(), "smq/n: from the hub");
      await mqtt.disconnect();
      await smq.stop();
      const without = await startScript("examples/bridge/smq.ts", ["--hub", hub.url, "--to-mqtt", "n"]);
      await without.output(/No hub: .*(certificate|issuer)/i);
      await without.stop();
    } finally {
      await hub.kill();
      await broker.stop();
    }
  },
);

test("--version says which MQTT is spoken to the broker", needs("mosquitto"), async () => {
  const { port, log, stop } = await startMosquitto();
  for (const [version, spoken] of [["311", 2], ["5", 5], ["auto", 5]] as const) { // mosquitto calls 3.1.1 p2
    const args = ["--broker", `mqtt://127.0.0.1:${port}`, "--version", version, "--port", "0"];
    const program = await startScript("examples/bridge/http.ts", args);
    const [url] = await program.output(/http:\/\/127\.0\.0\.1:\d+/);
    await until(async () => JSON.parse((await ask(url!, "/")).text).broker === "connected", "the broker is here");
    assertEquals((await post(url!, `/of/${version}?retain`, "value")).status, 204);
    assertEquals((await ask(url!, `/of/${version}`)).text, "value");
    assertMatch(log(), new RegExp(`as \\w+ \\(p${spoken}, [^]*/${version}`));
    program.kill("SIGTERM");
    assertEquals(await program.exited, 0);
  }
  await stop();
});
