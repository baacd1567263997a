import { Buffer } from "node:buffer";
import { connect } from "node:net";
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertLess, assertMatch, assertRejects } from "@std/assert";
import { type HttpOptions, startHttp } from "../../examples/bridge/http.ts";
import type { Bridge } from "../../examples/bridge/program.ts";
import { send, startScripted, wait } from "../support/scripted.ts";
import { type Embedded, freePort, startAedes } from "../support/servers.ts";
import { ask, listen, post, startSlowWay, subscriber, until } from "./support.ts";

/** Runs a test with a broker and a bridge, and ends both. */
async function withBridge(
  options: Partial<HttpOptions>,
  body: (bridge: Bridge, broker: Embedded) => Promise<void>,
): Promise<void> {
  const broker = await startAedes();
  const bridge = await startHttp({ broker: `mqtt://127.0.0.1:${broker.port}`, ...options });
  try {
    await until(() => bridge.status()["broker"] === "connected", "the bridge is connected");
    await body(bridge, broker);
  } finally {
    await bridge.close();
    await broker.stop();
  }
}

test("http: POST publishes the body to the topic of the path", () =>
  withBridge({}, async ({ url }, { port }) => {
    const { inbox, stop } = await subscriber(port, "#");
    const bytes = Uint8Array.of(0, 255, 128, 10);
    for (
      const [path, topic, body] of [
        ["/a/b", "a/b", "hi"],
        ["/a/b", "a/b", ""],
        ["/a/b", "a/b", bytes],
        ["//a//b/", "/a//b/", "slashes"],
        ["/a/../b", "a/../b", "dots"],
        ["/%E2%98%83/a%20b?x=y", "☃/a b", "percent"],
      ] as const
    ) {
      assertEquals((await post(url, path, body)).status, 204);
      const message = await inbox.next();
      assertEquals(message.topic, topic);
      assertEquals(Buffer.from(message.payload), Buffer.from(body));
    }
    assertEquals((await post(url, "/kept?retain", "state")).status, 204);
    assertEquals((await inbox.next()).text(), "state");
    await stop();
    const later = await subscriber(port, "kept");
    assertEquals((await later.inbox.next()).retain, true);
    await later.stop();
  }));

test("http: many messages in one POST, one on each line", () =>
  withBridge({}, async ({ url }, { port }) => {
    const { inbox, stop } = await subscriber(port, "#");
    const lines = `{"topic":"a","payload":"1"}\n\n{"topic":"b","base64":"AP8="}\n{"topic":"c"}\n`;
    assertEquals((await post(url, "/", lines)).status, 204);
    assertEquals((await inbox.next()).toString(), "1");
    assertEquals([...(await inbox.next()).payload], [0, 255]);
    assertEquals((await inbox.next()).topic, "c");
    const bad = await post(url, "/", `{"topic":"a"}\n{"topic":"+"}\n{"topic":"b"}\n`);
    assertEquals(bad.status, 400);
    assertMatch(bad.text, /^Line 2: .*wildcard.* \(2 messages were published\)/);
    assertEquals((await post(url, "/", "no JSON")).status, 400);
    assertEquals((await post(url, "/", "null")).status, 400);
    await stop();
  }));

test("http: GET answers the retained value, the last one, the next one, or 404 in time", () =>
  withBridge({ wait: 100 }, async ({ url }, { port }) => {
    const { publish, stop } = await subscriber(port);
    await publish("kept", "first", true);
    const kept = await ask(url, "/kept");
    assertEquals([kept.status, kept.text, kept.headers["mqtt-retain"]], [200, "first", "true"]);
    assertEquals(kept.headers["content-type"], "text/plain; charset=utf-8");

    const started = performance.now();
    assertEquals((await ask(url, "/live")).status, 404);
    assertLess(performance.now() - started, 5000);

    const next = ask(url, "/live?wait=10000");
    const later = ask(url, "/live?wait=10000");
    await until(() => bridgeRequests(url, 2), "both wait");
    await publish("live", Uint8Array.of(255));
    assertEquals((await next).headers["content-type"], "application/octet-stream");
    assertEquals((await later).body, Buffer.of(255));
    await publish("live", "last");
    await until(async () => (await ask(url, "/live")).text === "last", "the last value is at hand");
    await stop();
  }));

