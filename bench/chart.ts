/** The main figures as one SVG: a panel for each, a group of bars for each runtime, in light and in dark. */
import { digits, type Result, type Results, runtimeNames, units } from "./report.ts";
import type { Runtime } from "./setup.ts";

interface Panel {
  title: string;
  unit: string;
  /** Which way is better. */
  better: "more" | "less";
  bars: Bar[];
  /** Said below the bars: what would dwarf them. */
  footnote: string;
}

interface Bar {
  runtime: Runtime;
  client: string;
  title: string;
  value: number;
}

const RUNTIMES: Runtime[] = ["node", "deno", "bun", "c"];
const CLIENTS = ["mqtt3c", "mqtt3c_worker", "mqtt3c_sync", "mqttjs", "u8-mqtt", "libmosquitto", "paho", "raw"];

const [WIDTH, MARGIN, GUTTER, TOP, BOTTOM] = [920, 24, 32, 92, 62];
const PANEL_WIDTH = (WIDTH - 2 * MARGIN - GUTTER) / 2;
const [HEAD, ROW, BAR, GROUP_GAP, PANEL_GAP] = [42, 16, 11, 8, 30];
const [LABELS, VALUES] = [164, 52];

type Palette = Record<"page" | "edge" | "ink" | "soft" | "ours" | "worker" | "js" | "native" | "raw", string>;

const LIGHT: Palette = {
  ...{ page: "#ffffff", edge: "#d1d9e0", ink: "#1f2328", soft: "#59636e" },
  ...{ ours: "#0a7f5a", worker: "#74c3a3", js: "#8c96a0", native: "#b8a070", raw: "#d1d9e0" },
};
const DARK: Palette = {
  ...{ page: "#0d1117", edge: "#3d444d", ink: "#f0f6fc", soft: "#9198a1" },
  ...{ ours: "#2fc28e", worker: "#1d7456", js: "#6e7781", native: "#8f7d56", raw: "#3d444d" },
};

/** No custom properties: not every viewer of SVG has them. */
const colors = ({ page, edge, ink, soft, ours, worker, js, native, raw }: Palette) => `
  .page { fill: ${page}; stroke: ${edge}; }
  .axis { stroke: ${edge}; }
  text { fill: ${ink}; }
  .soft { fill: ${soft}; }
  .mqtt3c { fill: ${ours}; }
  .mqtt3c_worker, .mqtt3c_sync { fill: ${worker}; }
  .mqttjs, .u8-mqtt { fill: ${js}; }
  .libmosquitto, .paho { fill: ${native}; }
  .raw { fill: ${raw}; }`;

const style = `
  text { font: 12px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
  .heading { font-size: 18px; font-weight: 600; }
  .panel { font-size: 14px; font-weight: 600; }
  .strong { font-weight: 600; }
  .end { text-anchor: end; }${colors(LIGHT)}
  @media (prefers-color-scheme: dark) {${colors(DARK).replaceAll("\n", "\n  ")}
  }
`;

const escape = (text: string) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]!);

function text(x: number, y: number, content: string, kind = ""): string {
  return `<text x="${round(x)}" y="${round(y)}"${kind && ` class="${kind}"`}>${escape(content)}</text>`;
}

const round = (value: number) => Math.round(value * 10) / 10;

/** The panel of a scenario, of its medians or of its CPU time; without the raw socket where that dwarfs everyone. */
function panel(
  results: Results,
  id: string,
  title: string,
  { cpu = false, withRaw = true }: { cpu?: boolean; withRaw?: boolean } = {},
): Panel[] {
  const scenario = results.scenarios.find((scenario) => scenario.id === id);
  if (!scenario) return [];
  const { name, divisor } = units[scenario.unit];
  const valueOf = (result: Result) => cpu ? result.cpu ?? NaN : result.median / divisor;
  const all = scenario.results.map((result) => ({ ...result, value: valueOf(result) }));
  const bars = all.filter(({ client, value }) => value >= 0 && (withRaw || client !== "raw"))
    .sort((a, b) =>
      RUNTIMES.indexOf(a.runtime) - RUNTIMES.indexOf(b.runtime) ||
      CLIENTS.indexOf(a.client) - CLIENTS.indexOf(b.client)
    );
  const raw = RUNTIMES.flatMap((name) => all.filter(({ client, runtime }) => client === "raw" && runtime === name));
  if (!bars.length) return [];
  return [{
    title,
    unit: cpu ? "CPU seconds per million messages" : name,
    better: !cpu && scenario.unit === "messages/s" ? "more" : "less",
    bars,
    footnote: withRaw || !raw.length
      ? ""
      : `Raw socket: ${raw.map(({ runtime, value }) => `${digits(value)} ${runtimeNames[runtime]}`).join(", ")}`,
  }];
}

