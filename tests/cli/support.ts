/** Runs the command line as people do: in a shell, on the runtime that runs the test. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Process, run, startProcess } from "../support/process.ts";
import { type ServerProcess, startMosquitto } from "../support/servers.ts";
import { command } from "../support/spawn.ts";

export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

/** The command, as a shell takes it. */
export const commandLine: string = command("cli/main.ts", []).flat().map(quote).join(" ");

/** A script in which `mqtt3c` is the command; $1 and so on are the arguments. */
function shell(script: string, args: string[]): [string, string[]] {
  return ["sh", ["-c", `mqtt3c() { ${commandLine} "$@"; }\n${script}`, "sh", ...args]];
}

/** Nothing of the environment that runs the tests. */
const clean = { MQTT_URL: undefined, MQTT_USER: undefined, MQTT_PASSWORD: undefined, NO_COLOR: undefined };

/** Runs a script to its end: `"$@"` are the arguments. */
export function runShell(script: string, args: string[] = [], env: Record<string, string> = {}): Promise<Result> {
  return run(...shell(script, args), { env: { ...clean, ...env }, deadline: 60_000 });
}

/** Runs one command to its end. */
export function mqtt3c(args: string[], env: Record<string, string> = {}): Promise<Result> {
  return run(...command("cli/main.ts", args), { env: { ...clean, ...env }, deadline: 60_000 });
}

/** mosquitto that lets everybody do what these lines of its acl_file say, and nothing else. */
export async function withRules(rules: string, act: (broker: ServerProcess) => Promise<unknown>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-rules-"));
  const file = join(dir, "rules");
  writeFileSync(file, `${rules}\n`, { mode: 0o600 });
  try {
    await withMosquitto({ config: `acl_file ${file}` }, act);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Starts one command; `stop()` ends it. Signals reach the command itself. */
export function startCommand(args: string[], env: Record<string, string> = {}): Promise<Process> {
  const [file, rest] = command("cli/main.ts", args);
  return startProcess(file, rest, { env: { ...clean, ...env } });
}

/** With a broker that keeps all that is on its way; mosquitto itself keeps 1,000 messages for each client. */
export async function withMosquitto(
  options: Parameters<typeof startMosquitto>[0],
  act: (broker: ServerProcess) => Promise<unknown>,
): Promise<void> {
  const broker = await startMosquitto({ ...options, config: `max_queued_messages 0\n${options?.config ?? ""}` });
  try {
    await act(broker);
  } finally {
    await broker.stop();
  }
}
