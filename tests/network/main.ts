/**
 * The long form: `deno run -A tests/network/main.ts [--rounds 3] [--only half-open]`: lines, names and machines in network
 * namespaces, each scene in both modes. It needs Linux, root, iproute2 and iptables. On Bun the same, on Node the built
 * copy.
 */
import { parseArgs } from "node:util";
import { groups, type Mode, play } from "./scenes.ts";

const { values } = parseArgs({ options: { rounds: { type: "string" }, only: { type: "string" } } });
const modes: Mode[] = ["connect", "connectWorker"];
for (let round = 1; round <= Number(values.rounds ?? 1); round++) {
  for (const [group, scenes] of Object.entries(groups)) {
    for (const [rest, scene] of Object.entries(scenes)) {
      const name = `${group} ${rest}`;
      if (!name.includes(values.only ?? "")) continue;
      for (const mode of modes) console.log(`${name}, ${mode}: ${await play(name, scene, mode)}`);
    }
  }
}
