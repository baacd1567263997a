/** A client that is killed just before or just after each flush of its store, one after the other. */
import { join } from "node:path";
import { assertEquals } from "@std/assert";
import type { Random } from "../support/random.ts";
import type { Figures } from "./account.ts";
import type { Traffic } from "./packets.ts";
import { Scene, until } from "./scene.ts";
import type { Mode, Task } from "./task.ts";

/** What a client does if it is not killed: messages that it publishes, and messages of QoS 2 that it gets. */
const PUBLISHED = 10, FED = 5;

/** What is done. */
export interface BoundaryOptions {
  mode: Mode;
  when: "before" | "after";
  /** Every flush, or every second one, say. */
  step?: number;
  random: Random;
}

/**
 * Has one client after the other killed at its first flush, its second one, and so on, until one has had no flush at which
 * it was to be killed. Another process finishes what each of them has begun; it begins the next one, too.
 */
export function killAtEachFlush(
  { mode, when, step = 1, random }: BoundaryOptions,
): Promise<Figures & Traffic & { flushes: number }> {
  return Scene.with({}, async (scene) => {
    const taskOf = (id: string): Task => ({
      mode,
      port: scene.port,
      id,
      path: join(scene.folder, id),
      seed: random.int(0, 2 ** 31),
      next: scene.nextOf(id),
      count: PUBLISHED - scene.nextOf(id)[1] - scene.nextOf(id)[2],
      pause: 1,
    });
    for (let flush = random.int(1, step), before: string | undefined;; flush += step) {
      const id = `${when}${flush}`, finishing = before === undefined ? [] : [taskOf(before)];
      const child = await scene.start([...finishing, { ...taskOf(id), dies: { flush, when } }]);
      let isOver = false;
      const over = child.exited.then((code) => {
        isOver = true;
        return code;
      });
      try {
        for (const each of finishing.length > 0 ? [before!, id] : [id]) await attend(scene, each, () => isOver);
        await until(() => isOver, `the end of ${id}`);
        if (before !== undefined) assertEquals(scene.account(before).isDone, true, `${before}: ${child.stderr()}`);
        if (scene.account(id).isDone) return { ...await scene.judge(), flushes: flush };
        assertEquals(await over, 137, child.stderr());
      } finally {
        await child.stop();
      }
      before = id;
    }
  });
}

/** Sends a client what it is to get, and lets it go when it has handled that. */
async function attend(scene: Scene, id: string, isOver: () => boolean): Promise<void> {
  const account = scene.account(id), { run } = account;
  await until(() => isOver() || account.isDone || account.isSubscribed, `${id} has come`);
  while (account.isSubscribed && account.nextFed[2] < FED) scene.feed(id, 2);
  await until(() => isOver() || account.handled[2].size === FED, `${id} handles what it was sent, run ${run}`);
  if (!isOver()) scene.end(id);
  await until(() => isOver() || account.isDone, `the end of ${id}`);
}
