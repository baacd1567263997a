/** Messages that are not settled: who gets them when, and what is read meanwhile. */
import { assertEquals } from "@std/assert";
import { describe, test } from "node:test";
import type { Message } from "../../src/message.ts";
import { bytes } from "../support/bytes.ts";
import { encodeNaive } from "../support/naive.ts";
import { Asked, CONNACK, Desk, RECONNECT, suback, Talk } from "./driver.ts";

function publish(topic: string, payload: string | number, padding = 0): Uint8Array {
  const text = `${payload}`.padEnd(padding);
  const flags = { qos: 0, retain: false, dup: false, packetId: 0 } as const;
  return encodeNaive({ type: "PUBLISH", topic, payload: new TextEncoder().encode(text), ...flags });
}

/** A promise, by the message's text. */
const later = (_: string, message: Message) => message.text().trim();

describe("backlog: handlers", () => {
  test("one that returns nothing is called at once, and nothing is counted", () => {
    const desk = new Desk({}, () => undefined);
    desk.hears(publish("a", 1), publish("a", 2));
    assertEquals([desk.called, desk.unsettled, desk.talk.session.due], [["a: 1", "a: 2"], 0, Infinity]);
  });

  test("the next message waits for the promise of the one before, in order", () => {
    const desk = new Desk({}, later);
    desk.hears(publish("a", 1), publish("b", 2), publish("a", 3));
    assertEquals([desk.called, desk.unsettled], [["a: 1"], 3]);
    desk.settles("1");
    assertEquals(desk.called, ["a: 1", "b: 2"]);
    desk.hears(publish("a", 4));
    assertEquals(desk.called.length, 2, "what comes now is behind what waits");
    for (const name of ["2", "3", "4"]) desk.settles(name);
    assertEquals([desk.called, desk.unsettled], [["a: 1", "b: 2", "a: 3", "a: 4"], 0]);
  });

  test("concurrency lets so many run at once; more of it is used at once", () => {
    const desk = new Desk();
    desk.subscribes("a", later, 2);
    desk.hears(publish("a", 1), publish("a", 2), publish("a", 3), publish("a", 4), publish("a", 5));
    assertEquals(desk.called.length, 2);
    desk.settles("2");
    assertEquals(desk.called, ["a: 1", "a: 2", "a: 3"]);
    desk.subscribes("a", later, 3);
    assertEquals(desk.called.length, 4);
    desk.settles("1");
    assertEquals([desk.called.length, desk.unsettled], [5, 3]);
  });

  test("handlers do not wait for each other; a function is one handler, whatever it is subscribed for", () => {
    const desk = new Desk();
    const other = (_: string, message: Message) => `other ${message.text()}`;
    desk.subscribes("a", later);
    desk.subscribes("b", other);
    desk.subscribes("c", later);
    desk.hears(publish("a", 1), publish("b", 2), publish("c", 3), publish("b", 4));
    assertEquals(desk.called, ["a: 1", "b: 2"]);
    desk.settles("other 2");
    assertEquals(desk.called, ["a: 1", "b: 2", "b: 4"]);
    desk.settles("1");
    assertEquals(desk.called, ["a: 1", "b: 2", "b: 4", "c: 3"]);
  });

  test("a message is settled when all are done with it: handlers, and iterators that ask for the next one", () => {
    const desk = new Desk();
    desk.subscribes("a", later);
    desk.subscribes("+", (_, message) => `plus ${message.text()}`);
    desk.subscribes("#", () => undefined);
    const inbox = desk.talk.iterate("a");
    desk.talk.sends();
    desk.hears(suback(4, 0), publish("a", 1));
    assertEquals(desk.unsettled, 1);
    desk.settles("1");
    desk.settles("plus 1");
    assertEquals([desk.unsettled, `${desk.talk.session.backlog.take(inbox)}`, desk.unsettled], [1, "1", 1]);
    assertEquals([desk.talk.session.backlog.take(inbox), desk.unsettled], [undefined, 0]);
  });

  test("a handler that fails is counted, and the message settled", () => {
    const desk = new Desk({}, later);
    desk.hears(publish("a", 1), publish("a", 2));
    desk.settles("1", true);
    assertEquals([desk.called.length, desk.talk.session.stats.failed, desk.unsettled], [2, 1, 1]);
  });

  test("what a handler was replaced for is still given to it", () => {
    const desk = new Desk();
    desk.subscribes("a", later);
    desk.hears(publish("a", 1), publish("a", 2));
    desk.subscribes("a", (_, message) => `new ${message.text()}`);
    desk.hears(publish("a", 3));
    desk.settles("1");
    assertEquals([desk.called, [...desk.works.keys()]], [["a: 1", "a: 3", "a: 2"], ["new 3", "2"]]);
  });

  test("what was received is given to its handlers over the end and over another connection, but not after disconnect()", () => {
    for (
      const [end, rest] of [["breaks", ["a: 2"]], ["reconnects", ["a: 2"]], ["disconnects", []]] as [string, string[]][]
    ) {
      const desk = new Desk(end === "reconnects" ? { reconnect: RECONNECT } : {}, later);
      desk.hears(publish("a", 1), publish("a", 2));
      if (end === "disconnects") {
        desk.talk.disconnect();
        assertEquals(desk.unsettled, 1, "only the one that was begun");
      } else {
        desk.talk.breaks();
      }
      desk.settles("1");
      assertEquals(desk.called.slice(1), rest);
    }
  });
});

