/** Processes that end with the program that started them, however that ends. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { connect, createServer } from "node:net";
import { delimiter, join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";

export interface Child {
  /** Ends it at once, with SIGKILL: it can do nothing about it. Resolves when it is gone. */
  kill(): Promise<void>;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
}

/** A shell starts the command and tells its process id; when our end of the pipe closes, it kills that. */
const guard = `"$@" </dev/null 3<&- & p=$!
echo $p
(read -r _ <&3; kill -9 $p) >/dev/null 2>&1 &
wait $p 2>/dev/null`;

/** Starts a command; `online` gets each line of its standard output. Resolves when it has been started. */
export async function startChild(command: string, args: string[], online?: (line: string) => void): Promise<Child> {
  const shell = spawn("/bin/sh", ["-c", `exec 3<&0\n${guard}`, "sh", command, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve, reject) => shell.on("exit", () => resolve()).on("error", reject));
  const pid = await new Promise<number>((resolve) => {
    let told = false;
    createInterface({ input: shell.stdout }).on("line", (line) => {
      if (told) return online?.(line);
      told = true;
      resolve(Number(line));
    });
  });
  let gone = false;
  const over = ended.then(() => {
    gone = true;
    shell.stdin.end();
  });
  return {
    ended: over,
    async kill() {
      if (!gone) process.kill(pid, "SIGKILL");
      await over;
    },
  };
}

/** Starts a script on the runtime that runs this program. Resolves when it has printed the line `ready`. */
export async function startScript(file: string, args: string[], online: (line: string) => void): Promise<Child> {
  const runtime = "Deno" in globalThis ? ["run", "-q", "-A", "--no-lock"] : [];
  let ready = () => {};
  const isReady = new Promise<void>((resolve) => ready = resolve);
  const child = await startChild(process.execPath, [...runtime, file, ...args], (line) => {
    if (line === "ready") ready();
    else online(line);
  });
  const ended = child.ended.then(() => {
    throw new Error(`${file} has ended before it was ready`);
  });
  await Promise.race([isReady, ended]);
  ended.catch(() => {}); // later it may
  return child;
}

/** The path of a server that is installed; Debian keeps servers in sbin. */
export function find(command: string, debian: string): string {
  const folders = [
    ...(process.env["PATH"] ?? "").split(delimiter),
    "/usr/sbin",
    "/usr/local/sbin",
    "/opt/homebrew/sbin",
  ];
  const path = folders.map((folder) => join(folder, command)).find((path) => existsSync(path));
  if (path !== undefined) return path;
  console.error(`This example needs ${command}. Install it: apt-get install ${debian}, or: brew install ${debian}`);
  process.exit(1);
}

/** Resolves when a server accepts connections. */
export async function untilOpen(port: number, server: Child): Promise<void> {
  let ended = false;
  void server.ended.then(() => ended = true);
  while (!ended) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => {
        resolve(true);
        socket.destroy();
      }).on("error", () => resolve(false));
    });
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`The server on port ${port} has ended`);
}

/** A port of the loopback interface nobody listens on, and that the system does not take for outgoing connections. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const isFree = await new Promise<boolean>((resolve) => {
      const server = createServer().on("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}
