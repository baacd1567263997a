import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { describe, test } from "node:test";
import { bytes, hex, join } from "../support/bytes.ts";
import { CONNACK, RECONNECT, show, suback, Talk } from "./driver.ts";

const reconnect = RECONNECT;
/** Only deadlines are ever due. */
const QUIET = { keepalive: 0, timeout: 1000 };

describe("time: nothing is given up at the first tick that finds it due", () => {
  // What waits, and whether it has been given up.
  const waits: [what: string, start: () => { talk: Talk; isOver: () => boolean; saved: () => void }][] = [
    ["CONNACK", () => {
      const talk = new Talk(QUIET);
      talk.connect();
      return { talk, isOver: () => talk.opening.fate === "error timeout", saved: () => talk.hears(CONNACK) };
    }],
    ["SUBACK", () => {
      const talk = Talk.open(QUIET);
      const call = talk.subscribe(["a"]);
      talk.sends();
      return { talk, isOver: () => call.fate === "error timeout", saved: () => talk.hears(suback(1, 0)) };
    }],
    ["a write that is to end before DISCONNECT", () => {
      const talk = Talk.open(QUIET);
      talk.session.publish("a", "x", 0);
      talk.session.takeBytes();
      const call = talk.disconnect();
      const saved = () => {
        talk.session.written(talk.attempt, talk.now);
        talk.sends();
      };
      return { talk, isOver: () => call.fate === "error timeout", saved };
    }],
    ["subscriptions made again", () => {
      const talk = Talk.open({ ...QUIET, reconnect });
      talk.subscribed(["a"]);
      talk.reconnect();
      talk.sends();
      return { talk, isOver: () => talk.session.status.type === "waiting", saved: () => talk.hears(suback(2, 0)) };
    }],
  ];

  for (const [what, start] of waits) {
    for (const late of [0, 1, 99, 100, 5000]) {
      test(`${what}: time told ${late} ms late`, () => {
        const { talk, isOver } = start();
        talk.now = talk.session.due + late;
        talk.session.tick(talk.now);
        talk.drain();
        assertEquals(isOver(), false, "the answer may have come");
        assertEquals(talk.session.due, talk.now + Math.min(late, 100));
        talk.session.tick(talk.session.due - 1);
        talk.drain();
        assertEquals(isOver(), false, "not before");
        talk.now = talk.session.due;
        talk.session.tick(talk.now);
        talk.drain();
        assertEquals(isOver(), true, "the second tick gives it up");
      });
    }

    test(`${what}: it comes while the session looks`, () => {
      const { talk, isOver, saved } = start();
      talk.now = talk.session.due + 5000;
      talk.session.tick(talk.now);
      saved();
      talk.drain();
      talk.now += 100;
      talk.session.tick(talk.now);
      talk.drain();
      assertEquals(isOver(), false);
    });
  }

  for (const late of [0, 1, 99, 100, 5000]) {
    test(`the delay until the next attempt: time told ${late} ms late`, () => {
      const talk = Talk.open({ ...QUIET, reconnect: { ...reconnect, minDelay: 3000, maxDelay: 3000 } });
      talk.breaks();
      const lost = talk.now;
      const status = () => talk.session.status.type;
      talk.session.tick(talk.now = lost + 2999);
      assertEquals([talk.drain().map(show), status(), talk.session.due], [[], "waiting", lost + 3000], "not before");
      talk.session.tick(talk.now = lost + 3000 + late);
      assertEquals([talk.drain().map(show), status()], [[], "waiting"]);
      assertEquals(talk.session.due, talk.now + Math.min(late, 100));
      talk.session.tick(talk.session.due - 1);
      assertEquals([talk.drain().map(show), status()], [[], "waiting"]);
      talk.now = talk.session.due + 7000; // late once more: the attempt has all of its time from then
      talk.session.tick(talk.now);
      assertEquals([talk.drain().map(show), status()], [["dial 1", "connecting"], "connecting"]);
      assertEquals(talk.session.due, talk.now + QUIET.timeout);
    });
  }

  test("a connection that is lost by what was decoded late: the delay counts from then", () => {
    const talk = Talk.open({ ...QUIET, reconnect: { ...reconnect, minDelay: 3000, maxDelay: 3000 } });
    const inbox = talk.iterate("a", 1);
    talk.sends();
    talk.hears(join([suback(1, 0), bytes('30 03 0001 "a" f0 00')])); // what no broker may send is behind a full iterator
    assertEquals(talk.session.status.type, "connected");
    talk.now += 20_000; // while the iterator is full, and the thread is busy
    talk.session.backlog.take(inbox);
    talk.session.tick(talk.now);
    talk.session.backlog.take(inbox);
    talk.drain();
    assertEquals([talk.session.status.type, talk.session.due], ["waiting", talk.now + 3000]);
    talk.pass(2999);
    assertEquals(talk.session.status.type, "waiting");
    talk.pass(1);
    assertEquals(talk.session.status.type, "connecting");
  });

  test("what becomes due while it looks is looked at again", () => {
    const talk = Talk.open(QUIET);
    const first = talk.subscribe(["a"]);
    talk.pass(50);
    const second = talk.subscribe(["b"]);
    talk.now = talk.session.due + 40;
    talk.session.tick(talk.now);
    talk.now = talk.session.due + 3000; // 40 ms to look, and late again
    talk.session.tick(talk.now);
    talk.drain();
    assertEquals([first.fate, second.fate], ["error timeout", "pending"]);
    talk.now = talk.session.due;
    talk.session.tick(talk.now);
    talk.drain();
    assertEquals(second.fate, "error timeout");
  });

  test("[MQTT-3.1.2-23] PINGREQ is not put off while it looks", () => {
    const talk = Talk.open({ keepalive: 1, timeout: 860 });
    talk.subscribe(["a"]);
    talk.session.takeBytes();
    talk.session.written(talk.attempt, talk.now);
    const sent = talk.now;
    talk.now = talk.session.due + 80; // 10 ms before PINGREQ
    talk.session.tick(talk.now);
    talk.drain();
    assertEquals(talk.pass(100).map(([at, packet]) => [at - sent, packet]), [[950, "c0 00"]]);
  });

  test("ticks that come early are nothing", () => {
    const talk = Talk.open({ keepalive: 60, timeout: 1000 });
    const call = talk.subscribe(["a"]);
    talk.sends();
    for (let i = 0; i < 999; i++) talk.session.tick(++talk.now);
    assertEquals([talk.drain(), call.fate, talk.session.due, talk.sends().length], [[], "pending", 2000, 0]);
  });
});

