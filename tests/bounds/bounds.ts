/** Runs a scenario of `child.ts`, or `waiter.ts`, against a broker of ours, and says how much memory it took. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runScript } from "../support/spawn.ts";
import { type FloodOptions, startFlood } from "./flood.ts";

export interface Measured {
  /** Mebibytes of resident memory more than before, at the most. */
  grown: number;
  result: unknown;
  /** Bytes that the broker has sent. */
  sent: number;
}

/** A scenario of `child.ts`. */
export function measure(scenario: string, count = 0): Promise<Measured> {
  const how = { deaf: scenario === "stalled", stubborn: scenario === "untaken" };
  return measureScript("tests/bounds/child.ts", [scenario], [`${count}`], how);
}

/** A flood into handlers of a mode that wait, as `waiter.ts` has it. */
export function measureWaiting(mode: string, what: string): Promise<Measured> {
  // Threads may write to it until their process has ended.
  const folder = mkdtempSync(join(tmpdir(), "mqtt3c-waits-"));
  return measureScript("tests/bounds/waiter.ts", [mode], [folder, what])
    .finally(() => rmSync(folder, { recursive: true }));
}

async function measureScript(
  script: string,
  before: string[],
  after: string[],
  options: FloodOptions = {},
): Promise<Measured> {
  const flood = await startFlood(options);
  try {
    const args = [...before, `${flood.port}`, ...after];
    const { code, stdout, stderr } = await runScript(script, args, { deadline: 300_000 });
    if (code !== 0) throw new Error(`${args}: ${code} ${stdout}${stderr}`);
    return { ...JSON.parse(stdout), sent: flood.sent };
  } finally {
    await flood.stop();
  }
}
