import { test } from "node:test";
import { assertGreater } from "@std/assert";
import { needs } from "../support/process.ts";
import { Random } from "../support/random.ts";
import { runtime } from "../support/spawn.ts";
import { describe, restart } from "./restarts.ts";

/** The parts beside each other are the same ones: one runtime does more. */
const restarts = runtime === "deno" ? 10 : 3;

for (const qos of [0, 1, 2] as const) {
  for (const [signal, how] of [["SIGTERM", "stopped"], ["SIGKILL", "killed"]] as const) {
    const title =
      `restarts: mosquitto ${how} and started again and again under load at QoS ${qos}: each message is accounted for`;
    test(title, needs("mosquitto"), async () => {
      const figures = await restart({ qos, restarts, signal, random: new Random(qos + 1) });
      console.log(`${signal}: ${describe(figures)}`);
      assertGreater(figures.received + figures.repeated, 100 * restarts);
    });
  }
}
