// One thing after the other: every call waits, and there is no promise.
//
//     deno run -A examples/blocking.ts [host or URL]

import process from "node:process";
import { connectSync } from "../mod.ts";

const mqtt = connectSync(process.argv[2] ?? "localhost", (topic, message) => {
  console.log(`${topic}: ${message.text()}`);
  if (message.text() === "3") mqtt.disconnect();
  else mqtt.publish(topic, `${Number(message.text()) + 1}`);
});
console.log(`subscribed with QoS ${mqtt.subscribe("demo/count")}`);

mqtt.publish("demo/count", "0");
console.log(`received: ${mqtt.receive(5000)?.text()}`);
console.log(`nothing more within 100 ms: ${mqtt.receive(100)}`);

mqtt.publish("demo/count", "1");
const end = mqtt.run(); // calls onpub here, until the connection ends
console.log(`the connection has ended: ${end.code}`);
