import { test } from "node:test";
import { assertGreater, assertLess, assertLessOrEqual } from "@std/assert";
import { needs } from "../support/process.ts";
import { connections } from "./connections.ts";
import { modes, soak } from "./soak.ts";

for (const mode of modes) {
  test(`soak: ${mode} at a mixed load: memory, files and threads stay as they are`, needs("mosquitto"), async () => {
    const moments = await soak(mode, 4, 1);
    const [first, ...later] = moments;
    const last = later.at(-2)!, after = later.at(-1)!;
    assertGreater(after.messages, 10);
    // The first seconds compile and fill caches; what leaks grows on.
    assertLess(last.rss, first!.rss + 80);
    assertLessOrEqual(last.files, first!.files + 12); // those that came and went may still be going
    assertLessOrEqual(after.files, first!.files);
    assertLessOrEqual(after.threads, first!.threads + 4);
    assertLess(last.p50, 100);
  });
}

test(
  "soak: 600 connections in a thread, one after the other, take the memory of a few",
  needs("mosquitto"),
  async () => {
    const taken = await connections(600, 200);
    // V8 had kept the rings of some hundred of them: 95 MiB more on Deno.
    assertLess(taken.at(-1)!.rss - taken[0]!.rss, 48);
  },
);
