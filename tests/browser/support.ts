/** Pages with the library in them, served to a Chromium. */
import { createHash, X509Certificate } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { buildSync } from "esbuild";
import type * as Library from "../../browser.ts";
import type { Client, Message, MqttError, Status } from "../../browser.ts";
import { type Browser, type Page, startBrowser } from "../support/browser.ts";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { runtime } from "../support/spawn.ts";

const root = join(import.meta.dirname!, "..", "..");

declare global {
  /** The library, in a page. */
  var mqtt3c: typeof Library;
  /** What a test keeps in its page. */
  var kept: { client: Client; received: string[]; statuses: Status[]; end: MqttError | undefined; messages: Message[] };
  /** Opens the client that is kept, and keeps what it hears. */
  var openKept: (url: string, op?: Library.ConnectOptions) => Promise<void>;
}

/** What runs in each page. */
function prepare(): void {
  globalThis.openKept = async (url, op = {}) => {
    const received: string[] = [], statuses: Status[] = [];
    const onpub = (topic: string, message: Message) => void received.push(`${topic} ${message.qos} ${message.text()}`);
    const onstatus = (status: Status) => void statuses.push(status);
    globalThis.kept = { received, statuses, end: undefined, messages: [], client: undefined! };
    kept.client = await mqtt3c.connect(url, onpub, { onstatus, ...op });
    void kept.client.run().then((end) => kept.end = end);
  };
}

/** Serves a blank page with the library, which is built for it once. */
export interface Site {
  url: string;
  stop(): Promise<void>;
}

export async function startSite(): Promise<Site> {
  const entryPoints = [join(root, "browser.ts")];
  const { outputFiles } = buildSync({ entryPoints, bundle: true, format: "iife", globalName: "mqtt3c", write: false });
  const script = `${outputFiles[0]!.text}\n(${prepare})();`;
  const server = createServer(({ url }, response) => {
    if (url === "/library.js") response.writeHead(200, { "content-type": "text/javascript" }).end(script);
    else if (url === "/favicon.ico") response.writeHead(204).end();
    else {
      const html = `<!doctype html><title>${url}</title><script src="/library.js"></script>`;
      response.writeHead(200, { "content-type": "text/html" }).end(html);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A flag with which Chromium trusts the certificate of the tests' servers, and no other that it would not. */
export function trusting(): string {
  const key = new X509Certificate(certificates().server.cert).publicKey.export({ type: "spki", format: "der" });
  return `--ignore-certificate-errors-spki-list=${createHash("sha256").update(key).digest("base64")}`;
}

/** What a test of a page works with. */
export interface Stage {
  site: Site;
  browser: Browser;
  page: Page;
}

/**
 * A test with a page, which is the same whatever runtime has started it: once is enough. `tools` are needed besides; `flags`
 * are the browser's.
 */
export function testPage(
  name: string,
  tools: readonly string[],
  act: (stage: Stage) => Promise<void>,
  flags: () => string[] = () => [],
): void {
  if (runtime !== "deno") return;
  test(name, needs("chromium", ...tools), async () => {
    const site = await startSite();
    try {
      const browser = await startBrowser(...flags());
      try {
        await browser.page.open(site.url);
        await act({ site, browser, page: browser.page });
      } finally {
        await browser.stop();
      }
    } finally {
      await site.stop();
    }
  });
}
