/** The client of a page, in Chromium, against real brokers. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { connect, type Message } from "../../mod.ts";
import { until } from "../bridge/support.ts";
import { serveWebSocket } from "../support/aedes_websocket.ts";
import { freePort, type Server, startAedes, startNats, startWebMosquitto, untilAccepts } from "../support/servers.ts";
import { closeFrame, frame, frames, hear, upgrade } from "../support/websocket.ts";
import { send, startScripted } from "../support/scripted.ts";
import { testPage } from "./support.ts";

const MOSQUITTO = ["mosquitto"];

async function startWebNats(): Promise<Server> {
  const data = mkdtempSync(join(tmpdir(), "mqtt3c-nats-")), web = freePort();
  const server = await startNats({ port: freePort(), data, web });
  await untilAccepts(web);
  return {
    port: web,
    async stop() {
      await server.stop();
      rmSync(data, { recursive: true, force: true });
    },
  };
}

async function startWebAedes(): Promise<Server> {
  const { broker, stop } = await startAedes();
  const web = await serveWebSocket(broker);
  return {
    port: web.port,
    async stop() {
      await web.stop();
      await stop();
    },
  };
}

const brokers: [string, string[], () => Promise<Server & { tcp?: number }>][] = [
  ["mosquitto", MOSQUITTO, startWebMosquitto],
  ["nats-server", ["nats-server"], startWebNats],
  ["aedes", [], startWebAedes],
];

for (const [name, tools, start] of brokers) {
  testPage(`page, ${name}: each QoS both ways, wildcards, retained, large and empty messages`, tools, async (stage) => {
    const { page } = stage, broker = await start(), url = `ws://127.0.0.1:${broker.port}/mqtt`;
    const received: string[] = [];
    let largest = 0;
    const onpub = (topic: string, message: Message) => {
      const { payload } = message;
      if (topic !== "from/large") received.push(`${topic} ${message.qos} ${message.text()}`);
      else largest = payload.every((byte, i) => byte === i * i % 251) ? payload.length : -1;
    };
    const peer = await connect(broker.tcp === undefined ? url : `mqtt://127.0.0.1:${broker.tcp}`, onpub);
    try {
      await peer.subscribe("from/#", { qos: name === "nats-server" ? 1 : 2 });
      await page.call((url) => openKept(url), url);
      const has2 = name !== "nats-server"; // 2.9 has no QoS 2
      const levels = has2 ? [0, 1, 2] as const : [0, 1] as const;
      const codes = await page.call(async (levels) => {
        await kept.client.subscribe("to/+/x", { qos: levels.at(-1) });
        return await Promise.all(levels.map((qos) => kept.client.publish(`from/${qos}`, `é${qos}`, { qos })));
      }, [...levels]);
      assertEquals(codes, levels.map(() => 0));
      await until(() => received.length === levels.length, "what the page published");
      assertEquals(received.sort(), levels.map((qos) => `from/${qos} ${qos} é${qos}`));
      for (const qos of levels) await peer.publish(`to/${qos}/x`, `ü${qos}`, { qos });
      await page.until(`kept.received.length === ${levels.length}`);
      assertEquals(
        (await page.run<string[]>("kept.received")).sort(),
        levels.map((qos) => `to/${qos}/x ${qos} ü${qos}`),
      );

      // Bytes, whatever their number; mosquitto 2.0 sends 4 KiB of a large message in 100 ms over a WebSocket.
      const sizes = [0, 1, 127, 128, 65_535, ...name === "mosquitto" ? [] : [1_048_576]];
      const wrong = await page.call(async (sizes) => {
        const messages: AsyncIterableIterator<Message> = kept.client.messages("large/x", { qos: 1 }),
          waits = messages.next();
        await kept.client.flush();
        const make = (length: number) => Uint8Array.from({ length }, (_, i) => i * i % 251);
        for (const size of [...sizes]) void kept.client.publish("large/x", make(size), { qos: 1 });
        const wrong: number[] = [], missing = new Set(sizes); // nats-server may repeat one
        for (let next = await waits; missing.size > 0; next = await messages.next()) {
          const { payload } = next.value!;
          if (payload.some((byte: number, i: number) => byte !== i * i % 251)) wrong.push(payload.length);
          missing.delete(payload.length);
          if (missing.size === 0) break;
        }
        await messages.return!();
        await kept.client.publish("from/large", make(1_048_576), { qos: 1 });
        return wrong;
      }, sizes);
      assertEquals(wrong, []);
      await until(() => largest === 1_048_576, "1 MiB");

      // Retained.
      assertEquals(
        await page.call(async () => {
          await kept.client.publish("kept/value", "21", { qos: 1, retain: true });
          for await (const { topic, retain, payload } of kept.client.messages("kept/#")) {
            return [topic, retain, new TextDecoder().decode(payload)];
          }
        }),
        ["kept/value", true, "21"],
      );
      const end = await page.call(async () => {
        await kept.client.disconnect();
        return [(await kept.client.run()).code, kept.client.trusted, kept.statuses.map(({ type }) => type)] as const;
      });
      assertEquals([...end], ["disconnect", false, ["connecting", "connected", "closed"]]);
      if (name !== "nats-server") assertEquals(page.errors, []); // 2.9 sends a close frame with code 1006, which is none
    } finally {
      await peer.disconnect();
      await broker.stop();
    }
  });
}

testPage(
  "page: a will is published when the page goes, and not after disconnect()",
  MOSQUITTO,
  async ({ page, site }) => {
    const broker = await startWebMosquitto(), url = `ws://127.0.0.1:${broker.port}`;
    const wills: string[] = [];
    const peer = await connect(url, (_, message) => void wills.push(message.text()));
    try {
      await peer.subscribe("will/#", { qos: 1 });
      const open = (text: string) =>
        page.call(
          (url, message) => openKept(url, { will: { topic: "will/page", message, qos: 1 } }),
          ...[url, text] as const,
        );
      await open("silent");
      await page.run("kept.client.disconnect()");
      await open("told");
      await page.open(`${site.url}/other`);
      await until(() => wills.length > 0, "the will");
      assertEquals(wills, ["told"]);
    } finally {
      await peer.disconnect();
      await broker.stop();
    }
  },
);

testPage(
  "page: ten times the broker goes, and no message of QoS 1 that was published is lost",
  MOSQUITTO,
  async (stage) => {
    const { page } = stage, data = mkdtempSync(join(tmpdir(), "mqtt3c-page-")), port = freePort();
    const start = () => startWebMosquitto({ port, data });
    let broker = await start();
    const url = `ws://127.0.0.1:${port}`, seen = new Set<number>();
    const options = { id: "peer", session: true, reconnect: { minDelay: 50, maxDelay: 200 } };
    const peer = await connect(url, (_, message) => void seen.add(Number(message.text())), options);
    try {
      await peer.subscribe("count", { qos: 1 });
      await page.call((url) => {
        return openKept(url, { id: "page", session: true, reconnect: { minDelay: 50, maxDelay: 200 } });
      }, url);
      await page.call(() => {
        const state = globalThis as unknown as {
          count: number;
          acknowledged: number;
          failures: string[];
          publishing: ReturnType<typeof setInterval>;
        };
        Object.assign(state, { count: 0, acknowledged: 0, failures: [] });
        state.publishing = setInterval(() => {
          kept.client.publish("count", `${state.count++}`, { qos: 1 }).then(
            () => state.acknowledged++,
            (error) => state.failures.push(String(error)),
          );
        }, 5);
      });
      for (let round = 1; round <= 10; round++) {
        await page.until(`kept.client.status.type === "connected"`);
        const before = await page.run<number>("acknowledged");
        await page.until(`acknowledged > ${before + 10}`);
        await broker.stop();
        await page.until(`kept.client.status.type !== "connected"`);
        broker = await start();
      }
      const count = await page.run<number>(`(clearInterval(publishing), count)`);
      await page.until(`acknowledged === ${count}`);
      assertEquals(await page.run("failures"), []);
      assert(count > 100);
      await until(() => seen.size === count, "all of them");
      assertEquals(await page.run(`kept.statuses.filter(({ type }) => type === "connected").length`), 11);
    } finally {
      await peer.disconnect();
      await broker.stop();
      rmSync(data, { recursive: true, force: true });
    }
  },
);

testPage("page: a session has what came while the page was away", MOSQUITTO, async ({ page, site }) => {
  const broker = await startWebMosquitto(), url = `ws://127.0.0.1:${broker.port}`;
  const peer = await connect(url);
  try {
    const open = () => page.call((url) => openKept(url, { id: "page", session: true }), url);
    await open();
    await page.run(`kept.client.subscribe("away/#", { qos: 2 })`);
    await page.open(`${site.url}/gone`);
    for (const qos of [1, 2] as const) await peer.publish(`away/${qos}`, "x", { qos });
    await open();
    await page.until("kept.received.length === 2");
    assertEquals(await page.run("[kept.statuses[1].sessionPresent, kept.received.sort()]"), [
      true,
      ["away/1 1 x", "away/2 2 x"],
    ]);
    await page.run("kept.client.disconnect()");
  } finally {
    await peer.disconnect();
    await broker.stop();
  }
});

testPage(
  "page: what cannot be opened is told: nobody listens, not mqtt, text, and what a page cannot ask for",
  [],
  async (stage) => {
    const { page, site } = stage;
    const failure = (addr: unknown, op: object = {}) =>
      page.call(
        async (addr, op) => {
          try {
            await mqtt3c.connect(addr as string, undefined, op);
            return "connected";
          } catch (error) {
            const { name, code, message } = error as { name: string; code?: string; message: string };
            return `${name} ${code}: ${message}`;
          }
        },
        addr,
        op,
      );
    const host = `127.0.0.1:${freePort()}`;
    assertMatch(
      await failure(`ws://${host}`),
      new RegExp(`^MqttError cannotconnect: Cannot connect to ${host}: the browser does not tell pages why`),
    );
    assertMatch(await failure(site.url.replace("http", "ws")), /^MqttError cannotconnect/);
    assertMatch(await failure(`wss://${new URL(site.url).host}`), /^MqttError cannotconnect/);
    for (const addr of ["localhost", "mqtt://localhost", "unix:///x", ["ws://localhost", "tcp://u:secret@localhost"]]) {
      const told = await failure(addr);
      assertMatch(told, /^TypeError undefined: Cannot use addr as it must be a WebSocket's URL/);
      assert(!told.includes("secret"));
    }
    assertStringIncludes(await failure(7), "received a number");
    const refused = { proxy: "socks5://localhost", headers: { a: "b" }, tls: { ca: "-----BEGIN " } };
    for (const [option, value] of Object.entries(refused)) {
      assertMatch(await failure("ws://localhost", { [option]: value }), /left out in a page: the browser decides that/);
    }
    assertStringIncludes(await failure("ws://localhost", { username: "x" }), "use uname");
    assertMatch(await failure(`ws://${host}`, { tls: { untrusted: "reject" } }), /^MqttError cannotconnect/);

    // A server that sends text, and what it is asked for.
    const server = await startScripted([upgrade(), frames(1), send(frame(1, new TextEncoder().encode("hello")))]);
    try {
      const told = await failure(`ws://u:p%20w@127.0.0.1:${server.port}/a/b?sig=A%2Fb+c`, { id: "ID" });
      assertEquals(told, "MqttError protocol: The broker sent a text frame, which MQTT has not [MQTT-6.0.0-1]");
      const { request, frames } = hear(server.received());
      assertMatch(request!, /^GET \/a\/b\?sig=A%2Fb\+c HTTP\/1\.1\r\n/);
      assertMatch(request!, /^Sec-WebSocket-Protocol: mqtt\r$/m);
      // Keep alive is 120 s, and the URL's user is MQTT's.
      const connect = "\x10\x16\0\x04MQTT\x04\xc2\0\x78\0\x02ID\0\x01u\0\x03p w";
      assertEquals(String.fromCharCode(...frames[0]!.payload), connect);
    } finally {
      await server.stop();
    }
    // A server that agrees to another protocol is Chromium's own to refuse; one that closes tells why.
    const closing = await startScripted([upgrade(), frames(1), send(closeFrame(1013, "busy"))]);
    try {
      assertMatch(
        await failure(`ws://127.0.0.1:${closing.port}`),
        /^MqttError socketclosed: .*code 1013, try again later/,
      );
    } finally {
      await closing.stop();
    }
  },
);

testPage("page: what comes while nothing is settled ends with overflow beyond maxBuffered", [], async ({ page }) => {
  const connack = Uint8Array.of(0x20, 2, 0, 0), publish = new Uint8Array(1003).fill(120);
  publish.set([0x30, 0xe8, 0x07, 0, 1, 116]);
  const flood = Array.from({ length: 300 }, () => send(frame(2, publish)));
  const server = await startScripted([upgrade(), frames(1), send(frame(2, connack)), ...flood, frames(99)]);
  try {
    const end = await page.call(async (port) => {
      const never = () => new Promise<void>(() => {});
      const client = await mqtt3c.connect(`ws://127.0.0.1:${port}`, never, { maxBuffered: 100_000 });
      const { code, message } = await client.run();
      return { code, message };
    }, server.port);
    assertEquals(end.code, "overflow");
    assertMatch(end.message, /100000 bytes \(maxBuffered\).*cannot hold a broker back/);
  } finally {
    await server.stop();
  }
});
