import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertMatch, assertNotEquals } from "@std/assert";
import { startWebSocket } from "../../examples/bridge/websocket.ts";
import { connect } from "../../mod.ts";
import { needs } from "../support/process.ts";
import { startAedes, startMosquitto } from "../support/servers.ts";
import { runtime } from "../support/spawn.ts";
import { startBrowser } from "../support/browser.ts";
import { subscriber, until } from "./support.ts";

/** The page is the same whatever runtime serves it: once is enough. */
const testPage = runtime === "deno" ? test : () => {};

const name = (state: string) => `document.querySelector("#state-name").textContent === ${JSON.stringify(state)}`;
const subscribed = (filter: string) =>
  `document.querySelector("#subscribe-result").textContent === ${JSON.stringify(`Subscribed to ${filter}`)}`;
const card = (topic: string) => `document.querySelector('.card[data-topic="${topic}"]')`;
const row = (topic: string) =>
  `[...document.querySelectorAll("#topics tr")].find(({ cells }) => cells[0].textContent === ${JSON.stringify(topic)})`;

/** How many pixels of a chart have its line's colour, or nearly. */
const drawn = (topic: string) =>
  `(() => {
    const canvas = ${card(topic)}.querySelector("canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const wanted = getComputedStyle(document.documentElement).getPropertyValue("--chart-1").trim();
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(wanted.slice(at, at + 2), 16));
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      const off = Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b);
      count += data[i + 3] > 200 && off < 20;
    }
    return count;
  })()`;

