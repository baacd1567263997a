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
      if (type === CLIENT || type === CONNECTED) return `${type} ${rest.at(-1)}`;
      const isOfId = type === RECORDED || type === RELEASED, of = isOfId ? view.getUint16(0) : view.getFloat64(0);
      const count = type === ACCEPTED ? 1 : view.getUint16(isOfId ? 2 : 8);
      const packetId = type === SENT ? ` ${view.getUint16(10)}` : "";
      return `${type} ${of}${packetId}${count > 1 ? ` and ${count - 1} more` : ""}`;
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
  journal.begin();
  assertEquals(desk.bytes, [
    "01 00",
    "01 01",
    "03 40 08 00 00 00 00 00 00 00 01 01 02",
    "04 40 08 00 00 00 00 00 00 00 01",
    "05 40 08 00 00 00 00 00 00 00 01",
    "06 01 02 00 01",
    "07 01 02 00 01",
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
  assertEquals(desk.records, []);
  assertEquals(journal.begin(), true);
  assertEquals(desk.records, [`${RELEASED} 1`]);
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
  assertEquals(desk.records.length, 4);
  desk.accepts(2);
  journal.change(SENT, 2, 11);
  assertEquals(desk.failed(500), ["not kept 1"]);
  assertEquals(desk.records, [`${ACCEPTED} 2`]);
  assertEquals([journal.due, journal.begin()], [1500, false]);
  for (const now of [1500, 2500]) {
    journal.retry();
    const others = now === 1500 ? [`${SENT} 2 11`] : []; // the first attempt was the second message's only one
    assertEquals([journal.due, journal.begin()], [Infinity, true]);
    assertEquals(desk.records, [`${CLIENT} ${"g".charCodeAt(0)}`, `${CONNECTED} 0`, `${SENT} 0 9`, ...others]);
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
  assertEquals(desk.records, [`${RECORDED} 1`, `${RECORDED} 1 and 1 more`]);
});

test("journal: the log is sparse beyond twice what is alive and the slack, and not again before that much more", () => {
  const desk = new Desk(), { journal } = desk;
  const write = (count: number) => {
    for (let i = 0; i < count; i++) journal.change(DONE, 2 * i); // 27 bytes each
    journal.begin();
    desk.flushed();
  };
  write(2427);
  assertEquals(journal.isSparse(0, 0), false);
  write(1);
  assertEquals(journal.isSparse(0, 0), true);
  assertEquals(journal.isSparse(7, 1), false);
  journal.replaced(84, 1); // 100 bytes
  assertEquals(journal.isSparse(84, 1), false);
  write(2430);
  assertEquals(journal.isSparse(84, 1), false);
  write(1);
  assertEquals(journal.isSparse(84, 1), true);
  assertEquals(new Journal({ append: () => {}, wall: () => 0, slack: 65_536 }, 65_537).isSparse(0, 0), true);
});

test("journal: changes one after the other take one record, of at most 65,535", () => {
  const desk = new Desk(), { journal } = desk;
  for (const number of [5, 6, 7]) journal.change(SENT, number, number + 60);
  journal.change(SENT, 8, 1); // another identifier
  journal.change(SENT, 10, 2); // another number
  for (const number of [5, 6]) journal.change(RECEIVED, number);
  for (const number of [6, 5, 7, 8]) journal.change(DONE, number);
  for (const packetId of [1, 2, 3]) journal.change(RECORDED, packetId);
  for (const packetId of [1, 2]) journal.change(RELEASED, packetId);
  for (const isPresent of [0, 1]) journal.change(CONNECTED, isPresent);
  journal.begin();
  assertEquals(desk.records, [
    `${SENT} 5 65 and 2 more`,
    `${SENT} 8 1`,
    `${SENT} 10 2`,
    `${RECEIVED} 5 and 1 more`,
    `${DONE} 6`,
    `${DONE} 5`,
    `${DONE} 7 and 1 more`,
    `${RECORDED} 1 and 2 more`,
    `${RELEASED} 1 and 1 more`,
    `${CONNECTED} 0`,
    `${CONNECTED} 1`,
  ]);
  journal.change(CONNECTED, 2);
  desk.flushed();
  for (let number = 0; number < 70_000; number++) journal.change(DONE, number);
  journal.begin();
  assertEquals(desk.records, [`${CONNECTED} 2`, `${DONE} 0 and 65534 more`, `${DONE} 65535 and 4464 more`]);
});

test("journal: what is being flushed is not changed any more", () => {
  const desk = new Desk(), { journal } = desk;
  journal.change(DONE, 1);
  journal.begin();
  journal.change(DONE, 2);
  desk.flushed();
  journal.begin();
  assertEquals(desk.records, [`${DONE} 1`, `${DONE} 2`]);
});

test("journal: of a run, what was said of the messages that are given up is forgotten", () => {
  const desk = new Desk(), { journal } = desk;
  for (const number of [1, 3]) desk.accepts(number);
  for (const number of [0, 1, 2, 3, 4]) journal.change(SENT, number, number + 10);
  journal.begin();
  desk.failed();
  journal.retry();
  desk.records;
  journal.begin();
  assertEquals(desk.records, [`${SENT} 0 10`, `${SENT} 2 12`, `${SENT} 4 14`]);
});
