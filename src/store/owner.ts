/** Who has a lock, and whether that process still runs.
 * @module */

import { runtimeProcess } from "../runtime.ts";
import { codeOf, type Fs } from "./file.ts";

/** What tells a process from every other; empty where the system, or a permission of Deno's, does not tell it. */
export interface Owner {
  readonly pid: number;
  /** When it was started, in ticks since the system was: process identifiers come again. */
  readonly started: string;
  /** Which start of the system that was. */
  readonly boot: string;
  /** What its process identifier is valid in: containers have their own. */
  readonly namespace: string;
  readonly host: string;
  /** Random: which of the locks that were ever made. */
  readonly token: string;
  /** Whether the system holds the lock's file for it, too: only Deno can do that, and see it. */
  readonly held: boolean;
}

/** `"dead"`: it does not run any more. `"unknown"`: Deno was not given the permission to tell. */
export type Life = "alive" | "dead" | "unknown";

/** Describes this process. */
export function thisProcess(fs: Fs, token: string, held: boolean): Owner {
  const read = (path: string) => readOr(fs, path).trim();
  return {
    pid: runtimeProcess().pid,
    started: statOf(read("/proc/self/stat")).started,
    boot: read("/proc/sys/kernel/random/boot_id"),
    namespace: namespaceOf(fs),
    host: read("/proc/sys/kernel/hostname"),
    token,
    held,
  };
}

/** The owner that a lock's file names; undefined if it names none: then the power went before it was on the disk. */
export function readOwner(text: string): Owner | undefined {
  try {
    const { pid, started, boot, namespace, host, token, held } = JSON.parse(text);
    const isWhole = Number.isInteger(pid) && pid > 0 && /^[0-9a-f]+$/.test(token) &&
      [started, boot, namespace, host].every((part) => typeof part === "string");
    return isWhole ? { pid, started, boot, namespace, host, token, held: held === true } : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the owner of a lock still runs, as seen by `self`. */
export function lifeOf(fs: Fs, owner: Owner, self: Owner): Life {
  if (differ(owner.boot, self.boot)) return "dead";
  if (differ(owner.namespace, self.namespace)) return owner.host === self.host ? "dead" : "alive";
  try {
    runtimeProcess().kill(owner.pid, 0);
  } catch (error) {
    // EPERM: it runs, for another user. What has no code is Deno's own refusal.
    const code = codeOf(error);
    if (code !== "EPERM") return code === "ESRCH" ? "dead" : "unknown";
  }
  const { state, started } = statOf(readOr(fs, `/proc/${owner.pid}/stat`));
  const isOther = differ(owner.started, started);
  // Z and X: it was killed, and whoever has started it has not asked how it ended.
  return isOther || state === "Z" || state === "X" ? "dead" : "alive";
}

/** Whether the owner of a lock is this process, as far as is known. */
export function isSelf(owner: Owner, self: Owner): boolean {
  return owner.pid === self.pid && !differ(owner.namespace, self.namespace);
}

/** Whether both are known, and not the same. */
export function differ(one: string, other: string): boolean {
  return one !== "" && other !== "" && one !== other;
}

/** Its state and its start, the 3rd and the 22nd field; the 2nd is its name in brackets, in which anything can be. */
function statOf(stat: string): { state: string; started: string } {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", started: fields[19] ?? "" };
}

function namespaceOf(fs: Fs): string {
  try {
    return fs.readlinkSync("/proc/self/ns/pid");
  } catch {
    return ""; // see readOr
  }
}

/** What a file of the system says; nothing where there is none, and on Deno without --allow-all, which these need. */
function readOr(fs: Fs, path: string): string {
  try {
    return fs.readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
