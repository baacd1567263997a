import {
  assert,
  assertEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertLess,
  assertLessOrEqual,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { describe, test } from "node:test";
import type { ConnectionStatus } from "../../src/status.ts";
import { type ErrorCode, MqttError } from "../../src/errors.ts";
import type { Message } from "../../src/message.ts";
import type { SessionSettings } from "../../src/session/settings.ts";
import { bytes, hex, join } from "../support/bytes.ts";
import { encodeNaive, frame } from "../support/naive.ts";
import { CONNACK, messages, PRESENT, RECONNECT, show, suback, Talk, unsuback } from "./driver.ts";

const utf8 = new TextEncoder();

describe("session: the bytes of the reference", () => {
  test("[MQTT-3.1.0-1] CONNECT", () => {
    assertEquals(hex(new Talk().connect()), hex(bytes('10 0e 0004 "MQTT" 04 02 003c 0002 "ID"')));
  });

  test("[MQTT-3.1.2-19] CONNECT with user U and password P", () => {
    const credentials = { uname: utf8.encode("U"), passwd: utf8.encode("P") };
    assertEquals(
      hex(new Talk({}, { credentials }).connect()),
      hex(bytes('10 14 0004 "MQTT" 04 c2 003c 0002 "ID" 0001 "U" 0001 "P"')),
    );
  });

  test("[MQTT-3.1.2-11] CONNECT with the will W/t, gone", () => {
    const will = { topic: "W/t", message: utf8.encode("gone"), qos: 0, retain: false } as const;
    assertEquals(
      hex(new Talk({ will }).connect()),
      hex(bytes('10 19 0004 "MQTT" 04 06 003c 0002 "ID" 0003 "W/t" 0004 "gone"')),
    );
  });

  test("[MQTT-3.1.3-1] the will is before the user name", () => {
    const will = { topic: "W/t", message: utf8.encode("gone"), qos: 2, retain: true } as const;
    const credentials = { uname: utf8.encode("U"), passwd: utf8.encode("P") };
    assertEquals(
      hex(new Talk({ will }, { credentials }).connect()),
      hex(bytes('10 1f 0004 "MQTT" 04 f6 003c 0002 "ID" 0003 "W/t" 0004 "gone" 0001 "U" 0001 "P"')),
    );
  });

  test("[MQTT-3.1.2-20] a user name without password", () => {
    const connect = new Talk({ keepalive: 0 }, { credentials: { uname: utf8.encode("") } }).connect();
    assertEquals(hex(connect), hex(bytes('10 10 0004 "MQTT" 04 82 0000 0002 "ID" 0000')));
  });

  test("[MQTT-3.1.2-4] without clean session", () => {
    const connect = new Talk({ cleanSession: false, keepalive: 65_535 }).connect();
    assertEquals(hex(connect), hex(bytes('10 0e 0004 "MQTT" 04 00 ffff 0002 "ID"')));
  });

  test("[MQTT-4.3.1-1] PUBLISH, [MQTT-3.8.1-1] SUBSCRIBE and [MQTT-3.10.1-1] UNSUBSCRIBE", () => {
    const talk = Talk.open();
    talk.session.publish("a/b", "hi", 0);
    assertEquals(hex(talk.sends()), hex(bytes('30 07 0003 "a/b" "hi"')));
    talk.subscribe(["s/1"]);
    assertEquals(hex(talk.sends()), hex(bytes('82 08 0001 0003 "s/1" 00')));
    talk.unsubscribe(["s/1"]);
    assertEquals(hex(talk.sends()), hex(bytes('a2 07 0002 0003 "s/1"')));
  });

  test("[MQTT-3.8.3-1] [MQTT-3.10.3-1] several filters in one packet", () => {
    const talk = Talk.open();
    talk.subscribe(["a/+", { topic: "é", qos: 2 }]);
    assertEquals(hex(talk.sends()), hex(bytes('82 0d 0001 0003 "a/+" 00 0002 c3a9 02')));
    talk.unsubscribe(["a/+", "é"]);
    assertEquals(hex(talk.sends()), hex(bytes('a2 0b 0002 0003 "a/+" 0002 c3a9')));
  });

  test("[MQTT-3.1.2-23] PINGREQ and DISCONNECT", () => {
    const talk = Talk.open();
    assertEquals(talk.pass(60_000), [[58_000, "c0 00"]]);
    talk.disconnect();
    assertEquals(hex(talk.sends()), "e0 00");
  });
});

/** The status, without the limits that the protocol has. */
function connected(talk: Talk): unknown {
  const { limits: _, ...status } = talk.session.status as Extract<ConnectionStatus, { type: "connected" }>;
  return status;
}

describe("session: the answer to CONNECT", () => {
  test("[MQTT-3.2.0-1] CONNACK opens the session", () => {
    const talk = new Talk();
    talk.connect();
    assertEquals(talk.hears(CONNACK).map(show), ["connected", "connect: undefined"]);
    assertEquals(connected(talk), { type: "connected", sessionPresent: false, version: 4 });
    assertEquals(messages(talk.hears('30 03 0001 "a"')), ["a: "]);
  });

  test("[MQTT-7.1.2-1] CONNACK byte by byte, and what follows in the same chunk", () => {
    const talk = new Talk();
    talk.connect();
    for (const byte of ["20", "02", "00"]) assertEquals(talk.hears(byte), []);
    assertEquals(
      talk.hears('00 30 04 0001 "a" "x" 30 04 0001 "b" "y"').map(show),
      ["connected", "connect: undefined", "a: x", "b: y"],
    );
  });

  for (const code of [1, 2, 3, 4, 5]) {
    test(`[MQTT-3.2.2-5] code ${code} is told, and nothing after it`, () => {
      const talk = new Talk();
      talk.connect();
      assertEquals<unknown>(talk.fails(`20 02 00 0${code} 30 03 0001 "a"`).code, code);
      assertEquals(talk.opening.fate, `error ${code}`);
      assertEquals(talk.hears('30 03 0001 "a"'), []);
      assertEquals([talk.session.due, talk.sends().length], [Infinity, 0]);
    });
  }

  test("[MQTT-3.2.2-2] a session present, when it was asked for", () => {
    const talk = new Talk({ cleanSession: false });
    talk.connect();
    talk.hears(PRESENT);
    assertEquals(connected(talk), { type: "connected", sessionPresent: true, version: 4 });
  });

  // Each with what is wrong at its last byte: nothing that a wrong server does not send is waited for.
  const wrong: [statement: string, what: string, literal: string, settings?: Partial<SessionSettings>][] = [
    ["[MQTT-3.2.0-1]", "an HTTP answer", '"H"'],
    ["[MQTT-3.2.0-1]", "a TLS alert", "15"],
    ["[MQTT-3.2.0-1]", "an SSH greeting", '"S"'],
    ["[MQTT-3.2.0-1]", "an SMTP greeting", '"2"'],
    ["[MQTT-3.2.0-1]", "PUBLISH before CONNACK", "30"],
    ["[MQTT-3.2.0-1]", "CONNECT", "10"],
    ["[MQTT-3.2.0-1]", "PINGRESP", "d0"],
    ["[MQTT-3.2.0-1]", "CONNACK with a flag in its first byte", "21"],
    ["[MQTT-3.2.0-1]", "zeros", "00"],
    ["[MQTT-3.2.0-1]", "CONNACK of length 0", "20 00"],
    ["[MQTT-3.2.0-1]", "CONNACK of MQTT 5", "20 03"],
    ["[MQTT-3.2.0-1]", "CONNACK of length 255", "20 ff"],
    ["[MQTT-2.2.2-1]", "CONNACK with every flag", "20 02 ff"],
    ["[MQTT-2.2.2-1]", "CONNACK with flag 1", "20 02 02"],
    ["[MQTT-3.2.2-1]", "a session though a clean one was asked for", "20 02 01"],
    ["[MQTT-3.2.2-2]", "flag 1 and a session", "20 02 03", { cleanSession: false }],
    ["[MQTT-3.2.2-4]", "a session with a refusal", "20 02 01 05", { cleanSession: false }],
    ["[MQTT-3.2.2-6]", "the reserved code 6", "20 02 00 06"],
    ["[MQTT-3.2.2-6]", "the reserved code 255", "20 02 00 ff"],
    ["[MQTT-3.2.2-6]", "a reason code of MQTT 5", "20 02 00 84"],
  ];
  for (const [statement, what, literal, settings] of wrong) {
    test(`${statement} ${what} is "invalidresp" at byte ${bytes(literal).length}`, () => {
      const all = bytes(literal);
      const talk = new Talk(settings);
      talk.connect();
      for (const byte of all.subarray(0, -1)) assertEquals(talk.hears(Uint8Array.of(byte)), []);
      const error = talk.fails(hex(all.subarray(-1)));
      assertEquals(error.code, "invalidresp");
      assert(error.message.includes(hex(all)), `the error shows the bytes: ${error.message}`);

      const whole = new Talk(settings);
      whole.connect();
      assertEquals(whole.fails(`${literal} "xxxxxxxxxxxxxxxxxxxx"`).code, "invalidresp", "in one chunk with more");
      assertEquals(whole.hears(CONNACK), [], "nothing is heard after it");
      assertEquals([whole.session.due, whole.sends().length], [Infinity, 0]);
    });
  }

  test("[MQTT-3.2.0-1] a server that talks first", () => {
    const talk = new Talk();
    talk.login();
    assertEquals(talk.fails('"SSH-2.0-"').code, "invalidresp");
    assertEquals(talk.sends().length, 0, "CONNECT is not sent to it");
  });

  test("[MQTT-3.2.0-1] a second CONNACK is a protocol error", () => {
    const error = Talk.open().fails(CONNACK);
    assertEquals(error.code, "protocol");
    assert(error.message.endsWith("[MQTT-3.2.0-1]"), error.message);
  });
});

describe("session: packets that brokers do not send", () => {
  for (const [name, first] of [["CONNECT", "10"], ["SUBSCRIBE", "82"], ["UNSUBSCRIBE", "a2"]]) {
    test(`[MQTT-4.8.0-1] ${name} is refused at its first byte`, () => {
      assertEquals(Talk.open().fails(first!).code, "unknowncp");
    });
  }

  const wrong: [statement: string, what: string, literal: string, code: ErrorCode][] = [
    ["[MQTT-4.8.0-1]", "CONNECT", '10 0e 0004 "MQTT" 04 02 003c 0002 "ID"', "unknowncp"],
    ["[MQTT-4.8.0-1]", "SUBSCRIBE", '82 08 0001 0003 "s/1" 00', "unknowncp"],
    ["[MQTT-4.8.0-1]", "UNSUBSCRIBE", 'a2 07 0002 0003 "s/1"', "unknowncp"],
    ["[MQTT-4.8.0-1]", "PINGREQ", "c0 00", "unknowncp"],
    ["[MQTT-4.8.0-1]", "DISCONNECT", "e0 00", "unknowncp"],
    ["[MQTT-4.8.0-1]", "the reserved type 0", "00 00", "unknowncp"],
    ["[MQTT-4.8.0-1]", "the reserved type 15", "f0 00", "unknowncp"],
    ["[MQTT-2.3.1-7]", "SUBACK of nothing", "90 03 0001 00", "protocol"],
    ["[MQTT-2.3.1-7]", "UNSUBACK of nothing", "b0 02 0001", "protocol"],
    ["[MQTT-3.3.1-4]", "PUBLISH at QoS 3", '36 06 0001 "a" 0001 "x"', "protocol"],
    ["[MQTT-2.2.2-2]", "PINGRESP with a flag", "d1 00", "protocol"],
    ["[MQTT-1.5.3-1]", "a topic name that is not UTF-8", "30 04 0002 c080", "protocol"],
    ["[MQTT-1.5.3-2]", "a topic name with U+0000", "30 03 0001 00", "protocol"],
  ];
  for (const [statement, what, literal, code] of wrong) {
    test(`${statement} ${what} ends the session`, () => {
      const talk = Talk.open();
      const chunk = bytes(`30 04 0001 "a" "x" ${literal} 30 04 0001 "b" "y"`);
      talk.gets(chunk);
      assertEquals(messages([talk.session.next()!]), ["a: x"], "what came before is delivered");
      const error = talk.ends();
      assertEquals(error.code, code);
      assert(error.message.endsWith(statement), error.message);
      assertEquals(messages(talk.told), [], "and nothing after it");
      assertEquals(talk.hears('30 04 0001 "c" "z"'), []);
      assertEquals(talk.session.due, Infinity);
    });
  }

  test("[MQTT-4.8.0-2] a packet over maxPacketSize that is no PUBLISH ends the session", () => {
    const talk = Talk.open({ maxPacketSize: 100 });
    talk.subscribe(Array.from({ length: 96 }, (_, i) => `${i}`));
    assertEquals(talk.hears(suback(1, ...new Array(96).fill(0))).length, 1, "100 bytes are taken");
    talk.subscribe(Array.from({ length: 97 }, (_, i) => `${i}`));
    assertEquals(talk.fails("90 63").code, "overflow");
    assertEquals(talk.hears(CONNACK), []);
  });

  test("[MQTT-4.5.0-2] a PUBLISH over maxPacketSize is passed over, told, counted and acknowledged", () => {
    const talk = Talk.open({ maxPacketSize: 100 });
    assertEquals(messages(talk.hears(frame(3, 0, [0, 1, 97], new Uint8Array(95)))), ["a: " + "\0".repeat(95)]);
    assertEquals(talk.session.stats.dropped, 0);
    for (const [qos, id, answer] of [[0, [], ""], [1, [0, 9], "40 02 00 09"], [2, [0, 8], "50 02 00 08"]] as const) {
      const packet = frame(3, 2 * qos, [0, 1, 97, ...id], new Uint8Array(1000));
      assertEquals(talk.hears(packet.subarray(0, 500)).map(show), ["dropped overflow"]);
      const told = talk.told.at(-1);
      assert(told?.type === "status" && told.status.type === "dropped");
      const { error, ...status } = told.status;
      assertEquals(status, { type: "dropped", topic: "a", size: packet.length });
      for (const word of [`${packet.length}`, '"a"', "maxPacketSize", "100"]) {
        assert(error.message.includes(word), `"${word}" in: ${error.message}`);
      }
      assertEquals(hex(talk.sends()), answer);
      assertEquals(messages(talk.hears(join([packet.subarray(500), bytes('30 04 0001 "b" "x"')]))), ["b: x"]);
      assertEquals(talk.session.stats.dropped, qos + 1);
    }
    const again = frame(3, 0xc, [0, 1, 97, 0, 8], new Uint8Array(1000));
    assertEquals([talk.hears(again).length, hex(talk.sends())], [0, "50 02 00 08"], "told once");
    assertEquals(talk.session.stats.dropped, 3);
    talk.hears("62 02 0008");
    assertEquals([talk.hears(again).length, talk.session.stats.dropped], [1, 4], "after PUBREL it is a new message");
  });

  for (
    const [what, one] of [["QoS 1", '32 05 0001 "a" 0001'], ["QoS 2, again and again", '34 05 0001 "a" 0001'], [
      "PUBREL",
      "62 02 0001",
    ], ["PUBREC of nothing", "50 02 0001"]] as const
  ) {
    test(`[MQTT-4.8.0-2] a broker that never reads cannot make the answers to ${what} grow`, () => {
      const talk = Talk.open({ maxBuffered: 1000 });
      let most = 0;
      for (let i = 0; i < 200_000 && talk.session.reason === undefined; i++) {
        most = Math.max(most, talk.session.buffered);
        talk.hears(one);
      }
      assertEquals(talk.session.reason?.code, "overflow");
      const reserve = 5 * 65_535 + 262_144;
      assertGreater(most, 1000 + reserve - 8, "what a broker that reads may have waited for is kept");
      assertLessOrEqual(most, 1000 + reserve + 4);
      assertEquals(talk.session.buffered, 0, "and nothing of them is kept");
    });
  }

  test("[MQTT-2.3.1-2] what a broker may wait for is answered although maxBuffered is used up", () => {
    const talk = Talk.open({ maxBuffered: 30 });
    talk.session.publish("a", "x".repeat(25), 0);
    assertThrows(() => talk.session.publish("a", "x", 0), MqttError);
    talk.hears('32 05 0001 "a" 0001');
    talk.hears('34 05 0001 "a" 0002');
    assertEquals(talk.session.buffered, 30 + 8);
  });
});

describe("session: acknowledgements of nothing", () => {
  test("[MQTT-4.3.2-1] PUBACK and [MQTT-4.3.3-1] PUBCOMP are ignored and counted", () => {
    const talk = Talk.open();
    assertEquals(talk.hears("40 02 0001 70 02 ffff 40 02 0001").map(show), []);
    assertEquals([hex(talk.sends()), talk.session.stats.ignored], ["", 3]);
    assertEquals(messages(talk.hears('30 04 0001 "a" "x"')), ["a: x"], "and all goes on");
  });

  test("[MQTT-4.3.3-1] PUBREC is answered by PUBREL, so that the broker gives the identifier up, and counted", () => {
    const talk = Talk.open();
    assertEquals(talk.hears("50 02 0102 50 02 0102").map(show), []);
    assertEquals([hex(talk.sends()), talk.session.stats.ignored], ["62 02 01 02 62 02 01 02", 2]);
    talk.hears("70 02 0102 70 02 0102");
    assertEquals([hex(talk.sends()), talk.session.stats.ignored], ["", 4]);
  });

  test("[MQTT-2.3.1-1] with packet identifier 0 they are the broker's mistake", () => {
    for (const literal of ["40 02 0000", "50 02 0000", "62 02 0000", "70 02 0000"]) {
      assertEquals(Talk.open().fails(literal).code, "protocol", literal);
    }
  });
});

describe("session: SUBACK and UNSUBACK", () => {
  test("[MQTT-3.9.3-1] the codes, in the order of the filters", () => {
    const talk = Talk.open();
    const onpub = () => {};
    const call = talk.subscribe([{ topic: "a", qos: 2 }, { topic: "b", qos: 2 }, { topic: "c", qos: 1 }], onpub);
    talk.hears("90 05 0001 02 80 00");
    assertEquals(call.fate, "error 128");
    const [error] = call.outcomes as MqttError[];
    assert(/"b"/.test(error!.message) && !/"[ac]"/.test(error!.message), error!.message);
    for (const [topic, own] of [["a", 1], ["b", 0], ["c", 1]] as const) {
      assertEquals(messages(talk.hears(`30 03 0001 "${topic}"`)), [`${topic}: `]);
      assertEquals(talk.session.handlers.length, own, topic);
    }
  });

  test("the lowest of the granted codes is told", () => {
    const talk = Talk.open();
    const call = talk.subscribe([{ topic: "a", qos: 2 }, { topic: "b", qos: 2 }, { topic: "c", qos: 2 }]);
    talk.hears("90 05 0001 02 01 02");
    assertEquals(call.fate, 1);
  });

  test("[MQTT-2.3.1-7] answers in any order", () => {
    const talk = Talk.open();
    talk.subscribe(["a"]);
    talk.unsubscribe(["b"]);
    talk.subscribe(["c"]);
    assertEquals(talk.says(), ["SUBSCRIBE 1 a", "UNSUBSCRIBE 2 b", "SUBSCRIBE 3 c"]);
    assertEquals(talk.hears("90 03 0003 00 b0 02 0002 90 03 0001 80").map(show), [
      "subscribe c: 0",
      "unsubscribe b: undefined",
      "subscribe a: error 128",
    ]);
  });

  const wrong: [statement: string, what: string, literal: string][] = [
    ["[MQTT-2.3.1-7]", "SUBACK of another packet identifier", "90 04 0009 00 00"],
    ["[MQTT-2.3.1-7]", "UNSUBACK of another packet identifier", "b0 02 0009"],
    ["[MQTT-2.3.1-7]", "UNSUBACK for SUBSCRIBE", "b0 02 0001"],
    ["[MQTT-2.3.1-7]", "SUBACK for UNSUBSCRIBE", "90 03 0002 00"],
    ["[MQTT-2.3.1-7]", "SUBACK a second time", "90 04 0001 00 00 90 04 0001 00 00"],
    ["[MQTT-2.3.1-7]", "UNSUBACK a second time", "b0 02 0002 b0 02 0002"],
    ["[MQTT-3.8.4-5]", "SUBACK with too few codes", "90 03 0001 00"],
    ["[MQTT-3.8.4-5]", "SUBACK with too many codes", "90 05 0001 00 00 00"],
    ["[MQTT-3.8.4-5]", "SUBACK without a code", "90 02 0001"],
    ["[MQTT-3.9.3-2]", "SUBACK with a reserved code", "90 04 0001 00 03"],
    ["[MQTT-3.8.4-6]", "SUBACK that grants more than was asked", "90 04 0001 01 00"],
  ];
  for (const [statement, what, literal] of wrong) {
    test(`${statement} ${what} ends the session`, () => {
      const talk = Talk.open();
      talk.subscribe(["a", { topic: "b", qos: 1 }]);
      talk.unsubscribe(["c"]);
      const error = talk.fails(literal);
      assertEquals(error.code, "protocol");
      assert(error.message.endsWith(statement), error.message);
    });
  }
});

describe("session: packet identifiers", () => {
  /** The identifiers of the packets that are sent. */
  function ids(talk: Talk): number[] {
    return talk.packets().map((packet) => "packetId" in packet ? packet.packetId : 0);
  }

  /** The identifier of the one short packet that is sent. */
  function idOf(packet: Uint8Array): number {
    return packet[2]! << 8 | packet[3]!;
  }

  test("[MQTT-2.3.1-2] none that is in use: 65,535 of them, and then no more", () => {
    const talk = Talk.open({ maxBuffered: 1 << 26 });
    for (let i = 0; i < 65_535; i++) i % 2 === 0 ? talk.subscribe(["a"]) : talk.unsubscribe(["a"]);
    const before = talk.session.buffered;
    for (const ask of [() => talk.subscribe(["a"]), () => talk.unsubscribe(["a"])]) {
      assertEquals(assertThrows(ask, MqttError).code, "overflow");
    }
    assertEquals(talk.session.buffered, before);
    const found = new Set(ids(talk));
    assertEquals([found.size, Math.min(...found), Math.max(...found)], [65_535, 1, 65_535]);
    assertEquals(talk.hears("90 03 1235 00").length, 1);
    talk.subscribe(["a"]);
    assertEquals(ids(talk), [0x1235], "the only one that is free");
    assertEquals(assertThrows(() => talk.unsubscribe(["a"]), MqttError).code, "overflow");
  });

  test("[MQTT-2.3.1-2] after 65,535 comes 1, unless it is in use", () => {
    const talk = Talk.open();
    const ask = () => {
      talk.subscribe(["a"]);
      return idOf(talk.sends());
    };
    assertEquals([ask(), ask(), ask()], [1, 2, 3]);
    talk.hears(suback(2, 0));
    for (let id = 4; id <= 65_535; id++) {
      assertEquals(ask(), id);
      talk.hears(suback(id, 0));
    }
    assertEquals([ask(), ask(), ask()], [2, 4, 5]);
  });

  test("[MQTT-2.3.1-1] never 0, whatever the order of answers", () => {
    const talk = Talk.open();
    const inUse = new Set<number>();
    for (let i = 0; i < 150_000; i++) {
      talk.unsubscribe(["a"]);
      const id = idOf(talk.sends());
      assert(id >= 1 && id <= 65_535 && !inUse.has(id));
      inUse.add(id);
      if (inUse.size < 50) continue;
      const [oldest] = inUse;
      const done = i % 3 === 0 ? id : oldest!;
      talk.hears(unsuback(done));
      inUse.delete(done);
    }
  });

  test("a request that overflows maxBuffered takes no packet identifier and is not sent", () => {
    const talk = Talk.open({ maxBuffered: 20 });
    talk.subscribe(["a"]);
    const error = assertThrows(() => talk.subscribe(["x".repeat(50)]), MqttError);
    assertEquals(error.code, "overflow");
    assertEquals(talk.packets().map(({ type }) => type), ["SUBSCRIBE"]);
    const call = talk.unsubscribe(["b"]);
    talk.hears(unsuback(idOf(talk.sends())));
    assertEquals(call.fate, undefined);
  });
});

describe("session: keep alive", () => {
  test("[MQTT-3.1.2-23] PINGREQ a little before the keep alive is over, as long as nothing is sent", () => {
    const talk = Talk.open({ keepalive: 100 });
    const sent: number[] = [];
    for (let i = 0; i < 5; i++) {
      const pings = talk.pass(talk.session.due - talk.now);
      assertEquals(pings.map(([, packet]) => packet), ["c0 00"]);
      sent.push(pings[0]![0]);
      talk.hears("d0 00");
    }
    assertEquals(sent, [96_000, 191_000, 286_000, 381_000, 476_000]);
  });

  for (const keepalive of [1, 2, 60, 65_535]) {
    test(`[MQTT-3.1.2-23] the interval between two packets is never over ${keepalive} s`, () => {
      const talk = Talk.open({ keepalive });
      let last = talk.now;
      for (let i = 0; i < 20; i++) {
        const [[at]] = talk.pass(talk.session.due - talk.now) as [[number, string]];
        assertLess(at - last, keepalive * 1000);
        assertGreater(at - last, keepalive * 900);
        last = at;
        talk.hears("d0 00");
      }
    });
  }

  test("what is sent puts the PINGREQ off", () => {
    const talk = Talk.open({ keepalive: 10 });
    for (let i = 0; i < 10; i++) {
      assertEquals(talk.pass(9000), []);
      talk.session.publish("t", "x", 0);
      talk.sends();
      talk.hears('30 03 0001 "a"');
    }
    assertEquals(talk.pass(9499), []);
    assertEquals(talk.pass(1).length, 1);
  });

  test("whoever only publishes sends PINGREQ when nothing comes for long: the connection may be dead", () => {
    const talk = Talk.open({ keepalive: 10 });
    let pings = 0;
    for (let i = 0; i < 200 && talk.session.reason === undefined; i++) {
      pings += talk.pass(500).length;
      if (talk.session.reason !== undefined) break;
      talk.session.publish("t", "x", 0);
      talk.sends();
    }
    assertEquals([talk.session.reason?.code, pings], ["pingresp", 1]);
  });

  test("what is received does not", () => {
    const talk = Talk.open({ keepalive: 10 });
    for (let i = 0; i < 9; i++) {
      assertEquals(talk.pass(1000), []);
      talk.hears('30 03 0001 "a"');
    }
    assertEquals(talk.pass(500).length, 1);
  });

  test("keep alive 0: nothing is ever due", () => {
    const talk = Talk.open({ keepalive: 0 });
    assertEquals(talk.session.due, Infinity);
    talk.session.tick(1e12);
    assertEquals([talk.sends().length, talk.drain()], [0, []]);
  });

  test("nothing is due before CONNACK but its deadline, nothing after a refusal, and no PINGREQ after DISCONNECT", () => {
    const talk = new Talk({ keepalive: 1, timeout: 5000 });
    assertEquals(talk.session.due, 6000);
    talk.connect();
    assertEquals(talk.session.due, 6000);
    talk.session.tick(5999);
    assertEquals(talk.sends().length, 0);
    const refused = new Talk({ keepalive: 1 });
    refused.connect();
    refused.fails("20 02 00 05");
    assertEquals(refused.session.due, Infinity);
    talk.hears(CONNACK);
    assertLess(talk.session.due, 2000);
    const call = talk.disconnect();
    assertEquals(hex(talk.sends()), "e0 00");
    talk.drain();
    assertEquals(talk.session.due, 2000, "only the broker's time to close the connection");
    assertEquals(talk.pass(2000), []);
    assertEquals([call.fate, talk.session.status.type, talk.session.due], [undefined, "closed", Infinity]);
    talk.session.tick(1e9);
    assertEquals(talk.sends().length, 0);
  });

  test("a PINGREQ goes before what waits", () => {
    const talk = Talk.open({ keepalive: 10 });
    talk.session.publish("t", "x", 0);
    talk.now += 9500;
    talk.session.tick(talk.now);
    assertEquals(talk.packets().map(({ type }) => type), ["PINGREQ", "PUBLISH"]);
  });

  /** When the verdict came, or undefined. */
  function verdict(talk: Talk, within: number, meanwhile: (talk: Talk) => void = () => {}): number | undefined {
    const end = talk.now + within;
    while (talk.session.due <= end) {
      talk.now = talk.session.due;
      talk.session.tick(talk.now);
      if (talk.session.reason !== undefined) {
        assertEquals(talk.ends().code, "pingresp");
        assertEquals(talk.session.due, Infinity, "it is over");
        return talk.now;
      }
      talk.sends();
      meanwhile(talk);
    }
    return undefined;
  }

  for (const [keepalive, wait] of [[1, 1000], [5, 5000], [60, 10_000], [600, 10_000]] as const) {
    test(`keep alive ${keepalive} s: "pingresp" a bounded time after the PINGREQ`, () => {
      const talk = Talk.open({ keepalive });
      const start = talk.now;
      const at = verdict(talk, 1e9)!;
      assertGreaterOrEqual(at, start + keepalive * 950 + wait);
      assertLessOrEqual(at, start + keepalive * 950 + wait + 1000);
    });
  }

  describe("PINGREQ behind much else, on a slow line", () => {
    const after = 9500, wait = 10_000, grace = 100, KiB64 = 1 << 16;
    const publish = (talk: Talk, size: number) => talk.session.publish("t", new Uint8Array(size), 0);
    /** Publishes so many bytes, which go out. */
    const send = (talk: Talk, size: number) => {
      publish(talk, size);
      talk.sends();
    };

    test("PINGRESP has a second more for each 64 KiB that the line may still have before it", () => {
      const talk = Talk.open({ keepalive: 10 });
      for (let i = 0; i < 20; i++) send(talk, KiB64);
      const out = talk.now;
      assertEquals(verdict(talk, 1e6), out + after + wait + 10_000 + grace); // 9.5 s of it are over
      assertEquals(talk.session.reason?.message, "The broker did not answer PINGREQ within 20000 ms");
    });

    test("what comes meanwhile may be the answer to what was before", () => {
      const talk = Talk.open({ keepalive: 10 });
      send(talk, 20 * KiB64);
      const out = talk.now;
      talk.hears("d0 00");
      assertEquals(verdict(talk, 1e6), out + after + wait + 10_000 + grace);
    });

    test("what has gone out long ago has arrived", () => {
      const talk = Talk.open({ keepalive: 60 });
      send(talk, 50 * KiB64);
      const out = talk.now;
      assertEquals(verdict(talk, 1e6), out + 57_000 + wait + grace);
    });

    test("no buffers on the way hold more than about 4 MiB, and it is five keep alives at most", () => {
      for (const [keepalive, later] of [[10, 50_000], [12, 52_000]] as const) {
        const talk = Talk.open({ keepalive });
        for (let i = 0; i < 100; i++) send(talk, 1_000_000);
        const out = talk.now;
        assertEquals(verdict(talk, 1e6), out + keepalive * 950 + wait + later + grace);
      }
    });

    test("what is in flight shows that the buffers empty: only a large message counts", () => {
      for (const [size, later] of [[4, 0], [10, 6000]] as const) {
        const talk = Talk.open({ keepalive: 10 });
        send(talk, 40 * KiB64);
        publish(talk, size * KiB64);
        talk.session.takeBytes(talk.now);
        const out = talk.now;
        assertEquals(verdict(talk, 1e6), out + after + wait + later + grace);
      }
    });

    test("the wait begins anew when what was in flight is out, and when PINGREQ is", () => {
      const talk = Talk.open({ keepalive: 10 });
      publish(talk, 10 * KiB64);
      talk.session.takeBytes(talk.now);
      talk.pass(after + wait + 5000);
      talk.session.written(talk.attempt, talk.now);
      assertEquals(hex(talk.session.takeBytes(talk.now)!), "c0 00");
      const over = talk.now += 15_000;
      talk.session.written(talk.attempt, over);
      assertEquals(verdict(talk, 1e6), over + wait + grace);
    });
  });

  test("a second PINGREQ does not put the verdict off", () => {
    const talk = Talk.open({ keepalive: 2 });
    talk.pass(1900); // PINGREQ
    const asked = talk.now;
    // The application sends: nothing in it answers the PINGREQ.
    const at = verdict(talk, 60_000, () => {
      talk.session.publish("t", "x", 0);
      talk.sends();
    })!;
    assertLessOrEqual(at, asked + 3000);
    const other = Talk.open({ keepalive: 1 });
    let pings = 0;
    verdict(other, 60_000, () => pings++);
    assertLess(pings, 10);
  });

  test("PINGRESP in the last moment", () => {
    const talk = Talk.open({ keepalive: 60 });
    talk.pass(57_000);
    assertEquals(talk.pass(9999), []);
    talk.hears("d0 00");
    assertEquals(talk.session.due, 1000 + 57_000 + 57_000);
    assertEquals(talk.pass(47_000).length, 0);
  });

  test("the verdict's first ring only looks: an answer that waits in the socket is still good", () => {
    const talk = Talk.open({ keepalive: 60 });
    talk.pass(57_000);
    talk.now = talk.session.due + 3_600_000; // the machine slept for an hour
    talk.session.tick(talk.now);
    assertGreater(talk.session.due, talk.now, "time to look");
    assertLessOrEqual(talk.session.due, talk.now + 1000);
    talk.hears("d0 00");
    talk.sends();
    assertEquals(verdict(talk, 20_000), undefined);
  });

  test("an answer behind much else: as long as it streams there is no verdict", () => {
    const talk = Talk.open({ keepalive: 60 });
    talk.pass(57_000);
    const chunk = frame(3, 0, [0, 1, 97], new Uint8Array(20_000));
    assertEquals(verdict(talk, 20_000, () => talk.hears(chunk)), undefined);
    talk.hears("d0 00");
    assertEquals(verdict(talk, 20_000), undefined);
  });

  test("a broker that streams for ever and answers nothing: the verdict comes all the same", () => {
    const talk = Talk.open({ keepalive: 60 });
    talk.pass(57_000);
    const chunk = frame(3, 0, [0, 1, 97], new Uint8Array(60_000));
    const at = verdict(talk, 10_000_000, () => talk.hears(chunk));
    assert(at !== undefined);
    const slow = Talk.open({ keepalive: 60 });
    slow.pass(57_000);
    const drop = bytes('30 03 0001 "a"');
    assertLess(verdict(slow, 10_000_000, () => slow.hears(drop))!, slow.now + 20_000);
  });

  test("while nothing is read there is no verdict; then there is time to read", () => {
    // An iterator that is full stops the reading.
    const full = () => {
      const talk = Talk.open({ keepalive: 60 });
      const inbox = talk.iterate("a", 1);
      talk.sends();
      talk.hears(join([suback(1, 0), bytes('30 03 0001 "a"')]));
      assertEquals(talk.session.isReading, false);
      return { talk, inbox };
    };
    const { talk, inbox } = full();
    const pings = talk.pass(600_000).filter(([, packet]) => packet === "c0 00");
    assertGreater(pings.length, 8, "pings are still sent");
    talk.session.backlog.take(inbox);
    assertEquals(talk.session.isReading, true);
    const resumed = talk.now;
    const at = verdict(talk, 1e6)!;
    assertGreater(at, resumed);
    assertLessOrEqual(at, resumed + 12_000);

    const other = full();
    other.talk.pass(600_000);
    other.talk.session.backlog.take(other.inbox);
    other.talk.hears("d0 00");
    assertEquals(verdict(other.talk, 20_000), undefined);
  });

  test("[MQTT-3.12.4-1] a PINGRESP that nobody asked for is ignored", () => {
    const talk = Talk.open();
    assertEquals(talk.hears("d0 00 d0 00"), []);
    assertEquals(talk.pass(57_000).length, 1);
  });

  test("a new connection starts anew: an old PINGREQ is nobody's", () => {
    const talk = Talk.open({ keepalive: 60, reconnect: RECONNECT });
    talk.pass(57_000 + 9000);
    talk.breaks();
    assertEquals(talk.session.due, talk.now + 10, "the next attempt, and nothing else");
    talk.pass(10);
    talk.now += 5000;
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(talk.sends().length, 0);
    assertEquals(talk.session.due, talk.now + 57_000);
  });
});

describe("session: messages that come", () => {
  test("[MQTT-3.3.4-1] [MQTT-4.3.2-2] QoS 1 is delivered each time and acknowledged each time", () => {
    const talk = Talk.open();
    assertEquals(messages(talk.hears('32 06 0001 "a" 000a "x"')), ["a: x"]);
    assertEquals(messages(talk.hears('3a 06 0001 "a" 000a "x"')), ["a: x"]);
    assertEquals(hex(talk.sends()), "40 02 00 0a 40 02 00 0a");
  });

  test("[MQTT-3.3.4-1] QoS 0 has no answer", () => {
    const talk = Talk.open();
    assertEquals(messages(talk.hears('30 04 0001 "a" "x" 31 03 0001 "b"')), ["a: x", "b: "]);
    assertEquals(talk.sends().length, 0);
  });

  test("[MQTT-4.3.3-2] a QoS 2 message is delivered once, until PUBREL", () => {
    const talk = Talk.open();
    assertEquals(messages(talk.hears('34 06 0001 "a" 000a "x"')), ["a: x"]);
    assertEquals(messages(talk.hears('3c 06 0001 "a" 000a "x" 3c 06 0001 "a" 000a "x"')), []);
    assertEquals(hex(talk.sends()), "50 02 00 0a 50 02 00 0a 50 02 00 0a");
    assertEquals(talk.hears("62 02 000a"), []);
    assertEquals(hex(talk.sends()), "70 02 00 0a");
    assertEquals(messages(talk.hears('34 06 0001 "a" 000a "y"')), ["a: y"], "after PUBCOMP it is a new message");
    assertEquals(hex(talk.sends()), "50 02 00 0a");
  });

  test("[MQTT-4.3.3-2] PUBREL is answered even when its message is not known", () => {
    const talk = Talk.open();
    talk.hears("62 02 0007 62 02 0007");
    assertEquals(hex(talk.sends()), "70 02 00 07 70 02 00 07");
  });

  test("[MQTT-2.3.1-6] QoS 2 messages with several packet identifiers do not mix", () => {
    const talk = Talk.open();
    const events = talk.hears(
      '34 05 0001 "a" 0001 34 05 0001 "b" 0002 34 05 0001 "c" 0001 62 02 0001 34 05 0001 "d" 0002',
    );
    assertEquals(messages(events), ["a: ", "b: "]);
    assertEquals(messages(talk.hears('34 05 0001 "e" 0001')), ["e: "]);
  });

  test("[MQTT-4.1.0-2] nothing of the session is forgotten while the connection lasts", () => {
    const talk = Talk.open({ keepalive: 0, maxBuffered: 1 << 26, timeout: 1e12 });
    const count = 5000;
    const all = (dup: boolean) => {
      const packets = Array.from(
        { length: count },
        (_, i) =>
          encodeNaive({
            type: "PUBLISH",
            topic: "t",
            payload: utf8.encode(`${i}`),
            qos: 2,
            retain: false,
            dup,
            packetId: i + 1,
          }),
      );
      return messages(talk.hears(join(packets))).length;
    };
    const asked = talk.subscribe(["a"]);
    assertEquals(all(false), count);
    talk.now += 1e9;
    talk.session.tick(talk.now);
    assertEquals(all(true), 0, "all of them are still known");
    talk.hears(suback(1, 0));
    assertEquals(asked.fate, 0);
    assertEquals(talk.packets().filter(({ type }) => type === "PUBREC").length, 2 * count);
  });

  test("[MQTT-4.6.0-2] [MQTT-4.6.0-3] answers in the order of the messages", () => {
    const talk = Talk.open();
    talk.hears(
      '32 05 0001 "a" 0003 34 05 0001 "a" 0009 32 05 0001 "a" 0001 34 05 0001 "a" 0002 62 02 0009 32 05 0001 "a" 0002',
    );
    assertEquals(hex(talk.sends()), hex(bytes("40 02 0003 50 02 0009 40 02 0001 50 02 0002 70 02 0009 40 02 0002")));
  });

  test("[MQTT-4.5.0-2] whoever listens: a message is acknowledged when the next one, or nothing, is asked for", () => {
    const talk = Talk.open();
    talk.gets('32 05 0001 "a" 0001 34 05 0001 "b" 0002');
    assertEquals(messages([talk.session.next()!]), ["a: "]);
    assertEquals(hex(talk.sends()), "", "the program has it");
    assertEquals(messages([talk.session.next()!]), ["b: "]);
    assertEquals(hex(talk.sends()), "40 02 00 01");
    assertEquals([talk.session.next(), hex(talk.sends())], [undefined, "50 02 00 02"]);
  });

  test("flags and payload reach the application", () => {
    const onpub = () => {};
    const talk = Talk.open({}, { onpub });
    const [message] = talk.hears('3d 06 0001 "a" 0100 "x"') as [Message];
    assertEquals([message.topic, message.text(), message.qos, message.retain, message.dup], ["a", "x", 2, true, true]);
    assertStrictEquals(talk.session.handlers[0], onpub);
  });

  test("[MQTT-3.3.2-3] a message that no subscription asked for is a message", () => {
    assertEquals(messages(Talk.open().hears('30 04 0001 "a" "x"')), ["a: x"]);
  });

  test("[MQTT-3.8.4-5] messages may come before SUBACK", () => {
    const talk = Talk.open();
    const onpub = () => {};
    talk.subscribe(["a"], onpub);
    talk.gets('31 04 0001 "a" "x" 90 03 0001 00');
    assertEquals(messages([talk.session.next()!]), ["a: x"]);
    assertStrictEquals(talk.session.handlers[0], onpub);
    assertEquals(talk.drain().map(show), ["subscribe a: 0"]);
  });
});

describe("session: the next connection", () => {
  const reconnect = RECONNECT;

  test("[MQTT-2.3.1-3] subscriptions, then unanswered requests with their identifiers, then messages", () => {
    const talk = Talk.open({ reconnect });
    talk.subscribed(["kept"]);
    talk.session.publish("m1", "x", 0);
    const asked = talk.subscribe(["asked"]);
    talk.session.publish("m2", "x", 0);
    const given = talk.unsubscribe(["given up"]);
    talk.session.publish("m3", "x", 0);
    talk.breaks();
    assertEquals([asked.fate, given.fate], ["pending", undefined], "UNSUBSCRIBE needs no answer any more");
    talk.redials();
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(talk.says(), ["SUBSCRIBE 4 kept", "SUBSCRIBE 2 asked", "PUBLISH m1", "PUBLISH m2", "PUBLISH m3"]);
    assertEquals(talk.hears("90 03 0004 00 90 03 0002 00").map(show), ["subscribe asked: 0"]);
  });

  test("[MQTT-3.2.2-2] a session present: the broker has the subscriptions", () => {
    const talk = Talk.open({ cleanSession: false, reconnect });
    talk.subscribed(["kept"]);
    talk.subscribe(["asked"]);
    talk.reconnect(PRESENT);
    assertEquals(talk.says(), ["SUBSCRIBE 2 asked"]);
  });

  test("[MQTT-3.2.2-3] no session present, though asked for: the subscriptions are made again", () => {
    const talk = Talk.open({ cleanSession: false, reconnect });
    talk.subscribed(["kept"]);
    talk.reconnect(CONNACK);
    assertEquals(talk.says(), ["SUBSCRIBE 2 kept"]);
  });

  test("the subscriptions made again may be lost again", () => {
    const talk = Talk.open({ reconnect });
    talk.subscribed(["a", "b"]);
    for (let i = 0; i < 4; i++) {
      talk.reconnect();
      assertEquals(talk.says(), [`SUBSCRIBE ${2 + i} a,b`]);
    }
    const call = talk.subscribe(["c"]);
    talk.reconnect();
    assertEquals(talk.says(), ["SUBSCRIBE 7 a,b", "SUBSCRIBE 6 c"]);
    assertEquals(call.fate, "pending");
  });

  test("nothing to say is nothing sent", () => {
    const talk = Talk.open({ reconnect });
    talk.reconnect();
    assertEquals(talk.sends().length, 0);
  });

  test("[MQTT-3.1.0-1] what belonged to the old connection is not sent on the new one", () => {
    const talk = Talk.open({ keepalive: 10, reconnect });
    talk.hears('32 05 0001 "a" 0003 34 05 0001 "a" 0009 62 02 0004');
    talk.now += 9500;
    talk.session.tick(talk.now);
    talk.session.publish("m", "x", 0);
    talk.reconnect();
    assertEquals(talk.says(), ["PUBLISH m"]);
  });

  test("[MQTT-3.1.2-4] [MQTT-4.1.0-1] with its session present, a QoS 2 message is still delivered once", () => {
    const talk = Talk.open({ cleanSession: false, reconnect });
    assertEquals(messages(talk.hears('34 06 0001 "a" 000a "x"')), ["a: x"]);
    talk.reconnect(PRESENT);
    assertEquals(messages(talk.hears('3c 06 0001 "a" 000a "x"')), []);
    assertEquals(hex(talk.sends()), "50 02 00 0a");
    talk.hears("62 02 000a");
    assertEquals(hex(talk.sends()), "70 02 00 0a");
  });

  test("[MQTT-4.3.3-2] an attempt that is refused does not end the session", () => {
    const talk = Talk.open({ cleanSession: false, reconnect });
    assertEquals(messages(talk.hears('34 06 0001 "a" 0007 "x"')), ["a: x"]);
    assertEquals(talk.reconnect("20 02 00 03").map(show), ["hangup", "waiting 3"]);
    talk.redials();
    talk.connect();
    talk.hears(PRESENT);
    assertEquals(messages(talk.hears('3c 06 0001 "a" 0007 "x"')), []);
  });

  test("[MQTT-3.1.2-6] a clean session knows nothing of the QoS 2 messages before it", () => {
    const talk = Talk.open({ cleanSession: true, reconnect });
    assertEquals(messages(talk.hears('34 06 0001 "a" 000a "x"')), ["a: x"]);
    talk.reconnect();
    assertEquals(messages(talk.hears('34 06 0001 "b" 000a "y"')), ["b: y"]);
    assertEquals(hex(talk.sends()), "50 02 00 0a");
  });

  test("[MQTT-3.1.2-6] nor does a session that the broker has lost", () => {
    const talk = Talk.open({ cleanSession: false, reconnect });
    talk.hears('34 06 0001 "a" 000a "x"');
    talk.reconnect(CONNACK);
    assertEquals(messages(talk.hears('34 06 0001 "b" 000a "y"')), ["b: y"]);
  });

  test("half a packet of the old connection is not the start of one on the new", () => {
    const talk = Talk.open({ reconnect });
    talk.hears('30 04 0001 "a"');
    talk.reconnect();
    assertEquals(messages(talk.hears('30 04 0001 "b" "y"')), ["b: y"]);
  });

  test("[MQTT-2.3.1-2] the identifier of a request stays in use until it is answered, or forgotten", () => {
    const talk = Talk.open({ reconnect });
    const first = talk.subscribe(["a"]);
    assertEquals(talk.says(), ["SUBSCRIBE 1 a"]);
    talk.reconnect();
    talk.subscribe(["b"]);
    assertEquals(talk.says(), ["SUBSCRIBE 1 a", "SUBSCRIBE 2 b"]);
    talk.reconnect();
    assertEquals(first.fate, "error socketclosed", "asked once more, and no more than that");
    assertEquals(talk.says(), ["SUBSCRIBE 2 b"]);
    talk.hears(suback(2, 0));
    for (let id = 3; id <= 65_535; id++) {
      talk.unsubscribe(["x"]);
      talk.sends();
      talk.hears(unsuback(id));
    }
    talk.unsubscribe(["x"]);
    assertEquals(talk.says(), ["UNSUBSCRIBE 1 x"], "the identifier is free again");
  });
});

describe("session: DISCONNECT", () => {
  test("[MQTT-3.14.4-2] nothing is heard, sent or due after it, but that the broker may close", () => {
    const talk = Talk.open();
    talk.disconnect();
    assertEquals(hex(talk.sends()), "e0 00");
    assertEquals(talk.drain().map(show), ["end"]);
    assertEquals(talk.hears('32 05 0001 "a" 0001'), []);
    assertEquals([talk.session.due, talk.sends().length], [talk.now + 1000, 0]);
    talk.breaks();
    talk.session.tick(1e9);
    assertEquals([talk.session.due, talk.sends().length], [Infinity, 0]);
  });

  test("[MQTT-3.14.4-2] what comes after it is for nobody, whatever it is", () => {
    for (const late of ["62 02 0007", "f0 00", CONNACK, '34 05 0001 "a" 0001']) {
      const talk = Talk.open();
      talk.hears("20");
      const call = talk.disconnect();
      assertEquals(hex(talk.session.takeBytes()!), "e0 00");
      assertEquals(talk.hears(late), [], "while it is in flight");
      talk.session.written(talk.attempt, talk.now);
      assertEquals(talk.drain().map(show), ["end"]);
      assertEquals(talk.hears(late), []);
      assertEquals([talk.session.buffered, talk.sends().length], [0, 0]);
      talk.breaks();
      assertEquals(call.fate, undefined);
    }
  });

  test("[MQTT-3.14.4-2] a PINGREQ that would be due after it is not counted as unsent", () => {
    const talk = Talk.open({ keepalive: 1 });
    const call = talk.disconnect();
    talk.sends();
    assertEquals(talk.pass(2000), []);
    assertEquals([talk.session.buffered, call.fate], [0, undefined]);
  });
});
