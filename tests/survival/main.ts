/**
 * The long form: `deno run -A tests/survival/main.ts [--kills 200] [--only NAME] [--seed 1]`: each kind of client, killed
 * so many times; the broker stopped or killed in between, too; over a long line; at each flush; and with a backlog.
 * `--only` takes a pattern of names, more than once: `--only far --only "connectSync$"`. On Bun the same, on Node the built copy.
 */
import { parseArgs } from "node:util";
import { Random } from "../support/random.ts";
import { sendBacklog } from "./backlog.ts";
import { killAtEachFlush } from "./boundaries.ts";
import { kinds } from "./kinds.ts";
import { describe, survive } from "./survival.ts";
import { modes } from "./task.ts";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "200" },
    only: { type: "string", multiple: true, default: [""] },
    seed: { type: "string", default: "1" },
  },
});
const random = new Random(Number(values.seed));

const runs: Record<string, () => Promise<string>> = {};
for (const [name, kind] of Object.entries(kinds)) {
  runs[name] = async () => describe(await survive({ ...kind, kills: Number(values.kills), random }));
}
for (const mode of modes.filter((mode) => mode !== "module")) {
  for (const when of ["before", "after"] as const) {
    runs[`${mode}, ${when} each flush`] = async () => JSON.stringify(await killAtEachFlush({ mode, when, random }));
  }
}
for (const mode of modes) {
  runs[`${mode}, backlog`] = async () => JSON.stringify(await sendBacklog({ mode, count: 2000, random }));
}
for (const [name, run] of Object.entries(runs)) {
  if (!values.only.some((part) => new RegExp(part).test(name))) continue;
  const start = performance.now();
  const text = await run();
  console.log(`${name}: ${text}; ${((performance.now() - start) / 1000).toFixed(0)} s`);
}
