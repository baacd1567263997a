/** What only a process of its own can show; run by process_test.ts: `child.ts <scenario> <port>`. */
import { readdirSync } from "node:fs";
import process from "node:process";
import { Worker } from "node:worker_threads";
import { connectSync, connectWorker, type MqttError } from "../../mod.ts";

const [scenario = "", portText, milliseconds] = process.argv.slice(2);
const port = Number(portText);
const local = "127.0.0.1";
const say = (text: string) => void process.stdout.write(`${text}\n`);
const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } };

/** How many threads and open files the process has, where the system tells (Linux). */
function count(what: "task" | "fd"): number {
  try {
    return readdirSync(`/proc/self/${what}`).length;
  } catch {
    return 0;
  }
}

async function settled(): Promise<{ threads: number; files: number; bytes: number }> {
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    gc?.();
    Bun?.gc(true);
  }
  return { threads: count("task"), files: count("fd"), bytes: process.memoryUsage().rss };
}

/** The threads, files and bytes that 200 cycles leave, after twenty to warm up. */
async function cycles(cycle: (i: number) => unknown): Promise<void> {
  for (let i = 0; i < 20; i++) await cycle(i);
  const before = await settled();
  for (let i = 0; i < 200; i++) await cycle(i);
  const after = await settled();
  say(`${after.threads - before.threads} ${after.files - before.files} ${after.bytes - before.bytes}`);
}

const scenarios: Record<string, (milliseconds: number) => unknown> = {
  /** Sleeps in run() until it is interrupted. */
  run() {
    const mqtt = connectSync(local, undefined, { port });
    mqtt.subscribe("t");
    process.stdout.write("running\n", () => mqtt.run());
  },

  /** Takes messages now and then, for longer than a thread may be silent. */
  poll() {
    const mqtt = connectSync(local, undefined, { port, id: "ID" });
    for (const start = performance.now(); performance.now() - start < 6500;) {
      mqtt.receive(300);
      for (const work = performance.now(); performance.now() - work < 5;);
    }
    mqtt.disconnect();
    say("alive");
  },

  /** Loses its connection, and has another after so many milliseconds. */
  again(delay: number) {
    Math.random = () => 0.99;
    const mqtt = connectSync(local, undefined, { port, id: "ID", reconnect: { minDelay: delay, maxDelay: delay } });
    say(`${mqtt.receive()}`);
    mqtt.disconnect();
  },

  /** A blocking client beside one that is heard, and left, later: then the program ends, while the first is open. */
  async kept() {
    connectSync(local, undefined, { port, id: "ID", keepalive: 0 });
    const mqtt = await connectWorker(local, undefined, { port, id: "ID", keepalive: 0 });
    setTimeout(async () => {
      say("heard");
      await mqtt.disconnect();
      say("done");
    }, 500).unref();
  },

  /** A program that is done while it is connected. */
  done() {
    const mqtt = connectSync(local, undefined, { port });
    mqtt.subscribe("t");
    say("done");
  },

  /** All ways a connection in a thread can end: nothing keeps the process alive. */
  async ends() {
    const closing = await connectWorker(local, undefined, { port });
    await closing.subscribe("t");
    await closing.disconnect();
    const controller = new AbortController();
    const aborted = await connectWorker(local, undefined, { port, signal: controller.signal });
    controller.abort();
    await aborted.run();
    await connectWorker(local, undefined, { port: 1, timeout: 60_000 }).catch((error: MqttError) =>
      say(`${error.code}`)
    );
    const disposed = await connectWorker(local, undefined, { port });
    await disposed[Symbol.asyncDispose]();
    const blocking = connectSync(local, undefined, { port });
    blocking[Symbol.dispose]();
    try {
      connectSync(local, undefined, { port: 1, timeout: 60_000 });
    } catch (error) {
      say(`${(error as MqttError).code}`);
    }
    say("done");
  },

  /** The blocking client in a thread of the application's own. */
  nested() {
    const url = new URL("../../mod.ts", import.meta.url).href.replace(/ts$/, import.meta.url.slice(-2));
    const code = `import { connectSync } from ${JSON.stringify(url)};
      import { parentPort } from "node:worker_threads";
      const mqtt = connectSync("${local}", (topic, message) => {
        parentPort.postMessage(topic + ": " + message);
        mqtt.disconnect();
      }, { port: ${port} });
      mqtt.subscribe("t");
      mqtt.publish("t", "hi");
      parentPort.postMessage(mqtt.run().code);`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
    worker.on("message", say);
  },

  worker: () =>
    cycles(async (i) => {
      const mqtt = await connectWorker(local, undefined, { port, id: `worker${i}` });
      await mqtt.publish("t", "");
      await mqtt.disconnect();
    }),

  sync: () =>
    cycles(async (i) => {
      const mqtt = connectSync(local, undefined, { port, id: `sync${i}` });
      mqtt.publish("t", "");
      mqtt.disconnect();
      await new Promise((resolve) => setTimeout(resolve)); // or nothing hears that the thread is gone
    }),
};

await scenarios[scenario]?.(Number(milliseconds));
