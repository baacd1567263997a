import { Buffer } from "node:buffer";
import { test } from "node:test";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { Broker } from "../../examples/bridge/broker.ts";
import { payloadOf, type Value } from "../../examples/bridge/payload.ts";
import { needs } from "../support/process.ts";
import { type Action, close, send, startScripted, wait } from "../support/scripted.ts";
import { freePort, startAedes, startMosquitto } from "../support/servers.ts";
import { Inbox, subscriber, until } from "./support.ts";

/** A listener, and what it hears. */
function listener() {
  const values = new Inbox<string>(), refusals = new Inbox<string>();
  let grants = 0;
  return {
    values,
    refusals,
    grants: () => grants,
    granted: () => void grants++,
    message: ({ payload, retain }: Value) => values.push(`${Buffer.from(payload)}${retain ? " retained" : ""}`),
    refused: ({ message }: Error) => refusals.push(message),
  };
}

/** Bytes of a CONNECT as the bridge sends it, of a SUBSCRIBE or UNSUBSCRIBE to "a", and of a DISCONNECT. */
const CONNECT = 37, SUBSCRIBE = 8, UNSUBSCRIBE = 7, DISCONNECT = 2;
const connack = send([0x20, 2, 0, 0]);
const publish = send([0x30, 4, 0, 1, 97, 120]);
/** Answers the request whose bytes end there. */
const answer = (type: number, end: number, size: number, ...more: number[]): Action => ({ received, socket }) => {
  const [high, low] = received().subarray(end - size + 2);
  socket.write(Uint8Array.of(type, 2 + more.length, high!, low!, ...more));
};

test("bridge: a filter stays when the connection ends before the broker has answered", async () => {
  const { broker, port, stop } = await startAedes();
  let cuts = 3;
  broker.authorizeSubscribe = (client, subscription, done) => {
    if (cuts-- > 0) (client as unknown as { conn: { destroy(): void } }).conn.destroy();
    else done(null, subscription);
  };
  const bridge = new Broker(`mqtt://127.0.0.1:${port}`);
  await until(() => bridge.connected, "connected");
  const heard = listener();
  bridge.subscribe("a/#", heard);
  await until(() => heard.grants() === 1, "it is granted");
  assertEquals([bridge.status().connections, heard.refusals.waiting], [4, []]);
  await bridge.publish("a/b", "arrives");
  assertEquals(await heard.values.next(), "arrives");
  await bridge.close();
  await stop();
});

test("bridge: a filter the broker does not answer in time is asked for again", async () => {
  const end = CONNECT + 2 * SUBSCRIBE;
  const { port, stop } = await startScripted([
    wait(CONNECT),
    connack,
    wait(end),
    answer(0x90, end, SUBSCRIBE, 0),
    publish,
    wait(end + DISCONNECT),
    close,
  ]);
  const bridge = new Broker(`mqtt://127.0.0.1:${port}`, { timeout: 100 });
  await until(() => bridge.connected, "connected");
  const heard = listener();
  bridge.subscribe("a", heard);
  assertEquals(await heard.values.next(), "x");
  await until(() => heard.grants() === 1, "it is granted");
  assertEquals([bridge.status().connections, heard.refusals.waiting], [1, []]);
  await bridge.close();
  await stop();
});

test("bridge: what comes of a filter that was given up is for nobody, and not kept", async () => {
  const end = CONNECT + SUBSCRIBE + UNSUBSCRIBE;
  const { port, stop } = await startScripted([
    wait(CONNECT),
    connack,
    wait(CONNECT + SUBSCRIBE),
    answer(0x90, CONNECT + SUBSCRIBE, SUBSCRIBE, 0),
    publish,
    wait(end),
    publish,
    answer(0xb0, end, UNSUBSCRIBE),
    wait(end + SUBSCRIBE),
    answer(0x90, end + SUBSCRIBE, SUBSCRIBE, 0),
    wait(end + SUBSCRIBE + DISCONNECT),
    close,
  ]);
  const bridge = new Broker(`mqtt://127.0.0.1:${port}`);
  await until(() => bridge.connected, "connected");
  const heard = listener(), other = listener(), stopListening = bridge.subscribe("a", heard);
  assertEquals(await heard.values.next(), "x");
  await stopListening();
  bridge.subscribe("b", other);
  await until(() => other.grants() === 1, "all before it has come");
  assertEquals(bridge.status().received, 1);
  await bridge.close();
  await stop();
});

