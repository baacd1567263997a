/**
 * Runs everything: the static checks, then the same test files on Deno, on Bun and, built, on Node.
 *
 *     deno task test [--long] [--only check|soak|deno|bun|node[,...]] [part of a file name ...]
 *
 * The tests in tests/tree/ are about the tree itself and run on Deno only, and so does the soak of three minutes. What is
 * heavy with real parts runs on one runtime, one file here and the next there; on all of them where a runtime or a file
 * is named, and with `--long`.
 */
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { build, sources } from "../scripts/build.ts";
import { bunBinary, run, which } from "./support/process.ts";

interface Result {
  passed: number;
  failed: number;
  /** What a person needs to see of it: the failures. */
  output: string;
  /** The names of the tests that failed. */
  names?: string[];
}

const root = join(import.meta.dirname!, "..");
const limit = 60 * 60_000; // of one suite, in milliseconds
const parts = ["check", "soak", "deno", "bun", "node"];
const { values, positionals } = parseArgs({
  options: { only: { type: "string", multiple: true, default: [] }, long: { type: "boolean" } },
  allowPositionals: true,
});
const only = values.only.flatMap((value) => value.split(","));
const unknown = only.find((part) => !parts.includes(part));
if (unknown !== undefined) fatal(`--only takes ${parts.join(", ")}, not ${unknown}`);
const wanted = only.length ? only : positionals.length ? parts.slice(2) : parts;
const files = sources("tests").filter((file) => file.endsWith("_test.ts"))
  .filter((file) => !positionals.length || positionals.some((part) => file.includes(part)));
if (!files.length) fatal(`No test file is named like ${positionals.join(" or ")}`);

const total = { passed: 0, failed: 0 };
/** What failed, told once more at the end. */
const failures: string[] = [];

function fatal(message: string): never {
  console.error(message);
  process.exit(2);
}

/** Runs one part and reports it: a line, and everything it said when something failed. */
async function report(name: string, part: () => Promise<Result>): Promise<void> {
  const start = performance.now();
  if (process.stdout.isTTY) process.stdout.write(`...   ${name}\r`);
  const { passed, failed, output, names = [] } = await part().catch((error): Result => ({
    passed: 0,
    failed: 1,
    output: error instanceof Error ? error.stack ?? error.message : String(error),
  }));
  total.passed += passed;
  total.failed += failed;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    `${failed ? "FAIL" : "ok  "}  ${name.padEnd(44)}${`${passed} passed, ${failed} failed`.padEnd(24)}${seconds} s`,
  );
  if (!failed) return;
  console.log(`\n${output.trim()}\n`);
  failures.push(...(names.length ? names : ["see above"]).map((what) => `${name}: ${what}`));
}

function deno(...args: string[]) {
  return run(process.execPath, args, { cwd: root, env: { NO_COLOR: "1" }, deadline: limit });
}

function check(name: string, ...args: string[]): Promise<void> {
  return report(name, async () => {
    const { code, stdout, stderr } = await deno(...args);
    return {
      passed: Number(code === 0),
      failed: Number(code !== 0),
      output: `deno ${args.join(" ")}\n${stdout}${stderr}`,
    };
  });
}

/** Runs a suite and counts what it printed; no test run, or a bad end, is a failure. `named` captures what failed. */
async function suite(
  command: string,
  args: string[],
  count: (text: string) => { passed: number; failed: number },
  named: RegExp,
  shorten: (text: string) => string = String,
): Promise<Result> {
  const { code, stdout, stderr } = await run(command, args, { cwd: root, env: { NO_COLOR: "1" }, deadline: limit });
  const text = `${stderr}${stdout}`; // Bun tells on the one, Deno and Node on the other: what failed comes last
  const { passed, failed } = count(text);
  if (code === 0 && passed + failed === 0) return { passed, failed: 1, output: `No test was run.\n${text}` };
  const output = shorten(text), names = [...output.matchAll(named)].map(([, name]) => name!);
  return { passed, failed: code === 0 ? failed : Math.max(failed, 1), output, names: [...new Set(names)] };
}

/** The sum of the numbers the pattern's group captures. */
function sum(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].reduce((total, match) => total + Number(match[1]), 0);
}

function onDeno(files: string[]): Promise<Result> {
  const args = ["test", "-A", "--no-check", "--reporter=dot", "--sanitize-ops", "--sanitize-resources", ...files];
  return suite(
    process.execPath,
    args,
    (text) => ({
      passed: sum(text, /^(?:ok|FAILED) \| (\d+) passed/gm) + sum(text, /passed \((\d+) steps?\)/g),
      failed: sum(text, /passed(?: \(\d+ steps?\))? \| (\d+) failed/g),
    }),
    /^(.+ => (?:\.?\/|ext:).+)$/gm,
    (text) => text.replaceAll(/^[.,!]\n/gm, ""),
  );
}

async function onBun(files: string[]): Promise<Result> {
  const args = ["test", "--timeout=1500000", "--only-failures", ...files.map((file) => `./${file}`)];
  return await suite(await bunBinary(), args, (text) => ({
    passed: sum(text, /^ *(\d+) pass$/gm),
    failed: sum(text, /^ *(\d+) fail$/gm) + sum(text, /^ *(\d+) errors?$/gm),
  }), /^\(fail\) (.+)$/gm);
}

function onNode(files: string[]): Promise<Result> {
  const built = files.map((file) => join("dist", file.replace(/\.ts$/, ".js")));
  const args = [
    "--enable-source-maps",
    "--test",
    "--test-reporter=spec",
    "--test-timeout=1500000",
    "--test-concurrency=1",
    ...built,
  ];
  return suite(
    "node",
    args,
    (text) => ({
      passed: sum(text, /^ℹ pass (\d+)$/gm),
      failed: sum(text, /^ℹ (?:fail|cancelled) (\d+)$/gm),
    }),
    /^✖ (.+) \(.+\)$/gm,
    (text) => text.slice(Math.max(0, text.indexOf("✖ failing tests:"))),
  );
}

