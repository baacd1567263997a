/**
 * Plays histories: `deno run -A tests/simulation/main.ts [--seeds 10000] [--from 1]`. The first that breaks an
 * invariant is played again and printed.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { LoopClient } from "../../src/client.ts";
import { MqttError } from "../../src/errors.ts";
import { parseSettings } from "../../src/settings.ts";
import { type Library, type Outcome, play } from "./history.ts";

/** The sources. */
export const library = { LoopClient, parseSettings, MqttError } as unknown as Library;

/** Plays `count` histories from a seed on; throws with the history of the first that fails. */
export async function simulate(
  from: number,
  count: number,
  using: Library = library,
  each: (outcome: Outcome) => void = () => {},
): Promise<void> {
  for (let seed = from; seed < from + count; seed++) {
    try {
      each(await play(seed, using));
    } catch (error) {
      const lines: string[] = [];
      const again = await play(seed, using, (line) => lines.push(line)).then(() => "nothing", (error) => error.message);
      const message = (error as Error).message;
      throw new Error(
        `Seed ${seed}: ${message}${again === message ? "" : `, and then ${again}`}\n${
          lines.slice(-3000).join("\n")
        }\n` +
          `Again: deno run -A tests/simulation/main.ts --from ${seed} --seeds 1\n${(error as Error).stack}`,
      );
    }
  }
}

if (import.meta.main) {
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
}
