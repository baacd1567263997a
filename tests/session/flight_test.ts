/** Messages of QoS 1 and 2 that the client publishes, until they are acknowledged. */
import { assert, assertEquals, assertGreater, assertLess, assertLessOrEqual, assertThrows } from "@std/assert";
import { describe, test } from "node:test";
import { MqttError } from "../../src/errors.ts";
import type { Outgoing } from "../../src/session/outgoing.ts";
import { bytes, hex } from "../support/bytes.ts";
import { Asked, CONNACK, PRESENT, RECONNECT, show, suback, Talk } from "./driver.ts";

const reconnect = RECONNECT;
/** A session that outlives connections. */
const kept = { cleanSession: false, reconnect };

/** A message that was published. */
interface Sent extends Asked {
  outgoing: Outgoing;
}

/** Publishes to the topic a. */
function send(talk: Talk, payload: string, qos: 1 | 2 = 1): Sent {
  const call = new Asked(payload);
  const outgoing = talk.session.send({ topic: "a", message: payload, flags: qos << 1 }, call, talk.now)!;
  return Object.assign(call, { outgoing });
}

function sendAll(talk: Talk, qos: 1 | 2, ...payloads: string[]): Sent[] {
  return payloads.map((payload) => send(talk, payload, qos));
}

/** What is sent, in a few words: `QoS 1: 7 text`, with its packet identifier, `again` with DUP; `PUBREL 7`. */
function says(talk: Talk): string[] {
  return talk.packets().map((packet) => {
    if (packet.type !== "PUBLISH") return "packetId" in packet ? `${packet.type} ${packet.packetId}` : packet.type;
    const { qos, packetId, payload, dup } = packet;
    return `QoS ${qos}: ${packetId} ${new TextDecoder().decode(payload)}${dup ? " again" : ""}`;
  });
}

/** Two bytes in hexadecimal. */
const id = (packetId: number) => packetId.toString(16).padStart(4, "0");
const puback = (...ids: number[]) => ids.map((packetId) => `40 02 ${id(packetId)}`).join(" ");
const pubrec = (...ids: number[]) => ids.map((packetId) => `50 02 ${id(packetId)}`).join(" ");
const pubcomp = (...ids: number[]) => ids.map((packetId) => `70 02 ${id(packetId)}`).join(" ");

const fates = (calls: readonly Asked[]) => calls.map(({ fate }) => fate);

describe("flight: the bytes", () => {
  test("[MQTT-4.3.2-1] QoS 1: PUBLISH with an identifier and DUP 0, done with PUBACK", () => {
    const talk = Talk.open();
    const call = send(talk, "x");
    assertEquals(hex(talk.sends()), hex(bytes('32 06 0001 "a" 0001 "x"')));
    assertEquals([call.fate, talk.session.stats.unacknowledged], ["pending", 1]);
    assertEquals(talk.hears("40 02 0001").map(show), ["x: 0"]);
    assertEquals([talk.session.stats.unacknowledged, talk.session.stats.ignored], [0, 0]);
    assertEquals(talk.sends().length, 0);
  });

  test("[MQTT-4.3.3-1] QoS 2: PUBLISH, PUBREC, PUBREL, and done with PUBCOMP", () => {
    const talk = Talk.open();
    const call = send(talk, "x", 2);
    assertEquals(hex(talk.sends()), hex(bytes('34 06 0001 "a" 0001 "x"')));
    talk.hears("50 02 0001");
    assertEquals([hex(talk.sends()), call.fate], ["62 02 00 01", "pending"]);
    assertEquals(talk.hears("70 02 0001").map(show), ["x: 0"]);
    assertEquals([talk.sends().length, talk.session.stats.unacknowledged, talk.session.stats.ignored], [0, 0, 0]);
  });

  test("[MQTT-3.6.1-1] PUBREL has the flags 0010 and [MQTT-2.3.1-6] the identifier of its PUBLISH", () => {
    const talk = Talk.open();
    sendAll(talk, 2, "1", "2", "3");
    talk.sends();
    talk.hears("50 02 0003");
    assertEquals(hex(talk.sends()), "62 02 00 03");
  });

  test("[MQTT-3.3.1-1] with RETAIN, and whatever its letters and its length", () => {
    const talk = Talk.open({ maxBuffered: 1 << 20 });
    talk.session.send({ topic: "é/🌡", message: "", flags: 3 }, new Asked("retained"), talk.now);
    assertEquals(hex(talk.sends()), hex(bytes('33 0b 0007 c3a9 "/" f09f8ca1 0001')));
    for (const payload of ["é".repeat(40), "x".repeat(200), "x".repeat(20_000), "é".repeat(150_000)]) {
      talk.session.send({ topic: "t", message: payload, flags: 4 }, new Asked(""), talk.now);
      const [packet] = talk.packets();
      assert(packet?.type === "PUBLISH");
      assertEquals([packet.topic, new TextDecoder().decode(packet.payload) === payload], ["t", true]);
    }
  });

  test("the memory of the caller may change at once", () => {
    const talk = new Talk();
    const payload = bytes('"abc"');
    talk.session.send({ topic: "a", message: payload, flags: 2 }, new Asked(""), talk.now);
    payload.fill(0);
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(hex(talk.sends()), hex(bytes('32 08 0001 "a" 0001 "abc"')));
  });
});

