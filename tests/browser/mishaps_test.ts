/** What a browser and its user do to a page with a store: tabs that are closed, doubled, private, full, cleared; and floods. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "../../mod.ts";
import { until } from "../bridge/support.ts";
import { Random } from "../support/random.ts";
import { freePort, startWebMosquitto } from "../support/servers.ts";
import { testPage } from "./support.ts";

const MOSQUITTO = ["mosquitto"];

testPage(
  "page: a tab is closed 50 times while it publishes: what was acknowledged, or stored, has arrived in the end",
  MOSQUITTO,
  async ({ browser, page, site }) => {
    const broker = await startWebMosquitto(), url = `ws://127.0.0.1:${broker.port}`, random = new Random(1);
    const arrived = new Set<string>(), resolved = new Set<string>();
    const peer = await connect(`mqtt://127.0.0.1:${broker.tcp}`, (_, message) => void arrived.add(message.text()));
    try {
      await peer.subscribe("tab", { qos: 1 });
      for (let round = 1; round <= 51; round++) {
        const tab = await browser.openPage();
        await tab.bind("resolved", (text) => void resolved.add(text));
        await tab.open(site.url);
        await tab.call(
          async (url, round) => {
            const { resolved } = globalThis as unknown as { resolved(text: string): void };
            const store = mqtt3c.indexedDBStore("tab"), reconnect = { minDelay: 20, maxDelay: 200 };
            await openKept(url, { id: "tab", session: true, store, reconnect, offline: true });
            if (round === 51) return; // it sends what the others have left
            for (let i = 0; i < 60; i++) {
              const text = `${round} ${i}`, until = i % 2 === 0 ? "stored" as const : undefined;
              void kept.client.publish("tab", text, { qos: 1, until }).then(() => resolved(text));
            }
          },
          url,
          round,
        );
        if (round < 51) {
          await until(() => [...resolved].some((text) => text.startsWith(`${round} `)), "the first one");
          await new Promise((resolve) => setTimeout(resolve, random.int(0, 60)));
        } else {
          await tab.until("kept.client.status.type === 'connected' && kept.client.stats.unacknowledged === 0");
        }
        await tab.command("Page.close");
        await page.until("navigator.locks.query().then(({ held }) => held.length === 0)"); // the tab is gone
      }
      await until(() => [...resolved].every((text) => arrived.has(text)), "all that was resolved");
      assert(resolved.size > 1000, `${resolved.size} were resolved`);
      assertEquals(page.errors, []);
    } finally {
      await peer.disconnect();
      await broker.stop();
    }
  },
);

testPage(
  "page: a second tab with the same store is told who has it, and has it when the first is closed",
  MOSQUITTO,
  async (
    { browser, page, site },
  ) => {
    const broker = await startWebMosquitto(), url = `ws://127.0.0.1:${broker.port}`;
    const tab = await browser.openPage();
    try {
      for (const each of [page, tab]) await each.open(site.url);
      const open = (each: typeof page) =>
        each.call(async (url) => {
          try {
            await openKept(url, { id: "tab", session: true, store: mqtt3c.indexedDBStore("both") });
            return "connected";
          } catch (error) {
            const { code, message } = error as { code: string; message: string };
            return `${code}: ${message}`;
          }
        }, url);
      assertEquals(await open(page), "connected");
      assertEquals(await open(tab), 'store: The store "both" is in use by another page, or by this one');
      assertEquals(await page.run(`kept.client.publish("t", "x", { qos: 1 })`), 0);
      await page.run("kept.client.disconnect()");
      assertEquals(await open(tab), "connected");
      // The one that has it is loaded again, and has it again, each time.
      for (let round = 0; round < 10; round++) {
        await tab.open(`${site.url}/${round}`);
        assertEquals(await open(tab), "connected");
      }
      await tab.run("kept.client.disconnect()");
    } finally {
      await broker.stop();
    }
  },
);

testPage(
  "page: a database that is deleted, or full, under a client rejects, is told, and the client goes on",
  MOSQUITTO,
  async (
    { page, site },
  ) => {
    const broker = await startWebMosquitto(), url = `ws://127.0.0.1:${broker.port}`;
    const publish = (size: number) =>
      page.call(
        (size) =>
          kept.client.publish("t", crypto.getRandomValues(new Uint8Array(size)), { qos: 1, until: "stored" })
            .then(() => "stored", ({ code, message }) => `${code}: ${message}`),
        size,
      );
    const open = (name: string) =>
      page.call(
        (url, name) =>
          openKept(url, { id: "page", session: true, store: mqtt3c.indexedDBStore(name), reconnect: true }),
        url,
        name,
      );
    try {
      await page.command("Storage.overrideQuotaForOrigin", { origin: site.url, quotaSize: 1_000_000 });
      await open("full");
      assertEquals(await publish(100), "stored");
      const told: string[] = [];
      for (let i = 0; i < 60 && !told.at(-1)?.startsWith("store:"); i++) told.push(await publish(60_000));
      assertMatch(told.at(-1)!, /^store: .*the browser gives the page no more room/);
      await page.command("Storage.overrideQuotaForOrigin", { origin: site.url });
      assertEquals(await publish(100), "stored");
      assertEquals(await page.run(`kept.client.publish("t", "x")`), 0);
      assertEquals(await page.run("[kept.client.status.type, kept.statuses.some(({ type }) => type === 'store')]"), [
        "connected",
        true,
      ]);
      await page.run("kept.client.disconnect()");

      await open("deleted");
      assertEquals(await publish(100), "stored");
      await page.call(() => new Promise((resolve) => indexedDB.deleteDatabase("mqtt3c:deleted").onsuccess = resolve));
      assertMatch(await publish(100), /^store: Cannot keep what was appended to the store "deleted"/);
      // At QoS 0 nothing is to be kept.
      assertEquals(await page.run(`kept.client.publish("t", "x")`), 0);
      assertEquals(await page.run("kept.client.status.type"), "connected");
      await page.run("kept.client.disconnect()").catch(() => {});
      await open("deleted");
      assertEquals(await publish(100), "stored");
      await page.run("kept.client.disconnect()");
    } finally {
      await broker.stop();
    }
  },
);

testPage(
  "page: where there is no database, or no lock, a store says so, and a client without one connects",
  MOSQUITTO,
  async (
    { page, site },
  ) => {
    const broker = await startWebMosquitto(), url = `ws://127.0.0.1:${broker.port}`;
    const failure = () =>
      page.call(
        (url) =>
          openKept(url, { id: "page", session: true, store: mqtt3c.indexedDBStore("none") })
            .then(() => "connected", ({ code, message }) => `${code}: ${message}`),
        url,
      );
    const cases: [property: string, on: string, why: RegExp][] = [
      [
        "indexedDB",
        "globalThis",
        /^store: Cannot open the store "none": this browser, or a private window of it, has no IndexedDB/,
      ],
      [
        "locks",
        "navigator",
        /^store: Cannot open the store "none" as it takes a page of https:, of localhost, or from disk/,
      ],
    ];
    try {
      for (const [property, on, why] of cases) {
        await page.open(`${site.url}/${property}`);
        await page.run(`void Object.defineProperty(${on}, "${property}", { value: undefined, configurable: true })`);
        assertMatch(await failure(), why);
        await page.call((url) => openKept(url), url);
        assertEquals(await page.run(`kept.client.publish("t", "x", { qos: 1 })`), 0);
        await page.run("kept.client.disconnect()");
      }
      // A browser that refuses, as some do in private windows.
      await page.open(`${site.url}/refuses`);
      await page.run(`void (indexedDB.open = () => { throw new DOMException("not here", "SecurityError"); })`);
      assertMatch(await failure(), /^store: Cannot open the store "none": not here/);
      assertMatch(await failure(), /^store: Cannot open the store "none": not here/, "the lock is given up");
    } finally {
      await broker.stop();
    }
  },
);

testPage(
  "page: a flood into a slow handler ends the connection with overflow, and with reconnect it is made again",
  MOSQUITTO,
  async (
    { page },
  ) => {
    const port = freePort(), broker = await startWebMosquitto({ port });
    const peer = await connect(`mqtt://127.0.0.1:${broker.tcp}`);
    try {
      await page.call((url) => {
        const open = async () => {
          const statuses: string[] = [];
          let slow = true;
          const handler = () => slow ? new Promise<void>((resolve) => setTimeout(resolve, 50)) : undefined;
          const client = await mqtt3c.connect(url, handler, {
            maxBuffered: 200_000,
            receiveMaximum: 10,
            reconnect: { minDelay: 20, maxDelay: 100 },
            onstatus: (status) => {
              statuses.push(status.type === "waiting" ? `${status.type} ${status.error.code}` : status.type);
              if (status.type === "waiting") slow = false;
            },
          });
          await client.subscribe("flood");
          Object.assign(globalThis, { client, statuses });
        };
        return open();
      }, `ws://127.0.0.1:${port}`);
      for (let i = 0; i < 1000; i++) await peer.publish("flood", new Uint8Array(1000));
      await peer.flush();
      await page.until(`statuses.includes("waiting overflow") && statuses.at(-1) === "connected"`);
      assertEquals(await page.run(`client.publish("t", "x", { qos: 1 })`), 0);
      await page.run("client.disconnect()");
    } finally {
      await peer.disconnect();
      await broker.stop();
    }
  },
);
