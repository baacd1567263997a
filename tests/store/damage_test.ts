/** A file that is cut off or changed at any place: never a crash, never a record that was not written, nothing lost beside. */
import { deepStrictEqual } from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { fileStore, type MqttError, type StoreReader } from "../../mod.ts";
import { runNow } from "../../src/store/job.ts";
import { openLog } from "../../src/store/opening.ts";
import { Random } from "../support/random.ts";
import { bytes, filesIn, inFolder, keep, numbers, read, Recorder, write } from "./support.ts";

/** Where files are in memory, if there is such a place: tests that open thousands wait for no disk. */
const memory = fs.existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

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
    if (expected?.length !== record.length) this.isRight = false;
    for (let i = 0; i < record.length; i++) if (expected?.[i] !== record[i]) this.isRight = false;
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

test("store: a payload that is a copy of a store's records is never taken for them, whatever is damaged", () =>
  inFolder((folder) => {
    const path = join(folder, "store"), other = join(folder, "other");
    const first = Array.from({ length: 10 }, (_, i) => Uint8Array.of(i, ...new Random(i).bytes(20)));
    write(other, first);
    write(path, first);
    // A copy of this very file, with sequences near those that follow; and one of another file with the same records.
    const copies = [path, other].map((path) => new Uint8Array(fs.readFileSync(path)));
    const written = [...first, ...copies, ...first.map((record) => Uint8Array.of(100, ...record))];
    write(path, written.slice(first.length));
    const whole = new Uint8Array(fs.readFileSync(path));
    const offsets = offsetsOf(written);
    assertEquals(whole.length, offsets.at(-1));
    // One record, and each run of records around the copies.
    for (let from = 5; from < 12; from++) {
      for (let to = from; to < 14; to++) {
        const changed = whole.slice();
        for (let i = from; i <= to; i++) changed[offsets[i]! + FRAME]! ^= 1;
        fs.writeFileSync(path, changed);
        const left = [...written.slice(0, from), ...written.slice(to + 1)];
        assertEquals(read(path).records, left, `${from} to ${to}`);
        for (const name of filesIn(folder).filter((name) => name.includes("damaged"))) fs.rmSync(join(folder, name));
      }
    }
  }, memory));

test("store: zeros and random bytes in place of records are passed over; at the end they are a torn tail", () =>
  inFolder((folder) => {
    const path = join(folder, "store");
    const random = new Random(3);
    const records = Array.from({ length: 50 }, () => random.bytes(10_000));
    write(path, records);
    const whole = new Uint8Array(fs.readFileSync(path));
    const offsets = offsetsOf(records);
    for (const put of [new Uint8Array(16), new Uint8Array(70_000), random.bytes(15), random.bytes(200_000)]) {
      for (const number of [0, 20]) {
        const changed = whole.slice();
        changed.set(put, offsets[number]!);
        fs.writeFileSync(path, changed);
        const found = read(path);
        const next = offsets.findIndex((offset) => offset >= offsets[number]! + put.length);
        assertEquals(found.records, [...records.slice(0, number), ...records.slice(next)]);
        assertEquals(found.errors.length, 2);
      }
      fs.writeFileSync(path, whole);
      fs.appendFileSync(path, put);
      assertEquals([read(path).messages, fs.statSync(path).size], [[], whole.length]);
    }
    assertEquals(filesIn(folder).length, 9, "not more than nine damaged files are kept, and these were eight");
    for (let i = 0; i < 3; i++) {
      const changed = whole.slice();
      changed[offsets[1]!] = i + 1;
      fs.writeFileSync(path, changed);
      assertStringIncludes(read(path).messages[1]!, `${path}.damaged-9`);
      assertEquals(fs.readFileSync(`${path}.damaged-9`)[offsets[1]!], i + 1);
    }
  }, memory));

test("store: large records, of several portions, are read, and recovered behind damage", () =>
  inFolder((folder) => {
    const path = join(folder, "store");
    const random = new Random(4);
    const records = [1, 300_000, 5, 262_128, 262_144, 1_500_000, 0, 3].map((length) => random.bytes(length));
    write(path, records);
    assertEquals(read(path), Object.assign(new Recorder(), { records }));
    const whole = new Uint8Array(fs.readFileSync(path));
    const offsets = offsetsOf(records);
    for (const [number, at] of [[1, 4], [1, 100_000], [5, 0], [5, 1], [5, 1_400_000], [6, 12]] as const) {
      const changed = whole.slice();
      changed[offsets[number]! + at]! ^= 255;
      fs.writeFileSync(path, changed);
      const found = read(path);
      assertEquals(found.records, records.filter((_, i) => i !== number), `record ${number}`);
      assertEquals(found.errors.length, 2);
    }
  }, memory));

test("store: sequences go on rising over damage, reopening and replacement", () =>
  inFolder((folder) => {
    const path = join(folder, "store");
    const last = () => {
      const whole = fs.readFileSync(path);
      return whole.readBigUInt64BE(whole.length - 2 - FRAME + 8);
    };
    write(path, numbers(10, 29).map(bytes));
    let before = last();
    assert(before >= 2n ** 32n, "it begins at random, and not with 0");
    for (let round = 0; round < 3; round++) {
      write(path, [bytes("30")]);
      assertEquals(last(), before + 1n);
      const store = fileStore(path);
      store.open(new Recorder());
      store.replace(round === 0 ? [] : numbers(10, 20).map(bytes));
      keep(store, ["30"]);
      store.close();
      assertEquals(last(), before + (round === 0 ? 2n : 13n));
      const changed = fs.readFileSync(path);
      changed[HEADER + FRAME]! ^= 1;
      if (round > 0) fs.writeFileSync(path, changed);
      assertEquals(read(path).texts.length, round > 0 ? 11 : 1);
      assert(last() > before);
      before = last();
    }
  }, memory));
