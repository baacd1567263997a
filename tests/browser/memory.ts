/** A page that receives and publishes for a long time: whether its memory stays flat, and nothing is lost. */
import { connect } from "../../mod.ts";
import { until } from "../bridge/support.ts";
import { startBrowser } from "../support/browser.ts";
import { startWebMosquitto } from "../support/servers.ts";
import { startSite } from "./support.ts";

/** What one look has found. */
export interface Look {
  /** Bytes of the page's heap, after a collection. */
  heap: number;
  /** Messages that the page has received and published. */
  received: number;
  published: number;
}

/** Bytes by which a heap may differ from one look to the next. */
const NOISE = 2_000_000;

/**
 * Publishes `rate` messages a second to a page, in bursts of 10 ms, of which every tenth is of QoS 1 and answered with another
 * one; looks `looks` times. Ends when all has come.
 */
export async function runPage(
  { seconds, rate, looks }: { seconds: number; rate: number; looks: number },
  told: (look: Look) => void = () => {},
): Promise<{ isFlat: boolean; sent: number; last: Look }> {
  const broker = await startWebMosquitto({ quiet: true }), site = await startSite(), browser = await startBrowser();
  let answers = 0;
  const peer = await connect(`mqtt://127.0.0.1:${broker.tcp}`, () => void answers++);
  try {
    const { page } = browser;
    await peer.subscribe("answer");
    await page.open(site.url);
    await page.call(async (url) => {
      const counts = { received: 0, published: 0 };
      Object.assign(globalThis, { counts });
      const client = await mqtt3c.connect(url, async (_, message) => {
        counts.received++;
        if (message.qos === 0) return;
        await client.publish("answer", message.payload, { qos: 1 });
        counts.published++;
      });
      await client.subscribe("load", { qos: 1 });
    }, `ws://127.0.0.1:${broker.port}`);
    const look = async (): Promise<Look> => {
      await page.command("HeapProfiler.collectGarbage");
      const { metrics } = await page.command("Performance.getMetrics");
      const heap = metrics.find(({ name }: { name: string }) => name === "JSHeapUsedSize").value as number;
      return { heap, ...await page.run<Omit<Look, "heap">>("counts") };
    };
    await page.command("Performance.enable");
    const heaps: number[] = [], start = performance.now();
    let sent = 0;
    for (let i = 1; i <= looks; i++) {
      while (performance.now() - start < i * seconds * 1000 / looks) {
        for (const due = (performance.now() - start) * rate / 1000; sent < due; sent++) {
          void peer.publish("load", `${sent} ${"x".repeat(64)}`, { qos: sent % 10 === 0 ? 1 : 0 });
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      const found = await look();
      heaps.push(found.heap);
      told(found);
    }
    await peer.flush();
    await until(async () => {
      const { received, published } = await look();
      return received === sent && published === Math.ceil(sent / 10) && answers === published;
    }, `all of ${sent} messages, and their answers`);
    // The first look is at a page that has just begun.
    const [, first = 0] = heaps, isFlat = heaps.slice(1).every((heap) => heap < first + NOISE);
    return { isFlat, sent, last: await look() };
  } finally {
    await peer.disconnect();
    await browser.stop();
    await site.stop();
    await broker.stop();
  }
}
