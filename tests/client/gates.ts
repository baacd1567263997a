/** Brokers behind gates, and the four modes at them: what the tests of staying connected share. */
import { connect, connectSync, connectWorker } from "../../mod.ts";
import type { Address, Client, ConnectOptions, Message, Status, SyncClient } from "../../mod.ts";
import { patience, type Process } from "../support/process.ts";
import { freePort } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";
import type { Gate } from "./gate_broker.ts";

const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
/** It does nothing with its messages. */
export const idle: URL = new URL(`../worker/modules/idle${extension}`, import.meta.url);

/** What an address may be in every mode. */
export type Where = Address | (() => Address) | readonly (Address | (() => Address))[];
export type Mqtt = Client | SyncClient;
export type Open = (addr: Where, op: ConnectOptions) => Promise<Mqtt>;

/** By the name of the mode. */
export const modes: readonly (readonly [name: string, open: Open])[] = [
  ["connect", (addr, op) => connect(addr, undefined, op)],
  ["connectWorker", (addr, op) => connectWorker(addr, undefined, op)],
  ["connectWorker with a module", (addr, op) => connectWorker(addr, idle, op)],
  ["connectSync", (addr, op) => Promise.resolve().then(() => connectSync(addr, undefined, op))],
];

/** Reconnecting without patience. */
export const quick = { minDelay: 5, maxDelay: 20 };

/** Brokers and clients of a test, and what they told. */
export class Gates {
  readonly #brokers: Process[] = [];
  readonly #clients: Mqtt[] = [];
  readonly statuses: Status[] = [];
  readonly got: Message[] = [];

  readonly onstatus = (status: Status): void => void this.statuses.push(status);
  readonly onpub = (_topic: string, message: Message): void => void this.got.push(message);

  /** A port where nobody listens. */
  readonly port: number = freePort();

  /** Starts a broker; its address when it listens, at once if that is later. */
  async broker(gate: Partial<Gate> = {}): Promise<string> {
    const whole: Gate = { port: 0, after: 0, answers: [0], ...gate };
    const broker = await startScript("tests/client/gate_broker.ts", [JSON.stringify(whole)]);
    this.#brokers.push(broker);
    if (whole.after > 0) return `127.0.0.1:${whole.port}`;
    return `127.0.0.1:${(await broker.output(/port (\d+)\n/))[1]}`;
  }

  /** Ends a client with the test. */
  keep<T extends Mqtt>(mqtt: T): T {
    this.#clients.push(mqtt);
    return mqtt;
  }

  /** What the broker of that number has printed, without its port. */
  said(index = 0, pattern: RegExp = /^/): string[] {
    const lines = this.#brokers[index]!.stdout().split("\n").slice(0, -1);
    return lines.filter((line) => !line.startsWith("port ") && pattern.test(line));
  }

  /** The statuses of a type. */
  told<T extends Status["type"]>(type: T): Extract<Status, { type: T }>[] {
    return this.statuses.filter((status) => status.type === type) as Extract<Status, { type: T }>[];
  }

  /** Lets time pass until it is so; of a client that blocks, in receive(). */
  async until(mqtt: Mqtt, holds: () => boolean, what: string): Promise<void> {
    for (const end = performance.now() + patience; !holds();) {
      if (performance.now() > end) {
        const told = this.statuses.map((status) => status.type + ("error" in status ? ` ${status.error.message}` : ""));
        throw new Error(
          `Not ${what} within ${patience} ms: ${JSON.stringify([told, this.#brokers.map((_, i) => this.said(i))])}`,
        );
      }
      if ("receive" in mqtt && mqtt.status.type !== "closed") {
        const message = mqtt.receive(5);
        if (message !== undefined) this.got.push(message);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Ends all of it. */
  async stop(): Promise<void> {
    for (const mqtt of this.#clients) await Promise.resolve().then(() => mqtt.disconnect()).catch(() => undefined);
    for (const broker of this.#brokers) await broker.stop();
  }
}

/** Plays a scene, and ends what it has started. */
export async function atGates(act: (gates: Gates) => Promise<unknown>): Promise<void> {
  const gates = new Gates();
  try {
    await act(gates);
  } finally {
    await gates.stop();
  }
}
