/** `subscriptions` of the options, in each mode: asked for with the first connection, and routed from the first byte on. */
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import type { ConnectOptions, Message } from "../../mod.ts";
import { atGates, type Gates, modes, type Mqtt, quick } from "./gates.ts";

for (const [mode, open] of modes) {
  /** Lets time pass; handlers of a client that blocks are called by what receive() gives. */
  const until = (gates: Gates, mqtt: Mqtt, count: number, pattern: RegExp) =>
    gates.until(mqtt, () => gates.said(0, pattern).length >= count, `${count} of ${pattern}`);

  test(`${mode}: subscriptions: one SUBSCRIBE each, on the first connection also of a session that is present`, () =>
    atGates(async (gates) => {
      const addr = await gates.broker({ answers: ["present", "present", 0] });
      const firsts: string[] = [];
      const first = (_topic: string, message: Message) => void firsts.push(`${message}`);
      const op: ConnectOptions = {
        id: "ID",
        session: true,
        reconnect: quick,
        onstatus: gates.onstatus,
        subscriptions: {
          first,
          "refused/x": { qos: 1, onpub: gates.onpub },
          "b/#": { qos: 2, onpub: gates.onpub, concurrency: 3 },
          plain: {},
          nothing: undefined,
        },
      };
      const mqtt = gates.keep(await open(addr, op));
      const asked = ["first 0", "refused/x 1", "b/# 2", "plain 0"];
      await until(gates, mqtt, 4, /SUBSCRIBE/);
      assertEquals(gates.said(0, /^0 SUBSCRIBE/), asked.map((filter) => `0 SUBSCRIBE ${filter}`));
      await gates.until(mqtt, () => gates.told("refused").length === 1, "the refusal");
      const [refused] = gates.told("refused");
      assertEquals(refused?.filter, "refused/x");
      assertMatch(`${refused?.error}`, /refused the subscription to "refused\/x"/);
      // It came with CONNACK, before any SUBACK: to its handler, or to who asks for messages.
      const hasFirst = () => [...firsts, ...gates.got.map(String)].includes("kept");
      await gates.until(mqtt, hasFirst, "the first message");
      await mqtt.publish("$drop", "");
      await gates.until(mqtt, () => gates.told("connected").length === 2, "another connection");
      await mqtt.publish("behind", "", { qos: 1 });
      await until(gates, mqtt, 1, /^1 PUBLISH behind/);
      assertEquals(gates.said(0, /^1 SUBSCRIBE/), [], "the broker has them");
      await mqtt.publish("$drop", "");
      await gates.until(mqtt, () => gates.told("connected").length === 3, "a new session");
      await mqtt.publish("behind", "", { qos: 1 });
      await until(gates, mqtt, 1, /^2 PUBLISH behind/);
      const again = asked.filter((filter) => !filter.startsWith("refused")).map((filter) => `2 SUBSCRIBE ${filter}`);
      assertEquals(gates.said(0, /^2 SUBSCRIBE/), again);
    }));

  test(`${mode}: subscriptions: what was given up or asked for again while offline is not asked for twice`, () =>
    atGates(async (gates) => {
      const subscriptions = { a: gates.onpub, b: gates.onpub, c: gates.onpub };
      const op = { offline: true, reconnect: quick, subscriptions, onstatus: gates.onstatus, timeout: 5000 };
      const mqtt = gates.keep(await open(`127.0.0.1:${gates.port}`, op));
      await mqtt.unsubscribe("a");
      await gates.broker({ port: gates.port, after: 200 });
      assertEquals(await mqtt.subscribe("b", { qos: 1 }), 1);
      await mqtt.flush();
      await until(gates, mqtt, 2, /SUBSCRIBE/);
      assertEquals(gates.said(0, /SUBSCRIBE/), ["0 SUBSCRIBE c 0", "0 SUBSCRIBE b 1"]);
    }));
}