describe("flight: acknowledgements", () => {
  test("[MQTT-4.3.2-1] a repeated PUBACK is ignored and counted", () => {
    const talk = Talk.open();
    const [one, two] = sendAll(talk, 1, "1", "2");
    talk.sends();
    assertEquals(talk.hears(puback(1, 1)).map(show), ["1: 0"]);
    assertEquals([fates([one!, two!]), talk.session.stats.ignored], [[0, "pending"], 1]);
    talk.hears(puback(2));
    assertEquals([one!.outcomes, two!.outcomes], [[0], [0]]);
  });

  test("[MQTT-4.3.3-1] a repeated PUBREC is answered by PUBREL again, a repeated PUBCOMP ignored", () => {
    const talk = Talk.open();
    const call = send(talk, "1", 2);
    talk.sends();
    talk.hears(pubrec(1, 1));
    assertEquals([says(talk), call.fate], [["PUBREL 1", "PUBREL 1"], "pending"]);
    talk.hears(pubcomp(1, 1));
    assertEquals([call.outcomes, talk.session.stats.ignored], [[0], 2]);
    talk.hears(pubrec(1));
    assertEquals([says(talk), talk.session.stats], [["PUBREL 1"], {
      ...talk.session.stats,
      unacknowledged: 0,
      ignored: 3,
    }]);
  });

  const wrong: [qos: 1 | 2, what: string, answer: string, said: string[]][] = [
    [1, "PUBREC", pubrec(1), []],
    [1, "PUBCOMP", pubcomp(1), []],
    [2, "PUBACK", puback(1), []],
    [2, "PUBCOMP before PUBREC", pubcomp(1), []],
  ];
  for (const [qos, what, answer, said] of wrong) {
    test(`[MQTT-4.3.${qos + 1}-1] ${what} is no answer to QoS ${qos}: ignored, and the message stays in flight`, () => {
      const talk = Talk.open();
      const call = send(talk, "1", qos);
      talk.sends();
      assertEquals(talk.hears(answer), []);
      assertEquals([call.fate, says(talk), talk.session.stats.ignored], ["pending", said, 1]);
      talk.hears(qos === 1 ? puback(1) : pubrec(1) + pubcomp(1));
      assertEquals(call.fate, 0);
    });
  }

  test("[MQTT-4.3.3-1] PUBACK after PUBREC is ignored", () => {
    const talk = Talk.open();
    const call = send(talk, "1", 2);
    talk.sends();
    talk.hears(pubrec(1) + puback(1));
    assertEquals([call.fate, talk.session.stats.ignored], ["pending", 1]);
    talk.hears(pubcomp(1));
    assertEquals(call.fate, 0);
  });

  test("those of a SUBSCRIBE's identifier are for nothing, and SUBACK for that of a message is a mistake", () => {
    const talk = Talk.open();
    const asked = talk.subscribe(["s"]);
    const call = send(talk, "1");
    assertEquals(says(talk), ["SUBSCRIBE 1", "QoS 1: 2 1"]);
    talk.hears(puback(1) + pubcomp(1));
    assertEquals([asked.fate, call.fate, talk.session.stats.ignored], ["pending", "pending", 2]);
    const error = talk.fails("90 03 0002 00");
    assert(error.message.endsWith("[MQTT-2.3.1-7]"), error.message);
  });

  test("in any order", () => {
    const talk = Talk.open();
    const calls = sendAll(talk, 1, "1", "2", "3");
    talk.sends();
    talk.hears(puback(3, 1));
    assertEquals(fates(calls), [0, "pending", 0]);
  });

  test("[MQTT-4.6.0-4] PUBRELs go in the order of the PUBRECs, also on the next connections", () => {
    const talk = Talk.open(kept);
    sendAll(talk, 2, "1", "2", "3");
    talk.sends();
    talk.hears(pubrec(2, 3, 1));
    assertEquals(says(talk), ["PUBREL 2", "PUBREL 3", "PUBREL 1"]);
    for (let i = 0; i < 2; i++) {
      talk.reconnect(PRESENT);
      assertEquals(says(talk), ["PUBREL 2", "PUBREL 3", "PUBREL 1"]);
    }
    talk.hears(pubcomp(3));
    talk.reconnect(PRESENT);
    assertEquals(says(talk), ["PUBREL 2", "PUBREL 1"]);
  });

  test("a broker that acknowledges what it likes, and never what it should, makes nothing grow", () => {
    const talk = Talk.open({ keepalive: 0 });
    const calls = sendAll(talk, 2, "1", "2");
    talk.sends();
    for (let i = 0; i < 1000; i++) {
      talk.hears(puback(1, 2, i + 3) + pubcomp(1, i + 3));
      assertEquals(talk.sends().length, 0);
    }
    assertEquals([fates(calls), talk.session.stats.ignored], [["pending", "pending"], 5000]);
  });
});

