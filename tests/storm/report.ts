/** The storms that are shown: as a table, and as a curve of text. `chart.ts` draws them. */
import type { ReconnectOptions } from "../../mod.ts";
import { parseSettings } from "../../src/client/settings.ts";
import { Retry } from "../../src/session/retry.ts";
import { Random } from "../support/random.ts";
import { type Course, peak, simulate, type Waits } from "./storm.ts";

/** What the clients wait by: an option of the library, or something it is compared with. */
export interface Kind {
  name: string;
  waits: () => Waits;
}

function library(name: string, reconnect: true | ReconnectOptions): Kind {
  const policy = parseSettings({ reconnect }).reconnect;
  return { name, waits: () => new Retry(policy) };
}

export const kinds: Record<"usual" | "gentle" | "regular", Kind> = {
  usual: library("reconnect: true", true),
  gentle: library("minDelay 30 s, maxDelay 60 s", { minDelay: 30_000, maxDelay: 60_000 }),
  /** A second after each failure, without chance. */
  regular: { name: "every second", waits: (): Waits => ({ delay: () => 1000 }) },
};

/** What happens to the broker. */
export interface Case {
  kind: keyof typeof kinds;
  /** Milliseconds. */
  down: number;
  /** Connections a second. */
  capacity: number;
}

export interface Result extends Case {
  course: Course;
}

const CAPACITY = 20_000;
export const cases: Case[] = [0, 60_000].flatMap((down) => [
  { kind: "usual", down, capacity: Infinity },
  { kind: "usual", down, capacity: CAPACITY },
  { kind: "gentle", down, capacity: CAPACITY },
  { kind: "regular", down, capacity: CAPACITY },
]);

export function runCase(each: Case, clients: number, seed: number): Result {
  const { waits } = kinds[each.kind];
  return { ...each, course: simulate({ ...each, clients, waits, random: new Random(seed) }) };
}

/** A whole number, for people to read. */
const number = (value: number) => Math.round(value).toString().replaceAll(/\B(?=(\d{3})+$)/g, ",");

/** A table in Markdown, as `deno fmt` leaves it. */
export function table(results: readonly Result[], clients: number): string {
  const rows = results.map(({ kind, down, capacity, course }) => {
    const { arrivals } = peak(course), after = peak(course, down / 1000);
    return [
      `${down / 1000} s`,
      capacity === Infinity ? "all" : number(capacity),
      kinds[kind].name,
      number(arrivals),
      number(after.arrivals),
      `${number((course.end - down) / 1000)} s`,
      (course.attempts / clients).toFixed(1),
    ];
  });
  const titles = [
    "down",
    "accepts",
    "the client waits",
    "peak",
    "peak once it is up",
    "all back after",
    "attempts each",
  ];
  const widths = titles.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  return [line(titles), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}

const accepts = (capacity: number) => capacity === Infinity ? "all are" : `${number(capacity)} a second are`;

/** The seconds of a storm, all of the first ten, then each fifth; the bars are logarithmic. */
export function curve({ kind, down, capacity, course }: Result): string {
  const lines = course.arrivals.flatMap((count, second) => {
    if (second > 10 && second % 5 > 0 && second < course.arrivals.length - 1) return [];
    const bar = "#".repeat(Math.round(8 * Math.log10(Math.max(1, count))));
    return `${`${second}`.padStart(6)} ${number(count).padStart(10)} ${
      number(course.accepted[second]!).padStart(10)
    }  ${bar}`;
  });
  return [
    `Down for ${down / 1000} s, then ${accepts(capacity)} accepted; ${kinds[kind].name}:`,
    "second   arrivals   accepted",
    ...lines,
  ].join("\n");
}
