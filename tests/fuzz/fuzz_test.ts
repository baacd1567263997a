import { test } from "node:test";
import { assertGreater } from "@std/assert";
import { runtime } from "../support/spawn.ts";
import { fuzz } from "./fuzz.ts";

/** A million in all: each runtime has its own. */
const INPUTS = { deno: 400_000, bun: 300_000, node: 300_000 }[runtime];

test(`fuzz: ${INPUTS} broken streams give packets or an MqttError, the same at any cut`, async () => {
  const { packets, errors, differences } = await fuzz({ deno: 1, bun: 2, node: 3 }[runtime], INPUTS);
  // They have in them what they are for.
  assertGreater(packets, INPUTS / 2);
  for (const code of ["none", "protocol", "unknowncp", "overflow"]) assertGreater(errors.get(code) ?? 0, INPUTS / 1000);
  assertGreater(differences.size, 5);
});