describe("flight: the window", () => {
  test("maxInflight messages are sent and not acknowledged, the others wait in order", () => {
    const talk = Talk.open({ maxInflight: 3 });
    const calls = sendAll(talk, 1, "1", "2", "3", "4", "5", "6");
    assertEquals(says(talk), ["QoS 1: 1 1", "QoS 1: 2 2", "QoS 1: 3 3"]);
    assertEquals(talk.session.stats.unacknowledged, 6);
    talk.hears(puback(2));
    assertEquals(says(talk), ["QoS 1: 4 4"]);
    talk.hears(puback(1, 4, 9));
    assertEquals(says(talk), ["QoS 1: 5 5", "QoS 1: 6 6"], "what is for nothing makes no room");
    talk.hears(puback(3, 5, 6));
    assertEquals(fates(calls), [0, 0, 0, 0, 0, 0]);
  });

  test("a message of QoS 2 is in it until PUBCOMP", () => {
    const talk = Talk.open({ maxInflight: 2, maxInflightQoS2: 2 });
    sendAll(talk, 2, "1", "2", "3");
    assertEquals(says(talk), ["QoS 2: 1 1", "QoS 2: 2 2"]);
    talk.hears(pubrec(1, 2));
    assertEquals(says(talk), ["PUBREL 1", "PUBREL 2"]);
    talk.hears(pubcomp(2));
    assertEquals(says(talk), ["QoS 2: 3 3"]);
  });

  test("both kinds have one window, and QoS 2 a narrower one in it", () => {
    const talk = Talk.open({ maxInflight: 4, maxInflightQoS2: 2 });
    sendAll(talk, 2, "a", "b", "c");
    sendAll(talk, 1, "1", "2", "3");
    assertEquals(says(talk), ["QoS 2: 1 a", "QoS 2: 2 b", "QoS 1: 3 1", "QoS 1: 4 2"], "QoS 1 does not wait for it");
    talk.hears(puback(3, 4));
    assertEquals(says(talk), ["QoS 1: 5 3"]);
    talk.hears(pubrec(1) + pubcomp(1));
    assertEquals(says(talk), ["PUBREL 1", "QoS 2: 6 c"]);
  });

  test("QoS 0 and requests overtake what waits for it", () => {
    const talk = Talk.open({ maxInflight: 1 });
    sendAll(talk, 1, "1", "2");
    talk.session.publish("a", "0", 0);
    talk.subscribe(["s"]);
    assertEquals(says(talk).sort(), ["QoS 0: 0 0", "QoS 1: 2 1", "SUBSCRIBE 1"].sort());
    talk.hears(puback(2));
    assertEquals(says(talk), ["QoS 1: 3 2"]);
  });

  test("messages sent again obey it, and those that follow", () => {
    const talk = Talk.open({ ...kept, maxInflight: 3, maxInflightQoS2: 2 });
    sendAll(talk, 2, "a", "b", "c");
    sendAll(talk, 1, "1", "2", "3");
    assertEquals(says(talk).length, 3);
    talk.hears(pubrec(1));
    assertEquals(says(talk), ["PUBREL 1"]);
    for (let i = 0; i < 3; i++) {
      talk.reconnect(PRESENT);
      assertEquals(says(talk), ["PUBREL 1", "QoS 2: 2 b again", "QoS 1: 3 1 again"]);
    }
    talk.hears(pubcomp(1));
    assertEquals(says(talk), ["QoS 2: 4 c"]);
    talk.hears(puback(3));
    assertEquals(says(talk), ["QoS 1: 5 2"]);
  });

  test("what the broker has forgotten obeys it when it is sent anew", () => {
    const talk = Talk.open({ ...kept, maxInflight: 2, maxInflightQoS2: 2, sessionLost: "resend" });
    sendAll(talk, 2, "a", "b", "c");
    talk.sends();
    talk.hears(pubrec(1, 2));
    talk.sends();
    talk.reconnect(CONNACK);
    assertEquals(says(talk), ["QoS 2: 3 a", "QoS 2: 4 b"]);
  });

  test("the output never has much more than is written at once, whatever the window", () => {
    const talk = Talk.open({ maxInflight: 65_535, maxBuffered: 1 << 24 });
    const payload = "x".repeat(10_000);
    for (let i = 0; i < 1000; i++) send(talk, payload);
    const first = talk.session.takeBytes()!;
    assertLess(first.length + talk.session.buffered, 1 << 20);
    talk.session.written(talk.attempt, talk.now);
    assertEquals(first.length + talk.sends().length, 1000 * (10_000 + 3 + 3 + 2), "and all are sent");
  });
});

describe("flight: order", () => {
  test("[MQTT-4.6.0-1] messages are sent again in the order in which they were published, each QoS, however often", () => {
    const talk = Talk.open({ ...kept, maxInflight: 6, maxInflightQoS2: 6 });
    sendAll(talk, 1, "1", "2", "3");
    sendAll(talk, 2, "a", "b", "c");
    talk.sends();
    talk.hears(puback(2) + pubrec(5));
    talk.sends();
    talk.reconnect(PRESENT);
    assertEquals(says(talk), [
      "PUBREL 5",
      "QoS 1: 1 1 again",
      "QoS 1: 3 3 again",
      "QoS 2: 4 a again",
      "QoS 2: 6 c again",
    ]);
    talk.reconnect(PRESENT);
    send(talk, "4");
    const all = says(talk);
    assertEquals(all.slice(1), [
      "QoS 1: 1 1 again",
      "QoS 1: 3 3 again",
      "QoS 2: 4 a again",
      "QoS 2: 6 c again",
      "QoS 1: 7 4",
    ]);
  });

  test("[MQTT-4.6.0-1] a connection that is lost between them changes nothing", () => {
    const talk = Talk.open({ ...kept, maxInflight: 2 });
    sendAll(talk, 1, "1", "2", "3", "4");
    assertEquals(says(talk), ["QoS 1: 1 1", "QoS 1: 2 2"]);
    talk.reconnect(PRESENT);
    // The first is taken, and nothing else, when the connection is lost.
    talk.session.takeBytes();
    talk.reconnect(PRESENT);
    assertEquals(says(talk), ["QoS 1: 1 1 again", "QoS 1: 2 2 again"]);
    talk.hears(puback(1));
    assertEquals(says(talk), ["QoS 1: 3 3"]);
    talk.reconnect(PRESENT);
    assertEquals(says(talk), ["QoS 1: 2 2 again", "QoS 1: 3 3 again"]);
    talk.hears(puback(2, 3));
    assertEquals(says(talk), ["QoS 1: 4 4"]);
  });

  test("what was sent anew is in order, too, whatever the order of the PUBRECs", () => {
    const talk = Talk.open({ ...kept, sessionLost: "resend" });
    sendAll(talk, 2, "a", "b", "c", "d");
    talk.sends();
    talk.hears(pubrec(3, 2));
    talk.sends();
    talk.reconnect(CONNACK);
    assertEquals(says(talk), ["QoS 2: 5 a", "QoS 2: 6 b", "QoS 2: 7 c", "QoS 2: 8 d"]);
  });
});

