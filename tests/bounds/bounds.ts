/** Runs a scenario of `child.ts` against a broker of ours, and says how much memory it took. */
import { runScript } from "../support/spawn.ts";
import { startFlood } from "./flood.ts";

export interface Measured {
  /** Mebibytes of resident memory more than before, at the most. */
  grown: number;
  result: unknown;
  /** Bytes that the broker has sent. */
  sent: number;
}

export async function measure(scenario: string, count = 0): Promise<Measured> {
  const flood = await startFlood({ deaf: scenario === "stalled" });
  try {
    const args = [scenario, `${flood.port}`, `${count}`];
    const { code, stdout, stderr } = await runScript("tests/bounds/child.ts", args, { deadline: 300_000 });
    if (code !== 0) throw new Error(`${args}: ${code} ${stdout}${stderr}`);
    return { ...JSON.parse(stdout), sent: flood.sent };
  } finally {
    await flood.stop();
  }
}