describe("backlog: what is read", () => {
  test("at receiveMaximum nothing is read, until an eighth of them is settled", () => {
    const desk = new Desk({ receiveMaximum: 16 }, later);
    desk.hears(...Array.from({ length: 17 }, (_, i) => publish("a", i + 1)));
    assertEquals([desk.reads, desk.unsettled], [false, 16]);
    desk.settles("1");
    assertEquals([desk.reads, desk.unsettled], [false, 15]);
    desk.settles("2");
    assertEquals([desk.reads, desk.unsettled, desk.called.length], [true, 15, 3], "what was received already is taken");
  });

  test("a handler that never settles, with more than half of them behind it, does not stop the others", () => {
    const desk = new Desk({ receiveMaximum: 16 }, later);
    desk.subscribes("b", (topic, message) => later(topic, message));
    desk.hears(...Array.from({ length: 10 }, (_, i) => publish("a", i + 1)));
    desk.hears(...Array.from({ length: 12 }, (_, i) => publish("b", i + 11)));
    assertEquals([desk.reads, desk.unsettled], [false, 16]);
    for (let i = 11; i <= 22; i++) desk.settles(`${i}`);
    assertEquals([desk.reads, desk.called.at(-1)], [true, "b: 22"]);
  });

  test("and at maxBuffered bytes, of which each takes 256 more than its payload", () => {
    const desk = new Desk({ maxBuffered: 1000 }, later);
    desk.hears(publish("a", 1, 244));
    assertEquals(desk.reads, true);
    desk.hears(publish("a", 2, 244));
    assertEquals(desk.reads, false);
    desk.settles("1");
    assertEquals(desk.reads, true);
  });

  test("who waits for the broker has all read, up to maxBuffered bytes", () => {
    const waits: [string, (talk: Talk) => void][] = [
      ["subscribe", (talk) => void talk.subscribe(["x"])],
      ["unsubscribe", (talk) => void talk.unsubscribe(["x"])],
      ["flush", (talk) => talk.session.flush(new Asked("flush"), talk.now)],
      ["room", (talk) => {
        talk.session.publish("t", new Uint8Array(70_000), 0);
        talk.session.awaitRoom(new Asked("room"));
      }],
      ["an iterator", (talk) => {
        const inbox = talk.iterate("x");
        talk.sends();
        talk.gets(suback(1, 0));
        talk.session.backlog.setWaiting(inbox, true);
      }],
    ];
    for (const [what, wait] of waits) {
      const desk = new Desk({ receiveMaximum: 2, maxBuffered: 100_000 }, later);
      desk.hears(publish("a", 1), publish("a", 2));
      assertEquals(desk.reads, false);
      wait(desk.talk);
      assertEquals(desk.reads, true, what);
      for (let i = 3; i < 1000 && desk.reads; i++) desk.hears(publish("a", i, 244));
      assertEquals([desk.reads, desk.unsettled], [false, 201], what);
    }
  });

  test("nothing settles for timeout: it is told once, and who waits fails with overflow; a request, too", () => {
    const desk = new Desk({ receiveMaximum: 1, maxBuffered: 1000, timeout: 1000, reconnect: RECONNECT }, later);
    desk.hears(publish("a", 1, 800));
    const subscribe = desk.talk.subscribe(["x"]), flush = new Asked("flush"), room = new Asked("room");
    desk.talk.session.flush(flush, desk.talk.now);
    desk.talk.session.awaitRoom(room);
    desk.talk.sends();
    assertEquals(desk.reads, false);
    const told = desk.pass(5000);
    assertEquals(told.filter((each) => each === "stalled").length, 1);
    assertEquals([subscribe.fate, flush.fate], ["error overflow", "error overflow"]);
    assertEquals(desk.talk.session.status.type, "connected");
    desk.settles("1");
    assertEquals(desk.reads, true);
    assertEquals(desk.pass(5000), []);
  });

  test("as long as something settles, nothing has stalled", () => {
    const desk = new Desk({ receiveMaximum: 2, timeout: 1000 }, later);
    desk.hears(...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((each) => publish("a", each)));
    for (let i = 1; i < 9; i++) {
      assertEquals(desk.pass(900), []);
      desk.settles(`${i}`);
    }
  });
});