describe("flight: packet identifiers", () => {
  test("[MQTT-2.3.1-1] [MQTT-2.3.1-2] none is 0, or in use by a message or a request", () => {
    const talk = Talk.open({ keepalive: 0, maxInflight: 10, maxInflightQoS2: 10 });
    const asked = talk.subscribe(["s"]);
    sendAll(talk, 2, "a", "b", "c");
    assertEquals(says(talk), ["SUBSCRIBE 1", "QoS 2: 2 a", "QoS 2: 3 b", "QoS 2: 4 c"]);
    talk.hears(pubrec(3));
    talk.sends();
    for (let i = 5; i <= 65_535; i++) {
      send(talk, "x");
      assertEquals(says(talk), [`QoS 1: ${i} x`]);
      talk.hears(puback(i));
    }
    sendAll(talk, 1, "x", "y");
    assertEquals(says(talk), ["QoS 1: 5 x", "QoS 1: 6 y"], "1 to 4 are in use");
    talk.hears(suback(1, 0));
    assertEquals(asked.fate, 0);
  });

  test("[MQTT-2.3.1-3] a packet sent again keeps its identifier", () => {
    const talk = Talk.open(kept);
    send(talk, "x");
    assertEquals(hex(talk.sends()), hex(bytes('32 06 0001 "a" 0001 "x"')));
    talk.reconnect(PRESENT);
    assertEquals(hex(talk.sends()), hex(bytes('3a 06 0001 "a" 0001 "x"')));
  });

  test("what is refused takes none", () => {
    const talk = Talk.open({ maxBuffered: 100 });
    const call = new Asked("");
    assertThrows(() => talk.session.send({ topic: "a/#", message: "x", flags: 2 }, call, talk.now), TypeError);
    assertThrows(() => talk.session.send({ topic: "", message: "x", flags: 2 }, call, talk.now), TypeError);
    assertThrows(
      () => talk.session.send({ topic: "a", message: 5 as unknown as string, flags: 2 }, call, talk.now),
      TypeError,
    );
    assertThrows(
      () => talk.session.send({ topic: "a".repeat(65_536), message: "x", flags: 4 }, call, talk.now),
      RangeError,
    );
    assertThrows(
      () => talk.session.send({ topic: "a", message: "x".repeat(100), flags: 4 }, call, talk.now),
      MqttError,
      "maxBuffered",
    );
    assertEquals([call.fate, talk.session.stats.unacknowledged], ["pending", 0]);
    send(talk, "x");
    assertEquals(says(talk), ["QoS 1: 1 x"]);
  });

  test("when all 65,535 are in use, messages wait and requests overflow", () => {
    const talk = Talk.open({ keepalive: 0, maxInflight: 65_535 });
    for (let i = 0; i < 65_535; i++) send(talk, "x");
    assertEquals(says(talk).length, 65_535);
    assertThrows(() => talk.subscribe(["s"]), MqttError, "65,535");
    const last = send(talk, "last");
    assertEquals(says(talk), []);
    talk.hears(puback(77));
    assertEquals(says(talk), ["QoS 1: 77 last"]);
    talk.hears(puback(77));
    assertEquals(last.fate, 0);
    talk.subscribe(["s"]);
    assertEquals(says(talk), ["SUBSCRIBE 77"]);
  });
});

