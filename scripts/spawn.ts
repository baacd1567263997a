/** Commands that scripts need. */
import { spawnSync } from "node:child_process";
import process from "node:process";

/** What a command said; throws with all of it when it fails. */
export function spawnOk(command: string, args: string[], cwd: string): { stdout: string; stderr: string } {
  const env = { ...process.env, NO_COLOR: "1" };
  // On Windows npm is a script, which needs a shell.
  const shell = process.platform === "win32";
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, env, encoding: "utf8", shell });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}\n${stdout}${stderr}`, { cause: error });
  return { stdout, stderr };
}
