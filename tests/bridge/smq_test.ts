import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { test } from "node:test";
import { assertEquals, assertGreater, assertMatch, assertThrows } from "@std/assert";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import type { Bridge } from "../../examples/bridge/program.ts";
import { type SmqOptions, startSmq } from "../../examples/bridge/smq.ts";
import { certificates } from "../support/certificates.ts";
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
      const tid = hub.tid("mqtt/a/b"), etid = hub.clients.get("bridge-1")!.etid.toString(16).padStart(8, "0");
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
        const { etid } = hub.clients.get("mqtt3c-bridge")!;
        assertEquals([to, data.toString(), sender], [`m-${topic}`, `${topic} ${round}`, etid]);
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
    hub.publish("t", "an echo", hub.clients.get("mqtt3c-bridge")!.etid); // as if it were the bridge's own
    await mqtt.publish("a", "from MQTT");
    assertEquals((await mqtt.inbox.next()).topic, "a");
    assertEquals((await inbox.next()).topic, "mqtt/a");
    await until(() => status(bridge).toMqtt.loops === 1, "the echo is counted");
    assertEquals(status(bridge).toSmq.loops, 1);
    assertEquals([inbox.waiting.length, mqtt.inbox.waiting.length], [0, 0]);
    await mqtt.stop();
  });
  const broker = "127.0.0.1", hub = "ws://127.0.0.1:1";
  assertThrows(() => startSmq({ broker, hub }), TypeError, "nothing is to go anywhere");
  for (const topic of ["a/+/b", "#"]) {
    assertThrows(() => startSmq({ broker, hub, toMqtt: [topic] }), TypeError, "wildcards");
  }
  assertThrows(() => startSmq({ broker, hub, toMqtt: ["t\u0001"] }), TypeError, "control character");
  assertThrows(() => startSmq({ broker, hub, toMqtt: ["t"], credentials: "x".repeat(256) }), TypeError, "255 bytes");
  assertThrows(() => startSmq({ broker, hub, toMqtt: ["mqtt/a"] }), TypeError, "come from MQTT");
  assertThrows(() => startSmq({ broker, hub, toSmq: ["a"], smqPrefix: "" }), TypeError, "circles");
  assertThrows(() => startSmq({ broker, hub, toSmq: ["a"], mqttPrefix: "" }), TypeError, "circles");
  assertThrows(() => startSmq({ broker, hub, toSmq: ["a"], uid: "short" }), TypeError, "6 to 255 bytes");
  assertThrows(() => startSmq({ broker, toSmq: ["a"], hub: "http://127.0.0.1" }), TypeError, "ws: or wss:");
  assertThrows(() => startSmq({ broker, hub, toSmq: ["a/#/b"] }), TypeError, "filter");
});

test("smq: topics that are denied, or too long for a frame, are counted, and hold up nothing", () =>
  withBridge({ toSmq: ["a/#"], toMqtt: ["no", "t"], denied: ["no", "mqtt/a/no"] }, async (parts) => {
    const { hub, broker, inbox, bridge, lines } = parts;
    const mqtt = await subscriber(broker.port), long = `a/${"x".repeat(65_527)}`;
    await until(() => hub.publish("t", "") === 1, "it has subscribed");
    assertEquals(hub.publish("no", "denied"), 0);
    for (const topic of ["a/no", "a/1", long, `${long}x`, "a/no", "a/2", "a/1"]) await mqtt.publish(topic, "x");
    const topics: string[] = [];
    for (let i = 0; i < 4; i++) topics.push((await inbox.next()).topic);
    assertEquals(topics.sort(), ["a/1", "a/1", "a/2", long].map((topic) => `mqtt/${topic}`).sort());
    await until(() => status(bridge).toSmq.refused === 3, "they are counted");
    assertEquals(hub.clients.size, 1);
    assertMatch(lines.join("\n"), /refused the subscription to no/);
    assertMatch(lines.join("\n"), /Lost: 1 to SMQ: the hub denies their topics/);
    await mqtt.stop();
  }));

