import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { Losses } from "../../examples/bridge/losses.ts";
import { Waiting } from "../../examples/bridge/waiting.ts";
import { until } from "./support.ts";

test("losses: one line for each kind and period, the rest with the next or at the end", async () => {
  const lines: string[] = [];
  const losses = new Losses({ a: "to A", b: "to B" }, (line) => lines.push(line), 200);
  for (let i = 0; i < 1000; i++) losses.add("a");
  losses.add("b", 2);
  losses.add("b", 0);
  assertEquals(lines, ["Lost: 1 to A", "Lost: 2 to B"]);
  await until(() => lines.length > 2, "the period ends");
  assertEquals(lines.slice(2), ["Lost: 999 to A, 1000 so far"]);
  losses.add("a", 3);
  losses.close();
  assertEquals(lines.slice(3), ["Lost: 3 to A, 1003 so far"]);
  assertEquals(losses.counts, { a: 1003, b: 2 });
});

test("waiting: the oldest are lost beyond either bound, and what is passed over keeps its place", () => {
  const lost: string[] = [], taken: string[] = [];
  const waiting = new Waiting<{ name: string; bytes: number }>(
    { messages: 3, bytes: 10 },
    () => {},
    ({ name }) => lost.push(name),
  );
  const push = (name: string, bytes = 1) => waiting.push({ name, bytes });
  for (const name of ["1", "2", "3", "4"]) push(name);
  assertEquals(lost, ["1"]);
  waiting.offer(({ name }) => name === "2" ? "waits" : name === "4" ? "full" : (taken.push(name), "taken"));
  assertEquals([taken, waiting.length], [["3"], 2]);
  push("5", 9);
  assertEquals([lost, waiting.length], [["1", "2"], 2]);
  waiting.offer(({ name }) => (taken.push(name), "taken"));
  assertEquals([taken, waiting.length], [["3", "4", "5"], 0]);
  push("6", 11);
  assertEquals([lost, waiting.length], [["1", "2", "6"], 0]);
});
