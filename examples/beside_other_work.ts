// The loop beside other work: it needs no thread and no call; who wants to know its end awaits run().
//
//     deno run -A examples/beside_other_work.ts [host or URL]

import process from "node:process";
import { connect } from "../mod.ts";

const mqtt = await connect(process.argv[2] ?? "localhost", (_topic, message) => console.log(`heard ${message.text()}`));
const ended = mqtt.run().then((end) => console.log(`the connection has ended: ${end.code}`));
await mqtt.subscribe("demo/count");

for (let i = 1; i <= 3; i++) {
  console.log(`working on ${i}`);
  await mqtt.publish("demo/count", `${i}`);
  await new Promise((done) => setTimeout(done, 300)); // meanwhile the messages come
}
await mqtt.disconnect();
await ended;
console.log("and the work goes on");
