/**
 * A client with a durable session, to be killed: publishes, and receives, and tells each step in a line before the next
 * one. What it has told is in the pipe when it is killed.
 *
 * | line | what has happened |
 * |---|---|
 * | `begins id` | it is about to connect |
 * | `subscribed id` | it gets messages |
 * | `publishes id qos number` | it is about to |
 * | `stored id qos number` | the promise of the publish, `until: "stored"`, is resolved |
 * | `handles id qos number` | a handler has begun |
 * | `handled id qos number` | it is done |
 * | `wrong id what` | what must not be |
 * | `done id` | everything is acknowledged, and it has disconnected |
 */
import process from "node:process";
import {
  type Client,
  connect,
  type ConnectOptions,
  connectSync,
  connectWorker,
  fileStore,
  MqttError,
  type OnPublish,
  type SyncClient,
} from "../../mod.ts";
import { Random } from "../support/random.ts";
import { DeadlyStore, SlowStore } from "./stores.ts";
import { contentOf, type Level, levels, type Task, topicOf } from "./task.ts";
import { begin, tell } from "./telling.ts";

/** So many messages are published and not stored, at the most. */
const MOST_PENDING = 50;

const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
const module = new URL(`./handler${extension}`, import.meta.url);
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function storeOf({ path, dies, slow, seed }: Task) {
  const store = fileStore(path);
  if (dies !== undefined) return new DeadlyStore(store, dies);
  return slow === undefined ? store : new SlowStore(store, new Random(seed + 1), slow);
}

function optionsOf(task: Task): ConnectOptions {
  const { id, port } = task;
  return {
    port,
    id,
    session: true,
    sessionLost: "resend",
    store: storeOf(task),
    reconnect: { minDelay: 10, maxDelay: 100 },
    onstatus(status) {
      if (status.type === "store" || status.type === "dropped") tell("wrong", id, status.error.message);
    },
  };
}

/** Connects, again and again while the broker is being started. */
async function persist<T>(open: () => T | Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof MqttError) || !/^(cannotconnect|socketclosed|timeout)$/.test(`${error.code}`)) throw error;
      await sleep(20);
    }
  }
}

/** Counts the messages that are published. */
class Numbers {
  readonly #task: Task;
  readonly #random: Random;
  #left: number;

  constructor(task: Task, random: Random) {
    this.#task = task;
    this.#random = random;
    this.#left = task.count ?? Infinity;
  }

  get hasMore(): boolean {
    return this.#left > 0;
  }

  /** The next message: it is told that it is about to be published. */
  take(): { qos: Level; number: number; topic: string; content: string } {
    const { id, next } = this.#task;
    const qos = this.#random.pick(levels), number = next[qos]++;
    const topic = topicOf(id, "out", qos, number);
    this.#left--;
    tell("publishes", id, qos, number);
    return { qos, number, topic, content: contentOf(topic) };
  }
}

async function runLoop(task: Task): Promise<void> {
  const { id, mode, pause } = task, random = new Random(task.seed), numbers = new Numbers(task, random);
  let isEnding = false, pending = 0;
  const onpub: OnPublish = async (topic, message) => {
    if (topic.startsWith(`${id}/end/`)) return void (isEnding = true);
    const end = begin(topic, message);
    await sleep(random.int(1, Math.max(1, pause)));
    end();
  };
  const options = optionsOf(task), host = "127.0.0.1";
  const open = mode === "connect" ? connect : connectWorker;
  const mqtt: Client = await persist(() =>
    mode === "module" ? connectWorker(host, module, options) : open(host, onpub, options)
  );
  await mqtt.subscribe(`${id}/in/+/+`, { qos: 2 });
  await mqtt.subscribe(`${id}/end/+`, { qos: 2, onpub });
  tell("subscribed", id);
  while (numbers.hasMore) {
    for (let burst = random.int(1, 4); burst > 0 && numbers.hasMore && pending < MOST_PENDING; burst--) {
      const { qos, number, topic, content } = numbers.take();
      pending++;
      mqtt.publish(topic, content, { qos, until: "stored" }).then(() => {
        pending--;
        tell("stored", id, qos, number);
      });
    }
    await sleep(random.int(0, pause));
  }
  while (!isEnding) await sleep(5);
  await mqtt.flush();
  await mqtt.disconnect();
}

async function runSync(task: Task): Promise<void> {
  const { id, pause } = task, random = new Random(task.seed), numbers = new Numbers(task, random);
  const options = optionsOf(task);
  const mqtt: SyncClient = await persist(() => connectSync("127.0.0.1", undefined, options));
  mqtt.subscribe([`${id}/in/+/+`, `${id}/end/+`], { qos: 2 });
  tell("subscribed", id);
  for (let isEnding = false; !isEnding || numbers.hasMore;) {
    if (numbers.hasMore) {
      const { qos, number, topic, content } = numbers.take();
      mqtt.publish(topic, content, { qos, until: "stored" });
      tell("stored", id, qos, number);
    }
    for (let most = random.int(1, 5); most > 0; most--) {
      const message = mqtt.receive(random.int(0, pause));
      if (message === undefined) break;
      if (message.topic.startsWith(`${id}/end/`)) {
        isEnding = true;
        break;
      }
      begin(message.topic, message)();
    }
  }
  mqtt.receive(0); // the last message is settled
  mqtt.flush();
  mqtt.disconnect();
}

for (const task of JSON.parse(process.argv[2]!) as Task[]) {
  tell("begins", task.id);
  await (task.mode === "connectSync" ? runSync(task) : runLoop(task));
  tell("done", task.id);
}