function heightOf({ bars, footnote }: Panel): number {
  const groups = new Set(bars.map(({ runtime }) => runtime)).size;
  return HEAD + bars.length * ROW + (groups - 1) * GROUP_GAP +
    (footnote ? 20 : 0);
}

function draw(panel: Panel, left: number, top: number): string {
  const { title, unit, better, bars, footnote } = panel;
  const most = Math.max(...bars.map(({ value }) => value));
  const [start, room] = [left + LABELS, PANEL_WIDTH - LABELS - VALUES];
  const out = [
    text(left, top + 12, title, "panel"),
    text(left, top + 29, `${unit}; ${better === "more" ? "longer" : "shorter"} is better`, "soft"),
  ];
  let y = top + HEAD;
  let last: Runtime | undefined;
  for (const { runtime, client, title, value } of bars) {
    if (last && last !== runtime) y += GROUP_GAP;
    const base = y + BAR - 1;
    const ours = client.startsWith("mqtt3c");
    if (last !== runtime) {
      out.push(text(left, base, runtimeNames[runtime], "strong"));
    }
    last = runtime;
    const width = Math.max(1.5, value / most * room);
    out.push(
      text(start - 8, base, title, ours ? "end strong" : "end soft"),
      `<rect class="${client}" x="${start}" y="${y}" width="${round(width)}" height="${BAR}" rx="2"/>`,
      text(start + width + 6, base, digits(value), ours ? "strong" : ""),
    );
    y += ROW;
  }
  out.push(`<path class="axis" d="M${start - .5} ${top + HEAD - 4}V${y - 1}"/>`);
  if (footnote) out.push(text(left, y + 16, footnote, "soft"));
  return out.join("\n");
}

export function chart(results: Results): string {
  const panels = [
    ...panel(results, "receive-16-100", "Receive 16 bytes", { withRaw: false }),
    ...panel(results, "publish-16-100", "Publish 16 bytes, many within a tick", { withRaw: false }),
    ...panel(results, "echo-one-core", "Round trip, 16 bytes, client and peer on one core"),
    ...panel(results, "receive-16-100", "CPU time of receiving 16 bytes", {
      cpu: true,
      withRaw: false,
    }),
    ...panel(results, "start", "Cold process to its first message"),
    ...panel(results, "idle", "Memory per idle connection"),
  ];
  let y = TOP;
  const drawn: string[] = [];
  for (let i = 0; i < panels.length; i += 2) {
    const row = panels.slice(i, i + 2);
    row.forEach((panel, j) => drawn.push(draw(panel, MARGIN + j * (PANEL_WIDTH + GUTTER), y)));
    y += Math.max(...row.map(heightOf)) + PANEL_GAP;
  }
  const height = y - PANEL_GAP + BOTTOM;
  const { cpu, cores, versions } = results.machine;
  const of = (...names: string[]) =>
    names.flatMap((name) => versions[name] ? `${runtimeNames[name as Runtime] ?? name} ${versions[name]}` : []).join(
      ", ",
    );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title desc">
<title id="title">mqtt3c beside other MQTT clients and the raw socket</title>
<desc id="desc">${escape(panels.map(describe).join(" "))}</desc>
<style>${style}</style>
<rect class="page" x=".5" y=".5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
${text(MARGIN, 40, "mqtt3c beside its peers", "heading")}
${
    text(
      MARGIN,
      62,
      `QoS 0, ${results.rounds} interleaved runs, medians. The peer is ${results.peer}: what is measured is the client.`,
      "soft",
    )
  }
${drawn.join("\n")}
${
    text(
      MARGIN,
      height - 36,
      `${cpu}, ${cores} cores; ${of("node", "deno", "bun")}; ${of("MQTT.js", "u8-mqtt")}`,
      "soft",
    )
  }
${text(MARGIN, height - 18, `${results.command}, ${results.date}`, "soft")}
</svg>
`;
}

/** The panel in words, for who cannot see it. */
function describe({ title, unit, bars }: Panel): string {
  const ours = bars.filter(({ client }) => client === "mqtt3c");
  return `${title} (${unit}): ${
    ours.map(({ runtime, value }) => `${digits(value)} on ${runtimeNames[runtime]}`).join(", ")
  }.`;
}