describe("flight: the next connection", () => {
  test("[MQTT-4.4.0-1] [MQTT-3.3.1-1] session present: DUP for what was sent, not for what never was", () => {
    const talk = Talk.open({ ...kept, maxInflight: 2 });
    const calls = sendAll(talk, 1, "1", "2", "3");
    talk.sends();
    talk.reconnect(PRESENT);
    assertEquals(says(talk), ["QoS 1: 1 1 again", "QoS 1: 2 2 again"]);
    talk.hears(puback(1, 2));
    assertEquals(says(talk), ["QoS 1: 3 3"]);
    talk.hears(puback(3));
    assertEquals(fates(calls), [0, 0, 0]);
  });

  test("[MQTT-4.4.0-1] session present, after PUBREC: PUBREL, and never PUBLISH again", () => {
    const talk = Talk.open(kept);
    const call = send(talk, "x", 2);
    talk.sends();
    talk.hears(pubrec(1));
    // PUBREL was not written when the connection was lost.
    talk.reconnect(PRESENT);
    assertEquals(says(talk), ["PUBREL 1"]);
    talk.reconnect(PRESENT);
    assertEquals(says(talk), ["PUBREL 1"]);
    talk.hears(pubcomp(1));
    assertEquals(call.fate, 0);
    talk.reconnect(PRESENT);
    assertEquals(says(talk), []);
  });

  const rows: [
    qos: 1 | 2,
    received: boolean,
    option: "resend" | "reject" | undefined,
    becomes: "sent anew" | "lost",
  ][] = [
    [1, false, undefined, "sent anew"],
    [1, false, "resend", "sent anew"],
    [1, false, "reject", "lost"],
    [2, false, undefined, "lost"],
    [2, false, "resend", "sent anew"],
    [2, false, "reject", "lost"],
    [2, true, undefined, "lost"],
    [2, true, "resend", "sent anew"],
    [2, true, "reject", "lost"],
  ];
  for (const cleanSession of [true, false]) {
    for (const [qos, received, sessionLost, becomes] of rows) {
      const when = qos === 1 ? "" : received ? " after PUBREC" : " before PUBREC";
      const how = `${cleanSession ? "clean session" : "session not present"}, sessionLost ${sessionLost}`;
      test(`[MQTT-3.1.2-6] ${how}: QoS ${qos}${when} is ${becomes}, and what was never sent is sent`, () => {
        const talk = Talk.open({ cleanSession, reconnect, maxInflight: 1, maxInflightQoS2: 1, sessionLost });
        const [first, waiting] = sendAll(talk, qos, "1", "2");
        talk.sends();
        if (received) talk.hears(pubrec(1));
        talk.reconnect(CONNACK);
        const finish = (packetId: number) =>
          talk.hears(qos === 1 ? puback(packetId) : pubrec(packetId) + pubcomp(packetId));
        if (becomes === "sent anew") {
          assertEquals(says(talk), [`QoS ${qos}: 2 1`], "with another identifier, without DUP");
          finish(2);
          assertEquals(first!.fate, 0);
        }
        assertEquals(first!.fate, becomes === "lost" ? "error sessionlost" : 0);
        const packetId = becomes === "lost" ? 2 : 3;
        assertEquals(says(talk).filter((said) => !said.startsWith("PUBREL")), [`QoS ${qos}: ${packetId} 2`]);
        finish(packetId);
        assertEquals([waiting!.fate, talk.session.stats.unacknowledged], [0, 0]);
      });
    }
  }

  test("sent anew, it is sent again with DUP when that session is kept", () => {
    const talk = Talk.open(kept);
    send(talk, "x");
    talk.sends();
    talk.reconnect(CONNACK);
    assertEquals(says(talk), ["QoS 1: 2 x"]);
    talk.reconnect(PRESENT);
    assertEquals(says(talk), ["QoS 1: 2 x again"]);
    talk.reconnect(CONNACK);
    assertEquals(says(talk), ["QoS 1: 3 x"]);
  });

  test("an acknowledgement may come before the message is sent again: then it is not", () => {
    const talk = Talk.open({ ...kept, maxInflight: 3, maxInflightQoS2: 3 });
    const one = send(talk, "1"), two = send(talk, "2", 2), three = send(talk, "3"), four = send(talk, "4");
    talk.sends();
    talk.reconnect(PRESENT);
    talk.hears(puback(1) + pubrec(2));
    assertEquals([one.fate, two.fate], [0, "pending"]);
    assertEquals(says(talk), ["PUBREL 2", "QoS 1: 3 3 again", "QoS 1: 4 4"]);
    talk.hears(pubcomp(2) + puback(3, 4));
    assertEquals(fates([one, two, three, four]), [0, 0, 0, 0]);
  });

  test("what was acknowledged before it was sent again is not sent when the session is lost", () => {
    const talk = Talk.open({ ...kept, maxInflight: 1, maxInflightQoS2: 1, sessionLost: "resend" });
    const wide = sendAll(talk, 2, "a");
    talk.sends();
    talk.reconnect(PRESENT);
    talk.hears(pubrec(1));
    assertEquals(says(talk), ["PUBREL 1"]);
    send(talk, "b", 2);
    talk.reconnect(CONNACK);
    assertEquals(says(talk), ["QoS 2: 2 a"]);
    talk.hears(pubrec(2) + pubcomp(2));
    assertEquals([fates(wide), says(talk)], [[0], ["PUBREL 2", "QoS 2: 3 b"]]);
  });

  test("published while there is no connection, it waits for one", () => {
    const talk = new Talk(kept);
    const early = send(talk, "early", 2);
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(says(talk), ["QoS 2: 1 early"]);
    talk.breaks();
    const late = send(talk, "late");
    talk.redials();
    assertEquals(talk.connect()[0], 0x10);
    assertEquals(says(talk), [], "not before CONNACK");
    talk.hears(PRESENT);
    assertEquals(says(talk), ["QoS 2: 1 early again", "QoS 1: 2 late"]);
    talk.hears(puback(2) + pubrec(1) + pubcomp(1));
    assertEquals(fates([early, late]), [0, 0]);
  });

  test("half of a write that was taken does not count: all of it is sent again", () => {
    const talk = Talk.open(kept);
    sendAll(talk, 1, "1", "2");
    talk.session.takeBytes();
    send(talk, "3");
    talk.reconnect(PRESENT);
    assertEquals(says(talk), ["QoS 1: 1 1 again", "QoS 1: 2 2 again", "QoS 1: 3 3"]);
  });

  test("a copy that waited in the output is not sent on another connection besides", () => {
    const talk = Talk.open(kept);
    talk.session.publish("a", "0", 0);
    talk.session.takeBytes(); // in flight
    sendAll(talk, 1, "1", "2");
    talk.session.publish("a", "00", 0);
    assertEquals(talk.session.takeBytes(), undefined);
    talk.reconnect(PRESENT);
    assertEquals(says(talk).filter((said) => said.startsWith("QoS 1")), ["QoS 1: 1 1", "QoS 1: 2 2"]);
  });
});

