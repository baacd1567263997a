import { Buffer } from "node:buffer";
import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertLess, assertMatch, assertRejects } from "@std/assert";
import { startWebSocket, type WebSocketOptions } from "../../examples/bridge/websocket.ts";
import type { Bridge } from "../../examples/bridge/program.ts";
import { needs } from "../support/process.ts";
import { type Embedded, freePort, startAedes, startMosquitto } from "../support/servers.ts";
import { send, startScripted, wait } from "../support/scripted.ts";
import { ask, dial, startSlowWay, subscriber, until } from "./support.ts";

/** Runs a test with a broker and a bridge, and ends both. */
async function withBridge(
  options: Partial<WebSocketOptions>,
  body: (bridge: Bridge, broker: Embedded) => Promise<void>,
): Promise<void> {
  const broker = await startAedes();
  const bridge = await startWebSocket({ broker: `mqtt://127.0.0.1:${broker.port}`, ...options });
  try {
    await until(() => bridge.status()["broker"] === "connected", "the bridge is connected");
    await body(bridge, broker);
  } finally {
    await bridge.close();
    await broker.stop();
  }
}

test("websocket: subscribe, publish and unsubscribe in JSON", () =>
  withBridge({}, async ({ url }, { port }) => {
    const mqtt = await subscriber(port, "#");
    const page = await dial(url);
    assertEquals((await page.next("state")).broker, "connected");
    assertEquals((await page.ask({ type: "subscribe", filter: "a/+" })).type, "subscribed");

    await mqtt.publish("a/text", 'two\nlines "☃"');
    await mqtt.publish("a/bytes", Uint8Array.of(255, 0));
    assertEquals(await page.next("message"), { type: "message", topic: "a/text", payload: 'two\nlines "☃"' });
    assertEquals(await page.next("message"), { type: "message", topic: "a/bytes", base64: "/wA=" });
    await mqtt.inbox.next();
    await mqtt.inbox.next();

    assertEquals((await page.ask({ type: "publish", topic: "b", payload: "from the page" })).type, "published");
    assertEquals((await mqtt.inbox.next()).text(), "from the page");
    assertEquals((await page.ask({ type: "publish", topic: "b", base64: "AP8=", retain: true })).type, "published");
    assertEquals(Buffer.from((await mqtt.inbox.next()).payload), Buffer.of(0, 255));
    const later = await dial(url);
    later.send({ type: "subscribe", filter: "b" });
    assertEquals(await later.next("message"), { type: "message", topic: "b", base64: "AP8=", retain: true });

    assertEquals((await page.ask({ type: "unsubscribe", filter: "a/+" })).type, "unsubscribed");
    await mqtt.publish("a/text", "nobody wants it");
    page.send({ type: "publish", topic: "c", payload: "no answer is asked for" });
    await mqtt.inbox.next(({ topic }) => topic === "c");
    assertEquals(page.inbox.waiting, []);
    for (const part of [page, later, mqtt]) await part.stop();
  }));

