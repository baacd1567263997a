/** The long form: `deno run -A tests/faults/main.ts [--rounds 100] [--seed 1]`; on Bun the same, on Node the built copy. */
import { parseArgs } from "node:util";
import { Random } from "../support/random.ts";
import { faults, round, swapCertificate } from "./faults.ts";

const { values } = parseArgs({ options: { rounds: { type: "string" }, seed: { type: "string" } } });
const rounds = Number(values.rounds ?? 100);
const random = new Random(Number(values.seed ?? 1));
const names = Object.keys(faults);
for (let i = 0; i < rounds; i++) {
  const name = names[i % names.length]!;
  console.log(`${String(i + 1).padStart(4)} ${name}: ${await round(name, random)}`);
}
await swapCertificate();
console.log("     another certificate: no credentials were sent");
