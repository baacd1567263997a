/** A page that receives and publishes for a long time, in front or in the background: whether its memory stays flat, and nothing is lost. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../mod.ts";
import { until } from "../bridge/support.ts";
import { type Page, startBrowser } from "../support/browser.ts";
import { freePort, startWebMosquitto } from "../support/servers.ts";
import { hide, ringsWithin } from "./hidden.ts";
import { startSite } from "./support.ts";

/** What one look has found. */
export interface Look {
  /** Bytes of the page's heap, after a collection. */
  heap: number;
  /** Messages that the page has received and published. */
  received: number;
  published: number;
  /** How often timers of 100 ms have rung in the minute before, in a page in the background. */
  rings?: number;
}

/** What is done to a page. */
export interface Load {
  seconds: number;
  /** Messages a second. */
  rate: number;
  looks: number;
  /** Whether the page is in the background. */
  hidden?: boolean;
  /** How often its broker is stopped, and started again when the page has tried in vain to connect. */
  restarts?: number;
}

/** What has come of it. */
export interface Result {
  isFlat: boolean;
  sent: number;
  last: Look;
  /** After how many milliseconds the page was connected to each broker that was started again. */
  returns: number[];
}

/** What the page counts. */
interface Counts {
  received: number;
  published: number;
  /** Messages of QoS 1, each once. */
  kept: number;
  /** Connections of the client that is loaded, and of one that has nothing to say. */
  loaded: number;
  quiet: number;
  /** Attempts of the first that have failed. */
  failed: number;
}

/** Bytes by which a heap may differ from one look to the next. */
const NOISE = 2_000_000;
/** Of so many messages, one is of QoS 1. */
const TENTH = 10;
/** The longest wait for a page that is to come back: two rings of a timer that rings once a minute; milliseconds. */
const RETURN = 120_000;

/** What runs in the page; `most` messages of QoS 1 will come. */
async function prepare(url: string, most: number, tenth: number): Promise<void> {
  const counts: Counts = { received: 0, published: 0, kept: 0, loaded: 0, quiet: 0, failed: 0 };
  Object.assign(globalThis, { counts });
  const seen = new Uint8Array(most);
  const client = await mqtt3c.connect(url, async (_, message) => {
    counts.received++;
    if (message.qos === 0) return;
    const index = parseInt(message.text()) / tenth;
    if (seen[index] === 0) counts.kept++;
    seen[index] = 1;
    await client.publish("answer", message.payload, { qos: 1 });
    counts.published++;
  }, {
    ...{ id: "page", session: true, reconnect: true },
    onstatus({ type }) {
      if (type === "connected") counts.loaded++;
      else if (type === "waiting") counts.failed++;
    },
  });
  await client.subscribe("load", { qos: 1 });
  await mqtt3c.connect(url, undefined, {
    reconnect: true,
    onstatus({ type }) {
      if (type === "connected") counts.quiet++;
    },
  });
}

/**
 * Publishes `rate` messages a second to a page, in bursts of 10 ms, of which every tenth is of QoS 1 and answered with another
 * one; looks `looks` times. Ends when all has come: of a broker that is restarted, what is of QoS 1.
 */
export async function runPage(
  { seconds, rate, looks, hidden = false, restarts = 0 }: Load,
  told: (look: Look) => void = () => {},
): Promise<Result> {
  const data = mkdtempSync(join(tmpdir(), "mqtt3c-page-")), port = freePort(), url = `ws://127.0.0.1:${port}`;
  let broker = await startWebMosquitto({ port, data, quiet: true });
  const site = await startSite(), browser = await startBrowser(), { page } = browser;
  const answered = new Set<number>(), returns: number[] = [];
  const peer = await connect(url, (_, message) => void answered.add(parseInt(message.text())), {
    ...{ id: "peer", session: true, reconnect: { minDelay: 50, maxDelay: 200 } },
  });
  try {
    await peer.subscribe("answer", { qos: 1 });
    await page.open(site.url);
    await page.call(prepare, ...[url, Math.ceil(seconds * rate / TENTH) + rate, TENTH] as const);
    if (hidden) await hide(browser, page);
    const look = async (): Promise<Look & Counts> => {
      await page.command("HeapProfiler.collectGarbage");
      const { metrics } = await page.command("Performance.getMetrics");
      const heap = metrics.find(({ name }: { name: string }) => name === "JSHeapUsedSize").value as number;
      return { heap, ...await page.run<Counts>("counts"), ...hidden && { rings: await ringsWithin(page, 60_000) } };
    };
    await page.command("Performance.enable");
    const heaps: number[] = [];
    let sent = 0, start = performance.now();
    for (let i = 1; i <= looks; i++) {
      while (performance.now() - start < i * seconds * 1000 / looks) {
        for (const due = (performance.now() - start) * rate / 1000; sent < due; sent++) {
          void peer.publish("load", `${sent} ${"x".repeat(64)}`, { qos: sent % TENTH === 0 ? 1 : 0 });
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      const found = await look();
      heaps.push(found.heap);
      told(found);
      if (returns.length === restarts || i * (restarts + 1) < looks * (returns.length + 1)) continue;
      const before = performance.now();
      await peer.flush();
      await broker.stop();
      await waitFor(page, `counts.failed >= ${found.failed + 3}`);
      broker = await startWebMosquitto({ port, data, quiet: true });
      returns.push(await waitFor(page, `counts.loaded === ${found.loaded + 1}`));
      await waitFor(page, `counts.quiet === ${found.quiet + 1}`);
      await until(() => peer.status.type === "connected", "the peer is connected");
      start += performance.now() - before;
    }
    await peer.flush();
    const ones = Math.ceil(sent / TENTH);
    await until(async () => {
      const { received, kept } = await look();
      return kept === ones && answered.size === ones && (restarts > 0 || received === sent);
    }, `all of ${sent} messages, and their answers`);
    const last = await look();
    if (last.loaded !== restarts + 1 || last.quiet !== restarts + 1) {
      throw new Error(`With ${restarts} restarts, there were ${last.loaded} and ${last.quiet} connections`);
    }
    // The first look is at a page that has just begun.
    const [, first = 0] = heaps, isFlat = heaps.slice(1).every((heap) => heap < first + NOISE);
    return { isFlat, sent, last, returns };
  } finally {
    await peer.disconnect();
    await browser.stop();
    await site.stop();
    await broker.stop();
    rmSync(data, { recursive: true, force: true });
  }
}

/** Waits until the expression is true in the page; after how many milliseconds it is. */
async function waitFor(page: Page, expression: string): Promise<number> {
  for (const start = performance.now();;) {
    const time = performance.now() - start;
    if (await page.run<boolean>(expression)) return time;
    if (time > RETURN) throw new Error(`${expression}: not within ${RETURN} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
