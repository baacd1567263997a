/**
 * The lock of a store: a file beside it that says who has it open.
 *
 * It is made by giving a file of one's own, which is complete, a second name: that is done by one process only, and nobody
 * ever sees half of it. A lock whose owner does not run any more is removed. Two processes may be about to do so at the
 * same time, and the slower one must not remove the lock that the faster one has made since: so the removal of a lock is
 * locked itself, by a claim which is made in the same way and has the dead owner's token in its name. Who has the claim
 * looks again, and removes the lock only if it is still that owner's.
 * @module */

import { runtimeProcess } from "../runtime.ts";
import type { MqttError } from "../errors.ts";
import { attempt, codeOf, folderOf, type Fs, loadFs, remove, resolvePath, storeError } from "./file.ts";
import { differ, isSelf, type Life, lifeOf, type Owner, readOwner, thisProcess } from "./owner.ts";

/** What Deno has, and the others have not: the system holds a file for a process until that ends, however it does. */
interface Holder {
  openSync(path: string, options: { read: boolean; write?: boolean }): HeldFile;
}
interface HeldFile {
  /** Whether it is held now: by this one, or together with others that are not exclusive. */
  tryLockSync?(exclusive: boolean): boolean;
  close(): void;
}
const holder = (globalThis as { Deno?: Holder }).Deno;

/** A lock that others change so often is not waited for. */
const MOST_TRIES = 100;

/** Where the lock of a store is. */
export function lockPath(path: string): string {
  return `${path}.lock`;
}

