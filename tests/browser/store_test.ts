/** The store of a page, in Chromium: what the tests of the file store hold, as far as a page has it. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "../../mod.ts";
import { until } from "../bridge/support.ts";
import { freePort, startWebMosquitto } from "../support/servers.ts";
import { testPage } from "./support.ts";
import type { Page } from "../support/browser.ts";
import type { MqttError, SessionStore } from "../../browser.ts";

declare global {
  /** What the tests of a store use in their page. */
  var stores: {
    open(
      name: string,
      op?: { sync?: "os" | "disk" },
    ): Promise<{ store: SessionStore; texts: string[]; told: string[] }>;
    /** The records, and what was told; it is closed again. */
    read(name: string): Promise<{ texts: string[]; told: string[] }>;
    keep(store: SessionStore, ...texts: string[]): Promise<void>;
    failure(act: () => unknown): Promise<string>;
    bytes(text: string): Uint8Array;
    /** The log's rows, changed by `act`. */
    rows(name: string, act: (log: IDBObjectStore, damaged: IDBObjectStore) => void): Promise<void>;
  };
}

async function prepare(page: Page): Promise<void> {
  await page.call(() => {
    const bytes = (text: string) => new TextEncoder().encode(text);
    globalThis.stores = {
      bytes,
      async open(name, op) {
        const store = mqtt3c.indexedDBStore(name, op), texts: string[] = [], told: string[] = [];
        await store.open({
          blocking: false,
          read: (record) => void texts.push(new TextDecoder().decode(record)),
          told: ({ message }: MqttError) => void told.push(message),
        });
        return { store, texts, told };
      },
      async read(name) {
        const { store, texts, told } = await stores.open(name);
        await store.close();
        return { texts, told };
      },
      async keep(store, ...texts) {
        for (const text of texts) store.append(bytes(text));
        await store.flush();
      },
      async failure(act) {
        try {
          await act();
          return "none";
        } catch (error) {
          const { name, code, message } = error as MqttError;
          return `${name} ${code}: ${message}`;
        }
      },
      rows: (name, act) =>
        new Promise((resolve, reject) => {
          const request = indexedDB.open(`mqtt3c:${name}`);
          request.onerror = () => reject(request.error);
          request.onsuccess = () => {
            const transaction = request.result.transaction(["log", "damaged"], "readwrite");
            act(transaction.objectStore("log"), transaction.objectStore("damaged"));
            transaction.onabort = () => reject(transaction.error);
            transaction.oncomplete = () => {
              request.result.close();
              resolve();
            };
          };
        }),
    };
  });
}

testPage(
  "store of a page: records come back in order, over any number of openings, os or disk",
  [],
  async ({ page, site }) => {
    for (const sync of ["os", "disk"] as const) {
      const kept: string[] = [];
      for (let round = 0; round < 3; round++) {
        await page.open(`${site.url}/${round}`); // the one before is closed, or not
        await prepare(page);
        const texts = await page.call(
          async (sync, round) => {
            const { store, texts } = await stores.open(`order-${sync}`, { sync });
            await stores.keep(store, `${round}a`, "", `${round}b`);
            await stores.keep(store);
            const memory = stores.bytes(`${round}c`);
            store.append(memory);
            memory.fill(0);
            await store.flush();
            if (round === 1) await store.close();
            return texts;
          },
          sync,
          round,
        );
        assertEquals(texts, kept);
        kept.push(`${round}a`, "", `${round}b`, `${round}c`);
      }
    }
  },
);

testPage(
  "store of a page: what is appended during a flush is for the next one; what is not flushed is not kept",
  [],
  async ({ page, site }) => {
    await prepare(page);
    await page.call(async () => {
      const { store } = await stores.open("flush");
      const flushing = stores.keep(store, "a", "b");
      store.append(stores.bytes("c"));
      await flushing;
    });
    await page.open(site.url);
    await prepare(page);
    assertEquals((await page.call(() => stores.read("flush"))).texts, ["a", "b"]);
    const closed = await page.call(async () => {
      const { store } = await stores.open("flush");
      store.append(stores.bytes("d"));
      await Promise.all([store.close(), store.close()]);
      await store.close();
      return await stores.read("flush");
    });
    assertEquals(closed.texts, ["a", "b", "d"]);
  },
);

