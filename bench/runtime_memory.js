/**
 * What memory that is shared with a thread takes, with nothing of ours: `runtime_memory.js fresh|same count`. So many times
 * 1 MiB, one after the other, each of them written to; prints the resident memory that it has added at most, in MiB.
 */
// deno-lint-ignore-file no-console
import process from "node:process";
import { Worker } from "node:worker_threads";

const [how, count] = process.argv.slice(2);
const SIZE = 1_048_576, FIRST = 20;
const worker = new Worker(
  `process.getBuiltinModule("node:worker_threads").parentPort.on("message", ({ memory, port }) => {
    new Uint8Array(memory).fill(1);
    port.postMessage("done");
    port.close();
  });`,
  { eval: true },
);
const one = new SharedArrayBuffer(SIZE);
let before = 0, most = 0;
for (let i = 0; i < FIRST + Number(count); i++) {
  if (i === FIRST) before = most;
  const { port1, port2 } = new MessageChannel();
  const memory = how === "fresh" ? new SharedArrayBuffer(SIZE) : one;
  await new Promise((resolve) => {
    port1.onmessage = resolve;
    worker.postMessage({ memory, port: port2 }, [port2]);
  });
  port1.close();
  most = Math.max(most, process.memoryUsage().rss);
}
console.log((most - before) / 2 ** 20);
process.exit();
