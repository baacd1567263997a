/** Publishes that are rejected and that nobody awaits are told to `onstatus`; and what the counters say. */
import { test } from "node:test";
import process from "node:process";
import { assertEquals } from "@std/assert";
import type { ConnectOptions } from "../../mod.ts";
import { atGates, modes, quick } from "./gates.ts";

/** The codes of the rejections that nobody handled while it ran. */
async function unhandled(act: () => Promise<unknown>): Promise<unknown[]> {
  const found: unknown[] = [];
  const hear = (error: { code?: unknown }) => void found.push(error.code ?? error);
  process.on("unhandledRejection", hear);
  try {
    await act();
    await new Promise((resolve) => setTimeout(resolve, 50));
  } finally {
    process.off("unhandledRejection", hear);
  }
  return found;
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 20));

for (const [mode, open] of modes.filter(([mode]) => mode !== "connectSync")) {
  test(`${mode}: what does not fit is told as dropped, inside no call, and is no unhandled rejection`, async () => {
    const found = await unhandled(() =>
      atGates(async (gates) => {
        const op: ConnectOptions = { offline: true, reconnect: quick, maxBuffered: 1000, onstatus: gates.onstatus };
        const mqtt = gates.keep(await open(`127.0.0.1:${gates.port}`, op));
        const large = "x".repeat(900);
        void mqtt.publish("kept/0", large);
        void mqtt.publish("zero", large);
        void mqtt.publish("kept/1", large, { qos: 1 });
        void mqtt.publish("one", new Uint8Array(200), { qos: 2 });
        void mqtt.publish([{ topic: "list", message: large, qos: 1 }, { topic: "list", message: large }]);
        void mqtt.publish("whole", "x".repeat(2000));
        assertEquals(gates.told("dropped"), [], "not inside the calls");
        await turn();
        const shown = gates.told("dropped").map(({ topic, size, error }) => `${topic} ${size} ${error.code}`);
        const sizes = ["zero 909 overflow", "one 210 overflow", "list 911 overflow", "list 909 overflow"];
        assertEquals(shown, [...sizes, "whole 2010 overflow"]);
      })
    );
    assertEquals(found, []);
  });

  test(`${mode}: the size that is told has the properties of version 5, and their length`, () =>
    atGates(async (gates) => {
      const op: ConnectOptions = {
        version: 5,
        offline: true,
        reconnect: quick,
        maxBuffered: 40,
        onstatus: gates.onstatus,
      };
      const mqtt = gates.keep(await open(`127.0.0.1:${gates.port}`, op));
      const large = "x".repeat(50), properties = { contentType: "text" };
      void mqtt.publish("zero", large);
      void mqtt.publish("one", large, { qos: 1 });
      void mqtt.publish("expires", large, { expiry: 5 });
      void mqtt.publish("rich", large, { qos: 2, expiry: 5, properties });
      await turn();
      const shown = gates.told("dropped").map(({ topic, size, error }) => `${topic} ${size} ${error.code}`);
      assertEquals(shown, ["zero 59 overflow", "one 60 overflow", "expires 67 overflow", "rich 73 overflow"]);
    }));

  test(`${mode}: "sessionlost" is told as dropped`, async () => {
    const found = await unhandled(() =>
      atGates(async (gates) => {
        const addr = await gates.broker();
        const op: ConnectOptions = { reconnect: quick, onstatus: gates.onstatus, sessionLost: "reject" };
        const mqtt = gates.keep(await open(addr, op));
        void mqtt.publish("never/a", "12345", { qos: 2 });
        void mqtt.publish([{ topic: "never/b", message: "1", qos: 1 }, { topic: "c", message: "2", qos: 1 }]);
        await gates.until(mqtt, () => gates.said(0, /PUBLISH/).length === 3, "their PUBLISH");
        await mqtt.publish("$drop", "");
        await gates.until(mqtt, () => gates.told("dropped").length === 2, "what is lost");
        const shown = gates.told("dropped").map(({ topic, size, error }) => `${topic} ${size} ${error.code}`);
        assertEquals(shown.sort(), ["never/a 18 sessionlost", "never/b 14 sessionlost"]);
      })
    );
    assertEquals(found, []);
  });
}

for (const [mode, open] of modes) {
  test(`${mode}: stats count what is sent, sent again, and received`, () =>
    atGates(async (gates) => {
      const addr = await gates.broker({ answers: [0, "present", "present"] });
      const op: ConnectOptions = { id: "ID", session: true, reconnect: quick, onstatus: gates.onstatus, timeout: 3000 };
      const mqtt = gates.keep(await open(addr, { ...op, subscriptions: { first: gates.onpub } }));
      for (let i = 0; i < 10; i++) await mqtt.publish("t", `${i}`, { qos: (i % 3) as 0 | 1 | 2 });
      await mqtt.flush();
      const { sent, resent, received } = mqtt.stats;
      assertEquals([sent, resent, received], [10, 0, 0]);
      const never = Promise.resolve().then(() => mqtt.publish("never/a", "", { qos: 1 })).catch(() => undefined);
      await gates.until(mqtt, () => gates.said(0, /never/).length === 1, "its PUBLISH");
      await mqtt.publish("$drop", "");
      await gates.until(mqtt, () => gates.said(0, /^1 PUBLISH never\/a {2}1 dup/).length === 1, "it comes again");
      await gates.until(mqtt, () => mqtt.stats.received === 1, "the message with CONNACK");
      assertEquals([mqtt.stats.sent, mqtt.stats.resent], [12, 1]);
      await mqtt.disconnect();
      await never;
    }));
}
