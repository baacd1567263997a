/** The durable store that the library has: an append-only log in a file.
 * @module */

import { check, checkObject } from "../client/checks.ts";
import { checkNames } from "../client/options.ts";
import { deferred } from "../deferred.ts";
import type { MqttError } from "../errors.ts";
import { kindOf } from "../protocol/bytes.ts";
import type { SessionStore, StoreReader } from "./session_store.ts";
import { type Fs, loadFs, resolvePath, storeError } from "./file.ts";
import type { End } from "./format.ts";
import { Frames } from "./frames.ts";
import { type Job, runNow, runSoon } from "./job.ts";
import { type Lock, makeToken, takeLock } from "./lock.ts";
import type { Log } from "./log.ts";
import { NewLog } from "./new_log.ts";
import { openLog } from "./opening.ts";
import { scan } from "./scan.ts";

/** How a file store keeps what it is given. */
export interface FileStoreOptions {
  /**
   * When something counts as kept: `"os"`, the default, when the operating system has it, which outlives the process and
   * loses the last seconds when the power goes; `"disk"` when the disk has it, which outlives a power cut and takes as
   * long as the disk does: 0.1 to 20 ms each time.
   */
  sync?: "os" | "disk" | undefined;
}

/** How many times what came during a `replace` is copied in portions, before the rest is at one go. */
const MOST_ROUNDS = 10;

/** A file that is open, and its lock. */
interface Opened {
  readonly fs: Fs;
  readonly path: string;
  readonly lock: Lock;
  readonly log: Log;
}

/**
 * A log in a file: see {@linkcode fileStore}. Its `path` and `sync` are all that it takes to make it again in another
 * thread.
 */
export class FileStore implements SessionStore {
  /** The path of the file. */
  readonly path: string;
  /** When something counts as kept. */
  readonly sync: "os" | "disk";
  readonly #token: string;
  readonly #frames = new Frames();
  /** Undefined until it is open, and when it is closed. */
  #opened: Opened | undefined;
  #isBlocking = true;
  /** What is under way in the background: opening or replacing; and a flush. They never reject: their callers are told. */
  #job: Promise<void> | undefined;
  #flushing: Promise<void> | undefined;
  /** Set while a flush has to wait, for the last step of a replacement. */
  #gate: Promise<void> | undefined;
  /** Set by `close`, for what is under way to end. */
  #closing: Promise<void> | undefined;

  /** The arguments are those of {@linkcode fileStore}, checked; whoever may have to release the lock gives its token. */
  constructor(path: string, sync: "os" | "disk", token: string = makeToken()) {
    this.path = path;
    this.sync = sync;
    this.#token = token;
  }

