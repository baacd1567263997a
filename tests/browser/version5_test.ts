/** MQTT 5, and requests, in a page. */
import { assertEquals } from "@std/assert";
import { connect } from "../../mod.ts";
import { overNatsWebSocket, overRabbitWebSocket, overWebSocket } from "../client/ways.ts";
import { startWebMosquitto } from "../support/servers.ts";
import { testPage } from "./support.ts";

const brokers = [
  ["mosquitto", 5, overWebSocket],
  ["nats-server", 4, overNatsWebSocket],
  ["rabbitmq-server", 4, overRabbitWebSocket],
] as const;

for (const [name, version, start] of brokers) {
  testPage(`page, ${name}: version "auto" is ${version}, and messages pass`, [name], async ({ page }) => {
    const broker = await start();
    try {
      const [status, received, coded] = await page.call(async (url) => {
        await openKept(url, { version: "auto" });
        const messages = kept.client.messages("auto", { qos: 1 });
        const next = messages.next();
        await kept.client.flush();
        await kept.client.publish("auto", "é", { qos: 1 });
        const received = (await next).value!.text();
        const properties = { contentType: "text/plain" };
        const coded = await kept.client.publish("auto", "x", { qos: 1, properties })
          .then((code) => code, ({ code }) => code);
        const status = kept.client.status;
        await kept.client.disconnect();
        return [status.type === "connected" && status.version, received, coded] as const;
      }, broker.webAddress!);
      assertEquals([status, received, coded], [version, "é", version === 5 ? 0 : "unsupported"]);
    } finally {
      await broker.stop();
    }
  });
}

testPage("page: MQTT 5: properties both ways, expiry, subscription identifiers, aliases, codes and limits", [
  "mosquitto",
], async ({ page }) => {
  const broker = await startWebMosquitto();
  const peer = await connect(`mqtt://127.0.0.1:${broker.tcp}`, undefined, { version: 5 });
  try {
    const messages = peer.messages("from/#", { qos: 2 });
    await peer.flush();
    await page.call((url) => openKept(url, { version: 5, topicAliases: 10 }), `ws://127.0.0.1:${broker.port}`);
    const codes = await page.call(async () => {
      const user = [["b", "1"], ["a", "2"], ["b", "1"]] as const;
      const properties = { contentType: "text/plain", payloadFormat: 1 as const, user };
      const published: number[] = [];
      for (let i = 0; i < 3; i++) published.push(await kept.client.publish("from/page", "x", { qos: 2, properties }));
      Object.assign(globalThis, { got: [] });
      await kept.client.subscribe("to/#", {
        id: 7,
        noLocal: true,
        onpub: (topic, { properties }) => {
          const { subscriptionIds, expiry, user } = properties!;
          (globalThis as unknown as { got: unknown[] }).got.push([topic, subscriptionIds, expiry! > 90, user]);
        },
      });
      await kept.client.publish("to/own", "own", { qos: 1 });
      published.push(await kept.client.publish("nobody/there", "x", { qos: 1 }));
      return [published, kept.client.limits!.maxQoS] as const;
    });
    assertEquals(codes, [[0, 0, 0, 16], 2]); // 16 is "no matching subscribers"
    for (let i = 0; i < 3; i++) {
      const { topic, properties } = (await messages.next()).value!;
      const { contentType, payloadFormat, user } = properties;
      assertEquals([topic, contentType, payloadFormat, user], [
        ...["from/page", "text/plain", 1],
        [["b", "1"], ["a", "2"], ["b", "1"]],
      ]);
    }
    await peer.publish("to/page", "x", { qos: 1, expiry: 100, properties: { user: [["k", "v"]] } });
    await page.until("got.length > 0");
    assertEquals(await page.run("got"), [["to/page", [7], true, [["k", "v"]]]]);
    await page.run("kept.client.disconnect()");
  } finally {
    await peer.disconnect();
    await broker.stop();
  }
});

for (const version of [4, 5] as const) {
  testPage(
    `page: requests over version ${version}: a page asks and answers, and is told what a handler has failed with`,
    ["mosquitto"],
    async ({ page }) => {
      const broker = await startWebMosquitto();
      const peer = await connect(`mqtt://127.0.0.1:${broker.tcp}`, undefined, { version });
      try {
        await peer.respond("peer/+", (_, message) => {
          if (message.text() === "0") throw new RangeError("not 0");
          return `${10 / Number(message.text())}`;
        });
        await page.call((url, version) => openKept(url, { version }), `ws://127.0.0.1:${broker.port}`, version);
        const [answers, failure] = await page.call(async () => {
          await kept.client.respond("page/+", (topic, message) => `${topic} ${message.text()}`);
          const ask = async (text: string) => (await kept.client.request("peer/divide", text)).text();
          return [
            await Promise.all(["1", "2", "5"].map(ask)),
            await ask("0").then(() => "answered", ({ code }) => code),
          ] as const;
        });
        assertEquals(answers, ["10", "5", "2"]);
        assertEquals(typeof failure, "number", `${failure}`);
        assertEquals((await peer.request("page/x", "hello")).text(), "page/x hello");
        await page.run("kept.client.disconnect()");
      } finally {
        await peer.disconnect();
        await broker.stop();
      }
    },
  );
}

testPage(
  "page: MQTT 5: a session is kept for as long as was asked, and a page that is loaded again has it",
  ["mosquitto"],
  async ({ page, site }) => {
    const broker = await startWebMosquitto(), url = `ws://127.0.0.1:${broker.port}`;
    const peer = await connect(url, undefined, { version: 5 });
    try {
      const op = { version: 5 as const, id: "page", session: 600 };
      await page.call((url, op) => openKept(url, op), url, op);
      await page.run(`kept.client.subscribe("kept/#", { qos: 1 })`);
      await page.open(`${site.url}/again`);
      await peer.publish("kept/x", "meanwhile", { qos: 1 });
      await page.call((url, op) => openKept(url, op), url, op);
      await page.until("kept.received.length === 1");
      assertEquals(await page.run("[kept.client.status.sessionPresent, kept.client.limits.session]"), [true, 600]);
      await page.run("kept.client.disconnect({ session: 0 })");
    } finally {
      await peer.disconnect();
      await broker.stop();
    }
  },
);
