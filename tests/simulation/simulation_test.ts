import { assert, assertGreater } from "@std/assert";
import { test } from "node:test";
import { runtime } from "../support/spawn.ts";
import { simulate } from "./simulate.ts";

/** All of them where the histories are fastest; elsewhere enough to see that the runtime makes no difference. */
const HISTORIES = runtime === "deno" ? 10_000 : 1000;

test(`simulation: in ${HISTORIES} histories everything settles and nothing is lost, repeated or left over`, async () => {
  const ends = new Set<string | number>(), faults = new Set<string>();
  let connections = 0, published = 0, delivered = 0;
  await simulate(1, HISTORIES, undefined, (outcome) => {
    ends.add(outcome.code);
    for (const fault of outcome.faults) faults.add(fault);
    connections += outcome.connections;
    published += outcome.published;
    delivered += outcome.delivered;
  });
  // They have in them what they are for.
  for (const code of ["disconnect", "socketclosed", "pingresp", "timeout", "protocol", "cannotconnect", 3]) {
    assert(ends.has(code), `no history ends with ${code}`);
  }
  for (const fault of ["none", "fin", "reset", "half-open", "stall", "silent", "deaf", "garbage", "refusal"]) {
    assert(faults.has(fault), `no history has the fault ${fault}`);
  }
  assertGreater(connections, HISTORIES / 2);
  assertGreater(published, 20 * HISTORIES);
  assertGreater(delivered, 5 * HISTORIES);
});
