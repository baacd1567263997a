/**
 * What it takes to copy 64 KiB out of memory, with nothing of ours: `runtime_copy.js how`, in microseconds. How: `own`, memory
 * that is not shared; `aligned`, shared memory, from and to addresses that are the same modulo 8; `unaligned`, others; and
 * `fill`, those with `Buffer.fill`.
 */
// deno-lint-ignore-file no-console
import { Buffer } from "node:buffer";
import process from "node:process";

const how = process.argv[2];
const SIZE = 65_536, TIMES = 5000, PLACES = 1024;

const memory = how === "own" ? new ArrayBuffer(2 * SIZE) : new SharedArrayBuffer(2 * SIZE);
const bytes = new Uint8Array(memory), to = Buffer.alloc(2 * SIZE).subarray(0, SIZE);
const start = how === "aligned" ? 0 : 1;

function copy(i) {
  const at = 8 * (i % PLACES) + start, from = bytes.subarray(at, at + SIZE);
  if (how === "fill") to.fill(from);
  else to.set(from);
}

for (let i = 0; i < TIMES; i++) copy(i);
const begun = performance.now();
for (let i = 0; i < TIMES; i++) copy(i);
console.log((performance.now() - begun) * 1000 / TIMES);
