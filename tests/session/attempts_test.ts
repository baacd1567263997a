import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, test } from "node:test";
import { MqttError, UnusableError } from "../../src/errors.ts";
import type { Trust } from "../../src/session/trust.ts";
import { bytes, hex } from "../support/bytes.ts";
import { Asked, CONNACK, messages, RECONNECT, show, suback, Talk } from "./driver.ts";

const reconnect = RECONNECT;
const NOBODY = { uname: undefined, passwd: undefined };

describe("attempts: what an earlier one says is not heard", () => {
  /** Everything that can be seen of a session, and everything that an old connection can say. */
  function ignored(talk: Talk, attempt: number): void {
    const { session } = talk;
    const look = () => [session.status, session.due, session.buffered, session.isReading, session.isReady];
    const before = look();
    const space = session.space(attempt), chunk = bytes('20 02 00 00 30 04 0001 "a" "x" f0 00');
    assertEquals(session.opened(attempt, { trusted: true }, talk.now), false, "opened");
    assertEquals(session.opened(attempt, { trusted: "untrusted" }, talk.now), false, "opened, and not trusted");
    assertEquals(session.login(attempt, NOBODY, talk.now), false, "login");
    space.set(chunk);
    session.received(attempt, space, chunk.length, talk.now);
    session.received(attempt, chunk, chunk.length, talk.now);
    session.written(attempt, talk.now);
    session.lost(attempt, new MqttError("socketclosed", "long ago"), talk.now);
    assertEquals(talk.drain(), []);
    assertEquals(look(), before);
  }

  test("while it waits, connects, logs in, and is open", () => {
    const talk = Talk.open({ reconnect, rejectUntrusted: true });
    talk.breaks();
    ignored(talk, 0);
    talk.redials();
    ignored(talk, 0);
    assert(talk.session.opened(1, { trusted: false }, talk.now));
    talk.drain();
    ignored(talk, 0);
    assert(talk.session.login(1, NOBODY, talk.now));
    ignored(talk, 0);
    assertEquals(talk.session.takeBytes()?.[0], 0x10);
    ignored(talk, 0);
    assertEquals(talk.session.takeBytes(), undefined, "what the old one wrote ends no write of the new one");
    talk.session.written(1, talk.now);
    ignored(talk, 0);
    talk.hears(CONNACK);
    ignored(talk, 0);
    assertEquals(messages(talk.hears('30 04 0001 "b" "y"')), ["b: y"]);
  });

  test("after disconnect(), and after the end", () => {
    const talk = Talk.open({ reconnect });
    talk.reconnect();
    talk.disconnect();
    ignored(talk, 0);
    talk.sends();
    talk.drain();
    ignored(talk, 0);
    talk.breaks();
    for (const attempt of [0, 1]) ignored(talk, attempt);
  });

  test("one that was given up in time says no more", () => {
    const talk = Talk.open({ timeout: 100, reconnect: { ...reconnect, minDelay: 50, maxDelay: 50 } });
    talk.breaks();
    talk.pass(50);
    assertEquals(talk.attempt, 1);
    talk.pass(100);
    assertEquals(talk.session.status.type, "waiting");
    ignored(talk, 1);
    talk.pass(50);
    assertEquals(talk.attempt, 2);
    ignored(talk, 1);
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(talk.session.status.type, "connected");
  });

  test("half a packet that came on it is forgotten with it", () => {
    const talk = new Talk({ reconnect });
    talk.connect();
    talk.hears(CONNACK);
    talk.hears('30 04 0001 "a"');
    talk.reconnect();
    talk.session.received(0, bytes('"x"'), 1, talk.now);
    assertEquals(messages(talk.hears('30 04 0001 "b" "y"')), ["b: y"]);
  });

  test("an attempt that is over before the shell has begun it is not begun", () => {
    const talk = Talk.open({ timeout: 5, reconnect });
    talk.breaks();
    for (const type of ["connecting", "waiting"]) {
      while (talk.session.status.type !== type) talk.session.tick(talk.now = talk.session.due);
    }
    assertEquals(talk.drain().map(show), ["connecting", "hangup", "waiting timeout"]);
    const early = new Talk();
    early.disconnect();
    assertEquals(early.drain().map(show), [
      "connecting",
      "hangup",
      "connect: error disconnect",
      "disconnect: undefined",
      "closed disconnect",
      "closed: disconnect",
    ]);
  });
});