  /**
   * Opens the file, or makes it, and gives its records to the reader.
   *
   * @throws {MqttError} `"store"` if it cannot be opened, or somebody has it open.
   */
  open(reader: StoreReader): void | Promise<void> {
    if (this.#opened !== undefined || this.#job !== undefined) {
      throw storeError(`The store ${this.path} is in use by this process`);
    }
    this.#isBlocking = reader.blocking;
    const fs = loadFs();
    if (!reader.blocking) return this.#inBackground(this.#openSoon(fs, reader));
    if (!(fs instanceof Promise)) return runNow(this.#open(fs, reader));
    throw storeError(`Cannot open the store ${this.path} for blocking calls, as that takes Node 20.16`);
  }

  /** Copies a record, for the next `flush` to write. */
  append(record: Uint8Array): void {
    if (this.#opened === undefined) throw this.#notOpen();
    this.#frames.append(record);
  }

  /**
   * Writes what was appended, with one write. With `"disk"` it returns a promise, unless the reader blocks.
   *
   * @throws {MqttError} `"store"` if it cannot; what was appended is then forgotten.
   */
  flush(): void | Promise<void> {
    const { used } = this.#frames;
    if (used === 0) return;
    if (this.#isBlocking || this.sync === "os") return this.#flushNow(used);
    const flushing = this.#flushSoon(used);
    const over = () => void (this.#flushing = undefined);
    this.#flushing = flushing.then(over, over);
    return flushing;
  }

  /**
   * Writes a new file and gives it the name of this one: portion by portion, in turns of the event loop, unless the reader
   * blocks. What is flushed meanwhile goes to both.
   *
   * @throws {MqttError} `"store"` if it cannot; the log is then as it was.
   */
  replace(records: Iterable<Uint8Array>): void | Promise<void> {
    if (this.#opened === undefined) throw this.#notOpen();
    if (this.#job !== undefined) throw storeError(`The store ${this.path} is being replaced already`);
    const job = this.#replace(this.#opened, records);
    return this.#isBlocking ? runNow(job) : this.#inBackground(runSoon(job));
  }

  /** Flushes what was appended, closes the file and releases its lock. What is under way in the background ends first. */
  close(): void | Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    const isIdle = this.#job === undefined && this.#flushing === undefined;
    if (isIdle && (this.#isBlocking || this.sync === "os" || this.#frames.used === 0)) return this.#closeNow();
    return this.#closing = this.#closeSoon();
  }

  async #openSoon(fs: Fs | Promise<Fs>, reader: StoreReader): Promise<void> {
    await runSoon(this.#open(await fs, reader));
  }

  *#open(fs: Fs, reader: StoreReader): Job<void> {
    const path = resolvePath(fs, this.path);
    const lock = takeLock(fs, path, this.#token);
    try {
      const read = (record: Uint8Array) => {
        this.#stopIfClosing();
        reader.read(record);
      };
      const told = (error: MqttError) => reader.told(error);
      const log = yield* openLog({ fs, path, reader: { blocking: reader.blocking, read, told } });
      this.#opened = { fs, path, lock, log };
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  #flushNow(length: number): void {
    const log = this.#write(length);
    if (this.sync === "os") log.keep();
    else log.keepOnDisk();
  }

  async #flushSoon(length: number): Promise<void> {
    if (this.#gate !== undefined) await this.#gate;
    await this.#write(length).keepOnDiskSoon();
  }

  /** Writes the first `length` bytes of what was appended; they are not kept yet. */
  #write(length: number): Log {
    if (this.#opened === undefined) throw this.#notOpen();
    const { log } = this.#opened;
    try {
      log.write(this.#frames, length);
    } finally {
      this.#frames.drop(length);
    }
    return log;
  }

  /**
   * First the records are written into a new file. Meanwhile flushes go to the old one; what they have kept is copied from
   * there, behind the records, until hardly any is left. Then the new file is forced to the disk, even if flushes are not:
   * otherwise a power cut could leave an empty file where a log was. At last, in one turn of the event loop, the rest is
   * copied, and the new file gets the name of the old one. Where flushes wait for the disk, this rest has to be there, too,
   * so the next flush waits until it is.
   */
  *#replace({ fs, path, lock, log: old }: Opened, records: Iterable<Uint8Array>): Job<void> {
    const gate = deferred<void>();
    let copied = old.kept;
    const made = new NewLog(fs, path, copied.next);
    try {
      for (const record of records) {
        if (!made.append(record)) continue;
        yield;
        this.#stopIfClosing();
      }
      for (let round = 0; round < MOST_ROUNDS && copied.end < old.kept.end; round++) {
        copied = yield* this.#copy(old, copied, made);
      }
      made.write();
      if (this.#isBlocking) {
        made.log.keepOnDisk();
      } else {
        yield made.log.keepOnDiskSoon();
        if (this.sync === "disk") {
          this.#gate = gate.promise;
          if (this.#flushing !== undefined) yield this.#flushing;
          copied = yield* this.#copy(old, copied, made);
          made.write();
          yield made.log.keepOnDiskSoon();
        }
        this.#stopIfClosing();
      }
      runNow(this.#copy(old, copied, made));
      made.write();
      made.rename();
    } catch (error) {
      made.discard();
      throw error;
    } finally {
      this.#gate = undefined;
      gate.resolve();
    }
    this.#opened = { fs, path, lock, log: made.log };
    if (this.#isBlocking) old.file.close();
    else yield old.file.closeSoon();
    if (this.sync === "os") return;
    // Until the disk has the name, too, a power cut may bring the old file back, which is as good as the new one now.
    // What is flushed later is not in it: so a flush has the name kept first, and fails if that cannot be done.
    try {
      if (this.#isBlocking) made.log.keepName();
      else yield made.log.keepNameSoon();
    } catch {
      return;
    }
  }

  /** Copies the records that were kept in one log since into another, which gives them sequences of its own. */
  *#copy(old: Log, since: End, made: NewLog): Job<End> {
    const part = { seed: old.seed, from: since.end, to: old.kept.end, first: since.next };
    const damaged = (from: number) => {
      throw storeError(`Cannot replace the store ${this.path} as it is damaged at byte ${from}`);
    };
    const copied = yield* scan(old.file, part, {
      read: (record) => {
        this.#stopIfClosing();
        made.append(record);
      },
      damaged,
    });
    if (copied.end < part.to) damaged(copied.end);
    return copied;
  }

  #closeNow(): void {
    try {
      this.flush();
    } finally {
      this.#release();
    }
  }

  async #closeSoon(): Promise<void> {
    try {
      await this.#job;
      await this.#flushing;
      await this.flush();
    } finally {
      this.#closing = undefined;
      this.#release();
    }
  }

  #release(): void {
    const opened = this.#opened;
    this.#opened = undefined;
    try {
      opened?.log.file.close();
    } finally {
      opened?.lock.release();
    }
  }

  #inBackground(job: Promise<void>): Promise<void> {
    const over = () => void (this.#job = undefined);
    this.#job = job.then(over, over);
    return job;
  }

  /** @throws {MqttError} `"store"` if it is to be closed. */
  #stopIfClosing(): void {
    if (this.#closing !== undefined) throw this.#notOpen();
  }

  #notOpen(): MqttError {
    return storeError(`The store ${this.path} is not open`);
  }
}

/**
 * A store for the option `store`, in a file that survives the process: an append-only log that is compacted by itself. The
 * format is the same on all runtimes; `docs/store.md` describes it, and what is guaranteed. The folder must exist. Files
 * beside it begin with the same name: a lock, which a process that was killed does not leave behind, and what was found
 * damaged.
 *
 * @throws {TypeError} If the path or an option is none.
 *
 * @example A gateway that keeps what it has not delivered
 * ```ts
 * import { fileStore } from "mqtt3c";
 *
 * const store = fileStore("/var/lib/gateway/session.mqtt", { sync: "disk" });
 * console.log(store.path);
 * ```
 */
export function fileStore(path: string | URL, options: FileStoreOptions = {}): FileStore {
  checkObject(options, "the options of fileStore()");
  checkNames("fileStore", options);
  const { sync = "os" } = options;
  check(sync === "os" || sync === "disk", "sync", '"os" or "disk"');
  return new FileStore(pathOf(path), sync);
}

/** A path as it is, or that of a URL: `node:url`, which knows better, is not loaded for it. */
function pathOf(path: unknown): string {
  const must = "a path or a file: URL";
  if (!isUrl(path)) {
    check(typeof path === "string", "the path of a store", `${must}: received ${kindOf(path)}`);
    check(path !== "" && !path.includes("\0"), "the path of a store", "of a file");
    check(!path.startsWith("file:"), "the path of a store", "a path, or a URL object of this text");
    return path;
  }
  const { protocol, host, pathname } = path;
  const isOfFile = protocol === "file:" && host === "" && !/%2f|%00/i.test(pathname);
  check(isOfFile, "the path of a store", `${must} of this machine: received ${path.href}`);
  const decoded = decodeURIComponent(pathname);
  return /^\/[a-z]:\//i.test(decoded) ? decoded.slice(1) : decoded;
}

/** Whether it is a URL, of whatever realm. */
function isUrl(value: unknown): value is URL {
  return value instanceof URL || Object.prototype.toString.call(value) === "[object URL]";
}
