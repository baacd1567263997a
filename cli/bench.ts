/** `mqtt3c bench`: publishers and subscribers in one process, whose clock tells how long each message was under way. */
import type { Client } from "../mod.ts";
import { open } from "./connection.ts";
import { EXIT } from "./errors.ts";
import type { Values } from "./options.ts";
import { disconnectProperties } from "./properties.ts";
import { clearProgress, grouped, progress } from "./terminal.ts";

/** QoS 1 and 2: messages of a publisher that are not acknowledged. */
const WINDOW = 100;
/** Milliseconds: between two live lines, and as long as nothing more may come at the end. */
const LOOK = 1000;

/** Resolves to the exit status; the result is on standard output. */
export async function bench(values: Values, interrupted: Promise<number>): Promise<number> {
  const publishers = values.number("publishers", 1, 10_000) ?? 1;
  const subscribers = values.number("subscribers", 0, 10_000) ?? 1;
  const rate = values.number("rate", 1, 1e9, false);
  const size = values.number("size", 8, 16 << 20) ?? 64, qos = values.qos();
  const seconds = values.number("seconds", 0.1, 1e6, false) ?? 10;
  const topic = values.text("topic") ?? `mqtt3c/bench/${Math.random().toString(36).slice(2, 10)}`;

  const delays = new Delays();
  let sent = 0, received = 0, isOver = false, lost!: (error: Error) => void;
  const broken = new Promise<never>((_, reject) => lost = reject);
  const clients: Client[] = [];
  const join = async () => {
    // A message that came late would count as slow, and not as lost: so no connection is made again.
    const mqtt = await open(values, interrupted, { reconnect: false, offline: false });
    mqtt.run().then((error) => error.code === "disconnect" || lost(error));
    clients.push(mqtt);
    return mqtt;
  };

  const work = async () => {
    for (let i = 0; i < subscribers; i++) {
      const mqtt = await join();
      await mqtt.subscribe(topic, {
        qos,
        onpub(_, { payload }) {
          received++;
          delays.add(performance.now() - new DataView(payload.buffer, payload.byteOffset).getFloat64(0));
        },
      });
    }
    const sending: Client[] = [];
    for (let i = 0; i < publishers; i++) sending.push(await join());

    const began = performance.now(), end = began + 1000 * seconds;
    const publish = (mqtt: Client) => {
      const payload = new Uint8Array(size);
      new DataView(payload.buffer).setFloat64(0, performance.now());
      sent++;
      return mqtt.publish(topic, payload, { qos });
    };
    const live = setInterval(() => {
      const elapsed = (performance.now() - began) / 1000;
      progress(
        `${elapsed.toFixed(0)} s: ${grouped(sent / elapsed)} published a second, ${
          grouped(received / elapsed)
        } received, ${show(delays.quantile(0.5))} each`,
      );
    }, LOOK);
    try {
      const isOn = () => !isOver && performance.now() < end;
      await Promise.all(
        sending.map((mqtt) =>
          rate === undefined
            ? flood(() => publish(mqtt), isOn, qos)
            : pace(() => publish(mqtt), isOn, rate / publishers)
        ),
      );
      await Promise.all(sending.map((mqtt) => mqtt.flush()));
      const elapsed = (performance.now() - began) / 1000;
      for (let before = -1; received < sent * subscribers && before !== received;) {
        before = received;
        await new Promise((resolve) => setTimeout(resolve, LOOK));
      }
      return elapsed;
    } finally {
      clearInterval(live);
      clearProgress();
    }
  };
  interrupted.then(() => isOver = true);
  let elapsed: number;
  try {
    elapsed = await Promise.race([work(), broken]);
  } finally {
    isOver = true;
  }
  await Promise.all(clients.map((mqtt) => mqtt.disconnect(disconnectProperties(values))));
  const result = {
    publishers,
    subscribers,
    qos,
    size,
    seconds: round(elapsed),
    published: sent,
    received,
    lost: sent * subscribers - received,
    publishedPerSecond: Math.round(sent / elapsed),
    receivedPerSecond: Math.round(received / elapsed),
    milliseconds: Object.fromEntries(
      ([["p50", 0.5], ["p90", 0.9], ["p99", 0.99], ["p99.9", 0.999], ["max", 1]] as const)
        .map(([name, part]) => [name, round(delays.quantile(part))]),
    ),
  };
  console.log(values.is("json") ? JSON.stringify(result) : table(result));
  return result.lost > 0 && qos > 0 ? EXIT.other : EXIT.done;
}

/** As many as go: at QoS 0 as fast as there is room, otherwise as fast as they are acknowledged. */
async function flood(publish: () => Promise<unknown>, isOn: () => boolean, qos: number): Promise<void> {
  const one = async () => {
    while (isOn()) await publish();
  };
  await Promise.all(Array.from({ length: qos === 0 ? 1 : WINDOW }, one));
}

/** So many a second: those that are due, in each turn. */
async function pace(publish: () => Promise<unknown>, isOn: () => boolean, rate: number): Promise<void> {
  const began = performance.now(), pending = new Set<Promise<unknown>>();
  for (let count = 0; isOn();) {
    for (const due = (performance.now() - began) * rate / 1000; count < due; count++) {
      const published = publish().finally(() => pending.delete(published));
      pending.add(published);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(pending);
}

/** Times in buckets, each 1 % wider than the one before. */
export class Delays {
  readonly #buckets: number[] = [];
  #count = 0;
  #longest = 0;

  /** Milliseconds. */
  add(delay: number): void {
    const bucket = Math.max(0, Math.ceil(Math.log(delay * 1000) / Math.log(1.01)));
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#count++;
    if (delay > this.#longest) this.#longest = delay;
  }

  /** The time within which this part of them was; 0 when there are none. */
  quantile(part: number): number {
    let left = part * this.#count;
    if (part === 1) return this.#longest;
    for (const [bucket, count = 0] of this.#buckets.entries()) {
      left -= count;
      if (left <= 0) return this.#count === 0 ? 0 : Math.min(1.01 ** bucket / 1000, this.#longest);
    }
    return this.#longest;
  }
}

function round(value: number): number {
  return Math.round(1000 * value) / 1000;
}

function show(milliseconds: number): string {
  return `${milliseconds.toFixed(milliseconds < 10 ? 2 : 0)} ms`;
}

interface Result {
  published: number;
  received: number;
  lost: number;
  seconds: number;
  publishedPerSecond: number;
  receivedPerSecond: number;
  milliseconds: Record<string, number>;
}

function table(
  { published, received, lost, seconds, publishedPerSecond, receivedPerSecond, milliseconds }: Result,
): string {
  const delays = Object.entries(milliseconds).map(([name, value]) => `${name} ${show(value)}`).join(", ");
  return `published ${grouped(published)} in ${seconds.toFixed(1)} s: ${grouped(publishedPerSecond)} a second\n` +
    `received  ${grouped(received)}: ${grouped(receivedPerSecond)} a second${
      lost > 0 ? `; ${grouped(lost)} are lost` : ""
    }\n` +
    `under way ${delays}`;
}
