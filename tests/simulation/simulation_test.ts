import { assert, assertGreater } from "@std/assert";
import { test } from "node:test";
import { runtime } from "../support/spawn.ts";
import type { Outcome } from "./history.ts";
import { simulate } from "./simulate.ts";

/** Ten thousand in all: each runtime has its own, most where they are fastest. */
const [from, count] = { deno: [1, 6000], bun: [6001, 2000], node: [8001, 2000] }[runtime] as [number, number];

test(`simulation: in ${count} histories everything settles and nothing is lost, repeated or left over`, async () => {
  const ends = new Set<string | number>(), faults = new Set<string>(), told = new Set<string>();
  let connections = 0, published = 0, delivered = 0;
  const each = (outcome: Outcome) => {
    ends.add(outcome.code);
    for (const fault of outcome.faults) faults.add(fault);
    for (const what of outcome.told) told.add(what);
    connections += outcome.connections;
    published += outcome.published;
    delivered += outcome.delivered;
  };
  await simulate(from, count, { each });
  // They have in them what they are for.
  for (const code of ["disconnect", "socketclosed", "pingresp", "timeout", "protocol", "cannotconnect", 3]) {
    assert(ends.has(code), `no history ends with ${code}`);
  }
  for (
    const fault of [
      "none",
      "fin",
      "reset",
      "half-open",
      "stall",
      "silent",
      "deaf",
      "garbage",
      "refusal",
      "forbids",
      "mute",
    ]
  ) {
    assert(faults.has(fault), `no history has the fault ${fault}`);
  }
  for (const what of ["connecting", "connected", "waiting", "refused", "dropped", "closed", "surfaced"]) {
    assert(told.has(what), `in no history ${what} is told`);
  }
  assertGreater(connections, count / 2);
  assertGreater(published, 20 * count);
  assertGreater(delivered, 5 * count);
});
