/** A client that finds a long backlog in its store: over a long line it goes out as fast as the window lets it. */
import { join } from "node:path";
import { assert, assertEquals } from "@std/assert";
import { within } from "../client/support.ts";
import type { Random } from "../support/random.ts";
import type { Figures } from "./account.ts";
import type { Passed } from "./line.ts";
import { byClient, MOST_QOS2, type Traffic } from "./packets.ts";
import { Scene, until } from "./scene.ts";
import type { Mode, Task } from "./task.ts";

/** How it went: round trips that followed from each other, and how many the window makes necessary. */
export type BacklogFigures = Figures & Traffic & { trips: number; needed: number };

/** Has a client store so many messages while it hears nothing from the broker, kills it, and has another one send them. */
export function sendBacklog({ mode, count, random }: { mode: Mode; count: number; random: Random }): Promise<
  BacklogFigures
> {
  return Scene.with({ delay: 15 }, async (scene) => {
    const id = "child", account = scene.account(id), { line } = scene;
    const path = join(scene.folder, "store"), seed = random.int(0, 2 ** 31);
    const task = (): Task => ({ mode, port: scene.port, id, path, seed, next: scene.nextOf(id), count, pause: 1 });
    line.isDeaf = true;
    const first = await scene.start([task()]);
    try {
      await until(() => account.stored.size === count, "all is stored");
      first.kill("SIGKILL");
    } finally {
      await first.stop();
    }
    line.isDeaf = false;
    const from = line.packets.length;
    const second = await scene.start([{ ...task(), count: 0 }]);
    try {
      await until(() => account.run === 1 && account.isSubscribed, "the second client has come");
      scene.end(id);
      assertEquals(await within(second.exited, "the end of the second client", 60_000), 0, second.stderr());
    } finally {
      await second.stop();
    }
    assert(account.isDone);
    // Each of QoS 2 takes two round trips; those of QoS 1 go out beside them.
    const needed = 2 * Math.ceil(account.next[2] / MOST_QOS2);
    return { ...await scene.judge(), trips: countTrips(byClient(line.packets.slice(from)).get(id)!), needed };
  });
}

/** How many round trips followed from each other: what is sent follows from all that came before, an answer from what it answers. */
function countTrips(packets: readonly Passed[]): number {
  let trips = 0;
  const sent = new Map<string, number>(), asked = { PUBACK: "PUBLISH", PUBREC: "PUBLISH", PUBCOMP: "PUBREL" };
  for (const { from, packet } of packets) {
    if (!("packetId" in packet)) continue;
    const { type, packetId } = packet;
    if (from === "client") sent.set(`${type} ${packetId}`, trips);
    else if (type in asked) {
      trips = Math.max(trips, 1 + (sent.get(`${asked[type as keyof typeof asked]} ${packetId}`) ?? 0));
    }
  }
  return trips;
}
