import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, test } from "node:test";
import type { OnPublish } from "../../src/options.ts";
import { MqttError } from "../../src/errors.ts";
import { Output } from "../../src/protocol/output.ts";
import { SUBACK } from "../../src/protocol/packet.ts";
import { Backlog } from "../../src/session/backlog.ts";
import { Events } from "../../src/session/events.ts";
import { limitsOf } from "../../src/session/limits.ts";
import { PacketIds } from "../../src/session/packet_ids.ts";
import { Subscriber } from "../../src/session/subscriber.ts";
import { bytes, join } from "../support/bytes.ts";
import { NaiveReader } from "../support/naive.ts";
import { CONNACK, messages, PRESENT, RECONNECT, show, suback, Talk, unsuback } from "./driver.ts";

const reconnect = RECONNECT;

test("requests: more subscriptions than are made again at once: the others follow the answers, in their order", () => {
  const events = new Events(() => {}), output = new Output(1 << 24);
  const backlog = new Backlog({ maxUnsettled: 1 << 24, receiveMaximum: 1000 }, events, {
    settle() {},
    forget() {},
  });
  const none = { onpub: undefined, concurrency: 1 };
  const settings = { version: 4 as const, cleanSession: true, maxBuffered: 1 << 24, timeout: 1000 };
  const limits = limitsOf({}, { version: 4, keepalive: 60, sessionExpiry: 0 });
  const subscriber = new Subscriber(settings, { output, events, backlog, ids: new PacketIds() });
  const all = Array.from({ length: 33_000 }, (_, i) => `f/${i}`);
  /** What goes out, as SUBSCRIBE packets, and their answers. */
  const answer = (): string[] => {
    const reader = new NaiveReader(), filters: string[] = [];
    for (let bytes = output.take(); bytes !== undefined; bytes = output.take()) {
      for (const packet of reader.push(bytes.slice())) {
        assert(packet.type === "SUBSCRIBE" && packet.filters.length === 1);
        filters.push(packet.filters[0]!.topic);
        subscriber.answered({ type: SUBACK, packetId: packet.packetId, codes: [0] }, 0);
      }
      output.written();
    }
    return filters;
  };
  subscriber.connected({ sessionPresent: false, limits }, 0);
  for (const topic of all) {
    const group = { filters: [{ topic, qos: 0 as const }] };
    subscriber.subscribe(group, none, { resolve() {}, reject() {} }, 0);
  }
  assertEquals(answer(), all);
  subscriber.lost(new MqttError("socketclosed", "gone"), 0);
  subscriber.connected({ sessionPresent: false, limits }, 0);
  assertEquals(answer(), all);

  // What is given up, or asked for in another packet, before its turn has come is not asked for again.
  subscriber.lost(new MqttError("socketclosed", "gone"), 0);
  subscriber.connected({ sessionPresent: false, limits }, 0);
  const call = { resolve() {}, reject() {} };
  const given = all.at(-1)!, again = all.at(-2)!;
  subscriber.subscribe({ filters: [{ topic: again, qos: 0 }] }, none, call, 0);
  subscriber.subscribe(
    { filters: [{ topic: given, qos: 0 }, { topic: "other", qos: 0 }] },
    none,
    call,
    0,
  );
  const asked = new NaiveReader(), seen: string[] = [];
  for (let bytes = output.take(); bytes !== undefined; bytes = output.take()) {
    for (const packet of asked.push(bytes.slice())) {
      assert(packet.type === "SUBSCRIBE");
      seen.push(...packet.filters.map(({ topic }) => topic));
      const codes = packet.filters.map(() => 0);
      subscriber.answered({ type: SUBACK, packetId: packet.packetId, codes }, 0);
    }
    output.written();
  }
  assertEquals(seen.toSorted(), [...all, "other"].toSorted());
});

