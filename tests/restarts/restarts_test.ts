import { test } from "node:test";
import { assertGreater } from "@std/assert";
import { needs } from "../support/process.ts";
import { Random } from "../support/random.ts";
import { describe, restart } from "./restarts.ts";

for (const qos of [0, 1, 2] as const) {
  for (const [signal, how] of [["SIGTERM", "stopped"], ["SIGKILL", "killed"]] as const) {
    const title =
      `restarts: mosquitto ${how} and started again ten times under load at QoS ${qos}: each message is accounted for`;
    test(title, needs("mosquitto"), async () => {
      const figures = await restart({ qos, restarts: 10, signal, random: new Random(qos + 1) });
      console.log(`${signal}: ${describe(figures)}`);
      assertGreater(figures.received, 1000);
    });
  }
}
