/** The durable store of a page: the log in a database of the browser.
 * @module */

import { check, checkObject } from "../client/checks.ts";
import { checkNames } from "../client/options.ts";
import { deferred } from "../deferred.ts";
import { MqttError } from "../errors.ts";
import { kindOf } from "../protocol/bytes.ts";
import { type Batch, BatchWriter, readBatch } from "./batch.ts";
import type { SessionStore, StoreReader } from "./session_store.ts";

/** How a store of a page keeps what it is given. */
export interface IndexedDBStoreOptions {
  /**
   * When something counts as kept: `"os"`, the default, when the operating system has it, which outlives page and browser,
   * and loses the last seconds when the power goes; `"disk"` when the disk has it.
   */
  sync?: "os" | "disk" | undefined;
}

/** What the names of databases and locks begin with. */
const PREFIX = "mqtt3c:";
const VERSION = 1;
/** The rows of the log, one for each flush, by rising numbers; and rows that could not be read, as they were found. */
const LOG = "log", DAMAGED = "damaged";
/** So many rows that could not be read are kept. */
const MOST_DAMAGED = 9;
/** A replacement has rows of about so many bytes. */
const ROW = 262_144;

/** A database that is open, and what gives up its lock. */
interface Opened {
  readonly database: IDBDatabase;
  readonly release: () => void;
}

/** A log in a database: see {@linkcode indexedDBStore}. */
class IndexedDBStore implements SessionStore {
  readonly #name: string;
  readonly #durability: IDBTransactionDurability;
  #appended = new BatchWriter();
  #opened: Opened | undefined;
  /** What is under way. They never reject: their callers are told. */
  #opening: Promise<void> | undefined;
  #flushing: Promise<void> | undefined;
  #replacing: { readonly done: Promise<void>; abort(): void } | undefined;
  #closing: Promise<void> | undefined;

  constructor(name: string, durability: IDBTransactionDurability) {
    this.#name = name;
    this.#durability = durability;
  }

  open(reader: StoreReader): Promise<void> {
    if (this.#opened !== undefined || this.#opening !== undefined) {
      throw storeError(`The store "${this.#name}" is in use by this page`);
    }
    const opening = this.#open(reader);
    this.#opening = settled(opening, () => this.#opening = undefined);
    return opening;
  }

