/** Whole processes: killed, crashed, left alone by their broker. */
import { test } from "node:test";
import { assert, assertEquals, assertNotEquals, assertStringIncludes } from "@std/assert";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { close, send, startScripted, wait } from "../support/scripted.ts";
import { mosquittoSub, startMosquitto } from "../support/servers.ts";
import { runScript, startScript } from "../support/spawn.ts";

const child = "tests/client/child.ts";
const accept = [wait(14), send(Uint8Array.of(0x20, 2, 0, 0))];
const tools = needs("mosquitto", "mosquitto_sub");

test("[MQTT-3.1.2-8] the will fires when the process is killed", tools, async () => {
  const mosquitto = await startMosquitto();
  try {
    const subscriber = await mosquittoSub({ port: mosquitto.port, topic: "will/#" });
    const script = await startScript(child, ["will", `${mosquitto.port}`]);
    await script.output(/connected/);
    script.kill("SIGKILL");
    const { topic, payload } = await subscriber.next();
    assertEquals([topic, new TextDecoder().decode(payload)], ["will/größe", "gone 温度"]);
    await subscriber.stop();
    await script.stop();
    // It was to be retained [MQTT-3.1.2-17].
    const late = await mosquittoSub({ port: mosquitto.port, topic: "will/#" });
    assertEquals((await late.next()).retain, true);
    await late.stop();
  } finally {
    await mosquitto.stop();
  }
});

test("promises that nobody awaits do not crash the program when the connection ends", async () => {
  const server = await startScripted([...accept, wait(1000), close]);
  try {
    const { code, stdout, stderr } = await runScript(child, ["unawaited", `${server.port}`]);
    assertEquals([stdout, stderr, code], ["socketclosed\nstill here\n", "", 0]);
  } finally {
    await server.stop();
  }
});

test("a refused subscription that nobody awaits surfaces", async () => {
  const suback = [wait(50), send(Uint8Array.of(0x90, 3, 0, 1, 128)), wait(52), close];
  const server = await startScripted([...accept, ...suback]);
  try {
    const { code, stdout } = await runScript(child, ["refused", `${server.port}`]);
    assertEquals([stdout, code], ["unhandled: 128\ndisconnect\n", 0]);
  } finally {
    await server.stop();
  }
});

test("what onpub throws is uncaught, and the loop goes on", tools, async () => {
  const mosquitto = await startMosquitto();
  try {
    const { stdout, code } = await runScript(child, ["throws", `${mosquitto.port}`]);
    const caught = "thrown by the callback, thrown at 1, thrown by its own, thrown at 2";
    assertEquals([stdout, code], [`t: 1\nt: 2\nend: \ndisconnect\n${caught}\n`, 0]);
    const dead = await runScript(child, ["dies", `${mosquitto.port}`]);
    assertNotEquals(dead.code, 0);
    assertStringIncludes(dead.stderr, "thrown by onpub");
  } finally {
    await mosquitto.stop();
  }
});

test("a broker that is stopped: pingresp, everything settles, the process ends by itself", tools, async () => {
  const mosquitto = await startMosquitto({ config: "log_type none" });
  try {
    const { stdout, stderr, code } = await runScript(child, ["stalled", `${mosquitto.port}`, `${mosquitto.pid}`]);
    const told = "pingresp,pingresp,pingresp,pingresp true pingresp";
    assertEquals([stdout, stderr, code], [`pingresp in time\n${told}\ndone pingresp\n`, "", 0]);
  } finally {
    await mosquitto.stop();
  }
});

test("after the end nothing keeps the process alive", tools, async () => {
  const mosquitto = await startMosquitto();
  try {
    const start = performance.now();
    const { stdout, stderr, code } = await runScript(child, ["ends", `${mosquitto.port}`]);
    assertEquals([stdout, stderr, code], ["cannotconnect\ndone\n", "", 0]);
    assert(performance.now() - start < 9000, "before any deadline of 10 s");
  } finally {
    await mosquitto.stop();
  }
});

test("after the end of TLS nothing keeps the process alive", needs("mosquitto", "openssl"), async () => {
  const mosquitto = await startMosquitto({ tls: true });
  try {
    const { stdout, stderr, code } = await runScript(child, ["secureEnds", `${mosquitto.port}`, certificates().caFile]);
    assertEquals([stdout, stderr, code], ["untrusted disconnect timeout wrongname\n", "", 0]);
  } finally {
    await mosquitto.stop();
  }
});
