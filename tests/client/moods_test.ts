/** What a client does with a broker that hangs up, refuses, or sends what it cannot take: seen with real programs, in each mode. */
import { test } from "node:test";
import { connect as connectTcp } from "node:net";
import { assert, assertEquals, assertLess, assertMatch, assertThrows } from "@std/assert";
import type { Client, ConnectionStatus, ConnectOptions, OnPublish, Status, SyncClient } from "../../mod.ts";
import { connect, connectSync, MqttError } from "../../mod.ts";
import { patience } from "../support/process.ts";
import { startScripted } from "../support/scripted.ts";
import { runScript, startScript } from "../support/spawn.ts";
import { modes } from "./modes.ts";
import { codeOf } from "./support.ts";

const reconnect = { minDelay: 10, maxDelay: 100 };

/** What a test works with; `blocking` clients let time pass in receive() alone. */
class Scene {
  readonly mqtt: Client | SyncClient;
  readonly statuses: Status[];
  /** What the broker printed, without its port. */
  readonly said: () => string[];
  /** Topics received by a client that blocks; by handlers in the other modes. */
  readonly topics: string[] = [];
  readonly onpub: OnPublish = (topic) => void this.topics.push(topic);

  constructor(mqtt: Client | SyncClient, statuses: Status[], said: () => string[]) {
    this.mqtt = mqtt;
    this.statuses = statuses;
    this.said = said;
  }

  /** Lets time pass until it is so. */
  async until(holds: () => boolean, what: string): Promise<void> {
    for (const end = performance.now() + patience; !holds();) {
      assert(performance.now() < end, `${what}: ${JSON.stringify([this.said(), this.statuses])}`);
      if ("receive" in this.mqtt) {
        const message = this.mqtt.receive(20);
        if (message !== undefined) this.topics.push(message.topic);
      }
      await new Promise((resolve) => setTimeout(resolve, 5)); // what the broker prints is read meanwhile
    }
  }

  /** Checks the SUBSCRIBE packets of a connection, once as many have come. */
  async checkAsked(connection: number, filters: string[]): Promise<void> {
    await this.until(() => this.asked(connection).length >= filters.length, `SUBSCRIBE of ${filters}`);
    assertEquals(this.asked(connection), filters);
  }

  /** Publishes until it comes back: the connection is there, and nothing is behind. */
  async echo(topic: string): Promise<void> {
    await this.mqtt.publish(topic, "");
    await this.until(() => this.topics.includes(topic), `the message ${topic}`);
  }

  /** The connections that the broker has seen. */
  get connections(): number {
    return this.said().filter((line) => line.endsWith(" CONNECT")).length;
  }

  /** The filters of the SUBSCRIBE packets of a connection. */
  asked(connection: number): string[] {
    const start = `${connection} SUBSCRIBE `;
    return this.said().filter((line) => line.startsWith(start)).map((line) => line.slice(start.length));
  }

  told(type: Status["type"]): Status[] {
    return this.statuses.filter((status) => status.type === type);
  }
}

