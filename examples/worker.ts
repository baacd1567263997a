// The client in a thread of its own, with its module: while the program computes, the thread answers for it.
//
//     deno run -A examples/worker.ts [host or URL]

import process from "node:process";
import { connectWorker } from "../mod.ts";

const onpub = new URL("./worker_onpub.ts", import.meta.url); // its messages do not touch this thread
const url = process.argv[2] ?? "localhost";
const mqtt = await connectWorker(url, onpub, { keepalive: 1 }); // the broker hangs up after 1.5 s of silence
await mqtt.subscribe("demo/thread");
await mqtt.publish("demo/thread", "hello, thread");
await mqtt.subscribe("demo/main", { onpub: (_topic, message) => console.log(`here: ${message.text()}`) });

let primes = 0;
for (let n = 2, start = performance.now(); performance.now() - start < 3000; n++) {
  let divisor = 2;
  while (divisor * divisor <= n && n % divisor !== 0) divisor++;
  if (divisor * divisor > n) primes++;
}
console.log(`computed for 3 s: ${primes > 1000 ? "many primes" : "some primes"}`);
await mqtt.publish("demo/main", "the connection is still there");
await mqtt.unsubscribe("demo/main");
await mqtt.disconnect();
console.log(`the connection has ended: ${(await mqtt.run()).code}`);
