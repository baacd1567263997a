import { assertEquals, assertGreater, assertLessOrEqual } from "@std/assert";
import { describe, test } from "node:test";
import type { OnPublish } from "../../src/api.ts";
import type { SessionEvent } from "../../src/session/events.ts";
import { bytes, hex, join } from "../support/bytes.ts";
import { encodeNaive, frame } from "../support/naive.ts";
import { messages, show, suback, Talk } from "./driver.ts";

/** The next events that are no messages. */
function drainKeeping(talk: Talk): SessionEvent[] {
  const events: SessionEvent[] = [];
  for (
    let event = talk.session.nextKeepingMessages();
    event !== undefined;
    event = talk.session.nextKeepingMessages()
  ) {
    events.push(talk.take(event));
  }
  return events;
}

function publish(topic: string, payload: string, packetId = 0): Uint8Array {
  const qos = packetId === 0 ? 0 : 1;
  const type = "PUBLISH";
  return encodeNaive({
    type,
    topic,
    payload: new TextEncoder().encode(payload),
    qos,
    retain: false,
    dup: false,
    packetId,
  });
}

describe("messages that wait while the shell takes none", () => {
  test("they are kept in order, with their handlers, and come before what comes later", () => {
    const own: OnPublish = () => {}, others: OnPublish = () => {};
    const talk = Talk.open({}, { onpub: others });
    const asked = talk.subscribe(["own"], own);
    talk.sends();
    talk.gets(join([publish("own", "1"), publish("x", "2", 7), suback(1, 0), publish("own", "3")]));
    assertEquals(drainKeeping(talk).map(show), ["subscribe own: 0"]);
    assertEquals([asked.fate, talk.session.kept], [0, 3]);
    assertEquals(hex(talk.sends()), "", "not acknowledged while it waits");
    talk.gets(publish("y", "4"));
    const found: [string, boolean][] = [];
    for (let event = talk.session.next(); event !== undefined; event = talk.session.next()) {
      found.push([show(event), talk.session.handlers[0] === own]);
      if (found.length === 2) assertEquals(hex(talk.sends()), "", "nor while the program has it");
      if (found.length === 3) assertEquals(hex(talk.sends()), "40 02 00 07", "but when it asks for the next one");
    }
    assertEquals(found, [["own: 1", true], ["x: 2", false], ["own: 3", true], ["y: 4", false]]);
    assertEquals(talk.session.kept, 0);
  });

  test("the handlers are those of the time when it came", () => {
    const first: OnPublish = () => {}, second: OnPublish = () => {};
    const talk = Talk.open();
    talk.subscribed(["a"], first);
    talk.gets(publish("a", "1"));
    drainKeeping(talk);
    talk.subscribed(["a"], second);
    assertEquals(talk.session.handlers, [first], "asking for the answer takes what was kept");
    talk.hears(publish("a", "2"));
    assertEquals(talk.session.handlers, [second]);
  });

  test("up to maxBuffered bytes, then nothing is read until they are taken; nothing is lost", () => {
    const talk = Talk.open({ maxBuffered: 10_000, keepalive: 0 });
    let sent = 0;
    while (talk.session.isReading) {
      talk.gets(publish("a", `${sent++}`.padEnd(744)));
      drainKeeping(talk);
      assertLessOrEqual(sent, 12);
    }
    assertEquals([sent, talk.session.kept], [10, 10], "each counts as its payload and 256 bytes");
    for (let i = 0; i < 5; i++) talk.gets(publish("a", `${sent++}`));
    assertEquals(drainKeeping(talk), []);
    assertEquals(talk.session.kept, 10, "what comes all the same waits to be decoded");
    const found: string[] = [];
    found.push(...messages([talk.session.next()!]));
    assertEquals([talk.session.isReading, talk.session.kept], [false, 9], "until an eighth of them is taken");
    found.push(...messages(talk.drain()));
    assertEquals(found.map((each) => Number(each.slice(3))), Array.from({ length: sent }, (_, i) => i));
    assertEquals([talk.session.isReading, talk.session.kept], [true, 0]);
  });

  test("other events come through meanwhile", () => {
    const talk = Talk.open({ maxPacketSize: 100 });
    const asked = talk.subscribe(["b"]), inbox = talk.iterate("a", 1);
    talk.session.setWaiting(inbox, true);
    talk.sends();
    talk.gets(join([
      publish("a", "1"),
      frame(3, 0, [0, 1, 97], new Uint8Array(200)),
      suback(1, 0),
      suback(2, 0),
      publish("x", "2"),
    ]));
    const told = ["inbox a", "dropped overflow", "subscribe b: 0"];
    assertEquals(drainKeeping(talk).map(show), told, "an iterator that is full stops nobody who waits for the broker");
    assertEquals([asked.fate, talk.session.kept, `${talk.session.take(inbox)}`], [0, 2, "1"]);
  });

  test("what was kept can still be taken after the end, but not after disconnect()", () => {
    for (const [end, left] of [["breaks", 2], ["disconnect", 0]] as const) {
      const talk = Talk.open();
      talk.gets(join([publish("a", "1"), publish("a", "2")]));
      drainKeeping(talk);
      if (end === "breaks") talk.breaks();
      else {
        talk.disconnect();
        talk.sends();
        drainKeeping(talk);
        talk.session.lost(talk.attempt, talk.session.reason!, talk.now);
      }
      assertEquals(messages([...talk.told, ...talk.drain()]).length, left);
      assertEquals(talk.session.kept, 0);
    }
  });

  test("[MQTT-4.3.2-2] after disconnect() nothing is delivered, dropped or acknowledged any more: the broker keeps it", () => {
    const talk = Talk.open({ maxPacketSize: 100 });
    talk.session.publish("t", "x", 0);
    talk.session.takeBytes();
    talk.disconnect();
    const large = frame(3, 2, [0, 1, 97, 0, 2], new Uint8Array(200));
    assertEquals(talk.hears(join([publish("a", "1", 1), large])), []);
    talk.session.written(talk.attempt, talk.now);
    assertEquals([hex(talk.sends()), talk.session.stats.dropped], ["e0 00", 0]);
  });
});