describe("disconnect({ drain })", () => {
  test("waits until all is settled; calls can be made, and nothing more is delivered", () => {
    const desk = new Desk({ timeout: 1000 }, later), { talk } = desk;
    desk.hears(publish("a", 1), publish("a", 2));
    const call = new Asked("disconnect");
    talk.session.disconnect(call, { drain: true }, talk.now);
    desk.hears(publish("a", 3));
    talk.session.publish("result", "1", 0);
    assertEquals(talk.says(), ["PUBLISH result"]);
    assertEquals(desk.pass(900), []);
    desk.settles("1");
    assertEquals(desk.pass(900), []);
    talk.session.publish("result", "2", 0);
    desk.settles("2");
    desk.pass(0);
    assertEquals(talk.says(), ["PUBLISH result", "DISCONNECT"]);
    talk.breaks();
    assertEquals([call.fate, desk.called], [undefined, ["a: 1", "a: 2"]]);
  });

  test("no longer than timeout without a settled message: then it says so", () => {
    const desk = new Desk({ timeout: 1000 }, later), { talk } = desk;
    desk.hears(publish("a", 1));
    const call = new Asked("disconnect"), again = new Asked("disconnect");
    talk.session.disconnect(call, { drain: true }, talk.now);
    talk.session.disconnect(again, { drain: true }, talk.now);
    desk.pass(1500);
    assertEquals(talk.says(), ["DISCONNECT"]);
    talk.breaks();
    assertEquals([call.fate, again.fate], ["error timeout", "error timeout"]);
    assertEquals(talk.session.reason?.code, "disconnect");
  });

  test("disconnect() without it ends it at once; a lost connection ends it with why", () => {
    for (const lost of [false, true]) {
      const desk = new Desk({ reconnect: RECONNECT }, later), { talk } = desk;
      desk.hears(publish("a", 1), publish("a", 2));
      const call = new Asked("disconnect");
      talk.session.disconnect(call, { drain: true }, talk.now);
      const now = lost ? undefined : talk.disconnect();
      talk.sends();
      talk.breaks();
      assertEquals([call.fate, now?.fate], [lost ? "error socketclosed" : undefined, undefined]);
      assertEquals(talk.session.status.type, "closed");
    }
  });
});

