// Connect, subscribe, and leave the loop running: it ends when somebody publishes to demo/stop.
//
//     deno run -A examples/connect_and_run.ts [host or mqtt://user:password@host:port]

import process from "node:process";
import { connect } from "../mod.ts";

const mqtt = await connect(process.argv[2] ?? "localhost", (topic, message) => {
  console.log(`${topic}: ${message.text()}`);
  if (topic === "demo/stop") mqtt.disconnect();
});
console.log(`subscribed with QoS ${await mqtt.subscribe("demo/#")}`);
const end = await mqtt.run();
console.log(`the connection has ended: ${end.code}`);
