// One worker of several that share a stream: each message goes to one of them. It is acknowledged when the handler is
// done, and the broker keeps the session, so what a worker had in hand when it was killed comes again when it is back:
// start it with the same name, as a service manager does. Give each worker a name of its own.
//
//     deno run -A examples/shared_worker.ts [host or URL] [name]

import process from "node:process";
import { connect } from "../mod.ts";

const [broker = "localhost", name = "worker-1"] = process.argv.slice(2);
const mqtt = await connect(broker, undefined, { id: name, session: true, reconnect: true });
process.once("SIGTERM", () => void mqtt.disconnect({ drain: true })); // what it has in hand is done first

await mqtt.subscribe("$share/workers/demo/work", {
  qos: 1,
  async onpub(_topic, message) {
    await new Promise((resolve) => setTimeout(resolve, 2)); // the work
    console.log(`done ${message.text()}`);
  },
});
console.log("ready");
const end = await mqtt.run();
console.log(`the connection has ended: ${end.code}`);