testPage(
  "store of a page: one page at a time has it; a page that is closed or crashes leaves nothing behind",
  [],
  async (stage) => {
    const { page, browser, site } = stage;
    await prepare(page);
    await page.call(async () => void await stores.open("one"));
    const other = await browser.openPage();
    await other.open(`${site.url}/other`);
    await prepare(other);
    const open = () => other.call(() => stores.failure(async () => (await stores.open("one")).store.close()));
    assertEquals(await open(), 'MqttError store: The store "one" is in use by another page, or by this one');
    assertEquals(
      await page.call(() => stores.failure(() => stores.open("one"))),
      'MqttError store: The store "one" is in use by another page, or by this one',
    );
    await page.open("about:blank");
    await until(async () => await open() === "none", "the lock of a page that has gone is free");
    await other.call(async () => {
      const { store } = await stores.open("one");
      await store.close();
      await (await stores.open("one")).store.close();
    });
  },
);

testPage(
  "store of a page: what is not open says so; what the reader throws comes out, and the lock is free",
  [],
  async ({ page }) => {
    await prepare(page);
    const told = await page.call(async () => {
      const store = mqtt3c.indexedDBStore("closed"), { failure } = stores;
      const told = [await failure(() => store.append(stores.bytes("x")))];
      told.push(await failure(() => store.replace([])));
      await store.close();
      const { store: again } = await stores.open("closed");
      told.push(await failure(() => again.open({ blocking: false, read: () => {}, told: () => {} })));
      await stores.keep(again, "x");
      await again.close();
      const read = () => {
        throw new RangeError("no");
      };
      told.push(await failure(() => mqtt3c.indexedDBStore("closed").open({ blocking: false, read, told: () => {} })));
      told.push((await stores.read("closed")).texts.join());
      const options = { durability: "strict" } as object,
        make = mqtt3c.indexedDBStore as (...args: unknown[]) => unknown;
      for (const args of [[7], [""], ["a", options], ["a", { sync: "ram" }], ["a", null]]) {
        told.push(await failure(() => make(...args)));
      }
      return told;
    });
    const notOpen = 'MqttError store: The store "closed" is not open';
    assertEquals(told.slice(0, 5), [
      notOpen,
      notOpen,
      'MqttError store: The store "closed" is in use by this page',
      "RangeError undefined: no",
      "x",
    ]);
    assert(told.slice(5).every((text) => text.startsWith("TypeError")), told.join("\n"));
    assertMatch(told[7]!, /use sync: "disk"/);
  },
);

testPage("store of a page: replaced, with appends and flushes meanwhile, or not at all", [], async ({ page }) => {
  await prepare(page);
  const [replaced, failed, asBefore, aborted] = await page.call(async () => {
    const { store } = await stores.open("replace"), { bytes, keep } = stores;
    await keep(store, ...Array.from({ length: 100 }, (_, i) => `old ${i}`));
    const many = function* (count: number, fails = false) {
      for (let i = 0; i < count; i++) yield bytes(`new ${i} ${"x".repeat(1000)}`);
      if (fails) throw new RangeError("no more");
    };
    const replacing = store.replace(many(2000));
    await keep(store, "during 1");
    const flushing = keep(store, "during 2");
    await Promise.all([replacing, flushing]);
    await keep(store, "after");
    await store.close();
    const first = await stores.open("replace");
    const replaced = first.texts.map((text) => text.slice(0, 12).trim());
    const failed = await stores.failure(() => first.store.replace(many(1000, true)));
    await keep(first.store, "behind");
    await first.store.close();
    // Closed meanwhile: the log is as it was, with what was appended.
    const second = await stores.open("replace");
    const asBefore = second.texts.length, over = stores.failure(() => second.store.replace(many(100_000)));
    second.store.append(bytes("last"));
    await second.store.close();
    const { texts } = await stores.read("replace");
    return [replaced, failed, asBefore, [texts.length, texts.at(-1), await over]] as const;
  });
  const all = Array.from({ length: 2000 }, (_, i) => `new ${i} xxxxxxxx`.slice(0, 12).trim());
  assertEquals([...replaced], [...all, "during 1", "during 2", "after"]);
  assertEquals(failed, "RangeError undefined: no more");
  assertEquals(asBefore, 2004);
  assertEquals([...aborted], [2005, "last", 'MqttError store: The store "replace" is not open']);
});

