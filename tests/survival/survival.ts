/** A client that is killed with -9 again and again, at any moment, and started again with the same store. */
import { join } from "node:path";
import { assert, assertEquals } from "@std/assert";
import { within } from "../client/support.ts";
import type { Random } from "../support/random.ts";
import type { Figures, Treatment } from "./account.ts";
import type { Traffic } from "./packets.ts";
import { Scene, sleep, until } from "./scene.ts";
import type { Mode, Task } from "./task.ts";

/** What is done to it. */
export interface Options {
  mode: Mode;
  /** How many times it is killed. */
  kills: number;
  /** What is done to the broker, between kills, beside them, and alone. */
  treatment?: Treatment;
  /** Milliseconds of the line to the broker, each way. */
  delay?: number;
  /** How long the flushes of its store take, at the most; milliseconds. */
  slow?: number;
  random: Random;
}

/** How it went. */
export interface Outcome extends Options {
  figures: Figures & Traffic;
}

/** Kills, and judges what is left. */
export function survive(options: Options): Promise<Outcome> {
  const { mode, kills, treatment = "stays", delay = 0, slow, random } = options;
  return Scene.with({ treatment, delay }, async (scene) => {
    const id = "child", account = scene.account(id);
    const task = (): Task => ({
      mode,
      port: scene.port,
      id,
      path: join(scene.folder, "store"),
      seed: random.int(0, 2 ** 31),
      next: scene.nextOf(id),
      pause: 3,
      ...slow === undefined ? {} : { slow },
    });
    scene.feedOn(id);
    for (let i = 0; i < kills; i++) {
      const child = await scene.start([task()]), isOver = watch(child.exited);
      try {
        const { run } = account;
        await until(() => isOver() || account.run > run, "the child begins");
        const restarting = treatment !== "stays" && random.chance(0.3) ? scene.restartBroker() : undefined;
        await moment(random, isOver, () => account.stored.size);
        if (random.chance(0.5)) await restarting;
        assert(!isOver(), `The child has ended: ${child.stderr()}`);
        child.kill("SIGKILL");
        await restarting;
      } finally {
        await child.stop();
      }
    }
    if (treatment !== "stays") await scene.restartBroker();
    await scene.feedNoMore();
    const child = await scene.start([{ ...task(), count: 20 }]), isOver = watch(child.exited);
    try {
      const { run } = account;
      await until(() => isOver() || account.run > run && account.isSubscribed, "the last child has come");
      await scene.handled(id);
      scene.end(id);
      assertEquals(await within(child.exited, `the end of the child ${child.stderr()}`, 30_000), 0, child.stderr());
      assert(account.isDone);
    } finally {
      await child.stop();
    }
    return { ...options, figures: await scene.judge({ slow: slow !== undefined }) };
  });
}

function watch(exited: Promise<unknown>): () => boolean {
  let isOver = false;
  exited.then(() => isOver = true);
  return () => isOver;
}

/** The moment of a kill: some time after it has begun, or once some more messages are stored. */
async function moment(random: Random, isOver: () => boolean, stored: () => number): Promise<void> {
  if (random.chance(0.4)) return void await sleep(random.int(0, 100));
  const wanted = stored() + random.int(1, 25);
  await until(() => isOver() || stored() >= wanted, "messages are stored");
  await sleep(random.int(0, 3));
}

/** The figures, in words. */
export function describe({ mode, kills, treatment = "stays", delay = 0, slow = 0, figures }: Outcome): string {
  const words = Object.entries(figures).map(([what, count]) => `${count} ${what}`);
  return `${mode}, ${kills} kills, broker ${treatment}, line ${delay} ms, store ${slow} ms: ${words.join(", ")}`;
}
