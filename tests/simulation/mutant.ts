/** A thread that plays histories with the library in a directory, and tells what they find; "" when nothing. */
import { parentPort } from "node:worker_threads";
import { loadLibrary } from "./library.ts";
import { type Kind, simulate } from "./simulate.ts";

/** What it is asked for. */
export interface Task {
  /** A URL. */
  readonly directory: string;
  readonly kind: Kind;
  /** The seed of the first one. */
  readonly from: number;
  readonly histories: number;
}

parentPort!.on("message", async ({ directory, kind, from, histories }: Task) => {
  const using = await loadLibrary(directory);
  parentPort!.postMessage(await simulate(from, histories, { using, kind }).then(() => "", (error) => error.message));
});
