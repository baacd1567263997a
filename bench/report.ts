/** The results of a run: medians, ratios, and the Markdown that shows them. */
import type { Bundle } from "./build.ts";
import type { Sample } from "./measure.ts";
import { modes, type Scenario, type Unit } from "./scenarios.ts";
import type { Machine, Participant, Runtime } from "./setup.ts";

export interface Result {
  client: string;
  title: string;
  runtime: Runtime;
  median: number;
  min: number;
  max: number;
  /** Medians of what else was measured. */
  p99?: number;
  cpu?: number;
  peak?: number;
  /** How much better than the raw socket, and than MQTT.js, on the same runtime. */
  vsRaw?: number;
  vsMqttjs?: number;
}

export interface Failure {
  title: string;
  runtime: Runtime;
  reason: string;
  times: number;
}

export interface ScenarioResults {
  id: string;
  title: string;
  unit: Unit;
  /** Left out of the overview. */
  detail: boolean;
  results: Result[];
  failures: Failure[];
  /** Clients that cannot take part, and why. */
  skipped: string[];
}

export interface Results {
  date: string;
  command: string;
  peer: string;
  rounds: number;
  seconds: number;
  machine: Machine;
  notes: string[];
  scenarios: ScenarioResults[];
  bundles: Bundle[];
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function medianOf(samples: Sample[], key: "p99" | "cpu" | "peak"): Partial<Record<typeof key, number>> {
  const values = samples.flatMap((sample) => sample[key] ?? []);
  return values.length ? { [key]: median(values) } : {};
}

/** Puts the samples of a scenario together; a participant with a failure has no figure. */
export function summarize(scenario: Scenario, samples: Map<Participant, Sample[]>): ScenarioResults {
  const { id, title, unit, detail = false } = scenario;
  const found: ScenarioResults = { id, title, unit, detail, results: [], failures: [], skipped: [] };
  for (const [{ client, title, runtime }, list] of samples) {
    const skip = list.find((sample) => sample.skip)?.skip;
    const failures = list.flatMap((sample) => sample.failure ?? []);
    const values = list.flatMap((sample) => sample.value ?? []);
    if (skip) {
      const note = `${title}${runtime === "c" ? " in C" : ""}: ${skip}`;
      if (!found.skipped.includes(note)) found.skipped.push(note);
    } else if (failures.length) {
      found.failures.push({ title, runtime, reason: failures[0]!, times: failures.length });
    } else if (values.length) {
      found.results.push({
        ...{ client, title, runtime },
        ...{ median: median(values), min: Math.min(...values), max: Math.max(...values) },
        ...medianOf(list, "p99"),
        ...medianOf(list, "cpu"),
        ...medianOf(list, "peak"),
      });
    }
  }
  for (const result of found.results) {
    const ratio = (to: string) => {
      const other = found.results.find(({ client, runtime }) => client === to && runtime === result.runtime);
      if (!other || other === result || RAW.includes(result.client)) return undefined;
      return unit === "messages/s" ? result.median / other.median : other.median / result.median;
    };
    const [vsRaw, vsMqttjs] = [ratio("raw") ?? ratio("websocket"), ratio("mqttjs")];
    Object.assign(result, vsRaw && { vsRaw }, vsMqttjs && { vsMqttjs });
  }
  return found;
}

/** What a runtime can do, with no client. */
const RAW = ["raw", "websocket"];

export const runtimeNames: Record<Runtime, string> = {
  ...{ node: "Node", deno: "Deno", bun: "Bun", c: "C" },
  chromium: "Chromium",
};

/** Three significant digits, without an exponent. */
export function digits(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value >= 10 ? value.toFixed(1) : value >= 1 ? value.toFixed(2) : value.toPrecision(2);
}

export const units: Record<Unit, { name: string; divisor: number }> = {
  "messages/s": { name: "million messages/s", divisor: 1e6 },
  us: { name: "µs, median", divisor: 1 },
  ms: { name: "ms", divisor: 1 },
  bytes: { name: "KiB", divisor: 1024 },
};

export function table(header: string[], rows: string[][], texts = 2): string {
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map((_, i) => i < texts ? "---" : "---:")), ...rows.map(line)].join("\n");
}

const times = (ratio?: number) => ratio === undefined ? "" : `${digits(ratio)}x`;
const mebibytes = (bytes?: number) => bytes === undefined ? "" : `${digits(bytes / 2 ** 20)}`;