describe("attempts: bytes to be written", () => {
  test("none before login, none while a write is in flight, none before CONNACK but CONNECT, none after the end", () => {
    const talk = new Talk();
    const { session } = talk;
    const none = (when: string) => assertEquals(session.takeBytes(), undefined, when);
    session.publish("t", "x", 0);
    none("before there is a connection");
    talk.drain();
    none("while one is opened");
    session.opened(0, { trusted: false }, talk.now);
    none("before it is asked for the credentials");
    talk.drain();
    none("before the credentials are known");
    session.login(0, NOBODY, talk.now);
    const connect = session.takeBytes();
    assertEquals(connect?.[0], 0x10);
    none("CONNECT is in flight");
    session.written(0, talk.now);
    none("CONNACK has not come");
    talk.hears(CONNACK);
    assertEquals(hex(session.takeBytes()!), hex(bytes('30 04 0001 "t" "x"')));
    session.publish("t", "y", 0);
    none("a PUBLISH is in flight");
    assertEquals(session.isReady, false);
    session.written(0, talk.now);
    assertEquals(session.isReady, true);
    assertEquals(hex(session.takeBytes()!), hex(bytes('30 04 0001 "t" "y"')));
    session.written(0, talk.now);
    none("there are none");
    const left = talk.disconnect();
    assertEquals(hex(session.takeBytes()!), "e0 00");
    none("DISCONNECT is in flight");
    session.written(0, talk.now);
    none("nothing comes after it");
    talk.breaks();
    none("after the end");
    assertEquals(left.fate, undefined);
  });

  test("none while it waits for the next attempt; what was in flight is not sent again, what was not is", () => {
    const talk = Talk.open({ reconnect });
    talk.session.publish("t", "lost", 0);
    talk.session.takeBytes();
    talk.session.publish("t", "kept", 0);
    talk.breaks();
    assertEquals(talk.session.takeBytes(), undefined);
    talk.redials();
    assertEquals(talk.connect()[0], 0x10);
    assertEquals(talk.sends().length, 0);
    talk.hears(CONNACK);
    assertEquals(hex(talk.sends()), hex(bytes('30 07 0001 "t" "kept"')));
  });

  test("a publish waits for room, and for the end: whoever comes later is settled, too", () => {
    const talk = Talk.open({ keepalive: 0 });
    const [first, second, third, late] = ["first", "second", "third", "late"].map((name) => new Asked(name));
    talk.session.awaitRoom(first!);
    assertEquals(talk.drain().map(show), ["first: 0"], "there is room");
    talk.session.publish("t", new Uint8Array(70_000), 0);
    talk.session.awaitRoom(second!);
    assertEquals([talk.drain(), talk.session.isRoomAwaited], [[], true]);
    assert(talk.sends().length > 70_000);
    assertEquals(talk.drain().map(show), ["second: 0"]);
    talk.session.publish("t", new Uint8Array(70_000), 0);
    talk.session.awaitRoom(third!);
    talk.breaks();
    assertEquals(third!.fate, "error socketclosed");
    talk.session.awaitRoom(late!);
    talk.drain();
    assertEquals(late!.fate, "error socketclosed");
  });
});

