/**
 * A client in a process of its own, whose handlers wait while it is flooded; its memory is measured:
 * `waiter.ts mode port folder what`.
 */
import { closeSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import {
  type Client,
  connect,
  type ConnectOptions,
  connectSync,
  connectWorker,
  type MqttError,
  type OnPublish,
  type SyncClient,
} from "../../mod.ts";

const [mode = "", port = "", folder = "", what = ""] = process.argv.slice(2);
const local = "127.0.0.1";
/** In which something is to be settled, or the client has stalled. */
const timeout = 5000;
const module = new URL("../worker/modules/waits.ts", import.meta.url);
const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

let base = 0, peak = 0;
const mebibytes = () => process.memoryUsage().rss / 2 ** 20;
const sample = () => peak = Math.max(peak, mebibytes());

function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** After so many messages the flood has shown what it does. */
const KEPT = 3000, ENOUGH: Record<string, number> = { "2": 500, "3000": 1 };

// ---- clients with an event loop

const ways: Record<string, (op: ConnectOptions) => Promise<Client>> = {
  "connect": (op) => connect(local, undefined, op),
  "connectWorker": (op) => connectWorker(local, undefined, op),
  "a module": (op) => connectWorker(local, module, op),
  "a module's caller": (op) => connectWorker(local, module, op),
};
const isModules = mode === "a module";

class Flooded {
  /** What the module has a byte in for each message. */
  readonly #file = join(folder, what);
  #mqtt: Client | undefined;
  #handled = 0;
  #isStalled = false;
  #others = 0;

  constructor() {
    closeSync(openSync(this.#file, "w"));
  }

  async open(): Promise<void> {
    const onstatus: ConnectOptions["onstatus"] = ({ type }) => void (this.#isStalled ||= type === "stalled");
    this.#mqtt = await ways[mode]!({
      port: Number(port),
      timeout,
      onstatus,
      ...what === "survivors" && { receiveMaximum: 8000 },
    });
  }

  async subscribe(): Promise<void> {
    const mqtt = this.#mqtt!;
    if (what === "survivors") {
      // Another handler has read each message before; with a module, that has.
      const read: OnPublish = (_, message) => void (this.#others += message.text().length);
      if (mode !== "a module's caller") await mqtt.subscribe("+/+", { onpub: read });
      await mqtt.subscribe("survivors/kept", { onpub: () => new Promise<void>(() => {}) });
      await mqtt.subscribe("survivors/other");
      return;
    }
    const milliseconds = Number(what);
    const onpub = what === "never"
      ? () => new Promise<void>(() => {})
      : () => sleep(milliseconds).then(() => void this.#handled++);
    await mqtt.subscribe(`wait/${what}${isModules ? this.#file : ""}`, isModules ? {} : { onpub });
  }

  get handled(): number {
    return isModules ? statSync(this.#file).size : this.#handled;
  }

  /** Whether the flood has shown what it does. */
  get isDone(): boolean {
    const enough = ENOUGH[what];
    if (what === "survivors") return this.#mqtt!.stats.unsettled >= KEPT;
    return enough === undefined ? this.#isStalled : this.handled >= enough;
  }

  async close(): Promise<unknown> {
    const { unsettled } = this.#mqtt!.stats, { handled } = this;
    await this.#mqtt!.disconnect();
    return { handled, unsettled, stalled: this.#isStalled };
  }
}

async function loops(): Promise<unknown> {
  const timer = setInterval(sample, 10);
  try {
    const client = new Flooded();
    await client.open();
    base = peak = mebibytes();
    await client.subscribe();
    while (!client.isDone) await sleep(20);
    return await client.close();
  } finally {
    clearInterval(timer);
  }
}

// ---- the client that blocks

/** A program that takes nothing, and publishes: the error that it gets when it waits for the broker. */
function publishes(mqtt: SyncClient): unknown {
  let published = 0;
  try {
    for (; published < 20_000; published++) {
      mqtt.publish("t", new Uint8Array(1000));
      if (published % 100 === 0) sample();
    }
    mqtt.flush();
    return "flushed";
  } catch (error) {
    return { handled: 0, published, unsettled: mqtt.stats.unsettled, code: (error as MqttError).code };
  }
}

/** A program whose handler blocks. */
function blocks(mqtt: SyncClient): unknown {
  let handled = 0;
  const onpub = () => {
    sample();
    block(Number(what));
    sample();
    if (++handled === ENOUGH[what]) mqtt.disconnect();
  };
  mqtt.subscribe(`wait/${what}`, { onpub });
  mqtt.run();
  return { handled };
}

function sync(): unknown {
  const mqtt = connectSync(local, undefined, { port: Number(port), timeout, maxBuffered: 16 << 20 });
  base = peak = mebibytes();
  if (ENOUGH[what] !== undefined) return blocks(mqtt);
  mqtt.subscribe(`wait/${what}`);
  const result = publishes(mqtt);
  mqtt.disconnect();
  return result;
}

const result = mode === "connectSync" ? sync() : await loops();
sample();
console.log(JSON.stringify({ grown: Math.round(peak - base), result }));
process.exit(); // handlers wait for ever
