/** `deno run -A tests/cli/main.ts --lines 1000000`: complete, in order, and how fast, beside mosquitto's own commands. */
import process from "node:process";
import { parseArgs } from "node:util";
import { flood } from "./flood.ts";

const { values } = parseArgs({ options: { lines: { type: "string", default: "1000000" } } });
const lines = Number(values.lines);
for (const client of ["mqtt3c", "mosquitto"] as const) {
  const { seconds, lines: written, wrong } = await flood(client, lines);
  const rate = Math.round(written / seconds).toLocaleString("en");
  console.log(`${client.padEnd(10)} ${seconds.toFixed(1)} s, ${rate} a second, ${wrong ?? "complete and in order"}`);
  if (wrong !== undefined && client === "mqtt3c") process.exitCode = 1;
}