describe("time: when the session wants to be told", () => {
  test("while it connects: the deadline, over everything until CONNACK", () => {
    const talk = new Talk({ timeout: 500 });
    const due = talk.now + 500;
    assertEquals(talk.session.due, due);
    talk.now += 100;
    talk.login();
    assertEquals(talk.session.due, due);
    talk.sends();
    assertEquals(talk.session.due, due);
    talk.hears("20 02 00");
    assertEquals(talk.session.due, due);
    talk.pass(400);
    assertEquals(talk.opening.fate, "error timeout");
  });

  test("while a call waits for the broker", () => {
    const talk = Talk.open(QUIET);
    assertEquals(talk.session.due, Infinity, "keep alive is off, and nothing waits");
    talk.subscribe(["a"]);
    assertEquals(talk.session.due, talk.now + 1000);
    talk.sends();
    talk.hears(suback(1, 0));
    assertEquals(talk.session.due, Infinity);
    talk.unsubscribe(["a"]);
    assertEquals(talk.session.due, talk.now + 1000);
    talk.sends();
    talk.hears("b0 02 0002");
    talk.iterate("b");
    assertEquals(talk.session.due, talk.now + 1000);
    talk.sends();
    talk.hears(suback(3, 0));
    assertEquals(talk.session.due, Infinity);
    talk.disconnect();
    assertEquals(talk.session.due, talk.now + 1000);
  });

  test("while it waits for the next attempt", () => {
    const talk = Talk.open({ ...QUIET, reconnect: { ...reconnect, maxDelay: 4000, minDelay: 4000 } });
    talk.chance = 0.25;
    talk.breaks();
    assertEquals(talk.session.due, talk.now + 1000);
    talk.pass(1000);
    assertEquals([talk.attempt, talk.session.due], [1, talk.now + 1000]);
  });

  test("after the end: nothing, when somebody has heard of it", () => {
    const ends: ((talk: Talk) => void)[] = [
      (talk) => talk.breaks(),
      (talk) => talk.fails("f0 00"),
      (talk) => {
        talk.disconnect();
        talk.sends();
        talk.drain();
        talk.breaks();
      },
      (talk) => {
        talk.disconnect();
        talk.sends();
        talk.drain();
        talk.pass(1000); // the broker does not close
      },
    ];
    for (const end of ends) {
      const talk = Talk.open({ keepalive: 60 });
      talk.subscribe(["a"]);
      talk.sends();
      end(talk);
      talk.drain();
      assertEquals([talk.session.status.type, talk.session.due], ["closed", Infinity]);
      talk.session.tick(1e12);
      assertEquals([talk.drain(), talk.session.due, talk.session.takeBytes()], [[], Infinity, undefined]);
    }
  });

  test("disconnect() while it looks whether to try again: nothing is due", () => {
    const talk = Talk.open({ reconnect });
    talk.breaks();
    talk.now = talk.session.due + 50;
    talk.session.tick(talk.now);
    assertEquals(talk.session.due, talk.now + 50);
    talk.disconnect();
    talk.drain();
    assertEquals([talk.session.status.type, talk.session.due], ["closed", Infinity]);
  });

  test("disconnect(): what was accepted has `timeout`, the broker a second after DISCONNECT has gone out", () => {
    const talk = Talk.open(QUIET);
    talk.session.publish("a", "x", 0);
    const write = talk.session.takeBytes();
    assert(write !== undefined);
    const call = talk.disconnect(), again = talk.disconnect();
    assertEquals(talk.session.due, talk.now + 1000);
    talk.pass(900);
    talk.session.written(talk.attempt, talk.now);
    assertEquals(hex(talk.session.takeBytes()!), "e0 00");
    assertEquals(talk.drain(), [], "the transport has not ended yet");
    talk.session.written(talk.attempt, talk.now);
    assertEquals(talk.drain().map(show), ["end"]);
    assertEquals(talk.session.due, talk.now + 1000);
    talk.pass(999);
    assertEquals(call.fate, "pending");
    talk.pass(1);
    assertEquals([call.fate, again.fate, talk.session.status.type], [undefined, undefined, "closed"]);
  });

  test("the keep alive of a connection whose bytes the application does not take asks on", () => {
    const talk = Talk.open({ keepalive: 10 });
    talk.iterate("a", 1);
    talk.sends();
    talk.hears(join([suback(1, 0), bytes('30 03 0001 "a"')]));
    const sent = talk.pass(60_000);
    assertGreater(sent.length, 4);
    assertEquals(talk.session.status.type, "connected");
    assertLess(talk.session.due, talk.now + 10_000);
  });
});
