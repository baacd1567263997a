/** Starts a broker and the process under load, and passes on what it reports. */
import { startMosquitto } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";

export const modes = ["connect", "connectWorker", "connectWorker with a module", "connectSync"] as const;

/** A process at a moment: mebibytes, resident and used by this thread's objects, open files, threads, messages so far, and latencies in milliseconds. */
export interface Moment {
  seconds: number;
  rss: number;
  used: number;
  files: number;
  threads: number;
  messages: number;
  p50: number;
  p99: number;
}

/** Runs one mode for so many seconds; the last moment is after the end, when everything is closed. */
export async function soak(
  mode: (typeof modes)[number],
  seconds: number,
  every: number,
  each: (moment: Moment) => void = () => {},
): Promise<Moment[]> {
  const broker = await startMosquitto({ quiet: true, config: "set_tcp_nodelay true" }); // or latencies are those of delayed acknowledgements
  const child = await startScript("tests/soak/child.ts", [mode, `${broker.port}`, `${seconds}`, `${every}`]);
  try {
    const moments: Moment[] = [];
    child.lines((line) => {
      const moment = JSON.parse(line) as Moment;
      moments.push(moment);
      each(moment);
    });
    const code = await child.exited;
    if (code !== 0) throw new Error(`${mode} ended with ${code}: ${child.stdout()}${child.stderr()}`);
    return moments;
  } finally {
    await child.stop();
    await broker.stop();
  }
}
