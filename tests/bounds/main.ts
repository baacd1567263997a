/**
 * The long form: `deno run -A tests/bounds/main.ts [--clients 10000] [--subscriptions 100000]`. Each client takes two
 * file descriptors in all: `ulimit -n 65536` first.
 */
import { parseArgs } from "node:util";
import { measure } from "./bounds.ts";

const { values } = parseArgs({ options: { clients: { type: "string" }, subscriptions: { type: "string" } } });
const counts: Record<string, number> = {
  clients: Number(values.clients ?? 10_000),
  subscriptions: Number(values.subscriptions ?? 100_000),
};
for (const scenario of ["callback", "iterator", "blocked", "stalled", "promise", "subscriptions", "clients"]) {
  const start = performance.now();
  const { grown, result, sent } = await measure(scenario, counts[scenario]);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const name = `${scenario} ${counts[scenario] ?? ""}`;
  console.log(`${name.padEnd(20)} ${grown} MiB, ${sent} bytes of flood, ${seconds} s: ${JSON.stringify(result)}`);
}
