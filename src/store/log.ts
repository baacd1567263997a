/** The log in a file, as it is written.
 * @module */

import { folderOf, type Fs, storeError, type StoreFile, syncFolder, syncFolderSoon } from "./file.ts";
import { type End, seal } from "./format.ts";
import type { Frames } from "./frames.ts";

/** What a log begins with. */
export interface LogParts {
  readonly fs: Fs;
  readonly path: string;
  readonly file: StoreFile;
  /** Where the checksums of the file begin. */
  readonly seed: number;
  /** Where its records end. */
  readonly end: End;
}

/** A file that ends with a record. What is written can be cut off again until it is kept. */
export class Log {
  readonly file: StoreFile;
  readonly seed: number;
  /** Set when the file gets its name: until the folder is forced to the disk, a power cut may give that back to another. */
  isRenamed = false;
  readonly #fs: Fs;
  readonly #path: string;
  /** Where the records end that are kept, and those that are written. */
  #kept: End;
  #written: End;
  /** Whether what is behind the records could not be cut off, and must be before anything is written there. */
  #isTorn = false;

  constructor({ fs, path, file, seed, end }: LogParts) {
    this.#fs = fs;
    this.#path = path;
    this.file = file;
    this.seed = seed;
    this.#kept = this.#written = end;
  }

  /** Where what is kept ends. */
  get kept(): End {
    return this.#kept;
  }

  /**
   * Writes the records in the first `length` bytes of a buffer.
   *
   * @throws {MqttError} `"store"` if it cannot; the file is then as it was when something was kept last.
   */
  write({ bytes }: Frames, length: number): void {
    const before = this.#written;
    try {
      if (this.#isTorn) this.#truncate();
      const after = seal(bytes, length, this.seed, before);
      this.file.write(bytes, length, before.end);
      this.#written = after;
    } catch (error) {
      throw this.#cut(error);
    }
  }

  /** What is written is kept by the operating system, which outlives the process. */
  keep(): void {
    this.#kept = this.#written;
  }

  /** What is written is kept on the disk. */
  keepOnDisk(): void {
    try {
      this.file.sync();
      this.keepName();
    } catch (error) {
      throw this.#cut(error);
    }
    this.#kept = this.#written;
  }

  /** The same in the background: one at a time, and nothing is written meanwhile. */
  async keepOnDiskSoon(): Promise<void> {
    try {
      await this.file.syncSoon();
      await this.keepNameSoon();
    } catch (error) {
      throw this.#cut(error);
    }
    this.#kept = this.#written;
  }

  /** Its name is kept on the disk. */
  keepName(): void {
    if (this.isRenamed) syncFolder(this.#fs, folderOf(this.#path));
    this.isRenamed = false;
  }

  /** The same in the background. */
  async keepNameSoon(): Promise<void> {
    if (this.isRenamed) await syncFolderSoon(this.#fs, folderOf(this.#path));
    this.isRenamed = false;
  }

  /** Cuts off what is written and not kept. Returns the error that tells it. */
  #cut(cause: unknown): Error {
    this.#written = this.#kept;
    this.#isTorn = true;
    try {
      this.#truncate();
    } catch {
      // The next write tries again before anything else; until then what is there would be read as a torn tail.
    }
    return storeError(`Cannot keep this in the store ${this.#path}, which has all that it kept before`, cause);
  }

  #truncate(): void {
    this.file.truncate(this.#kept.end);
    this.#isTorn = false;
  }
}
