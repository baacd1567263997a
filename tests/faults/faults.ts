/**
 * Faults with real parts: mosquitto, a proxy, and a client that publishes to itself all the time and
 * connects again. Each message gets a verdict: it arrived, or it was lost with the connection it was
 * handed to. None may arrive twice, out of order, or be lost otherwise.
 */
import { assert, assertEquals, assertLess, assertLessOrEqual } from "@std/assert";
import { type Client, connect, type ConnectOptions, flightRecorder } from "../../mod.ts";
import { within } from "../client/support.ts";
import { certificates } from "../support/certificates.ts";
import type { Random } from "../support/random.ts";
import { credentials, type MosquittoOptions, type ServerProcess, startMosquitto } from "../support/servers.ts";
import { type FaultProxy, startFaultProxy, type Weather } from "./proxy.ts";

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A broker that can be killed and started again on its port, behind a proxy. */
class Scene {
  broker: ServerProcess;
  readonly proxy: FaultProxy;

  private constructor(broker: ServerProcess, proxy: FaultProxy) {
    this.broker = broker;
    this.proxy = proxy;
  }

  static async start(options: MosquittoOptions = {}): Promise<Scene> {
    const broker = await startMosquitto(options);
    return new Scene(broker, await startFaultProxy(broker.port));
  }

  async kill(): Promise<void> {
    this.broker.kill("SIGKILL");
    await this.broker.stop();
  }

  async restart(options: MosquittoOptions = {}): Promise<void> {
    this.broker = await startMosquitto({ ...options, port: this.broker.port });
  }

  async weather(weather: Weather, milliseconds: number): Promise<void> {
    this.proxy.weather = weather;
    await sleep(milliseconds);
    this.proxy.weather = {};
  }

  async stop(): Promise<void> {
    await this.proxy.stop();
    await this.broker.stop();
  }
}

interface Fault {
  /** Whether no connection need break, so that no message may be lost. */
  harmless?: boolean;
  act(scene: Scene, random: Random): Promise<void>;
}

/** What is done, by its name. */
export const faults: Record<string, Fault> = {
  "killed and restarted": {
    async act(scene) {
      await scene.kill();
      await scene.restart();
    },
  },
  "killed, its port refused for a while": {
    async act(scene, random) {
      await scene.kill();
      await sleep(random.int(300, 1000));
      await scene.restart();
    },
  },
  "stopped and continued": {
    harmless: true,
    async act(scene, random) {
      scene.broker.kill("SIGSTOP");
      await sleep(random.int(100, 500));
      scene.broker.kill("SIGCONT");
    },
  },
  "stopped for longer than the keep alive": {
    async act(scene) {
      scene.broker.kill("SIGSTOP");
      await sleep(3500);
      scene.broker.kill("SIGCONT");
    },
  },
  "delayed": {
    harmless: true,
    act: (scene, random) => scene.weather({ delay: random.int(1, 60) }, 500),
  },
  "throttled to one byte": { harmless: true, act: (scene) => scene.weather({ drip: 1 }, 500) },
  "cut in the middle of a packet": {
    act: (scene, random) => scene.weather({ after: { bytes: random.int(1, 40), then: "close" } }, 200),
  },
  "reset in the middle of a packet": {
    act: (scene, random) => scene.weather({ after: { bytes: random.int(1, 40), then: "reset" } }, 200),
  },
  "reset": {
    act(scene) {
      scene.proxy.reset();
      return Promise.resolve();
    },
  },
  "silent, half-open": {
    act: (scene, random) => scene.weather({ after: { bytes: random.int(1, 40), then: "silence" } }, 3500),
  },
};

/** How a round went, in words. */
export async function round(name: string, random: Random): Promise<string> {
  const { act, harmless = false } = faults[name]!;
  const scene = await Scene.start();
  const recorder = flightRecorder(40);
  let connections = 0;
  const received: number[] = [];
  const mqtt = await connect(`mqtt://127.0.0.1:${scene.proxy.port}`, (_, message) => received.push(message.json()), {
    keepalive: 1,
    timeout: 5000,
    reconnect: { minDelay: 20, maxDelay: 200 },
    trace: (record) => {
      recorder.trace(record);
      if (record.type === "CONNECT") connections++;
    },
  });
  try {
    await mqtt.subscribe("t");
    const publisher = publishAll(mqtt);
    await until(() => received.length > 5, "the first messages");
    await act(scene, random);
    const published = publisher.count();
    // One that was published after the fault comes back: everything works again.
    await until(() => (received.at(-1) ?? 0) > published, "a message after the fault");
    const count = await publisher.stop();
    await until(() => received.at(-1) === count, "the last message");
    await mqtt.disconnect();
    return verdict(received, count, connections, harmless);
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}\n${recorder}`, { cause: error });
  } finally {
    await mqtt.disconnect().catch(() => undefined); // what has failed is told already
    await scene.stop();
  }
}

function publishAll(mqtt: Client): { count(): number; stop(): Promise<number> } {
  let count = 0, on = true;
  const done = (async () => {
    while (on) {
      await mqtt.publish("t", String(++count));
      await sleep(3);
    }
  })();
  return {
    count: () => count,
    async stop() {
      on = false;
      await done;
      return count;
    },
  };
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const waiting = (async () => {
    while (!holds()) await sleep(5);
  })();
  await within(waiting, what);
}

/** Each number from 1 to `count` is in `received`, in order, or in a gap; there is at most one gap a connection. */
function verdict(received: number[], count: number, connections: number, harmless: boolean): string {
  let last = 0, gaps = 0, lost = 0;
  for (const seq of received) {
    assertLess(last, seq, "twice, or out of order");
    if (seq > last + 1) gaps++;
    lost += seq - last - 1;
    last = seq;
  }
  assertEquals(received.length + lost, count);
  assertLessOrEqual(gaps, connections - 1, "a message is lost though its connection lived");
  if (harmless) assertEquals([connections, lost], [1, 0], "a harmless fault");
  return `${count} messages: ${received.length} arrived, ${lost} lost with ${connections - 1} connections`;
}

/** The broker comes back with a certificate that nobody trusts: it gets no credentials, and is tried again until it has a good one. */
export async function swapCertificate(): Promise<void> {
  const { ca, selfSigned } = certificates();
  const scene = await Scene.start({ tls: true, password: true });
  const op: ConnectOptions = {
    ...credentials,
    tls: { ca, servername: "localhost" },
    reconnect: { minDelay: 20, maxDelay: 200 },
  };
  let connects = 0, untrusted = 0;
  let changed = () => {};
  const mqtt = await connect(`mqtts://127.0.0.1:${scene.proxy.port}`, undefined, {
    ...op,
    trace: ({ type }) => type === "CONNECT" && connects++,
    onstatus: (status) => {
      if (status.type === "waiting" && status.error.code === "untrusted") untrusted++;
      changed();
    },
  });
  const until = (holds: () => boolean, what: string) =>
    within(
      new Promise<void>((resolve) => {
        changed = () => holds() && resolve();
        changed();
      }),
      what,
    );
  try {
    await scene.kill();
    await scene.restart({ tls: selfSigned, password: true });
    await until(() => untrusted >= 3, "three attempts");
    assertEquals(connects, 1, "CONNECT goes to whom it trusts");
    assert(!scene.broker.log().includes(credentials.uname), "the broker has seen no user name");
    await scene.kill();
    await scene.restart({ tls: true, password: true });
    await until(() => mqtt.status.type === "connected", "the good certificate");
    assertEquals(connects, 2);
  } finally {
    await mqtt.disconnect();
    await scene.stop();
  }
}
