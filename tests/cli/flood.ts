/** Numbered lines through a real mosquitto: `pub -l -q 1` to `sub -q 1`, ours and mosquitto's own. */
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { patience, run, startProcess } from "../support/process.ts";
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
      const code = await reader.exited;
      const seconds = (performance.now() - began) / 1000;
      const failure = `${published.stderr}${reader.stderr()}`;
      const wrong = published.code || code
        ? `status ${published.code} and ${code}: ${failure}`
        : await compare(to, lines);
      result = { seconds, wrong };
    });
    return result!;
  } finally {
    rmSync(dir, { recursive: true });
  }
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
