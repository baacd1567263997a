// Readings that must not be lost: QoS 1, and a session that the broker keeps while the reader is away.
//
//     deno run -A examples/at_least_once.ts [host or URL]

import process from "node:process";
import { connect } from "../mod.ts";

const broker = process.argv[2] ?? "localhost";
const topic = "demo/meter/reading";
const session = { id: `demo-reader-${process.pid}`, session: 3600 };

// It subscribes, and leaves: the broker keeps its session.
const before = await connect(broker, undefined, session);
console.log(`granted QoS ${await before.subscribe(topic, { qos: 1 })}`);
await before.disconnect();

// Each publish() resolves when the broker has acknowledged the message.
const meter = await connect(broker);
for (const reading of [101, 102, 103]) await meter.publish(topic, `${reading}`, { qos: 1 });
console.log("three readings are acknowledged");
await meter.disconnect();

// It comes back. A message is acknowledged when this handler's promise has settled: one that is not comes again.
const reader = await connect(broker, async (_topic, message) => {
  await new Promise((resolve) => setTimeout(resolve, 10)); // store it
  console.log(`stored ${message.text()}`);
  if (message.text() !== "103") return;
  await reader.unsubscribe(topic);
  void reader.disconnect({ drain: true });
}, session);
await reader.run();
