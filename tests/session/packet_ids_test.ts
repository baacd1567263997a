/** Packet identifiers: one space for all that needs one. */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { PacketIds } from "../../src/session/packet_ids.ts";

test("[MQTT-2.3.1-1] packet identifiers: 1 to 65,535 in turn, then from 1 again", () => {
  const ids = new PacketIds();
  const found = Array.from({ length: 65_537 }, () => ids.next());
  assertEquals([found[0], found[65_534], found[65_535], found[65_536]], [1, 65_535, 1, 2]);
  assertEquals(new Set(found).size, 65_535);
});

test("[MQTT-2.3.1-2] packet identifiers: one that is in use, by whatever, is passed over", () => {
  const ids = new PacketIds(), messages = new Map<number, string>(), freed = new Set<number>();
  ids.add(messages);
  ids.add(freed);
  messages.set(1, "a").set(3, "c").set(65_535, "z");
  freed.add(2).add(5);
  assertEquals([ids.next(), ids.next()], [4, 6]);
  messages.delete(3);
  for (let i = 7; i < 65_535; i++) assertEquals(ids.next(), i);
  assertEquals([ids.next(), ids.next(), ids.next()], [3, 4, 6], "the one that was given longest ago comes first");
});

test("packet identifiers: undefined when all are in use, and the one that is free, wherever it is", () => {
  const ids = new PacketIds(), one = new Set<number>(), other = new Set<number>();
  ids.add(one);
  ids.add(other);
  for (let i = 1; i <= 65_535; i++) (i & 1 ? one : other).add(i);
  assertEquals([ids.next(), ids.next()], [undefined, undefined]);
  for (const free of [40_000, 39_999, 1, 65_535]) {
    const users = free & 1 ? one : other;
    users.delete(free);
    assertEquals([ids.next(), ids.next()], [free, free], "until it is in use");
    users.add(free);
    assertEquals(ids.next(), undefined);
  }
});
