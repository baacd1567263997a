import { assert, assertEquals, assertGreater, assertLess, assertLessOrEqual } from "@std/assert";
import { describe, test } from "node:test";
import type { OnPublish } from "../../src/options.ts";
import type { Message } from "../../src/message.ts";
import type { SessionEvent } from "../../src/session/events.ts";
import { MqttError } from "../../src/errors.ts";
import { bytes, hex, join } from "../support/bytes.ts";
import { encodeNaive, frame } from "../support/naive.ts";
import { Asked, CONNACK, Desk, messages, PRESENT, RECONNECT, show, suback, Talk } from "./driver.ts";

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
    assertEquals([asked.fate, talk.session.backlog.kept], [0, 3]);
    assertEquals(hex(talk.sends()), "", "not acknowledged while it waits");
    talk.gets(publish("y", "4"));
    const found: [string, boolean][] = [];
    for (let event = talk.session.next(); event !== undefined; event = talk.session.next()) {
      found.push([show(event), talk.session.handlers[0] === own]);
      if (found.length === 2) assertEquals(hex(talk.sends()), "", "nor while the program has it");
      if (found.length === 3) assertEquals(hex(talk.sends()), "40 02 00 07", "but when it asks for the next one");
    }
    assertEquals(found, [["own: 1", true], ["x: 2", false], ["own: 3", true], ["y: 4", false]]);
    assertEquals(talk.session.backlog.kept, 0);
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
    assertEquals([sent, talk.session.backlog.kept], [10, 10], "each counts as its payload and 256 bytes");
    for (let i = 0; i < 5; i++) talk.gets(publish("a", `${sent++}`));
    assertEquals(drainKeeping(talk), []);
    assertEquals(talk.session.backlog.kept, 10, "what comes all the same waits to be decoded");
    const found: string[] = [];
    found.push(...messages([talk.session.next()!]));
    assertEquals([talk.session.isReading, talk.session.backlog.kept], [false, 9], "until an eighth of them is taken");
    found.push(...messages(talk.drain()));
    assertEquals(found.map((each) => Number(each.slice(3))), Array.from({ length: sent }, (_, i) => i));
    assertEquals([talk.session.isReading, talk.session.backlog.kept], [true, 0]);
  });

  test("other events come through meanwhile", () => {
    const talk = Talk.open({ maxPacketSize: 100 });
    const asked = talk.subscribe(["b"]), inbox = talk.iterate("a", 1);
    talk.session.backlog.setWaiting(inbox, true);
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
    assertEquals([asked.fate, talk.session.backlog.kept, `${talk.session.backlog.take(inbox)}`], [0, 2, "1"]);
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
      assertEquals(talk.session.backlog.kept, 0);
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
    talk.session.backlog.take(two);
    assertEquals(talk.session.isReading, true);
    assertEquals([messages(talk.drain()).length, talk.session.isReading], [1, false]);
    talk.session.backlog.take(two);
    assertEquals([messages(talk.drain()).length, talk.session.isReading], [1, false], "both are full");
    talk.session.backlog.take(two);
    talk.session.backlog.take(two);
    assertEquals(talk.session.isReading, false, "one is");
    talk.session.backlog.take(one);
    assertEquals(talk.session.isReading, false);
    talk.session.backlog.take(one);
    assertEquals(talk.session.isReading, true);
    assertEquals([`${talk.session.backlog.take(one)}`, `${talk.session.backlog.take(one)}`], ["2", "3"]);
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
    talk.session.backlog.setWaiting(inbox, true);
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

/** A session that outlives connections. */
const kept = { cleanSession: false, reconnect: RECONNECT };

/** A promise, by the message's text. */
const later = (_: string, message: Message) => message.text();

interface Flags {
  dup?: boolean;
  topic?: string;
}

/** A message of QoS 1 or 2. */
function pub(qos: 1 | 2, packetId: number, payload: string, { dup = false, topic = "a" }: Flags = {}): Uint8Array {
  return encodeNaive({
    type: "PUBLISH",
    topic,
    payload: new TextEncoder().encode(payload),
    qos,
    retain: false,
    dup,
    packetId,
  });
}

/** What is sent: `PUBACK 1`. */
function answers(desk: Desk | Talk): string[] {
  const talk = desk instanceof Desk ? desk.talk : desk;
  return talk.packets().map((packet) => "packetId" in packet ? `${packet.type} ${packet.packetId}` : packet.type);
}

const again = { dup: true };

describe("acknowledgements: when a message is settled", () => {
  test("[MQTT-4.3.2-2] [MQTT-4.3.3-2] a handler that returns nothing: at once", () => {
    const desk = new Desk({}, () => undefined);
    desk.hears('32 06 0001 "a" 0001 "x" 34 06 0001 "a" 0002 "y"');
    assertEquals(hex(desk.talk.sends()), "40 02 00 01 50 02 00 02");
  });

  test("one that returns a promise: when that settles, and not before", () => {
    const desk = new Desk({}, later);
    desk.hears(pub(1, 1, "1"), pub(2, 2, "2"));
    assertEquals([desk.called, answers(desk)], [["a: 1"], []]);
    desk.settles("1");
    assertEquals([desk.called, answers(desk)], [["a: 1", "a: 2"], ["PUBACK 1"]]);
    desk.settles("2", true);
    assertEquals([answers(desk), desk.talk.session.stats.failed], [["PUBREC 2"], 1], "also when it failed");
  });

  test("an iterator: when it is asked for the next one, or left", () => {
    const talk = Talk.open();
    const inbox = talk.iterate("a", 10, 2);
    talk.sends();
    talk.hears(suback(1, 2));
    talk.hears(join([pub(1, 1, "1"), pub(2, 2, "2"), pub(1, 3, "3")]));
    assertEquals([`${talk.session.backlog.take(inbox)}`, answers(talk)], ["1", []]);
    assertEquals([`${talk.session.backlog.take(inbox)}`, answers(talk)], ["2", ["PUBACK 1"]]);
    talk.session.leave(inbox);
    assertEquals(answers(talk), ["PUBREC 2", "PUBACK 3"]);
  });

  test("several: when the last of them is done", () => {
    const desk = new Desk();
    desk.subscribes("a", later);
    desk.subscribes("a/#", (_, message) => `other ${message.text()}`);
    const inbox = desk.talk.iterate("+");
    answers(desk);
    desk.hears(suback(3, 0), pub(1, 1, "1"));
    desk.settles("other 1");
    desk.talk.session.backlog.take(inbox);
    desk.settles("1");
    assertEquals(answers(desk), []);
    desk.talk.session.backlog.take(inbox);
    assertEquals(answers(desk), ["PUBACK 1"]);
  });

  test("[MQTT-4.5.0-2] whom nobody wants: at once", () => {
    const desk = new Desk();
    desk.hears(pub(1, 1, "1"), pub(2, 2, "2"));
    assertEquals([answers(desk), desk.talk.session.stats.unclaimed], [["PUBACK 1", "PUBREC 2"], 0]);
  });

  test("[MQTT-4.6.0-2] [MQTT-4.6.0-3] PUBACKs and PUBRECs each in the order of receipt, whatever is settled first", () => {
    const desk = new Desk();
    desk.subscribes("slow", later, 10);
    desk.subscribes("fast", () => undefined);
    const slow = { topic: "slow" }, fast = { topic: "fast" };
    desk.hears(
      pub(1, 1, "1", slow),
      pub(2, 2, "2", slow),
      pub(1, 3, "", fast),
      pub(2, 4, "4", slow),
      pub(1, 5, "5", slow),
    );
    desk.hears(pub(2, 6, "", fast), pub(1, 7, "", fast));
    assertEquals(answers(desk), []);
    desk.settles("4");
    assertEquals(answers(desk), [], "2 is before it");
    desk.settles("1");
    assertEquals(answers(desk), ["PUBACK 1", "PUBACK 3"]);
    desk.settles("2");
    assertEquals(answers(desk), ["PUBREC 2", "PUBREC 4", "PUBREC 6"]);
    desk.settles("5");
    assertEquals(answers(desk), ["PUBACK 5", "PUBACK 7"]);
  });

  test("a message over maxPacketSize is acknowledged in that order, too", () => {
    const desk = new Desk({ maxPacketSize: 100 }, later);
    const large = (qos: 1 | 2, packetId: number) => frame(3, 2 * qos, [0, 1, 97, 0, packetId], new Uint8Array(200));
    desk.hears(pub(1, 1, "1"), large(1, 2), pub(2, 3, "3"), large(2, 4));
    assertEquals([answers(desk), desk.talk.session.stats.dropped], [[], 2]);
    desk.settles("1");
    assertEquals(answers(desk), ["PUBACK 1", "PUBACK 2"]);
    desk.settles("3");
    assertEquals(answers(desk), ["PUBREC 3", "PUBREC 4"]);
    desk.hears(large(2, 4));
    assertEquals([answers(desk), desk.talk.session.stats.dropped], [["PUBREC 4"], 2]);
  });

  test("QoS 0 has none, and waits for none", () => {
    const desk = new Desk({}, later);
    desk.hears(pub(1, 1, "1"), publish("a", "0"));
    desk.settles("1");
    desk.settles("0");
    assertEquals(answers(desk), ["PUBACK 1"]);
  });
});

describe("acknowledgements: what comes again", () => {
  test("[MQTT-4.3.3-2] QoS 2 in hand, on the same connection: it is not handled again, and answered once it is settled", () => {
    const desk = new Desk({}, later);
    desk.hears(pub(2, 1, "1"), pub(2, 1, "1", again), pub(2, 1, "1"));
    assertEquals([desk.called, answers(desk)], [["a: 1"], []]);
    desk.settles("1");
    assertEquals([desk.called, answers(desk)], [["a: 1"], ["PUBREC 1"]]);
    desk.hears(pub(2, 1, "1", again));
    assertEquals([desk.called, answers(desk)], [["a: 1"], ["PUBREC 1"]], "settled: at once");
    desk.hears("62 02 0001");
    assertEquals(answers(desk), ["PUBCOMP 1"]);
    desk.hears(pub(2, 1, "new"));
    assertEquals(desk.called, ["a: 1", "a: new"]);
  });

  test("QoS 1 in hand, with DUP and the same in all else: not handled again", () => {
    const desk = new Desk({}, later);
    desk.hears(pub(1, 1, "1"), pub(1, 1, "1", again));
    desk.settles("1");
    assertEquals([desk.called, answers(desk)], [["a: 1"], ["PUBACK 1"]]);
  });

  const others: [what: string, flags: Flags, payload: string][] = [
    ["without DUP", {}, "1"],
    ["with another payload", again, "2"],
    ["with a longer payload", again, "11"],
    ["with another topic", { dup: true, topic: "b" }, "1"],
  ];
  for (const [what, flags, payload] of others) {
    test(`[MQTT-3.3.1-3] QoS 1 ${what} is another message, though the identifier is the same`, () => {
      const desk = new Desk({}, (topic, message) => `${topic}${message.text()}${message.dup}`);
      desk.hears(pub(1, 1, "1"), pub(1, 1, payload, flags));
      desk.settles("a1false");
      assertEquals([desk.called.length, answers(desk)], [2, ["PUBACK 1"]]);
      for (const name of desk.works.keys()) desk.settles(name);
      assertEquals(answers(desk), ["PUBACK 1"]);
    });
  }

  for (const qos of [1, 2] as const) {
    const answer = qos === 1 ? "PUBACK" : "PUBREC";
    test(`[MQTT-4.3.${qos + 1}-2] QoS ${qos} in hand comes again on the next connection: it joins, and is answered there`, () => {
      const desk = new Desk(kept, later);
      desk.hears(pub(qos, 7, "1"));
      desk.reconnect(PRESENT);
      desk.hears(pub(qos, 7, "1", again), pub(qos, 8, "2"));
      assertEquals([desk.called, answers(desk), desk.unsettled], [["a: 1"], [], 2]);
      desk.settles("1");
      assertEquals([desk.called, answers(desk)], [["a: 1", "a: 2"], [`${answer} 7`]]);
      desk.settles("2");
      assertEquals(answers(desk), [`${answer} 8`]);
    });

    test(`QoS ${qos} in hand that has not come again is answered nowhere`, () => {
      const desk = new Desk(kept, later);
      desk.hears(pub(qos, 7, "1"));
      desk.reconnect(PRESENT);
      desk.settles("1");
      assertEquals([answers(desk), desk.unsettled], [[], 0]);
      desk.hears(pub(qos, 7, "1", again));
      assertEquals(desk.called.length, qos === 1 ? 2 : 1, "settled: of QoS 2 that is recorded, QoS 1 is handled again");
      if (qos === 2) assertEquals(answers(desk), ["PUBREC 7"]);
    });

    test(`QoS ${qos} that is settled while there is no connection: answered when it comes again`, () => {
      const desk = new Desk(kept, later);
      desk.hears(pub(qos, 7, "1"));
      desk.talk.breaks();
      desk.settles("1");
      desk.talk.redials();
      desk.talk.connect();
      desk.hears(PRESENT);
      assertEquals(answers(desk), []);
      desk.hears(pub(qos, 7, "1", again));
      if (qos === 1) desk.settles("1");
      assertEquals([desk.called.length, answers(desk)], [3 - qos, [`${answer} 7`]]);
    });

    test(`QoS ${qos} in hand over several connections`, () => {
      const desk = new Desk(kept, later);
      desk.hears(pub(qos, 7, "1"));
      for (let i = 0; i < 3; i++) {
        desk.reconnect(PRESENT);
        desk.hears(pub(qos, 7, "1", again));
      }
      desk.settles("1");
      assertEquals([desk.called, answers(desk), desk.unsettled], [["a: 1"], [`${answer} 7`], 0]);
    });

    test(`[MQTT-3.1.2-6] QoS ${qos} in hand whose session is lost is answered nowhere, and its identifier is free`, () => {
      const desk = new Desk({ ...kept, cleanSession: qos === 1 }, later);
      desk.hears(pub(qos, 7, "1"));
      desk.reconnect(CONNACK);
      desk.hears(pub(qos, 7, "2"));
      assertEquals([desk.called, desk.unsettled], [["a: 1"], 2], "another message, behind the first");
      desk.settles("1");
      assertEquals([desk.called, answers(desk)], [["a: 1", "a: 2"], []]);
      desk.settles("2");
      assertEquals(answers(desk), [`${answer} 7`]);
    });
  }

  test("[MQTT-3.1.2-4] what is settled is answered in the order in which it comes again", () => {
    const desk = new Desk(kept);
    desk.subscribes("a", later, 10);
    answers(desk);
    desk.hears(pub(2, 1, "1"), pub(2, 2, "2"), pub(2, 3, "3"));
    desk.settles("2");
    desk.reconnect(PRESENT);
    desk.hears(pub(2, 1, "1", again), pub(2, 2, "2", again), pub(2, 3, "3", again));
    desk.settles("3");
    assertEquals(answers(desk), []);
    desk.settles("1");
    assertEquals(answers(desk), ["PUBREC 1", "PUBREC 2", "PUBREC 3"]);
  });

  test("acknowledgements that were not sent are not sent on the next connection", () => {
    const desk = new Desk(kept, () => undefined);
    desk.hears(pub(1, 1, "1"), pub(2, 2, "2"), "62 02 0009");
    desk.reconnect(PRESENT);
    assertEquals(answers(desk), []);
  });

  test("[MQTT-4.3.3-2] an identifier is recorded until PUBREL, over connections, and 100,000 without take no more than there are", () => {
    const desk = new Desk(kept, () => undefined);
    for (let i = 0; i < 100_000; i++) {
      desk.hears(pub(2, i % 65_535 + 1, ""));
      if (i % 1000 === 0) desk.talk.sends();
    }
    desk.talk.sends();
    assertEquals([desk.called.length, desk.unsettled], [65_535, 0]);
    desk.reconnect(PRESENT);
    desk.hears(pub(2, 77, "", again), "62 02 004d", pub(2, 77, ""));
    assertEquals([desk.called.length, answers(desk)], [65_536, ["PUBREC 77", "PUBCOMP 77", "PUBREC 77"]]);
  });

  test("PUBREL for a message that is in hand is answered, and the message is acknowledged all the same", () => {
    const desk = new Desk({}, later);
    desk.hears(pub(2, 1, "1"), "62 02 0001");
    assertEquals(answers(desk), ["PUBCOMP 1"]);
    desk.settles("1");
    assertEquals(answers(desk), ["PUBREC 1"]);
  });
});

describe("acknowledgements: what nobody has begun, on a new connection", () => {
  test("session present: it is dropped from the queue of a handler, and comes again, in order", () => {
    const desk = new Desk(kept, later);
    desk.hears(pub(1, 1, "1"), pub(1, 2, "2"), pub(2, 3, "3"), publish("a", "0"));
    assertEquals(desk.unsettled, 4);
    desk.reconnect(PRESENT);
    assertEquals(desk.unsettled, 2, "what the handler has in hand, and QoS 0");
    desk.hears(pub(1, 1, "1", again), pub(1, 2, "2", again), pub(2, 3, "3", again));
    for (const name of ["1", "0", "2", "3"]) desk.settles(name);
    assertEquals(desk.called, ["a: 1", "a: 0", "a: 2", "a: 3"]);
    assertEquals(answers(desk), ["PUBACK 1", "PUBACK 2", "PUBREC 3"]);
  });

  test("session present: and from that of an iterator, which has room again", () => {
    const desk = new Desk(kept), { talk } = desk;
    const inbox = talk.iterate("a", 3, 2);
    talk.sends();
    desk.hears(suback(1, 2), pub(1, 1, "1"), pub(1, 2, "2"), pub(2, 3, "3"));
    assertEquals([talk.session.isReading, `${talk.session.backlog.take(inbox)}`], [false, "1"]);
    desk.reconnect(PRESENT);
    assertEquals([inbox.length, talk.session.isReading], [0, true]);
    desk.hears(pub(1, 1, "1", again), pub(1, 2, "2", again), pub(2, 3, "3", again));
    assertEquals([`${talk.session.backlog.take(inbox)}`, answers(talk)], ["2", ["PUBACK 1"]]);
    assertEquals([`${talk.session.backlog.take(inbox)}`, answers(talk)], ["3", ["PUBACK 2"]]);
  });

  test("session present: and from what a program that blocks has not taken", () => {
    const talk = Talk.open(kept);
    talk.gets(join([pub(1, 1, "1"), pub(2, 2, "2"), publish("a", "0")]));
    drainKeeping(talk);
    talk.session.lost(talk.attempt, new MqttError("socketclosed", "gone"), talk.now);
    drainKeeping(talk);
    assertEquals(talk.session.backlog.kept, 3);
    while (talk.session.status.type !== "connecting") {
      talk.now = talk.session.due;
      talk.session.tick(talk.now);
      drainKeeping(talk);
    }
    talk.session.opened(talk.attempt, { trusted: false }, talk.now);
    drainKeeping(talk);
    talk.session.login(talk.attempt, { uname: undefined, passwd: undefined }, talk.now);
    talk.sends();
    talk.gets(PRESENT);
    drainKeeping(talk);
    assertEquals(talk.session.backlog.kept, 1);
    talk.gets(join([pub(1, 1, "1", again), pub(2, 2, "2", again)]));
    drainKeeping(talk);
    assertEquals(messages(talk.drain()), ["a: 0", "a: 1", "a: 2"]);
    assertEquals(answers(talk), ["PUBACK 1", "PUBREC 2"]);
  });

  test("one of several has begun: it stays with all of them", () => {
    const desk = new Desk(kept);
    desk.subscribes("a", later);
    desk.subscribes("+", (_, message) => `other ${message.text()}`, 2);
    desk.hears(pub(1, 1, "1"), pub(1, 2, "2"));
    assertEquals(desk.called.length, 3);
    desk.reconnect(PRESENT);
    desk.hears(pub(1, 1, "1", again), pub(1, 2, "2", again));
    for (const name of ["1", "other 1", "other 2", "2"]) desk.settles(name);
    assertEquals([desk.called.length, answers(desk)], [4, ["PUBACK 1", "PUBACK 2"]]);
  });

  test("session not present: it stays, as nobody will bring it again", () => {
    const desk = new Desk(kept, later);
    desk.hears(pub(1, 1, "1"), pub(2, 2, "2"));
    desk.reconnect(CONNACK);
    assertEquals(desk.unsettled, 2);
    desk.settles("1");
    desk.settles("2");
    assertEquals([desk.called, answers(desk)], [["a: 1", "a: 2"], []]);
  });

  test("it is begun while there is no connection: it is in hand then", () => {
    const desk = new Desk(kept, later);
    desk.hears(pub(2, 1, "1"), pub(2, 2, "2"));
    desk.talk.breaks();
    desk.settles("1");
    desk.talk.redials();
    desk.talk.connect();
    desk.hears(PRESENT);
    desk.hears(pub(2, 1, "1", again), pub(2, 2, "2", again));
    assertEquals(answers(desk), ["PUBREC 1"]);
    desk.settles("2");
    assertEquals([desk.called, answers(desk)], [["a: 1", "a: 2"], ["PUBREC 2"]]);
  });
});

describe("acknowledgements: what a session had left, and nobody takes", () => {
  /** On the first connection of a process, whose session the broker has. */
  function resumed(settings: ConstructorParameters<typeof Desk>[0] = {}, onpub?: typeof later): Desk {
    const desk = new Desk({ ...kept, ...settings }, onpub);
    desk.reconnect(PRESENT);
    return desk;
  }

  test("it is kept for subscribe to find, in order, and not acknowledged before", () => {
    const desk = resumed();
    desk.hears(pub(1, 1, "1"), pub(2, 2, "2"), pub(1, 3, "3", { topic: "b" }), publish("a", "0"));
    assertEquals([answers(desk), desk.unsettled], [[], 3]);
    desk.subscribes("a", later);
    assertEquals(desk.called, ["a: 1"]);
    desk.hears(pub(1, 4, "4"));
    desk.settles("1");
    desk.settles("2");
    desk.settles("4");
    assertEquals([desk.called, answers(desk)], [["a: 1", "a: 2", "a: 4"], ["PUBACK 1", "PUBREC 2"]]);
    desk.subscribes("b", () => undefined);
    assertEquals([answers(desk), desk.unsettled], [["PUBACK 3", "PUBACK 4"], 0]);
  });

  test("an iterator finds it, too", () => {
    const desk = resumed();
    desk.hears(pub(1, 1, "1"));
    const inbox = desk.talk.iterate("a");
    assertEquals(`${desk.talk.session.backlog.take(inbox)}`, "1");
    desk.talk.session.backlog.take(inbox);
    assertEquals(answers(desk), ["SUBSCRIBE 1", "PUBACK 1"].sort().reverse());
  });

  test("after `timeout` it is given up: acknowledged, counted and told", () => {
    const desk = resumed();
    desk.hears(pub(1, 1, "1"), pub(2, 2, "22"));
    assertEquals(desk.pass(9999), []);
    assertEquals(answers(desk), []);
    assertEquals(desk.pass(2001), ["dropped unclaimed", "dropped unclaimed"]);
    assertEquals([answers(desk), desk.talk.session.stats.unclaimed, desk.unsettled], [["PUBACK 1", "PUBREC 2"], 2, 0]);
    const told = desk.talk.told.at(-1);
    assert(told?.type === "status" && told.status.type === "dropped");
    assertEquals(told.status.topic, "a");
    desk.hears(pub(1, 3, "3"));
    assertEquals([answers(desk), desk.talk.session.stats.unclaimed], [["PUBACK 3"], 2], "later ones are as ever");
  });

  test("connect's onpub takes it, and leaves nothing", () => {
    const desk = resumed({}, later);
    desk.hears(pub(1, 1, "1"));
    desk.settles("1");
    assertEquals(answers(desk), ["PUBACK 1"]);
  });

  test("on the next connection it comes again; with the session gone it stays until it is given up", () => {
    const desk = resumed();
    desk.hears(pub(1, 1, "1"));
    desk.reconnect(PRESENT);
    assertEquals(desk.unsettled, 0);
    desk.hears(pub(1, 1, "1", again));
    desk.reconnect(CONNACK);
    assertEquals(desk.unsettled, 1);
    desk.pass(12_000);
    assertEquals([answers(desk), desk.unsettled, desk.talk.session.stats.unclaimed], [[], 0, 1]);
  });

  test("so much that nothing is read any more: it goes on, with the session gone, too", () => {
    for (const connack of [PRESENT, CONNACK]) {
      const desk = resumed({ receiveMaximum: 10 });
      desk.hears(...Array.from({ length: 10 }, (_, i) => pub(1, i + 1, `${i}`)));
      assertEquals(desk.reads, false);
      desk.reconnect(connack);
      if (connack === PRESENT) desk.hears(...Array.from({ length: 10 }, (_, i) => pub(1, i + 1, `${i}`, again)));
      desk.pass(12_000);
      assertEquals([desk.reads, desk.unsettled], [true, 0]);
    }
  });

  test("then subscriptions that are made again, whose answer is behind it, have more time", () => {
    const desk = new Desk({ cleanSession: false, reconnect: RECONNECT, receiveMaximum: 1 });
    const { talk } = desk;
    desk.subscribes("own", () => {});
    desk.reconnect(CONNACK);
    talk.sends(); // SUBSCRIBE, which is lost with the connection
    desk.reconnect(PRESENT);
    const [request] = talk.packets();
    assert(request?.type === "SUBSCRIBE");
    desk.hears(pub(1, 1, "1"));
    assertEquals(desk.reads, false);
    desk.pass(10_500);
    assertEquals([desk.reads, talk.session.status.type], [true, "connected"]);
    desk.hears(suback(request.packetId, 0));
    desk.pass(20_000);
    assertEquals(talk.session.status.type, "connected");
  });

  test("a program that blocks finds it when it subscribes after that has come", () => {
    const talk = Talk.open(kept);
    talk.reconnect(PRESENT);
    const own: OnPublish = () => {};
    talk.gets(join([pub(1, 1, "1"), pub(2, 2, "2", { topic: "b" })]));
    drainKeeping(talk);
    talk.subscribe(["a"], own);
    const found: [string, OnPublish[]][] = [];
    for (let event = talk.session.next(); event !== undefined; event = talk.session.next()) {
      found.push([show(event), talk.session.handlers]);
    }
    assertEquals(found, [["a: 1", [own]], ["b: 2", []]]);
  });
});

describe("acknowledgements: a program that does not settle", () => {
  test("QoS 1 and 2 wait unread beyond receiveMaximum, and go on when half of them are settled", () => {
    const desk = new Desk({ receiveMaximum: 4 }, later);
    desk.hears(...[1, 2, 3, 4, 5, 6].map((i) => pub(1, i, `${i}`)));
    assertEquals([desk.unsettled, desk.reads], [4, false]);
    desk.settles("1");
    desk.settles("2");
    assertEquals([desk.unsettled, answers(desk)], [4, ["PUBACK 1", "PUBACK 2"]], "5 and 6 were read");
  });

  test("a publish that waits for its acknowledgement lets more be read, and a full maxBuffered fails it: it stays in flight", () => {
    const desk = new Desk({ receiveMaximum: 2, maxBuffered: 3000 }, later);
    const { talk } = desk;
    desk.hears(pub(1, 1, "1"), pub(1, 2, "2"));
    assertEquals(desk.reads, false);
    const call = new Asked("publish");
    talk.session.send({ topic: "t", message: "x", flags: 2 }, call, talk.now);
    talk.sends();
    assertEquals(desk.reads, true);
    for (let i = 3; desk.reads; i++) desk.hears(pub(1, i, `${i}`.padEnd(300)));
    assertEquals(call.fate, "pending");
    const told = desk.pass(22_000);
    assertEquals([told.includes("stalled"), call.fate], [true, "error overflow"]);
    assertEquals(talk.session.stats.unacknowledged, 1, "it stays in flight");
    assertEquals(talk.session.status.type, "connected");
    for (const name of [...desk.works.keys()]) desk.settles(name);
    while (desk.works.size > 0) for (const name of [...desk.works.keys()]) desk.settles(name);
    desk.hears("40 02 0001");
    assertEquals([talk.session.stats.unacknowledged, call.outcomes.length], [0, 1]);
  });

  test("acknowledgements that are behind what is not read are found when it is", () => {
    const desk = new Desk({ receiveMaximum: 2 }, later);
    desk.hears(pub(1, 1, "1"), pub(1, 2, "2"), pub(1, 3, "3"), "40 02 0001");
    assertEquals([desk.unsettled, desk.talk.session.stats.ignored], [2, 0]);
    const call = new Asked("publish");
    desk.talk.session.send({ topic: "t", message: "x", flags: 2 }, call, desk.talk.now);
    desk.talk.sends();
    desk.drain();
    assertEquals([call.fate, desk.unsettled], [0, 3]);
  });

  test("a broker that sends one identifier again and again while nothing is settled is refused, in the end", () => {
    const talk = Talk.open({ keepalive: 0, maxBuffered: 1 << 30, receiveMaximum: 65_535 });
    talk.subscribe(["never answered"]);
    const inbox = talk.iterate("a", 1 << 20);
    talk.sends();
    const one = pub(1, 1, "x");
    let count = 0;
    const reads = () => talk.session.reason === undefined && talk.session.status.type === "connected";
    for (; reads() && count < 70_000; count++) talk.hears(one);
    const { status } = talk.session;
    assert(status.type === "closed");
    assertEquals([status.error.code, count], ["protocol", 65_536]);
    assert(status.error.message.endsWith("[MQTT-2.3.1-2]"), status.error.message);
    assertLess(inbox.length, 65_538);
  });
});

describe("acknowledgements: the end", () => {
  test("[MQTT-3.14.4-2] what is settled after disconnect() and before DISCONNECT is acknowledged, later not", () => {
    const desk = new Desk({}, later);
    const { talk } = desk;
    desk.hears(pub(1, 1, "1"), pub(2, 2, "2"));
    talk.session.publish("t", "x", 0);
    talk.session.takeBytes();
    talk.disconnect();
    desk.settles("1");
    talk.session.written(talk.attempt, talk.now);
    assertEquals([answers(desk), desk.called], [["PUBACK 1", "DISCONNECT"], ["a: 1"]], "2 is not begun any more");
  });

  test("what is settled behind DISCONNECT is not sent, and disconnect() does not fail with it", () => {
    const desk = new Desk({}, later);
    const { talk } = desk;
    desk.hears(pub(1, 1, "1"));
    const call = talk.disconnect();
    assertEquals(answers(desk), ["DISCONNECT"]);
    desk.settles("1");
    assertEquals([answers(desk), talk.session.buffered], [[], 0]);
    talk.breaks();
    assertEquals(call.fate, undefined);
  });

  test("what is settled after the end touches nothing", () => {
    const desk = new Desk({}, later);
    desk.hears(pub(1, 1, "1"), pub(2, 2, "2"));
    desk.talk.breaks();
    desk.settles("1");
    desk.settles("2");
    assertEquals([answers(desk), desk.called, desk.talk.session.due], [[], ["a: 1", "a: 2"], Infinity]);
  });

  test("disconnect({ drain }) settles and acknowledges what was received, and nothing that comes meanwhile", () => {
    const desk = new Desk({}, later);
    const { talk } = desk;
    desk.hears(pub(1, 1, "1"), pub(2, 2, "2"));
    const call = new Asked("drain");
    talk.session.disconnect(call, { drain: true }, talk.now);
    desk.hears(pub(1, 3, "3"), "62 02 0009");
    desk.settles("1");
    assertEquals(answers(desk), ["PUBCOMP 9", "PUBACK 1"]);
    desk.settles("2");
    talk.session.tick(talk.now);
    assertEquals([answers(desk), desk.called], [["PUBREC 2", "DISCONNECT"], ["a: 1", "a: 2"]]);
  });
});