describe("requests: deadlines", () => {
  test("a request that is not answered in time is given up; a late answer harms nothing", () => {
    const talk = Talk.open({ keepalive: 0, timeout: 1000 });
    const asked = talk.subscribe(["a"]), given = talk.unsubscribe(["b"]);
    talk.sends();
    talk.pass(999);
    assertEquals([asked.fate, given.fate], ["pending", "pending"]);
    talk.pass(1);
    assertEquals([asked.fate, given.fate], ["error timeout", "error timeout"]);
    assertEquals(talk.session.due, Infinity);
    assertEquals(talk.hears(join([suback(1, 0), unsuback(2)])), []);
    assertEquals([asked.outcomes.length, given.outcomes.length], [1, 1]);
    assertEquals(talk.session.status.type, "connected");
    assertEquals(talk.fails(suback(1, 0)).code, "protocol", "but only once");
  });

  test("asking again for what was granted, in vain, does not end it; nor does a late refusal", () => {
    const talk = Talk.open({ keepalive: 0, timeout: 1000, reconnect });
    talk.subscribed(["a"]);
    const onpub = () => {};
    const again = talk.subscribe(["a", "b"], onpub);
    talk.sends();
    talk.pass(1000);
    assertEquals(again.fate, "error timeout");
    for (const answer of [new Uint8Array(0), suback(2, 128, 0)]) {
      talk.hears(join([answer, bytes('30 03 0001 "a"')]));
      assertEquals(talk.session.handlers, [onpub]);
      talk.hears('30 03 0001 "b"');
      assertEquals(talk.session.handlers, []);
    }
    talk.reconnect();
    assertEquals(talk.says(), ["SUBSCRIBE 3 a"]);
  });

  test("each has its own deadline, in the order of asking", () => {
    const talk = Talk.open({ keepalive: 0, timeout: 1000 });
    const first = talk.subscribe(["a"]);
    talk.pass(400);
    const second = talk.unsubscribe(["b"]);
    talk.pass(400);
    const third = talk.subscribe(["c"]);
    talk.pass(200);
    assertEquals([first.fate, second.fate, third.fate], ["error timeout", "pending", "pending"]);
    talk.hears(unsuback(2));
    talk.pass(799);
    assertEquals([second.fate, third.fate], [undefined, "pending"]);
    talk.pass(1);
    assertEquals(third.fate, "error timeout");
  });

  test("[MQTT-2.3.1-2] the identifier of one that was given up is in use on this connection, and free on the next", () => {
    const talk = Talk.open({ keepalive: 0, timeout: 1000, reconnect });
    talk.subscribe(["a"]);
    talk.unsubscribe(["b"]);
    talk.pass(1000);
    talk.sends();
    /** Uses so many identifiers, one after the other; returns them. */
    const use = (count: number) =>
      Array.from({ length: count }, () => {
        talk.unsubscribe(["x"]);
        const packet = talk.sends(), id = packet[2]! << 8 | packet[3]!;
        talk.hears(unsuback(id));
        return id;
      });
    const ids = new Set(use(65_535));
    assertEquals([ids.size, ids.has(1), ids.has(2)], [65_533, false, false]);
    talk.reconnect();
    const free = new Set(use(65_535));
    assertEquals([free.size, free.has(1), free.has(2)], [65_535, true, true]);
  });

  test("whoever blocks gives up what he waits for: it is settled, forgotten, and its identifier stays in use", () => {
    const talk = Talk.open({ reconnect });
    const error = new MqttError("timeout", "enough");
    const asked = talk.subscribe(["a"]), given = talk.unsubscribe(["b"]);
    talk.sends();
    for (const call of [asked, given, asked]) talk.session.giveUp(call, error, talk.now);
    assertEquals(talk.drain().map(show), ["subscribe a: error timeout", "unsubscribe b: error timeout"]);
    talk.unsubscribe(["c"]);
    assertEquals(talk.says(), ["UNSUBSCRIBE 3 c"]);
    assertEquals(talk.hears(join([suback(1, 0), unsuback(2)])), []);
    talk.reconnect();
    assertEquals(talk.says(), [], "and it is not asked for again");
    const waiting = new Talk({ reconnect });
    const early = waiting.subscribe(["a"]);
    waiting.session.giveUp(early, error, waiting.now);
    waiting.connect();
    waiting.hears(CONNACK);
    assertEquals([early.fate, waiting.says()], ["error timeout", []]);
  });

  test("an iterator whose request fails is told, and its filter given up at the broker, too", () => {
    const talk = Talk.open({ keepalive: 0, timeout: 1000 });
    const inbox = talk.iterate("a");
    inbox.waiting = true;
    talk.sends();
    talk.session.tick(talk.now += 1000);
    talk.session.tick(talk.now);
    assertEquals(new Set(talk.drain().map(show)), new Set(["inbox a"]));
    assertEquals([inbox.ended, inbox.error?.code], [true, "timeout"]);
    assertEquals(talk.says(), ["UNSUBSCRIBE 2 a"], "the broker may subscribe all the same");
    assertEquals(talk.hears(join([suback(1, 0), unsuback(2)])), []);
  });

  test("an iterator whose request fails while the output is full: nothing is thrown, and the broker is told later", () => {
    const settings = { keepalive: 0, timeout: 1000, maxBuffered: 100, cleanSession: false, reconnect };
    const talk = Talk.open(settings);
    const inbox = talk.iterate("a");
    const asked = talk.subscribe(["b"]);
    talk.session.takeBytes(); // it is never written
    talk.session.publish("t", "x".repeat(75), 0);
    talk.pass(1000);
    assertEquals([inbox.ended, inbox.error?.code, asked.fate], [true, "timeout", "error timeout"]);
    talk.reconnect(PRESENT);
    assertEquals(talk.says(), ["UNSUBSCRIBE 4 a", "PUBLISH t"]);
  });

  test("subscriptions made again that are not answered: the connection is of no use", () => {
    const talk = Talk.open({ keepalive: 0, timeout: 1000, reconnect });
    talk.subscribed(["a"]);
    talk.reconnect();
    assertEquals(talk.says(), ["SUBSCRIBE 2 a"]);
    talk.pass(999);
    assertEquals(talk.session.status.type, "connected");
    talk.pass(1);
    const { status } = talk.session;
    assert(status.type === "waiting");
    assertEquals(status.error.code, "timeout");
  });

  test("but not while nothing is read: the answer may be behind what nobody takes", () => {
    const talk = Talk.open({ keepalive: 0, timeout: 1000, reconnect, maxBuffered: 256 });
    const inbox = talk.iterate("a", 1);
    talk.sends();
    talk.hears(join([suback(1, 0), bytes('30 03 0001 "a"')]));
    talk.reconnect();
    assertEquals(talk.says(), ["SUBSCRIBE 2 a"]);
    const other = talk.subscribe(["b"]);
    talk.pass(100_000);
    assertEquals([talk.session.status.type, other.fate], ["connected", "error overflow"], "who waits for it is told");
    talk.session.backlog.take(inbox);
    talk.session.backlog.take(inbox);
    talk.hears(suback(2, 0));
    talk.pass(100_000);
    assertEquals(talk.session.status.type, "connected");
  });
});

