import { Buffer } from "node:buffer";
import { test } from "node:test";
import { assertEquals, assertGreater, assertMatch, assertThrows } from "@std/assert";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import type { Bridge } from "../../examples/bridge/program.ts";
import { type SmqOptions, startSmq } from "../../examples/bridge/smq.ts";
import { type Embedded, freePort, startAedes } from "../support/servers.ts";
import { type Hub, type HubOptions, startHub } from "./hub.ts";
import { Inbox, subscriber, until } from "./support.ts";

interface Delivered {
  topic: string;
  data: Buffer;
  sender: number;
}

interface Parts {
  bridge: Bridge;
  broker: Embedded;
  hub: Hub;
  /** What the hub has got. */
  inbox: Inbox<Delivered>;
  /** Lines the bridge has logged. */
  lines: string[];
}

/** Runs a test with a broker, a hub and a bridge between them, and ends them. */
async function withBridge(
  options: Partial<SmqOptions> & HubOptions,
  body: (parts: Parts) => Promise<void>,
): Promise<void> {
  const inbox = new Inbox<Delivered>();
  const lines: string[] = [];
  const broker = await startAedes();
  const hub = await startHub({ ...options, onmessage: (topic, data, sender) => inbox.push({ topic, data, sender }) });
  const bridge = startSmq({
    broker: `mqtt://127.0.0.1:${broker.port}`,
    hub: hub.url,
    log: (line) => lines.push(line),
    ...options,
  });
  try {
    await connected(bridge);
    await body({ bridge, broker, hub, inbox, lines });
  } finally {
    await bridge.close();
    await hub.kill();
    await broker.stop();
  }
}

interface Direction {
  published: number;
  tooLarge: number;
  loops: number;
  refused: number;
  dropped: number;
  unconfirmed: number;
  waiting: number;
}

function status(bridge: Bridge) {
  return bridge.status() as {
    mqtt: { broker: string; connections: number };
    smq: { hub: string; reason: string };
    toSmq: Direction;
    toMqtt: Direction;
  };
}

function connected(bridge: Bridge): Promise<void> {
  return until(() => status(bridge).mqtt.broker === "connected" && status(bridge).smq.hub === "connected", "connected");
}

const hex = (text: string) => Buffer.from(text).toString("hex");

test("smq: what it sends is, byte for byte, what the protocol says", () =>
  withBridge(
    { toSmq: ["a/#"], toMqtt: ["t", "☃"], uid: "bridge-1", credentials: "secret" },
    async ({ hub, broker, inbox }) => {
      const mqtt = await subscriber(broker.port);
      await until(() => hub.frames.length >= 3, "it has subscribed");
      await mqtt.publish("a/b", Uint8Array.of(0, 255));
      await inbox.next();
      await mqtt.publish("a/b", "");
      await inbox.next();
      const tid = "80000003", etid = "000003e8"; // the third topic, the first client
      assertEquals(hub.frames.filter((frame) => frame !== "0c"), [
        `0201` + `08${hex("bridge-1")}` + `06${hex("secret")}` + hex("mqtt3c bridge"),
        `04${hex("t")}`,
        `04${hex("☃")}`,
        `06${hex("mqtt/a/b")}`,
        `08${tid}${etid}00000000` + "00ff",
        `08${tid}${etid}00000000`,
      ]);
      await until(() => hub.frames.includes("0c"), "it asks whether all has arrived");
      await mqtt.stop();
    },
  ));

