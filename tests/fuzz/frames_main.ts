/** The long form: `deno run -A tests/fuzz/frames_main.ts [--inputs 1000000] [--seed 1]`. */
import { parseArgs } from "node:util";
import { fuzzFrames } from "./frames.ts";

const { values } = parseArgs({ options: { inputs: { type: "string" }, seed: { type: "string" } } });
const count = Number(values.inputs ?? 1_000_000);
let seed = Number(values.seed ?? 1);
const start = performance.now();
for (let done = 0; done < count; seed++) {
  const { inputs, bytes, transported, ends, differences } = await fuzzFrames(seed, Math.min(100_000, count - done));
  done += inputs;
  const seconds = Math.round((performance.now() - start) / 1000);
  const all = `${done} inputs, ${bytes} bytes of payloads, ${transported} through the transport, ${seconds} s`;
  console.log(`seed ${seed}: ${all}; ${list(ends)}; ${list(differences)}`);
}

function list(counts: Map<string, number>): string {
  return [...counts].sort((a, b) => b[1] - a[1]).map(([what, count]) => `${what}: ${count}`).join(", ");
}