describe("flight: withdrawal", () => {
  const error = new MqttError("disconnect", "taken back");

  test("a message that was not sent is taken back, and the others move up", () => {
    const talk = Talk.open({ maxInflight: 1 });
    const [one, two, three] = sendAll(talk, 1, "1", "2", "3");
    talk.sends();
    talk.session.withdraw(two!.outgoing, error);
    assertEquals([talk.drain().map(show), talk.session.stats.unacknowledged], [["2: error disconnect"], 2]);
    talk.session.withdraw(two!.outgoing, error);
    talk.hears(puback(1));
    assertEquals(says(talk), ["QoS 1: 2 3"]);
    talk.hears(puback(2));
    assertEquals([one!, two!, three!].map(({ outcomes }) => outcomes.length), [1, 1, 1]);
  });

  test("one that was sent stays, on the next connection and in the next session, too", () => {
    const talk = Talk.open({ ...kept, sessionLost: "resend" });
    const calls = [send(talk, "1"), send(talk, "2", 2)];
    const withdraw = () => {
      for (const { outgoing } of calls) talk.session.withdraw(outgoing, error);
      talk.drain();
      assertEquals(fates(calls), ["pending", "pending"]);
    };
    talk.sends();
    withdraw();
    talk.breaks();
    withdraw();
    talk.redials();
    talk.connect();
    talk.hears(PRESENT);
    withdraw();
    assertEquals(says(talk).length, 2);
    talk.hears(pubrec(2));
    talk.breaks();
    withdraw();
    talk.redials();
    talk.connect();
    talk.hears(CONNACK);
    withdraw();
    assertEquals(says(talk), ["QoS 1: 3 1", "QoS 2: 4 2"]);
    talk.hears(puback(3) + pubrec(4) + pubcomp(4));
    withdrawn();
    function withdrawn() {
      for (const { outgoing } of calls) talk.session.withdraw(outgoing, error);
      assertEquals(calls.map(({ outcomes }) => outcomes), [[0], [0]], "done is done");
    }
  });

  test("a million that are taken back make nothing grow, and leave their room", () => {
    const talk = Talk.open({ maxInflight: 1, maxBuffered: 10_000 });
    const first = send(talk, "first");
    talk.sends();
    const last = send(talk, "last", 2);
    for (let i = 0; i < 200_000; i++) {
      const { outgoing } = send(talk, "x".repeat(1000), i & 1 ? 1 : 2);
      talk.session.withdraw(outgoing, error);
      if (i % 1000 === 0) talk.drain();
    }
    talk.drain();
    assertEquals(talk.session.stats.unacknowledged, 2);
    talk.hears(puback(1));
    assertEquals(says(talk), ["QoS 2: 2 last"]);
    assertEquals(fates([first, last]), [0, "pending"]);
  });

  test("flush() does not wait for it, nor fail with it", () => {
    const talk = Talk.open({ maxInflight: 1 });
    sendAll(talk, 1, "1");
    const taken = send(talk, "2");
    talk.sends();
    const flush = new Asked("flush");
    talk.session.flush(flush, talk.now);
    talk.sends();
    talk.session.withdraw(taken.outgoing, error);
    talk.hears("d0 00");
    assertEquals(flush.fate, "pending");
    talk.hears(puback(1));
    assertEquals(flush.fate, undefined);
  });
});

describe("flight: room", () => {
  test("beyond maxBuffered a publish overflows, and nothing is dropped", () => {
    const talk = new Talk({ maxBuffered: 1000 });
    const calls: Asked[] = [];
    // 100 bytes each
    for (let i = 0; i < 10; i++) calls.push(send(talk, `${i}`.padEnd(93)));
    const error = assertThrows(() => send(talk, "x"), MqttError);
    assertEquals([error.code, talk.session.stats.unacknowledged], ["overflow", 10]);
    talk.connect();
    talk.hears(CONNACK);
    assertThrows(() => send(talk, "x"), MqttError, "maxBuffered");
    assertEquals(says(talk).length, 10);
    assertThrows(() => send(talk, "x"), MqttError, "maxBuffered", "sent, and not acknowledged");
    talk.hears(puback(4));
    const after = send(talk, "x".repeat(93));
    assertThrows(() => send(talk, "x"), MqttError);
    assertEquals(says(talk).length, 1);
    talk.hears(puback(1, 2, 3, 5, 6, 7, 8, 9, 10, 11));
    assertEquals(fates([...calls, after]), new Array(11).fill(0));
  });

  test("QoS 2 keeps its room until PUBCOMP", () => {
    const talk = Talk.open({ maxBuffered: 100 });
    send(talk, "x".repeat(93), 2);
    talk.sends();
    talk.hears(pubrec(1));
    talk.sends();
    assertThrows(() => send(talk, "x"), MqttError, "maxBuffered");
    talk.hears(pubcomp(1));
    send(talk, "x".repeat(93));
  });

  test("a window full of messages is sent again although maxBuffered is used up by others", () => {
    const talk = Talk.open({ ...kept, maxBuffered: 1000 });
    for (let i = 0; i < 10; i++) send(talk, `${i}`.padEnd(93));
    talk.sends();
    talk.breaks();
    for (let i = 0; i < 10; i++) talk.session.publish("a", `${i}`.padEnd(95), 0);
    talk.redials();
    talk.connect();
    talk.hears(PRESENT);
    assertEquals(says(talk).length, 20);
  });
});

