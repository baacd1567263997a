/**
 * The long form: `deno run -A tests/bounds/main.ts [--clients 10000] [--subscriptions 100000]`. Each client takes two
 * file descriptors in all: `ulimit -n 65536` first.
 */
import { parseArgs } from "node:util";
import { measure, type Measured, measureWaiting } from "./bounds.ts";

const { values } = parseArgs({ options: { clients: { type: "string" }, subscriptions: { type: "string" } } });
const counts: Record<string, number> = {
  untaken: 4080,
  clients: Number(values.clients ?? 10_000),
  subscriptions: Number(values.subscriptions ?? 100_000),
};

async function report(name: string, measured: Promise<Measured>): Promise<void> {
  const start = performance.now();
  const { grown, result, sent } = await measured;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${name.padEnd(30)} ${grown} MiB, ${sent} bytes of flood, ${seconds} s: ${JSON.stringify(result)}`);
}

for (
  const scenario of ["callback", "iterator", "blocked", "stalled", "untaken", "promise", "subscriptions", "clients"]
) {
  await report(`${scenario} ${counts[scenario] ?? ""}`, measure(scenario, counts[scenario]));
}
for (const mode of ["connect", "connectWorker", "a module", "a module's caller", "connectSync"]) {
  for (const what of ["2", "3000", "never", "survivors"]) {
    const isNone = what === "survivors" && (mode === "a module" || mode === "connectSync");
    if (!isNone) await report(`${mode}, ${what}`, measureWaiting(mode, what));
  }
}
