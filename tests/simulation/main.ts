/** The long form: `deno run -A tests/simulation/main.ts [--seeds 10000] [--from 1]`. */
import process from "node:process";
import { parseArgs } from "node:util";
import { library } from "./library.ts";
import { simulate } from "./simulate.ts";

const { values } = parseArgs({ options: { seeds: { type: "string" }, from: { type: "string" } } });
const seeds = Number(values.seeds ?? 10_000), from = Number(values.from ?? 1);
const start = performance.now();
const codes = new Map<string | number, number>();
let steps = 0, done = 0;
await simulate(from, seeds, library, (outcome) => {
  steps += outcome.steps;
  codes.set(outcome.code, (codes.get(outcome.code) ?? 0) + 1);
  if (++done % 10_000 === 0) console.log(`${done} histories, ${Math.round((performance.now() - start) / 1000)} s`);
}).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
const seconds = (performance.now() - start) / 1000;
console.log(`${seeds} histories from seed ${from}, ${steps} steps, ${seconds.toFixed(1)} s; ends:`);
for (const [code, count] of [...codes].sort((a, b) => b[1] - a[1])) {
  console.log(`${String(count).padStart(8)} ${code}`);
}
