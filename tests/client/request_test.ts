/** Requests and their answers, over MQTT 5 and 3.1.1, in the modes that do not block. */
import { after, before, test } from "node:test";
import { assertEquals, assertGreater, assertLess, assertMatch, assertRejects } from "@std/assert";
import { type Client, connect, connectWorker, type MqttError } from "../../mod.ts";
import { needs } from "../support/process.ts";
import { type ServerProcess, startMosquitto } from "../support/servers.ts";
import { outcome } from "./qos_scene.ts";
import { within } from "./support.ts";

const tools = needs("mosquitto");
const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
const module = new URL(`../worker/modules/idle${extension}`, import.meta.url);
let broker: ServerProcess;
before(async () => {
  if (tools.skip === undefined) broker = await startMosquitto();
});
after(() => broker?.stop());

const modes = [["connect", undefined], ["connectWorker", undefined], ["connectWorker with a module", module]] as const;

for (const [mode, onpub] of modes) {
  for (const version of [4, 5] as const) {
    const open = (): Promise<Client> => {
      const op = { port: broker.port, version };
      return mode === "connect" ? connect("127.0.0.1", undefined, op) : connectWorker("127.0.0.1", onpub, op);
    };

    test(
      `${mode}: requests over version ${version}: each gets its own answer, though they come in any order`,
      tools,
      () =>
        within(
          (async () => {
            const asks = await open(), answers = await open(), topic = `sum/${version}/${mode.replaceAll(" ", "")}`;
            try {
              await answers.respond(`${topic}/+`, async (topic, message) => {
                const number = Number(message.text());
                await new Promise((resolve) => setTimeout(resolve, number % 3 * 20));
                return `${topic.split("/").at(-1)} ${number * 2}`;
              }, { concurrency: 10 });
              const numbers = Array.from({ length: 20 }, (_, i) => i);
              const got = await Promise.all(numbers.map((i) => asks.request(`${topic}/x`, `${i}`)));
              assertEquals(got.map((message) => message.text()), numbers.map((i) => `x ${i * 2}`));
            } finally {
              await asks.disconnect();
              await answers.disconnect();
            }
          })(),
          mode,
        ),
    );

    test(
      `${mode}: requests over version ${version}: who asks is told what the handler has failed with`,
      tools,
      () =>
        within(
          (async () => {
            const mqtt = await open(), topic = `fails/${version}/${mode.replaceAll(" ", "")}`;
            await mqtt.respond(topic, () => {
              throw new Error("no such thing");
            });
            const error = await assertRejects(() => mqtt.request(topic, "")) as MqttError;
            assertEquals([error.code, error.reason], [131, "no such thing"]);
            await mqtt.disconnect();
          })(),
          mode,
        ),
    );

    test(
      `${mode}: requests over version ${version}: nobody listens, nobody answers, the client ends`,
      tools,
      () =>
        within(
          (async () => {
            const asks = await open(), silent = await open(), topic = `silent/${version}/${mode.replaceAll(" ", "")}`;
            const start = performance.now();
            const code = await outcome(() =>
              asks.request(`${topic}/nobody`, "", { timeout: version === 5 ? 10_000 : 300 })
            );
            assertEquals(code, version === 5 ? 16 : "timeout");
            assertLess(performance.now() - start, 9000);
            await silent.subscribe(`${topic}/#`, {});
            const late = await assertRejects(() => asks.request(`${topic}/a`, "", { timeout: 300 })) as MqttError;
            assertMatch(late.message, /not answered within 300 ms/);
            const ended = outcome(() => asks.request(`${topic}/b`, ""));
            await asks.flush();
            await asks.disconnect();
            assertEquals(await ended, "disconnect");
            await silent.disconnect();
            assertGreater(performance.now(), start);
          })(),
          mode,
        ),
    );
  }
}
