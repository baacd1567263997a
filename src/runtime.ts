/** Modules of the runtime that are loaded when they are first needed: of a program's start, `node:process`, `node:stream` and
 * `node:net` take 25 ms on Deno, and `node:worker_threads` 7 ms on Bun.
 * @module */

import type { Process } from "node:process";

/** That of `node:process`. */
export function runtimeProcess(): Process {
  return (globalThis as unknown as { process: Process }).process;
}

/** `node:worker_threads`. */
export function workerThreads(): typeof import("node:worker_threads") {
  return runtimeProcess().getBuiltinModule("node:worker_threads");
}
