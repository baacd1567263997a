/**
 * What is seen of a broker: charts of numbers, a list of topics, a form to publish, and how the connection is. Where messages
 * come from is the business of who starts it: `page.js` has a bridge, `examples/page/` the broker itself.
 */

/** Seconds a chart shows at most and, while there is less, at least; and the least between two of its points. */
const SPAN = 120;
const MIN_SPAN = 15;
const STEP = 0.1;
const MAX_CHARTS = 6;
const MAX_LINES = 4;
const MAX_TOPICS = 500;
/** Larger numbers are listed, not drawn: their range would overflow. */
const MAX_NUMBER = 1e300;
/** Milliseconds between two drawings. */
const FRAME = 200;

/** An element of the page. */
export const $ = (/** @type {string} */ id) => document.getElementById(id);
/** What the address of the page has behind its `#`. */
export const settings = new URLSearchParams(location.hash.slice(1));

/** @type {Map<string, Topic>} What was received, by topic. */
const topics = new Map();
let filter = settings.get("filter") ?? "#";
let received = 0;
let beyond = 0;
let since = now();
/** @type {typeof import("uplot").default} */
let Plot;
/**
 * Where messages come from. Each call resolves to what is wrong, in words; to "" when nothing is.
 * @type {{
 *   subscribe(filter: string): Promise<string>;
 *   unsubscribe(filter: string): Promise<string>;
 *   publish(topic: string, payload: string, retain: boolean): Promise<string>;
 *   lost?(): string;
 * }}
 */
let source;

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const topic = topics.get(target.cells[0].textContent);
    if (topic !== undefined) topic.isSeen = isIntersecting;
  }
});

/** A topic: its row in the table and, while it is charted, its chart. */
class Topic {
  count = 0;
  text = "";
  isText = true;
  changed = true;
  /** Whether the row can be seen: writing to 500 rows that cannot costs more than all messages. */
  isSeen = false;
  /** @type {string[]} */
  lines = [];
  /** @type {(number | null)[][]} Times, then the values of each line. */
  data = [[]];
  /** @type {Chart | undefined} */
  chart;

  constructor(/** @type {string} */ name) {
    this.name = name;
    const [topic, value, count, actions] = [0, 1, 2, 3].map(() => document.createElement("td"));
    this.row = document.createElement("tr");
    this.row.append(topic, value, count, actions);
    topic.textContent = name;
    value.className = "value";
    count.className = "number";
    this.value = value;
    this.counted = count;
    this.toggle = button("Chart", `Chart of ${name}`, () => this.chart ? this.hide() : this.show());
    this.toggle.hidden = true;
    const edit = button("Edit", `Edit ${name} in the form`, () => {
      $("topic").value = name;
      $("message").value = this.isText ? this.text : "";
      $("message").focus();
    });
    actions.append(this.toggle, edit);
    seen.observe(this.row);
  }

  take(/** @type {{ payload?: string, size: number, retain?: boolean, properties?: object }} */ message) {
    this.count++;
    this.changed = true;
    this.isText = message.payload !== undefined;
    this.text = message.payload ?? `${message.size} bytes`;
    this.properties = message.properties;
    const values = numbersOf(message.payload);
    if (values.length === 0 || message.retain && this.data[0].length > 0) return;
    for (const [name] of values) {
      if (this.lines.includes(name) || this.lines.length === MAX_LINES) continue;
      this.lines.push(name);
      this.data.push(this.data[0].map(() => null));
      this.chart?.remake();
    }
    this.point(this.lines.map((line) => values.find(([name]) => name === line)?.[1] ?? null));
    if (this.toggle.hidden) {
      this.toggle.hidden = false;
      this.toggle.setAttribute("aria-pressed", "false");
      if (charted() < MAX_CHARTS) this.show();
    }
  }

  /** Adds a point; what comes faster than can be seen replaces the one before. */
  point(/** @type {(number | null)[]} */ values) {
    const time = now();
    const [times, ...lines] = this.data;
    const replaces = times.length > 0 && time - times.at(-1) < STEP;
    if (!replaces) times.push(time);
    lines.forEach((line, i) => replaces ? line[line.length - 1] = values[i] : line.push(values[i]));
    if (times[0] > time - 2 * SPAN) return;
    const keep = times.findIndex((at) => at > time - SPAN);
    this.data = this.data.map((column) => column.slice(Math.max(keep - 1, 0)));
  }

  show() {
    this.chart = new Chart(this);
    this.toggle.setAttribute("aria-pressed", "true");
  }

  hide() {
    this.chart?.remove();
    this.chart = undefined;
    this.toggle.setAttribute("aria-pressed", "false");
  }

  draw() {
    this.chart?.draw();
    if (!this.changed || !this.isSeen) return;
    this.changed = false;
    this.value.textContent = this.text.slice(0, 200);
    const properties = Object.entries(this.properties ?? {}).map(([name, value]) =>
      `\n${name}: ${JSON.stringify(value)}`
    );
    this.value.title = `${this.text.slice(0, 2000)}${properties.join("").slice(0, 2000)}`;
    this.counted.textContent = this.count.toLocaleString();
  }
}