test("smq: messages go both ways, their topics with a prefix", () =>
  withBridge({ toSmq: ["a/+", "b"], toMqtt: ["t", "u"], smqPrefix: "m-", mqttPrefix: "s/" }, async (parts) => {
    const { hub, broker, inbox, bridge } = parts;
    const mqtt = await subscriber(broker.port, "s/#");
    for (let round = 0; round < 3; round++) {
      for (const topic of ["a/1", "b", "a/2"]) {
        await mqtt.publish(topic, `${topic} ${round}`);
        const { topic: to, data, sender } = await inbox.next();
        assertEquals([to, data.toString(), sender], [`m-${topic}`, `${topic} ${round}`, 1000]);
      }
      for (const topic of ["t", "u"]) {
        await until(() => hub.publish(topic, `${topic} ${round}`) === 1, "it has subscribed");
        const message = await mqtt.inbox.next();
        assertEquals([message.topic, message.text()], [`s/${topic}`, `${topic} ${round}`]);
      }
    }
    await until(() => status(bridge).toSmq.published === 9, "the hub confirms");
    await until(() => status(bridge).toMqtt.published === 6, "the broker confirms");
    await mqtt.stop();
  }));

test("smq: payloads have up to 65,520 bytes; larger ones are refused and counted", () =>
  withBridge({ toSmq: ["a"], toMqtt: ["t"] }, async ({ hub, broker, inbox, bridge }) => {
    const mqtt = await subscriber(broker.port, "smq/#");
    const bytes = (size: number) => new Uint8Array(size).map((_, i) => i * 7);
    for (const size of [65_521, 65_520, 100_000, 1]) await mqtt.publish("a", bytes(size));
    for (const size of [65_520, 1]) assertEquals((await inbox.next()).data, Buffer.from(bytes(size)));
    await until(() => hub.publish("t", "") === 1, "it has subscribed");
    for (const size of [65_521, 65_520, 1]) hub.publish("t", bytes(size));
    for (const size of [0, 65_520, 1]) {
      assertEquals(Buffer.from((await mqtt.inbox.next()).payload), Buffer.from(bytes(size)));
    }
    assertEquals([status(bridge).toSmq.tooLarge, status(bridge).toMqtt.tooLarge], [2, 1]);
    await mqtt.stop();
  }));

test("smq: nothing goes in circles", async () => {
  await withBridge({ toSmq: ["#"], toMqtt: ["t"] }, async ({ hub, broker, inbox, bridge }) => {
    const mqtt = await subscriber(broker.port, "#");
    await until(() => hub.publish("t", "from SMQ") === 1, "it has subscribed");
    assertEquals((await mqtt.inbox.next()).topic, "smq/t");
    hub.publish("t", "an echo", 1000); // as if it were the bridge's own
    await mqtt.publish("a", "from MQTT");
    assertEquals((await mqtt.inbox.next()).topic, "a");
    assertEquals((await inbox.next()).topic, "mqtt/a");
    await until(() => status(bridge).toMqtt.loops === 1, "the echo is counted");
    assertEquals(status(bridge).toSmq.loops, 1);
    assertEquals([inbox.waiting.length, mqtt.inbox.waiting.length], [0, 0]);
    await mqtt.stop();
  });
  const broker = "127.0.0.1", hub = "ws://127.0.0.1:1";
  assertThrows(() => startSmq({ broker, hub, toMqtt: ["mqtt/a"] }), TypeError, "come from MQTT");
  assertThrows(() => startSmq({ broker, hub, smqPrefix: "" }), TypeError, "circles");
  assertThrows(() => startSmq({ broker, hub, mqttPrefix: "" }), TypeError, "circles");
  assertThrows(() => startSmq({ broker, hub, uid: "short" }), TypeError, "6 bytes");
  assertThrows(() => startSmq({ broker, hub: "http://127.0.0.1" }), TypeError, "ws: or wss:");
  assertThrows(() => startSmq({ broker, hub, toSmq: ["a/#/b"] }), TypeError, "filter");
});

