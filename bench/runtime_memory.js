/**
 * What memory stays for a while after nobody needs it, with nothing of ours: `runtime_memory.js how count`. Prints the
 * resident memory that was added at most, in MiB. How: `fresh`, so many times 1 MiB that is shared with a thread, one after
 * the other, each of them written to; `same`, the same memory each time; `dropped`, so many times 256 KiB, not shared.
 */
// deno-lint-ignore-file no-console
import process from "node:process";
import { Worker } from "node:worker_threads";

const [how, count] = process.argv.slice(2);
const SHARED = 1_048_576, BLOCK = 262_144, FIRST = 20;

function makeSharer() {
  const worker = new Worker(
    `process.getBuiltinModule("node:worker_threads").parentPort.on("message", ({ memory, port }) => {
      new Uint8Array(memory).fill(1);
      port.postMessage("done");
      port.close();
    });`,
    { eval: true },
  );
  const one = new SharedArrayBuffer(SHARED);
  return async () => {
    const { port1, port2 } = new MessageChannel();
    const memory = how === "fresh" ? new SharedArrayBuffer(SHARED) : one;
    await new Promise((resolve) => {
      port1.onmessage = resolve;
      worker.postMessage({ memory, port: port2 }, [port2]);
    });
    port1.close();
  };
}

/** As a client reads: some blocks in one turn of the event loop, and of the last one a part is still there. */
function makeReader() {
  let last, made = 0;
  return async () => {
    last = new Uint8Array(BLOCK).fill(1).subarray(0, 4096);
    if (++made % 8 === 0) await new Promise((resolve) => setTimeout(resolve));
    return last;
  };
}

const step = how === "dropped" ? makeReader() : makeSharer();
let before = 0, most = 0;
for (let i = 0; i < FIRST + Number(count); i++) {
  if (i === FIRST) before = most;
  await step();
  most = Math.max(most, process.memoryUsage().rss);
}
console.log((most - before) / 2 ** 20);
process.exit();
