/** A page that is busy, and the workers of pages; in Chromium. */
import { assertEquals } from "@std/assert";
import { startWebMosquitto } from "../support/servers.ts";
import { testPage } from "./support.ts";

testPage("page: connectWorker says that it is unsupported, and what to do", [], async ({ page }) => {
  const told = await page.call(async () => {
    const { code, message } = await mqtt3c.connectWorker("ws://localhost").then(
      () => new mqtt3c.MqttError(1, ""),
      (e) => e,
    );
    return `${code}: ${message}`;
  });
  assertEquals(
    told,
    "unsupported: A page has no thread that shares its connection: start a Worker, and call connect() in it",
  );
});

testPage(
  "[MQTT-3.1.2-24] page: while it is busy a client in its worker keeps its connection, and receives",
  ["mosquitto"],
  async ({ page }) => {
    const broker = await startWebMosquitto();
    try {
      await page.call(async (url) => {
        const program = async (url: string) => {
          const statuses: string[] = [], received: string[] = [];
          const onstatus = ({ type }: { type: string }) => void statuses.push(type);
          const mqtt = await mqtt3c.connect(url, (_, message) => void received.push(message.text()), {
            keepalive: 1,
            onstatus,
          });
          await mqtt.subscribe("busy", { qos: 1 });
          let count = 0;
          setInterval(() => void mqtt.publish("busy", `${count++}`, { qos: 1 }), 100);
          addEventListener("message", () => postMessage({ statuses, received: received.length }));
          postMessage({ statuses, received: 0 });
        };
        const code = `importScripts("${location.origin}/library.js"); (${program})(${JSON.stringify(url)});`;
        const worker = new Worker(URL.createObjectURL(new Blob([code])));
        const answer = () => new Promise<unknown>((resolve) => worker.onmessage = ({ data }) => resolve(data));
        await answer();
        Object.assign(globalThis, {
          async ask() {
            const answered = answer();
            worker.postMessage("");
            return await answered;
          },
        });
      }, `ws://127.0.0.1:${broker.port}`);
      await page.call((url) => openKept(url, { keepalive: 1 }), `ws://127.0.0.1:${broker.port}`);
      const ask = () => page.run<{ statuses: string[]; received: number }>("ask()");
      const before = await ask();
      // mosquitto looks every six seconds for clients that are silent.
      await page.call(() => {
        for (const end = performance.now() + 10_000; performance.now() < end;);
      });
      const after = await ask();
      assertEquals(after.statuses, ["connecting", "connected"]);
      assertEquals(after.received > before.received + 30, true, `${after.received} messages`);
      // The page's own client has been given up meanwhile.
      await page.until("kept.end !== undefined");
    } finally {
      await broker.stop();
    }
  },
);
