/**
 * Measures the file store, in a folder (that of temporary files by default, which may be in memory):
 *
 *     deno run -A bench/store.ts [folder]
 *
 * Records of 300 bytes, appended and flushed, beside `fdatasync` alone; and 1,000,000 of them, opened. It runs on Bun, too.
 */
// deno-lint-ignore-file no-console
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileStore, type StoreReader } from "../mod.ts";

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), "mqtt3c-bench-"));
const path = join(folder, "store");
const record = new Uint8Array(300).fill(7);
const COUNT = 1_000_000;

/** A reader that counts. */
class Counter implements StoreReader {
  readonly blocking: boolean;
  count = 0;
  constructor(blocking: boolean) {
    this.blocking = blocking;
  }
  read(): void {
    this.count++;
  }
  told(error: Error): void {
    throw error;
  }
}

function digits(value: number): string {
  return Math.round(value).toLocaleString("en");
}

/** Appends and flushes groups for a second or so; tells how long each of the two takes. */
async function write(sync: "os" | "disk", group: number, blocking: boolean): Promise<void> {
  const store = fileStore(path, { sync });
  await store.open(new Counter(blocking));
  let appending = 0, flushing = 0, groups = 0;
  for (const start = performance.now(); performance.now() - start < 1500; groups++) {
    const begun = performance.now();
    for (let i = 0; i < group; i++) store.append(record);
    const appended = performance.now();
    await store.flush();
    appending += appended - begun;
    flushing += performance.now() - appended;
  }
  await store.close();
  rmSync(path);
  const rate = digits(group * groups / (appending + flushing) * 1000);
  console.log(
    `${sync.padEnd(5)}${blocking ? "blocking  " : "          "}${`${group}`.padStart(5)} a flush` +
      `${rate.padStart(12)} records/s${digits(appending / groups / group * 1e6).padStart(6)} ns an append` +
      `${(flushing / groups * 1000).toFixed(1).padStart(10)} us a flush`,
  );
}

/** Writes the same bytes with the functions for files alone. */
function writeAlone(group: number): void {
  const bytes = new Uint8Array(316 * group), file = openSync(path, "w");
  let groups = 0;
  const start = performance.now();
  while (performance.now() - start < 1500) {
    writeSync(file, bytes);
    fdatasyncSync(file);
    groups++;
  }
  const each = (performance.now() - start) / groups;
  closeSync(file);
  rmSync(path);
  console.log(
    `writeSync, fdatasyncSync ${`${group}`.padStart(3)} of them${digits(group / each * 1000).padStart(12)} records/s` +
      `${(each * 1000).toFixed(1).padStart(32)} us`,
  );
}

/** Opens a store of many records. */
function open(): void {
  const store = fileStore(path);
  store.open(new Counter(true));
  for (let i = 0; i < COUNT; i++) {
    store.append(record);
    if (i % 256 === 255) store.flush();
  }
  store.close();
  const before = process.memoryUsage().rss;
  const counter = new Counter(true);
  const start = performance.now();
  store.open(counter);
  const seconds = (performance.now() - start) / 1000;
  const grown = (process.memoryUsage().rss - before) / 2 ** 20;
  store.close();
  console.log(
    `opened: ${digits(counter.count)} records, ${digits(statSync(path).size / 2 ** 20)} MiB, in ${
      seconds.toFixed(2)
    } s; ` +
      `rss ${digits(before / 2 ** 20)} MiB before, ${grown.toFixed(1)} more after, ` +
      `${digits(process.resourceUsage().maxRSS / 1024)} at the most`,
  );
}

try {
  for (const group of [1, 256]) {
    await write("os", group, false);
    await write("disk", group, false);
    await write("disk", group, true);
    writeAlone(group);
  }
  open();
} finally {
  rmSync(folder, { recursive: true });
}