describe("messages of iterators", () => {
  test("a full one stops the reading until half of it is taken; several do so until the last has room", () => {
    const talk = Talk.open();
    const one = talk.iterate("a", 4), two = talk.iterate("a/#", 2);
    talk.sends();
    talk.hears(join([suback(1, 0), suback(2, 0)]));
    for (let i = 0; i < 4; i++) talk.gets(publish("a", `${i}`));
    assertEquals([messages(talk.drain()).length, talk.session.isReading], [2, false], "two is full");
    talk.session.take(two);
    assertEquals(talk.session.isReading, true);
    assertEquals([messages(talk.drain()).length, talk.session.isReading], [1, false]);
    talk.session.take(two);
    assertEquals([messages(talk.drain()).length, talk.session.isReading], [1, false], "both are full");
    talk.session.take(two);
    talk.session.take(two);
    assertEquals(talk.session.isReading, false, "one is");
    talk.session.take(one);
    assertEquals(talk.session.isReading, false);
    talk.session.take(one);
    assertEquals(talk.session.isReading, true);
    assertEquals([`${talk.session.take(one)}`, `${talk.session.take(one)}`], ["2", "3"]);
  });

  test("one that is left, or ends, stops nobody", () => {
    const talk = Talk.open();
    const left = talk.iterate("a", 1), given = talk.iterate("b", 1);
    talk.sends();
    talk.hears(join([suback(1, 0), suback(2, 0), publish("a", "1")]));
    assertEquals(talk.session.isReading, false);
    talk.session.leave(left);
    assertEquals(talk.session.isReading, true);
    talk.unsubscribe(["b"]);
    talk.sends();
    talk.hears(join([publish("b", "1"), bytes("b0 02 0003")]));
    assertEquals([given.ended, given.error, talk.session.isReading], [true, undefined, true]);
  });

  test("who waits is woken by each message, and by the end", () => {
    const talk = Talk.open();
    const inbox = talk.iterate("a");
    talk.sends();
    talk.hears(suback(1, 0));
    assertEquals(messages(talk.hears(publish("a", "1"))).length, 1);
    talk.session.setWaiting(inbox, true);
    assertEquals(talk.hears(publish("a", "2")).map(show).sort(), ["a: 2", "inbox a"]);
    assertGreater(talk.breaks().map(show).indexOf("inbox a"), -1);
    assertEquals([inbox.ended, inbox.error?.code], [true, "socketclosed"]);
  });

  test("disconnect() is no error to an iterator", () => {
    const talk = Talk.open();
    const inbox = talk.iterate("a");
    talk.disconnect();
    talk.sends();
    talk.breaks();
    assertEquals([inbox.ended, inbox.error], [true, undefined]);
  });
});
