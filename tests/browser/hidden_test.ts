/** A page in the background, where its timers ring once a second, and after a while once a minute; in Chromium. */
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, assertEquals, assertLess } from "@std/assert";
import { type Client, connect, type Message, type Status } from "../../mod.ts";
import { until } from "../bridge/support.ts";
import { bytes } from "../support/bytes.ts";
import { freePort, startWebMosquitto } from "../support/servers.ts";
import { hide, minutelyAfter, ringsWithin } from "./hidden.ts";
import { testPage } from "./support.ts";

declare global {
  /** What of the messages that the page has published is acknowledged. */
  var acknowledged: string[];
  /** Publishes texts, each as a message of QoS 1. */
  var answer: (...texts: string[]) => void;
  /** Clients that have nothing to say, and what has become of them. */
  var quiet: { client: Client; statuses: Status["type"][] }[];
}

/** Seconds; a broker gives up whom it has not heard of for one and a half of it. The first is less than timers once a minute can hold. */
const KEEPALIVES = [10, 60];
/** CONNECT with the last of them, of a client which sends nothing more. */
const SILENT = "10 0d 00 04 4d 51 54 54 04 02 00 3c 00 01 78";

/** After how many milliseconds the broker at this port has given up a client that is silent. */
async function silenceEnds(port: number): Promise<number> {
  const start = performance.now(), socket = createConnection(port, "127.0.0.1", () => socket.write(bytes(SILENT)));
  await new Promise((resolve, reject) => socket.on("error", reject).on("close", resolve).resume());
  return performance.now() - start;
}

testPage(
  "page: in the background it keeps its connection, hears at once, comes back to its broker, and loses nothing",
  ["mosquitto"],
  async ({ browser, page }) => {
    const data = mkdtempSync(join(tmpdir(), "mqtt3c-hidden-")), port = freePort(), url = `ws://127.0.0.1:${port}`;
    const quiet = await startWebMosquitto();
    let broker = await startWebMosquitto({ port, data });
    const answers: string[] = [];
    const peer = await connect(url, (_, message) => void answers.push(message.text()), {
      ...{ id: "peer", session: true, reconnect: { minDelay: 50, maxDelay: 200 } },
    });
    try {
      await peer.subscribe("answer", { qos: 1 });
      await page.call(async (url) => {
        globalThis.acknowledged = [];
        globalThis.answer = (...texts) => {
          for (const text of texts) {
            void kept.client.publish("answer", text, { qos: 1 }).then(() => acknowledged.push(text));
          }
        };
        await openKept(url, { id: "page", session: true, reconnect: true });
        const onpub = (_: string, message: Message) => answer(message.text());
        await kept.client.subscribe("question", { qos: 1, onpub });
      }, url);

      await hide(browser, page);
      await page.call(async (url, keepalives) => {
        globalThis.quiet = await Promise.all(keepalives.map(async (keepalive) => {
          const statuses: Status["type"][] = [];
          const onstatus = ({ type }: Status) => void statuses.push(type);
          return { client: await mqtt3c.connect(url, undefined, { keepalive, reconnect: true, onstatus }), statuses };
        }));
      }, ...[`ws://127.0.0.1:${quiet.port}`, KEEPALIVES] as const);
      const silence = silenceEnds(quiet.tcp);

      await page.until("rings.length >= 5");
      assert(await page.run<number>("rings[4] - rings[0]") > 3000, "timers ring once a second");
      await page.until("performance.now() - rings.at(-1) > 5000"); // now they ring less often than that
      const start = performance.now();

      const ask = async (text: string) => {
        await peer.publish("question", text, { qos: 1 });
        await until(() => answers.includes(text), `an answer to ${text}`);
      };
      const questions = Array.from({ length: 50 }, (_, i) => `${i}`);
      for (const text of questions) await ask(text);
      assertLess(performance.now() - start, 20_000, "they have not waited for timers");

      await broker.stop();
      await page.run(`answer("away 1", "away 2")`);
      await page.until(`kept.statuses.filter(({ type }) => type === "waiting").length >= 3`);
      broker = await startWebMosquitto({ port, data });
      await until(() => peer.status.type === "connected", "the peer is connected");
      await ask("after");
      const all = [...questions, "away 1", "away 2", "after"];
      assertEquals(new Set(answers), new Set(all));
      await page.until(`new Set(acknowledged).size === ${all.length}`);
      assertEquals(await page.run("kept.statuses.filter(({ type }) => type === 'connected').length"), 2);

      assert(await silence > KEEPALIVES[1]! * 1000, "a client that is silent for long is given up, and no other");
      assertEquals(
        await page.run("quiet.map(({ statuses }) => statuses)"),
        KEEPALIVES.map(() => ["connecting", "connected"]),
      );

      const since = performance.now() - start;
      assert(since > 60_000);
      assertLess(await ringsWithin(page, since), since / 60_000 + 1, "timers ring once a minute");
      assertEquals(await page.run("document.visibilityState"), "hidden");
      await page.run("Promise.all([kept, ...quiet].map(({ client }) => client.disconnect()))");
    } finally {
      await peer.disconnect();
      await broker.stop();
      await quiet.stop();
      rmSync(data, { recursive: true, force: true });
    }
  },
  () => [minutelyAfter(6)],
);
