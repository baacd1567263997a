/** Other brokers than mosquitto, over TCP and WebSocket, with every QoS they have: messages pass, and sessions are resumed. */
import { after, before, describe, test } from "node:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { type Client, connect, type ConnectOptions, type Message, type QoS, type Status } from "../../mod.ts";
import { modes, numbered, Scene, turn } from "../client/qos_scene.ts";
import { within } from "../client/support.ts";
import { type FaultProxy, startFaultProxy } from "../faults/proxy.ts";
import { describe as inWords, load, type Promises } from "../restarts/restarts.ts";
import { needs } from "../support/process.ts";
import { Random } from "../support/random.ts";
import { serveWebSocket } from "../support/aedes_websocket.ts";
import { freePort, type Server, startAedes, startNats, startRabbit } from "../support/servers.ts";
import { runtime } from "../support/spawn.ts";

/** A directory of its own, and its ports: for TCP, and for WebSockets. */
interface Place {
  data: string;
  port: number;
  web: number;
}

interface Broker {
  tools: { skip?: string };
  start(place: Place): Promise<Server>;
  /** Of its WebSocket. */
  path?: string;
  highest: QoS;
  /** What it keeps to when connections break. NATS sends what is new before what it sends again; aedes has no order then. */
  keeps: Promises;
  /** Whether it runs in this process: a client that blocks cannot speak with it. */
  isEmbedded?: boolean;
}

const brokers: Record<string, Broker> = {
  aedes: { tools: {}, start: startBoth, highest: 2, keeps: { all: true }, isEmbedded: true },
  "nats-server": {
    tools: needs("nats-server"),
    start: startNats,
    highest: 1,
    keeps: { all: true },
  },
  // It takes long to start: one runtime does.
  ...runtime === "deno" &&
    {
      RabbitMQ: {
        tools: needs("rabbitmq-server", "epmd"),
        start: startRabbit,
        path: "/ws",
        highest: 1,
        keeps: { all: true, order: true },
      },
    },
};

async function startBoth({ port, web }: Place): Promise<Server> {
  const { broker, stop } = await startAedes({ port }), door = await serveWebSocket(broker, web);
  return {
    port,
    async stop() {
      await door.stop();
      await stop();
    },
  };
}

const until = (holds: () => boolean, what: string) =>
  within(
    (async () => {
      while (!holds()) await turn(5);
    })(),
    what,
  );
const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i}`);

/** The two kinds of connection: the port of a broker, and the address of that, or of a proxy before it. */
const kinds: Record<string, (place: Place, path: string) => [port: number, addressOf: (port: number) => string]> = {
  TCP: ({ port }) => [port, (port) => `mqtt://127.0.0.1:${port}`],
  WebSocket: ({ web }, path) => [web, (port) => `ws://127.0.0.1:${port}${path}`],
};

const cases = Object.entries(brokers).flatMap(([name, broker]) =>
  Object.entries(kinds).map(([kind, find]) => ({ name: `${name} over ${kind}`, ...broker, find }))
);