describe("attempts: statuses", () => {
  /** The statuses of the connection, with their attempts. */
  function statuses(talk: Talk): string[] {
    return talk.told.flatMap((event) =>
      event.type !== "status" ? [] : [show(event) + ("attempt" in event.status ? ` ${event.status.attempt}` : "")]
    );
  }

  test("connecting, connected, waiting, and again; closed at last, and once", () => {
    const talk = new Talk({ reconnect: { ...reconnect, stableAfter: 0, attempts: 3 } });
    assertEquals(talk.session.status, { type: "connecting", attempt: 1, address: "broker:1883" });
    talk.connect();
    talk.hears(CONNACK);
    talk.reconnect();
    talk.reconnect("20 02 00 03");
    talk.redials();
    talk.breaks(new MqttError("cannotconnect", "refused"));
    talk.redials();
    talk.connect();
    talk.hears(CONNACK);
    for (let i = 0; i < 4; i++) {
      talk.breaks();
      if (i < 3) talk.redials();
    }
    talk.disconnect();
    talk.pass(100_000);
    assertEquals(statuses(talk), [
      "connecting 1",
      "connected",
      "waiting socketclosed",
      "connecting 1",
      "connected",
      "waiting socketclosed",
      "connecting 1",
      "waiting 3",
      "connecting 2",
      "waiting cannotconnect",
      "connecting 3",
      "connected",
      "waiting socketclosed",
      "connecting 1",
      "waiting socketclosed",
      "connecting 2",
      "waiting socketclosed",
      "connecting 3",
      "closed socketclosed",
    ]);
    assertEquals(talk.told.filter(({ type }) => type === "closed").length, 1);
    assertEquals(talk.session.status.type, "closed");
  });

  test("disconnect() while it waits: there is no connection to hang up", () => {
    const talk = Talk.open({ reconnect });
    talk.breaks();
    talk.disconnect();
    assertEquals(talk.drain().map(show), ["disconnect: undefined", "closed disconnect", "closed: disconnect"]);
  });

  test("the last status can be asked for at any time, and is the one that is told", () => {
    const talk = Talk.open({ reconnect });
    for (let i = 0; i < 3; i++) {
      talk.session.lost(talk.attempt, new MqttError("socketclosed", `${i}`), talk.now);
      const { status } = talk.session;
      assertEquals(status.type, "waiting");
      assert(talk.drain().some((event) => event.type === "status" && event.status === status));
      talk.redials();
      assertEquals(talk.session.status.type, "connecting");
      talk.connect();
      talk.hears(CONNACK);
      assertEquals(talk.session.status.type, "connected");
    }
  });

  test("what comes with CONNACK is told after it; what came before a loss before the loss", () => {
    const talk = new Talk({ reconnect });
    talk.connect();
    talk.gets(`${CONNACK} 30 03 0001 "a"`);
    assertEquals(talk.drain().map(show), ["connected", "connect: undefined", "a: "]);
    talk.gets('30 03 0001 "b" 00 30 03 0001 "c"');
    assertEquals(talk.drain().map(show), ["b: ", "hangup", "waiting unknowncp"]);
  });

  test("nothing is final for a client that was accepted once", () => {
    const talk = Talk.open({ reconnect, places: [{ address: "broker:1883", credentials: "both" }] });
    const failures: (() => unknown)[] = [
      () => talk.breaks(new MqttError("cannotresolve", "no such name")),
      () => talk.breaks(new MqttError("tls", "no")),
      ...[1, 2, 3, 4, 5].map((code) => () => {
        talk.connect();
        talk.hears(`20 02 00 0${code}`);
      }),
      ...(["untrusted", "wrongname", "expired"] as const).map((trusted: Trust) => () => {
        assertEquals(talk.session.opened(talk.attempt, { trusted }, talk.now), false);
        assertEquals(talk.drain().map(show), ["hangup", `waiting ${trusted}`]);
        assertEquals(talk.session.takeBytes(), undefined, "nothing is sent to it");
      }),
      () => {
        talk.connect();
        talk.hears('"HTTP/1.1 400"');
      },
      () => talk.pass(10_000),
    ];
    talk.breaks();
    for (const fail of failures) {
      talk.redials();
      fail();
      assertEquals(talk.session.status.type, "waiting");
    }
    talk.redials();
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(talk.session.status.type, "connected");
  });

  test("the first connection is not tried again, whatever `reconnect` says", () => {
    for (const literal of ["20 02 00 03", '"S"']) {
      const talk = new Talk({ reconnect });
      talk.connect();
      const error = talk.fails(literal);
      assertStrictEquals(talk.opening.outcomes[0], error);
    }
    const talk = new Talk({ reconnect });
    talk.drain();
    talk.breaks(new MqttError("cannotconnect", "refused"));
    assertEquals([talk.opening.fate, talk.session.status.type], ["error cannotconnect", "closed"]);
  });
});

