/** A file that is open, and the functions of `node:fs`, which is loaded when a store is opened.
 * @module */

import { runtimeProcess } from "../runtime.ts";
import { MqttError } from "../errors.ts";

/** The runtime's functions for files. */
export type Fs = typeof import("node:fs");

/**
 * The functions for files; a promise of them on a Node before 20.16. `mod.ts` does not load them: that would cost Deno
 * 11 ms of its start, and `createRequire` of `node:module` 4.
 */
export function loadFs(): Fs | Promise<Fs> {
  return runtimeProcess().getBuiltinModule?.("node:fs") ?? import("node:fs");
}

/** The error of a store. */
export function storeError(message: string, cause?: unknown): MqttError {
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  return new MqttError("store", message + why, cause);
}

/** Runs functions for files; `what` says what cannot be done when one throws. */
export function attempt<T>(what: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw error instanceof MqttError ? error : storeError(what, error);
  }
}

/** The code that the system gave to an error, such as "ENOENT". */
export function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | undefined)?.code;
}

/** Removes a file, if it is there. */
export function remove(fs: Fs, path: string): void {
  fs.rmSync(path, { force: true });
}

/** A file that is open. */
export class StoreFile {
  readonly #fs: Fs;
  readonly #path: string;
  readonly #file: number;

  /** Opens a file with the flags of `openSync`; only its owner may read one that is made. */
  constructor(fs: Fs, path: string, flags: "r+" | "wx+") {
    this.#fs = fs;
    this.#path = path;
    this.#file = fs.openSync(path, flags, 0o600);
  }

  /** How long the file is, in bytes. */
  get size(): number {
    return attempt(`Cannot read the file ${this.#path}`, () => this.#fs.fstatSync(this.#file).size);
  }

  /** Reads into the whole of `bytes`, and returns how many there were before the file ended. */
  read(bytes: Uint8Array, at: number): number {
    return attempt(`Cannot read the file ${this.#path}`, () => {
      let read = 0;
      while (read < bytes.length) {
        const more = this.#fs.readSync(this.#file, bytes, read, bytes.length - read, at + read);
        if (more === 0) break;
        read += more;
      }
      return read;
    });
  }

  /** Writes the first `length` bytes. A full disk takes a part of them, and refuses the rest. */
  write(bytes: Uint8Array, length: number, at: number): void {
    let written = 0;
    while (written < length) {
      written += this.#fs.writeSync(this.#file, bytes, written, length - written, at + written);
    }
  }

  /** Cuts the file off. */
  truncate(length: number): void {
    this.#fs.ftruncateSync(this.#file, length);
  }

  /** Waits until the disk has it all. */
  sync(): void {
    this.#fs.fdatasyncSync(this.#file);
  }

  /** The same in the background. */
  syncSoon(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#fs.fdatasync(this.#file, (error) => error ? reject(error) : resolve());
    });
  }

  /** Closes it. */
  close(): void {
    this.#fs.closeSync(this.#file);
  }

  /** The same in the background: of a file that was replaced, the system gives back the memory, milliseconds of it. */
  closeSoon(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#fs.close(this.#file, (error) => error ? reject(error) : resolve());
    });
  }
}

/** Waits until the disk has the names of the files in a folder. Windows opens no folder, and needs none of that. */
export function syncFolder(fs: Fs, path: string): void {
  if (runtimeProcess().platform === "win32") return;
  const folder = fs.openSync(path, "r");
  try {
    fs.fsyncSync(folder);
  } finally {
    fs.closeSync(folder);
  }
}

/** The same in the background. */
export async function syncFolderSoon(fs: Fs, path: string): Promise<void> {
  if (runtimeProcess().platform === "win32") return;
  const folder = fs.openSync(path, "r");
  try {
    await new Promise<void>((resolve, reject) => fs.fsync(folder, (error) => error ? reject(error) : resolve()));
  } finally {
    fs.closeSync(folder);
  }
}

/** The folder that a file is in. */
export function folderOf(path: string): string {
  const end = Math.max(path.lastIndexOf("/"), path.lastIndexOf(runtimeProcess().platform === "win32" ? "\\" : "/"));
  return end === -1 ? "." : path.slice(0, end) || "/";
}

/**
 * The path of a file that stays the same when the program changes its folder: with the folder of now before it, and that
 * of the file itself if it is a link, as what is renamed over a link takes the place of the link.
 */
export function resolvePath(fs: Fs, path: string): string {
  return attempt(`Cannot open the store ${path}`, () => {
    const isLink = fs.lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
    const found = isLink ? fs.realpathSync(path) : path;
    return /^([a-z]:)?[/\\]/i.test(found) ? found : `${currentFolder()}${found}`;
  });
}

function currentFolder(): string {
  try {
    return `${runtimeProcess().cwd()}/`;
  } catch {
    return ""; // Deno lets a program without this permission not change its folder either
  }
}
