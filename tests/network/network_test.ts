import { test } from "node:test";
import { runtime } from "../support/spawn.ts";
import { needsLab } from "./lab.ts";
import { groups, play } from "./scenes.ts";

/** The kernel is the same for each runtime, and so is the session: two of them have what timers and sockets decide. */
const wanted = Object.entries(groups).filter(([group]) => runtime === "deno" || group === "a machine");

for (const [group, scenes] of wanted) {
  const names = Object.keys(scenes);
  test(
    `network: ${group}, ${names.length} scenes: the client comes back, tells it, and every message arrives`,
    needsLab(),
    async () => {
      // Beside each other: they wait, and each has a network of its own.
      const played = await Promise.allSettled(names.map(async (name) => {
        console.log(`${group} ${name}: ${await play(`${group} ${name}`, scenes[name]!, "connect")}`);
      }));
      const failures = played.flatMap((each) => each.status === "rejected" ? [(each.reason as Error).message] : []);
      if (failures.length > 0) throw new Error(failures.join("\n\n"));
    },
  );
}