/** Each mode at a mixed load, for three minutes in all. */
function onSoak(): Promise<Result> {
  return suite(process.execPath, ["run", "-q", "-A", "tests/soak/main.ts", "--minutes", "0.75"], (text) => ({
    passed: [...text.matchAll(/^flat$/gm)].length,
    failed: [...text.matchAll(/^GROWN$/gm)].length,
  }), /^(GROWN)$/gm);
}

/** What the tests need beyond npm packages, and the packages of Debian and, where it has it, Homebrew. */
const tools: [string, string, string?][] = [
  ["mosquitto", "mosquitto", "mosquitto"],
  ["mosquitto_sub", "mosquitto-clients", "mosquitto"],
  ["nats-server", "nats-server", "nats-server"],
  ["rabbitmq-server", "rabbitmq-server", "rabbitmq"],
  ["microsocks", "microsocks", "microsocks"],
  ["chromium", "chromium", "chromium"],
  ["openssl", "openssl", "openssl"],
  ["stdbuf", "coreutils", "coreutils"],
  // Only Linux has network namespaces.
  ...process.platform === "linux" ? [["ip", "iproute2"], ["iptables", "iptables"]] satisfies [string, string][] : [],
];
const missing = tools.filter(([command]) => !which(command) && !which(`g${command}`));
const install = missing.length === 0 ? "" : `Not installed: ${missing.map(([command]) => command).join(", ")}. ` +
  `Install with: apt-get install ${missing.map(([, debian]) => debian).join(" ")}\n` +
  `          or: brew install ${[...new Set(missing.flatMap(([, , brew]) => brew ?? []))].join(" ")}`;
if (missing.length && process.env["CI"]) {
  await report("tools", () => Promise.reject(new Error(install)));
}

if (wanted.includes("check")) {
  const all = ["mod.ts", "browser.ts", ...["src", "cli", "tests", "examples", "scripts", "bench"].flatMap(sources)];
  await check("fmt", "fmt", "--check");
  await check("lint", "lint", "-q");
  await check("check", "check", "-q", "--doc", ...all);
  await check("doc --lint", "doc", "--lint", "-q", "mod.ts", "browser.ts");
  await check("publish --dry-run", "publish", "--dry-run", "--allow-dirty", "-q");
}
const version = async (command: string) => (await run(command, ["--version"])).stdout.match(/[\d.]+/)?.[0] ?? "";
type Lane = (title: string, files: string[]) => Promise<unknown>;
const lanes: Record<string, Lane> = {
  deno: async (title, files) => {
    const name = `Deno ${await version(process.execPath)}${title}`;
    // It runs one file after the other, and most of them wait.
    const beside = files.filter((file) => /^tests.(worker|tree|soak|browser)/.test(file));
    const others = files.filter((file) => !beside.includes(file));
    await Promise.all([
      others.length && report(name, () => onDeno(others)),
      beside.length && report(`${name}, threads and pages`, () => onDeno(beside)),
    ]);
  },
  bun: async (title, files) => report(`Bun ${await version(await bunBinary())}${title}`, () => onBun(files)),
  node: async (title, files) => report(`Node ${await version("node")}${title}, built`, () => onNode(files)),
};
if (wanted.includes("node")) {
  if (which("node")) await build(join(root, "dist"), true);
  else if (process.env["CI"]) await report("Node", () => Promise.reject(new Error("Node is not installed")));
  else console.log("      Node is not installed: the built package was not tested");
}

/** The runtimes that are here. */
const here = Object.keys(lanes).filter((name) => wanted.includes(name) && (name !== "node" || which("node")));

/** Runs the files on each runtime, or those that it has of them, beside each other: most of them wait. */
async function onEach(title: string, files: string[], has: (file: string, name: string) => boolean = () => true) {
  await Promise.all(here.map((name) => {
    const its = files.filter((file) => has(file, name) && (name === "deno" || !file.startsWith(join("tests", "tree"))));
    return its.length && lanes[name]!(title, its);
  }));
}

// What computes comes first, and alone: beside it, what waits for processes and sockets would take too long.
const computing = files.filter((file) => /^tests.(simulation|tree.mutants)/.test(file));
/** These do more on Deno than elsewhere: scenes, brokers, kills; those of pages do nothing elsewhere. */
const onDenoFirst = files.filter((file) => /^tests\W(brokers|browser|network|restarts|storm|survival)\W/.test(file));
const inTurn = files.filter((file) =>
  /^tests\W((bounds|cli|fuzz|soak)\W|store\W(damage|kill)|bridge\Wload|examples\Wscaling)/.test(file)
);
const heavy = [...onDenoFirst, ...inTurn];
const isEachOnAll = values.long || only.length > 0 || positionals.length > 0;
await onEach(", simulation", computing);
await onEach("", files.filter((file) => !computing.includes(file) && !heavy.includes(file)));
await Promise.all([
  wanted.includes("soak") && which("mosquitto") && report("soak, three minutes", onSoak),
  onEach(", heavy", heavy, (file, name) => {
    if (isEachOnAll) return true;
    return name === (onDenoFirst.includes(file) ? "deno" : here[inTurn.indexOf(file) % here.length]);
  }),
]);
if (install && !process.env["CI"]) console.log(`\nThe tests that need them were left out.\n${install}`);
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed || !total.passed ? 1 : 0;