test("smq: topics that are denied, cannot be, or are too many are counted, and hold up nothing", () =>
  withBridge(
    { toSmq: ["a/#"], toMqtt: ["no", "t/+", "t\u0001"], denied: ["no", "mqtt/a/no"], maxTopics: 3 },
    async (parts) => {
      const { hub, broker, inbox, bridge, lines } = parts;
      const mqtt = await subscriber(broker.port);
      await until(() => hub.publish("t/+", "no MQTT topic") === 1, "it has subscribed");
      assertEquals(hub.publish("no", "denied"), 0);
      for (const topic of ["a/no", "a/1", "a/no", "a/2", "a/3", "a/1"]) await mqtt.publish(topic, topic);
      for (const topic of ["a/1", "a/2", "a/1"]) assertEquals((await inbox.next()).data.toString(), topic);
      assertEquals(status(bridge).toSmq.refused, 3);
      await until(() => hub.publish("t\u0001", "a control character") === 1, "it has subscribed");
      await until(() => status(bridge).toMqtt.refused === 2, "the topics that cannot be are counted");
      assertEquals(status(bridge).mqtt.connections, 1);
      assertMatch(lines.join("\n"), /refused the subscription to no/);
      await mqtt.stop();
    },
  ));

test("smq: the hub may go and come again; what waited arrives, and what was lost is told", () =>
  withBridge({ toSmq: ["a"], toMqtt: ["t"], maxWaiting: { messages: 10, bytes: 10_000 } }, async (parts) => {
    const { broker, bridge, lines } = parts;
    let { hub } = parts;
    const mqtt = await subscriber(broker.port, "smq/#");
    await mqtt.publish("a", "before");
    await parts.inbox.next();
    for (let round = 0; round < 3; round++) {
      await hub.kill();
      await until(() => status(bridge).smq.hub === "away", "it notices");
      for (let i = 1; i <= 25; i++) await mqtt.publish("a", `${round} ${i}`);
      await until(() => status(bridge).toSmq.dropped === 15 * (round + 1), "the oldest are dropped");
      const inbox = new Inbox<string>();
      hub = await startHub({ port: hub.port, onmessage: (_, data) => inbox.push(data.toString()) });
      for (let i = 16; i <= 25; i++) assertEquals(await inbox.next(), `${round} ${i}`);
      await until(() => hub.publish("t", `back ${round}`) === 1, "it has subscribed again");
      assertEquals((await mqtt.inbox.next()).text(), `back ${round}`);
    }
    assertMatch(lines.join("\n"), /The hub is away: [^]*The hub is here; so far, to SMQ 45 lost, \d+ perhaps/);
    await hub.kill();
    await mqtt.stop();
  }));

test("smq: the broker may come late, go and come again", async () => {
  const port = freePort();
  const inbox = new Inbox<string>(), lines: string[] = [];
  const hub = await startHub({ onmessage: (_, data) => inbox.push(data.toString()) });
  const bridge = startSmq({
    broker: `mqtt://127.0.0.1:${port}`,
    hub: hub.url,
    toSmq: ["a"],
    toMqtt: ["t"],
    log: (line) => lines.push(line),
  });
  await until(() => hub.publish("t", "for nobody") === 1, "it has subscribed");
  for (let round = 0; round < 3; round++) {
    const broker = await startAedes({ port });
    await connected(bridge);
    const mqtt = await subscriber(port, "smq/t");
    await until(async () => {
      await mqtt.publish("a", `round ${round}`);
      return inbox.waiting.includes(`round ${round}`);
    }, "its messages come");
    hub.publish("t", `round ${round}`);
    assertEquals((await mqtt.inbox.next()).text(), `round ${round}`);
    await mqtt.stop();
    await broker.stop();
    await until(() => status(bridge).mqtt.broker === "away", "it notices");
  }
  assertEquals(status(bridge).toMqtt.dropped, 1);
  assertMatch(lines[0]!, /^(No broker: |The hub is here)/);
  assertMatch(
    lines.join("\n"),
    /The broker is away: .*\n(No broker: .*\n)*The broker is here; .*\nSo far, .* to MQTT 1 lost, 0 perhaps/,
  );
  await bridge.close();
  await hub.kill();
});

