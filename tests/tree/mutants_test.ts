import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { assertEquals } from "@std/assert";
import type { Task } from "../simulation/mutant.ts";
import { type Mutant, mutants } from "../simulation/mutants.ts";
import { type Kind, kinds } from "../simulation/simulate.ts";

const root = join(import.meta.dirname!, "..", "..");

/** A mutant must be found in so many histories, half of which play its version; a copy without a mistake passes some of them. */
const HISTORIES = 40_000;
const CLEAN = 200;

/** A copy of the sources, with the mutant's mistake in it. */
function copySources(mutant: Mutant | undefined): string {
  const copy = mkdtempSync(join(tmpdir(), "mqtt3c-mutant-"));
  cpSync(join(root, "src"), join(copy, "src"), { recursive: true });
  if (mutant !== undefined) {
    const { file, find, replace } = mutant;
    writeFileSync(join(copy, file), readFileSync(join(root, file), "utf8").replace(find, () => replace));
  }
  return copy;
}

/** A thread that plays one task after the other. */
class Player {
  #thread = this.#begin();
  #done: (found: string) => void = () => {};

  #begin(): Worker {
    const crashed = (error: unknown) => {
      this.#thread = this.#begin();
      this.#done(`It crashed: ${error}`);
    };
    return new Worker(new URL("../simulation/mutant.ts", import.meta.url))
      .on("message", (found) => this.#done(found)).on("error", crashed);
  }

  /** What histories find; "" when nothing. */
  async play(mutant: Mutant | undefined, kind: Kind): Promise<string> {
    const copy = copySources(mutant);
    const directory = pathToFileURL(join(copy, "src")).href;
    const found = new Promise<string>((resolve) => this.#done = resolve);
    this.#thread.postMessage(
      { directory, kind, from: mutant?.from ?? 1, histories: mutant === undefined ? CLEAN : HISTORIES } satisfies Task,
    );
    try {
      return await found;
    } finally {
      rmSync(copy, { recursive: true });
    }
  }

  async end(): Promise<void> {
    await this.#thread.terminate();
  }
}

test("simulation: the code has the place of each mistake once", () => {
  const others = mutants.filter(({ file, find }) => readFileSync(join(root, file), "utf8").split(find).length !== 2);
  assertEquals(others.map(({ mistake, file, find }) => `${mistake}: ${file}: ${find}`), []);
});

test("simulation: a copy without a mistake passes, and each mistake is found", async () => {
  const tasks: [Mutant | undefined, Kind][] = [
    ...kinds.map((kind): [undefined, Kind] => [undefined, kind]),
    ...mutants.map((mutant): [Mutant, Kind] => [mutant, mutant.kind ?? "loop"]),
  ];
  const wrong: string[] = [];
  const work = async () => {
    const player = new Player();
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) {
      const [mutant, kind] = task;
      const found = await player.play(mutant, kind);
      if (mutant === undefined && found !== "") wrong.push(`without a mistake, ${kind}: ${found}`);
      if (mutant !== undefined && !found.startsWith("Seed ")) wrong.push(`not found: ${mutant.mistake} ${found}`);
    }
    await player.end();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  assertEquals(wrong, []);
});
