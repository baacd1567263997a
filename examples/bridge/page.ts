/** Serves the page, and what it consists of. */
import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathOf } from "./guard.ts";

const uplot = dirname(createRequire(import.meta.url).resolve("uplot"));
const page = join(import.meta.dirname!, "page");
const files: Record<string, readonly [file: string, type: string]> = {
  "/": [join(page, "index.html"), "text/html"],
  "/page.js": [join(page, "page.js"), "text/javascript"],
  "/page.css": [join(page, "page.css"), "text/css"],
  "/icon.svg": [join(page, "icon.svg"), "image/svg+xml"],
  "/uplot.js": [join(uplot, "uPlot.esm.js"), "text/javascript"],
  "/uplot.css": [join(uplot, "uPlot.min.css"), "text/css"],
};

/** Answers with a file of the page, or 404. */
export async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [file, type] = files[pathOf(request)] ?? [];
  if (file === undefined || request.method !== "GET") return void response.writeHead(404).end();
  const bytes = await readFile(file).catch((error: Error) => error);
  if (bytes instanceof Error) return void response.writeHead(404).end(bytes.message);
  response.writeHead(200, {
    "content-type": `${type}; charset=utf-8`,
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
  }).end(bytes);
}
