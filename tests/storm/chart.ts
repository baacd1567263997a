/** Draws the curves of arrivals as an SVG: a panel for each time that the broker is down, its attempts a second on a logarithmic scale. */
import { kinds, type Result } from "./report.ts";

const WIDTH = 720, PANEL = 210, LEFT = 64, RIGHT = 24, TOP = 84;
/** The scales: attempts a second, and seconds. */
const LOWEST = 100, HIGHEST = 2_000_000, SECONDS = 150;

const style = `
  text { font: 12px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; fill: #1f2328; }
  .heading { font-size: 16px; font-weight: 600; }
  .panel { font-weight: 600; }
  .soft { fill: #59636e; }
  .end { text-anchor: end; }
  .middle { text-anchor: middle; }
  .page { fill: #ffffff; stroke: #d1d9e0; }
  .grid { stroke: #d1d9e0; }
  .down { fill: #d1d9e0; opacity: .45; }
  .capacity { stroke: #59636e; stroke-dasharray: 2 3; }
  polyline, .key { fill: none; stroke-width: 2; stroke-linejoin: round; }
  .usual { stroke: #0a7f5a; }
  .gentle { stroke: #3b6fd4; }
  .regular { stroke: #b8860b; stroke-dasharray: 5 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .soft { fill: #9198a1; }
    .page { fill: #0d1117; stroke: #3d444d; }
    .grid { stroke: #3d444d; }
    .down { fill: #3d444d; }
    .capacity { stroke: #9198a1; }
    .usual { stroke: #2fc28e; }
    .gentle { stroke: #79a6ff; }
    .regular { stroke: #d4a72c; }
  }
`;

const x = (second: number) => LEFT + Math.min(second, SECONDS) / SECONDS * (WIDTH - LEFT - RIGHT);
const y = (count: number, top: number) => {
  const share = Math.log(Math.max(count, LOWEST) / LOWEST) / Math.log(HIGHEST / LOWEST);
  return top + PANEL - share * PANEL;
};
const fixed = (value: number) => value.toFixed(1).replace(/\.0$/, "");

/** A point in the middle of each second, down to the scale's end when no attempt comes any more. */
function line({ kind, course }: Result, top: number): string {
  const seconds = [...course.arrivals, 0].slice(0, SECONDS);
  const points = seconds.map((count, second) => `${fixed(x(second + 0.5))},${fixed(y(count, top))}`);
  return `<polyline class="${kind}" points="${points.join(" ")}"/>`;
}

function panel(results: readonly Result[], top: number): string[] {
  const { down, capacity } = results[0]!;
  const parts = [
    `<text x="${LEFT}" y="${top - 10}" class="panel">The broker is down for ${down / 1000} s</text>`,
  ];
  if (down > 0) {
    const width = fixed(x(down / 1000) - LEFT);
    parts.push(`<rect class="down" x="${LEFT}" y="${top}" width="${width}" height="${PANEL}"/>`);
  }
  for (
    const [count, label] of [[100, "100"], [1000, "1,000"], [10_000, "10,000"], [100_000, "100,000"], [
      1e6,
      "1 million",
    ]] as const
  ) {
    const at = fixed(y(count, top));
    parts.push(`<path class="grid" d="M${LEFT} ${at}H${WIDTH - RIGHT}"/>`);
    parts.push(`<text class="soft end" x="${LEFT - 6}" y="${fixed(y(count, top) + 4)}">${label}</text>`);
  }
  for (let second = 0; second <= SECONDS; second += 30) {
    parts.push(`<text class="soft middle" x="${fixed(x(second))}" y="${top + PANEL + 16}">${second} s</text>`);
  }
  const at = y(capacity, top);
  parts.push(`<path class="capacity" d="M${LEFT} ${fixed(at)}H${WIDTH - RIGHT}"/>`);
  parts.push(`<text class="soft end" x="${WIDTH - RIGHT}" y="${fixed(at - 5)}">what the broker accepts</text>`);
  return [...parts, ...results.map((result) => line(result, top))];
}

/** The drawing, of the storms in which the broker accepts so many a second and no more. */
export function draw(results: readonly Result[], clients: string): string {
  const limited = results.filter(({ capacity }) => capacity !== Infinity);
  const downs = [...new Set(limited.map(({ down }) => down))];
  const height = TOP + 24 + downs.length * (PANEL + 60);
  const title = `${clients} clients lose one broker together`;
  const keys = Object.entries(kinds).map(([kind, { name }], i) => {
    const at = LEFT + [0, 160, 380][i]!;
    return `<path class="key ${kind}" d="M${at} 52h24"/><text x="${at + 30}" y="56">${name}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title">`,
    `<title id="title">${title}: attempts to connect in each second</title>`,
    `<style>${style}</style>`,
    `<rect class="page" x=".5" y=".5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>`,
    `<text x="16" y="30" class="heading">${title}: attempts a second</text>`,
    ...keys,
    ...downs.flatMap((down, i) => panel(limited.filter((each) => each.down === down), TOP + 24 + i * (PANEL + 60))),
    "</svg>",
    "",
  ].join("\n");
}