testPage(
  "page: values arrive and are drawn, publishing works by keyboard, and it says what the connection does",
  needs("chromium"),
  async () => {
    let broker = await startAedes();
    const { port } = broker;
    let bridge = await startWebSocket({ broker: `mqtt://127.0.0.1:${port}` });
    const { url } = bridge;
    let mqtt = await subscriber(port, "from/page");
    const browser = await startBrowser();
    const { page } = browser;
    try {
      await page.resize(1280, 900);
      await page.theme("light");
      await page.open(url);
      await page.until(name("Connected"));
      await page.until(subscribed("#"));

      // Values arrive: in the table, as a chart, as lines of an object; what looks like HTML is text.
      const hostile = `<img src=x onerror="document.title='owned'">`;
      for (let i = 0; i <= 20; i++) {
        await mqtt.publish("t/number", `${20 + i / 10}`);
        await mqtt.publish("t/object", JSON.stringify({ in: i, out: -i, name: "x" }));
      }
      await mqtt.publish("t/text", hostile);
      await mqtt.publish(`t/${hostile}`, "x");
      await mqtt.publish("t/bytes", Uint8Array.of(1, 255, 3));
      await page.until(`${row(`t/${hostile}`)} !== undefined && ${row("t/bytes")} !== undefined`);
      await page.until(`${card("t/number")}?.querySelector("output").textContent === "22"`);
      await page.until(`${card("t/object")}.querySelector("output").textContent === "20 · -20"`);
      // The table is written once a frame, after the charts.
      await page.until(`[...document.querySelectorAll("#topics tr")].every((row) => row.cells[1].textContent !== "")`);
      const values = await page.run(`[...document.querySelectorAll("#topics tr")].map((row) =>
      [...row.cells].slice(0, 3).map((cell) => cell.textContent))`);
      assertEquals(values, [
        [`t/${hostile}`, "x", "1"],
        ["t/bytes", "3 bytes", "1"],
        ["t/number", "22", "21"],
        ["t/object", '{"in":20,"out":-20,"name":"x"}', "21"],
        ["t/text", hostile, "1"],
      ]);
      assertEquals(await page.run("document.title"), "MQTT live");
      await until(async () => {
        await mqtt.publish("t/number", `${20 + Math.random()}`);
        return await page.run<number>(drawn("t/number")) > 100;
      }, "its line is drawn");
      assertMatch(
        await page.run(`${card("t/number")}.querySelector("[role=img]").ariaLabel`),
        /t\/number, .*: value 2\d/,
      );

      // Publishing by keyboard alone, from the top of the page.
      for (let i = 0; await page.run("document.activeElement.id") !== "topic"; i++) {
        assert(i < 50, "Tab reaches the form");
        await page.press("Tab");
      }
      await page.type("from/page");
      await page.press("Tab");
      await page.type("typed ☃");
      await page.press("Tab");
      await page.press(" ");
      await page.press("Tab");
      await page.press("Enter");
      const message = await mqtt.inbox.next();
      assertEquals([message.topic, message.text()], ["from/page", "typed ☃"]);
      await page.until(`document.querySelector("#publish-result").textContent === "Published to from/page"`);
      const late = await subscriber(port, "from/page");
      assertEquals((await late.inbox.next()).retain, true);
      await late.stop();
      const result = (pattern: string) =>
        page.until(`/${pattern}/.test(document.querySelector("#publish-result").textContent)`);
      await page.run(`document.querySelector("#topic").value = "a/#"`);
      await page.run(`document.querySelector("#publish").requestSubmit()`);
      await result("^Not published: .*wildcard");

      // The filter outlives a reload, one topic is one, and the last time on the axis is whole.
      await page.run(`CanvasRenderingContext2D.prototype.fillText = function (text, x) {
        if (!/:\\d\\d:/.test(text)) return;
        const scale = this.getTransform().a, half = this.measureText(text).width / 2;
        window.labelEnd = Math.max(window.labelEnd ?? 0, (x + half) * scale - this.canvas.width);
        window.labels = (window.labels ?? 0) + 1;
      }`);
      await page.until("window.labels > 0 && window.labelEnd <= 0");
      await page.run(`document.querySelector("#filter").value = "t/number"`);
      await page.run(`document.querySelector("#subscribe").requestSubmit()`);
      await until(async () => {
        await mqtt.publish("t/number", "23");
        return await page.run(`/ 1 topic$/.test(document.querySelector("#rate").textContent)`);
      }, "one topic");
      await page.open("about:blank");
      await page.open(`${url}/#filter=t/%23`);
      await page.until(name("Connected"));
      await page.run(`document.querySelector("#filter").value = "t/+"`);
      await page.run(`document.querySelector("#subscribe").requestSubmit()`);
      const address = await page.run<string>("location.href");
      await page.open("about:blank");
      await page.open(address);
      await page.until(`document.querySelector("#filter").value === "t/+"`);
      await page.until(name("Connected"));
      await until(async () => {
        await mqtt.publish("t/number", `${20 + Math.random()}`);
        return await page.run<boolean>(`${card("t/number")} !== null`) &&
          await page.run<number>(drawn("t/number")) > 150;
      }, "its line is drawn");

      // It fits a phone, and follows the system's theme.
      const ground = () => page.run<string>("getComputedStyle(document.body).backgroundColor");
      const light = await ground();
      await page.theme("dark");
      assertNotEquals(await ground(), light);
      await page.until(`${drawn("t/number")} > 100`);
      await page.resize(360, 740, { mobile: true });
      await page.until(`${card("t/number")}.querySelector("canvas").getBoundingClientRect().right <= 360`);
      assertEquals(await page.run("document.documentElement.scrollWidth"), 360);
      assert(await page.run("document.querySelector('#state').getBoundingClientRect().top < 100"));
      await page.run("scrollTo(0, 10_000)");
      assert(
        await page.run("document.querySelector('#state').getBoundingClientRect().top < 100"),
        "the state stays in view",
      );
      assertGreater((await page.screenshot()).length, 10_000);
      await page.run("scrollTo(0, 0)");
      const form = `document.querySelector("#publish").getBoundingClientRect()`;
      await page.run(`document.querySelector("#charts").style.minHeight = "3000px"`); // as with many charts
      assert(await page.run(`${form}.top > innerHeight`), "the charts are before it");
      await page.run(`document.querySelector("#to-publish").click()`);
      await page.until(`${form}.top >= 0 && ${form}.bottom <= innerHeight && document.activeElement.id === "topic"`);
      assertEquals(page.errors, []);

      // The broker goes: the page says so, and recovers.
      await mqtt.stop();
      await broker.stop();
      await page.until(name("Broker away"));
      await page.run(`document.querySelector("#topic").value = "a/b"`);
      await page.run(`document.querySelector("#publish").requestSubmit()`);
      await result("^Not published: The broker is away");
      broker = await startAedes({ port });
      await page.until(name("Connected"));
      mqtt = await subscriber(port);
      await until(async () => {
        await mqtt.publish("t/number", "99");
        return await page.run(`${card("t/number")}.querySelector("output").textContent === "99"`);
      }, "values arrive again");

      // The bridge goes, and comes again.
      await bridge.close();
      await page.until(name("Bridge away"));
      bridge = await startWebSocket({ broker: `mqtt://127.0.0.1:${port}`, port: Number(new URL(url).port) });
      await page.until(name("Connected"));
      await until(async () => {
        await mqtt.publish("t/number", "98");
        return await page.run(`${card("t/number")}.querySelector("output").textContent === "98"`);
      }, "values arrive again");
    } finally {
      await browser.stop();
      await bridge.close();
      await mqtt.stop();
      await broker.stop();
    }
  },
);

