/** Records that are kept together, as one value of a database.
 * @module */

import { crc32 } from "./crc32.ts";
import { get32, put32 } from "./format.ts";

/** The bytes of the buffer to begin with. */
const SMALL = 4096;
/** Before each record is its length. */
const LENGTH = 4;

/** The value of a row. A database tells of no byte that is wrong in it, and whoever may write there may write anything. */
export interface Batch {
  /** The records, each with its length before it. */
  readonly records: Uint8Array<ArrayBuffer>;
  /** Their CRC-32. */
  readonly checksum: number;
}

/** Gathers records. */
export class BatchWriter {
  #bytes = new Uint8Array(SMALL);
  /** So many bytes have been appended, lengths included. */
  size = 0;

  /** Copies a record. */
  append(record: Uint8Array): void {
    const at = this.size, end = at + LENGTH + record.length;
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#bytes.length));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
    }
    put32(this.#bytes, at, record.length);
    this.#bytes.set(record, at + LENGTH);
    this.size = end;
  }

  /** What was appended, and starts anew. */
  take(): Batch {
    const records = this.#bytes.slice(0, this.size);
    if (this.#bytes.length > SMALL) this.#bytes = new Uint8Array(SMALL);
    this.size = 0;
    return { records, checksum: crc32(records, 0, records.length) };
  }
}

/** The records of a value; undefined if it is none that was written here. */
export function readBatch(value: unknown): Uint8Array[] | undefined {
  const { records, checksum } = (value ?? {}) as Partial<Batch>;
  if (!(records instanceof Uint8Array) || checksum !== crc32(records, 0, records.length)) return undefined;
  const found: Uint8Array[] = [];
  for (let at = 0; at < records.length;) {
    const from = at + LENGTH;
    at = from + get32(records, at);
    found.push(records.subarray(from, at));
  }
  return found;
}
