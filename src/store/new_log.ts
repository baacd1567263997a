/** A log that is written beside the one that it is to replace.
 * @module */

import { attempt, type Fs, remove, StoreFile } from "./file.ts";
import { HEADER, makeHeader } from "./format.ts";
import { Frames } from "./frames.ts";
import { Log } from "./log.ts";
import { PORTION } from "./scan.ts";

/** Where it is written. */
export function newPath(path: string): string {
  return `${path}.new`;
}

/** A log that takes the place of `path` when it is complete. */
export class NewLog {
  readonly log: Log;
  readonly #fs: Fs;
  readonly #path: string;
  readonly #frames = new Frames();

  /**
   * Begins it; `first` is the sequence of its first record.
   *
   * @throws {MqttError} `"store"` if it cannot.
   */
  constructor(fs: Fs, path: string, first: number) {
    this.#fs = fs;
    this.#path = path;
    const { header, bytes } = makeHeader(first);
    const file = attempt(`Cannot make the file ${newPath(path)}`, () => {
      remove(fs, newPath(path));
      return new StoreFile(fs, newPath(path), "wx+");
    });
    this.log = new Log({ fs, path, file, seed: header.seed, end: { end: HEADER, next: first } });
    try {
      attempt(`Cannot write the file ${newPath(path)}`, () => file.write(bytes, HEADER, 0));
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  /** Adds a record. Returns whether a portion was written. */
  append(record: Uint8Array): boolean {
    this.#frames.append(record);
    if (this.#frames.used < PORTION) return false;
    this.write();
    return true;
  }

  /** Writes what was added. */
  write(): void {
    const { used } = this.#frames;
    this.log.write(this.#frames, used);
    this.log.keep();
    this.#frames.drop(used);
  }

  /** Gives it the name of the log that it replaces. */
  rename(): void {
    attempt(`Cannot replace the store ${this.#path}`, () => this.#fs.renameSync(newPath(this.#path), this.#path));
    this.log.isRenamed = true;
  }

  /** Gives it up. */
  discard(): void {
    this.log.file.close();
    attempt(`Cannot remove the file ${newPath(this.#path)}`, () => remove(this.#fs, newPath(this.#path)));
  }
}
