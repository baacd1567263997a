/** `offline: true` in each mode: the client is there at once, and its first connection is like any other. */
import { test } from "node:test";
import { assert, assertEquals, assertLess, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import type { ConnectOptions, MqttError, Status } from "../../mod.ts";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { atGates, modes, quick } from "./gates.ts";

const outcome = async (act: () => unknown): Promise<unknown> => {
  try {
    return await act();
  } catch (error) {
    return (error as MqttError).code ?? error;
  }
};

for (const [mode, open] of modes) {
  const isBlocking = mode === "connectSync";

  test(`${mode}: offline: there at once, and what was asked for is done once a broker is there`, () =>
    atGates(async (gates) => {
      const { port, onstatus } = gates;
      const start = performance.now();
      const op = { offline: true, reconnect: quick, onstatus, timeout: 5000 };
      const mqtt = gates.keep(await open(`127.0.0.1:${port}`, op));
      assertLess(performance.now() - start, 2000);
      assert(["connecting", "waiting"].includes(mqtt.status.type), mqtt.status.type);
      // A client that blocks waits for them here: the broker comes meanwhile.
      await gates.broker({ port, after: 300 });
      const subscribed = outcome(() => mqtt.subscribe("a", { qos: 1 }));
      const published = outcome(() => mqtt.publish("b", "1", { qos: 1 }));
      const flushed = outcome(() => mqtt.flush());
      assertEquals(await Promise.all([subscribed, published, flushed]), [1, 0, undefined]);
      await gates.until(mqtt, () => gates.told("connected").length === 1, "connected");
      const { limits, ...status } = mqtt.status as Extract<Status, { type: "connected" }>;
      assertEquals(status, { type: "connected", sessionPresent: false, version: 4 });
      assertEquals([limits.maxQoS, limits.receiveMaximum, limits.subscriptionIds], [2, 65_535, false]);
      await gates.until(mqtt, () => gates.said().length >= 3, "what it sends");
      assertEquals(gates.said().sort(), ["0 CONNECT - -", "0 PUBLISH b 1 1", "0 SUBSCRIBE a 1"]);
      const waits = gates.told("waiting").map(({ error }) => error.code);
      assert(waits.length > 0 && waits.every((code) => code === "cannotconnect"), `${waits}`);
    }));

  test(`${mode}: offline: publishes are accepted up to maxBuffered`, () =>
    atGates(async (gates) => {
      const op = { offline: true, reconnect: quick, maxBuffered: 1000, timeout: 200 };
      const mqtt = gates.keep(await open(`127.0.0.1:${gates.port}`, op));
      const first = outcome(() => mqtt.publish("t", "x".repeat(600), { qos: 1 }));
      if (isBlocking) assertEquals(await first, "timeout", "and it stays in flight");
      const second = await outcome(() => mqtt.publish("t", "y".repeat(600), { qos: 1 }));
      assertEquals(second, isBlocking ? "timeout" : "overflow");
      await gates.broker({ port: gates.port });
      if (isBlocking) await gates.until(mqtt, () => mqtt.status.type === "connected", "connected");
      else assertEquals(await first, 0);
      await gates.until(mqtt, () => gates.said(0, /PUBLISH/).length === 1, "the first one");
      assertMatch(gates.said(0, /PUBLISH/)[0]!, /^\d+ PUBLISH t x{600} 1$/);
    }));

  test(`${mode}: offline: disconnect() before there is a connection`, () =>
    atGates(async (gates) => {
      const op = { offline: true, reconnect: quick };
      const mqtt = await open(`127.0.0.1:${gates.port}`, op);
      await mqtt.disconnect();
      assertEquals((await mqtt.run()).code, "disconnect");
    }));

  test(`${mode}: offline: return codes 1, 2, 4 and 5 are final, 3 is not`, () =>
    atGates(async (gates) => {
      for (const code of [1, 2, 4, 5]) {
        const addr = await gates.broker({ answers: [code] });
        const mqtt = gates.keep(await open(addr, { offline: true, reconnect: quick }));
        assertEquals<unknown>((await mqtt.run()).code, code);
        const said = () => gates.said(code > 3 ? code - 2 : code - 1);
        await gates.until(mqtt, () => said().length > 0, "its CONNECT");
        assertEquals(said(), ["0 CONNECT - -"], "one");
      }
      const addr = await gates.broker({ answers: [3, 3, 0, 5, 0] });
      const mqtt = gates.keep(await open(addr, { offline: true, reconnect: quick, onstatus: gates.onstatus }));
      await gates.until(mqtt, () => mqtt.status.type === "connected", "accepted");
      await mqtt.publish("$drop", "");
      const accepted = () => gates.told("connected").length === 2;
      await gates.until(mqtt, accepted, "accepted again, as nothing is final any more");
      assertEquals(gates.told("waiting").map(({ error }) => error.code), [3, 3, "socketclosed", 5]);
    }));

  test(`${mode}: offline: a client key that cannot be read is final`, needs("openssl"), () =>
    atGates(async (gates) => {
      const { server } = certificates();
      const key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
      const op: ConnectOptions = { offline: true, reconnect: quick, tls: { cert: server.cert, key } };
      const mqtt = gates.keep(await open(`127.0.0.1:${gates.port}`, op));
      const { code, message } = await mqtt.run();
      assertEquals(code, "tls");
      assertStringIncludes(message, "tls.key");
    }));

  test(`${mode}: offline without reconnect is a TypeError`, async () => {
    const error = await assertRejects(() => open("127.0.0.1:1", { offline: true }), TypeError);
    assertStringIncludes(error.message, "given with reconnect");
  });
}
