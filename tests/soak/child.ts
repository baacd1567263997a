/** A client at a mixed load, in a process of its own: `child.ts mode port seconds every`; prints a line for each interval. */
import { readdirSync } from "node:fs";
import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Client, connect, connectSync, connectWorker, type Message } from "../../mod.ts";
import { Random } from "../support/random.ts";

const [mode = "", port = "", seconds = "", every = ""] = process.argv.slice(2);
const url = `mqtt://127.0.0.1:${port}`;
const random = new Random(1);
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const collect = makeCollect();

const start = performance.now();
let latencies: number[] = [], messages = 0, reported = start;

/** The garbage collector, to be called. */
function makeCollect(): () => void {
  const { Bun } = globalThis as { Bun?: { gc(force: boolean): void } };
  if (Bun !== undefined) return () => Bun.gc(true);
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc");
}

/** What the system says of the process; 0 where it does not say. */
function count(what: "fd" | "task"): number {
  try {
    return readdirSync(`/proc/self/${what}`).length;
  } catch {
    return 0;
  }
}

function report(last = false): boolean {
  const now = performance.now();
  if (last || now - reported >= Number(every) * 1000) {
    reported = now;
    collect();
    const { rss, heapUsed, external } = process.memoryUsage();
    latencies.sort((a, b) => a - b);
    const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? 0;
    const line = {
      seconds: Math.round((now - start) / 1000),
      rss: Math.round(rss / 2 ** 20),
      used: Math.round((heapUsed + external) / 2 ** 20 * 10) / 10,
      files: count("fd"),
      threads: count("task"),
      messages,
      p50: at(0.5),
      p99: at(0.99),
    };
    console.log(JSON.stringify(line));
    latencies = [];
  }
  return now - start < Number(seconds) * 1000;
}

function message(): Uint8Array {
  const payload = new Uint8Array(8 + random.size(20_000));
  new DataView(payload.buffer).setFloat64(0, performance.now());
  return payload;
}

function take({ payload }: Message): void {
  messages++;
  latencies.push(performance.now() - new DataView(payload.buffer, payload.byteOffset).getFloat64(0));
}

async function soak(open: typeof connect | typeof connectWorker): Promise<void> {
  const mqtt = await open(url, (_, message) => take(message), { keepalive: 5 });
  await mqtt.subscribe("soak/echo");
  for (let round = 0; report(); round++) {
    for (let i = random.int(1, 5); i > 0; i--) await mqtt.publish("soak/echo", message());
    if (round % 20 === 5) await comeAndGo(mqtt);
    if (round % 50 === 10) {
      const other = await open(url, undefined, { will: { topic: "soak/will", message: "gone" } });
      await other.subscribe("soak/other");
      await other.publish("soak/other", message());
      await other.disconnect();
      await other.run();
    }
    await sleep(10);
  }
  await mqtt.disconnect();
}

/** Subscriptions and iterators come and go. */
async function comeAndGo(mqtt: Client): Promise<void> {
  const topic = `soak/${random.int(0, 1e6)}`;
  await mqtt.subscribe(topic, { onpub: (_, message) => take(message) });
  await mqtt.publish(topic, message());
  await mqtt.unsubscribe(topic);
  const messages = mqtt.messages(topic, { limit: 2 });
  const published = (async () => {
    for (let i = 0; i < 5; i++) await mqtt.publish(topic, message());
  })();
  let got = 0;
  for await (const _ of messages) if (++got === 5) break;
  await published;
}

function soakSync(): void {
  const mqtt = connectSync(url, undefined, { keepalive: 5 });
  mqtt.subscribe("soak/echo");
  for (let round = 0; report(); round++) {
    for (let i = random.int(1, 5); i > 0; i--) mqtt.publish("soak/echo", message());
    for (let next = mqtt.receive(10); next !== undefined; next = mqtt.receive(10)) take(next);
    if (round % 50 === 10) {
      const other = connectSync(url);
      other.subscribe("soak/other");
      other.publish("soak/other", message());
      other.receive(1000);
      other.unsubscribe("soak/other");
      other.disconnect();
    }
  }
  mqtt.disconnect();
}

if (mode === "connectSync") soakSync();
else await soak(mode === "connect" ? connect : connectWorker);
await sleep(1000); // threads and sockets end
report(true);
