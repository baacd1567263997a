/** The statements of MQTT 5 that a session keeps by what it sends and answers, without a broker. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, test } from "node:test";
import { MqttError } from "../../src/errors.ts";
import type { Publication } from "../../src/session/outgoing.ts";
import {
  type Connect,
  decodeNaive,
  encodeNaive5,
  NaiveConnection,
  type NaivePacket,
  type Publish,
} from "../support/naive.ts";
import { hex } from "../support/bytes.ts";
import type { NaiveProperty } from "../support/naive_properties.ts";
import { Asked, connack5, Desk, RECONNECT, Talk } from "./driver.ts";

const kept = { version: 5, cleanSession: false, sessionExpiry: 60, reconnect: RECONNECT } as const;
const RECEIVE_MAXIMUM = 33, ALIASES = 34, METHOD = 21, DATA = 22, ASSIGNED = 18, LARGEST = 39;
const auth = { method: "M", data: undefined };

function send(talk: Talk, message: string, qos: 0 | 1 | 2, more: Partial<Publication> = {}): Asked {
  const call = new Asked(message);
  talk.session.send({ topic: "a", message, flags: qos << 1, ...more }, call, talk.now);
  return call;
}

const acknowledged = (type: "PUBACK" | "PUBREC" | "PUBREL" | "PUBCOMP", packetId: number, code = 0) =>
  encodeNaive5({ type, packetId, code, properties: [] });

function message(payload: string, qos: number, packetId: number, dup = false): Uint8Array {
  const what = { topic: "a", payload: new TextEncoder().encode(payload), qos, retain: false, dup, packetId };
  return encodeNaive5({ type: "PUBLISH", ...what, properties: [] });
}

/** Packets, each as a line: of a PUBLISH its payload, QoS, DUP and identifier. */
function lines(talk: Talk): string[] {
  return talk.packets().map((packet) => {
    if (packet.type === "PUBLISH") return published(packet);
    return "packetId" in packet ? `${packet.type} ${packet.packetId}` : packet.type;
  });
}

function published({ payload, qos, dup, packetId }: Publish): string {
  return `${new TextDecoder().decode(payload)}: QoS ${qos}, DUP ${dup ? 1 : 0}, id ${packetId}`;
}

/** The CONNECT that is all that the client sends. */
function connected(talk: Talk): Connect {
  const bytes = talk.connect(), found = decodeNaive(bytes, new NaiveConnection(5));
  assert(found?.packet.type === "CONNECT" && found.length === bytes.length);
  return found.packet;
}

/** What the broker sends in answer to CONNECT is no answer. */
function unanswered(packet: NaivePacket, settings: object = {}): MqttError {
  const talk = new Talk({ version: 5, ...settings });
  talk.connect();
  return talk.fails(encodeNaive5(packet));
}

const authPacket = (code: number, properties: NaiveProperty[]) => encodeNaive5({ type: "AUTH", code, properties });