test("smq: a hub that falls silent, or does not speak SMQ, is left and tried again", async () => {
  const scripts: (Uint8Array | string)[][] = [
    [], // not even Init
    [Uint8Array.of(1, 1, 0, 0, 0, 0)], // no Connack
    [Uint8Array.of(1, 1, 0, 0, 0, 0), Uint8Array.of(3, 0, 0, 0, 0, 9)], // no Pong, asked for when it is quiet
    [Uint8Array.of(3, 0, 1)],
    ["text"],
    [Uint8Array.of(1, 1, 0, 0, 0, 0), Uint8Array.of(3, 5, 0, 0, 0, 0, 110, 111)],
  ];
  const lines: string[] = [];
  const reasons = [/did not answer/, /did not answer/, /did not answer/, /not SMQ/, /not SMQ: text/, /refused .* 5 no/];
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await new Promise((resolve) => server.on("listening", resolve));
  let connections = 0;
  server.on("connection", (socket) => {
    for (const frame of scripts[connections++] ?? []) socket.send(frame);
  });
  const broker = await startAedes();
  const bridge = startSmq({
    broker: `mqtt://127.0.0.1:${broker.port}`,
    hub: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    toSmq: ["a"],
    timeout: 60,
    log: (line) => lines.push(line),
  });
  for (const [i, reason] of reasons.entries()) {
    await until(() => connections > i, `connection ${i}`);
    await until(() => reason.test(status(bridge).smq.reason) || connections > i + 1, `${reason}`);
  }
  assertMatch(lines.join("\n"), /No hub: the hub did not answer.*\n/);
  assertMatch(lines.join("\n"), /No hub: the hub refused the connection: 5 no/);
  await bridge.close();
  for (const socket of server.clients) socket.terminate();
  await new Promise((resolve) => server.close(resolve));
  await broker.stop();
});

test("smq: a slow hub is bounded: the oldest messages are dropped and counted", () =>
  withBridge({ toSmq: ["a"], maxWaiting: { messages: 20, bytes: 1_000_000 }, timeout: 60_000 }, async (parts) => {
    const { broker, hub, bridge, inbox } = parts;
    const mqtt = await subscriber(broker.port);
    await mqtt.publish("a", "0 ");
    await inbox.next();
    const [client] = hub.clients.values();
    client!.socket.pause();
    const count = 600, body = "x".repeat(50_000);
    for (let i = 1; i <= count; i++) await mqtt.publish("a", `${i} ${body}`);
    await until(() => status(bridge).toSmq.dropped > 0, "some are dropped");
    client!.socket.resume();
    let got = 0, last = 0;
    while (last < count) {
      last = parseInt((await inbox.next()).data.toString());
      got++;
    }
    await until(() => status(bridge).toSmq.published === got + 1, "the hub confirms");
    assertEquals(got + status(bridge).toSmq.dropped, count);
    assertGreater(status(bridge).toSmq.dropped, 0);
    await mqtt.stop();
  }));

test("smq: another bridge with the same uid takes its place, and they do not wrestle", () =>
  withBridge({ toMqtt: ["t"] }, async ({ bridge, broker, hub }) => {
    const other = startSmq({ broker: `mqtt://127.0.0.1:${broker.port}`, hub: hub.url, toMqtt: ["t"] });
    await connected(other);
    await until(() => status(bridge).smq.reason.includes("reconnect"), "the first has been told");
    await other.close();
    await until(() => status(bridge).smq.hub === "connected", "the first is back");
  }));

test("smq: a message that several filters match goes to SMQ once", () =>
  withBridge({ toSmq: ["a/#", "a/b", "a/+", "a/b"] }, async ({ broker, inbox }) => {
    const mqtt = await subscriber(broker.port);
    for (const payload of ["1", "1", "2"]) await mqtt.publish("a/b", payload);
    for (const payload of ["1", "1", "2"]) assertEquals((await inbox.next()).data.toString(), payload);
    await mqtt.stop();
  }));