describe("requests: without a connection", () => {
  test("they wait, in order, for the first one and for each later one", () => {
    const talk = new Talk({ reconnect });
    const first = talk.subscribe(["a"]), second = talk.subscribe(["b", "c"]), given = talk.unsubscribe(["d"]);
    talk.drain();
    assertEquals([first.fate, second.fate, given.fate], ["pending", "pending", undefined]);
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(talk.says(), ["SUBSCRIBE 1 a", "SUBSCRIBE 2 b,c"]);
    talk.hears(join([suback(1, 0), suback(2, 0, 0)]));
    assertEquals([first.fate, second.fate], [0, 0]);
  });

  test("no deadline runs while there is none", () => {
    const talk = Talk.open({ timeout: 1000, reconnect: { ...reconnect, minDelay: 50_000, maxDelay: 50_000 } });
    talk.breaks();
    const asked = talk.subscribe(["a"]);
    talk.pass(49_999);
    assertEquals(asked.fate, "pending");
    talk.pass(1);
    talk.connect();
    talk.hears(CONNACK);
    talk.pass(999);
    assertEquals(asked.fate, "pending");
    talk.pass(1);
    assertEquals(asked.fate, "error timeout");
  });

  test("they take no more than maxBuffered bytes", () => {
    const talk = Talk.open({ maxBuffered: 1000, reconnect });
    talk.breaks();
    let accepted = 0;
    const error = assertThrows(() => {
      for (; accepted < 1000; accepted++) talk.subscribe([`${accepted}`.padStart(72, "f")]);
    }, MqttError);
    assertEquals([error.code, accepted], ["overflow", 5]);
    assert(/1000 bytes.*200 more.*maxBuffered/.test(error.message), error.message);
    assertEquals(assertThrows(() => talk.subscribe(["x"]), MqttError).code, "overflow");
    const inbox = talk.iterate("y");
    assertEquals([inbox.ended, inbox.error?.code], [true, "overflow"]);
    assertEquals(talk.unsubscribe(["0".padStart(72, "f")]).fate, "pending");
    talk.drain();
    talk.subscribe(["z"]);
    talk.redials();
    talk.connect();
    talk.hears(CONNACK);
    const filters = talk.says().map((said) => said.split(" ")[2]!.replace(/^f+/, ""));
    assertEquals(filters, ["1", "2", "3", "4", "z"], "nothing of what overflowed, nor of what was given up");
  });

  test("the bytes are free again once they were sent, given up, or have failed", () => {
    const talk = Talk.open({ maxBuffered: 400, timeout: 1000, reconnect });
    for (let round = 0; round < 5; round++) {
      talk.breaks();
      const calls = ["a", "b", "c"].map((filter) => talk.subscribe([filter]));
      assertThrows(() => talk.subscribe(["d"]), MqttError);
      talk.unsubscribe(["a"]);
      talk.session.giveUp(calls[1]!, new MqttError("timeout", "enough"), talk.now);
      talk.subscribe(["d"]);
      talk.subscribe(["e"]);
      assertThrows(() => talk.subscribe(["f"]), MqttError);
      talk.redials();
      talk.connect();
      talk.hears(CONNACK);
      talk.unsubscribe(["c", "d", "e"]);
      const last = talk.packets().at(-1);
      assert(last?.type === "UNSUBSCRIBE");
      talk.pass(5000);
    }
  });

  test("a filter given up meanwhile is taken out of those that wait: one with nothing left is done", () => {
    const talk = Talk.open({ reconnect });
    talk.breaks();
    const onpub = () => {};
    const both = talk.subscribe([{ topic: "a", qos: 1 }, { topic: "b", qos: 2 }], onpub);
    const one = talk.subscribe([{ topic: "c", qos: 1 }]);
    const inbox = talk.iterate("d");
    assertEquals(talk.unsubscribe(["a", "c", "d", "never"]).fate, "pending");
    talk.drain();
    assertEquals([both.fate, one.fate, inbox.ended, inbox.error], ["pending", 1, true, undefined]);
    talk.redials();
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(talk.says(), ["SUBSCRIBE 1 b"]);
    talk.hears(suback(1, 2));
    assertEquals(both.fate, 2);
    assertEquals(messages(talk.hears('30 03 0001 "b"')), ["b: "]);
    assertStrictEquals(talk.session.handlers[0], onpub);
    talk.hears('30 03 0001 "a"');
    assertEquals(talk.session.handlers, []);
  });

  test("the end of the client settles them, and an iterator that is left has got what it wanted", () => {
    const talk = Talk.open();
    const asked = talk.subscribe(["a"]), given = talk.unsubscribe(["b"]);
    const inbox = talk.iterate("c");
    talk.sends();
    talk.hears(suback(3, 0));
    assertEquals(talk.session.leave(inbox), true);
    const left = talk.unsubscribe(["x"]);
    talk.session.unsubscribeInbox(inbox, talk.opening, talk.now);
    talk.breaks();
    assertEquals([asked.fate, given.fate, left.fate], Array(3).fill("error socketclosed"));
    assertEquals(talk.opening.outcomes, [undefined, undefined]);
  });
});