describe("version 5: before CONNACK", () => {
  test("[MQTT5-3.1.0-1] [MQTT5-3.1.3-2] CONNECT is the first packet of each connection, with the same client identifier", () => {
    const talk = new Talk(kept);
    send(talk, "waits", 1);
    for (let i = 0; i < 2; i++) {
      assertEquals(connected(talk).id, "ID");
      talk.hears(connack5([], i > 0));
      talk.packets();
      talk.breaks();
      talk.redials();
    }
  });

  test("[MQTT5-3.2.0-1] [MQTT5-3.14.0-1] nothing but CONNACK answers CONNECT: no DISCONNECT, no message, no AUTH without a method", () => {
    const packets: NaivePacket[] = [
      { type: "DISCONNECT", code: 139, properties: [] },
      { type: "PINGRESP" },
      { type: "PUBACK", packetId: 1, code: 0, properties: [] },
      { type: "AUTH", code: 24, properties: [[METHOD, "M"]] },
    ];
    for (const packet of packets) assertEquals(unanswered(packet).code, "invalidresp", packet.type);
  });

  test("[MQTT5-3.2.2-7] [MQTT5-4.13.2-1] after a code of 128 and more in CONNACK or DISCONNECT the connection is closed", () => {
    const talk = new Talk({ version: 5, reconnect: RECONNECT, offline: true });
    talk.connect();
    talk.hears(encodeNaive5({ type: "CONNACK", sessionPresent: false, code: 136, properties: [] }));
    assertEquals(talk.session.status.type, "waiting");
    talk.redials();
    talk.connect();
    talk.hears(connack5());
    talk.hears(encodeNaive5({ type: "DISCONNECT", code: 137, properties: [] }));
    assertEquals(talk.session.status.type, "waiting");
  });

  test("[MQTT5-3.1.2-30] with an authentication method, only AUTH goes before CONNACK", () => {
    const talk = new Talk({ version: 5, auth });
    send(talk, "waits", 1);
    talk.session.publish("a", "waits", 0);
    talk.connect();
    talk.hears(authPacket(24, [[METHOD, "M"]]));
    assertEquals(lines(talk), []);
    talk.session.answered(talk.attempt, new Uint8Array([1]));
    assertEquals(lines(talk), ["AUTH"]);
    talk.hears(connack5([[METHOD, "M"]]));
    assertEquals(lines(talk).length, 2);
  });

  test("[MQTT5-4.12.0-5] an AUTH of another method, or of none, is refused", () => {
    for (const properties of [[[METHOD, "N"]], [[METHOD, ""]]] as NaiveProperty[][]) {
      const talk = new Talk({ version: 5, auth });
      talk.connect();
      assertEquals(talk.fails(authPacket(24, properties)).code, "protocol");
    }
  });

  test("[MQTT5-4.12.0-6] [MQTT5-4.12.0-7] without a method in CONNECT, an AUTH is refused, and none is sent", () => {
    const talk = Talk.open5();
    assertThrows(() => talk.session.reauthenticate(new Asked("again"), talk.now), MqttError);
    talk.hears(authPacket(24, [[METHOD, "M"], [DATA, new Uint8Array(1)]]));
    assertEquals(lines(talk), ["DISCONNECT"]);
  });

  test("[MQTT5-4.12.1-1] AUTH with code 25 has the method of CONNECT; [MQTT5-4.12.1-2] when it fails, the connection ends", () => {
    const talk = Talk.open5({ auth, reconnect: RECONNECT });
    const call = new Asked("again");
    talk.session.reauthenticate(call, talk.now);
    const [packet] = talk.packets();
    assert(packet?.type === "AUTH");
    assertEquals([packet.code, packet.properties], [25, [[METHOD, "M"]]]);
    talk.hears(encodeNaive5({ type: "DISCONNECT", code: 135, properties: [] }));
    assertEquals([call.fate, talk.session.status.type], ["error 135", "waiting"]);
  });
});

describe("version 5: the session's state", () => {
  test("[MQTT5-3.1.2-23] [MQTT5-3.2.2-5] [MQTT5-4.1.0-1] it outlives a connection, and is forgotten where the broker has none", () => {
    const talk = Talk.open5(kept), call = send(talk, "1", 2);
    assertEquals(lines(talk), ["1: QoS 2, DUP 0, id 1"]);
    talk.reconnect(connack5([], true));
    assertEquals(lines(talk), ["1: QoS 2, DUP 1, id 1"]);
    assertEquals(talk.session.stats.unacknowledged, 1);
    talk.reconnect(connack5());
    assertEquals([lines(talk), call.fate], [[], "error sessionlost"]);
  });

  test("[MQTT5-3.1.3-7] the client comes back with the identifier that the broker has assigned", () => {
    const talk = Talk.open5({ id: "", reconnect: RECONNECT }, [[ASSIGNED, "given"]]);
    talk.breaks();
    talk.redials();
    assertEquals(connected(talk).id, "given");
  });

  test("[MQTT5-3.1.2-20] [MQTT5-3.1.2-21] PINGREQ before the keep alive is over: the server's, where it has one", () => {
    const sent = (properties: NaiveProperty[]) => Talk.open5({ keepalive: 60 }, properties).pass(70_000);
    const times = (properties: NaiveProperty[]) => sent(properties).map(([time, bytes]) => [time < 61_000, bytes]);
    assertEquals(times([]), [[true, "c0 00"]]);
    assert(sent([[19, 10]])[0]![0] < 11_000);
  });

  test("[MQTT5-4.4.0-1] PUBLISH and PUBREL are sent again with their identifiers when the session is resumed, and at no other time", () => {
    const talk = Talk.open5(kept);
    send(talk, "1", 1);
    send(talk, "2", 2);
    send(talk, "3", 2);
    talk.packets();
    talk.hears(acknowledged("PUBREC", 2));
    assertEquals(lines(talk), ["PUBREL 2"]);
    assertEquals(talk.pass(60_000).filter(([, bytes]) => bytes !== "c0 00"), []);
    talk.session.received(talk.attempt, new Uint8Array([0xd0, 0]), 2, talk.now);
    talk.reconnect(connack5([], true));
    assertEquals(lines(talk), ["PUBREL 2", "1: QoS 1, DUP 1, id 1", "3: QoS 2, DUP 1, id 3"]);
  });

  test("[MQTT5-4.4.0-2] what is acknowledged with a code of 128 and more is not sent again", () => {
    const talk = Talk.open5(kept), calls = [send(talk, "1", 1), send(talk, "2", 2)];
    talk.packets();
    talk.hears(acknowledged("PUBACK", 1, 128));
    talk.hears(acknowledged("PUBREC", 2, 128));
    assertEquals([lines(talk), calls.map(({ fate }) => fate)], [[], ["error 128", "error 128"]]);
    talk.reconnect(connack5([], true));
    assertEquals(lines(talk), []);
  });
});

