import { assert, assertGreater } from "@std/assert";
import { test } from "node:test";
import { type Runtime, runtime } from "../support/spawn.ts";
import type { Outcome } from "./outcome.ts";
import { type Kind, simulate } from "./simulate.ts";

type Range = [from: number, count: number];

/**
 * Ten thousand of the client in the event loop: each runtime has its own, most where they are fastest. The others besides.
 * The odd seeds speak version 5, or `"auto"`, the even ones version 3.1.1.
 */
const ranges: Record<Kind, Record<Runtime, Range>> = {
  loop: { deno: [1, 6000], bun: [6001, 2000], node: [8001, 2000] },
  bare: { deno: [1, 2000], bun: [2001, 1000], node: [3001, 1000] },
  blocking: { deno: [1, 2000], bun: [2001, 1000], node: [3001, 1000] },
  qos: { deno: [1, 10_000], bun: [10_001, 2000], node: [12_001, 2000] },
  durable: { deno: [1, 9000], bun: [10_001, 2000], node: [12_001, 2000] },
  hints: { deno: [1, 1000], bun: [1001, 500], node: [1501, 500] },
};

/** What the histories must have in them: the codes of their ends, the faults of their connections, and what is told. */
const CODES = ["disconnect", "socketclosed", "pingresp", "timeout", "protocol", "cannotconnect", "CONNACK"];
const FAULTS = [
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
  "goodbye",
];
const TOLD = ["connecting", "connected", "waiting", "refused", "dropped", "stalled", "closed", "older version"];

/** The same of those of QoS 1 and 2. */
const QOS = [
  "connected",
  "waiting",
  "dropped",
  "unclaimed",
  "stalled",
  "resumed",
  "taken over",
  "lost",
  "sessionlost",
  "overflow",
  // of version 5
  ...["unsupported", "stale", "aliased", "142", "duel", "128", "131", "135"],
];

/** The same of those of a session in a store. */
const DURABLE = [
  ...["connected", "waiting", "store", "dropped", "died", "damaged", "replaced", "stored"],
  ...["resumed", "taken over", "lost", "sessionlost", "overflow", "stale", "disconnect"],
  ...["planned", "early", "refused", "unclaimed"], // of programs that subscribe
  ...["128", "131", "135", "orphaned"], // of version 5
];

/** Plays histories; `hasMessages`: whether they are about messages, and must have many. */
async function play(
  kind: Kind,
  wanted: readonly (string | number)[],
  { hasMessages = true }: { hasMessages?: boolean } = {},
): Promise<void> {
  const [from, count] = ranges[kind][runtime];
  const seen = new Set<string | number>();
  let connections = 0, published = 0, delivered = 0;
  const each = (outcome: Outcome) => {
    if (typeof outcome.code === "number") seen.add("CONNACK"); // its return code, or its reason code
    for (const what of [outcome.code, ...outcome.faults, ...outcome.told]) seen.add(what);
    connections += outcome.connections;
    published += outcome.published;
    delivered += outcome.delivered;
  };
  await simulate(from, count, { kind, each });
  for (const what of wanted) assert(seen.has(what), `no history has ${what} in it`);
  assertGreater(connections, count / 2);
  if (!hasMessages) return;
  assertGreater(published, 10 * count);
  assertGreater(delivered, 5 * count);
}

test("simulation: in all histories everything settles and nothing is lost, repeated or left over", () =>
  play("loop", [...CODES, ...FAULTS, ...TOLD, "surfaced"]));

test("simulation: the bare session keeps its contract, however its shell uses its freedom", () =>
  play("bare", [...CODES, ...FAULTS, ...TOLD, "surfaced"]));

test("simulation: no call of the blocking client takes too long, and no message is lost", () =>
  play("blocking", [...CODES, ...FAULTS, ...TOLD]));

test("simulation: QoS 1 comes at least once, QoS 2 once, in order, and nothing is acknowledged that is not settled", () =>
  play("qos", QOS));

test("simulation: what a store was given is sent, in order and QoS 2 once, over any number of processes that die", () =>
  play("durable", DURABLE));

test("simulation: a hint that the network has changed leads to an attempt at once, or has a dead connection given up", () =>
  play("hints", ["connected", "waiting", "pinged", "woken", "at once", "disconnect"], { hasMessages: false }));