describe("requests: a connection that is lost", () => {
  test("SUBSCRIBE is asked once more, with its identifier, then rejected with the error and forgotten", () => {
    const talk = Talk.open({ reconnect });
    const error = new MqttError("socketclosed", "the second one");
    const onpub = () => {};
    const asked = talk.subscribe(["a"], onpub), inbox = talk.iterate("b");
    assertEquals(talk.says(), ["SUBSCRIBE 1 a", "SUBSCRIBE 2 b"]);
    talk.reconnect();
    assertEquals(talk.says(), ["SUBSCRIBE 1 a", "SUBSCRIBE 2 b"]);
    assertEquals([asked.fate, inbox.ended], ["pending", false]);
    talk.breaks(error);
    assertStrictEquals(asked.outcomes[0], error);
    assertStrictEquals(inbox.error, error);
    talk.redials();
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(talk.says(), []);
    talk.hears('30 03 0001 "a"');
    assertEquals(talk.session.handlers, []);
  });

  test("attempts that were not accepted do not count", () => {
    const talk = Talk.open({ reconnect });
    const asked = talk.subscribe(["a"]);
    talk.breaks();
    for (let i = 0; i < 5; i++) {
      talk.redials();
      talk.connect();
      if (i % 2 === 0) talk.hears("20 02 00 03");
      else talk.breaks();
    }
    talk.redials();
    talk.connect();
    talk.hears(CONNACK);
    assertEquals([talk.says(), asked.fate], [["SUBSCRIBE 1 a"], "pending"]);
  });

  test("UNSUBSCRIBE is done at once, and told to a broker that has kept the session, until it answers", () => {
    const talk = Talk.open({ cleanSession: false, reconnect });
    talk.subscribed(["a", "b"]);
    const given = talk.unsubscribe(["a"]);
    talk.breaks();
    assertEquals(given.fate, undefined);
    assertEquals(talk.unsubscribe(["b"]).fate, "pending");
    talk.redials();
    talk.connect();
    talk.hears(PRESENT);
    assertEquals(talk.says(), ["UNSUBSCRIBE 3 a", "UNSUBSCRIBE 4 b"]);
    talk.hears(unsuback(3));
    talk.reconnect(PRESENT);
    assertEquals(talk.says(), ["UNSUBSCRIBE 5 b"]);
    talk.hears(unsuback(5));
    talk.reconnect(PRESENT);
    assertEquals(talk.says(), []);
  });

  test("a broker that has lost the session needs not be told", () => {
    const talk = Talk.open({ cleanSession: false, reconnect });
    talk.subscribed(["a", "b"]);
    talk.breaks();
    talk.unsubscribe(["a"]);
    talk.redials();
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(talk.says(), ["SUBSCRIBE 2 b"]);
    talk.hears(suback(2, 0));
    talk.reconnect(PRESENT);
    assertEquals(talk.says(), []);
  });

  test("[MQTT-3.8.4-3] given up while away, then asked for again: the answer to UNSUBSCRIBE does not end the new one", () => {
    const talk = Talk.open({ cleanSession: false, reconnect });
    talk.subscribed(["a"]);
    talk.breaks();
    talk.unsubscribe(["a"]);
    const onpub = () => {};
    const again = talk.subscribe(["a"], onpub), inbox = talk.iterate("a");
    for (const ids of [[4, 2, 3], [5, 2, 3]] as const) {
      talk.redials();
      talk.connect();
      talk.hears(PRESENT);
      assertEquals(talk.says(), [`UNSUBSCRIBE ${ids[0]} a`, `SUBSCRIBE ${ids[1]} a`, `SUBSCRIBE ${ids[2]} a`]);
      if (ids[0] === 4) talk.breaks(); // before it has answered
    }
    talk.hears(join([unsuback(5), suback(2, 0), suback(3, 0)]));
    assertEquals([again.fate, inbox.ended], [0, false]);
    talk.hears('30 03 0001 "a"');
    assertStrictEquals(talk.session.handlers[0], onpub);
    assertEquals(talk.session.backlog.take(inbox)?.topic, "a");
    talk.reconnect();
    assertEquals(talk.says(), ["SUBSCRIBE 6 a"], "and it is made again");
  });

  test("[MQTT-3.2.2-3] subscriptions made again, and not answered when that connection was lost: again, session present or not", () => {
    const talk = Talk.open({ cleanSession: false, reconnect });
    talk.subscribed(["a"]);
    talk.subscribed(["b"]);
    talk.reconnect(CONNACK);
    assertEquals(talk.says(), ["SUBSCRIBE 3 a", "SUBSCRIBE 4 b"]);
    talk.hears(suback(3, 0));
    talk.breaks();
    talk.redials();
    talk.connect();
    talk.breaks(); // an attempt in vain
    talk.redials();
    talk.connect();
    talk.hears(PRESENT);
    const again = talk.says();
    assert(again.some((said) => said.endsWith(" b")), `the new session may not have it: ${again}`);
    talk.hears(join(again.map((said) => suback(Number(said.split(" ")[1]), 0))));
    talk.reconnect(PRESENT);
    assertEquals(talk.says(), [], "then the broker has them");
  });

  test("[MQTT-3.8.4-3] an UNSUBSCRIBE that is not answered does not take away what was asked for, and granted, after it", () => {
    const talk = Talk.open({ cleanSession: false, reconnect });
    talk.subscribed(["a", "b"]);
    talk.unsubscribe(["a", "b"]);
    const again = talk.subscribe(["a"]);
    assertEquals(talk.says(), ["UNSUBSCRIBE 2 a,b", "SUBSCRIBE 3 a"]);
    talk.hears(suback(3, 0));
    assertEquals(again.fate, 0);
    talk.reconnect(PRESENT);
    assertEquals(talk.says(), ["UNSUBSCRIBE 4 b"]);
    talk.hears(unsuback(4));
    talk.reconnect(CONNACK);
    assertEquals(talk.says(), ["SUBSCRIBE 5 a"]);
  });
});

