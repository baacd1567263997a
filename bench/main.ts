/**
 * Measures this client beside its peers and the raw socket: `deno task bench`, `deno task bench --quick`.
 * All runs of a scenario are interleaved, one after another round by round, so that whatever else the
 * machine does hurts everyone alike. A run of everything, about an hour, leaves results.json and
 * chart.svg; any other leaves them in .build/. With `--compare` it measures this client beside an older one instead.
 */
// deno-lint-ignore-file no-console
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs, type ParseArgsConfig } from "node:util";
import { bench, bundles, work } from "./build.ts";
import { commitOf, compareWith } from "./compare.ts";
import { chart } from "./chart.ts";
import { measure, NO_RESULT, type Sample } from "./measure.ts";
import { digits, markdown, type Results, runtimeNames, summarize } from "./report.ts";
import { compared, modes, type Scenario, scenarios } from "./scenarios.ts";
import { allParticipants, type Participant, type Setup, setup, withStores } from "./setup.ts";

const help = `deno task bench [options]: everything takes about an hour

  --quick             the main figures, three short rounds
  --compare REV       this tree, with what is not committed, against a commit: our clients in the main scenarios,
                      about ten minutes; --only takes others, but not start, idle, together and crowd
  --only a,b          scenarios, by the first words of their names (${
  [...new Set(scenarios().map(({ id }) => id.split("-")[0]))].join(", ")
}, bundle)
  --clients a,b       files in bench/clients/, without the extension
  --runtimes a,b      node, deno, bun, c
  --sizes 16,4096     payloads, for receive and publish
  --topics 1,100      topics, for receive and publish
  --rounds N          of all runs: 5, quick: 3, compare: 3
  --seconds N         of each run: 1, quick: 0.4, compare: 0.1
  --render            no run: the table and the chart of the last full one
`;

const { values: given } = parseArguments({
  options: {
    quick: { type: "boolean", default: false },
    compare: { type: "string" },
    only: { type: "string" },
    clients: { type: "string" },
    runtimes: { type: "string" },
    sizes: { type: "string" },
    topics: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    render: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});

/** A mistake in them is told without a stack. */
function parseArguments<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${help}`);
    Deno.exit(1);
  }
}

const list = (text?: string) => text?.split(",");
const numbers = (text?: string) => list(text)?.map(Number);
const only = list(given.only) ?? (given.compare ? compared : undefined);
const rounds = Number(given.rounds ?? (given.compare ? 3 : given.quick ? 3 : 5));
const seconds = Number(given.seconds ?? (given.compare ? 0.1 : given.quick ? 0.4 : 1));

/** Whether `--only` asks for it. */
function isWanted(id: string, quick = true): boolean {
  if (!only) return !given.quick || quick;
  return only.some((name) => id === name || id.startsWith(`${name}-`));
}

/** The scenarios that are asked for and can be run here. */
function wantedScenarios(ready: Setup): Scenario[] {
  return scenarios(numbers(given.sizes), numbers(given.topics))
    .filter((scenario) => isWanted(scenario.id, scenario.quick === true) && !missing(scenario, ready));
}

/** One line on a terminal, written over and over. */
function progress(text: string) {
  if (Deno.stderr.isTerminal()) Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
}

/** What is missing for the scenario, where something is. */
function missing(scenario: Scenario, { cert, taskset, mosquitto, compiler, peer, tlsPeer }: Setup): boolean {
  if (scenario.websocket && (!compiler || peer[0] !== tlsPeer[0])) return true;
  return !!scenario.compiled && !compiler || !!scenario.tls && !cert || !!scenario.pinned && !taskset ||
    scenario.peer === "mosquitto" && !mosquitto;
}

async function runScenario(scenario: Scenario, participants: Participant[], ready: Setup) {
  const samples = new Map<Participant, Sample[]>(participants.map((participant) => [participant, []]));
  // The first start of a process fills the caches of the runtime and of the system.
  const warmUps = scenario.job === "start" ? 1 : 0;
  for (let round = -warmUps; round < rounds; round++) {
    for (const participant of participants) {
      const known = samples.get(participant)!;
      // Who hangs once is not waited for again.
      if (known.some(({ skip, failure }) => skip || failure?.startsWith(NO_RESULT))) continue;
      const name = `${participant.title} on ${runtimeNames[participant.runtime]}`;
      progress(`${scenario.title}: ${round + 1}/${rounds} ${name}`);
      const sample = await measure(scenario, participant, seconds, ready);
      if (round >= 0 || sample.skip) known.push(sample);
    }
  }
  const found = summarize(scenario, samples);
  const ours = found.results.find(({ client }) => client === "mqtt3c");
  const best = ours ? `: ${digits(ours.median)} ${scenario.unit} on ${runtimeNames[ours.runtime]}` : "";
  progress("");
  console.error(`${scenario.title}${best}`);
  return found;
}

async function runAll(): Promise<Results> {
  const ready = await setup(list(given.runtimes));
  const participants = (await allParticipants(ready)).filter(({ client, runtime }) =>
    (list(given.clients)?.includes(client) ?? true) && (list(given.runtimes)?.includes(runtime) ?? true)
  );
  const results: Results = {
    date: new Date().toISOString().slice(0, 10),
    command: ["deno task bench", ...Deno.args].join(" "),
    peer: ready.peerText,
    rounds,
    seconds,
    machine: ready.machine,
    notes: ready.notes,
    scenarios: [],
    bundles: isWanted("bundle") ? bundles() : [],
  };
  for (const scenario of wantedScenarios(ready)) {
    const able = participants.filter(({ client, runtime }) =>
      (scenario.clients?.includes(client) ?? client !== "websocket") && (runtime !== "chromium" || scenario.websocket)
    );
    const taking = withStores(able, scenario);
    if (taking.length) results.scenarios.push(await runScenario(scenario, taking, ready));
  }
  return results;
}

if (given.help) {
  console.log(help);
  Deno.exit(0);
}
if (given.compare !== undefined) {
  const commit = await commitOf(given.compare);
  const ready = await setup(list(given.runtimes));
  const clients = list(given.clients) ?? modes;
  const options = { scenarios: wantedScenarios(ready), clients, rounds, seconds, progress };
  Deno.exit(await compareWith(commit, ready, options) ? 1 : 0);
}
const { quick, only: some, clients, runtimes, sizes, topics } = given;
const isFull = !(quick || some || clients || runtimes || sizes || topics);
const folder = isFull ? bench : work;
const results = given.render
  ? JSON.parse(readFileSync(join(bench, "results.json"), "utf8")) as Results
  : await runAll();
if (!given.render) {
  writeFileSync(join(folder, "results.json"), JSON.stringify(results, null, 2) + "\n");
}
writeFileSync(join(folder, "chart.svg"), chart(results));
console.log(markdown(results));
const failed = results.scenarios.flatMap(({ failures }) => failures).length;
if (failed) console.error(`${failed} failed`);
Deno.exitCode = failed ? 1 : 0;
