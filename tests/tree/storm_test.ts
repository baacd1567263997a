import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { kinds, runCase, table } from "../storm/report.ts";

const root = join(import.meta.dirname!, "..", "..");
const read = (file: string) => readFileSync(join(root, file), "utf8");
const CLIENTS = 1_000_000;

test("docs/reconnect.md has the figures that the storm gives today, and its drawing", () => {
  const page = read("docs/reconnect.md");
  // The widths of the columns are those of the whole table.
  const plain = (text: string) => text.replaceAll(/ {2,}/g, " ").replaceAll(/-{2,}/g, "--");
  for (const down of [0, 60_000]) {
    const result = runCase({ kind: "usual", down, capacity: 20_000 }, CLIENTS, 1);
    for (const line of table([result], CLIENTS).split("\n")) assertStringIncludes(plain(page), plain(line));
  }
  assertStringIncludes(page, "(storm.svg)");
  const drawing = read("docs/storm.svg");
  assertEquals([...drawing.matchAll(/<polyline/g)].length, 2 * Object.keys(kinds).length);
  assert(drawing.includes("1,000,000 clients") && drawing.includes("prefers-color-scheme: dark"));
});
