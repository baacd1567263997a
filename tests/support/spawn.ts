/** Runs a script of this repository as a child process, on the runtime that runs the test. */
import { join } from "node:path";
import process from "node:process";
import { type Process, type ProcessOptions, run, startProcess } from "./process.ts";

export type Runtime = "deno" | "bun" | "node";

/** The runtime that runs this test. */
export const runtime: Runtime = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";

/** The tree the test is in: the repository, on Node the built copy of it. */
const tree = join(import.meta.dirname!, "..", "..");

/** The command that runs a script, and its arguments. */
export function command(script: string, args: string[]): [string, string[]] {
  const file = join(tree, runtime === "node" ? script.replace(/\.ts$/, ".js") : script);
  return [process.execPath, [...runtime === "deno" ? ["run", "-q", "-A"] : [], file, ...args]];
}

/** Starts `examples/connect.ts`, say; `stop()` ends it, as does the end of the test's process. */
export function startScript(script: string, args: string[] = [], options: ProcessOptions = {}): Promise<Process> {
  return startProcess(...command(script, args), options);
}

/** Runs a script to its end. */
export function runScript(
  script: string,
  args: string[] = [],
  options: ProcessOptions & { deadline?: number } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  return run(...command(script, args), options);
}
