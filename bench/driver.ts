/**
 * Runs one job with one client, in a process of its own, once or as often as asked, and prints one JSON line each time.
 */
import { readdirSync, readFileSync, writeSync } from "node:fs";
import process from "node:process";
import { type Connection, type Job, type Open, type Params, parseParams, Skip, topicNames } from "./client.ts";
import { jobs, nothing, signal } from "./jobs.ts";
import { createMeter, optionsOf } from "./process.ts";

/** Resident bytes for each of `count` idle connections, after ten of them. */
const idle: Job = async ({ url, count }, _meter, open) => {
  const connections = [];
  for (let i = 0; i < 10; i++) connections.push(await open(url, nothing));
  const before = await resident();
  for (let i = 0; i < count; i++) connections.push(await open(url, nothing));
  return { messages: count, bytes: (await resident() - before) / count };
};

/** A runtime may add so many threads for its own use, while it opens connections. */
const FEW_THREADS = 16;

/** Milliseconds until `count` connections are open that are opened at once, ten being open; they may not have a thread each. */
const together: Job = async ({ url, count }, _meter, open) => {
  for (let i = 0; i < 10; i++) await open(url, nothing);
  const before = threads(), start = performance.now();
  await Promise.all(Array.from({ length: count }, () => open(url, nothing)));
  const p50 = performance.now() - start;
  const added = threads() - before;
  if (added > FEW_THREADS) throw new Error(`${added} threads for ${count} connections`);
  return { messages: count, p50, p99: p50 };
};

/** So many connections are opened at a time: what a server has not accepted yet waits in a short queue. */
const AT_ONCE = 100;

/** Milliseconds until `count` connections are open, and each has got a message. */
const crowd: Job = async ({ url, count, size }, _meter, open) => {
  const [topic] = topicNames(1) as [string], payload = new Uint8Array(size).fill(120);
  const { ended, end } = signal();
  let got = 0;
  function onmessage() {
    if (++got === count) end();
  }
  const connections: Connection[] = [], start = performance.now();
  while (connections.length < count) {
    const some = Array.from({ length: AT_ONCE }, () => open(url, onmessage));
    connections.push(...await Promise.all(some));
  }
  await Promise.all(connections.map((connection) => connection.subscribe("#")));
  for (const connection of connections) connection.send(topic, payload);
  await ended;
  const p50 = performance.now() - start;
  return { messages: count, p50, p99: p50 };
};

/** The threads of this process, where the system tells (Linux). */
function threads(): number {
  try {
    return readdirSync("/proc/self/task").length;
  } catch {
    return 0;
  }
}

/** Resident memory once garbage was collected, where we may ask for that. */
async function resident(): Promise<number> {
  const { gc, Bun } = globalThis as unknown as {
    gc?: () => void;
    Bun?: { gc(force: boolean): void };
  };
  for (let i = 0; i < 3; i++) {
    gc?.();
    Bun?.gc(true);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return process.memoryUsage().rss;
}

/** The most memory this process had, in bytes. */
function peak(): number {
  try { // what getrusage says, Linux inherits from the parent
    const status = readFileSync("/proc/self/status", "utf8");
    return Number(/VmHWM:\s*(\d+)/.exec(status)![1]) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

async function run(params: Params): Promise<Record<string, unknown>> {
  try {
    const client = await import(params.client) as Record<string, Job> & {
      open: Open;
    };
    const job = client[params.job] ?? { ...jobs, idle, together, crowd }[params.job]!;
    const options = await optionsOf(params);
    const figures = await job(params, createMeter(), (url, onmessage) => client.open(url, onmessage, options));
    return { ...figures, peak: peak() };
  } catch (error) {
    if (error instanceof Skip) return { skip: error.message };
    return { error: String(error) };
  }
}

const params = parseParams(process.argv.slice(2));
const print = (figures: Record<string, unknown>) => writeSync(1, JSON.stringify(figures) + "\n");
if (params.repeat) {
  const { createInterface } = await import("node:readline"); // a cold start is measured, too
  for await (const _ of createInterface({ input: process.stdin })) print(await run(params));
} else print(await run(params));
process.exit(0);
