import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { assert, assertRejects } from "@std/assert";
import type { Library } from "../simulation/history.ts";
import { simulate } from "../simulation/simulate.ts";
import { type Mutant, mutants } from "../simulation/mutants.ts";

const root = join(import.meta.dirname!, "..", "..");

/** Plays two thousand histories with a copy of the sources that has the mutant's mistake, if any. */
async function play(mutant?: Mutant): Promise<void> {
  const copy = mkdtempSync(join(tmpdir(), "mqtt3c-mutant-"));
  try {
    cpSync(join(root, "src"), join(copy, "src"), { recursive: true });
    if (mutant !== undefined) {
      const { file, find, replace } = mutant;
      const source = readFileSync(join(root, file), "utf8");
      assert(source.split(find).length === 2, `${file} must have this once: ${find}`);
      writeFileSync(join(copy, file), source.replace(find, () => replace));
    }
    const load = (path: string) => import(pathToFileURL(join(copy, "src", path)).href);
    const library: Library = { ...await load("client.ts"), ...await load("settings.ts"), ...await load("errors.ts") };
    await simulate(1, 2000, library);
  } finally {
    rmSync(copy, { recursive: true });
  }
}

test("simulation: a copy without a mistake passes", () => play());

for (const mutant of mutants) {
  test(`simulation: found: ${mutant.mistake}`, async () => {
    await assertRejects(() => play(mutant), Error, "Seed");
  });
}
