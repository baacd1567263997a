// A sensor that boots without a broker, and survives power cuts. A reading counts once it is in the store; whatever then
// happens to the connection, the process or the machine, it is sent when there is a broker again, in order.
//
//     deno run -A examples/sensor.ts [host or URL] [file of the store]

import process from "node:process";
import { connect, fileStore } from "../mod.ts";

const [broker = "localhost", file = "sensor.mqtt"] = process.argv.slice(2);
const mqtt = await connect(broker, undefined, {
  id: "demo-sensor", // with the store, it is what makes the next process the same client
  session: true,
  store: fileStore(file, { sync: "disk" }), // "os" is faster, and survives the process, but not always the machine
  offline: true, // connect() does not wait for the broker
  reconnect: { maxDelay: 10_000 },
  onstatus: (status) => console.log(status.type),
});

let isOn = true;
process.once("SIGTERM", () => isOn = false);
for (let degrees = 20; isOn; degrees += Math.random() - 0.5) {
  const reading = JSON.stringify({ time: new Date(), degrees: Number(degrees.toFixed(1)) });
  await mqtt.publish("demo/sensor/reading", reading, { qos: 1, until: "stored" });
  console.log(`stored ${reading}`);
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await mqtt.disconnect(); // what is not sent by then stays in the store