/** The card of a topic: its name, its last value, its lines. */
class Chart {
  constructor(/** @type {Topic} */ topic) {
    this.topic = topic;
    this.card = document.createElement("article");
    this.card.className = "card";
    this.card.dataset.topic = topic.name;
    const head = document.createElement("header");
    const title = document.createElement("h3");
    title.textContent = title.title = topic.name;
    this.latest = document.createElement("output");
    head.append(title, this.latest);
    this.plot = document.createElement("div");
    this.plot.className = "plot";
    this.plot.setAttribute("role", "img");
    this.legend = document.createElement("div");
    this.legend.className = "legend";
    this.card.append(head, this.plot, this.legend);
    $("charts").append(this.card);
    this.resizer = new ResizeObserver(() => {
      if (this.plot.clientWidth !== this.uplot?.width) this.remake();
    });
    this.resizer.observe(this.plot);
    this.remake();
  }

  /** Makes the drawing anew: the colours, the width or the lines are others. */
  remake() {
    this.uplot?.destroy();
    const style = getComputedStyle(document.documentElement);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--quiet"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
      font: "12px system-ui, sans-serif",
    };
    const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
    const { lines } = this.topic;
    this.uplot = new Plot(
      {
        width: this.plot.clientWidth,
        height: 170,
        padding: [8, 30, 0, 0], // the last time of day is centred on the edge
        legend: { show: false },
        cursor: { y: false, points: { size: 7 } },
        scales: {
          x: { range: () => [Math.max(now() - SPAN, Math.min(since, now() - MIN_SPAN)), now()] },
          y: { range: (_, low, high) => rangeOf(low, high) },
        },
        axes: [
          {
            ...axis,
            size: 28,
            space: 80,
            values: (_, times) => times.map((time) => new Date(time * 1000).toLocaleTimeString([], clock)),
          },
          {
            ...axis,
            space: 30,
            size: (_, labels) => Math.max(52, ...(labels ?? []).map((label) => 10 + 7 * label.length)),
            values: (_, values, _axis, _space, step) => labelsOf(values, step),
          },
        ],
        series: [
          {},
          ...lines.map((line, i) => ({
            label: line,
            stroke: colour(`--chart-${i + 1}`),
            fill: lines.length === 1 ? `${colour("--chart-1")}22` : undefined,
            width: 2,
            points: {
              show: false,
              filter: (plot, series) => alone(plot.data[series]),
              fill: colour(`--chart-${i + 1}`),
            },
          })),
        ],
      },
      this.topic.data,
      this.plot,
    );
    this.legend.replaceChildren(...(lines.length < 2 ? [] : lines).map((line, i) => {
      const item = document.createElement("span");
      item.textContent = line;
      item.style.setProperty("--colour", colour(`--chart-${i + 1}`));
      return item;
    }));
  }

  draw() {
    const { data, lines, name, text } = this.topic;
    this.uplot.setData(data);
    const last = data.slice(1).map((line) => line.findLast((value) => value !== null));
    this.latest.textContent = lines[0] === "value" ? text.slice(0, 20) : last.join(" · ");
    const told = lines.map((line, i) => `${line} ${last[i]}`).join(", ");
    this.plot.setAttribute("aria-label", `${name}, the last two minutes: ${told}`);
  }

  remove() {
    this.resizer.disconnect();
    this.uplot.destroy();
    this.card.remove();
  }
}

/** Seconds, as charts want them. */
function now() {
  return Date.now() / 1000;
}

function rangeOf(/** @type {number | null} */ low, /** @type {number | null} */ high) {
  if (low === null || high === null) return [0, 1];
  const margin = (high - low) * 0.15 || Math.abs(high) * 0.05 || 1;
  return [low - margin, high + margin];
}

/** Labels of an axis: as many digits as tell one from the next, and short ones for what is large or tiny. */
function labelsOf(/** @type {number[]} */ values, /** @type {number} */ step) {
  const most = Math.max(...values.map(Math.abs));
  const notation = most >= 1e15 || most < 1e-3 ? "scientific" : most >= 1e5 ? "compact" : "standard";
  const digits = Math.min(Math.max(Math.ceil(Math.log10(most / step)) + 1, 1), 12);
  const format = new Intl.NumberFormat([], { notation, maximumSignificantDigits: digits });
  return values.map((value) => value === 0 ? "0" : format.format(value));
}

/** Where values are that have none beside them, so that no line shows them. */
function alone(/** @type {(number | null)[]} */ line) {
  const isNone = (/** @type {number} */ at) => (line[at] ?? null) === null;
  return line.flatMap((_, i) => !isNone(i) && isNone(i - 1) && isNone(i + 1) ? [i] : []);
}

