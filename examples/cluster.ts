// Clients with a list of addresses, and a cluster of three NATS servers, which this program starts. The node that the
// publisher and a worker are connected to is killed; they go on at another, and nothing that was acknowledged is lost.
// NATS shares no subscriptions over MQTT 3.1.1, so each worker has a topic of its own.
//
//     deno run -A examples/cluster.ts

import { type Client, connect, type OnPublish } from "../mod.ts";
import { startCluster } from "./scaling/nats.ts";
import { Tally, teller } from "./scaling/tally.ts";

const cluster = await startCluster();
const [one, two, three] = cluster.nodes.map(({ address }) => address) as [string, string, string];
const tally = new Tally(600);

/** The cluster keeps the session, whatever node it was on. */
function open(id: string, addresses: string[], onpub?: OnPublish): Promise<Client> {
  const reconnect = { minDelay: 100, maxDelay: 1000 };
  return connect(addresses, onpub, { id, session: true, timeout: 3000, reconnect, onstatus: teller(id) });
}

try {
  const anna = await open(
    "anna",
    [one, two, three],
    (_topic, message) => tally.handled("anna", Number(message.text())),
  );
  const ben = await open("ben", [two, three, one], (_topic, message) => tally.handled("ben", Number(message.text())));
  const publisher = await open("publisher", [one, two, three]);
  await Promise.all([anna.subscribe("demo/anna", { qos: 1 }), ben.subscribe("demo/ben", { qos: 1 })]);
  const published = tally.publish(publisher, (number) => number % 2 ? "demo/anna" : "demo/ben");
  await tally.acknowledged(tally.total / 2);
  await cluster.nodes[0]!.kill();
  console.log(`${one} is killed: ${tally}`);
  await Promise.all([published, tally.complete()]);
  console.log(`at the end: ${tally}`);
  for (const mqtt of [anna, ben, publisher]) await mqtt.disconnect();
} finally {
  await cluster.stop();
}
