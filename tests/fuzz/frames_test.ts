import { test } from "node:test";
import { assertGreater } from "@std/assert";
import { runtime } from "../support/spawn.ts";
import { fuzzFrames } from "./frames.ts";

const INPUTS = 20_000;

test(`fuzz: ${INPUTS} broken streams of frames give payloads and one clear end, the same at any cut, and as ws does`, async () => {
  const { bytes, transported, ends, differences } = await fuzzFrames({ deno: 1, bun: 2, node: 3 }[runtime], INPUTS);
  // They have in them what they are for.
  assertGreater(bytes, INPUTS * 100);
  assertGreater(transported, INPUTS / 20);
  for (const end of ["none", "close", "mistake 1002", "mistake 1003", "mistake 1007"]) {
    assertGreater(ends.get(end) ?? 0, INPUTS / 1000, end);
  }
  assertGreater(differences.size, 3);
});