test("http: GET after a plain POST is 404, and says that ?retain would have kept it; after one with ?retain it has it", () =>
  withBridge({ wait: 50 }, async ({ url }) => {
    assertEquals((await post(url, "/state", "on")).status, 204);
    const missing = await ask(url, "/state");
    assertEquals(missing.status, 404);
    assertEquals(
      missing.text.trim(),
      'No value of "state" within 50 ms; the broker keeps what is published with ?retain, and nothing else',
    );
    assertEquals((await post(url, "/state?retain", "on")).status, 204);
    const kept = await ask(url, "/state");
    assertEquals([kept.status, kept.text], [200, "on"]);
  }));

async function bridgeRequests(url: string, count: number): Promise<boolean> {
  const { requests } = JSON.parse((await ask(url, "/")).text);
  return requests === count + 1;
}

test("http: a stream of events has topic, text or base64, id and heartbeats", () =>
  withBridge({ heartbeat: 20 }, async ({ url, status }, { port, broker }) => {
    const asked: string[] = [];
    broker.on("subscribe", (subscriptions) => asked.push(...subscriptions.map(({ topic }) => topic)));
    broker.on("unsubscribe", (topics) => asked.push(...topics.filter((t) => t[0] !== "$").map((topic) => `-${topic}`)));
    const { publish, stop } = await subscriber(port);
    await publish("s/kept", "old", true);
    const one = await listen(url, "/s/%23");
    assertEquals(one.status, 200);
    assertMatch((await one.events.next()).comment, /the messages of "s\/#"/);
    const kept = await one.message();
    assertEquals([kept.topic, kept.payload, kept.retain], ["s/kept", "old", true]);
    await publish("s/a", 'two\nlines "☃"');
    await publish("s/b", Uint8Array.of(255, 0));
    const text = await one.message(), bytes = await one.message();
    assertEquals([text.topic, text.payload, text.retain], ["s/a", 'two\nlines "☃"', undefined]);
    assertEquals([bytes.topic, bytes.base64, bytes.payload], ["s/b", "/wA=", undefined]);
    const number = (id: string) => Number(id.split("-")[1]);
    assertEquals([kept, text, bytes].map(({ id }) => number(id)), [1, 2, 3]);
    await one.events.next(({ comment }) => comment === "heartbeat");

    const two = await listen(url, "/s/%23");
    const values = [await two.message(), await two.message(), await two.message()];
    assertEquals(values.map(({ topic, retain }) => [topic, retain]), [["s/kept", true], ["s/a", true], ["s/b", true]]);
    await publish("s/c", "both");
    assertEquals((await one.message()).payload, "both");
    assertEquals((await two.message()).payload, "both");
    await one.stop();
    await publish("s/d", "one left");
    assertEquals((await two.message()).payload, "one left");
    await two.stop();
    await until(() => asked.includes("-s/#"), "the filter is given up");
    assertEquals(asked, ["s/#", "-s/#"]);
    await until(() => status()["streams"] === 0, "no stream is left");
    await stop();
  }));

test("http: a stream that comes again is told how many it has missed", () =>
  withBridge({}, async ({ url }, { port }) => {
    const { publish, stop } = await subscriber(port);
    const one = await listen(url, "/m"), other = await listen(url, "/m");
    await publish("m", "1");
    const { id } = await one.message();
    await one.stop();
    await publish("m", "2");
    await publish("m", "3");
    for (let i = 0; i < 3; i++) await other.message();
    const again = await listen(url, "/m", { "last-event-id": id });
    const missed = await again.events.next(({ event }) => event === "missed");
    assertEquals(JSON.parse(missed.data), { count: 2 });
    const stranger = await listen(url, "/m", { "last-event-id": "elsewhere-7" });
    assertEquals((await stranger.events.next(({ event }) => event === "missed")).data, `{"count":null}`);
    for (const stream of [other, again, stranger]) await stream.stop();
    await stop();
  }));