for (const [mode, open] of modes) {
  const scene = (title: string, act: (scene: Scene) => Promise<unknown>, op: ConnectOptions = {}): void => {
    test(`${mode}: ${title}`, async () => {
      const broker = await startScript("tests/client/moody_broker.ts");
      const [, port] = await broker.output(/port (\d+)\n/);
      const statuses: Status[] = [];
      const onstatus = (status: Status) => void statuses.push(status);
      try {
        const mqtt = await open(`127.0.0.1:${port}`, undefined, { reconnect, onstatus, timeout: 5000, ...op });
        try {
          await act(new Scene(mqtt, statuses, () => broker.stdout().split("\n").slice(1, -1)));
        } finally {
          await mqtt.disconnect();
        }
      } finally {
        await broker.stop();
      }
    });
  };

  scene("twelve filters asked for one by one are asked for again one by one", async (scene) => {
    const filters = Array.from({ length: 12 }, (_, i) => `f/${i}`);
    for (const filter of filters) await scene.mqtt.subscribe(filter, { onpub: scene.onpub });
    await scene.mqtt.subscribe(["a", "b", "echo"], { onpub: scene.onpub });
    await scene.mqtt.publish("$drop", "");
    await scene.until(() => scene.told("connected").length === 2, "another connection");
    await scene.echo("echo");
    await scene.checkAsked(1, [...filters, "a,b,echo"]);
    assertEquals(scene.connections, 2);
  });

  scene("a filter for which the broker hangs up is asked for once more, rejected, and forgotten", async (scene) => {
    await scene.mqtt.subscribe("echo", { onpub: scene.onpub });
    assertEquals(await codeOf(Promise.resolve().then(() => scene.mqtt.subscribe("forbidden", {}))), "socketclosed");
    await scene.mqtt.publish("$drop", "");
    await scene.until(() => scene.told("connected").length === 4, "the connection after that");
    await scene.echo("echo");
    for (const connection of [0, 1]) await scene.checkAsked(connection, ["echo", "forbidden"]);
    for (const connection of [2, 3]) await scene.checkAsked(connection, ["echo"]);
    assertEquals(scene.connections, 4);
  });

  scene("a filter is given up at once while the broker is away", async (scene) => {
    await scene.mqtt.subscribe(["echo", "gone"], { onpub: scene.onpub });
    const iterator = "messages" in scene.mqtt ? scene.mqtt.messages("iterated") : undefined;
    await scene.echo("echo");
    await scene.mqtt.publish("$away", "1500");
    await scene.until(() => scene.mqtt.status.type === "waiting", "the loss");
    const start = performance.now();
    await scene.mqtt.unsubscribe("gone");
    await iterator?.return?.();
    assertLess(performance.now() - start, 1000, "at once");
    await scene.until(() => scene.mqtt.status.type === "connected", "another connection");
    scene.topics.length = 0;
    await scene.echo("echo");
    await scene.checkAsked(1, ["echo"]);
  });

  scene("a filter that is refused at a reconnect ends alone, and is told", async (scene) => {
    await scene.mqtt.subscribe(["refused/x", "echo"], { onpub: scene.onpub });
    const iterator = "messages" in scene.mqtt ? scene.mqtt.messages("refused/iterated") : undefined;
    const waiting = iterator?.next().then(() => "a message", (error) => error.code);
    await scene.echo("echo");
    await scene.mqtt.publish("$drop", "");
    const count = iterator === undefined ? 1 : 2;
    await scene.until(() => scene.told("refused").length === count, "the refusal");
    scene.topics.length = 0;
    await scene.echo("echo");
    const refused = scene.told("refused").map((status) => status.type === "refused" && status.filter);
    assertEquals(refused, ["refused/x", "refused/iterated"].slice(0, count));
    assertEquals(await waiting, iterator && 128);
  });

  scene("a retained message over maxPacketSize is passed over, counted and told", async (scene) => {
    await scene.mqtt.subscribe(["retained/large", "echo"], { onpub: scene.onpub });
    await scene.echo("echo");
    await scene.until(() => scene.told("dropped").length === 1, "the status");
    const [dropped] = scene.told("dropped");
    assert(dropped?.type === "dropped");
    assertEquals([dropped.topic, dropped.size, dropped.error.code], ["retained/large", 100_020, "overflow"]);
    await scene.checkAsked(0, ["retained/large,echo"]);
    assertEquals([scene.mqtt.stats.dropped, scene.connections], [1, 1]);
  }, { maxPacketSize: 1000 });

  scene("a broken message that comes again and again: the delays grow, and each is told", async (scene) => {
    await Promise.resolve().then(() => scene.mqtt.subscribe("retained/garbled", {})).catch(() => {}); // it may be lost with its connection
    await scene.until(() => scene.told("waiting").length >= 5, "five losses");
    const waits = scene.told("waiting").slice(0, 5);
    for (const status of waits) assertEquals(status.type === "waiting" && status.error.code, "protocol");
    assertLess(scene.connections, 12);
  });

  for (const code of [5, 2]) {
    scene(`a refusal with ${code} at a reconnect does not end it`, async (scene) => {
      await scene.mqtt.subscribe("echo", { onpub: scene.onpub });
      await scene.mqtt.publish(`$reply/${code}`, "");
      await scene.until(() => scene.told("waiting").length >= 2, "the refusal");
      await scene.until(() => scene.told("connected").length === 2, "another connection");
      await scene.echo("echo");
      const codes = scene.told("waiting").map((status) => status.type === "waiting" && status.error.code);
      assertEquals<unknown[]>(codes, ["socketclosed", code]);
    });
  }

  scene("each change of its status is told once, in order", async (scene) => {
    await scene.mqtt.subscribe("echo", { onpub: scene.onpub });
    await scene.mqtt.publish("$drop", "");
    await scene.until(() => scene.told("connected").length === 2, "another connection");
    const types: ConnectionStatus["type"][] = ["connecting", "connected", "waiting", "connecting", "connected"];
    assertEquals(scene.statuses.map(({ type }) => type), types);
    assertEquals(scene.mqtt.status, scene.statuses.at(-1)!);
    const [first] = scene.statuses;
    assert(first?.type === "connecting");
    assertMatch(first.address ?? "", /^127\.0\.0\.1:\d+$/);
    await scene.mqtt.disconnect();
    assertEquals(scene.mqtt.status.type, "closed");
  });
}