/** The numbers of a payload: itself, or those a JSON object holds. */
function numbersOf(/** @type {string | undefined} */ text) {
  if (text === undefined || text.length > 10_000) return [];
  const isNumber = (/** @type {unknown} */ value) => typeof value === "number" && Math.abs(value) < MAX_NUMBER;
  if (/^\s*-?\d+(\.\d+)?(e[+-]?\d+)?\s*$/i.test(text)) return isNumber(+text) ? [["value", +text]] : [];
  if (!text.trimStart().startsWith("{")) return [];
  try {
    return Object.entries(JSON.parse(text)).filter(([, value]) => isNumber(value));
  } catch {
    return []; // a text that only looks like JSON is listed, not drawn
  }
}

function charted() {
  return document.querySelectorAll("#charts .card").length;
}

function button(/** @type {string} */ text, /** @type {string} */ label, /** @type {() => void} */ press) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", press);
  return made;
}

/** Shows the state of the connection: `connecting`, `connected`, `away` (the broker) or `offline` (the bridge). */
export function showState(/** @type {string} */ state, /** @type {string} */ name, detail = "") {
  document.body.dataset.state = state;
  // Told once to those who hear the page, not with each attempt.
  if ($("state-name").textContent !== name) $("state-name").textContent = name;
  if ($("state-detail").textContent !== detail) $("state-detail").textContent = detail;
  if (state === "connected") return;
  for (const topic of topics.values()) {
    if (topic.data[0].length > 0) topic.point(topic.lines.map(() => null)); // the line ends here
  }
}

/** A message has come; without `payload` it is no text. */
export function take(/** @type {string} */ name, /** @type {Parameters<Topic["take"]>[0]} */ message) {
  received++;
  let topic = topics.get(name);
  if (topic === undefined) {
    if (topics.size >= MAX_TOPICS) return void beyond++;
    topics.set(name, topic = new Topic(name));
    insert(topic);
  }
  topic.take(message);
}

/** Keeps the table in the order of its topics. */
function insert(/** @type {Topic} */ topic) {
  const names = [...topics.keys()].sort();
  const next = topics.get(names[names.indexOf(topic.name) + 1]);
  $("topics").insertBefore(topic.row, next?.row ?? null);
}

/** Asks for what is to be seen. */
export async function subscribe() {
  const wanted = filter;
  const wrong = await source.subscribe(wanted);
  if (wanted === filter) say("subscribe-result", wrong || `Subscribed to ${wanted}`, wrong !== "");
}

/** Says something at one of the places for it. */
export function say(/** @type {string} */ id, /** @type {string} */ text, failed = false) {
  $(id).textContent = text;
  $(id).classList.toggle("failed", failed);
}

/** Shows what comes from a source, with the charts of uPlot. */
export function start(/** @type {typeof Plot} */ plot, /** @type {typeof source} */ from) {
  Plot = plot;
  source = from;

  $("subscribe").addEventListener("submit", async (event) => {
    event.preventDefault();
    const wanted = $("filter").value;
    if (wanted === filter) return;
    const given = filter;
    filter = wanted;
    settings.set("filter", filter); // a page that is loaded again has it
    history.replaceState(undefined, "", `#${settings}`);
    await source.unsubscribe(given); // messages that come before the answer are of that filter
    if (wanted !== filter) return;
    for (const topic of topics.values()) topic.hide();
    seen.disconnect();
    topics.clear();
    since = now();
    $("topics").replaceChildren();
    beyond = 0;
    void subscribe();
  });

  $("publish").addEventListener("submit", async (event) => {
    event.preventDefault();
    const topic = $("topic").value;
    say("publish-result", "Publishing");
    const wrong = await source.publish(topic, $("message").value, $("retain").checked);
    if (wrong === "") say("publish-result", `Published to ${topic}`);
    else say("publish-result", `Not published: ${wrong}`, true);
  });

  $("to-publish").addEventListener("click", () => {
    $("publish").scrollIntoView({ block: "center" });
    $("topic").focus({ preventScroll: true });
  });

  $("message").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("publish").requestSubmit();
  });

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const topic of topics.values()) topic.chart?.remake();
  });

  let drawn = 0, drawnReceived = 0;
  function draw() {
    requestAnimationFrame(draw);
    const time = performance.now();
    if (time - drawn < FRAME) return;
    drawn = time;
    for (const topic of topics.values()) topic.draw();
    $("empty").hidden = charted() > 0;
    $("more").textContent = beyond === 0 ? "" : `${beyond.toLocaleString()} messages of further topics are not listed`;
  }

  setInterval(() => {
    $("rate").textContent = `${(received - drawnReceived).toLocaleString()} messages/s · ${topics.size} ${
      topics.size === 1 ? "topic" : "topics"
    }${source.lost?.() ?? ""}`;
    drawnReceived = received;
  }, 1000);

  $("filter").value = filter;
  $("topic").value = settings.get("topic") ?? "";
  $("message").value = settings.get("message") ?? "";
  draw();
}
