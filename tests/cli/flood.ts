/** Numbered lines through a real mosquitto: `pub -l -q 1` to `sub -q 1`, ours and mosquitto's own. */
import { createReadStream, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { patience, type Process, run, startProcess } from "../support/process.ts";
import type { ServerProcess } from "../support/servers.ts";
import { commandLine, withMosquitto } from "./support.ts";

/** The two commands, each followed by its options. */
const commands = {
  mqtt3c: { pub: `${commandLine} pub`, sub: `${commandLine} sub` },
  mosquitto: { pub: "mosquitto_pub", sub: "mosquitto_sub" },
};

export interface Flood {
  /** Until the last line was written, from when the first could be read. */
  seconds: number;
  /** So many were written. */
  lines: number;
  /** What is wrong with what was written; undefined if it is complete and in order. */
  wrong: string | undefined;
}

/** Sends numbers from 1 through a broker that drops none. */
export async function flood(client: keyof typeof commands, lines: number): Promise<Flood> {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-flood-"));
  const from = join(dir, "from"), to = join(dir, "to");
  const { pub, sub } = commands[client];
  let result: Flood | undefined;
  try {
    writeNumbers(from, lines);
    // A line for each packet would take it longer than the packet.
    await withMosquitto({ config: "log_type none\nlog_type subscribe" }, async (broker) => {
      const at = `-h 127.0.0.1 -p ${broker.port} -t flood -q 1`;
      const reader = await startProcess("sh", ["-c", `exec ${sub} ${at} -C ${lines} > "$1"`, "sh", to]);
      await subscribed(broker, "flood");
      const began = performance.now();
      const published = await run("sh", ["-c", `${pub} ${at} -l < "$1"`, "sh", from], { deadline: 30 * 60_000 });
      const { code, seconds } = await untilIdle(reader, to, began);
      const failure = `${published.stderr}${reader.stderr()}`;
      const wrong = await compare(to, lines) ??
        (published.code || code ? `status ${published.code} and ${code}: ${failure}` : undefined);
      const written = readFileSync(to, "latin1").split("\n").length - 1;
      result = { seconds, lines: written, wrong };
    });
    return result!;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Waits until it has ended, or writes no more: mosquitto_pub ends before all that it has read is sent. */
async function untilIdle(reader: Process, file: string, began: number): Promise<{ code: number; seconds: number }> {
  let code: number | undefined, size = 0, last = performance.now();
  const ended = reader.exited.then((status) => code = status);
  while (code === undefined && performance.now() - last < patience / 2) {
    const now = statSync(file).size;
    if (now !== size) last = performance.now();
    size = now;
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 50))]);
  }
  const end = code === undefined ? last : performance.now();
  await reader.stop();
  return { code: await reader.exited, seconds: (end - began) / 1000 };
}

/** Writes the numbers from 1, one a line, each so wide. */
export function writeNumbers(file: string, lines: number, width = 0): void {
  writeFileSync(file, Array.from({ length: lines }, (_, i) => `${`${i + 1}`.padStart(width)}\n`).join(""));
}

/** Waits until the broker has a subscription to the topic; its log says so. */
export function subscribed(broker: ServerProcess, topic: string): Promise<void> {
  return eventually(() => new RegExp(` \\d ${topic}$`, "m").test(broker.log()), `subscription to ${topic}`);
}

/** Looks until it holds. */
export async function eventually(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const start = performance.now(); !await holds();) {
    if (performance.now() - start > 3 * patience) throw new Error(`No ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Whether a file has the numbers from 1 in order, without one missing or twice. */
export async function compare(file: string, lines: number): Promise<string | undefined> {
  let count = 0;
  for await (const line of createInterface({ input: createReadStream(file) })) {
    if (line.trimStart() !== `${++count}`) return `line ${count} is ${line}`;
  }
  return count === lines ? undefined : `${count} lines of ${lines}`;
}
