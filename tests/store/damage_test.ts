/** A file that is cut off or changed at any place: never a crash, never a record that was not written, nothing lost beside. */
import { deepStrictEqual } from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { MqttError, StoreReader } from "../../mod.ts";
import { runNow } from "../../src/store/job.ts";
import { openLog } from "../../src/store/opening.ts";
import { Random } from "../support/random.ts";
import { filesIn, inFolder, memory, read, write } from "./support.ts";

const HEADER = 64;
const FRAME = 16;
const COUNT = 1000;

/** Each is told from the others by its first two bytes; no one is longer than four. */
function smallRecords(random: Random): Uint8Array[] {
  return Array.from({ length: COUNT }, (_, i) => Uint8Array.of(i >> 8, i, ...random.bytes(random.int(0, 2))));
}

/** Where each record begins, and the last one ends. */
function offsetsOf(records: readonly Uint8Array[]): number[] {
  const offsets = [HEADER];
  for (const { length } of records) offsets.push(offsets.at(-1)! + FRAME + length);
  return offsets;
}

/** Compares records as they come: to keep and compare them afterwards takes most of the test's time. */
class Comparison implements StoreReader {
  readonly blocking = true;
  readonly messages: string[] = [];
  /** How many there were. */
  count = 0;
  /** Whether all were the expected ones so far. */
  isRight = true;
  readonly #records: readonly Uint8Array[];
  readonly #missing: number;

  /** They are to be the `records`, without the one with the number `missing`. */
  constructor(records: readonly Uint8Array[], missing: number) {
    this.#records = records;
    this.#missing = missing;
  }

  read(record: Uint8Array): void {
    if (this.count === this.#missing) this.count++;
    const expected = this.#records[this.count++];
    this.isRight &&= expected?.length === record.length && expected.every((byte, i) => record[i] === byte);
  }

  told({ code, message }: MqttError): void {
    this.messages.push(`${code}: ${message}`);
  }
}

/** Opens a file without the lock, which is made of files, too: 20,000 times is often enough. */
function open(path: string, records: readonly Uint8Array[], missing = -1): Comparison {
  const comparison = new Comparison(records, missing);
  runNow(openLog({ fs, path, reader: comparison })).file.close();
  return comparison;
}

/** A store of small records: its bytes, and where each begins. */
function smallStore(folder: string): { path: string; whole: Uint8Array; records: Uint8Array[]; offsets: number[] } {
  const records = smallRecords(new Random(1));
  const path = join(folder, "store");
  write(path, records);
  const whole = new Uint8Array(fs.readFileSync(path));
  const offsets = offsetsOf(records);
  assertEquals(whole.length, offsets.at(-1));
  return { path, whole, records, offsets };
}

test("store: every truncation reads as a prefix, in silence", () =>
  inFolder((folder) => {
    const { path, whole, records, offsets } = smallStore(folder);
    let complete = COUNT;
    for (let length = whole.length; length >= 0; length--) {
      fs.truncateSync(path, 0);
      fs.writeFileSync(path, whole.subarray(0, length));
      while (complete > 0 && offsets[complete]! > length) complete--;
      const { isRight, count, messages } = open(path, records);
      assertEquals([isRight, count, messages], [true, complete, []], `cut off at ${length}`);
      // What is torn is cut off, and a header of which one copy is left is mended.
      assertEquals(fs.statSync(path).size, offsets[complete], `cut off at ${length}`);
    }
    assertEquals(filesIn(folder), ["store"]);
  }, memory));

test("store: every flipped byte but those of the last record is told, and all other records are recovered", () =>
  inFolder((folder) => {
    const { path, whole, records, offsets } = smallStore(folder);
    const random = new Random(2);
    let damaged = -1;
    for (let at = 0; at < whole.length; at++) {
      const changed = whole.slice();
      changed[at]! ^= random.int(1, 255);
      fs.writeFileSync(path, changed);
      if (offsets[damaged + 1]! <= at) damaged++;
      const { isRight, count, messages } = open(path, records, damaged);
      const isTold = damaged < COUNT - 1;
      assertEquals([isRight, count], [true, isTold ? COUNT : COUNT - 1], `changed at ${at}`);
      assertEquals(messages.length, !isTold ? 0 : damaged === -1 ? 1 : 2, `changed at ${at}`);
      if (damaged === -1) {
        assertStringIncludes(messages[0]!, `store: The store ${path} had a damaged header`);
        deepStrictEqual(new Uint8Array(fs.readFileSync(path)), whole, `changed at ${at}`);
      } else if (isTold) {
        const [from, to] = [offsets[damaged]!, offsets[damaged + 1]!];
        assertStringIncludes(
          messages[0]!,
          `store: The store ${path} is damaged: ${to - from} bytes from byte ${from} on`,
        );
        assertStringIncludes(messages[1]!, `it is kept as ${path}.damaged-1`);
        if (at % 50 === 0) {
          deepStrictEqual(new Uint8Array(fs.readFileSync(`${path}.damaged-1`)), changed);
          const again = open(path, records, damaged);
          assertEquals([again.isRight, again.count, again.messages], [true, COUNT, []], "it is mended");
        }
        fs.rmSync(`${path}.damaged-1`);
      }
    }
    assertEquals([damaged, filesIn(folder)], [COUNT - 1, ["store"]]);
  }, memory));
