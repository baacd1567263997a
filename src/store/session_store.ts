/** Where a session is kept: the log that a client writes, and reads when it starts.
 * @module */

import type { MqttError } from "../errors.ts";

/** Who opens a log. */
export interface StoreReader {
  /** Whether it blocks: then no method may return a promise. */
  readonly blocking: boolean;
  /** Gets each record of the log, in order; the memory is the store's again when it returns. */
  read(record: Uint8Array): void;
  /** Hears what is wrong with the log, and was mended. */
  told(error: MqttError): void;
}

/**
 * An append-only log of records, about which it knows nothing. Each method returns nothing when it is done, or a promise;
 * `connectSync` takes only stores that return nothing. One call at a time: the next comes when the one before is done.
 * But `append` may come at any time while the log is open; `flush`, one at a time, also during `replace`; and `close` during
 * anything, which it ends.
 */
export interface SessionStore {
  /**
   * Opens the log, and gives all of its records to the reader.
   *
   * @throws {MqttError} `"store"` if it cannot be opened, or somebody else has it open.
   */
  open(reader: StoreReader): void | Promise<void>;
  /** Adds a record, which is kept from the next `flush` on; the memory is the caller's again when it returns. */
  append(record: Uint8Array): void;
  /**
   * Keeps what was appended before the call, in one piece. What is appended while it is under way is for the next one.
   *
   * @throws {Error} If it cannot: then none of that is kept, and all that was kept before is.
   */
  flush(): void | Promise<void>;
  /**
   * Makes these records the whole log, and behind them those that are appended meanwhile and later. The records are asked
   * for one by one, over some time perhaps. Those appended before the call were flushed, and no flush is under way. One
   * that comes meanwhile keeps what it has to, however the replacement ends.
   *
   * @throws {Error} If it cannot: then the log is as it was.
   */
  replace(records: Iterable<Uint8Array>): void | Promise<void>;
  /** Keeps what was appended, as far as it can, and gives the log up. A second call does nothing. */
  close(): void | Promise<void>;
}
