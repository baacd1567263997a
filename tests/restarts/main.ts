/**
 * The long form: `deno run -A tests/restarts/main.ts [--restarts 100] [--qos 2] [--signal SIGKILL] [--seed 1]`: mosquitto
 * restarted under load, by each signal at each QoS. On Bun the same, on Node the built copy.
 */
import { parseArgs } from "node:util";
import { Random } from "../support/random.ts";
import { describe, restart } from "./restarts.ts";

const { values } = parseArgs({
  options: {
    restarts: { type: "string" },
    qos: { type: "string" },
    signal: { type: "string" },
    seed: { type: "string" },
  },
});
const restarts = Number(values.restarts ?? 100), random = new Random(Number(values.seed ?? 1));
for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  for (const qos of [0, 1, 2] as const) {
    if (values.signal !== undefined && values.signal !== signal) continue;
    if (values.qos !== undefined && Number(values.qos) !== qos) continue;
    console.log(`${signal}: ${describe(await restart({ qos, restarts, signal, random }))}`);
  }
}
