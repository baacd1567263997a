/** Makes the picture of the page that the documentation shows: `deno run -A tests/bridge/screenshot.ts`. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startScript } from "../support/spawn.ts";
import { startBrowser } from "../support/browser.ts";

const demo = await startScript("examples/bridge/main.ts", ["--port", "8080"]);
const [url] = await demo.output(/http:\S+#\S+/);
const browser = await startBrowser();
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
try {
  const { page } = browser;
  await page.resize(1280, 1020);
  await page.theme("light");
  await page.open(url);
  await pause(35_000);
  await page.run(`document.querySelector("#publish").requestSubmit()`);
  await pause(30_000);
  writeFileSync(join(import.meta.dirname!, "..", "..", "examples", "bridge", "page.png"), await page.screenshot());
} finally {
  await browser.stop();
  await demo.stop();
}
