/**
 * The long form: `deno run -A tests/survival/main.ts [--kills 200] [--only connect,broker,...] [--seed 1]`: each kind of
 * client, killed so many times; the broker killed in between, too; and over a long line. On Bun the same, on Node the
 * built copy.
 */
import { parseArgs } from "node:util";
import { Random } from "../support/random.ts";
import { kinds } from "./kinds.ts";
import { describe, survive } from "./survival.ts";

const { values } = parseArgs({
  options: { kills: { type: "string" }, only: { type: "string" }, seed: { type: "string" } },
});
const kills = Number(values.kills ?? 200), only = values.only?.split(",");
for (const [name, kind] of Object.entries(kinds)) {
  if (only !== undefined && !only.some((part) => name.includes(part))) continue;
  const start = performance.now();
  const outcome = await survive({ ...kind, kills, random: new Random(Number(values.seed ?? 1)) });
  console.log(`${describe(outcome)}; ${((performance.now() - start) / 1000).toFixed(0)} s`);
}
