/** The long form: `deno run -A tests/simulation/main.ts [--kind loop|bare|blocking|qos|durable|hints] [--seeds 10000] [--from 1]`. */
import process from "node:process";
import { parseArgs } from "node:util";
import { type Kind, simulate } from "./simulate.ts";

const { values } = parseArgs({
  options: { kind: { type: "string" }, seeds: { type: "string" }, from: { type: "string" } },
});
const kind = (values.kind ?? "loop") as Kind;
const seeds = Number(values.seeds ?? 10_000), from = Number(values.from ?? 1);
const start = performance.now();
const codes = new Map<string | number, number>();
let steps = 0, done = 0;
await simulate(from, seeds, {
  kind,
  each: (outcome) => {
    steps += outcome.steps;
    for (const what of [outcome.code, ...outcome.told]) codes.set(what, (codes.get(what) ?? 0) + 1);
    if (++done % 10_000 === 0) console.log(`${done} histories, ${Math.round((performance.now() - start) / 1000)} s`);
  },
}).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
const seconds = (performance.now() - start) / 1000;
console.log(`${seeds} histories (${kind}) from seed ${from}, ${steps} steps, ${seconds.toFixed(1)} s; with:`);
for (const [code, count] of [...codes].sort((a, b) => b[1] - a[1])) {
  console.log(`${String(count).padStart(8)} ${code}`);
}
