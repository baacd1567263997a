/**
 * The long form: `deno run -A tests/storm/main.ts [--clients 1000000] [--seed 1] [--svg docs/storm.svg]`: a storm in
 * virtual time, as a table, curves and a drawing. On Bun the same, on Node the built copy.
 *
 * `--real 1000` instead: so many real clients, a real broker that is stopped, and started again.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { draw } from "./chart.ts";
import { crowd, describe } from "./crowd.ts";
import { cases, curve, runCase, table } from "./report.ts";

const { values } = parseArgs({
  options: {
    clients: { type: "string" },
    seed: { type: "string" },
    svg: { type: "string" },
    real: { type: "string" },
  },
});
if (values.real === undefined) {
  const clients = Number(values.clients ?? 1_000_000), seed = Number(values.seed ?? 1);
  const results = cases.map((each) => {
    const result = runCase(each, clients, seed);
    console.log(`${curve(result)}\n`);
    return result;
  });
  console.log(table(results, clients));
  if (values.svg !== undefined) writeFileSync(values.svg, draw(results, clients.toLocaleString("en")));
} else {
  console.log(describe(await crowd(Number(values.real))));
}