describe("flush", () => {
  const ask = (talk: Talk) => {
    const call = new Asked("flush");
    talk.session.flush(call, talk.now);
    return call;
  };

  test("a PINGREQ behind the last message, and its answer", () => {
    const talk = Talk.open();
    talk.session.publish("a", "1", 0);
    const first = ask(talk);
    talk.session.publish("b", "2", 0);
    const second = ask(talk);
    assertEquals(talk.says(), ["PUBLISH a", "PINGREQ", "PUBLISH b", "PINGREQ"]);
    talk.hears("d0 00");
    assertEquals([first.fate, second.fate], [undefined, "pending"]);
    talk.hears("d0 00");
    assertEquals(second.fate, undefined);
  });

  test("the keep alive's PINGREQ has an answer of its own, before and behind", () => {
    const talk = Talk.open({ keepalive: 10 });
    talk.pass(9500);
    const call = ask(talk);
    talk.sends();
    talk.hears("d0 00");
    assertEquals(call.fate, "pending", "that was the keep alive's");
    talk.hears("d0 00");
    assertEquals(call.fate, undefined);

    const other = Talk.open({ keepalive: 10 });
    other.session.publish("a", "1", 0);
    other.session.takeBytes();
    const behind = ask(other);
    other.now += 9500;
    other.session.tick(other.now); // it goes before what waits
    other.session.written(other.attempt, other.now);
    assertEquals(other.says(), ["PINGREQ", "PINGREQ"]);
    other.hears("d0 00");
    assertEquals(behind.fate, "pending");
    other.hears("d0 00");
    assertEquals(behind.fate, undefined);
  });

  test("a connection lost with messages that have gone out rejects it, or the next one when nobody had asked", () => {
    const talk = Talk.open({ reconnect: RECONNECT });
    talk.session.publish("a", "1", 0);
    const call = ask(talk);
    talk.sends();
    talk.reconnect();
    assertEquals(call.fate, "error socketclosed");
    talk.session.publish("a", "2", 0);
    talk.sends();
    talk.reconnect();
    const told = ask(talk), next = ask(talk);
    talk.drain();
    assertEquals([told.fate, next.fate], ["error socketclosed", "pending"]);
    talk.sends();
    talk.hears("d0 00");
    assertEquals(next.fate, undefined);
  });

  test("what has not gone out waits for the next connection, and so does who asks", () => {
    const talk = new Talk({ reconnect: RECONNECT });
    talk.session.publish("a", "1", 0);
    const call = ask(talk);
    talk.connect();
    talk.breaks();
    assertEquals(talk.session.status.type, "closed", "it was never accepted");
    assertEquals(call.fate, "error socketclosed");

    const other = Talk.open({ reconnect: RECONNECT });
    other.breaks();
    other.session.publish("a", "1", 0);
    const waits = ask(other);
    other.redials();
    other.connect();
    other.breaks();
    other.redials();
    other.connect();
    other.hears(CONNACK);
    assertEquals([other.says(), waits.fate], [["PUBLISH a", "PINGREQ"], "pending"]);
    other.hears("d0 00");
    assertEquals(waits.fate, undefined);
  });

  test("without a connection it waits for one, but in a program that blocks no longer than timeout", () => {
    const reconnect = { ...RECONNECT, minDelay: 60_000, maxDelay: 60_000 };
    const talk = Talk.open({ keepalive: 0, timeout: 1000, reconnect });
    talk.breaks();
    const start = talk.now, call = ask(talk), { session } = talk;
    talk.drain();
    assertEquals(session.due, start + 60_000);
    const blocks = (until: number) => {
      session.tick(talk.now = until);
      for (let event = session.nextKeepingMessages(); event; event = session.nextKeepingMessages()) talk.take(event);
    };
    blocks(start);
    assertEquals(session.due, start + 1000);
    blocks(start + 1000);
    assertEquals([call.fate, session.due], ["pending", start + 1000], "it looks once more");
    blocks(start + 1000);
    assertEquals([call.fate, session.due], ["error timeout", start + 60_000]);
  });

  test("its connection is lost, but the broker has had everything: that is known", () => {
    const talk = Talk.open({ reconnect: RECONNECT });
    talk.session.publish("a", "1", 0);
    const first = ask(talk);
    talk.sends();
    talk.hears("d0 00");
    const second = ask(talk);
    talk.sends();
    talk.breaks();
    assertEquals([first.fate, second.fate], [undefined, undefined]);
  });

  test("its deadline is timeout without a byte either way", () => {
    const talk = Talk.open({ keepalive: 0, timeout: 1000 });
    const call = ask(talk);
    talk.sends();
    for (let i = 0; i < 5; i++) {
      talk.pass(900);
      talk.hears(bytes('30 03 0001 "a"'));
    }
    assertEquals(call.fate, "pending");
    talk.pass(1200);
    assertEquals(call.fate, "error timeout");
    const next = ask(talk);
    talk.sends();
    talk.hears("d0 00");
    assertEquals(next.fate, "pending", "that was the answer to the one before");
    talk.hears("d0 00");
    assertEquals(next.fate, undefined);
  });

  test("the end of the client ends it, and after that it says why", () => {
    const talk = Talk.open();
    talk.session.publish("a", "1", 0);
    const call = ask(talk);
    talk.sends();
    talk.disconnect();
    talk.sends();
    talk.breaks();
    assertEquals(call.fate, "error disconnect");
    assertEquals(
      (() => {
        try {
          ask(talk);
        } catch (error) {
          return error === talk.session.reason;
        }
      })(),
      true,
    );
  });
});