test(
  "bridge: who comes late gets every retained value, whatever of it the bridge has forgotten",
  needs("mosquitto"),
  async () => {
    const { port, stop } = await startMosquitto();
    const mqtt = await subscriber(port);
    const bridge = new Broker(`mqtt://127.0.0.1:${port}`);
    await until(() => bridge.connected, "connected");
    const large = "x".repeat(1_000_000), big = listener(), lamp = listener();
    bridge.subscribe("big/+", big);
    await until(() => big.grants() === 1, "it is granted");
    for (let i = 0; i < 18; i++) await mqtt.publish(`big/${i}`, `${i} ${large}`, true);
    for (let i = 0; i < 18; i++) await big.values.next();
    await mqtt.publish("lamp", "on", true);
    bridge.subscribe("lamp", lamp);
    assertEquals(await lamp.values.next(), "on retained");
    const again = listener();
    bridge.subscribe("lamp", again);
    assertEquals(await again.values.next(), "on retained", "the newest is not what is forgotten");

    const late = listener(), got = new Set<number>();
    bridge.subscribe("big/+", late);
    while (got.size < 18) got.add(parseInt(await late.values.next()));

    // An empty message that is not retained leaves the retained value at the broker.
    await mqtt.publish("lamp", "");
    assertEquals(await lamp.values.next(), "");
    const last = listener();
    bridge.subscribe("lamp", last);
    assertEquals(await last.values.next(), "on retained");
    await bridge.close();
    await mqtt.stop();
    await stop();
  },
);

test("bridge: what a broker may close the connection for is refused before it is sent, also while it is away", async () => {
  const bridge = new Broker("mqtt://127.0.0.1:1");
  const strings = [7, "", "a\0", "a\u0001", "a\u0085", "\ud800", "\ufdd0", "a\uffff", "\u{1fffe}", "x".repeat(65_536)];
  for (const topic of [...strings, "a/+", "a#", "a/".repeat(200)] as string[]) {
    const error = await bridge.publish(topic, "x").catch((error) => error);
    assertMatch(error.name, /^(Type|Range)Error$/);
  }
  for (const filter of [...strings, "a+", "a/#/b", "#a", "$share/g/a", "a/".repeat(200)] as string[]) {
    assertThrows(() => bridge.subscribe(filter, listener()), Error, "Cannot use the filter");
  }
  for (const topic of ["a/b", "☃", "$SYS/a", "a/".repeat(199)]) {
    await assertRejects(() => bridge.publish(topic, "x"), Error, "The broker is away");
  }
  for (const filter of ["#", "+", "a/+/+/#", "/", "$SYS/#"]) {
    await bridge.subscribe(filter, listener())();
  }
  await bridge.close();
});