describe("version 5: messages that are sent", () => {
  test("[MQTT5-4.3.1-1] [MQTT5-4.3.2-1] [MQTT5-4.3.2-2] [MQTT5-4.3.3-2] QoS, DUP 0, and an identifier that is not in use", () => {
    const talk = Talk.open5();
    for (const qos of [0, 1, 2, 1] as const) send(talk, "m", qos);
    const sent = lines(talk);
    assertEquals(sent, [
      "m: QoS 0, DUP 0, id 0",
      "m: QoS 1, DUP 0, id 1",
      "m: QoS 2, DUP 0, id 2",
      "m: QoS 1, DUP 0, id 3",
    ]);
  });

  test("[MQTT5-4.3.2-3] [MQTT5-4.3.3-3] [MQTT5-4.3.3-4] [MQTT5-4.3.3-5] [MQTT5-4.3.3-6] until PUBACK; until PUBREC, and PUBREL until PUBCOMP", () => {
    const talk = Talk.open5(kept), one = send(talk, "1", 1), two = send(talk, "2", 2);
    const count = () => talk.session.stats.unacknowledged;
    talk.packets();
    assertEquals(count(), 2);
    talk.hears(acknowledged("PUBACK", 1));
    assertEquals([one.fate, count()], [0, 1]);
    talk.hears(acknowledged("PUBREC", 2, 16));
    assertEquals([lines(talk), two.fate, count()], [["PUBREL 2"], "pending", 1]);
    talk.reconnect(connack5([], true));
    assertEquals(lines(talk), ["PUBREL 2"]);
    talk.hears(acknowledged("PUBCOMP", 2));
    assertEquals([two.fate, count()], [16, 0]);
  });

  test("[MQTT5-4.3.3-7] [MQTT5-4.3.3-13] a message that was sent does not expire, and its exchange goes on", () => {
    const talk = Talk.open5(kept), call = send(talk, "1", 2, { expiry: 1 });
    assertEquals(lines(talk), ["1: QoS 2, DUP 0, id 1"]);
    talk.breaks();
    talk.pass(5000);
    talk.connect();
    talk.hears(connack5([], true));
    assertEquals(lines(talk), ["1: QoS 2, DUP 1, id 1"]);
    talk.hears(acknowledged("PUBREC", 1));
    assertEquals(lines(talk), ["PUBREL 1"]);
    talk.hears(acknowledged("PUBCOMP", 1));
    assertEquals(call.fate, 0);
  });

  test("[MQTT5-4.6.0-1] [MQTT5-4.6.0-4] PUBLISH again in the order of publishing, PUBREL in that of PUBREC", () => {
    const talk = Talk.open5(kept);
    for (const name of ["1", "2", "3", "4"]) send(talk, name, 2);
    talk.packets();
    talk.hears(acknowledged("PUBREC", 4));
    talk.hears(acknowledged("PUBREC", 2));
    assertEquals(lines(talk), ["PUBREL 4", "PUBREL 2"]);
    talk.reconnect(connack5([], true));
    assertEquals(lines(talk), ["PUBREL 4", "PUBREL 2", "1: QoS 2, DUP 1, id 1", "3: QoS 2, DUP 1, id 3"]);
  });

  test("[MQTT5-4.9.0-1] [MQTT5-4.9.0-2] [MQTT5-4.9.0-3] [MQTT5-3.3.4-8] the quota begins with Receive Maximum; at 0 other packets go", () => {
    const talk = Talk.open5(kept, [[RECEIVE_MAXIMUM, 2]]);
    for (const name of ["1", "2", "3"]) send(talk, name, 1);
    assertEquals(lines(talk).length, 2);
    send(talk, "0", 0);
    talk.subscribe(["b"]);
    talk.session.flush(new Asked("flush"), talk.now);
    assertEquals(lines(talk).sort(), ["0: QoS 0, DUP 0, id 0", "PINGREQ", "SUBSCRIBE 3"]);
    talk.hears(acknowledged("PUBACK", 1));
    assertEquals(lines(talk), ["3: QoS 1, DUP 0, id 4"]);
  });

  test("[MQTT5-3.2.2-18] [MQTT5-3.3.2-9] no topic alias without a maximum of the server, and none over it", () => {
    for (const [properties, most] of [[[], 0], [[[ALIASES, 1]], 1]] as [NaiveProperty[], number][]) {
      const talk = Talk.open5({ topicAliases: 10 }, properties);
      for (const topic of ["first", "second", "first"]) talk.session.publish(topic, "", 0);
      const aliases = talk.packets().map((packet) =>
        (packet as Publish).properties!.find(([identifier]) => identifier === 35)?.[1] ?? 0
      );
      assertEquals(Math.max(...aliases as number[]), most);
    }
  });
});