function scenarioTable({ title, unit, results, failures, skipped }: ScenarioResults): string {
  const { name, divisor } = units[unit];
  const hasP99 = results.some((result) => result.p99 !== undefined);
  const perMessage = unit === "messages/s", hasPeak = results.some(({ peak }) => peak !== undefined);
  const order: Runtime[] = ["node", "deno", "bun", "chromium", "c"];
  const rows = results.toSorted((a, b) => order.indexOf(a.runtime) - order.indexOf(b.runtime)).map((result) => [
    runtimeNames[result.runtime],
    result.client.startsWith("mqtt3c") ? `**${result.title}**` : result.title,
    digits(result.median / divisor),
    `${digits(result.min / divisor)}-${digits(result.max / divisor)}`,
    ...(hasP99 ? [result.p99 === undefined ? "" : digits(result.p99)] : []),
    times(result.vsMqttjs),
    times(result.vsRaw),
    ...(perMessage ? [result.cpu === undefined ? "" : digits(result.cpu)] : []),
    ...(hasPeak ? [mebibytes(result.peak)] : []),
  ]);
  const header = [
    ...["", "", name, "min-max", ...(hasP99 ? ["p99"] : []), "vs MQTT.js", "vs raw"],
    ...(perMessage ? ["CPU s / million"] : []),
    ...(hasPeak ? ["peak MiB"] : []),
  ];
  return [
    `#### ${title}\n`,
    ...(rows.length ? [table(header, rows)] : ["Nobody took part."]),
    ...failures.map(({ title, runtime, reason, times }) =>
      `\nFAILED: ${title} on ${runtimeNames[runtime]}, ${times} time${times > 1 ? "s" : ""}: ${reason}`
    ),
    ...(skipped.length ? [`\nLeft out: ${skipped.join("; ")}.`] : []),
  ].join("\n");
}

/** This client on every runtime, how far ahead of MQTT.js it is there, and libmosquitto, a line for each scenario. */
function overview({ scenarios, bundles }: Results): string {
  const rows = scenarios.filter(({ detail }) => !detail).map(({ title, unit, results }) => {
    const { name, divisor } = units[unit];
    const cells = (["node", "deno", "bun", "chromium"] as const).map((runtime) => {
      const ours = results.find((result) => result.client === "mqtt3c" && result.runtime === runtime);
      if (!ours) return "";
      return `**${digits(ours.median / divisor)}**` + (ours.vsMqttjs ? ` (${times(ours.vsMqttjs)})` : "");
    });
    const native = results.find(({ client }) => client === "libmosquitto");
    return [`${title} (${name})`, ...cells, native ? digits(native.median / divisor) : ""];
  });
  const [ours, theirs] = ["mqtt3c", "mqttjs"].map((name) => bundles.find(({ client }) => client === name)?.gzipped);
  if (ours && theirs) {
    rows.push(["Bundled, gzipped (KB)", `**${digits(ours / 1000)}** (${times(theirs / ours)})`, "", "", "", ""]);
  }
  return table(["mqtt3c (times MQTT.js)", "Node", "Deno", "Bun", "Chromium", "libmosquitto"], rows, 1);
}

/** The three modes side by side: Node, Deno and Bun; a line for each scenario that all of them took part in. */
function modesTable({ scenarios }: Results): string {
  const rows = scenarios.map(({ title, unit, results }) => {
    const { name, divisor } = units[unit];
    const cells = modes.map((mode) =>
      (["node", "deno", "bun"] as const).flatMap((runtime) => {
        const result = results.find(({ client, runtime: other }) => client === mode && other === runtime);
        return result ? digits(result.median / divisor) : [];
      }).join(", ")
    );
    return [`${title} (${name})`, ...cells];
  }).filter((cells) => cells.every((cell) => cell !== ""));
  if (!rows.length) return "";
  return `#### The three modes on Node, Deno and Bun\n\n` +
    table(["", "connect", "connectWorker", "connectSync"], rows, 1);
}

function bundleTable(bundles: Bundle[]): string {
  const rows = bundles.map(({ title, minified, gzipped }) => [title, digits(minified / 1000), digits(gzipped / 1000)]);
  return `#### Bundled for Node\n\n${table(["", "minified KB", "gzipped KB"], rows, 1)}`;
}

/** Everything, as Markdown: the overview first, to be shown on its own. */
export function markdown(results: Results): string {
  const { machine, scenarios, bundles, notes } = results;
  const versions = Object.entries(machine.versions).map(([name, version]) =>
    `${runtimeNames[name as Runtime] ?? name} ${version}`
  );
  return [
    overview(results),
    `Measured with \`${results.command}\` on ${machine.cpu}, ${machine.cores} cores, ${machine.memory}, ` +
    `${machine.system}; ${versions.join(", ")}. Medians of ${results.rounds} interleaved runs of ` +
    `${results.seconds} s, QoS 0; the peer is ${results.peer}. Ratios are to the same runtime, above 1 is better.`,
    ...[modesTable(results)].filter(Boolean),
    ...scenarios.map(scenarioTable),
    ...(bundles.length ? [bundleTable(bundles)] : []),
    ...(notes.length ? [`Notes: ${notes.join("; ")}.`] : []),
  ].join("\n\n") + "\n";
}