test("bridge: what the broker has not acknowledged is told when the connection ends, and never sent again", async () => {
  const PUBLISH = 10, inflight = 100;
  const { peers, port, stop } = await startScripted([
    wait(CONNECT),
    connack,
    wait(CONNECT + inflight * PUBLISH),
    ({ socket }) => void socket.destroy(),
  ]);
  const bridge = new Broker(`mqtt://127.0.0.1:${port}`);
  await until(() => bridge.connected, "connected");
  // Half of them wait for the window: they were not sent at all.
  const all = await Promise.allSettled(Array.from({ length: 2 * inflight }, () => bridge.publish("a", "old")));
  assertEquals(all.filter(({ status }) => status === "rejected").length, 2 * inflight);
  assertEquals([bridge.status().connections, bridge.status().unconfirmed], [1, 2 * inflight]);
  await until(() => bridge.connected, "connected again");
  const last = bridge.publish("a", "new").catch(({ name }) => name);
  const again = () => Buffer.from(peers[1]!.received().subarray(CONNECT));
  await until(() => again().length >= PUBLISH, "it is sent");
  assertEquals(again().subarray(7).toString(), "new");
  await stop();
  assertEquals(await last, "MqttError");
  const { published, unconfirmed, refused } = bridge.status();
  assertEquals({ published, unconfirmed, refused }, { published: 0, unconfirmed: 2 * inflight + 1, refused: 0 });
  await bridge.close();
});

test("bridge: beyond maxBuffered a message is refused, told and counted; the others arrive in order", async () => {
  const { port, stop } = await startAedes();
  const mqtt = await subscriber(port, "a");
  const bridge = new Broker(`mqtt://127.0.0.1:${port}`, { maxBuffered: 10_000 });
  await until(() => bridge.connected, "connected");
  for (let round = 0; round < 2; round++) {
    const messages = Array.from({ length: 100 }, (_, i) => `${i} ${"x".repeat(1000)}`);
    const all = await Promise.allSettled(messages.map((message) => bridge.publish("a", message)));
    const taken = messages.filter((_, i) => all[i]!.status === "fulfilled");
    const codes = all.flatMap((result) => result.status === "rejected" ? [result.reason.code] : []);
    assertEquals(new Set(codes), new Set(["overflow"]));
    for (const message of taken) assertEquals((await mqtt.inbox.next()).text(), message);
    const { published, refused, unconfirmed } = bridge.status(), times = round + 1;
    assertEquals([published, refused, unconfirmed], [times * taken.length, times * codes.length, 0]);
  }
  await bridge.close();
  await mqtt.stop();
  await stop();
});

test("bridge: a filter that the broker refuses when it comes again is told; others come who want one meanwhile", async () => {
  const port = freePort();
  let embedded = await startAedes({ port });
  const bridge = new Broker(`mqtt://127.0.0.1:${port}`);
  await until(() => bridge.connected, "connected");
  const open = listener(), late = listener(), secret = listener();
  bridge.subscribe("open", open);
  bridge.subscribe("secret", secret);
  await until(() => open.grants() + secret.grants() === 2, "both are granted");
  await embedded.stop();
  await until(() => !bridge.connected, "it is away");
  bridge.subscribe("open", late);
  assertEquals(late.grants(), 0);
  embedded = await startAedes({ port });
  embedded.broker.authorizeSubscribe = (_, subscription, done) =>
    done(null, subscription.topic === "secret" ? null : subscription);
  assertMatch(await secret.refusals.next(), /refused .*"secret"/);
  await until(() => late.grants() === 1, "it is granted");
  await bridge.publish("open", "x");
  assertEquals([await open.values.next(), await late.values.next()], ["x", "x"]);
  assertEquals([open.refusals.waiting, late.refusals.waiting], [[], []]);
  await bridge.close();
  await embedded.stop();
});

test("bridge: a payload is text or base64, and nothing else", () => {
  assertEquals(payloadOf({}), "");
  assertEquals(payloadOf({ payload: "☃" }), "☃");
  for (const base64 of ["", "AA==", "AP8=", "AP8", "AP8A"]) {
    assertEquals(payloadOf({ base64 }), Buffer.from(base64, "base64"));
  }
  for (const base64 of ["@@@", "A", "AP8=AP8=", "AP_8", "A P8=", 7, null]) {
    assertThrows(() => payloadOf({ base64 }), TypeError, "base64");
  }
  for (const payload of [7, null, {}]) assertThrows(() => payloadOf({ payload }), TypeError, "string");
});
