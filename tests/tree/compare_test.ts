import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { work } from "../../bench/build.ts";
import { compare } from "../../bench/compare.ts";
import { needs, run } from "../support/process.ts";

const root = join(import.meta.dirname!, "..", "..");

/** In an archive of the sources there are no commits. */
const clone = existsSync(join(root, ".git")) ? needs("git") : { skip: "needs a clone" };

function bench(...args: string[]) {
  const command = ["run", "-q", "-A", "bench/main.ts", ...args];
  return run(process.execPath, command, { cwd: root, env: { NO_COLOR: "1" }, deadline: 60_000 });
}

test("bench --compare: a ratio is above 1 where this tree is better, whatever the unit", () => {
  const cpu = { oursCpu: 1, theirsCpu: 4 };
  const rounds = [[{ ours: 100, theirs: 200, ...cpu }, { ours: 100, theirs: 400, ...cpu }], [
    { ours: 100, theirs: 50, ...cpu },
  ]];
  const faster = compare(rounds, "us");
  assertEquals(faster, { ours: 100, theirs: 200, ratio: 2, min: 0.5, max: 3, cpuRatio: 4, slower: false });
  const slower = compare(rounds, "messages/s");
  assertEquals({ ratio: slower.ratio, min: slower.min, max: slower.max }, { ratio: 0.5, min: 0.375, max: 2 });
});

test("bench --compare: a row is slower when its ratio is below 0.95 and no round says otherwise", () => {
  const rounds = (...ratios: number[]) => ratios.map((ratio) => [{ ours: ratio, theirs: 1, oursCpu: 1, theirsCpu: 1 }]);
  assert(compare(rounds(0.94, 0.9, 0.99), "messages/s").slower);
  assert(!compare(rounds(0.94, 0.9, 1.01), "messages/s").slower, "one round was faster");
  assert(!compare(rounds(0.96, 0.97, 0.98), "messages/s").slower, "less than 5 %");
});

test("bench --compare HEAD prints a row for each scenario, and leaves no copy of a tree", clone, async () => {
  const copies = () => readdirSync(work).filter((name) => name.startsWith("compare-"));
  mkdirSync(work, { recursive: true });
  const before = copies();
  const rows = ["--only", "receive-16-100", "--clients", "mqtt3c", "--runtimes", "deno"];
  const { code, stdout, stderr } = await bench("--compare", "HEAD", ...rows, "--rounds", "1", "--seconds", "0.02");
  assertEquals(code, 0, `${stdout}${stderr}`);
  assertMatch(stdout, /^\| receive-16-100 \| mqtt3c \| Deno \| .* \| \d+\.\d{3} \| [\d.]+-[\d.]+ \|/m);
  assertEquals(copies().filter((name) => !before.includes(name)), []);
});

test("bench --compare says so when there is no such commit", clone, async () => {
  const { code, stderr } = await bench("--compare", "no-such-commit");
  assertEquals(code, 2);
  assertStringIncludes(stderr, "There is no commit no-such-commit here. In a shallow clone, git fetch --unshallow");
});
