/** A process that is killed at any moment: all that it was told to be kept is there, and nothing is in the way. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import { Random } from "../support/random.ts";
import { startScript } from "../support/spawn.ts";
import { inFolder, numbers, read } from "./support.ts";

const child = "tests/store/child.ts";
const KILLS = 20;

/** Kills a child at a random moment. Returns the last number that it said to be kept. */
async function kill(scenario: string, path: string, more: string, random: Random): Promise<number> {
  const process = await startScript(child, [scenario, path, more]);
  await process.output(/\d+\n/);
  await new Promise((resolve) => setTimeout(resolve, random.int(0, 40)));
  process.kill("SIGKILL");
  await process.exited;
  // The last line may be cut off.
  return Number(/(?:^|\n)(\d+)\n[^\n]*$/.exec(process.stdout())![1]);
}

for (const more of ["os", "os blocking", "disk"]) {
  test(`store: kill -9 while records are appended (${more}), 7 times: a prefix is read, with all that was kept`, () =>
    inFolder(async (folder) => {
      const path = join(folder, "store");
      const random = new Random(more.length);
      for (let i = 0; i < Math.ceil(KILLS / 3); i++) {
        const kept = await kill("append", path, more, random);
        const { texts, messages } = read(path);
        assertEquals(messages, []);
        assertGreaterOrEqual(texts.length, kept);
        assertEquals(texts.map((text) => text.trim()), numbers(1, texts.length));
      }
    }));

  test(`store: kill -9 while the log is replaced (${more}), 7 times: nothing that was kept is missing`, () =>
    inFolder(async (folder) => {
      const path = join(folder, "store");
      const random = new Random(10 + more.length);
      let torn = 0;
      for (let i = 0; i < Math.ceil(KILLS / 3); i++) {
        const kept = await kill("replace", path, more, random);
        torn += Number(existsSync(`${path}.new`));
        const { texts, messages } = read(path);
        assertEquals(messages, []);
        const [first, last] = [Number(texts[0]), Number(texts.at(-1))];
        assertGreaterOrEqual(last, kept);
        assert(first <= Math.max(1, kept - 49), "of what it was replaced by, nothing is missing");
        assertEquals(texts.map((text) => text.trim()), numbers(first, last));
        assert(!existsSync(`${path}.new`));
      }
      console.log(`${torn} of ${Math.ceil(KILLS / 3)} were killed while the new file was being written`);
    }));
}
