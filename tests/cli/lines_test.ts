/** What goes in and out of the command: lines of a stream, and large writes. */
import { Buffer } from "node:buffer";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { Delays } from "../../cli/bench.ts";
import { Output } from "../../cli/output.ts";
import { batches } from "../../cli/input.ts";

async function lines(chunks: Buffer[]): Promise<string[]> {
  const found: string[] = [];
  const stream = (async function* () {
    yield* chunks;
  })();
  for await (const batch of batches(stream)) found.push(...batch.map((line) => line.toString("latin1")));
  return found;
}

test("pub -l: any cut of the input gives the same lines, the last one with a line end or without", async () => {
  const text = Buffer.from("one\n\ntwo words\r\n\xff\xfe\n\nlast", "latin1");
  const expected = ["one", "", "two words\r", "\xff\xfe", "", "last"];
  for (let size = 1; size <= text.length; size++) {
    const chunks = [];
    for (let at = 0; at < text.length; at += size) chunks.push(text.subarray(at, at + size));
    assertEquals(await lines(chunks), expected, `${size}`);
  }
  assertEquals(await lines([Buffer.from("a\n")]), ["a"]);
  assertEquals(await lines([]), []);
  assertEquals((await lines([Buffer.from("x\n".repeat(3000))])).length, 3000);
});

test("what is added to the output is written in order, and flush() resolves when it is", async () => {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-output-"));
  const file = join(dir, "file"), descriptor = openSync(file, "w");
  try {
    const out = new Output(descriptor);
    let expected = "";
    const flushes: Promise<void>[] = [];
    for (let i = 0; i < 2000; i++) {
      const part = `${i} größe ${"x".repeat(i % 300)}\n`;
      expected += part;
      out.add(i % 2 ? part : Buffer.from(part));
      flushes.push(out.flush());
      if (i % 100 === 0) await flushes[i]; // by now it is in the file
      if (i % 100 === 0) assertEquals(readFileSync(file, "utf8"), expected);
    }
    await Promise.all(flushes);
    assertEquals(readFileSync(file, "utf8"), expected);
  } finally {
    closeSync(descriptor);
    rmSync(dir, { recursive: true });
  }
});

test("what cannot be written fails, and is never done", async () => {
  const descriptor = openSync(import.meta.filename!, "r");
  try {
    const out = new Output(descriptor);
    out.add("lost");
    const first = await Promise.race([out.flush().then(() => "written"), out.failed.then(({ code }) => code)]);
    assertEquals(first, "EBADF");
  } finally {
    closeSync(descriptor);
  }
});

test("bench: percentiles are right within a hundredth", () => {
  const delays = new Delays();
  assertEquals(delays.quantile(0.5), 0);
  for (let i = 1; i <= 10_000; i++) delays.add(i / 100);
  for (const part of [0.01, 0.5, 0.9, 0.99, 0.999, 1]) {
    const found = delays.quantile(part);
    assert(Math.abs(found / (100 * part) - 1) <= 0.0101, `${part}: ${found}`);
  }
});
