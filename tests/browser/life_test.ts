/** What happens to pages: they are frozen, left and come back to, and their network goes; in Chromium. */
import { once } from "node:events";
import { WebSocketServer } from "ws";
import { assertEquals } from "@std/assert";
import { connect } from "../../mod.ts";
import { until } from "../bridge/support.ts";
import { freePort, startWebMosquitto } from "../support/servers.ts";
import { startScripted } from "../support/scripted.ts";
import { testPage } from "./support.ts";

const MOSQUITTO = ["mosquitto"];
/** A client that would not try again by itself within any test. */
const SLOW = { id: "page", session: true, reconnect: { minDelay: 1_000_000, maxDelay: 1_000_000 } };

const CONNECTED = `kept.statuses.filter(({ type }) => type === "connected").length`;

testPage("page: when the network comes back, it connects at once", MOSQUITTO, async ({ page }) => {
  const port = freePort();
  let broker = await startWebMosquitto({ port });
  try {
    await page.call((url, op) => openKept(url, op), `ws://127.0.0.1:${port}`, SLOW);
    for (let round = 0; round < 3; round++) {
      await broker.stop();
      await page.until(`kept.client.status.type === "waiting"`);
      broker = await startWebMosquitto({ port });
      for (const offline of [true, false]) {
        const conditions = { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
        await page.command("Network.emulateNetworkConditions", conditions);
      }
      await page.until(`kept.client.status.type === "connected"`);
    }
  } finally {
    await broker.stop();
  }
});

testPage(
  "page: a connection that died while it was frozen is found, and one that lives has lost nothing",
  MOSQUITTO,
  async ({ page }) => {
    const port = freePort();
    let broker = await startWebMosquitto({ port });
    const url = `ws://127.0.0.1:${port}`;
    const freeze = (state: "frozen" | "active") => page.command("Page.setWebLifecycleState", { state });
    try {
      await page.call((url, op) => openKept(url, op), url, SLOW);
      await page.run(`kept.client.subscribe("while/frozen", { qos: 1 })`);
      const peer = await connect(url, undefined, { reconnect: true });
      await freeze("frozen");
      for (let i = 0; i < 50; i++) await peer.publish("while/frozen", `${i}`, { qos: 1 });
      await peer.disconnect();
      await freeze("active");
      // Chromium closes the connection of a page that is frozen for long, and the page hears that after it goes on.
      await page.until("new Set(kept.received).size === 50");
      const all = Array.from({ length: 50 }, (_, i) => `while/frozen 1 ${i}`);
      assertEquals((await page.run<string[]>("[...new Set(kept.received)]")).sort(), all.sort());

      const before = await page.run<number>(CONNECTED);
      await freeze("frozen");
      await broker.stop();
      broker = await startWebMosquitto({ port });
      await freeze("active");
      await page.until(`${CONNECTED} > ${before}`);
      assertEquals(await page.run(`kept.client.publish("t", "x", { qos: 1 })`), 0);
    } finally {
      await broker.stop();
    }
  },
);

testPage(
  "page: one that is left is closed, and connects again when it is come back to",
  MOSQUITTO,
  async ({ page, site }) => {
    const broker = await startWebMosquitto();
    const url = `ws://127.0.0.1:${broker.port}`;
    const peer = await connect(url);
    try {
      await page.call((url, op) => openKept(url, op), url, SLOW);
      await page.run(`kept.client.subscribe("while/away", { qos: 1 })`);
      await page.run("globalThis.mark = 1");
      await page.open(`${site.url}/other`);
      for (let i = 0; i < 5; i++) await peer.publish("while/away", `${i}`, { qos: 1 });
      await page.run("history.back()").catch(() => {}); // the page goes while it answers
      await until(() => page.run<boolean>("globalThis.mark === 1").catch(() => false), "it is the page from the cache");
      await page.until("kept.received.length === 5");
      assertEquals(await page.run(`kept.statuses.map(({ type }) => type)`), [
        ...["connecting", "connected", "waiting", "connecting", "connected"],
      ]);
      assertEquals(await page.run("kept.received"), [0, 1, 2, 3, 4].map((i) => `while/away 1 ${i}`));
    } finally {
      await peer.disconnect();
      await broker.stop();
    }
  },
);

testPage("page: each of its events wakes a client that waits; being hidden does not", MOSQUITTO, async ({ page }) => {
  const port = freePort();
  let broker = await startWebMosquitto({ port });
  try {
    await page.call((url, op) => openKept(url, op), `ws://127.0.0.1:${port}`, SLOW);
    // What Chromium sends by itself is in the other tests; here each is alone.
    const events = ["globalThis online", "globalThis offline", "globalThis pageshow", "document resume"];
    for (const event of [...events, "document visibilitychange"]) {
      await broker.stop();
      await page.until(`kept.client.status.type === "waiting"`);
      broker = await startWebMosquitto({ port });
      const [target, name] = event.split(" ");
      const dispatch = `${target}.dispatchEvent(new Event("${name}"))`;
      if (name === "visibilitychange") {
        const isHidden = `Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true })`;
        await page.run(`(${isHidden}, ${dispatch})`);
        await page.call(() => new Promise((resolve) => setTimeout(resolve, 200)));
        assertEquals(await page.run("kept.client.status.type"), "waiting");
        await page.run("void delete document.visibilityState");
      }
      await page.run(dispatch);
      await page.until(`kept.client.status.type === "connected"`);
    }
    await page.run("kept.client.disconnect()");
  } finally {
    await broker.stop();
  }
});

testPage(
  "page: the network goes and comes while it publishes: every message of QoS 1 arrives",
  MOSQUITTO,
  async ({ page }) => {
    const broker = await startWebMosquitto(), arrived = new Set<string>();
    const peer = await connect(`mqtt://127.0.0.1:${broker.tcp}`, (_, message) => void arrived.add(message.text()));
    try {
      await peer.subscribe("network", { qos: 1 });
      await page.call((url) => {
        const reconnect = { minDelay: 50, maxDelay: 200 };
        return openKept(url, { id: "page", session: true, reconnect });
      }, `ws://127.0.0.1:${broker.port}`);
      await page.call(() => {
        const state = { count: 0, acknowledged: 0 };
        Object.assign(globalThis, { state });
        setInterval(() => {
          if (state.count === 500) return;
          void kept.client.publish("network", `${state.count++}`, { qos: 1 }).then(() => state.acknowledged++);
        }, 5);
      });
      for (let round = 0; round < 5; round++) {
        const before = await page.run<number>("state.acknowledged");
        if (before < 400) await page.until(`state.acknowledged > ${before + 20}`);
        for (const offline of [true, false]) {
          const conditions = { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
          await page.command("Network.emulateNetworkConditions", conditions);
        }
      }
      await page.until("state.acknowledged === 500");
      await until(() => arrived.size === 500, "all of them");
      await page.run("kept.client.disconnect()");
    } finally {
      await peer.disconnect();
      await broker.stop();
    }
  },
);

testPage("page: an attempt that hangs is given up in time, and disconnect() ends it", [], async ({ page }) => {
  const server = await startScripted([]);
  try {
    const [late, left] = await page.call(async (url) => {
      const codeOf = (promise: Promise<unknown>) => promise.then(() => "none", (error) => error.code as string);
      const late = await codeOf(mqtt3c.connect(url, undefined, { timeout: 300 }));
      const signal = AbortSignal.timeout(300);
      return [late, await codeOf(mqtt3c.connect(url, undefined, { signal }))];
    }, `ws://127.0.0.1:${server.port}`);
    assertEquals([late, left], ["timeout", "disconnect"]);
  } finally {
    await server.stop();
  }
});

testPage("page: a connection that breaks while bytes have not left leaves no timer", [], async ({ page }) => {
  const port = freePort(), server = new WebSocketServer({ port, host: "127.0.0.1" });
  await once(server, "listening");
  server.on("connection", (socket) => {
    socket.once("message", () => {
      socket.send(Uint8Array.of(0x20, 2, 0, 0));
      socket.pause();
      setTimeout(() => socket.terminate(), 500); // meanwhile the page looks whether bytes have left
    });
  });
  try {
    const [unsent, code, rung] = await page.call(async (url) => {
      const client = await mqtt3c.connect(url), { sock } = client as unknown as { sock: WebSocket };
      let hasEnded = false, rung = 0;
      const setTimer = globalThis.setTimeout;
      globalThis.setTimeout = ((ring: () => void, delay?: number) =>
        setTimer(() => {
          if (hasEnded) rung++;
          ring();
        }, delay)) as typeof setTimeout;
      const ended = client.run().then((error) => {
        hasEnded = true;
        return error.code;
      });
      for (let i = 0; i < 3000; i++) void client.publish("flood", new Uint8Array(4096)).catch(() => {});
      await new Promise((resolve) => setTimer(resolve, 200));
      const unsent = sock.bufferedAmount, code = await ended;
      await new Promise((resolve) => setTimer(resolve, 100));
      return [unsent, code, rung];
    }, `ws://127.0.0.1:${port}`);
    assertEquals([Number(unsent) > 1_048_576, code, rung], [true, "socketclosed", 0]);
  } finally {
    server.close();
  }
});

testPage("page: a flood to a slow broker is bounded, and arrives", MOSQUITTO, async ({ page }) => {
  const broker = await startWebMosquitto();
  try {
    const [most, got] = await page.call(async (url) => {
      let got = 0, most = 0;
      const client = await mqtt3c.connect(url, () => void got++);
      await client.subscribe("flood");
      const payload = new Uint8Array(4096);
      for (let i = 0; i < 5000; i++) {
        const waits = client.publish("flood", payload);
        most = Math.max(most, (client as unknown as { sock: WebSocket }).sock.bufferedAmount);
        if (i % 10 === 0) await waits;
      }
      await client.flush();
      for (const start = performance.now(); got < 5000 && performance.now() - start < 15_000;) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await client.disconnect();
      return [most, got];
    }, `ws://127.0.0.1:${broker.port}`);
    assertEquals(got, 5000);
    assertEquals(most! < 3_000_000, true, `${most} bytes were unsent`);
  } finally {
    await broker.stop();
  }
});
