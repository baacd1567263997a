/** The page without a bridge, served and opened from disk, in Chromium. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import { connect } from "../../mod.ts";
import { until } from "../bridge/support.ts";
import { type Page, startBrowser } from "../support/browser.ts";
import { needs } from "../support/process.ts";
import { freePort, startWebMosquitto } from "../support/servers.ts";
import { runScript, runtime, startScript } from "../support/spawn.ts";

/** It is the same whatever runtime serves it: once is enough. */
const testPage = runtime === "deno" ? test : () => {};

const state = (name: string) => `document.querySelector("#state-name").textContent === ${JSON.stringify(name)}`;
/** The value in the table: rows that nobody sees are not written. */
const value = (topic: string) =>
  `((row) => (row?.scrollIntoView(), row?.cells[1].textContent))([...document.querySelectorAll("#topics tr")]` +
  `.find(({ cells }) => cells[0].textContent === ${JSON.stringify(topic)}))`;

async function publish(page: Page, topic: string, message: string): Promise<void> {
  await page.call(
    (topic, message) => {
      const field = (id: string) => document.querySelector<HTMLInputElement>(id)!;
      field("#topic").value = topic;
      field("#message").value = message;
      document.querySelector<HTMLFormElement>("#publish")!.requestSubmit();
    },
    topic,
    message,
  );
}

testPage(
  "task page: it serves the page, with a broker and a greenhouse; on a phone, light and dark",
  needs("chromium"),
  async () => {
    const program = await startScript("examples/page/main.ts", ["--port", "0"]);
    const [, url] = await program.output(/(http:\S+#\S+)/);
    await program.output(/^Ctrl\+C ends/m);
    const browser = await startBrowser();
    const { page } = browser;
    try {
      await page.resize(390, 844, { mobile: true, scale: 2 });
      for (const theme of ["light", "dark"] as const) {
        await page.theme(theme);
        await page.open(url!.replace("/#", `/?${theme}#`));
        await page.until(state("Connected"));
        await page.until(`document.querySelectorAll(".card canvas").length > 2`);
        await page.until(`/^\\d/.test(${value("greenhouse/temperature")})`);
        const width = await page.run<number>("document.documentElement.scrollWidth");
        assertEquals(width, 390, "nothing is wider than the phone");
        assertGreater((await page.screenshot()).length, 10_000);
      }
      const [light, dark] = [await background(page, "light"), await background(page, "dark")];
      assertEquals(light === dark, false);
      await page.run(`document.querySelector("#publish").requestSubmit()`);
      await page.until(`${value("greenhouse/heater")} === "on"`);
      assertEquals(page.errors, []);
    } finally {
      await browser.stop();
      program.kill("SIGTERM");
      assertEquals([await program.exited, program.stderr()], [0, ""]);
    }
  },
);

async function background(page: Page, theme: "light" | "dark"): Promise<string> {
  await page.theme(theme);
  return await page.run("getComputedStyle(document.body).backgroundColor");
}

testPage(
  "the page from disk: it asks where the broker is, says when it is away, and comes back",
  needs("chromium", "mosquitto"),
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "mqtt3c-page-")), file = join(folder, "page.html"), port = freePort();
    const start = () => startWebMosquitto({ port });
    let broker = await start();
    const browser = await startBrowser();
    const { page } = browser, url = `ws://127.0.0.1:${port}`;
    try {
      const written = await runScript("examples/page/main.ts", ["--write", file]);
      assertEquals([written.code, written.stderr], [0, ""]);
      const hash = new URLSearchParams({ broker: "http://wrong", filter: "live/#" });
      await page.open(`${pathToFileURL(file).href}#${hash}`);
      await page.until(state("Not connected"));
      assertMatch(await page.run(`document.querySelector("#broker-result").textContent`), /must be a WebSocket's URL/);
      assertEquals(await page.run("document.activeElement.id"), "broker-url");
      await page.run(`document.querySelector("#broker-url").value = ""`);
      await page.type(url);
      await page.press("Enter");
      await page.until(state("Connected"));

      const peer = await connect(url);
      await until(async () => {
        await peer.publish("live/value", "21.5");
        return await page.run<boolean>(`${value("live/value")} === "21.5"`);
      }, "values arrive");
      await peer.publish("live/bytes", Uint8Array.of(255, 0, 1));
      await page.until(`${value("live/bytes")} === "3 bytes"`);
      await publish(page, "live/page", "typed ☃");
      await page.until(`${value("live/page")} === "typed ☃"`);
      await publish(page, "live/#", "x");
      await page.until(`/^Not published: .*wildcard/.test(document.querySelector("#publish-result").textContent)`);
      await peer.disconnect();

      await broker.stop();
      await page.until(state("Broker away"));
      await publish(page, "live/page", "lost");
      await page.until(`document.querySelector("#publish-result").textContent === "Not published: The broker is away"`);
      broker = await start();
      await page.until(state("Connected"));
      await publish(page, "live/page", "back");
      await page.until(`${value("live/page")} === "back"`);

      // What was typed outlives a reload.
      await page.run("(globalThis.isOld = true, location.reload())").catch(() => {}); // the page goes while it answers
      const isBack = `globalThis.isOld === undefined && ${state("Connected")}`;
      await until(() => page.run<boolean>(isBack).catch(() => false), "connected again");
      assertEquals(await page.run(`document.querySelector("#filter").value`), "live/#");
    } finally {
      await browser.stop();
      await broker.stop();
      rmSync(folder, { recursive: true });
    }
  },
);
