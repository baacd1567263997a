/** Shared subscriptions, which mosquitto has: messages are routed by the filter behind the group. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { type Client, connect, connectSync, connectWorker } from "../../mod.ts";
import { needs } from "../support/process.ts";
import { startMosquitto } from "../support/servers.ts";
import { Inbox, within } from "./support.ts";

const tools = needs("mosquitto");
/** It gets what no subscription takes; here, nothing. */
const module = new URL("../worker/modules/append.ts", import.meta.url);

async function withBroker(act: (port: number) => Promise<unknown>): Promise<void> {
  const mosquitto = await startMosquitto({ config: "log_type none" });
  try {
    await act(mosquitto.port);
  } finally {
    await mosquitto.stop();
  }
}

const ways: [name: string, open: (port: number, other: Inbox) => Promise<Client>][] = [
  ["connect", (port, other) => connect(`127.0.0.1:${port}`, other.onpub)],
  ["connectWorker", (port, other) => connectWorker(`127.0.0.1:${port}`, other.onpub)],
  ["connectWorker with a module", (port) => connectWorker(`127.0.0.1:${port}`, module)],
];

for (const [name, open] of ways) {
  test(`${name}: a shared subscription has its handler, and its iterator`, tools, () =>
    withBroker(async (port) => {
      const own = new Inbox(), other = new Inbox();
      const mqtt = await open(port, other);
      await mqtt.subscribe("$share/g/jobs/#", { onpub: own.onpub });
      const messages = mqtt.messages("$share/h/tasks/+");
      await mqtt.subscribe("plain");
      await mqtt.publish("jobs/1", "one");
      await mqtt.publish("tasks/1", "two");
      assertEquals(await own.text(), "jobs/1: one");
      const { value } = await within(messages.next(), "the iterator's message");
      assertEquals(value?.text(), "two");
      assertEquals(other.messages, []);
      await messages.return?.();
      await mqtt.unsubscribe("$share/g/jobs/#");
      await mqtt.disconnect();
    }));
}

test("connectSync: a shared subscription has its handler", tools, () =>
  withBroker((port) => {
    const heard: string[] = [];
    const mqtt = connectSync(`127.0.0.1:${port}`, () => heard.push("the client's own"));
    mqtt.subscribe("$share/g/jobs/#", {
      onpub: (topic) => {
        heard.push(topic);
        mqtt.disconnect();
      },
    });
    mqtt.publish("jobs/1", "");
    mqtt.run();
    assertEquals(heard, ["jobs/1"]);
    return Promise.resolve();
  }));
