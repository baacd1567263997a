import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { Losses } from "../../examples/bridge/losses.ts";
import { Outbox } from "../../examples/bridge/outbox.ts";

/** An outbox whose reader takes when it is told to, and what it took. */
function makeOutbox(messages = 3, bytes = 100) {
  const taken: string[] = [];
  const losses = new Losses({ dropped: "to a test" });
  let ready = false;
  const outbox = new Outbox(
    {
      ready: () => ready,
      write: (frames) => void taken.push(...frames),
      lost: (count) => `lost ${count}`,
    },
    { messages, bytes },
    losses,
  );
  return {
    outbox,
    /** How many were dropped; the end of counting. */
    dropped() {
      losses.close();
      return losses.counts.dropped;
    },
    /** All that the reader gets now. */
    take() {
      ready = true;
      outbox.flush();
      ready = false;
      return taken.splice(0);
    },
  };
}

test("outbox: a slow reader loses the oldest messages, and is told how many before the next one", () => {
  const { outbox, take, dropped } = makeOutbox();
  for (const message of ["1", "2", "3", "4", "5"]) outbox.push(message);
  assertEquals(take(), ["lost 2", "3", "4", "5"]);
  assertEquals([take(), dropped()], [[], 2]);
});

test("outbox: what it is told besides messages is in its place, never lost and never counted", () => {
  const { outbox, take, dropped } = makeOutbox();
  outbox.tell("answer 1");
  for (const message of ["1", "2", "3", "4"]) outbox.push(message);
  outbox.tell("answer 2");
  for (const message of ["5", "6"]) outbox.push(message);
  assertEquals(take(), ["answer 1", "lost 3", "4", "answer 2", "5", "6"]);
  assertEquals([dropped(), outbox.weight], [3, 0]);
});

test("outbox: of states only the latest waits", () => {
  const { outbox, take, dropped } = makeOutbox();
  outbox.tell("away", "state");
  outbox.push("1");
  for (let i = 0; i < 1000; i++) outbox.tell(`connected ${i}`, "state");
  assertEquals(outbox.weight, 1024);
  assertEquals(take(), ["1", "connected 999"]);
  dropped();
});

test("outbox: the bound is in bytes, and the newest message stays", () => {
  const { outbox, take, dropped } = makeOutbox();
  outbox.push("a".repeat(60));
  outbox.push("☃".repeat(33));
  assertEquals(take(), ["lost 1", "☃".repeat(33)]);
  dropped();
});

test("outbox: a message over the bound is lost alone, and told in its place, also when nothing follows", () => {
  const { outbox, take, dropped } = makeOutbox(4);
  outbox.push("1");
  outbox.push("x".repeat(101));
  outbox.push("2");
  outbox.push("☃".repeat(34));
  assertEquals(take(), ["1", "lost 1", "2", "lost 1"]);
  outbox.push("x".repeat(101));
  assertEquals([take(), dropped()], [["lost 1"], 3]);
});