test("smq: topics do not wait for one that the hub does not create", () =>
  withBridge({ toSmq: ["a/#"], unanswered: ["mqtt/a/0"] }, async ({ broker, inbox, bridge }) => {
    const mqtt = await subscriber(broker.port);
    for (let i = 0; i < 5; i++) await mqtt.publish(`a/${i}`, `${i}`);
    const topics = new Set<string>();
    while (topics.size < 4) topics.add((await inbox.next()).topic);
    assertEquals(topics, new Set(["mqtt/a/1", "mqtt/a/2", "mqtt/a/3", "mqtt/a/4"]));
    assertEquals(status(bridge).toSmq.waiting, 1);
    await mqtt.stop();
  }));

test("smq: 10,050 new topics at once lose nothing, and topics beyond the bound take the place of those not used", () =>
  withBridge({ toSmq: ["a/#"], record: false }, async ({ broker, inbox, bridge }) => {
    const mqtt = await subscriber(broker.port), count = 10_050;
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < count; i++) void mqtt.publish(`a/${round}/${i}`, `${i}`);
      const got = new Set<string>();
      while (got.size < count) got.add((await inbox.next()).topic);
      assertEquals(got.has(`mqtt/a/${round}/${count - 1}`), true);
    }
    await mqtt.publish("a/0/0", "again");
    assertEquals((await inbox.next()).topic, "mqtt/a/0/0");
    const { dropped, refused, waiting } = status(bridge).toSmq;
    assertEquals({ dropped, refused, waiting }, { dropped: 0, refused: 0, waiting: 0 });
    await mqtt.stop();
  }));

test("smq: messages of one topic keep their order, whether the hub knows it or not, before and after it is forgotten", () =>
  withBridge({ toSmq: ["a/#"], maxTopics: 2 }, async ({ broker, inbox, hub }) => {
    const mqtt = await subscriber(broker.port), last = new Map<string, number>();
    for (let round = 0; round < 4; round++) {
      for (let i = 1; i <= 100; i++) void mqtt.publish(`a/${i % 7}`, `${100 * round + i}`);
      for (let i = 1; i <= 100; i++) {
        const { topic, data } = await inbox.next(), number = Number(data.toString());
        assertGreater(number, last.get(topic) ?? 0);
        last.set(topic, number);
      }
    }
    assertGreater(hub.frames.filter((frame) => frame.startsWith("06")).length, 7);
    await mqtt.stop();
  }));

test("smq: credentials answer the hub's challenge, another one each time, and a refusal names its code", async () => {
  const seeds = new Set<number>();
  const answer = (seed: number, address: string) => createHash("sha256").update(`${seed}${address}secret`).digest();
  const authenticate = (given: Buffer, seed: number, address: string): [number, string?] => {
    seeds.add(seed);
    return seeds.size === 1 ? [3] : given.equals(answer(seed, address)) ? [0] : [6, "wrong"];
  };
  await withBridge({ toSmq: ["a"], credentials: answer, authenticate }, async ({ bridge, lines }) => {
    assertMatch(lines.join("\n"), /No hub: the hub refused the connection: 3 wrong credentials/);
    assertEquals([seeds.size, status(bridge).smq.hub], [2, "connected"]);
    await Promise.resolve();
  });
  let asked = 0;
  const credentials = () => {
    if (asked++ === 0) throw new Error("the vault is closed");
    return asked === 2 ? new Uint8Array(256) : Promise.resolve("secret");
  };
  await withBridge({ toSmq: ["a"], credentials }, ({ lines }) => {
    assertMatch(lines.join("\n"), /No hub: no credentials for the hub: the vault is closed/);
    assertMatch(lines.join("\n"), /No hub: no credentials for the hub: they are over 255 bytes/);
    return Promise.resolve();
  });
});

