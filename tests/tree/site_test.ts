/** The site that `deno task docs` makes is whole: each link leads somewhere, a phone can show it, and its words are found. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { makeSite } from "../../scripts/docs.ts";
import { startBrowser } from "../support/browser.ts";
import { needs } from "../support/process.ts";

const root = join(import.meta.dirname!, "..", "..");
const types: Record<string, string> = {
  ".html": "text/html",
  ".css": "text/css",
  ".js": "text/javascript",
  ".svg": "image/svg+xml",
  ".png": "image/png",
};

describe("the site", () => {
  let site: string, pages: string[];
  before(async () => {
    site = mkdtempSync(join(tmpdir(), "mqtt3c-site-"));
    pages = await makeSite(site);
  });
  after(() => rmSync(site, { recursive: true, force: true }));

  test("site: every page of docs/ is in it, and every link and picture, those of the API too, leads somewhere", () => {
    for (const name of readdirSync(join(root, "docs"))) {
      if (name.endsWith(".md") && name !== "README.md") {
        assert(pages.includes(`docs/${name.replace(/md$/, "html")}`), name);
      }
    }
    const html = readdirSync(site, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".html"));
    assertGreater(html.length, 200);
    const texts = new Map(html.map((name) => [join(site, name), readFileSync(join(site, name), "utf8")]));
    const broken: string[] = [];
    let count = 0;
    for (const [page, text] of texts) {
      // What is shown as code has no links.
      for (
        const [, quoted] of text.replaceAll(/<(pre|code|script)[\s>].*?<\/\1>/gs, "").matchAll(
          /\s(?:href|src)="([^"]*)"/g,
        )
      ) {
        const link = quoted!.replaceAll(/&#x2F;/g, "/").replaceAll("&amp;", "&");
        if (/^[a-z]+:/.test(link)) continue;
        count++;
        const [path = "", id = ""] = link.split("#");
        let file = path === "" ? page : join(dirname(page), decodeURI(path));
        if (existsSync(file) && statSync(file).isDirectory()) file = join(file, "index.html");
        const there = path === "" || existsSync(file);
        if (!there || id !== "" && !texts.get(file)?.includes(` id="${id}"`)) broken.push(`${page}: ${link}`);
      }
    }
    assertEquals(broken, []);
    assertGreater(count, 1000);
  });

  test("site: a phone shows each page without scrolling sideways, and finds words", needs("chromium"), async () => {
    const server = createServer((request, response) => {
      const file = join(site, decodeURI(new URL(request.url!, "http://localhost").pathname));
      if (!existsSync(file) || statSync(file).isDirectory()) return response.writeHead(404).end();
      response.setHeader("content-type", types[extname(file)] ?? "application/octet-stream").end(readFileSync(file));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { page, stop } = await startBrowser();
    try {
      await page.resize(390, 844, { mobile: true });
      for (const name of pages.filter((name) => !name.endsWith(".ts.html"))) {
        await page.open(`${base}/${name}`);
        const width = await page.run<number>("document.documentElement.scrollWidth");
        assert(width <= 390, `${name} is ${width} pixels wide`);
      }
      await page.open(`${base}/docs/index.html`);
      await page.until(`document.querySelector("#search input") !== null`);
      await page.run(`document.querySelector("#search input").focus()`);
      await page.type("backpressure");
      await page.until(
        `[...document.querySelectorAll("#search a")].some(({ href }) => href.endsWith("/docs/browser.html"))`,
      );
      assertEquals(page.errors, []);
    } finally {
      await stop();
      await new Promise((resolve) => (server.close(resolve), server.closeAllConnections()));
    }
  });
});