testPage(
  "store of a page: damaged rows are put aside and told, missing ones told, and the others read",
  [],
  async ({ page }) => {
    await prepare(page);
    const found = await page.call(async () => {
      const { store } = await stores.open("damage");
      for (let i = 1; i <= 8; i++) await stores.keep(store, `${i}`);
      await store.close();
      await stores.rows("damage", (log) => {
        log.get(2).onsuccess = ({ target }) => {
          const batch = (target as IDBRequest<{ records: Uint8Array; checksum: number }>).result;
          batch.records[4] = 120;
          log.put(batch, 2);
        };
        log.put("foreign", 3);
        log.put(null, 4);
        log.delete(6);
        log.delete(7);
      });
      const first = await stores.read("damage"), again = await stores.read("damage");
      let aside = 0;
      await stores.rows("damage", (_, damaged) => {
        damaged.count().onsuccess = ({ target }) => aside = (target as IDBRequest<number>).result;
      });
      return [first, again, aside] as const;
    });
    const [first, again, aside] = found;
    const tells = (what: string) => `The store "damage" is damaged: ${what}; the others are used`;
    assertEquals(first.texts, ["1", "5", "8"]);
    assertEquals(first.told, [
      tells("its row 2 cannot be read, and was put aside"),
      tells("its row 3 cannot be read, and was put aside"),
      tells("its row 4 cannot be read, and was put aside"),
      tells("2 of its rows are missing before row 8"),
    ]);
    assertEquals([again.texts, aside], [["1", "5", "8"], 3]);
  },
);

testPage(
  "store of a page: a browser that gives no more room rejects, loses nothing that was, and goes on",
  [],
  async ({ page, site }) => {
    await prepare(page);
    const quota = (quotaSize?: number) =>
      page.command("Storage.overrideQuotaForOrigin", { origin: site.url, ...quotaSize !== undefined && { quotaSize } });
    await quota(1_000_000);
    await page.call(async () => {
      const { store } = await stores.open("room");
      await stores.keep(store, "before");
      Object.assign(globalThis, { store });
    });
    const full = await page.call(async () => {
      const { store } = globalThis as unknown as { store: SessionStore };
      for (let i = 0; i < 50; i++) store.append(crypto.getRandomValues(new Uint8Array(60_000)));
      return await stores.failure(() => store.flush());
    });
    assertEquals(
      full,
      'MqttError store: Cannot keep what was appended to the store "room": the browser gives the page no more room',
    );
    await quota();
    const texts = await page.call(async () => {
      const { store } = globalThis as unknown as { store: SessionStore };
      await stores.keep(store, "after");
      await store.close();
      return (await stores.read("room")).texts;
    });
    assertEquals(texts, ["before", "after"]);
  },
);

testPage(
  "store of a page: a database that somebody deletes rejects, and is a new one the next time",
  [],
  async ({ page }) => {
    await prepare(page);
    const [told, texts] = await page.call(async () => {
      const { store } = await stores.open("deleted");
      await stores.keep(store, "x");
      await new Promise((resolve) => indexedDB.deleteDatabase("mqtt3c:deleted").onsuccess = resolve);
      const told = await stores.failure(() => stores.keep(store, "y"));
      await store.close();
      return [told, (await stores.read("deleted")).texts] as const;
    });
    assertMatch(told, /^MqttError store: Cannot keep what was appended to the store "deleted"/);
    assertEquals(texts, []);
  },
);

testPage(
  "store of a page: what was published in one page is sent by the next one, once it is back",
  ["mosquitto"],
  async (stage) => {
    const { page, site } = stage, port = freePort();
    let broker = await startWebMosquitto({ port });
    const url = `ws://127.0.0.1:${port}`, seen: string[] = [];
    const open = (offline: boolean) =>
      page.call(
        (url, offline) => {
          const store = mqtt3c.indexedDBStore("session"), reconnect = { minDelay: 50, maxDelay: 200 };
          return openKept(url, { id: "page", session: true, store, reconnect, offline });
        },
        url,
        offline,
      );
    try {
      await open(false);
      await broker.stop();
      await page.until(`kept.client.status.type !== "connected"`);
      await page.call(async () => {
        for (let i = 0; i < 100; i++) {
          await kept.client.publish("stored", `${i}`, { qos: i % 2 ? 1 : 2, until: "stored" });
        }
      });
      await page.open(`${site.url}/reloaded`);
      broker = await startWebMosquitto({ port });
      const peer = await connect(url, (_, message) => void seen.push(message.text()));
      await peer.subscribe("stored", { qos: 2 });
      await open(true);
      await until(() => seen.length === 100, "all that was stored");
      assertEquals(seen.sort((a, b) => Number(a) - Number(b)), Array.from({ length: 100 }, (_, i) => `${i}`));
      await page.until("kept.client.stats.unacknowledged === 0");
      await page.run("kept.client.disconnect()");
      await peer.disconnect();
    } finally {
      await broker.stop();
    }
  },
);