describe("version 5: messages that come", () => {
  test("[MQTT5-4.3.2-4] [MQTT5-4.3.2-5] PUBACK with its identifier, behind which that is another message's", () => {
    const desk = Desk.open5({}, () => undefined);
    desk.hears(message("1", 1, 7));
    assertEquals(lines(desk.talk), ["PUBACK 7"]);
    desk.hears(message("2", 1, 7));
    assertEquals([lines(desk.talk), desk.called], [["PUBACK 7"], ["a: 1", "a: 2"]]);
  });

  test("[MQTT5-4.3.3-8] [MQTT5-4.3.3-10] [MQTT5-4.3.3-11] [MQTT5-4.3.3-12] PUBREC, also for repeats until PUBREL, which PUBCOMP answers", () => {
    const desk = Desk.open5({}, () => undefined);
    desk.hears(message("1", 2, 7));
    desk.hears(message("1", 2, 7, true));
    assertEquals([lines(desk.talk), desk.called], [["PUBREC 7", "PUBREC 7"], ["a: 1"]]);
    desk.hears(acknowledged("PUBREL", 7));
    desk.hears(message("2", 2, 7));
    assertEquals([lines(desk.talk), desk.called], [["PUBCOMP 7", "PUBREC 7"], ["a: 1", "a: 2"]]);
  });

  test("[MQTT5-4.3.3-9] behind PUBREC with a code of 128 and more the identifier is another message's", () => {
    const desk = Desk.open5({}, () => void desk.talk.session.backlog.countFailure());
    desk.hears(message("1", 2, 7));
    desk.hears(message("2", 2, 7));
    const codes = desk.talk.packets().map((packet) => (packet as { code: number }).code);
    assertEquals([codes, desk.called], [[131, 131], ["a: 1", "a: 2"]]);
  });

  test("[MQTT5-4.5.0-2] a message that nobody takes is acknowledged all the same", () => {
    const talk = Talk.open5();
    talk.session.nextDelivering({ call: () => undefined, watch: () => {} });
    talk.gets(message("1", 1, 1));
    talk.session.nextDelivering({ call: () => undefined, watch: () => {} });
    assertEquals(lines(talk), ["PUBACK 1"]);
  });

  for (const [qos, type, statement] of [[1, "PUBACK", "[MQTT5-4.6.0-2]"], [2, "PUBREC", "[MQTT5-4.6.0-3]"]] as const) {
    test(`${statement} ${type} packets go in the order of the messages`, () => {
      const desk = Desk.open5({}, () => `${desk.called.length}`), { talk } = desk;
      const asked = { filters: [{ topic: "a", qos: 2 as const }] };
      talk.session.subscribe(asked, { onpub: () => `${desk.called.length}`, concurrency: 3 }, new Asked("a"), talk.now);
      talk.packets();
      for (const id of [1, 2, 3]) desk.hears(message(`${id}`, qos, id));
      for (const name of ["3", "2"]) desk.settles(name);
      assertEquals(lines(talk), []);
      desk.settles("1");
      assertEquals(lines(talk), [`${type} 1`, `${type} 2`, `${type} 3`]);
    });
  }
});