describe("flight: flush", () => {
  const flush = (talk: Talk) => {
    const call = new Asked("flush");
    talk.session.flush(call, talk.now);
    return call;
  };

  test("waits for the acknowledgements of what was published before, and not for later ones", () => {
    const talk = Talk.open();
    sendAll(talk, 1, "1", "2");
    send(talk, "3", 2);
    const call = flush(talk);
    send(talk, "later");
    talk.sends();
    talk.hears("d0 00" + puback(2) + pubrec(3));
    talk.hears(puback(1));
    assertEquals(call.fate, "pending");
    talk.hears(pubcomp(3));
    assertEquals(call.fate, undefined);
  });

  test("and for the answer to its PINGREQ", () => {
    const talk = Talk.open();
    talk.session.publish("a", "0", 0);
    send(talk, "1");
    const call = flush(talk);
    talk.sends();
    talk.hears(puback(1));
    assertEquals(call.fate, "pending");
    talk.hears("d0 00");
    assertEquals(call.fate, undefined);
  });

  test("over reconnects: nothing of QoS 1 and 2 is lost with a connection", () => {
    const talk = Talk.open(kept);
    send(talk, "1");
    send(talk, "2", 2);
    const call = flush(talk);
    talk.sends();
    talk.hears("d0 00");
    talk.reconnect(PRESENT);
    talk.sends();
    talk.hears(puback(1) + pubrec(2));
    talk.reconnect(PRESENT);
    assertEquals([says(talk), call.fate], [["PUBREL 2"], "pending"]);
    talk.hears(pubcomp(2));
    assertEquals(call.fate, undefined);
  });

  test("its PINGREQ lost with the connection, too: what it stood for has nothing to lose", () => {
    const talk = Talk.open(kept);
    send(talk, "1");
    const call = flush(talk);
    talk.sends();
    talk.reconnect(PRESENT);
    assertEquals([says(talk), call.fate], [["QoS 1: 1 1 again"], "pending"]);
    talk.hears(puback(1));
    assertEquals(call.fate, undefined);
  });

  test("fails with the session", () => {
    const talk = Talk.open(kept);
    send(talk, "1", 2);
    const call = flush(talk), none = new Asked("later");
    talk.sends();
    talk.hears("d0 00");
    talk.breaks();
    talk.redials();
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(call.fate, "error sessionlost");
    talk.session.flush(none, talk.now);
    talk.sends();
    talk.hears("d0 00");
    assertEquals(none.fate, undefined, "a later one has nothing to do with it");
  });

  test("fails when not a byte comes for `timeout`, and with the client", () => {
    const talk = Talk.open({ keepalive: 0 });
    send(talk, "1");
    const call = flush(talk);
    talk.sends();
    talk.now += 9000;
    talk.hears("d0 00");
    talk.pass(9999);
    assertEquals(call.fate, "pending");
    talk.pass(2000);
    assertEquals(call.fate, "error timeout");
    const other = flush(talk);
    talk.sends();
    talk.hears("d0 00");
    talk.breaks();
    assertEquals(other.fate, "error socketclosed");
  });
});

describe("flight: the end", () => {
  test("every publish settles with the end of the client", () => {
    const talk = Talk.open({ maxInflight: 3, maxInflightQoS2: 3 });
    const calls = [send(talk, "1"), send(talk, "2", 2), send(talk, "3", 2), send(talk, "4"), send(talk, "5", 2)];
    talk.sends();
    talk.hears(pubrec(3));
    talk.breaks();
    assertEquals(fates(calls), new Array(5).fill("error socketclosed"));
    assertThrows(() => send(talk, "x"), MqttError);
    for (const { outgoing } of calls) talk.session.withdraw(outgoing, new MqttError("disconnect", "late"));
    talk.drain();
    assertEquals(calls.map(({ outcomes }) => outcomes.length), [1, 1, 1, 1, 1]);
    assertEquals(talk.session.due, Infinity);
  });

  test("disconnect() sends what the window has room for, then DISCONNECT", () => {
    const talk = Talk.open({ maxInflight: 3 });
    const calls = sendAll(talk, 1, "1", "2", "3", "4");
    const left = talk.disconnect();
    assertEquals(says(talk), ["QoS 1: 1 1", "QoS 1: 2 2", "QoS 1: 3 3", "DISCONNECT"]);
    assertThrows(() => send(talk, "x"), MqttError);
    talk.breaks();
    assertEquals([left.fate, fates(calls)], [undefined, new Array(4).fill("error disconnect")]);
  });

  test("an acknowledgement that comes while it sends is heard, and makes room", () => {
    const talk = Talk.open({ maxInflight: 1 });
    const calls = sendAll(talk, 1, "1", "2");
    talk.session.takeBytes();
    talk.disconnect();
    talk.hears(puback(1));
    talk.session.written(talk.attempt, talk.now);
    assertEquals(says(talk), ["QoS 1: 2 2", "DISCONNECT"]);
    assertEquals(calls[0]!.fate, 0);
  });
});