describe("attempts: a client that begins offline", () => {
  const op = { offline: true, reconnect };
  const refuse = (talk: Talk, code: number) => {
    talk.connect();
    return talk.hears(`20 02 00 0${code}`).map(show);
  };

  test("connect is settled at once, reachable or not, and once", () => {
    const talk = new Talk(op);
    assertEquals(talk.drain().map(show), ["connect: undefined", "dial 0", "connecting"]);
    assertEquals(talk.breaks(new MqttError("cannotconnect", "refused")).map(show), ["hangup", "waiting cannotconnect"]);
    talk.redials();
    talk.connect();
    assertEquals(talk.hears(CONNACK).map(show), ["connected"]);
    assertEquals(talk.opening.outcomes, [undefined]);
  });

  test("what is published and subscribed before goes out with the first connection, subscriptions first", () => {
    const talk = new Talk(op);
    talk.session.publish("a", "x", 0);
    const call = new Asked("b");
    talk.session.send({ topic: "b", message: "y", flags: 2 }, call, talk.now);
    const subscribed = talk.subscribe(["s"]);
    const flushed = new Asked("flush");
    talk.session.flush(flushed, talk.now);
    talk.drain();
    talk.breaks(new MqttError("cannotresolve", "no such name"));
    talk.redials();
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(talk.says(), ["SUBSCRIBE 1 s", "PUBLISH a", "PINGREQ", "PUBLISH b"]);
    talk.hears(suback(1, 0));
    talk.hears("40 02 0002 d0 00");
    assertEquals([call.fate, subscribed.fate, flushed.fate], [0, 0, undefined]);
  });

  test("a refusal that another attempt cannot mend is final", () => {
    for (const code of [1, 2, 4, 5]) {
      const talk = new Talk(op);
      assertEquals(refuse(talk, code), ["hangup", `closed ${code}`, `closed: ${code}`]);
      assertEquals(talk.session.reason?.code, code as 1);
    }
    for (const trusted of ["untrusted", "wrongname", "expired"] as const) {
      const talk = new Talk({ ...op, rejectUntrusted: true });
      talk.drain();
      talk.session.opened(0, { trusted }, talk.now);
      assertEquals(talk.drain().map(show), ["hangup", `closed ${trusted}`, `closed: ${trusted}`]);
    }
    const talk = new Talk(op);
    talk.drain();
    const events = talk.breaks(new UnusableError("tls", "Cannot use tls.key")).map(show);
    assertEquals(events, ["hangup", "closed tls", "closed: tls"]);
  });

  test("everything else is tried again, and a later refusal is final all the same", () => {
    const talk = new Talk(op);
    talk.drain();
    for (const code of ["cannotresolve", "cannotconnect", "proxy", "tls", "socketclosed"] as const) {
      assertEquals(talk.breaks(new MqttError(code, "no")).map(show), ["hangup", `waiting ${code}`]);
      talk.redials();
    }
    talk.pass(10_020);
    assertEquals(talk.told.map(show).includes("waiting timeout"), true);
    assertEquals(refuse(talk, 3), ["hangup", "waiting 3"]);
    talk.redials();
    talk.connect();
    assertEquals(talk.hears('"HTTP/1.1 400"').map(show), ["hangup", "waiting invalidresp"]);
    talk.redials();
    assertEquals(refuse(talk, 5), ["hangup", "closed 5", "closed: 5"]);
  });

  test("once a broker has accepted it, nothing is final", () => {
    const talk = new Talk(op);
    talk.connect();
    talk.hears(CONNACK);
    talk.breaks();
    for (const code of [5, 4, 2, 1, 5, 5]) {
      talk.redials();
      assertEquals(refuse(talk, code), ["hangup", `waiting ${code}`]);
    }
  });

  test("attempts are limited as ever", () => {
    const talk = new Talk({ offline: true, reconnect: { ...reconnect, attempts: 2 } });
    talk.drain();
    talk.breaks();
    talk.redials();
    talk.breaks();
    talk.redials();
    assertEquals(talk.breaks().map(show), ["hangup", "closed socketclosed", "closed: socketclosed"]);
  });

  test("disconnect() ends it, wherever it is", () => {
    const connecting = new Talk(op), waiting = new Talk(op);
    connecting.drain();
    waiting.drain();
    waiting.breaks();
    for (const talk of [connecting, waiting]) {
      assertEquals(talk.disconnect().fate, "pending");
      talk.drain();
      assertEquals([talk.session.status.type, talk.session.due], ["closed", Infinity]);
    }
  });

  test("a session that is present on the first connection is that of an earlier process", () => {
    const talk = new Talk({ ...op, cleanSession: false });
    const call = new Asked("b");
    talk.session.send({ topic: "b", message: "y", flags: 4 }, call, talk.now);
    talk.drain();
    talk.breaks();
    talk.redials();
    talk.connect();
    talk.hears("20 02 01 00");
    assertEquals(talk.packets().every(({ type }) => type === "PUBREL"), true, "it frees the identifiers first");
  });
});