  async #open(reader: StoreReader): Promise<void> {
    const release = await takeLock(this.#name);
    let database: IDBDatabase | undefined;
    try {
      database = await openDatabase(this.#name);
      // Somebody deletes the database: it can do so, and what is kept from now on rejects.
      database.onversionchange = () => database!.close();
      await this.#read(database, reader);
      if (this.#closing !== undefined) throw this.#notOpen();
      this.#opened = { database, release };
    } catch (error) {
      database?.close();
      release();
      throw error;
    }
  }

  /** Gives the records of all rows to the reader. Rows that cannot be read are put aside, and those between that are missing told. */
  async #read(database: IDBDatabase, reader: StoreReader): Promise<void> {
    const transaction = this.#begin(database, [LOG, DAMAGED]);
    const log = transaction.objectStore(LOG), damaged = transaction.objectStore(DAMAGED);
    const problems: MqttError[] = [];
    let next: number | undefined, failure: unknown;
    log.openCursor().onsuccess = ({ target }) => {
      const cursor = (target as IDBRequest<IDBCursorWithValue | null>).result;
      if (cursor === null) return;
      const key = Number(cursor.key);
      const missing = key - (next ?? key);
      if (missing > 0) problems.push(this.#damage(`${missing} of its rows are missing before row ${key}`));
      next = key + 1;
      try {
        const records = readBatch(cursor.value);
        if (records !== undefined) {
          for (const record of records) reader.read(record);
        } else {
          problems.push(this.#damage(`its row ${key} cannot be read, and was put aside`));
          damaged.add({ key, value: cursor.value });
          cursor.delete();
        }
        cursor.continue();
      } catch (error) {
        failure = error;
        transaction.abort();
      }
    };
    await done(transaction).catch((error) => {
      throw failure ?? storeError(`Cannot read the store "${this.#name}"`, error);
    });
    for (const problem of problems) reader.told(problem);
    if (problems.length > 0) await this.#forgetOldest(database);
  }

  /** Of the rows that were put aside, the last ones stay. */
  async #forgetOldest(database: IDBDatabase): Promise<void> {
    const transaction = this.#begin(database, [DAMAGED]), store = transaction.objectStore(DAMAGED);
    store.getAllKeys().onsuccess = ({ target }) => {
      const keys = (target as IDBRequest<IDBValidKey[]>).result;
      for (const key of keys.slice(0, -MOST_DAMAGED)) store.delete(key);
    };
    await done(transaction);
  }

  append(record: Uint8Array): void {
    if (this.#opened === undefined) throw this.#notOpen();
    this.#appended.append(record);
  }

  flush(): void | Promise<void> {
    if (this.#appended.size === 0) return;
    const flushing = this.#flush();
    this.#flushing = settled(flushing, () => this.#flushing = undefined);
    return flushing;
  }

  async #flush(): Promise<void> {
    const batch = this.#appended.take();
    if (this.#opened === undefined) throw this.#notOpen();
    const { database } = this.#opened;
    try {
      const transaction = this.#begin(database, [LOG]);
      add(transaction.objectStore(LOG), batch);
      await done(transaction);
    } catch (error) {
      throw notKept(this.#name, error);
    }
  }

  replace(records: Iterable<Uint8Array>): Promise<void> {
    if (this.#opened === undefined) throw this.#notOpen();
    if (this.#replacing !== undefined) throw storeError(`The store "${this.#name}" is being replaced already`);
    const { database } = this.#opened, abort = new AbortController();
    const replacing = this.#replace(database, records[Symbol.iterator](), abort.signal);
    const over = settled(replacing, () => this.#replacing = undefined);
    this.#replacing = { done: over, abort: () => abort.abort(this.#notOpen()) };
    return replacing;
  }

  /**
   * One transaction has all of it, so that it happens or does not. What is flushed meanwhile has a transaction that comes
   * after it, and so the rows behind.
   */
  async #replace(database: IDBDatabase, records: Iterator<Uint8Array>, signal: AbortSignal): Promise<void> {
    let failure: unknown;
    try {
      const transaction = this.#begin(database, [LOG]), log = transaction.objectStore(LOG);
      const fail = (error: unknown) => {
        failure = error;
        transaction.abort();
      };
      const more = () => {
        if (signal.aborted) return fail(signal.reason);
        try {
          const batch = new BatchWriter();
          let step = records.next();
          for (; !step.done; step = batch.size < ROW ? records.next() : { value: undefined, done: true }) {
            batch.append(step.value);
          }
          if (batch.size > 0) add(log, batch.take()).onsuccess = more;
        } catch (error) {
          fail(error);
        }
      };
      log.clear().onsuccess = more;
      await done(transaction);
    } catch (error) {
      records.return?.();
      throw failure ?? notKept(this.#name, error);
    }
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close().finally(() => this.#closing = undefined);
  }

  async #close(): Promise<void> {
    this.#replacing?.abort();
    await this.#opening;
    await this.#replacing?.done;
    await this.#flushing;
    try {
      await this.flush();
    } finally {
      const opened = this.#opened;
      this.#opened = undefined;
      opened?.database.close();
      opened?.release();
    }
  }

  #begin(database: IDBDatabase, stores: string[]): IDBTransaction {
    return database.transaction(stores, "readwrite", { durability: this.#durability });
  }

  #damage(what: string): MqttError {
    return storeError(`The store "${this.#name}" is damaged: ${what}; the others are used`);
  }

  #notOpen(): MqttError {
    return storeError(`The store "${this.#name}" is not open`);
  }
}

/**
 * A store for the option `store`, in a database of the browser that survives the page: what {@linkcode connect} of a page has
 * in the place of a file. `docs/browser.md` describes what is guaranteed. One page at a time has it: another one gets
 * an error that says so.
 *
 * It needs a secure context: a page of `https:`, of `localhost`, or from disk.
 *
 * @throws {TypeError} If the name or an option is none.
 *
 * @example A page that loses nothing when it is closed
 * ```ts no-run
 * import { connect, indexedDBStore } from "mqtt3c/browser";
 *
 * const options = { id: "tablet-7", session: true, store: indexedDBStore("tablet-7"), reconnect: true };
 * const mqtt = await connect("wss://broker.example/mqtt", undefined, options);
 * await mqtt.publish("orders", "coffee", { qos: 1, until: "stored" });
 * ```
 */
export function indexedDBStore(name: string, options: IndexedDBStoreOptions = {}): SessionStore {
  check(typeof name === "string", "the name of a store", `a text: received ${kindOf(name)}`);
  check(name !== "", "the name of a store", "a text that is not empty");
  checkObject(options, "the options of indexedDBStore()");
  checkNames("indexedDBStore", options);
  const { sync = "os" } = options;
  check(sync === "os" || sync === "disk", "sync", '"os" or "disk"');
  return new IndexedDBStore(name, sync === "os" ? "relaxed" : "strict");
}

/**
 * Takes the lock of a store, which a page that is closed or crashes does not leave behind; returns what gives it up.
 *
 * @throws {MqttError} `"store"` if another page has it.
 */
async function takeLock(name: string): Promise<() => void> {
  const { locks } = navigator as { locks?: LockManager };
  if (locks === undefined) {
    throw storeError(`Cannot open the store "${name}" as it takes a page of https:, of localhost, or from disk`);
  }
  const taken = deferred<boolean>(), released = deferred<void>();
  const holding = locks.request(PREFIX + name, { ifAvailable: true }, (lock) => {
    taken.resolve(lock !== null);
    return lock === null ? undefined : released.promise;
  });
  holding.catch((error) => taken.reject(storeError(`Cannot lock the store "${name}"`, error)));
  if (!await taken.promise) throw storeError(`The store "${name}" is in use by another page, or by this one`);
  return () => released.resolve();
}

/** @throws {MqttError} `"store"` if the browser does not give it, or it is of a newer version. */
async function openDatabase(name: string): Promise<IDBDatabase> {
  const { indexedDB } = globalThis as { indexedDB?: IDBFactory };
  if (indexedDB === undefined) {
    throw storeError(`Cannot open the store "${name}": this browser, or a private window of it, has no IndexedDB`);
  }
  try {
    const request = indexedDB.open(PREFIX + name, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(LOG, { autoIncrement: true });
      request.result.createObjectStore(DAMAGED, { autoIncrement: true });
    };
    return await result(request);
  } catch (error) {
    throw storeError(`Cannot open the store "${name}"${whyNot(error)}`, error);
  }
}

function add(log: IDBObjectStore, batch: Batch): IDBRequest<IDBValidKey> {
  return log.add(batch);
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** When a transaction is complete; it rejects with why it was not. */
function done(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}

/** When a promise is settled, however. */
function settled(promise: Promise<void>, over: () => void): Promise<void> {
  return promise.then(over, over);
}

function storeError(message: string, cause?: unknown): MqttError {
  return new MqttError("store", message, cause ?? undefined);
}

function notKept(name: string, cause: unknown): MqttError {
  return storeError(`Cannot keep what was appended to the store "${name}"${whyNot(cause)}`, cause);
}

function whyNot(cause: unknown): string {
  const { name = "", message = "" } = (cause ?? {}) as Partial<DOMException>;
  if (name === "QuotaExceededError") return ": the browser gives the page no more room";
  if (name === "VersionError") return ": it was made by a newer version of this library";
  return message === "" ? "" : `: ${message}`;
}