describe("requests: subscriptions of the options", () => {
  const planned = (topic: string, qos: 0 | 1 | 2 = 0, onpub?: OnPublish) => ({ topic, qos, onpub, concurrency: 1 });
  const asks = (talk: Talk) => talk.says().filter((packet) => packet.startsWith("SUBSCRIBE"));

  test("each is asked for in a packet of its own, before all that waits, and routed from the first byte on", () => {
    const got: string[] = [];
    const subscriptions = [planned("a", 0, (_, message) => got.push(`a ${message}`)), planned("b/#", 1)];
    const talk = new Talk({}, { subscriptions, onpub: (topic) => got.push(topic) });
    talk.session.publish("t", "x", 0);
    talk.connect();
    talk.gets(`${CONNACK} 30 04 0001 "a" "x" 30 04 0001 "c" "y"`);
    for (let event = talk.session.next(); event !== undefined; event = talk.session.next()) {
      if (event.type === 3) { for (const onpub of talk.session.handlers) onpub(event.topic, event); }
    }
    assertEquals(got, ["a x", "c"]);
    assertEquals(talk.says(), ["SUBSCRIBE 1 a", "SUBSCRIBE 2 b/#", "PUBLISH t"]);
  });

  test("they are asked for though the session is present, on the first connection, and until they are answered", () => {
    const talk = new Talk({ cleanSession: false, reconnect }, { subscriptions: [planned("a"), planned("b")] });
    talk.connect();
    talk.hears(PRESENT);
    assertEquals(asks(talk), ["SUBSCRIBE 1 a", "SUBSCRIBE 2 b"]);
    talk.hears(suback(1, 0));
    talk.reconnect(PRESENT);
    assertEquals(asks(talk).map((packet) => packet.slice(-1)), ["a", "b"], "one was not answered");
    talk.hears(join([suback(3, 0), suback(4, 0)]));
    talk.reconnect(PRESENT);
    assertEquals(asks(talk), []);
    talk.reconnect(CONNACK);
    assertEquals(asks(talk).map((packet) => packet.slice(-1)), ["a", "b"]);
  });

  test("a refusal is told, ends that one alone, and it is not asked for again", () => {
    const talk = new Talk({ reconnect }, { subscriptions: [planned("a"), planned("b")] });
    talk.connect();
    talk.hears(CONNACK);
    talk.sends();
    assertEquals(talk.hears(join([suback(1, 128), suback(2, 0)])).map(show), ["refused 128"]);
    talk.reconnect();
    assertEquals(asks(talk).map((packet) => packet.slice(-1)), ["b"]);
  });

  test("a broker that does not answer them loses the connection", () => {
    const talk = new Talk({ reconnect, timeout: 100 }, { subscriptions: [planned("a")] });
    talk.connect();
    talk.hears(CONNACK);
    talk.sends();
    talk.pass(100);
    assertEquals(talk.told.map(show).includes("waiting timeout"), true);
  });

  test("one that was given up, or replaced, before the first connection is not asked for", () => {
    const talk = new Talk({ offline: true, reconnect }, { subscriptions: [planned("a"), planned("b"), planned("c")] });
    talk.drain();
    assertEquals(talk.unsubscribe(["a"]).settled, false);
    const replaced = talk.subscribe([{ topic: "b", qos: 1 }]);
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(asks(talk).map((packet) => packet.slice(-1)).sort(), ["b", "c"]);
    assertEquals(replaced.settled, false);
  });
});
