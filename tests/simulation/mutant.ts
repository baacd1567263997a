/** A thread that plays histories with the library in a directory, and tells what they find; "" when nothing. */
import { parentPort, workerData } from "node:worker_threads";
import { loadLibrary } from "./library.ts";
import { type Kind, simulate } from "./simulate.ts";

/** How many histories a mutant must be found in. */
const HISTORIES = 2000;

const { directory, kind } = workerData as { directory: string; kind: Kind };
const using = await loadLibrary(directory);
parentPort!.postMessage(await simulate(1, HISTORIES, { using, kind }).then(() => "", (error) => error.message));
