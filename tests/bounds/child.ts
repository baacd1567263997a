/** One scenario in a process of its own, whose memory is measured: `child.ts scenario port [count]`. */
import process from "node:process";
import { type Client, connect, type ConnectOptions, connectSync, MqttError } from "../../mod.ts";

const [scenario = "", port = "", count = ""] = process.argv.slice(2);
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const mebibytes = () => process.memoryUsage().rss / 2 ** 20;

let base = 0, peak = 0;
const sample = () => peak = Math.max(peak, mebibytes());
const open = (onpub?: () => void, op?: ConnectOptions) =>
  connect("127.0.0.1", onpub, { port: Number(port), timeout: 60_000, ...op });

function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

function errorOf(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    return error;
  }
}

/** Each returns what the test wants to know of it; memory is measured around it. */
const scenarios: Record<string, () => Promise<unknown>> = {
  async callback() {
    let received = 0;
    const mqtt = await open(() => {
      received++;
      block(1);
    });
    await mqtt.subscribe("flood");
    let longest = 0;
    for (let now = performance.now(), until = now + 2000; now < until;) {
      await sleep(50);
      longest = Math.max(longest, performance.now() - now);
      now = performance.now();
    }
    await mqtt.disconnect();
    return { received, longest };
  },

  async iterator() {
    const mqtt = await open();
    let received = 0;
    const until = performance.now() + 2000;
    for await (const _ of mqtt.messages("flood", { limit: 100 })) {
      received++;
      if (performance.now() > until) break;
      await sleep(5);
    }
    await mqtt.disconnect();
    return received;
  },

  async blocked() {
    let received = 0;
    const mqtt = await open(() => received++, { keepalive: 1 });
    await mqtt.subscribe("flood");
    await sleep(50);
    for (let i = 0; i < 2; i++) {
      block(1500); // longer than the keep alive
      await sleep(20);
    }
    const end = await Promise.race([mqtt.run(), sleep(500).then(() => "alive")]);
    await mqtt.disconnect();
    return { received, end: end instanceof MqttError ? end.code : end };
  },

  async stalled() {
    const mqtt = await open(undefined, { maxBuffered: 8 << 20, timeout: 3000 });
    const message = new Uint8Array(1000);
    let overflows = 0;
    for (let i = 0; i < 200; i++) {
      for (let j = 0; j < 1000; j++) {
        mqtt.publish("t", message).catch((error) => error.code === "overflow" && overflows++);
      }
      await sleep(1);
      sample();
    }
    const end = await mqtt.disconnect().then(() => "done", (error) => error.code);
    return { overflows, end };
  },

  /** A program that blocks and takes nothing, and a broker that reads nothing until it has. */
  untaken() {
    const mqtt = connectSync("127.0.0.1", undefined, { port: Number(port), maxBuffered: 1 << 20, timeout: 15_000 });
    mqtt.subscribe("some/messages");
    let published = 0, received = 0;
    const publish = () => {
      for (;; published++) mqtt.publish("t", new Uint8Array(65_536));
    };
    const failure = errorOf(publish) as MqttError;
    while (received < Number(count) && mqtt.receive(10_000) !== undefined) received++;
    mqtt.publish("t", "again");
    mqtt.flush();
    mqtt.disconnect();
    return Promise.resolve({ published, received, code: failure.code, message: failure.message });
  },

  async promise() {
    const mqtt = await open(undefined, { maxPacketSize: 268_435_460, keepalive: 0 });
    await mqtt.subscribe("promise");
    await sleep(1500);
    await mqtt.disconnect();
    return "quiet";
  },

  async subscriptions() {
    const got: string[] = [];
    const mqtt = await open();
    const wanted = Array.from({ length: Number(count) }, (_, i) => `plant/${i % 100}/sensor/${i}`);
    for (let at = 0; at < wanted.length; at += 10_000) { // 65,535 requests may wait at most
      const some = wanted.slice(at, at + 10_000);
      await Promise.all(some.map((topic) => mqtt.subscribe(topic, { onpub: (topic) => got.push(topic) })));
    }
    await mqtt.publish("all", wanted.length.toString());
    while (got.length < wanted.length) await sleep(10);
    const right = wanted.every((topic, i) => topic === got[i]);
    await mqtt.disconnect();
    return right;
  },

  async clients() {
    const opened = await Promise.all(Array.from({ length: Number(count) }, () => open()));
    sample();
    await Promise.all(opened.map((mqtt: Client) => mqtt.publish("t", "hello")));
    await Promise.all(opened.map((mqtt: Client) => mqtt.disconnect()));
    const codes = new Set(await Promise.all(opened.map(async (mqtt) => (await mqtt.run()).code)));
    return [...codes];
  },
};

// What is loaded and compiled only once is not the scenario's.
const warm = await open();
await warm.publish("warm", "up");
await warm.disconnect();
base = peak = mebibytes();
const timer = setInterval(sample, 20);
const result = await scenarios[scenario]!();
sample();
clearInterval(timer);
console.log(JSON.stringify({ grown: Math.round(peak - base), result }));