test("smq: while the broker does not take them, the hub is read on, the oldest are dropped, counted and told", () =>
  withBridge({ toSmq: ["a"], toMqtt: ["t"], maxWaiting: { messages: 50, bytes: 1_000_000 } }, async (parts) => {
    const { broker, hub, bridge, lines } = parts, count = 3000;
    await until(() => hub.publish("t", "first") === 1, "it has subscribed");
    await until(() => status(bridge).toMqtt.published === 1, "the broker takes it");
    const held: (() => void)[] = [];
    broker.broker.authorizePublish = (_client, _packet, done) => void held.push(() => done(null));
    for (let i = 0; i < count; i++) hub.publish("t", `${i}`);
    await until(() => status(bridge).toMqtt.dropped === count - 1000 - 50, "all is read, and what has no room dropped");
    assertEquals([hub.dropped(), hub.clients.size], [0, 1]);
    assertMatch(lines.join("\n"), /Lost: 1 to MQTT: the broker is away, or takes them more slowly/);
    assertEquals(lines.filter((line) => line.includes("takes them more slowly")).length, 1, "one line in a minute");
    broker.broker.authorizePublish = (_client, _packet, done) => done(null);
    for (const release of held) release();
    await until(() => status(bridge).toMqtt.published === 1 + 1050, "the others arrive");
    await bridge.close();
    assertMatch(lines.join("\n"), /Lost: 1949 to MQTT: the broker .*, 1950 so far/);
  }));

test("smq: a wss: hub is trusted by its authority, user and password of the URL are its, and no page is no hub", async () => {
  const { ca, server } = certificates(), broker = await startAedes(), lines: string[] = [];
  const hub = await startHub({ tls: server });
  const start = (more: Partial<SmqOptions>) =>
    startSmq({
      broker: `mqtt://127.0.0.1:${broker.port}`,
      hub: hub.url.replace("//", "//user:pass%40word@"),
      toSmq: ["a"],
      log: (line) => lines.push(line),
      ...more,
    });
  const trusting = start({ ca });
  await connected(trusting);
  const [client] = hub.clients.values();
  assertEquals(client!.authorization, `Basic ${Buffer.from("user:pass@word").toString("base64")}`);
  assertEquals(trusting.url, hub.url);
  await trusting.close();
  const untrusting = start({});
  await until(
    () => lines.some((line) => /No hub: .*(certificate|self.signed|unable to verify)/i.test(line)),
    "not trusted",
  );
  await untrusting.close();
  const page = createServer((_, response) => response.writeHead(404).end());
  await new Promise<void>((resolve) => page.listen(0, "127.0.0.1", resolve));
  const lost = start({ hub: `ws://127.0.0.1:${(page.address() as AddressInfo).port}/smq.lsp` });
  await until(() => lines.some((line) => /no SMQ hub at this URL: .* HTTP status 404/.test(line)), "it says so");
  await lost.close();
  await new Promise((resolve) => page.close(resolve));
  await hub.kill();
  await broker.stop();
});

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
    await mqtt.inbox.next((message) => message.text() === `round ${round}`);
    await mqtt.stop();
    await broker.stop();
    await until(() => status(bridge).mqtt.broker === "away", "it notices");
  }
  assertEquals(status(bridge).toMqtt.dropped, 0, "what came while it was away has waited");
  assertMatch(lines[0]!, /^(No broker: |The hub is here)/);
  assertMatch(
    lines.join("\n"),
    /The broker is away: .*\n(No broker: .*\n)*The broker is here; .*\nSo far, .* to MQTT 0 lost, 0 perhaps/,
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
    for (const frame of scripts[Math.min(connections++, scripts.length - 1)]!) socket.send(frame);
  });
  const broker = await startAedes();
  const bridge = startSmq({
    broker: `mqtt://127.0.0.1:${broker.port}`,
    hub: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    toSmq: ["a"],
    timeout: 500,
    log: (line) => lines.push(line),
  });
  for (const [i, reason] of reasons.entries()) {
    await until(() => connections > i, `connection ${i}`);
    await until(() => reason.test(status(bridge).smq.reason) || connections > i + 1, `${reason}`);
  }
  assertMatch(lines.join("\n"), /No hub: the hub did not answer.*\n/);
  await until(() => /No hub: the hub refused the connection: 5 no/.test(lines.join("\n")), "it tells the refusal");
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
