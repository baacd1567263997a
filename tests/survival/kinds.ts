/** The kinds of clients that are killed, with what else is done to them. */
import type { Options } from "./survival.ts";
import { type Mode, modes } from "./task.ts";

type Kind = Omit<Options, "kills" | "random">;

/** Milliseconds each way. */
const FAR = 15;
/** How long a store's flushes take, at the most; milliseconds. */
const SLOW = 20;

/** By name. A client that blocks takes no store that returns promises, and a module's no store but the file. */
export const kinds: Record<string, Kind> = Object.fromEntries(modes.flatMap((mode): [string, Kind][] => [
  [`${mode}`, { mode }],
  [`${mode}, broker stopped`, { mode, treatment: "SIGTERM" }],
  [`${mode}, broker killed`, { mode, treatment: "SIGKILL" }],
  [`${mode}, far`, { mode, delay: FAR, ...takesPromises(mode) ? { slow: SLOW } : {} }],
]));

function takesPromises(mode: Mode): boolean {
  return mode === "connect" || mode === "connectWorker";
}