testPage(
  "page: it asks for the token, and holds out when messages flood it",
  needs("chromium", "mosquitto"),
  async () => {
    const broker = await startMosquitto();
    const bridge = await startWebSocket({ broker: `mqtt://127.0.0.1:${broker.port}`, token: "s3cret" });
    const mqtt = await subscriber(broker.port);
    const browser = await startBrowser();
    const { page } = browser;
    try {
      await page.open(`${bridge.url}/#filter=f/%23`);
      await page.until(name("Token needed"));
      assertEquals(await page.run("document.activeElement.id"), "token-value");
      await page.type("wrong");
      await page.press("Enter");
      await page.until(`document.querySelector("#token-result").textContent === "That token is wrong"`);
      await page.type("s3cret");
      await page.press("Enter");
      await page.until(name("Connected"));
      await page.until(subscribed("f/#"));
      const count = 3000;
      for (let i = 1; i <= count; i++) await mqtt.publish(`f/${i % 600}`, `${i}`);
      await mqtt.publish("f/1", "the last");
      await page.until(`${row("f/1")} !== undefined`);
      await page.run(`${row("f/1")}.scrollIntoView()`);
      await page.until(`${row("f/1")}.cells[1].textContent === "the last"`);
      const [rows, cards, more] = await page.run<[number, number, string]>(`[
      document.querySelectorAll("#topics tr").length,
      document.querySelectorAll(".card").length,
      document.querySelector("#more").textContent,
    ]`);
      assertEquals([rows, cards], [500, 6]);
      assertMatch(more, /^[\d,]+ messages of further topics are not listed$/);
    } finally {
      await browser.stop();
      await bridge.close();
      await mqtt.stop();
      await broker.stop();
    }
  },
);

testPage(
  "page: odd values, another filter, and a name it may not come by",
  needs("chromium"),
  async () => {
    const broker = await startAedes();
    const bridge = await startWebSocket({ broker: `mqtt://127.0.0.1:${broker.port}` });
    const mqtt = await subscriber(broker.port);
    const browser = await startBrowser();
    const { page } = browser;
    let busy = true;
    const work = (async () => {
      for (let i = 0; busy; i++) {
        for (let k = 0; k < 20; k++) await mqtt.publish(`old/${k}`, `${i}`);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    const subscribe = async (filter: string) => {
      await page.run(`document.querySelector("#filter").value = "${filter}"`);
      await page.run(`document.querySelector("#subscribe").requestSubmit()`);
    };
    const topics = () =>
      page.run<string[]>(`[...document.querySelectorAll("#topics tr")].map((row) => row.cells[0].textContent)`);
    try {
      await page.open(`${bridge.url}/#filter=odd/%23`);
      await page.until(name("Connected"));
      await page.until(subscribed("odd/#"));
      for (const value of ["1e999", "-1.7e308", '{"a":1e999}']) await mqtt.publish("odd/huge", value);
      for (const value of ["-1.7e299", "1.7e299"]) await mqtt.publish("odd/large", value);
      await mqtt.publish("odd/bytes", Uint8Array.of(1, 255, 3));
      await mqtt.publish("odd/one", "5");
      await page.until(`${card("odd/one")} !== null`);
      await until(async () => await page.run<number>(drawn("odd/one")) > 10, "a single value is drawn");
      assertEquals(await topics(), ["odd/bytes", "odd/huge", "odd/large", "odd/one"]);
      assertEquals(await page.run(`${card("odd/huge")} === null && ${card("odd/large")} !== null`), true);
      await page.run(`document.querySelector("#message").value = "before"`);
      await page.run(`${row("odd/bytes")}.querySelector("button:last-child").click()`);
      assertEquals(
        await page.run(`[document.querySelector("#topic").value, document.querySelector("#message").value]`),
        ["odd/bytes", ""],
      );

      for (let round = 0; round < 3; round++) {
        await subscribe("old/#");
        await page.until(`${row("old/1")} !== undefined`);
        await subscribe(`new/${round}`);
        await until(async () => {
          await mqtt.publish(`new/${round}`, "x");
          return (await topics()).includes(`new/${round}`);
        }, "the other filter's messages come");
        assertEquals(await topics(), [`new/${round}`]);
      }
      assertEquals(page.errors, []);

      await page.open(`http://bridge.example:${new URL(bridge.url).port}/`);
      await page.until(name("Not allowed"));
      assertMatch(
        await page.run(`document.querySelector("#state-detail").textContent`),
        /--origin http:\/\/bridge\.example:\d+ allows it/,
      );
    } finally {
      busy = false;
      await work;
      await browser.stop();
      await bridge.close();
      await mqtt.stop();
      await broker.stop();
    }
  },
);

testPage("page: properties are told with the value", needs("chromium", "mosquitto"), async () => {
  const broker = await startMosquitto();
  const address = `mqtt://127.0.0.1:${broker.port}`;
  const bridge = await startWebSocket({ broker: address, op: { version: 5 } });
  const mqtt = await connect(address, undefined, { version: 5 });
  const browser = await startBrowser();
  try {
    await browser.page.open(bridge.url);
    await browser.page.until(subscribed("#"));
    await mqtt.publish("a", "21", { properties: { contentType: "text/plain", user: [["room", "12"]] } });
    await browser.page.until(`(${row("a")}?.cells[1].title ?? "") !== ""`);
    assertEquals(
      await browser.page.run(`${row("a")}.cells[1].title`),
      '21\ncontentType: "text/plain"\nuser: [["room","12"]]',
    );
  } finally {
    await browser.stop();
    await mqtt.disconnect();
    await bridge.close();
    await broker.stop();
  }
});