describe("flight: a session that a new process takes over", () => {
  /** The first connection of a process, whose session the broker has. */
  function takeOver(settings: Parameters<typeof Talk.open>[0] = {}): Talk {
    const talk = new Talk({ ...kept, maxInflightQoS2: 3, ...settings });
    talk.connect();
    talk.hears(PRESENT);
    return talk;
  }

  test("[MQTT-2.3.1-2] the broker is made to free each identifier before QoS 2 uses it", () => {
    const talk = takeOver();
    assertEquals(says(talk), [], "nothing before it is needed");
    const calls = sendAll(talk, 2, "a", "b", "c", "d");
    assertEquals(says(talk), ["PUBREL 1", "PUBREL 2", "PUBREL 3"]);
    talk.hears(pubcomp(2));
    assertEquals(says(talk), ["QoS 2: 2 a"]);
    talk.hears(pubcomp(1, 3));
    assertEquals(says(talk), ["QoS 2: 1 b", "QoS 2: 3 c"]);
    assertEquals(talk.session.stats.ignored, 0);
    talk.hears(pubrec(2) + pubcomp(2));
    assertEquals(says(talk), ["PUBREL 2", "QoS 2: 2 d"], "and it uses those from then on");
    talk.hears(pubrec(1, 3, 2) + pubcomp(1, 3, 2));
    assertEquals(fates(calls), [0, 0, 0, 0]);
  });

  test("QoS 1 and requests need no such thing, and take none of those", () => {
    const talk = takeOver();
    send(talk, "1");
    assertEquals(says(talk), ["QoS 1: 1 1"]);
    send(talk, "a", 2);
    assertEquals(says(talk), ["PUBREL 2", "PUBREL 3", "PUBREL 4"]);
    send(talk, "2");
    talk.subscribe(["s"]);
    assertEquals(says(talk).sort(), ["QoS 1: 6 2", "SUBSCRIBE 5"].sort(), "nor wait until a broker has answered");
    talk.hears(puback(1, 6) + pubcomp(4));
    assertEquals(says(talk), ["QoS 2: 4 a"]);
  });

  test("on the next connection it asks again for those without an answer, and keeps those that it has", () => {
    const talk = takeOver();
    const calls = sendAll(talk, 2, "a", "b");
    talk.sends();
    talk.hears(pubcomp(3));
    assertEquals(says(talk), ["QoS 2: 3 a"]);
    talk.reconnect(PRESENT);
    assertEquals(says(talk), ["PUBREL 1", "PUBREL 2", "QoS 2: 3 a again"]);
    talk.hears(pubcomp(1, 2) + pubrec(3) + pubcomp(3));
    assertEquals(says(talk), ["PUBREL 3", "QoS 2: 1 b"]);
    talk.hears(pubrec(1) + pubcomp(1));
    assertEquals(fates(calls), [0, 0]);
  });

  test("a session that is lost, or was never there, holds none", () => {
    const talk = takeOver({ sessionLost: "resend" });
    send(talk, "a", 2);
    assertEquals(says(talk).length, 3);
    talk.reconnect(CONNACK);
    assertEquals(says(talk), ["QoS 2: 4 a"]);
    const fresh = Talk.open(kept);
    send(fresh, "a", 2);
    assertEquals(says(fresh), ["QoS 2: 1 a"]);
    fresh.reconnect(PRESENT);
    send(fresh, "b", 2);
    assertEquals(says(fresh), ["QoS 2: 1 a again", "QoS 2: 2 b"], "its own session");
  });

  test("published before the first connection, it waits for that, too", () => {
    const talk = new Talk({ ...kept, maxInflightQoS2: 1 });
    send(talk, "a", 2);
    talk.connect();
    talk.hears(PRESENT);
    assertEquals(says(talk), ["PUBREL 1"]);
    talk.hears(pubcomp(1));
    assertEquals(says(talk), ["QoS 2: 1 a"]);
  });

  test("a PUBCOMP that was not asked for, or comes twice, frees nothing", () => {
    const talk = takeOver();
    send(talk, "a", 2);
    talk.sends();
    talk.hears(pubcomp(9, 9));
    assertEquals([says(talk), talk.session.stats.ignored], [[], 2]);
    talk.hears(pubcomp(1, 1));
    assertEquals([says(talk), talk.session.stats.ignored], [["QoS 2: 1 a"], 3]);
  });
});

describe("flight: memory", () => {
  test("messages that stay where thousands have come and gone do not keep the memory of those", () => {
    const talk = new Talk({ keepalive: 0, reconnect, maxInflight: 2000, maxInflightQoS2: 1000, cleanSession: false });
    const stay: Sent[] = [];
    const rounds = (count: number) => {
      for (let i = 0; i < count; i++) {
        stay.push(send(talk, `${stay.length}`, i & 1 ? 1 : 2));
        const go = Array.from({ length: 7 }, () => send(talk, "x".repeat(10_000), i & 2 ? 1 : 2));
        for (const { outgoing } of go) talk.session.withdraw(outgoing, new MqttError("disconnect", "taken back"));
        talk.drain();
      }
    };
    rounds(300);
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(says(talk).length, 300);
    talk.hears(Array.from({ length: 50 }, (_, i) => pubrec(2 * i + 1)).join(" "));
    talk.sends();
    talk.breaks();
    rounds(300);
    const pages = new Set(stay.map(({ outgoing }) => outgoing.page));
    const memory = [...pages].reduce((sum, page) => sum + page.bytes.length, 0);
    assertLess(memory, 2 << 20, "of 600 blocks of 64 KiB");
    talk.redials();
    talk.connect();
    talk.hears(PRESENT);
    const texts = says(talk).filter((said) => said.startsWith("QoS")).map((said) => said.split(" ")[3]!);
    assertEquals(
      texts.map(Number).sort((a, b) => a - b),
      stay.flatMap(({ fate }, i) => i % 2 === 0 && i < 100 ? [] : fate === "pending" ? [i] : []),
    );
  });

  test("a broker that never acknowledges: no more than maxBuffered is kept, and all settles at the end", () => {
    const talk = Talk.open({ keepalive: 0, maxBuffered: 100_000 });
    const calls: Asked[] = [];
    let overflows = 0;
    for (let i = 0; i < 10_000; i++) {
      try {
        calls.push(send(talk, "x".repeat(93), i & 1 ? 1 : 2));
      } catch (error) {
        assertEquals((error as MqttError).code, "overflow");
        overflows++;
      }
      if (i % 100 === 0) talk.sends();
    }
    assertEquals([calls.length, overflows], [1000, 9000]);
    assertLessOrEqual(talk.session.buffered, 100_000);
    assertGreater(talk.session.due, talk.now, "nothing is due");
    talk.breaks();
    assertEquals(new Set(fates(calls)), new Set(["error socketclosed"]));
  });
});