describe("attempts: an end that nobody hears", () => {
  test("is told as unheard after a second, once", () => {
    const talk = Talk.open({}, { listens: false });
    talk.breaks();
    assertEquals(talk.session.due, talk.now + 1000);
    talk.pass(999);
    assertEquals(talk.told.map(show).includes("unheard: socketclosed"), false);
    talk.pass(1);
    assertEquals(talk.told.filter(({ type }) => type === "unheard").map(show), ["unheard: socketclosed"]);
    assertEquals(talk.session.due, Infinity);
    talk.pass(1e6);
    assertEquals(talk.told.filter(({ type }) => type === "unheard").length, 1);
  });

  // Who hears of it, before the end and after it.
  const listeners: [what: string, before: (talk: Talk) => void, after: (talk: Talk) => void][] = [
    ["somebody listens", (talk) => talk.session.listen(), () => {}],
    ["somebody listens within the second", () => {}, (talk) => {
      talk.pass(900);
      talk.session.listen();
    }],
    ["a call was waiting", (talk) => talk.subscribe(["a"]), () => {}],
    ["a publish was waiting", (talk) => {
      talk.session.publish("t", new Uint8Array(70_000), 0);
      talk.session.awaitRoom(new Asked("room"));
    }, () => {}],
    ["disconnect() was called", (talk) => talk.disconnect(), () => {}],
    ["publish() was called", () => {}, (talk) => assertThrows(() => talk.session.publish("t", "x", 0), MqttError)],
    ["subscribe() was called", () => {}, (talk) => assertThrows(() => talk.subscribe(["a"]), MqttError)],
    ["unsubscribe() was called", () => {}, (talk) => assertThrows(() => talk.unsubscribe(["a"]), MqttError)],
    ["messages() was called", () => {}, (talk) => assertEquals(talk.iterate("a").error?.code, "socketclosed")],
  ];
  for (const [what, before, after] of listeners) {
    test(`is none when ${what}`, () => {
      const talk = Talk.open({ keepalive: 0 }, { listens: false });
      before(talk);
      talk.breaks();
      after(talk);
      assertEquals(talk.session.due, Infinity);
      talk.pass(1e6);
      assertEquals(talk.told.filter(({ type }) => type === "unheard"), []);
    });
  }

  test("every call after the end gets its reason", () => {
    const talk = Talk.open();
    talk.breaks();
    const reason = talk.session.reason!;
    for (
      const call of [
        () => talk.session.publish("t", "x", 0),
        () => talk.subscribe(["a"]),
        () => talk.unsubscribe(["a"]),
      ]
    ) {
      assertStrictEquals(assertThrows(call, MqttError), reason);
    }
    assertEquals(talk.disconnect().fate, "pending");
    assertEquals(talk.drain().map(show), ["disconnect: undefined"]);
  });

  test("a call that was answered tells nothing of the end", () => {
    const talk = Talk.open({}, { listens: false });
    talk.subscribe(["a"]);
    talk.sends();
    talk.hears(suback(1, 0));
    talk.breaks();
    talk.pass(1000);
    assertEquals(talk.told.at(-1)?.type, "unheard");
  });
});
