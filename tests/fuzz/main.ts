/** The long form: `deno run -A tests/fuzz/main.ts [--inputs 10000000] [--seed 1]`. */
import { parseArgs } from "node:util";
import { fuzz } from "./fuzz.ts";

const { values } = parseArgs({ options: { inputs: { type: "string" }, seed: { type: "string" } } });
const count = Number(values.inputs ?? 10_000_000);
let seed = Number(values.seed ?? 1);
const start = performance.now();
for (let done = 0; done < count; seed++) {
  const { inputs, packets, errors, differences } = await fuzz(seed, Math.min(1_000_000, count - done));
  done += inputs;
  const seconds = Math.round((performance.now() - start) / 1000);
  console.log(`seed ${seed}: ${done} inputs, ${packets} packets, ${seconds} s; ${list(errors)}; ${list(differences)}`);
}

function list(counts: Map<string, number>): string {
  return [...counts].sort((a, b) => b[1] - a[1]).map(([what, count]) => `${what} ${count}`).join(", ");
}
