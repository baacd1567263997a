// Messages in a loop of one's own: while it is busy the broker is held back, and leaving it unsubscribes.
//
//     deno run -A examples/iterator.ts [host or URL]

import process from "node:process";
import { connect } from "../mod.ts";

interface Order {
  id: number;
  what: string;
}

const mqtt = await connect(process.argv[2] ?? "localhost");
const orders = mqtt.messages("demo/orders/+", { limit: 10 });
for (const [i, what] of ["tea", "milk", "sugar", "nothing more"].entries()) {
  await mqtt.publish(`demo/orders/${i + 1}`, JSON.stringify({ id: i + 1, what }));
}

for await (const message of orders) {
  const order = message.json<Order>();
  console.log(`${message.topic}: ${order.what}`);
  if (order.what === "nothing more") break;
}
await mqtt.disconnect();
console.log("done");
