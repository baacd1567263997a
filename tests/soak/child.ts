/** A client at a mixed load, in a process of its own: `child.ts mode port seconds every`; prints a line for each interval. */
import { readdirSync } from "node:fs";
import process from "node:process";
import {
  type Client,
  connect,
  type ConnectOptions,
  connectSync,
  connectWorker,
  type Message,
  type QoS,
} from "../../mod.ts";
import { Random } from "../support/random.ts";
import { collect } from "./collect.ts";

const [mode = "", port = "", seconds = "", every = ""] = process.argv.slice(2);
const url = `mqtt://127.0.0.1:${port}`;
const random = new Random(1);
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

let start = performance.now();
let latencies: number[] = [], messages = 0, reported = start, reports = 0;
/** So many lines there are at least: on a busy machine there is seldom a moment to tell, and it goes on for longer. */
const LEAST = 4;
/** How many clients are there that come and go: it is told when there is none. */
let others = 0;

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
  if (last || others === 0 && now - reported >= Number(every) * 1000) {
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
    reports++;
  }
  return now - start < Number(seconds) * 1000 || reports < LEAST;
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

const levels: readonly QoS[] = [0, 1, 2];
const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
const module = new URL(`../worker/modules/idle${extension}`, import.meta.url);
type Open = (op?: ConnectOptions) => Promise<Client>;
const opens: Record<string, Open> = {
  "connect": (op) => connect(url, undefined, op),
  "connectWorker": (op) => connectWorker(url, undefined, op),
  "connectWorker with a module": (op) => connectWorker(url, module, op),
};
const onpub = (_topic: string, message: Message) => take(message);

/** A client for each QoS: mosquitto 2.0.11 loses messages to one that gets QoS 1 and 2 at the same time. */
async function soak(open: Open, qos: QoS): Promise<void> {
  const topic = `soak/echo/${qos}`;
  const mqtt = await open({ keepalive: 5 });
  await mqtt.subscribe(topic, { qos, onpub });
  for (let round = 0; report(); round++) {
    for (let i = random.int(1, 5); i > 0; i--) await mqtt.publish(topic, message(), { qos });
    if (round % 20 === 5) await comeAndGo(mqtt, qos);
    if (round % 50 === 10) {
      others++;
      const other = await open({ will: { topic: "soak/will", message: "gone", qos } });
      await other.subscribe(`soak/other/${qos}`, { qos });
      await other.publish(Array.from({ length: 5 }, () => ({ topic: `soak/other/${qos}`, message: message(), qos })));
      await other.disconnect();
      await other.run();
      others--;
    }
    await sleep(10);
  }
  await mqtt.flush();
  const { unacknowledged } = mqtt.stats;
  if (unacknowledged > 0) throw new Error(`${unacknowledged} messages are not acknowledged`);
  await mqtt.disconnect();
}

/** Subscriptions and iterators come and go. */
async function comeAndGo(mqtt: Client, qos: QoS): Promise<void> {
  const topic = `soak/${random.int(0, 1e6)}`;
  await mqtt.subscribe(topic, { qos, onpub });
  await mqtt.publish(topic, message(), { qos });
  await mqtt.unsubscribe(topic);
  const messages = mqtt.messages(topic, { qos, limit: 2 });
  const published = (async () => {
    for (let i = 0; i < 5; i++) await mqtt.publish(topic, message(), { qos });
  })();
  let got = 0;
  for await (const _ of messages) if (++got === 5) break;
  await published;
}

function soakSync(): void {
  const clients = levels.map((qos) => {
    const mqtt = connectSync(url, undefined, { keepalive: 5 });
    mqtt.subscribe(`soak/echo/${qos}`, { qos });
    return { mqtt, qos };
  });
  for (let round = 0; report(); round++) {
    for (const { mqtt, qos } of clients) {
      for (let i = random.int(1, 5); i > 0; i--) mqtt.publish(`soak/echo/${qos}`, message(), { qos });
      for (let next = mqtt.receive(3); next !== undefined; next = mqtt.receive(3)) take(next);
    }
    if (round % 50 === 10) {
      const other = connectSync(url), topic = "soak/other", qos = levels[round / 50 % 3 | 0]!;
      other.subscribe(topic, { qos });
      other.publish([{ topic, message: message(), qos }, { topic, message: message(), qos }]);
      other.receive(1000);
      other.unsubscribe(topic);
      other.disconnect();
    }
  }
  for (const { mqtt } of clients) mqtt.disconnect();
}

/** Memory for threads that come and go is had before it is measured: the runtime and the system keep what ten rounds of them take. */
async function warmUp(open: Open): Promise<void> {
  for (let i = 0; i < 10; i++) {
    await Promise.all(levels.map(async () => {
      const other = await open();
      await other.disconnect();
      await other.run();
    }));
  }
}

if (mode === "connectSync") {
  soakSync();
} else {
  const open = opens[mode]!;
  await warmUp(open);
  start = reported = performance.now();
  await Promise.all(levels.map((qos) => soak(open, qos)));
}
await sleep(1000); // threads and sockets end
report(true);
