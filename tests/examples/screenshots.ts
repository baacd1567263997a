/**
 * Pictures of the page without a bridge, to be looked at: `deno run -A tests/examples/screenshots.ts FOLDER`. On a phone and on a
 * desk, light and dark, served and from disk; connected, with the broker away, and asking where it is.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { type Page, startBrowser } from "../support/browser.ts";
import { freePort } from "../support/servers.ts";
import { runScript, startScript } from "../support/spawn.ts";

const folder = process.argv[2];
if (folder === undefined) throw new TypeError("Give the folder that the pictures go to");
mkdirSync(folder, { recursive: true });
const save = async (page: Page, name: string) => writeFileSync(join(folder, `${name}.png`), await page.screenshot());
const state = (name: string) => `document.querySelector("#state-name").textContent === ${JSON.stringify(name)}`;
const sizes = { phone: [390, 844, { mobile: true, scale: 2 }], desk: [1280, 900, {}] } as const;

const port = freePort(), file = join(folder, "page.html");
const start = async () => {
  const program = await startScript("examples/page/main.ts", ["--port", `${port}`]);
  await program.output(/^Ctrl\+C ends/m);
  return program;
};
await runScript("examples/page/main.ts", ["--write", file]);
let program = await start();
const browser = await startBrowser();
const { page } = browser;
try {
  const fromDisk = new URLSearchParams({ broker: `ws://127.0.0.1:${port}/mqtt`, filter: "greenhouse/#" });
  const urls = {
    served: `http://127.0.0.1:${port}/#filter=greenhouse%2F%23`,
    disk: `${pathToFileURL(file).href}#${fromDisk}`,
  };
  for (const [size, [width, height, options]] of Object.entries(sizes)) {
    await page.resize(width, height, options);
    for (const theme of ["light", "dark"] as const) {
      await page.theme(theme);
      for (const [how, url] of Object.entries(urls)) {
        await page.open("about:blank");
        await page.open(url);
        await page.until(state("Connected"));
        await page.until(`document.querySelectorAll(".card canvas").length > 5`);
        await new Promise((resolve) => setTimeout(resolve, 3000)); // for lines to be seen
        await save(page, `${size}-${theme}-${how}`);
      }
      await program.stop();
      await page.until(state("Broker away"));
      await save(page, `${size}-${theme}-away`);
      program = await start();
      await page.until(state("Connected"));
      await new Promise((resolve) => setTimeout(resolve, 3000));
      await save(page, `${size}-${theme}-back`);
      await page.open("about:blank");
      await page.open(`${pathToFileURL(file).href}#broker=http%3A%2F%2Fwrong`);
      await page.until(state("Not connected"));
      await save(page, `${size}-${theme}-asking`);
    }
  }
} finally {
  await browser.stop();
  await program.stop();
}
