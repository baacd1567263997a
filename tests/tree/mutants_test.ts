import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { assert, assertEquals } from "@std/assert";
import { type Mutant, mutants } from "../simulation/mutants.ts";
import { type Kind, kinds } from "../simulation/simulate.ts";

const root = join(import.meta.dirname!, "..", "..");

/** A copy of the sources, with the mutant's mistake in it. */
function copySources(mutant: Mutant | undefined): string {
  const copy = mkdtempSync(join(tmpdir(), "mqtt3c-mutant-"));
  cpSync(join(root, "src"), join(copy, "src"), { recursive: true });
  if (mutant !== undefined) {
    const { mistake, file, find, replace } = mutant;
    const source = readFileSync(join(root, file), "utf8");
    assert(source.split(find).length === 2, `${mistake}: ${file} must have this once: ${find}`);
    writeFileSync(join(copy, file), source.replace(find, () => replace));
  }
  return copy;
}

/** What two thousand histories with the mutant find, or without any; "" when nothing. */
async function play(mutant: Mutant | undefined, kind: Kind): Promise<string> {
  const copy = copySources(mutant);
  const workerData = { directory: pathToFileURL(join(copy, "src")).href, kind };
  const thread = new Worker(new URL("../simulation/mutant.ts", import.meta.url), { workerData });
  try {
    return await new Promise((resolve) => thread.on("message", resolve).on("error", (error) => resolve(String(error))));
  } finally {
    await thread.terminate();
    rmSync(copy, { recursive: true });
  }
}

test("simulation: a copy without a mistake passes, and each mistake is found", async () => {
  const tasks = [
    ...kinds.map((kind) => ({ mutant: undefined, kind })),
    ...mutants.map((mutant) => ({ mutant, kind: mutant.kind ?? "loop" })),
  ];
  const wrong: string[] = [];
  const work = async () => {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) {
      const { mutant, kind } = task;
      const found = await play(mutant, kind);
      if (mutant === undefined && found !== "") wrong.push(`without a mistake, ${kind}: ${found}`);
      if (mutant !== undefined && !found.startsWith("Seed ")) wrong.push(`not found: ${mutant.mistake} ${found}`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  assertEquals(wrong, []);
});
