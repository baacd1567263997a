/**
 * This tree against another commit of the repository: `deno task bench --compare REV`. Our client runs from both
 * trees in turn, a tenth of a second each, and each such pair gives a ratio: what else the machine does hurts both
 * alike. Only the library differs; the drivers and the peer are those of this tree.
 */
// deno-lint-ignore-file no-console
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { bench, driverFiles, mustRun, repository, run, work } from "./build.ts";
import { type Sample, type Series, startSeries } from "./measure.ts";
import { digits, median, runtimeNames, table, units } from "./report.ts";
import type { Scenario, Unit } from "./scenarios.ts";
import { inTypeScript, type Participant, type Setup } from "./setup.ts";

/** The library, and what builds it for Node, the command line with it. */
const library = ["mod.ts", "browser.ts", "src", "cli", "scripts", "deno.json"];

/** The first pairs of two processes do not count: the runtime is still compiling. */
const WARM_UP = 2;

/** The pairs that count. */
const PAIRS = 6;

/** A run of this tree, and one of the other: values in the unit of the scenario, CPU time per message. */
export interface Pair {
  ours: number;
  theirs: number;
  oursCpu: number;
  theirsCpu: number;
}

/** What the pairs say; ratios are above 1 where this tree is better. */
export interface Comparison {
  /** Medians, in the unit of the scenario. */
  ours: number;
  theirs: number;
  /** The median of the ratios of all pairs. */
  ratio: number;
  /** The lowest and the highest of the rounds' medians. */
  min: number;
  max: number;
  /** The median of the ratios of the CPU time: other processes disturb it less. NaN where it is not measured. */
  cpuRatio: number;
  /** More than 5 % slower, and not by noise: it is slower in every round. */
  slower: boolean;
}

/** A round is the pairs of the same two processes. */
export function compare(rounds: Pair[][], unit: Unit): Comparison {
  const ratioOf = ({ ours, theirs }: Pair) => unit === "messages/s" ? ours / theirs : theirs / ours;
  const pairs = rounds.flat();
  const ratio = median(pairs.map(ratioOf));
  const medians = rounds.map((round) => median(round.map(ratioOf)));
  const max = Math.max(...medians);
  return {
    ours: median(pairs.map(({ ours }) => ours)),
    theirs: median(pairs.map(({ theirs }) => theirs)),
    ...{ ratio, min: Math.min(...medians), max },
    cpuRatio: median(pairs.map(({ oursCpu, theirsCpu }) => theirsCpu / oursCpu)),
    slower: ratio < 0.95 && max < 1,
  };
}

export interface CompareOptions {
  scenarios: Scenario[];
  clients: string[];
  /** Of each row of the table: two new processes. */
  rounds: number;
  /** Of each run. */
  seconds: number;
  /** Shows how far it is. */
  progress(text: string): void;
}

/** A row of the table: a scenario, a client, a runtime. */
interface Row {
  scenario: Scenario;
  ours: Participant;
  theirs: Participant;
  rounds: Pair[][];
  /** The first run that gave no figure; the row has no more of them. */
  missing?: Sample;
}

/** Compares with the commit and prints the table; returns how many rows failed. */
export async function compareWith(commit: string, ready: Setup, options: CompareOptions): Promise<number> {
  const folder = mkdtempSync(join(work, "compare-"));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  function stop() {
    remove();
    Deno.exit(130);
  }
  Deno.addSignalListener("SIGINT", stop);
  try {
    const load = loadavg()[0]!;
    const busy = load < 1 ? "" : `The machine was busy before (load ${load.toFixed(1)}): the ratios are rough.`;
    const rows = await prepare(commit, folder, ready, options);
    await measureRows(rows, ready, options);
    options.progress("");
    console.log(report(rows, commit.slice(0, 7), busy, options));
    return rows.filter(({ missing }) => missing?.failure).length;
  } finally {
    Deno.removeSignalListener("SIGINT", stop);
    remove();
  }
}

/** The full name of the commit; without such a commit the program ends. */
export async function commitOf(rev: string): Promise<string> {
  const command = ["git", "rev-parse", "--verify", "--quiet", `${rev}^{commit}`];
  const { ok, stdout, stderr } = await run(command, repository);
  if (ok) return stdout.trim();
  const reason = stderr.trim() || "In a shallow clone, git fetch --unshallow gets the commits that are missing";
  console.error(`There is no commit ${rev} here. ${reason}`);
  Deno.exit(2);
}

