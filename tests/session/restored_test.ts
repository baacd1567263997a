import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { MqttError } from "../../src/errors.ts";
import {
  ACCEPTED,
  CONNECTED,
  DONE,
  encodeClient,
  Journal,
  RECEIVED,
  RECORDED,
  RELEASED,
  SENT,
} from "../../src/session/journal.ts";
import { Restored } from "../../src/session/restored.ts";
import { bytes, hex } from "../support/bytes.ts";

const PACKET = bytes("32 07 00 01 61 00 00 68 69");

/** A record: its type, and what follows. */
type Change = readonly [type: number, a: number, b?: number, count?: number];

function records(changes: readonly Change[]): Uint8Array[] {
  const journal = new Journal({ append: () => {}, wall: () => 0, slack: 65_536 }, 0);
  return changes.map(([type, a, b, count]) =>
    (type === ACCEPTED
      ? journal.encodeAccepted({ number: a, due: b ?? Infinity, packet: PACKET }, 0)
      : journal.encodeChange(type, a, b, count)).slice()
  );
}

function read(...changes: Change[]): Restored {
  const restored = new Restored();
  for (const record of records(changes)) restored.read(record);
  return restored;
}

/** Messages with their packet identifiers, what the broker has, and what is recorded. */
function show({ messages, received, recorded }: Restored): string {
  const found = [...messages.values()].map(({ number, packetId }) => `${number}:${packetId}`);
  return `${found} / ${[...received]} / ${[...recorded]}`;
}

test("restored: whose session it is, and what it was accepted with", () => {
  const restored = new Restored();
  assertEquals([restored.id, restored.wasConnected, restored.accepted, restored.size], [undefined, false, 0, 0]);
  restored.read(encodeClient("gaté"));
  assertEquals([restored.id, restored.size], ["gaté", 6 + 16]);
  assertEquals([read([CONNECTED, 0]).wasConnected, read([CONNECTED, 0]).isTakenOver], [true, false]);
  assertEquals([read([CONNECTED, 1]).wasConnected, read([CONNECTED, 1]).isTakenOver], [true, true]);
  assertEquals(read([CONNECTED, 1], [CONNECTED, 0]).isTakenOver, false);
});

test("restored: a message with all that it has; the memory of the record is not kept", () => {
  const restored = new Restored(), [record] = records([[ACCEPTED, 5, 1234]]);
  restored.read(record!);
  record!.fill(0);
  const message = restored.messages.get(5)!;
  assertEquals([message.number, message.due, message.packetId, hex(message.packet)], [5, 1234, 0, hex(PACKET)]);
  assertEquals([restored.accepted, restored.size], [6, 17 + PACKET.length + 16]);
});

test("restored: what becomes of messages, and in which order", () => {
  assertEquals(show(read([ACCEPTED, 0], [ACCEPTED, 1], [SENT, 0, 7])), "0:7,1:0 /  / ");
  assertEquals(show(read([ACCEPTED, 0], [SENT, 0, 7], [DONE, 0])), " /  / ");
  const two = [[ACCEPTED, 0], [ACCEPTED, 1], [SENT, 0, 7], [SENT, 1, 8]] as const;
  assertEquals(show(read(...two, [RECEIVED, 1], [RECEIVED, 0])), "0:7,1:8 / 1,0 / ");
  assertEquals(show(read(...two, [RECEIVED, 1], [RECEIVED, 0], [RECEIVED, 1])), "0:7,1:8 / 0,1 / ");
  assertEquals(show(read(...two, [RECEIVED, 1], [DONE, 1])), "0:7 /  / ");
  assertEquals(show(read([RECORDED, 3], [RECORDED, 4], [RELEASED, 3], [RECORDED, 3])), " /  / 4,3");
  assertEquals(show(read([ACCEPTED, 0], [ACCEPTED, 1], [SENT, 0, 7, 2], [RECEIVED, 0, 0, 2])), "0:7,1:8 / 0,1 / ");
  assertEquals(show(read(...two, [DONE, 0, 0, 2], [RECORDED, 3, 0, 3], [RELEASED, 3, 0, 2])), " /  / 5");
});

test("restored: of a session that the broker has forgotten, messages are left, as if they were new", () => {
  const before = [[ACCEPTED, 0], [ACCEPTED, 1], [SENT, 0, 7], [SENT, 1, 8], [RECEIVED, 0], [RECORDED, 3]] as const;
  assertEquals(show(read(...before, [CONNECTED, 0])), "0:0,1:0 /  / ");
  assertEquals(show(read(...before, [CONNECTED, 1])), "0:7,1:8 / 0 / 3");
  assertEquals(show(read(...before, [CONNECTED, 0], [SENT, 0, 1])), "0:1,1:0 /  / ");
});

test("restored: what is said twice is as if it was said once", () => {
  const all = [[ACCEPTED, 0], [SENT, 0, 7], [RECEIVED, 0], [ACCEPTED, 1], [SENT, 1, 8], [RECORDED, 3]] as const;
  assertEquals(show(read(...all, ...all)), "0:7,1:8 / 0 / 3");
});

test("restored: what is said of a message that is not known says nothing", () => {
  assertEquals(show(read([SENT, 0, 7], [RECEIVED, 0], [DONE, 0], [RELEASED, 5])), " /  / ");
  assertEquals(show(read([ACCEPTED, 0], [RECEIVED, 0])), "0:0 /  / ");
});

test("[MQTT-2.3.1-2] restored: a packet identifier is that of the last message that was sent with it", () => {
  const both = [[ACCEPTED, 0], [ACCEPTED, 1], [SENT, 0, 7], [RECEIVED, 0], [SENT, 1, 7]] as const;
  assertEquals(show(read(...both)), "0:0,1:7 /  / ");
});

test("restored: any part of the records makes a session without inventions", () => {
  const changes: readonly Change[] = [
    ...[[CONNECTED, 1], [ACCEPTED, 0], [SENT, 0, 1], [ACCEPTED, 1], [RECEIVED, 0], [SENT, 1, 2]] as const,
    ...[[DONE, 0], [CONNECTED, 0], [ACCEPTED, 2], [SENT, 2, 1], [SENT, 1, 3], [RECORDED, 4], [RELEASED, 4]] as const,
  ];
  for (let part = 0; part < 2 ** changes.length; part++) {
    const { messages, received, recorded } = read(...changes.filter((_, i) => part >> i & 1));
    const ids = [...messages.values()].map(({ packetId }) => packetId).filter((packetId) => packetId > 0);
    assertEquals(new Set(ids).size, ids.length, `part ${part}`);
    for (const number of received) assertEquals(messages.get(number)!.packetId > 0, true, `part ${part}`);
    for (const packetId of recorded) assertEquals(packetId, 4);
    for (const { packet } of messages.values()) assertEquals(packet.length, PACKET.length);
  }
});

test("restored: what is no record of a session is refused", () => {
  for (const record of ["08", "01", "01 00 00", "02 00", "03 40 08", "04", "05 00", "06 01", "07 01 02 03", ""]) {
    assertThrows(() => new Restored().read(bytes(record)), MqttError, "none of a session");
  }
});