/** What only one lock has. */
export function makeToken(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A store's lock, until it is released. */
export interface Lock {
  /** Gives it up, if it is still this one. */
  release(): void;
}

/**
 * Takes the lock of a store.
 *
 * @throws {MqttError} `"store"` if somebody else has it, or no file can be made there.
 */
export function takeLock(fs: Fs, path: string, token: string): Lock {
  const taker = new Taker(fs, path, token);
  try {
    taker.take(lockPath(path));
  } catch (error) {
    taker.release();
    throw error;
  }
  taker.removeOwn();
  return taker;
}

/**
 * Removes the lock with this token, if it is there: for a thread of this process that had the store open, and died.
 *
 * @throws {MqttError} `"store"` if it cannot.
 */
export function releaseLock(path: string, token: string): void | Promise<void> {
  const fs = loadFs();
  return fs instanceof Promise ? fs.then((fs) => releaseNow(fs, path, token)) : releaseNow(fs, path, token);
}

function releaseNow(fs: Fs, given: string, token: string): void {
  const path = resolvePath(fs, given), name = lockPath(path);
  const text = readIfThere(fs, name);
  if (text === undefined || readOwner(text)?.token !== token) return;
  const taker = new Taker(fs, path, makeToken());
  try {
    taker.break(name, text);
  } finally {
    taker.release();
  }
}

/** Who takes a lock, with the file that is to get the lock's name. */
class Taker {
  readonly #fs: Fs;
  readonly #path: string;
  readonly #self: Owner;
  /** What is in the file, and its first name. */
  readonly #text: string;
  readonly #own: string;
  #held: HeldFile | undefined;

  constructor(fs: Fs, path: string, token: string) {
    this.#fs = fs;
    this.#path = path;
    const own = this.#own = `${lockPath(path)}-${runtimeProcess().pid}-${token}`;
    try {
      fs.writeFileSync(own, "", { flag: "wx", mode: 0o600 });
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw storeError(`Cannot lock the store ${path}`, error);
      throw storeError(`Cannot open the store ${path} as there is no folder ${folderOf(path)}`, error);
    }
    try {
      this.#held = attempt(`Cannot lock the store ${path}`, () => hold(own));
      this.#self = thisProcess(fs, token, this.#held !== undefined);
      this.#text = JSON.stringify(this.#self);
      attempt(`Cannot lock the store ${path}`, () => fs.writeFileSync(own, this.#text));
    } catch (error) {
      this.removeOwn();
      this.#held?.close();
      throw error;
    }
  }

  /**
   * Gives the file the name of a lock.
   *
   * @throws {MqttError} `"store"` if somebody who runs has it.
   */
  take(name: string): void {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      if (this.#link(name)) return;
      const text = readIfThere(this.#fs, name);
      if (text === undefined) continue; // it was released meanwhile
      const owner = readOwner(text);
      const life = owner === undefined ? "dead" : this.#lifeOf(owner, name);
      if (owner !== undefined && life !== "dead") throw this.#inUse(owner, name, life);
      this.break(name, text);
    }
    throw storeError(`The store ${this.#path} is in use, by one after another: ${name} changes all the time`);
  }

  /** Removes a lock of somebody who does not run any more, if it is still that one. */
  break(name: string, text: string): void {
    const claim = `${name}.${readOwner(text)?.token ?? "unreadable"}`;
    this.take(claim);
    attempt(`Cannot remove the lock ${name}`, () => {
      try {
        if (readIfThere(this.#fs, name) === text) remove(this.#fs, name);
      } finally {
        remove(this.#fs, claim);
      }
    });
  }

  /** Removes the first name of the file. */
  removeOwn(): void {
    remove(this.#fs, this.#own);
  }

  release(): void {
    attempt(`Cannot remove the lock of the store ${this.#path}`, () => {
      const name = lockPath(this.#path);
      if (readIfThere(this.#fs, name) === this.#text) remove(this.#fs, name);
      this.removeOwn();
    });
    this.#held?.close();
    this.#held = undefined;
  }

  #link(name: string): boolean {
    return attempt(`Cannot lock the store ${this.#path}`, () => {
      try {
        this.#fs.linkSync(this.#own, name);
        return true;
      } catch (error) {
        if (codeOf(error) === "EEXIST") return false;
        throw error;
      }
    });
  }

  /** On Deno what another Deno holds tells more than its process identifier, and needs no permission. */
  #lifeOf(owner: Owner, name: string): Life {
    const isHeld = owner.held ? isHeldBySomebody(this.#fs, name) : undefined;
    if (isHeld !== undefined) return isHeld ? "alive" : "dead";
    return lifeOf(this.#fs, owner, this.#self);
  }

  #inUse(owner: Owner, name: string, life: Life): MqttError {
    const host = differ(owner.host, this.#self.host) ? ` on ${owner.host}` : "";
    const who = isSelf(owner, this.#self) ? "this process" : `process ${owner.pid}${host}`;
    if (life === "alive") return storeError(`The store ${this.#path} is in use by ${who}`);
    return storeError(
      `The store ${this.#path} was opened by ${who}, and whether that still runs cannot be told without a permission: ` +
        `run with --allow-run, or remove ${name} if it has ended`,
    );
  }
}

/** Has the system hold a file, where it can: not every file system does, and only Deno has a function for it. */
function hold(path: string): HeldFile | undefined {
  const file = holder?.openSync(path, { read: true, write: true });
  if (file !== undefined && tryLock(file, true)) return file;
  file?.close();
  return undefined;
}

/** Whether a file is held; undefined where that cannot be told. */
function isHeldBySomebody(fs: Fs, path: string): boolean | undefined {
  if (holder === undefined || !fs.existsSync(path)) return undefined;
  const file = holder.openSync(path, { read: true });
  const isFree = tryLock(file, false);
  file.close();
  return isFree === undefined ? undefined : !isFree;
}

/** Undefined where it cannot be told, as on some network file systems. */
function tryLock(file: HeldFile, exclusive: boolean): boolean | undefined {
  try {
    return file.tryLockSync?.(exclusive);
  } catch {
    return undefined; // who asks goes by the process identifier
  }
}

/** What is in a file; undefined if there is none. */
function readIfThere(fs: Fs, path: string): string | undefined {
  try {
    return fs.readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw storeError(`Cannot read the lock ${path}`, error);
  }
}
