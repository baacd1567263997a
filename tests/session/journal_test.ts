import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { MqttError } from "../../src/errors.ts";
import {
  ACCEPTED,
  CLIENT,
  CONNECTED,
  DONE,
  encodeClient,
  Journal,
  RECEIVED,
  RECORDED,
  RELEASED,
  SENT,
} from "../../src/session/journal.ts";
import { bytes, hex } from "../support/bytes.ts";

const FULL = new MqttError("store", "The disk is full");

/** A journal, its log, and what it tells. */
class Desk {
  /** What was appended since it was looked last, as text. */
  #records: string[] = [];
  readonly told: string[] = [];
  wall = 1_000_000;
  readonly journal = new Journal({
    append: (record) => void this.#records.push(hex(record)),
    wall: () => this.wall,
    slack: 65_536,
  }, 0);
  readonly #keeping = {
    kept: (numbers: readonly number[]) => void this.told.push(`kept ${numbers}`),
    notKept: (numbers: readonly number[]) => {
      this.told.push(`not kept ${numbers}`);
      for (const number of numbers) this.journal.change(DONE, number);
    },
  };

  /** The types of what was appended, with what follows; of messages, their number. */
  get records(): string[] {
    return this.#records.splice(0).map((record) => {
      const [type, ...rest] = bytes(record), view = new DataView(Uint8Array.from(rest).buffer);
      if (type === ACCEPTED || type === DONE || type === RECEIVED) return `${type} ${view.getFloat64(0)}`;
      return type === SENT ? `${type} ${view.getFloat64(0)} ${view.getUint16(8)}` : `${type} ${Number(rest.at(-1))}`;
    });
  }

  get bytes(): string[] {
    return this.#records.splice(0);
  }

  accepts(number: number): void {
    this.journal.accepted({ number, due: Infinity, packet: bytes("32 02 00 00") }, 0);
  }

  acts(name: string): void {
    this.journal.afterwards(() => void this.told.push(name));
  }

  flushed(): string[] {
    this.journal.flushed(this.#keeping);
    return this.told.splice(0);
  }

  failed(now = 0): string[] {
    this.journal.failed(FULL, this.#keeping, now);
    return this.told.splice(0);
  }
}

test("journal: each record byte by byte", () => {
  const desk = new Desk(), { journal } = desk, packet = bytes("32 07 00 01 61 00 00 68 69");
  journal.client("gate");
  assertEquals(desk.bytes, ["00 67 61 74 65"]);
  assertEquals(hex(encodeClient("é")), "00 c3 a9");
  journal.change(CONNECTED, 0);
  journal.change(CONNECTED, 1);
  journal.change(SENT, 3, 0x0102);
  journal.change(RECEIVED, 3);
  journal.change(DONE, 3);
  journal.change(RECORDED, 258);
  journal.change(RELEASED, 258);
  assertEquals(desk.bytes, [
    "01 00",
    "01 01",
    "03 40 08 00 00 00 00 00 00 01 02",
    "04 40 08 00 00 00 00 00 00",
    "05 40 08 00 00 00 00 00 00",
    "06 01 02",
    "07 01 02",
  ]);
  journal.accepted({ number: 1, due: Infinity, packet }, 5);
  // due at 7 of a clock that is at 5 when that of the wall is at 1,000,000
  journal.accepted({ number: 2, due: 7, packet }, 5);
  assertEquals(desk.bytes, [
    `02 3f f0 00 00 00 00 00 00 7f f0 00 00 00 00 00 00 ${hex(packet)}`,
    `02 40 00 00 00 00 00 00 00 41 2e 84 84 00 00 00 00 ${hex(packet)}`,
  ]);
  const large = new Uint8Array(5000).fill(50);
  journal.accepted({ number: 1, due: Infinity, packet: large }, 5);
  assertEquals(desk.bytes, [`02 3f f0 00 00 00 00 00 00 7f f0 00 00 00 00 00 00 ${hex(large)}`]);
});

test("journal: without a log nothing is written, and everything is done at once", () => {
  const journal = new Journal(undefined, 0);
  let count = 0;
  journal.client("gate");
  journal.accepted({ number: 1, due: Infinity, packet: bytes("32 02 00 00") }, 0);
  journal.change(SENT, 1, 1);
  journal.afterwards(() => void count++);
  assertEquals([count, journal.isDurable, journal.isBusy, journal.begin(), journal.due], [
    1,
    false,
    false,
    false,
    Infinity,
  ]);
});

test("journal: what is held back is done in order, behind the flush that keeps what was written before it", () => {
  const desk = new Desk(), { journal } = desk;
  desk.acts("at once");
  assertEquals(desk.told.splice(0), ["at once"]);
  assertEquals(journal.begin(), false);
  journal.change(RECORDED, 1);
  desk.acts("one");
  assertEquals(journal.begin(), true);
  desk.acts("one, too");
  journal.change(RECORDED, 2);
  desk.acts("two");
  assertEquals(journal.begin(), false, "one flush at a time");
  assertEquals(desk.flushed(), ["one", "one, too"]);
  assertEquals(journal.isBusy, true);
  assertEquals(journal.begin(), true);
  desk.accepts(7);
  desk.acts("three");
  assertEquals(desk.flushed(), ["two"]);
  assertEquals(journal.begin(), true);
  assertEquals(desk.flushed(), ["kept 7", "three"]);
  assertEquals(journal.isBusy, false);
});

test("journal: what was held back for a connection goes with it", () => {
  const desk = new Desk(), { journal } = desk;
  journal.change(RECORDED, 1);
  desk.acts("PUBREC");
  journal.lost();
  journal.begin();
  assertEquals(desk.flushed(), []);
});

test("journal: what comes during a flush is appended behind it, messages at once", () => {
  const desk = new Desk(), { journal } = desk;
  journal.change(RECORDED, 1);
  journal.begin();
  journal.change(RELEASED, 1);
  desk.accepts(4);
  assertEquals(desk.records, [`${RECORDED} 1`, `${ACCEPTED} 4`]);
  desk.flushed();
  assertEquals(desk.records, [`${RELEASED} 1`]);
  assertEquals(journal.begin(), true);
  assertEquals(desk.flushed(), ["kept 4"]);
});

test("journal: a flush that fails rejects its messages, and writes all else again in order, until it is kept", () => {
  const desk = new Desk(), { journal } = desk;
  journal.client("g");
  desk.accepts(1);
  journal.change(CONNECTED, 0);
  journal.change(SENT, 0, 9);
  journal.change(SENT, 1, 10);
  desk.acts("PUBLISH");
  journal.begin();
  assertEquals(desk.records.length, 5);
  desk.accepts(2);
  journal.change(SENT, 2, 11);
  assertEquals(desk.failed(500), ["not kept 1"]);
  assertEquals(desk.records, [`${ACCEPTED} 2`]);
  assertEquals([journal.due, journal.begin()], [1500, false]);
  for (const now of [1500, 2500]) {
    journal.retry();
    const others = now === 1500 ? [`${SENT} 2 11`] : []; // the first attempt was the second message's only one
    assertEquals(desk.records, [`${CLIENT} ${"g".charCodeAt(0)}`, `${CONNECTED} 0`, `${SENT} 0 9`, ...others]);
    assertEquals([journal.due, journal.begin()], [Infinity, true]);
    if (now === 1500) journal.failed(FULL, { kept: () => {}, notKept: () => {} }, now);
  }
  assertEquals(desk.flushed(), ["PUBLISH"]);
  assertEquals(journal.isBusy, false);
});

test("journal: what is behind a failure is done once it is kept", () => {
  const desk = new Desk(), { journal } = desk;
  journal.change(RECORDED, 1);
  desk.acts("PUBREC 1");
  journal.begin();
  desk.failed();
  journal.change(RECORDED, 2);
  desk.acts("PUBREC 2");
  assertEquals(desk.told, []);
  journal.retry();
  journal.begin();
  assertEquals(desk.flushed(), ["PUBREC 1", "PUBREC 2"]);
  assertEquals(desk.records, [`${RECORDED} 1`, `${RECORDED} 1`, `${RECORDED} 2`]);
});

test("journal: the log is sparse beyond twice what is alive and the slack, and not again before that much more", () => {
  const desk = new Desk(), { journal } = desk;
  const write = (count: number) => {
    for (let i = 0; i < count; i++) journal.change(DONE, i); // 25 bytes each
  };
  write(2621);
  assertEquals(journal.isSparse(0, 0), false);
  write(1);
  assertEquals(journal.isSparse(0, 0), true);
  assertEquals(journal.isSparse(7, 1), false);
  journal.replaced(84, 1); // 100 bytes
  assertEquals(journal.isSparse(84, 1), false);
  write(2625);
  assertEquals(journal.isSparse(84, 1), false);
  write(1);
  assertEquals(journal.isSparse(84, 1), true);
  assertEquals(new Journal({ append: () => {}, wall: () => 0, slack: 65_536 }, 65_537).isSparse(0, 0), true);
});
