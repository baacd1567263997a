/**
 * The long form: `deno run -A tests/soak/main.ts [--minutes 2] [--mode connect] [--every 60]`: each mode for so long, a
 * line for each interval of so many seconds; ends with 1 if memory, files or latencies have grown. With `--connections 6000`
 * instead: so many connections in a thread, one after the other, a line for each tenth of them.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { connections, type Taken } from "./connections.ts";
import { modes, type Moment, soak } from "./soak.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string" },
    mode: { type: "string" },
    every: { type: "string" },
    connections: { type: "string" },
  },
});
const seconds = 60 * Number(values.minutes ?? 2);
const every = Number(values.every ?? Math.min(60, seconds / 8));

function judge(flat: boolean): void {
  console.log(flat ? "flat\n" : "GROWN\n");
  if (!flat) process.exitCode = 1;
}

async function soakConnections(count: number): Promise<void> {
  console.log("connections  rss MiB");
  const taken = await connections(count, Math.ceil(count / 10), ({ connections, rss }) => {
    console.log(`${connections}`.padStart(11) + `${Math.round(rss)}`.padStart(9));
  });
  const most = (of: Taken[]) => Math.max(...of.map(({ rss }) => rss));
  const half = taken.length >> 1;
  judge(most(taken.slice(half)) <= most(taken.slice(1, half)) * 1.1 + 10);
}

async function soakModes(): Promise<void> {
  for (const mode of modes.filter((mode) => values.mode === undefined || mode === values.mode)) {
    console.log(`${mode}\n   seconds  rss MiB  used MiB  files  threads  messages  p50 ms  p99 ms`);
    const moments = await soak(mode, seconds, every, (moment) => {
      const { seconds, rss, used, files, threads, messages, p50, p99 } = moment;
      const cells = [seconds, rss, used, files, threads, messages, p50.toFixed(2), p99.toFixed(2)];
      console.log(cells.map((cell, i) => String(cell).padStart([10, 9, 10, 7, 9, 10, 8, 8][i]!)).join(""));
    });
    const earlier = moments.slice(1, moments.length >> 1), later = moments.slice(moments.length >> 1, -1);
    const most = (of: Moment[], what: keyof Moment) => Math.max(...of.map((moment) => moment[what]));
    judge(
      most(later, "rss") <= most(earlier, "rss") * 1.1 + 10 &&
        most(later, "used") <= most(earlier, "used") * 1.1 + 2 &&
        most(later, "files") <= most(earlier, "files") + 12 &&
        most(later, "p50") <= most(earlier, "p50") * 10 + 50,
    );
  }
}

if (values.connections === undefined) await soakModes();
else await soakConnections(Number(values.connections));
