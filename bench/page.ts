/**
 * A driver whose client runs in a page: it opens a Chromium, runs one job in it, and prints one JSON line. The clients are
 * the ones that run elsewhere; this one has the library's module for pages, MQTT.js the file it has for them.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build, type BuildOptions, stop } from "esbuild";
import { startBrowser } from "../tests/support/browser.ts";
import { bench, repository, work } from "./build.ts";
import { type Figures, parseParams } from "./client.ts";

const params = parseParams(Deno.args);

/** What the page loads as a module: the job, the client, and how they are called. */
const entry = `
import { jobs } from "./jobs.ts";
import * as client from "./clients/${params.client}.ts";
globalThis.run = (params) => {
  let start = performance.now();
  const meter = { start: () => start = performance.now(), stop: () => ({ seconds: (performance.now() - start) / 1000 }) };
  const job = client[params.job] ?? jobs[params.job];
  return job(params, meter, (url, onmessage) => client.open(url, onmessage, params));
};`;

/** In a page the library is browser.ts. */
const inPage: NonNullable<BuildOptions["plugins"]>[number] = {
  name: "in a page",
  setup({ onResolve }) {
    onResolve({ filter: /\/mod\.ts$/ }, () => ({ path: join(repository, "browser.ts") }));
  },
};

const { outputFiles } = await build({
  stdin: { contents: entry, resolveDir: bench, loader: "ts" },
  ...{ bundle: true, write: false, minify: true, format: "esm", target: "es2022", plugins: [inPage] },
});
await stop();
const scripts: Record<string, () => string> = {
  "/driver.js": () => outputFiles[0]!.text,
  "/mqtt.js": () => readFileSync(join(work, "node_modules", "mqtt", "dist", "mqtt.min.js"), "utf8"),
};
const page = `<!doctype html><title>bench</title>
${
  params.client === "mqttjs"
    ? '<script src="/mqtt.js"></script>'
    : ""
}<script type="module" src="/driver.js"></script>`;
const server = createServer(({ url }, response) => {
  const script = scripts[url!];
  if (url === "/") response.writeHead(200, { "content-type": "text/html" }).end(page);
  else if (script) response.writeHead(200, { "content-type": "text/javascript" }).end(script());
  else response.writeHead(404).end();
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const browser = await startBrowser();
let figures: Figures | { error: string };
try {
  await browser.page.open(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  figures = await browser.page.run<Figures>(`run(${JSON.stringify(params)})`);
} catch (error) {
  figures = { error: String(error) };
} finally {
  await browser.stop();
  server.close();
}
// deno-lint-ignore no-console
console.log(JSON.stringify(figures));
Deno.exit(0);