/** Sleeps without the event loop, as a program that blocks does. */
function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

test("connectSync: who only publishes hears that the connection is lost, and has another one", async () => {
  const broker = await startScript("tests/client/moody_broker.ts");
  try {
    const [, port] = await broker.output(/port (\d+)\n/);
    const mqtt = connectSync(`127.0.0.1:${port}`, undefined, { reconnect });
    mqtt.publish("$drop", "");
    for (let i = 0; i < 20; i++) {
      block(20);
      mqtt.publish("t", `${i}`);
    }
    await broker.output(/1 CONNECT\n/);
    mqtt.disconnect();

    const last = connectSync(`127.0.0.1:${port}`);
    last.publish("$drop", "");
    const error = assertThrows(() => {
      for (let i = 0; i < 100; i++) {
        block(20);
        last.publish("t", `${i}`);
      }
    }, MqttError);
    assertEquals(error.code, "socketclosed");
  } finally {
    await broker.stop();
  }
});

test("connectSync: statuses are told in order, also when onstatus receives", async () => {
  const broker = await startScript("tests/client/moody_broker.ts");
  try {
    const [, port] = await broker.output(/port (\d+)\n/);
    const told: string[] = [];
    const onstatus = ({ type }: Status) => {
      told.push(type);
      if (type !== "closed") mqtt.receive(30);
    };
    const mqtt: SyncClient = connectSync(`127.0.0.1:${port}`, undefined, { reconnect, onstatus });
    for (let i = 0; i < 3; i++) {
      mqtt.publish("$drop", "");
      mqtt.receive(200);
    }
    mqtt.disconnect();
    mqtt.run();
    const follows: Record<string, string[]> = {
      connecting: ["connected", "waiting"],
      connected: ["waiting", "closed"],
      waiting: ["connecting", "closed"],
    };
    for (const [i, type] of told.slice(1).entries()) assert(follows[told[i]!]?.includes(type), told.join());
    assertEquals([told[0], told.at(-1)], ["connecting", "closed"]);
  } finally {
    await broker.stop();
  }
});

test("a socket that was handed in is closed although the signal was aborted before it was looked at", async () => {
  const server = await startScripted();
  try {
    const socket = connectTcp(server.port, "127.0.0.1");
    const controller = new AbortController();
    const connecting = connect(socket, undefined, { signal: controller.signal });
    controller.abort();
    assertEquals(await codeOf(connecting), "disconnect");
    assert(socket.destroyed);
  } finally {
    await server.stop();
  }
});

for (
  const [mode, code, stderr] of [["connect", 1, /socketclosed|connection was closed/], [
    "connectWorker",
    1,
    /./,
  ]] as const
) {
  test(`${mode}: an end that nobody hears of ends the program`, async () => {
    const broker = await startScript("tests/client/moody_broker.ts");
    try {
      const [, port] = await broker.output(/port (\d+)\n/);
      const program = await runScript("tests/client/unheard.ts", [mode, port!]);
      assertEquals([program.code, program.stdout], [code, "published\n"]);
      assertMatch(program.stderr, stderr);
    } finally {
      await broker.stop();
    }
  });
}