for (const { name, tools, start, path = "/mqtt", highest, keeps, isEmbedded = false, find } of cases) {
  describe(name, () => {
    const place: Place = { data: "", port: freePort(), web: freePort() };
    const [port, addressOf] = find(place, path), address = addressOf(port);
    let server: Server | undefined, proxy: FaultProxy;
    before(async () => {
      if (tools.skip !== undefined) return;
      place.data = mkdtempSync(join(tmpdir(), "mqtt3c-broker-"));
      server = await start(place);
      proxy = await startFaultProxy(port);
    });
    after(async () => {
      await proxy?.stop();
      await server?.stop();
      if (place.data !== "") rmSync(place.data, { recursive: true, force: true });
    });

    const its = modes.filter(([mode]) => !isEmbedded || mode !== "connectSync");
    const levels = ([0, 1, 2] as const).filter((qos) => qos <= highest);
    const open = (op: ConnectOptions = {}, onpub?: (topic: string, message: Message) => unknown): Promise<Client> =>
      connect(address, onpub as undefined, op);

    // The first one: on a store that has had thousands of messages nats-server 2.9 may restart so that it brings nobody
    // anything at QoS 1, mosquitto_sub included.
    test("the broker restarts: each client is back, and messages pass", tools, async () => {
      const scenes: Scene[] = [];
      try {
        for (const [mode, openMode] of its) {
          const scene = new Scene(await openMode(port, { reconnect: { minDelay: 20, maxDelay: 200 } }, address), port);
          scenes.push(scene);
          await scene.subscribe(`again/${scenes.length}`, 1);
          assertEquals(await scene.mqtt.publish(`again/${scenes.length}`, mode, { qos: 1 }), 0);
          await scene.until(() => scene.texts.includes(`${mode} 1`), "a message before the restart");
        }
        await server!.stop();
        server = await start(place);
        for (const [i, scene] of scenes.entries()) {
          const has = () => scene.texts.includes("after 1"), what = `a message after the restart, ${its[i]![0]}`;
          // What is published before SUBACK may be for nobody yet: on NATS it is.
          for (let tries = 0; !has() && tries < 10; tries++) {
            assertEquals(await scene.mqtt.publish(`again/${i + 1}`, "after", { qos: 1 }), 0);
            const next = performance.now() + 2000;
            await scene.until(() => has() || performance.now() > next, what);
          }
          assert(has(), what);
        }
      } finally {
        for (const { mqtt } of scenes) await mqtt.disconnect();
      }
    });

    for (const [mode, openMode] of its) {
      for (const qos of levels) {
        test(`${mode}: QoS ${qos}: messages are acknowledged, and come once, in order`, tools, async () => {
          const mqtt = await openMode(port, {}, address), topic = `${mode}/${qos}`.replaceAll(" ", "-");
          try {
            const scene = new Scene(mqtt, port);
            assertEquals(await scene.subscribe(topic, qos), qos);
            assertEquals(await mqtt.publish(numbered(topic, 300, qos)), 0);
            await scene.until(() => scene.got.length >= 300, "300 messages");
            await mqtt.flush();
            assertEquals(scene.texts, numbers(300).map((text) => `${text} ${qos}`));
          } finally {
            await mqtt.disconnect();
          }
        });
      }
    }

    if (highest === 1) {
      test("a subscription at QoS 2 is granted QoS 1, and that is told", tools, async () => {
        const mqtt = await open();
        assertEquals(await mqtt.subscribe("granted", { qos: 2 }), 1);
        await mqtt.disconnect();
      });
    }

    for (const qos of levels.slice(1)) {
      test(`QoS ${qos}: what is queued while a client is away comes when it is back`, tools, async () => {
        const id = `away${qos}`, topic = `queued/${qos}`, got: string[] = [], statuses: Status[] = [];
        const onstatus = (status: Status) => void statuses.push(status);
        const onpub = (_: string, message: Message) => void got.push(message.text());
        const first = await open({ id, session: true, onstatus });
        await first.subscribe(topic, { qos, onpub });
        await first.disconnect();
        const other = await open();
        await other.publish(numbered(topic, 50, qos));
        await other.disconnect();
        const again = await open({ id, session: true, onstatus }, onpub); // it has not subscribed: the broker knows
        await within(
          (async () => {
            while (got.length < 50) await turn(5);
          })(),
          "50 messages",
        );
        await again.flush();
        assertEquals(got, numbers(50));
        const present = statuses.filter(({ type }) => type === "connected").map((status) =>
          "sessionPresent" in status && status.sessionPresent
        );
        assertEquals(present, [false, true]);
        await again.disconnect();
        const last = await open({ id }, onpub); // a clean session: the broker forgets it
        await last.disconnect();
        assertEquals(got.length, 50, "what was acknowledged does not come again");
      });

      test(
        `QoS ${qos}: what is in hand, or waits for that, when the connection breaks is not lost`,
        tools,
        async () => {
          const topic = `hand/${qos}`, got: string[] = [];
          let end: (() => void) | undefined;
          const mqtt = await connect(addressOf(proxy.port), undefined, {
            id: `hand${qos}`,
            session: true,
            reconnect: { minDelay: 10 },
          });
          const onpub = (_: string, message: Message) => {
            got.push(message.text());
            if (end === undefined) return new Promise<void>((resolve) => end = resolve);
          };
          await mqtt.subscribe(topic, { qos, onpub });
          const other = await open();
          await other.publish(numbered(topic, 10, qos));
          await until(() => got.length > 0, "the first message");
          proxy.reset();
          await until(() => mqtt.status.type !== "connected", "the end of the connection");
          await until(() => mqtt.status.type === "connected", "another connection");
          end!();
          await until(() => new Set(got).size === 10, "all messages");
          await mqtt.flush();
          if (qos === 2) assertEquals(got.toSorted(), numbers(10), "each once");
          await other.disconnect();
          await mqtt.disconnect();
        },
      );

      test(`QoS ${qos}: connections break under load: each message is accounted for`, tools, async () => {
        const random = new Random(qos);
        const figures = await load({ qos, restarts: 10, keeps, random }, addressOf(proxy.port), () => {
          proxy.reset();
          return Promise.resolve();
        });
        console.log(`${name}: ${inWords(figures)}`);
        assertGreater(figures.received + figures.repeated, 1000);
      });
    }
  });
}
