/**
 * What the runtimes themselves take, with nothing of ours in it: `deno run -A bench/runtimes.ts`. How long they start with
 * a module of Node; what their own connections do, and those of `node:net`; what memory stays that nobody needs any more; and how fast shared
 * memory is copied.
 */
// deno-lint-ignore-file no-console
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bunBinary } from "../tests/support/process.ts";
import { bench } from "./build.ts";
import { digits, median, table } from "./report.ts";

const STARTS = 11, ROUNDS = 5, SECONDS = 0.4;
const MODULES = ["", "node:events", "node:process", "node:stream", "node:net", "node:worker_threads"];

const runtimes: Record<string, string[]> = {
  Node: ["node"],
  Deno: [Deno.execPath(), "run", "-A", "-q"],
  Bun: [await bunBinary()],
};

async function run([command, ...args]: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command!, { args }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Milliseconds of a whole process that imports a module and ends; the medians of runs in turn. */
async function starts(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "mqtt3c-start-"));
  const files = MODULES.map((name, i) => {
    const file = join(folder, `${i}.mjs`);
    writeFileSync(file, name === "" ? "" : `import * as all from "${name}"; globalThis.all = all;`);
    return file;
  });
  const times = new Map<string, number[]>();
  for (let round = -1; round < STARTS; round++) {
    for (const [runtime, command] of Object.entries(runtimes)) {
      for (const file of files) {
        const start = performance.now(), key = runtime + file;
        await run([...command, file]);
        if (round >= 0) times.set(key, [...times.get(key) ?? [], performance.now() - start]);
      }
    }
  }
  rmSync(folder, { recursive: true });
  const rows = files.map((file, i) => [
    MODULES[i] || "nothing",
    ...Object.keys(runtimes).map((runtime) => digits(median(times.get(runtime + file)!))),
  ]);
  return table(["a process that imports, ms", ...Object.keys(runtimes)], rows, 1);
}

/** A server that floods whoever says "r", and says again what others say. */
async function serve(listener: Deno.TcpListener): Promise<void> {
  const block = new Uint8Array(65_536);
  for await (const conn of listener) {
    conn.setNoDelay();
    void (async () => {
      const space = new Uint8Array(1024);
      await conn.read(space);
      while (space[0] === 114) await conn.write(block);
      await conn.write(space.subarray(0, 1));
      for (let length = await conn.read(space); length !== null; length = await conn.read(space)) {
        await conn.write(space.subarray(0, length));
      }
    })().catch(() => conn.close()); // it has what it wants
  }
}

async function connections(): Promise<string> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = serve(listener).catch(() => {}); // it is closed
  const rows: string[][] = [];
  for (const [runtime, command] of Object.entries(runtimes)) {
    for (const how of runtime === "Node" ? ["onread", "data"] : ["onread", "data", "own"]) {
      const cells: string[] = [];
      for (const job of ["read", "echo"]) {
        const args = [join(bench, "runtime_client.js"), `${listener.addr.port}`, job, how, `${SECONDS}`];
        const found: number[] = [];
        for (let round = 0; round < ROUNDS; round++) found.push(Number(await run([...command, ...args])));
        cells.push(digits(median(found)));
      }
      rows.push([runtime, how === "own" ? "its own" : `node:net, ${how}`, ...cells]);
    }
  }
  listener.close();
  await serving;
  return table(["", "connection", "reads, GB/s", "round trip, µs"], rows);
}

/** How memory is used, how often, and in words. */
const MEMORY = [
  ["fresh", "600", "600 times 1 MiB for a thread"],
  ["same", "600", "the same one each time"],
  ["dropped", "20000", "20,000 times 256 KiB"],
] as const;

/** Mebibytes that are added at most, by memory that nobody needs any more. */
function memory(): Promise<string> {
  return compare("MiB added", MEMORY.map(([how, count, words]) => [words, ["runtime_memory.js", how, count]]));
}

/** How memory is copied, and in words. */
const COPIES = [
  ["own", "not shared"],
  ["aligned", "shared, aligned alike"],
  ["unaligned", "shared, not aligned alike"],
  ["fill", "the same, `Buffer.fill`"],
] as const;

/** Microseconds for 64 KiB. */
function copies(): Promise<string> {
  return compare("64 KiB copied, µs", COPIES.map(([how, words]) => [words, ["runtime_copy.js", how]]));
}

/** What programs print in each runtime: medians. */
async function compare(what: string, programs: [words: string, args: [file: string, ...string[]]][]): Promise<string> {
  const rows: string[][] = [];
  for (const [runtime, command] of Object.entries(runtimes)) {
    const cells: string[] = [];
    for (const [, [file, ...args]] of programs) {
      const found: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        found.push(Number(await run([...command, join(bench, file), ...args])));
      }
      cells.push(digits(median(found)));
    }
    rows.push([runtime, ...cells]);
  }
  return table([what, ...programs.map(([words]) => words)], rows, 1);
}

console.log(await starts());
console.log();
console.log(await connections());
console.log();
console.log(await memory());
console.log();
console.log(await copies());
Deno.exit(); // connections of clients that have gone
