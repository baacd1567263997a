/** Child processes that never outlive the process that started them. */
import { spawn } from "node:child_process";
import { accessSync, constants, readdirSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";

/** How long anything here waits for something to happen, in milliseconds. */
export const patience = 20_000;

export interface Process {
  /** The command's own process identifier. */
  pid: number;
  /** What it printed so far. */
  stdout(): string;
  stderr(): string;
  /** Waits until its whole output matches; rejects when it ends or patience does. */
  output(pattern: RegExp): Promise<RegExpExecArray>;
  /** Calls back with each line of standard output, those already there first. */
  lines(callback: (line: string) => void): void;
  kill(signal: NodeJS.Signals): void;
  /** Resolves with the exit code (128 + n after signal n), its output complete. */
  exited: Promise<number>;
  /** Ends it, stopped or not, and waits until it is gone. */
  stop(): Promise<void>;
}

export interface ProcessOptions {
  cwd?: string;
  env?: Record<string, string | undefined>;
}

/** A shell prints its pid and becomes the command; a watchdog kills it when our end of the pipe closes. */
const guard = `exec 3<&0; sh -c 'echo $$; exec "$0" "$@"' "$@" </dev/null 3<&- & p=$!
(while read -r _; do :; done; kill -9 $p) <&3 >/dev/null 2>&1 3<&- & wait $p 2>/dev/null`;

/** Held until they end: were one collected as garbage, its pipe would close and the watchdog act. */
const running = new Set<unknown>();

export async function startProcess(
  command: string,
  args: string[] = [],
  options: ProcessOptions = {},
): Promise<Process> {
  const child = spawn("/bin/sh", ["-c", guard, "sh", command, ...args], {
    ...(options.cwd ? { cwd: options.cwd } : {}),
    env: { ...process.env, ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  running.add(child);
  const texts = { stdout: "", stderr: "" };
  const listeners = new Set<() => void>();
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      texts[name] += text;
      for (const listener of listeners) listener();
    });
  }
  child.stdin.on("error", () => {}); // the guard ended first
  let ended = false;
  const exited = new Promise<number>((resolve, reject) => {
    child.on("error", reject).on("close", (code, signal) => {
      ended = true;
      running.delete(child);
      resolve(code ?? (signal ? 128 : -1));
      for (const listener of listeners) listener();
    });
  });
  const describe = () => `${command} ${args.join(" ")}\n${texts.stdout}${texts.stderr}`;

  function output(pattern: RegExp, read: () => string = () => stdout() + texts.stderr): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => finish(new Error(`No ${pattern} within ${patience} ms from ${describe()}`)),
        patience,
      );
      const finish = (result: RegExpExecArray | Error) => {
        clearTimeout(timer);
        listeners.delete(look);
        if (result instanceof Error) reject(result);
        else resolve(result);
      };
      const look = () => {
        const match = pattern.exec(read());
        if (match) finish(match);
        else if (ended) finish(new Error(`Ended without ${pattern}: ${describe()}`));
      };
      listeners.add(look);
      look();
    });
  }

  const head = await output(/^(\d+)\n/, () => texts.stdout);
  const pid = Number(head[1]);
  const stdout = () => texts.stdout.slice(head[0].length);
  return {
    pid,
    stdout,
    stderr: () => texts.stderr,
    output,
    lines(callback) {
      let line = ""; // grows by whole chunks: a line of 16 MiB is not searched again for each
      const feed = (text: string) => {
        const parts = text.split("\n");
        parts[0] = line + parts[0];
        line = parts.pop()!;
        parts.forEach(callback);
      };
      child.stdout.on("data", feed);
      feed(stdout());
    },
    kill: (signal) => void (ended || process.kill(pid, signal)),
    exited,
    async stop() {
      child.stdin.end();
      await exited;
    },
  };
}

/** Runs a command to its end; ends it after `patience` or the given time. */
export async function run(
  command: string,
  args: string[] = [],
  options: ProcessOptions & { deadline?: number } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = await startProcess(command, args, options);
  const timer = setTimeout(() => child.stop(), options.deadline ?? patience);
  const code = await child.exited;
  clearTimeout(timer);
  await child.stop();
  return { code, stdout: child.stdout(), stderr: child.stderr() };
}

/** The command's path, or undefined when it is not installed; Debian keeps daemons in sbin. */
export function which(command: string): string | undefined {
  const folders = [
    ...(process.env["PATH"] ?? "").split(delimiter),
    "/usr/sbin",
    "/usr/local/sbin",
    "/opt/homebrew/sbin",
  ];
  return folders.map((folder) => join(folder, command)).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * The option of a test that needs these commands: `test(name, needs("mosquitto"), ...)`. On a
 * user's machine the test is left out and the runner says what to install; in CI it fails.
 */
export function needs(...commands: string[]): { skip?: string } {
  const missing = process.env["CI"] ? [] : commands.filter((command) => !which(command));
  return missing.length ? { skip: `needs ${missing.join(", ")}` } : {};
}

/** Bun comes from npm; its binary is in a package of its own for each platform, with two C libraries on Linux. */
export async function bunBinary(): Promise<string> {
  const bun = dirname(realpathSync(createRequire(import.meta.url).resolve("bun/package.json")));
  const folder = join(bun, "..", "@oven");
  for (const name of readdirSync(folder)) {
    const binary = join(folder, name, "bin", "bun");
    if ((await run(binary, ["--version"])).code === 0) return binary;
  }
  throw new Error("The npm package bun has no binary for this platform");
}