test("websocket: a mistake is answered, and only it fails", () =>
  withBridge({ maxFilters: 2, maxMessage: 1000 }, async ({ url }) => {
    const page = await dial(url);
    for (
      const [request, message] of [
        [{ type: "publish", topic: "a/+", payload: "x" }, /wildcard/],
        [{ type: "publish", topic: 7 }, /string/],
        [{ type: "publish", topic: "a", payload: 7 }, /string/],
        [{ type: "publish", topic: "a", base64: "%%%" }, /base64/],
        [{ type: "publish", topic: "a\u0001", payload: "x" }, /control character/],
        [{ type: "subscribe", filter: "a\u0001" }, /control character/],
        [{ type: "subscribe", filter: "$share/g/a" }, /shared/],
        [{ type: "subscribe", filter: "a/#/b" }, /#/],
        [{ type: "subscribe", filter: 7 }, /string/],
        [{ type: "unsubscribe", filter: "a" }, /not subscribed/],
        [{ type: "sing" }, /Cannot do "sing"/],
      ] as const
    ) {
      const answer = await page.ask(request);
      assertEquals(answer.type, "error");
      assertMatch(answer.message, message);
    }
    for (const text of ["no JSON", "null", "[]"]) {
      page.socket.send(text);
      assertMatch((await page.next("error")).message, /./);
    }
    assertEquals((await page.ask({ type: "subscribe", filter: "1" })).type, "subscribed");
    assertMatch((await page.ask({ type: "subscribe", filter: "1" })).message, /already/);
    assertEquals((await page.ask({ type: "subscribe", filter: "2" })).type, "subscribed");
    assertMatch((await page.ask({ type: "subscribe", filter: "3" })).message, /more than 2/);
    page.socket.send(Buffer.of(1));
    assertEquals(await page.closed, 1003);
    const other = await dial(url);
    other.socket.send("x".repeat(1001));
    assertEquals(await other.closed, 1009);
  }));

test("websocket: a filter is subscribed once however many want it, and given up with the last", () =>
  withBridge({}, async ({ url }, { port, broker }) => {
    const asked: string[] = [];
    broker.on("subscribe", (subscriptions) => asked.push(...subscriptions.map(({ topic }) => topic)));
    broker.on("unsubscribe", (topics) => asked.push(...topics.filter((t) => t[0] !== "$").map((topic) => `-${topic}`)));
    const mqtt = await subscriber(port);
    const pages = [await dial(url), await dial(url), await dial(url)] as const;
    for (const page of pages) await page.ask({ type: "subscribe", filter: "f/#" });
    await mqtt.publish("f/a", "1");
    for (const page of pages) assertEquals((await page.next("message")).payload, "1");
    await pages[0].stop();
    await pages[1].ask({ type: "unsubscribe", filter: "f/#" });
    await mqtt.publish("f/a", "2");
    assertEquals((await pages[2].next("message")).payload, "2");

    const late = await dial(url);
    for (let round = 0; round < 2; round++) {
      await late.ask({ type: "subscribe", filter: "f/#" });
      assertEquals(await late.next("message"), { type: "message", topic: "f/a", payload: "2", retain: true });
      await late.ask({ type: "unsubscribe", filter: "f/#" });
    }
    await late.stop();
    assertEquals(asked, ["f/#"]);
    await pages[2].stop();
    await until(() => asked.length > 1, "it is given up");
    assertEquals(asked, ["f/#", "-f/#"]);
    await pages[1].stop();
    await mqtt.stop();
  }));

test("websocket: a message that several filters of a socket match comes once", () =>
  withBridge({}, async ({ url }, { port }) => {
    const mqtt = await subscriber(port);
    const page = await dial(url);
    for (const filter of ["o/#", "o/+", "o/a"]) await page.ask({ type: "subscribe", filter });
    for (const payload of ["1", "1", "2"]) await mqtt.publish("o/a", payload);
    const got = [await page.next("message"), await page.next("message"), await page.next("message")];
    assertEquals(got.map(({ payload }) => payload), ["1", "1", "2"]);
    await page.stop();
    await mqtt.stop();
  }));

test("websocket: a slow socket loses its oldest messages and is told how many; the others lose none", () =>
  withBridge({ maxWaiting: { messages: 20, bytes: 1_000_000 } }, async ({ url, status }, { port }) => {
    const mqtt = await subscriber(port);
    const slow = await dial(url), fast = await dial(url);
    for (const page of [slow, fast]) await page.ask({ type: "subscribe", filter: "f" });
    slow.socket.pause();
    const count = 500, body = "x".repeat(50_000);
    for (let i = 1; i <= count; i++) {
      await mqtt.publish("f", `${i} ${body}`);
      assertEquals(parseInt((await fast.next("message")).payload), i);
    }
    slow.socket.resume();
    let last = 0, lost = 0, got = 0;
    while (last < count) {
      const message = await slow.inbox.next(({ type }) => type !== "state");
      if (message.type === "dropped") {
        lost += message.count;
        continue;
      }
      last = parseInt(message.payload);
      assertEquals(last, ++got + lost, "what was lost is told before what comes after it");
    }
    assertEquals(got + lost, count);
    assertGreater(lost, 0);
    assertEquals(status()["dropped"], lost, "the status counts those of open sockets, too");
    for (const page of [slow, fast]) await page.stop();
    await until(() => status()["dropped"] === lost, "the status counts them");
    await mqtt.stop();
  }));

test(
  "websocket: a socket that publishes faster than the broker takes is made to wait, and nothing is lost",
  needs("mosquitto"),
  async () => {
    const broker = await startMosquitto();
    const { url, status, close } = await startWebSocket({ broker: `mqtt://127.0.0.1:${broker.port}` });
    await until(() => status()["broker"] === "connected", "the bridge is connected");
    const mqtt = await subscriber(broker.port, "p");
    const page = await dial(url);
    const count = 20_000;
    for (let i = 1; i <= count; i++) page.send({ type: "publish", topic: "p", payload: `${i} ${"x".repeat(100)}` });
    const { type, message } = await page.ask({ type: "publish", topic: "p", payload: "last" });
    assertEquals([type, message], ["published", undefined]);
    for (let i = 1; i <= count; i++) assertEquals(parseInt((await mqtt.inbox.next()).text()), i);
    assertEquals([status()["published"], status()["unconfirmed"]], [count + 1, 0]);
    await page.stop();
    await mqtt.stop();
    await close();
    await broker.stop();
  },
);

test("websocket: origin and token are checked before a socket is opened", () =>
  withBridge({ token: "s3cret", origins: ["https://good.example"], maxSockets: 3 }, async ({ url }) => {
    const port = new URL(url).port;
    const authorization = "Bearer s3cret";
    await assertRejects(() => dial(url), Error, "401");
    await assertRejects(() => dial(url, { authorization: "Bearer wrong" }), Error, "401");
    await assertRejects(() => dial(url, { authorization, origin: "https://evil.example" }), Error, "403");
    await assertRejects(() => dial(url, { authorization, origin: `http://evil.example:${port}` }), Error, "403");
    const pages = [
      await dial(url, { authorization, origin: "https://good.example" }),
      await dial(url, { authorization, origin: `http://localhost:${port}` }),
      await dial(`${url}/?access_token=s3cret`, { origin: `http://127.0.0.1:${port}` }),
    ];
    await assertRejects(() => dial(url, { authorization }), Error, "503");
    assertEquals((await ask(url, "/status", { headers: { authorization, host: "bridge.example" } })).status, 200);
    assertEquals((await ask(url, "/status")).status, 401);
    assertEquals(JSON.parse((await ask(url, "/status", { headers: { authorization } })).text).sockets, 3);
    for (const page of pages) await page.stop();
  }));

test("websocket: the broker may come late, go and come again: sockets stay, and are told", async () => {
  const port = freePort();
  const { url, close } = await startWebSocket({ broker: `mqtt://127.0.0.1:${port}` });
  const page = await dial(url);
  assertEquals((await page.next("state")).broker, "away");
  page.send({ type: "subscribe", filter: "a/#", id: "early" });
  const refused = await page.ask({ type: "publish", topic: "a/b", payload: "x" });
  assertMatch(refused.message, /^The broker is away: /);
  assertGreater(refused.retryAfter, 0);
  for (let round = 0; round < 3; round++) {
    const broker = await startAedes({ port });
    assertEquals((await page.next("state")).broker, "connected");
    if (round === 0) assertEquals((await page.next("subscribed")).id, "early");
    await until(async () => {
      assertEquals((await page.ask({ type: "publish", topic: "a/b", payload: `round ${round}` })).type, "published");
      return page.inbox.waiting.some(({ payload }) => payload === `round ${round}`);
    }, "its messages come again");
    await broker.stop();
    const state = await page.next("state");
    assertEquals(state.broker, "away");
    assertMatch(state.reason, /connection/);
  }
  await page.stop();
  await close();
});

test("websocket: a filter the broker refuses is told", () =>
  withBridge({}, async ({ url }, { broker }) => {
    broker.authorizeSubscribe = (_, subscription, done) =>
      done(null, subscription.topic === "secret" ? null : subscription);
    const page = await dial(url);
    assertMatch((await page.ask({ type: "subscribe", filter: "secret" })).message, /refused/);
    assertEquals((await page.ask({ type: "subscribe", filter: "open" })).type, "subscribed");
    await page.stop();
  }));

test("websocket: a socket that answers no ping is ended", () =>
  withBridge({ heartbeat: 30 }, async ({ url, status }) => {
    const page = await dial(url), silent = await dial(url);
    silent.socket.pause();
    await until(() => status()["sockets"] === 1, "the silent one is gone");
    assertEquals((await page.ask({ type: "subscribe", filter: "a" })).type, "subscribed");
    await page.stop();
    silent.socket.resume();
    await silent.stop();
  }));

test("websocket: it serves the page, and nothing else", () =>
  withBridge({}, async ({ url }) => {
    for (
      const [path, type] of [["/", "text/html"], ["/page.js", "text/javascript"], ["/uplot.js", "text/javascript"]]
    ) {
      const { status, headers, text } = await ask(url, path!);
      assertEquals([status, headers["content-type"]], [200, `${type}; charset=utf-8`]);
      assertGreater(text.length, 1000);
      assert(headers["content-security-policy"]);
    }
    for (const path of ["/../broker.ts", "/page/index.html", "/%2e%2e/", "/nothing"]) {
      assertEquals((await ask(url, path)).status, 404);
    }
    assertEquals((await ask(url, "/", { method: "POST", body: "x" })).status, 404);
  }));

test("websocket: a socket that is slow, but reads, is not ended, and gets every answer", () =>
  withBridge({ heartbeat: 500, maxWaiting: { messages: 20, bytes: 1_000_000 } }, async ({ url, status }, { port }) => {
    const mqtt = await subscriber(port), way = await startSlowWay(url);
    const slow = await dial(way.url);
    await slow.ask({ type: "subscribe", filter: "f" });
    const body = "x".repeat(50_000), answers: number[] = [];
    let asked = 0;
    for (const start = performance.now(); performance.now() - start < (status()["dropped"] ? 2500 : 10_000);) {
      await mqtt.publish("f", body);
      if (asked < 50) slow.send({ type: "publish", topic: "g", id: ++asked });
    }
    assertEquals(status()["sockets"], 1);
    assertGreater(Number(status()["dropped"]), 0, "it was slow");
    while (answers.length < asked) answers.push((await slow.next("published")).id);
    assertEquals(answers, Array.from({ length: asked }, (_, i) => i + 1));
    await slow.stop();
    await way.stop();
    await mqtt.stop();
  }));

test("websocket: a socket that asks more than the broker answers is not read, and nobody else is refused", async () => {
  const broker = await startScripted([wait(37), send([0x20, 2, 0, 0])]);
  const { url, status, close } = await startWebSocket({ broker: `mqtt://127.0.0.1:${broker.port}` });
  await until(() => status()["broker"] === "connected", "the bridge is connected");
  const flood = await dial(url), other = await dial(url);
  for (let i = 0; i < 20_000; i++) {
    flood.send({ type: "subscribe", filter: `f/${i}` });
    flood.send({ type: "unsubscribe", filter: `f/${i}` });
  }
  await flood.next("unsubscribed");
  for (let i = 0; i < 20; i++) assertEquals((await other.ask({ type: "publish", topic: "+" })).type, "error");
  // What the socket sent in one piece before it was paused is still taken.
  assertLess(broker.received().length, 100_000);
  await flood.stop();
  await other.stop();
  await close();
  await broker.stop();
});

test("websocket: a page that came by a name of another site gets nothing", () =>
  withBridge({ host: "0.0.0.0" }, async ({ url }) => {
    const { host, port } = new URL(url);
    assertEquals((await ask(url, "/status", { headers: { host: `evil.example:${port}` } })).status, 403);
    await assertRejects(() => dial(url, { host: `evil.example:${port}` }), Error, "403");
    await (await dial(url, { origin: `http://${host}` })).stop();
  }));
