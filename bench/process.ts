/** What a run needs of its process: files, and what they cost. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import type { SessionStore } from "../mod.ts";
import type { Meter, Options, Params } from "./client.ts";

/** A meter over the whole process, with its threads. */
export function createMeter(): Meter {
  let started = 0;
  let usage = process.cpuUsage();
  return {
    start() {
      usage = process.cpuUsage();
      started = performance.now();
    },
    stop() {
      const seconds = (performance.now() - started) / 1000;
      const { user, system } = process.cpuUsage(usage);
      return { seconds, cpu: (user + system) / 1e6 };
    },
  };
}

/** The store of a run, in a folder of its own that goes with the process; undefined if it has none. */
export async function makeStore({ store, sync }: Params): Promise<SessionStore | undefined> {
  if (store === "") return undefined;
  const { fileStore } = await import("../mod.ts"); // commits that are compared with may not have it
  const folder = mkdtempSync(join(store, "store-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return fileStore(join(folder, "store"), { sync });
}

/** What a client is opened with. */
export async function optionsOf(params: Params): Promise<Options> {
  const { qos, version } = params;
  return { qos, version, store: await makeStore(params) };
}