test("http: what is wrong is 400, 404, 405 or 413", () =>
  withBridge({ maxBody: 1000 }, async ({ url, status }) => {
    const statuses: [number, ...Parameters<typeof ask>][] = [
      [400, url, "/a/+", { method: "POST", body: "x" }],
      [400, url, "/a/%23", { method: "POST", body: "x" }],
      [400, url, "/a%00", { method: "POST", body: "x" }],
      [400, url, "/a%01", { method: "POST", body: "x" }],
      [400, url, "/a%EF%BF%BF", { method: "POST", body: "x" }],
      [400, url, `/${"a/".repeat(250)}`, { method: "POST", body: "x" }],
      [400, url, "/", { method: "POST", body: `{"topic":"a","base64":"%%%"}` }],
      [400, url, "/", { method: "POST", body: Buffer.from(`{"topic":"a","payload":"\xff"}`, "latin1") }],
      [400, url, "/a%01"],
      [400, url, "/$share/g/a?wait=1"],
      [400, url, "/a%01", { headers: { accept: "text/event-stream" } }],
      [400, url, "/$share/g/a", { headers: { accept: "text/event-stream" } }],
      [404, url, "/a?wait=-5"],
      [400, url, "/%ff", { method: "POST", body: "x" }],
      [400, url, `/${"x".repeat(8000)}/+`, { method: "POST", body: "x" }],
      [400, url, "/a/+"],
      [400, url, "/a%00"],
      [400, url, "/a%23", { headers: { accept: "text/event-stream" } }],
      [405, url, "/a", { method: "PUT", body: "x" }],
      [413, url, "/a", { method: "POST", body: "x".repeat(1001) }],
      [413, url, "/a", { method: "POST", body: "x".repeat(300_000) }],
      [413, url, "/a", { method: "POST", body: "x".repeat(300_000), chunked: true }],
      [413, url, "/", { method: "POST", body: "x".repeat(1001) }],
      [204, url, "/a", { method: "POST", body: "x".repeat(1000), chunked: true }],
    ];
    for (const [status, ...request] of statuses) {
      const answer = await ask(...request);
      assertEquals(answer.status, status, `${request[1].slice(0, 20)}: ${answer.text}`);
      if (status !== 204) assertGreater(answer.text.length, 10);
    }
    assertEquals(status()["connections"], 1);
  }));

test("http: the token guards all of it, and pages of other origins are refused", () =>
  withBridge({ token: "s3cret", origins: ["https://good.example"] }, async ({ url }) => {
    const port = new URL(url).port;
    const bearer = { authorization: "Bearer s3cret" };
    const page = (origin: string) => ({ headers: { ...bearer, origin } });
    for (const path of ["/", "/a?wait=1"]) {
      assertEquals((await ask(url, path)).status, 401);
      assertEquals((await ask(url, path, { headers: { authorization: "Bearer wrong" } })).status, 401);
      assert((await ask(url, path, { headers: bearer })).status !== 401);
    }
    assertEquals((await post(url, "/a", "x")).status, 401);
    assertEquals((await listen(url, "/a")).status, 401);
    assertEquals((await post(url, "/a?access_token=s3cret", "x")).status, 204);
    assertEquals((await post(url, "/a", "x", page("https://evil.example"))).status, 403);
    assertEquals((await post(url, "/a", "x", page(`http://localhost:${port}`))).status, 204);
    const good = await post(url, "/a", "x", page("https://good.example"));
    assertEquals([good.status, good.headers["access-control-allow-origin"]], [204, "https://good.example"]);
    const preflight = (origin: string) => ask(url, "/a", { method: "OPTIONS", headers: { origin } });
    assertEquals((await preflight("https://good.example")).status, 204);
    assertEquals((await preflight("https://evil.example")).status, 403);
  }));

