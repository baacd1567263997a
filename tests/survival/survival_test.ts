/** Durable sessions and kill -9: real processes, a real broker. The long form is `tests/survival/main.ts`. */
import { test } from "node:test";
import { assertGreater, assertLessOrEqual } from "@std/assert";
import { needs } from "../support/process.ts";
import { Random } from "../support/random.ts";
import { runtime } from "../support/spawn.ts";
import { sendBacklog } from "./backlog.ts";
import { killAtEachFlush } from "./boundaries.ts";
import { kinds } from "./kinds.ts";
import { describe, survive } from "./survival.ts";
import { modes } from "./task.ts";

/** What is written and read is the same on each runtime: one of them does it all. */
const isThorough = runtime === "deno";

/** Beside each other: the processes mostly wait. */
async function killEach(names: readonly string[], kills: number): Promise<void> {
  const outcomes = await Promise.all(
    names.map((name, i) => survive({ ...kinds[name]!, kills, random: new Random(i + 1) })),
  );
  for (const outcome of outcomes) {
    console.log(describe(outcome));
    assertGreater(outcome.figures.stored, 0);
  }
  const underWay = outcomes.reduce((sum, { figures: { resent, released } }) => sum + resent + released, 0);
  assertGreater(underWay, 0, "something was under way when they were killed");
}

test(
  "survival: killed at any moment, what was stored arrives, in order, and QoS 2 once; what was received is handled, and QoS 2 once but what was in hand",
  needs("mosquitto"),
  () => killEach(modes, isThorough ? 30 : 4),
);

test(
  "survival: the same with a broker that is stopped, or killed, in between",
  needs("mosquitto"),
  () => killEach(["connect, broker stopped", "connectSync, broker killed"], isThorough ? 6 : 4),
);

test(
  "survival: [MQTT-4.6.0-1] [MQTT-4.6.0-4] over a long line, with a store that takes its time, order stays",
  needs("mosquitto"),
  () => killEach(["connectWorker, far"], isThorough ? 8 : 3),
);

test("survival: killed just before and just after each flush of the store", needs("mosquitto"), async () => {
  const scenes = modes.filter((mode) => mode !== "module").flatMap((mode) =>
    (["before", "after"] as const).map((when) => ({ mode, when, step: isThorough && mode === "connect" ? 1 : 8 }))
  );
  // The two of a mode beside each other.
  for (let i = 0; i < scenes.length; i += 2) {
    const figures = await Promise.all(
      scenes.slice(i, i + 2).map((scene, j) => killAtEachFlush({ ...scene, random: new Random(i + j) })),
    );
    for (const { flushes, stored } of figures) {
      assertGreater(flushes, 10);
      assertGreater(stored, 0);
    }
  }
});

test(
  "survival: over a long line, the backlog of a store goes out as fast as the window lets it",
  needs("mosquitto"),
  async () => {
    for (const mode of isThorough ? ["connect", "connectSync"] as const : ["connect"] as const) {
      const { trips, needed } = await sendBacklog({ mode, count: 400, random: new Random(1) });
      console.log(`${mode}: a backlog of 400 messages in ${trips} round trips, where the window needs ${needed}`);
      assertLessOrEqual(trips, 1.5 * needed);
    }
  },
);
