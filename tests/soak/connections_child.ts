/**
 * Connections in a thread, one after the other, in a process of its own: each sends some messages, and they end in all ways
 * in turns. `connections_child.ts broker faulty refusing silent count every` (four ports): prints a line
 * after forty, to compare with, and for each so many.
 */
import process from "node:process";
import { type Client, type ConnectOptions, connectWorker, type MqttError } from "../../mod.ts";
import { deferred } from "../../src/deferred.ts";
import { collect } from "./collect.ts";
import { DROP } from "./faulty.ts";

const [broker = 0, faulty = 0, refusing = 0, silent = 0, count = 0, every = 0] = process.argv.slice(2).map(Number);
/** After so many it is measured first: what the runtime loads and compiles is there. */
const FIRST = 40;
const small = new Uint8Array(256), large = new Uint8Array(65_536);

const open = (port: number, op: ConnectOptions = {}): Promise<Client> =>
  connectWorker("127.0.0.1", undefined, { port, ...op });

/** Opens a connection that echoes small messages, and fills its ring with large ones that nobody gets. */
async function echoing(port: number, op?: ConnectOptions): Promise<Client> {
  const mqtt = await open(port, op), topic = `soak/${mqtt.id}`, all = deferred<void>();
  let missing = 20;
  await mqtt.subscribe(topic, { onpub: () => void (--missing === 0 && all.resolve()) });
  for (let i = 0; i < 10; i++) await mqtt.publish("soak/nobody", large);
  for (let i = 0; i < 20; i++) await mqtt.publish(topic, small);
  await all.promise;
  return mqtt;
}

/** Fails to open a connection. */
async function failing(code: MqttError["code"], port: number, op?: ConnectOptions): Promise<void> {
  const error = await open(port, op).then(() => undefined, (error: MqttError) => error);
  if (error?.code !== code) throw error ?? new Error(`The connection is open: it was to be ${code}`);
}

/** All ways to end. */
const ways: (() => Promise<unknown>)[] = [
  async () => {
    const mqtt = await echoing(broker);
    await mqtt.disconnect();
  },
  async () => {
    const mqtt = await echoing(faulty);
    await mqtt.publish(DROP, "");
    await mqtt.run();
  },
  () => failing("cannotconnect", 1),
  () => failing(5, refusing),
  () => failing("timeout", silent, { timeout: 100 }),
  () => failing("disconnect", silent, { signal: AbortSignal.timeout(50) }),
  async () => {
    const controller = new AbortController();
    const mqtt = await echoing(broker, { signal: controller.signal });
    controller.abort();
    await mqtt.run();
  },
  async () => {
    const mqtt = await echoing(broker);
    await mqtt[Symbol.asyncDispose]();
  },
  async () => {
    let connected = deferred<void>();
    const mqtt = await echoing(faulty, {
      reconnect: { minDelay: 5, maxDelay: 5 },
      onstatus: ({ type }) => void (type === "connected" && connected.resolve()),
    });
    for (let i = 0; i < 2; i++) {
      connected = deferred();
      await mqtt.publish(DROP, "");
      await connected.promise;
    }
    await mqtt.disconnect();
  },
];

const keeper = await open(broker); // the thread stays for the others
for (let i = 1; i <= count; i++) {
  await ways[i % ways.length]!();
  if (i !== FIRST && i % every !== 0) continue;
  collect();
  console.log(JSON.stringify({ connections: i, rss: process.memoryUsage().rss / 2 ** 20 }));
}
await keeper.disconnect();
