import { assertEquals } from "@std/assert";
import { describe, test } from "node:test";
import { MqttError } from "../../src/errors.ts";
import { Message, NO_BLOCK } from "../../src/message.ts";
import type { Delivery } from "../../src/session/consumer.ts";
import { Inbox } from "../../src/session/inbox.ts";

function message(topic = "a"): Delivery {
  return {
    message: new Message(topic, 0x30, NO_BLOCK, 0, 0),
    packetId: 0,
    pending: 1,
    begun: false,
    failed: false,
    receipt: "none",
  };
}

function inbox(limit: number): Inbox {
  return new Inbox("a", limit, () => {});
}

describe("inbox", () => {
  test("messages in order", () => {
    const box = inbox(10);
    for (const topic of ["1", "2", "3"]) box.push(message(topic));
    assertEquals([1, 2, 3, 4].map(() => box.shift()?.message.topic), ["1", "2", "3", undefined]);
  });

  for (const [limit, half] of [[1, 0], [2, 1], [3, 1], [10, 5], [1000, 500]] as const) {
    test(`limit ${limit}: full at so many, and again with room at ${half}`, () => {
      const box = inbox(limit);
      for (let round = 0; round < 3; round++) {
        const told = Array.from({ length: limit - (round === 0 ? 0 : half) }, () => box.push(message()));
        assertEquals(told.indexOf(true), told.length - 1, "the last one fills it");
        assertEquals([box.full, box.hasDrained()], [true, false]);
        for (let i = limit; i > half + 1; i--) {
          box.shift();
          assertEquals([box.hasDrained(), box.full], [false, true]);
        }
        box.shift();
        assertEquals([box.hasDrained(), box.full, box.hasDrained()], [true, false, false], "told once");
      }
    });
  }

  test("what comes while it is full is taken, and told no second time", () => {
    const box = inbox(2);
    assertEquals([box.push(message()), box.push(message()), box.push(message()), box.push(message())], [
      false,
      true,
      false,
      false,
    ]);
    assertEquals([1, 2, 3, 4, 5].map(() => box.shift() !== undefined), [true, true, true, true, false]);
  });

  test("after the end nothing comes; what waits can still be taken, and the first error counts", () => {
    const box = inbox(2), error = new MqttError("socketclosed", "first");
    box.push(message("1"));
    box.push(message("2"));
    box.end(error);
    box.end(new MqttError("timeout", "second"));
    assertEquals([box.ended, box.error], [true, error]);
    assertEquals(box.hasDrained(), true, "one that has ended stops nobody");
    assertEquals([1, 2, 3].map(() => box.shift()?.message.topic), ["1", "2", undefined]);
    const done = inbox(2);
    done.end(undefined);
    done.end(error);
    assertEquals([done.ended, done.error], [true, undefined]);
  });
});