test("http: while the broker is away it is 503 with Retry-After, and the stream tells", async () => {
  const port = freePort();
  const { url, status, close } = await startHttp({ broker: `mqtt://127.0.0.1:${port}` });
  const away = async () => {
    for (const answer of [await post(url, "/a", "x"), await ask(url, "/a")]) {
      assertEquals(answer.status, 503);
      assertGreater(Number(answer.headers["retry-after"]), 0);
    }
    assertEquals((await listen(url, "/a")).status, 503);
    assertEquals((await post(url, "/a/+", "x")).status, 400);
    assertEquals((await post(url, "/", `{"topic":"a","payload":7}`)).status, 400);
    assertEquals((await ask(url, "/a%00")).status, 400);
    assertEquals((await listen(url, "/a%23")).status, 400);
  };
  await away();
  let broker = await startAedes({ port });
  await until(() => status()["broker"] === "connected", "the broker is found");
  const stream = await listen(url, "/a");
  await broker.stop();
  const gone = await stream.events.next(({ event }) => event === "away");
  assertMatch(gone.data, /"reason":"The .*connection/);
  await away();
  broker = await startAedes({ port });
  const back = await stream.events.next(({ event }) => event === "connected");
  assertGreater(JSON.parse(back.data).away, 0);
  await until(async () => {
    assertEquals((await post(url, "/a", "again")).status, 204);
    return stream.events.waiting.some(({ data }) => data.includes("again"));
  }, "the stream goes on");
  await stream.stop();
  await close();
  await broker.stop();
});

test("http: a message whose arrival the broker did not confirm is 503, and counted", async () => {
  // CONNECT, then what there is of PUBLISH and UNSUBSCRIBE; no answer to these.
  const broker = await startScripted([
    wait(37),
    send([0x20, 2, 0, 0]),
    wait(37 + 2 * 110),
    ({ socket }) => void socket.destroy(),
  ]);
  const { url, status, close } = await startHttp({ broker: `mqtt://127.0.0.1:${broker.port}` });
  await until(() => status()["broker"] === "connected", "connected");
  const lines = `{"topic":"a","payload":"${"x".repeat(100)}"}\n{"topic":"b"}`;
  for (const answer of await Promise.all([post(url, "/", lines), post(url, "/", lines)])) {
    assertEquals(answer.status, 503);
    assertMatch(answer.text, /^Line 1: (?!Line)/); // both failed for one reason
  }
  assertEquals([status()["published"], status()["unconfirmed"]], [0, 4]);
  await close();
  await broker.stop();
});

test("http: a slow stream loses its oldest messages and is told how many; the others lose none", () =>
  withBridge({ maxWaiting: { messages: 20, bytes: 1_000_000 } }, async ({ url, status }, { port }) => {
    const { publish, stop } = await subscriber(port);
    const slow = await listen(url, "/f"), fast = await listen(url, "/f");
    slow.pause();
    const count = 500, body = "x".repeat(50_000);
    for (let i = 1; i <= count; i++) {
      await publish("f", `${i} ${body}`);
      assertEquals(parseInt((await fast.message()).payload!), i);
    }
    slow.resume();
    let last = 0, lost = 0, got = 0;
    while (last < count) {
      const { event, data } = await slow.events.next(({ data }) => data !== "");
      if (event === "dropped") lost += JSON.parse(data).count;
      else {
        const number = parseInt(JSON.parse(data).payload);
        assertEquals(number, got + lost + 1, "what was lost is told before what comes after it");
        last = number;
        got++;
      }
    }
    assertEquals(got + lost, count);
    assertGreater(lost, 0);
    assertEquals(status()["dropped"], lost, "the status counts those of open streams, too");
    for (const stream of [slow, fast]) await stream.stop();
    await until(() => status()["dropped"] === lost, "the status counts them");
    await stop();
  }));

test("http: a stream that is slow, but reads, is not given up", () =>
  withBridge({ heartbeat: 500, maxWaiting: { messages: 20, bytes: 1_000_000 } }, async ({ url, status }, { port }) => {
    const mqtt = await subscriber(port), way = await startSlowWay(url);
    const slow = await listen(way.url, "/f");
    const body = "x".repeat(50_000);
    for (const start = performance.now(); performance.now() - start < (status()["dropped"] ? 2500 : 10_000);) {
      await mqtt.publish("f", body);
    }
    assertGreater(Number(status()["dropped"]), 0, "it was slow");
    assertEquals(status()["streams"], 1);
    await slow.stop();
    await way.stop();
    await mqtt.stop();
  }));

test("http: a page of another site cannot read by a name of its own for this machine", () =>
  withBridge({ origins: ["https://bridge.example"] }, async ({ url }) => {
    const { port } = new URL(url);
    const ask403 = async (host: string, origin?: string) =>
      (await ask(url, "/", { headers: { host, ...origin ? { origin } : {} } })).status;
    for (const host of [`evil.example:${port}`, "evil.example", "localhost.evil.example", `127.0.0.1.evil.example`]) {
      assertEquals(await ask403(host), 403, host);
    }
    for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`, "192.0.2.1", "bridge.example"]) {
      assertEquals(await ask403(host), 200, host);
    }
    // A page that came by the address: a literal one cannot be another site's name.
    assertEquals(await ask403(`192.0.2.1:${port}`, `http://192.0.2.1:${port}`), 200);
    assertEquals(await ask403(`192.0.2.1:${port}`, `http://192.0.2.2:${port}`), 403);
    assertEquals(await ask403(`evil.example:${port}`, `http://evil.example:${port}`), 403);
  }));

test("http: as many streams are open as may be, and no more", () =>
  withBridge({ maxStreams: 3 }, async ({ url, status }) => {
    for (let round = 0; round < 2; round++) {
      const streams = await Promise.all(Array.from({ length: 10 }, (_, i) => listen(url, `/${i}`)));
      assertEquals(streams.map(({ status }) => status).sort(), [200, 200, 200, ...Array(7).fill(503)]);
      assertEquals(status()["streams"], 3);
      for (const stream of streams) await stream.stop();
      await until(() => status()["streams"] === 0, "no stream is left");
    }
  }));

test("http: a POST that is broken off is no failure of the bridge", () =>
  withBridge({}, async ({ url, status }) => {
    const warnings: Error[] = [];
    const warn = (warning: Error) => warnings.push(warning);
    process.on("warning", warn);
    const { port, hostname } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.write("POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nx");
    await until(() => bridgeRequests(url, 1), "it has come");
    socket.resetAndDestroy();
    await until(() => bridgeRequests(url, 0), "it has gone");
    assertEquals((await post(url, "/a", "x")).status, 204);
    assertEquals([warnings, status()["published"]], [[], 1]);
    process.off("warning", warn);
  }));

test("http: where it cannot listen, nothing is left", () =>
  withBridge({}, async ({ url }, { broker, port }) => {
    const clients = broker.connectedClients;
    const to = { broker: `mqtt://127.0.0.1:${port}` };
    const taken = await startHttp({ ...to, port: Number(new URL(url).port) }).catch((error) => error);
    assertEquals(taken.code, "EADDRINUSE");
    await assertRejects(() => startHttp({ ...to, token: "" }), TypeError, "token is empty");
    const { url: other, close } = await startHttp({ ...to, host: "0.0.0.0" });
    assert(!other.includes("0.0.0.0"), other);
    await until(async () => JSON.parse((await ask(other, "/")).text).broker === "connected", "it is connected");
    assertEquals(broker.connectedClients, clients + 1);
    await close();
  }));
