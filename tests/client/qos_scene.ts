/** The four modes on a broker in a process of its own: what tests of QoS 1 and 2 share. */
import { connect, connectSync, connectWorker } from "../../mod.ts";
import type { Client, ConnectOptions, Message, OutgoingMessage, QoS, SyncClient } from "../../mod.ts";
import { patience, type Process } from "../support/process.ts";
import { startScript } from "../support/spawn.ts";

const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
const module = new URL(`../worker/modules/idle${extension}`, import.meta.url);

export type Mqtt = Client | SyncClient;
/** On a port of this machine, or at an address. */
export type OpenOn = (port: number, op?: ConnectOptions, addr?: string) => Promise<Mqtt>;

const local = "127.0.0.1";

function at<M = undefined>(port: number, op?: ConnectOptions, addr?: string, onpub?: M): [string, M, ConnectOptions] {
  return addr === undefined ? [local, onpub as M, { port, ...op }] : [addr, onpub as M, { ...op }];
}

/** Opens a client, by the name of its mode; `connectSync` blocks, a server in this process does not answer it. */
export const modes: readonly (readonly [name: string, open: OpenOn])[] = [
  ["connect", (port, op, addr) => connect(...at(port, op, addr))],
  ["connectWorker", (port, op, addr) => connectWorker(...at(port, op, addr))],
  ["connectWorker with a module", (port, op, addr) => connectWorker(...at(port, op, addr, module))],
  ["connectSync", (port, op, addr) => Promise.resolve().then(() => connectSync(...at(port, op, addr)))],
];

export const turn = (milliseconds = 0): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Sleeps without the event loop. */
export function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** A client, and what it has received. */
export class Scene {
  readonly mqtt: Mqtt;
  readonly port: number;
  readonly got: Message[] = [];
  readonly #broker: Process | undefined;

  constructor(mqtt: Mqtt, port: number, broker?: Process) {
    this.mqtt = mqtt;
    this.port = port;
    this.#broker = broker;
  }

  readonly onpub = (_topic: string, message: Message): void => void this.got.push(message);

  /** What was received, as "text qos". */
  get texts(): string[] {
    return this.got.map((message) => `${message} ${message.qos}`);
  }

  /** What the broker printed of packets, without its port and how long they took. */
  said(pattern: RegExp = /^/): string[] {
    const lines = this.#broker!.stdout().split("\n").slice(1, -1);
    return lines.filter((line) => !line.startsWith("#") && pattern.test(line));
  }

  /** How many milliseconds each acknowledgement has taken. */
  get took(): number[] {
    return [...this.#broker!.stdout().matchAll(/^#.* after (\d+) ms$/gm)].map(([, ms]) => Number(ms));
  }

  /** Subscribes; a client that blocks takes what comes in `until`. */
  async subscribe(filter: string | string[], qos: QoS): Promise<number> {
    return await this.mqtt.subscribe(filter, "receive" in this.mqtt ? { qos } : { qos, onpub: this.onpub });
  }

  /** Has the scripted broker send messages: `topic payload qos packetId [dup]`. */
  async give(...lines: string[]): Promise<void> {
    await this.mqtt.publish("$give", lines.join("\n"));
  }

  /** Lets time pass until it is so. */
  async until(holds: () => boolean, what: string): Promise<void> {
    for (const end = performance.now() + patience; !holds();) {
      if (performance.now() > end) {
        throw new Error(
          `Not ${what} within ${patience} ms: ${this.texts.slice(-20)}; ${this.#broker?.stdout().slice(-2000)}`,
        );
      }
      if ("receive" in this.mqtt) { for (let next; (next = this.mqtt.receive(5)) !== undefined;) this.got.push(next); }
      await turn(2); // what the broker prints is read meanwhile
    }
  }
}

/** Plays a scene with a client of a mode on the broker that acknowledges as it is told. */
export async function onScripted(
  open: OpenOn,
  op: ConnectOptions | undefined,
  act: (scene: Scene) => Promise<unknown>,
): Promise<void> {
  const broker = await startScript("tests/client/qos_broker.ts");
  try {
    const port = Number((await broker.output(/port (\d+)\n/))[1]);
    const mqtt = await open(port, { keepalive: 0, ...op });
    try {
      await act(new Scene(mqtt, port, broker));
    } finally {
      await mqtt.disconnect();
    }
  } finally {
    await broker.stop();
  }
}

/** The outcome of a call: what it returned, or the code of its error. A call that blocks is made now, too. */
export async function outcome(act: () => unknown): Promise<unknown> {
  try {
    return await act();
  } catch (error) {
    return (error as { code?: unknown }).code ?? error;
  }
}

/** Messages to be published, with numbers as their texts. */
export function numbered(topic: string, count: number, qos: QoS): OutgoingMessage[] {
  return Array.from({ length: count }, (_, i) => ({ topic, message: `${i}`, qos }));
}
