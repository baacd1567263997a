/**
 * The main job, live: one client subscribes, another publishes from a process of its own, is
 * killed, and its will fires. On an embedded broker, or on yours: `--broker` takes what `connect()` does.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { connect, type MqttError } from "../mod.ts";

const usage = "deno task demo [--broker host[:port] | URL]";
const options = {
  broker: { type: "string" },
  help: { type: "boolean", short: "h", default: false },
  sensor: { type: "string" }, // the topic: this process is the one that publishes
  start: { type: "string", default: `${Date.now()}` },
} as const;

function parse() {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    console.error(`demo: ${(error as Error).message}\n${usage}`);
    process.exit(2);
  }
}

const values = parse();

const colors = process.stdout.isTTY && !process.env["NO_COLOR"]
  ? { broker: 33, display: 36, sensor: 32, demo: 35 }
  : undefined;

/** One line: when, who, what. */
function say(who: "broker" | "display" | "sensor" | "demo", text: string): void {
  const time = ((Date.now() - Number(values.start)) / 1000).toFixed(2).padStart(6);
  const name = who.padEnd(8);
  console.log(`${time} s  ${colors ? `\x1b[${colors[who]}m${name}\x1b[0m` : name} ${text}`);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A broker inside this process, on a free port of the loopback interface. */
async function embeddedBroker(): Promise<{ url: string; stop(): void }> {
  const { Aedes } = await import("aedes");
  const broker = await Aedes.createBroker();
  const server = createServer(broker.handle).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `mqtt://127.0.0.1:${port}`, stop: () => broker.close(() => server.close()) };
}

/** Publishes until it is killed. */
async function sensor(url: string, topic: string): Promise<void> {
  const will = { topic: `${topic}/status`, message: "gone without a goodbye" };
  const mqtt = await connect(url, undefined, { will });
  say("sensor", `connected as process ${process.pid}; its will, on ${will.topic}: "${will.message}"`);
  await mqtt.publish(`${topic}/status`, "here", { qos: 1 });
  say("sensor", `its "here" on ${topic}/status is acknowledged: QoS 1`);
  for (let i = 0;; i++) {
    const degrees = (21 + Math.sin(i / 3)).toFixed(2);
    say("sensor", `publishes ${topic}/temperature  ${degrees}`);
    await mqtt.publish(`${topic}/temperature`, degrees);
    await pause(400);
  }
}

/** Subscribes, starts the sensor, kills it after a few readings, and waits for its will. */
async function display(url: string): Promise<void> {
  const topic = `mqtt3c/demo-${Math.random().toString(36).slice(2, 8)}`;
  const mqtt = await connect(url);
  let readings = 0;
  let willFired = () => {};
  let failed = (_: Error) => {};
  const will = new Promise<void>((resolve, reject) => (willFired = resolve, failed = reject));
  const granted = await mqtt.subscribe(`${topic}/#`, {
    qos: 1,
    onpub(topic, message) {
      say("display", `received  ${topic}  ${message.text()}`);
      if (topic.endsWith("/temperature") && ++readings === 6) {
        say("demo", `kills process ${child.pid}: no DISCONNECT, the connection just ends`);
        child.kill("SIGKILL");
      } else if (topic.endsWith("/status") && message.text() !== "here") willFired();
    },
  });
  say("display", `connected, and subscribed to ${topic}/#: QoS ${granted} is granted`);

  const args = [fileURLToPath(import.meta.url), `--sensor=${topic}`, `--broker=${url}`, `--start=${values.start}`];
  const child = spawn(process.execPath, [...("Deno" in globalThis ? ["run", "-q", "-A", "--no-lock"] : []), ...args], {
    stdio: "inherit",
  });
  child.on("exit", (code) => code === null || failed(new Error("The sensor has ended by itself")));
  const deadline = setTimeout(() => failed(new Error("No will came within 30 seconds")), 30_000);
  try {
    await will;
    say("display", "the will has fired: the broker spoke for the sensor");
  } finally {
    clearTimeout(deadline);
    child.kill("SIGKILL");
    await mqtt.disconnect();
  }
  const end = await mqtt.run();
  say("display", `disconnected; run() ended with "${end.code}"`);
}

async function main(): Promise<void> {
  if (values.help) return console.log(usage);
  const given = values.broker;
  if (values.sensor && given) return await sensor(given, values.sensor);
  const broker = given ? { url: given, stop() {} } : await embeddedBroker();
  say("broker", given ? `yours, at ${given.replace(/\/\/.*@/, "//")}` : `embedded, listening on ${broker.url}`);
  try {
    await display(broker.url);
  } finally {
    broker.stop();
  }
  say("demo", "done");
}

await main().catch((error: Error | MqttError) => {
  console.error(`demo: ${error.message}${"code" in error ? ` (${error.code})` : ""}`);
  process.exitCode = 1;
});