describe("version 5: packet identifiers that are unknown", () => {
  test("[MQTT5-3.6.2-1] PUBREC for nothing is answered by PUBREL with 146, PUBREC for a message without", () => {
    const talk = Talk.open5();
    talk.hears("50 02 0102 50 03 0103 10");
    assertEquals(hex(talk.sends()), "62 03 01 02 92 62 03 01 03 92");
    assertEquals(talk.session.stats.ignored, 2);
    const call = send(talk, "1", 2);
    talk.sends();
    talk.hears("50 02 0001 50 02 0001");
    assertEquals(hex(talk.sends()), "62 02 00 01 62 02 00 01", "also when it comes twice");
    talk.hears("70 02 0001 50 02 0001");
    assertEquals([call.fate, hex(talk.sends())], [0, "62 03 00 01 92"], "behind PUBCOMP it is for nothing");
  });

  test("[MQTT5-3.7.2-1] PUBREL for nothing is answered by PUBCOMP with 146, PUBREL for a message without", () => {
    const desk = Desk.open5(kept, () => undefined), { talk } = desk;
    desk.hears(message("1", 2, 7));
    assertEquals(hex(talk.sends()), "50 02 00 07");
    desk.hears("62 02 0007 62 02 0007 62 03 0008 92");
    assertEquals(hex(talk.sends()), "70 02 00 07 70 03 00 07 92 70 03 00 08 92");
    desk.hears(message("2", 2, 7));
    talk.sends();
    talk.reconnect(connack5([], true));
    desk.hears("62 02 0007");
    assertEquals(hex(talk.sends()), "70 02 00 07", "the session knows it");
    desk.hears(message("3", 2, 7));
    talk.sends();
    talk.reconnect(connack5());
    desk.hears("62 02 0007");
    assertEquals(hex(talk.sends()), "70 03 00 07 92", "a new session does not");
  });

  test("who takes a session over frees identifiers with 0: the broker is to release what it has", () => {
    const talk = new Talk({ ...kept, maxInflightQoS2: 1 });
    talk.connect();
    talk.hears(connack5([], true));
    const call = send(talk, "1", 2);
    assertEquals(hex(talk.sends()), "62 02 00 01");
    talk.reconnect(connack5([], true));
    assertEquals(hex(talk.sends()), "62 02 00 01", "again on the next connection");
    talk.hears(acknowledged("PUBCOMP", 1, 146));
    assertEquals(lines(talk), ["1: QoS 2, DUP 0, id 1"]);
    talk.hears(acknowledged("PUBREC", 1));
    assertEquals(hex(talk.sends()), "62 02 00 01");
    talk.hears(acknowledged("PUBCOMP", 1));
    assertEquals(call.fate, 0);
  });
});

describe("version 5: DISCONNECT", () => {
  test("[MQTT5-3.14.4-1] [MQTT5-3.14.4-2] behind it nothing is sent, and the connection is closed", () => {
    const talk = Talk.open5();
    const call = talk.disconnect();
    assertEquals(lines(talk), ["DISCONNECT"]);
    talk.hears(message("late", 1, 1));
    assertEquals(lines(talk), []);
    talk.pass(1000);
    assertEquals([call.fate, talk.session.status.type], [undefined, "closed"]);
  });

  test("[MQTT5-3.14.2-4] user properties are left out where the broker would not take so large a packet", () => {
    const properties = { user: [["name", "x".repeat(30)]] as const };
    const sizes = [[], [[LARGEST, 40]]].map((limits) => {
      const talk = Talk.open5({}, limits as NaiveProperty[]);
      talk.disconnect({ properties, will: true });
      return talk.packets().map((packet) => packet.type === "DISCONNECT" && [packet.code, packet.properties!.length]);
    });
    assertEquals(sizes, [[[4, 1]], [[4, 0]]]);
  });
});