/** Copies both trees, since this one may be edited meanwhile, builds both, and pairs their participants. */
async function prepare(commit: string, folder: string, ready: Setup, options: CompareOptions): Promise<Row[]> {
  const [here, there] = [join(folder, "this"), join(folder, "that")];
  for (const part of library) cpSync(join(repository, part), join(here, part), { recursive: true });
  const archive = join(folder, "that.tar");
  mkdirSync(there);
  await mustRun(["git", "archive", `--output=${archive}`, commit, ...library], repository);
  await mustRun(["tar", "-xf", archive, "-C", there]);
  for (const tree of [here, there]) {
    for (const file of driverFiles()) cpSync(join(bench, file), join(tree, "bench", file));
  }
  const ours = await inTypeScript(ready, here, join(here, "node"));
  const theirs = await inTypeScript(ready, there, join(there, "node"));
  // Each run of these needs a process of its own.
  const scenarios = options.scenarios.filter(({ job }) => !["start", "idle", "together", "crowd"].includes(job));
  return scenarios.flatMap((scenario) =>
    ours.map((participant, i): Row => ({ scenario, ours: participant, theirs: theirs[i]!, rounds: [] }))
  ).filter(({ scenario, ours }) =>
    options.clients.includes(ours.client) && (scenario.clients?.includes(ours.client) ?? true)
  );
}

/**
 * One round of each row, then the next round of each, so that a minute of noise is in one round of many rows, and not
 * in all rounds of one row.
 */
async function measureRows(rows: Row[], ready: Setup, { rounds, seconds, progress }: CompareOptions): Promise<void> {
  for (let round = 1; round <= rounds; round++) {
    for (const [i, row] of rows.entries()) {
      if (row.missing) continue;
      progress(`round ${round}/${rounds}, row ${i + 1}/${rows.length}: ${nameOf(row).join(" ")}`);
      await measureRound(row, ready, seconds);
    }
  }
}

/** Two new processes take turns; the one that is first alternates, too. */
async function measureRound(row: Row, ready: Setup, seconds: number): Promise<void> {
  const ours = await startSeries(row.scenario, row.ours, seconds, ready);
  const theirs = await startSeries(row.scenario, row.theirs, seconds, ready);
  const pairs: Pair[] = [];
  for (let i = 0; i < WARM_UP + PAIRS && !row.missing; i++) {
    const samples = new Map<Series, Sample>();
    for (const series of i % 2 ? [ours, theirs] : [theirs, ours]) {
      const sample = await series.measure();
      if (sample.value === undefined) row.missing ??= sample;
      samples.set(series, sample);
    }
    const [a, b] = [samples.get(ours)!, samples.get(theirs)!];
    if (i < WARM_UP || row.missing) continue;
    pairs.push({ ours: a.value!, theirs: b.value!, oursCpu: a.cpu ?? NaN, theirsCpu: b.cpu ?? NaN });
  }
  await ours.stop();
  await theirs.stop();
  row.rounds.push(pairs);
}

function nameOf({ scenario, ours }: Row): string[] {
  return [scenario.id, ours.client, runtimeNames[ours.runtime]];
}

/** The rows as a table, and after it what failed, and what is slower. */
function report(rows: Row[], rev: string, busy: string, { rounds, seconds }: CompareOptions): string {
  const measured = rows.filter(({ missing }) => !missing)
    .map((row) => ({ row, found: compare(row.rounds, row.scenario.unit) }));
  const ratios = [...new Set(measured.map(({ row }) => row.scenario.id))].map((id) => {
    const some = measured.filter(({ row }) => row.scenario.id === id);
    return `${id} ${median(some.map(({ found }) => found.ratio)).toFixed(3)}`;
  });
  const slower = measured.filter(({ found }) => found.slower);
  const header = ["scenario", "client", "runtime", "this", rev, "ratio", "min-max", "CPU", ""];
  const lines = measured.map(({ row, found }) => {
    const { name, divisor } = units[row.scenario.unit];
    return [
      ...nameOf(row),
      `${digits(found.ours / divisor)} ${name}`,
      digits(found.theirs / divisor),
      found.ratio.toFixed(3),
      `${found.min.toFixed(2)}-${found.max.toFixed(2)}`,
      Number.isNaN(found.cpuRatio) ? "" : found.cpuRatio.toFixed(3),
      found.slower ? "SLOWER" : "",
    ];
  });
  return [
    table(header, lines, 3),
    `Medians of ${rounds} x ${PAIRS} pairs of runs of ${seconds} s; min and max are of the ${rounds} rounds, each with ` +
    "new processes. CPU is the ratio of the CPU time per message. A ratio above 1: this tree is better.",
    ...busy ? [busy] : [],
    `The median of the ratios of each scenario: ${ratios.join(", ")}.`,
    ...rows.flatMap((row) => {
      if (!row.missing) return [];
      const { failure, skip } = row.missing;
      return `${failure ? "FAILED" : "Left out"}: ${nameOf(row).join(" ")}: ${failure ?? skip}`;
    }),
    slower.length
      ? `More than 5 % slower: ${slower.map(({ row }) => nameOf(row).join(" ")).join("; ")}.`
      : "No row is more than 5 % slower.",
  ].join("\n\n");
}
