/** Every example runs against a real broker and prints what it says. */
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import {
  credentials,
  mosquittoPub,
  mosquittoSub,
  type ServerProcess,
  startMicrosocks,
  startMosquitto,
} from "../support/servers.ts";
import { runScript, startScript } from "../support/spawn.ts";

const tools = needs("mosquitto", "mosquitto_pub", "mosquitto_sub", "microsocks", "openssl");

async function withMosquitto(
  options: Parameters<typeof startMosquitto>[0],
  act: (broker: ServerProcess) => Promise<unknown>,
): Promise<void> {
  const broker = await startMosquitto(options);
  try {
    await act(broker);
  } finally {
    await broker.stop();
  }
}

/** Its output, complete. */
async function output(name: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runScript(`examples/${name}.ts`, args);
  assertEquals([code, stderr], [0, ""], stdout);
  return stdout;
}

test("examples/connect_and_run.ts", tools, () =>
  withMosquitto({}, async ({ port }) => {
    const example = await startScript("examples/connect_and_run.ts", [`mqtt://127.0.0.1:${port}`]);
    await example.output(/subscribed/);
    await mosquittoPub({ port, topic: "demo/größe", message: "hello, 世界" });
    await mosquittoPub({ port, topic: "demo/stop", message: "enough" });
    assertEquals(await example.exited, 0, example.stderr());
    assertEquals(
      example.stdout(),
      "subscribed with QoS 0\ndemo/größe: hello, 世界\ndemo/stop: enough\nthe connection has ended: disconnect\n",
    );
    await example.stop();
  }));

test("examples/beside_other_work.ts", tools, () =>
  withMosquitto({}, async ({ port }) => {
    const lines = (await output("beside_other_work", `mqtt://127.0.0.1:${port}`)).split("\n");
    const starting = (text: string) => lines.filter((line) => line.startsWith(text));
    assertEquals(starting("working"), ["working on 1", "working on 2", "working on 3"]);
    assertEquals(starting("heard"), ["heard 1", "heard 2", "heard 3"]);
    assertEquals(lines.slice(6), ["the connection has ended: disconnect", "and the work goes on", ""]);
  }));

test("examples/tls_credentials_will.ts", tools, () =>
  withMosquitto({ tls: true, password: true }, async ({ port }) => {
    const { caFile } = certificates();
    const env = { MQTT_PASSWORD: credentials.passwd };
    const example = await startScript("examples/tls_credentials_will.ts", ["localhost", `${port}`, caFile], { env });
    await example.output(/connected/);
    assertEquals(example.stdout(), "connected, trusted: true\n");
    const login = ["-u", credentials.uname, "-P", credentials.passwd, "--cafile", caFile];
    const subscriber = await mosquittoSub({ port, topic: "demo/state", args: login });
    const states = [await subscriber.next()];
    example.kill("SIGKILL");
    states.push(await subscriber.next());
    await subscriber.stop();
    await example.stop();
    const texts = states.map(({ payload }) => new TextDecoder().decode(payload));
    assertEquals(texts, ["here", "gone without a goodbye"]);
    // Without the authority's certificate the broker is not trusted, and not told the password.
    assertMatch(
      await output("tls_credentials_will", "localhost", `${port}`),
      /^untrusted: .*nothing was sent to it\n$/,
    );
  }));

test("examples/socks_tls.ts: with credentials, and again when the broker has gone and come", tools, async () => {
  const options = { tls: true, password: true };
  const proxy = await startMicrosocks();
  let broker = await startMosquitto(options);
  const { port } = broker;
  const { caFile } = certificates();
  const env = { MQTT_USER: credentials.uname, MQTT_PASSWORD: credentials.passwd };
  const args = [`127.0.0.1:${proxy.port}`, `localhost:${port}`, caFile];
  const example = await startScript("examples/socks_tls.ts", args, { env });
  try {
    await example.output(/there and back/);
    await broker.stop();
    await example.output(/has ended/);
    broker = await startMosquitto({ ...options, port });
    await example.output(/there and back[^]*there and back/);
    const login = ["-u", credentials.uname, "-P", credentials.passwd, "--cafile", caFile];
    await mosquittoPub({ port, topic: "demo/stop", message: "enough", args: login });
    assertEquals(await example.exited, 0, example.stderr());
    assertEquals(example.stdout().replaceAll(/^no connection: .*\n/gm, "").split("\n"), [
      "trusted: true, by the socket that was handed in",
      "demo/proxied: there and back",
      "the connection has ended: socketclosed",
      "trusted: true, by the socket that was handed in",
      "demo/proxied: there and back",
      "demo/stop: enough",
      "the connection has ended: disconnect",
      "",
    ]);
  } finally {
    await example.stop();
    await broker.stop();
    await proxy.stop();
  }
});

test("examples/at_least_once.ts", tools, () =>
  withMosquitto({}, async ({ port }) => {
    const lines = ["granted QoS 1", "three readings are acknowledged", "stored 101", "stored 102", "stored 103"];
    assertEquals(await output("at_least_once", `mqtt://127.0.0.1:${port}`), `${lines.join("\n")}\n`);
  }));

test("examples/request.ts", tools, () =>
  withMosquitto({}, async ({ port }) => {
    const lines = ["2 + 3 = 5", 'Nobody has subscribed to "nobody/answers", and answers the request'];
    assertEquals(await output("request", `mqtt://127.0.0.1:${port}`), `${lines.join("\n")}\n`);
  }));

test("examples/iterator.ts", tools, () =>
  withMosquitto({}, async ({ port }) => {
    const lines = ["1: tea", "2: milk", "3: sugar", "4: nothing more"].map((text) => `demo/orders/${text}\n`);
    assertEquals(await output("iterator", `mqtt://127.0.0.1:${port}`), `${lines.join("")}done\n`);
  }));

test("examples/worker.ts", tools, () =>
  withMosquitto({}, async ({ port }) =>
    assertEquals(
      await output("worker", `mqtt://127.0.0.1:${port}`),
      "in the thread: demo/thread hello, thread\ncomputed for 3 s: many primes\n" +
        "here: the connection is still there\nthe connection has ended: disconnect\n",
    )));

test("examples/blocking.ts", tools, () =>
  withMosquitto({}, async ({ port }) =>
    assertEquals(
      await output("blocking", `mqtt://127.0.0.1:${port}`),
      "subscribed with QoS 0\nreceived: 0\nnothing more within 100 ms: undefined\n" +
        "demo/count: 1\ndemo/count: 2\ndemo/count: 3\nthe connection has ended: disconnect\n",
    )));
