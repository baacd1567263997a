/** What the properties and reason codes of MQTT 5 mean to a session, without a broker. */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { describe, test } from "node:test";
import { MqttError } from "../../src/errors.ts";
import { encodeMessageProperties } from "../../src/protocol/properties.ts";
import type { Publication } from "../../src/session/outgoing.ts";
import { hex } from "../support/bytes.ts";
import { encodeNaive5, type NaivePacket, type Publish } from "../support/naive.ts";
import type { NaiveProperty } from "../support/naive_properties.ts";
import { Asked, connack5, Desk, RECONNECT, show, Talk } from "./driver.ts";

const reconnect = RECONNECT;
const kept = { version: 5, cleanSession: false, sessionExpiry: 60, reconnect } as const;
const MAXIMUM_QOS = 36, RETAIN = 37, LARGEST = 39, WILDCARDS = 40, IDS = 41, SHARED = 42, RECEIVE_MAXIMUM = 33;
const ALIASES = 34, KEEPALIVE = 19, ASSIGNED = 18, REFERENCE = 28, REASON = 31, EXPIRY = 2, ID = 11;

function send(talk: Talk, message: string, qos: 0 | 1 | 2, more: Partial<Publication> = {}): Asked {
  const call = new Asked(message);
  talk.session.send({ topic: "a", message, flags: qos << 1, ...more }, call, talk.now);
  return call;
}

const isPublish = (packet: NaivePacket): packet is Publish => packet.type === "PUBLISH";
const text = ({ payload }: Publish) => new TextDecoder().decode(payload);
const published = (talk: Talk) => talk.packets().filter(isPublish);

/** The code of what an act throws. */
function refused(act: () => unknown): unknown {
  return (assertThrows(act, MqttError) as MqttError).code;
}

const acknowledged = (type: "PUBACK" | "PUBREC" | "PUBCOMP", packetId: number, code = 0) =>
  encodeNaive5({ type, packetId, code, properties: [] });

function message(topic: string, payload: string, properties: NaiveProperty[] = [], qos = 0, packetId = 0): Uint8Array {
  const what = { payload: new TextEncoder().encode(payload), qos, retain: false, dup: false, packetId };
  return encodeNaive5({ type: "PUBLISH", topic, ...what, properties });
}

describe("version 5: what a broker cannot do", () => {
  test("[MQTT5-3.2.2-11] [MQTT5-3.2.2-14] [MQTT5-3.2.2-15] is refused before a packet identifier is taken", () => {
    const talk = Talk.open5({}, [[MAXIMUM_QOS, 1], [RETAIN, 0], [LARGEST, 20]]);
    assertEquals(refused(() => send(talk, "x", 2)), "unsupported");
    assertEquals(refused(() => send(talk, "x", 1, { flags: 3 })), "unsupported");
    assertEquals(refused(() => send(talk, "x".repeat(20), 1)), "unsupported");
    assertEquals(refused(() => talk.session.publish("a", "x", 1)), "unsupported");
    assertEquals(refused(() => talk.session.publish("a", "x".repeat(20), 0)), "unsupported");
    send(talk, "y", 1);
    talk.session.publish("a", "fits", 0);
    assertEquals(published(talk).map((packet) => [text(packet), packet.packetId]), [["fits", 0], ["y", 1]]);
    assertEquals(talk.session.stats.unacknowledged, 1);
  });

  test("a packet that just fits is sent", () => {
    const talk = Talk.open5({}, [[LARGEST, 20]]);
    talk.session.publish("a", "x".repeat(14), 0);
    assertEquals(talk.sends().length, 20);
    assertEquals(refused(() => talk.session.publish("a", "x".repeat(15), 0)), "unsupported");
  });

  test("what waits when a new connection can less is given up, or dropped and told", () => {
    const talk = Talk.open5(kept);
    const calls = [send(talk, "2", 2), send(talk, "1", 1), send(talk, "retained", 1, { flags: 3 })];
    talk.packets();
    talk.breaks();
    talk.session.publish("a", "kept", 0);
    talk.session.publish("a", "retained", 1);
    talk.session.publish("a", "x".repeat(40), 0);
    const large = send(talk, "x".repeat(50), 1);
    talk.redials();
    talk.connect();
    const told = talk.hears(connack5([[MAXIMUM_QOS, 1], [RETAIN, 0], [LARGEST, 40]], true)).map(show);
    assertEquals(told.filter((line) => line.startsWith("dropped")), ["dropped unsupported", "dropped unsupported"]);
    const fates = () => [...calls, large].map(({ fate }) => fate);
    assertEquals(fates(), ["pending", "pending", "error unsupported", "error unsupported"]);
    const packets = talk.packets();
    // The broker may have that of QoS 2, and is to forget its identifier.
    assertEquals(packets.map(({ type }) => type), ["PUBLISH", "PUBREL", "PUBLISH"]);
    assertEquals(packets.filter(isPublish).map(text), ["kept", "1"]);
    talk.hears(acknowledged("PUBCOMP", 1));
    assertEquals(fates()[0], "error unsupported");
  });

  test("[MQTT5-4.3.3-1] the identifier of a message that is given up is not another one's until the broker has freed it", () => {
    const talk = Talk.open5(kept);
    const call = send(talk, "x".repeat(30), 2);
    assertEquals(published(talk).length, 1);
    for (let i = 0; i < 2; i++) {
      talk.reconnect(connack5([[LARGEST, 20]], true));
      assertEquals(talk.packets().map((packet) => [packet.type, (packet as { packetId: number }).packetId]), [[
        "PUBREL",
        1,
      ]]);
      assertEquals([call.fate, talk.session.stats.unacknowledged], ["pending", 1]);
    }
    talk.hears(acknowledged("PUBCOMP", 1, 146));
    assertEquals([call.fate, talk.session.stats.unacknowledged], ["error unsupported", 0]);
  });

  test("a message that is given up is sent after all when the session is lost, and the new broker takes it", () => {
    const talk = Talk.open5({ ...kept, sessionLost: "resend" });
    const call = send(talk, "x".repeat(30), 2);
    talk.packets();
    talk.reconnect(connack5([[LARGEST, 20]], true));
    talk.packets();
    talk.reconnect(connack5());
    assertEquals(published(talk).map(({ dup }) => dup), [false]);
    talk.hears(acknowledged("PUBREC", 2));
    talk.hears(acknowledged("PUBCOMP", 2));
    assertEquals(call.fate, 0);
  });

  test("limits are those of one connection, and not of the client", () => {
    const talk = Talk.open5(kept, [[MAXIMUM_QOS, 0], [LARGEST, 20], [RETAIN, 0]]);
    assertEquals(refused(() => send(talk, "x", 1)), "unsupported");
    talk.breaks();
    send(talk, "x".repeat(30), 2);
    talk.session.publish("a", "x".repeat(30), 1);
    talk.redials();
    talk.connect();
    talk.hears(connack5());
    send(talk, "x".repeat(30), 2);
    assertEquals(published(talk).map(({ qos }) => qos), [0, 2, 2]);
    assertEquals(talk.session.limits?.maxQoS, 2);
  });

  test("[MQTT5-3.3.4-7] the server's Receive Maximum holds, for what is sent again, too, and until PUBCOMP", () => {
    const talk = Talk.open5(kept, [[RECEIVE_MAXIMUM, 3]]);
    for (const name of ["1", "2", "3", "4", "5"]) send(talk, name, name === "2" ? 2 : 1);
    assertEquals(published(talk).map(text), ["1", "2", "3"]);
    talk.reconnect(connack5([[RECEIVE_MAXIMUM, 2]], true));
    assertEquals(published(talk).map((packet) => [text(packet), packet.dup]), [["1", true], ["2", true]]);
    talk.hears(acknowledged("PUBREC", 2));
    assertEquals(published(talk), [], "PUBREC leaves no room");
    talk.hears(acknowledged("PUBCOMP", 2));
    assertEquals(published(talk).map(text), ["3"]);
  });

  test("filters that the broker does not take are refused, with no packet; those of a new session that can less are told", () => {
    const talk = Talk.open5(kept, [[IDS, 0]]);
    assertEquals(refused(() => talk.subscribe(["a"], undefined, { id: 7 })), "unsupported");
    for (const filter of ["a/#", "$share/g/a", "b"]) talk.subscribe([filter]);
    const asked = talk.packets().map((packet) => packet.type === "SUBSCRIBE" && packet.properties);
    assertEquals(asked, [[], [], []], "without identifiers");
    talk.breaks();
    const waits = talk.subscribe(["c/+"]);
    talk.redials();
    talk.connect();
    const told = talk.hears(connack5([[WILDCARDS, 0], [SHARED, 0]])).map(show);
    assertEquals(waits.fate, "error unsupported");
    assertEquals(talk.says(), ["SUBSCRIBE 3 b"], told.join());
    assertEquals(refused(() => talk.subscribe(["x/+"])), "unsupported");
  });
});

describe("version 5: what version 4 does not have", () => {
  test("rejects: properties of a message, subscription options, disconnect options", () => {
    const talk = Talk.open();
    const properties = encodeMessageProperties({ contentType: "text/plain" });
    assertEquals(refused(() => send(talk, "x", 1, { properties })), "unsupported");
    assertEquals(refused(() => send(talk, "x", 0, { properties })), "unsupported");
    assertEquals(refused(() => talk.subscribe([{ topic: "a", qos: 0, noLocal: true }])), "unsupported");
    assertEquals(refused(() => talk.subscribe(["a"], undefined, { id: 1 })), "unsupported");
    assertEquals(refused(() => talk.disconnect({ session: 5 })), "unsupported");
    assertEquals([talk.sends().length, talk.session.status.type], [0, "connected"]);
  });
});

describe("version 5: the end of a connection", () => {
  for (
    const [title, literal, code] of [
      ["a malformed packet", "40 01 00", 0x81],
      ["a protocol error", "b0 04 0001 00 00", 0x82],
      ["a packet that only clients send", "82 07 0001 00 0001 61 00", 0x82],
      ["the first bytes of one", "82 07 00", 0x82],
      ["an invalid topic alias", '30 07 0001 "a" 03 23 0001', 0x94],
    ] as const
  ) {
    test(`[MQTT5-4.13.1-1] ${title}: DISCONNECT ${code.toString(16)}, then the end`, () => {
      const talk = Talk.open5();
      talk.hears(literal);
      const [packet] = talk.packets();
      assert(packet?.type === "DISCONNECT");
      assertEquals(packet.code, code);
      talk.session.publish("a", "nobody's", 0);
      assertEquals(talk.hears(message("a", "late")).map(show), ["end"], "what comes after it is for nobody");
      assertEquals(talk.sends().length, 0);
      talk.pass(1000);
      assertEquals(talk.session.status.type, "closed");
    });
  }

  test("the broker closes when it has got DISCONNECT: the error is that of its mistake, and another attempt follows", () => {
    const talk = Talk.open5({ reconnect });
    talk.hears("b0 04 0001 00 00");
    talk.sends();
    const told = talk.breaks().map(show);
    assertEquals(told, ["end", "hangup", "waiting protocol"]);
    talk.redials();
  });

  test("an error that is none of the library's ends an attempt, and a connection, like any other", () => {
    const foreign = new TypeError("not ours") as unknown as MqttError;
    const talk = Talk.open5({ reconnect });
    assertEquals(talk.breaks(foreign).map(show), ["hangup", "waiting undefined"]);
    talk.redials();
    assertEquals(talk.breaks(foreign).map(show), ["hangup", "waiting undefined"]);
  });

  test("a DISCONNECT that cannot be written ends the connection a second later all the same", () => {
    const talk = Talk.open5();
    talk.session.publish("a", "under way", 0);
    talk.session.takeBytes();
    talk.hears("b0 04 0001 00 00");
    assertEquals(talk.session.takeBytes(), undefined, "a write is in flight");
    talk.now += 1000;
    talk.session.tick(talk.now);
    talk.pass(1000);
    assertEquals(talk.session.status.type, "closed");
  });

  test("[MQTT5-3.2.2-2] [MQTT5-3.2.2-6] a session present after a clean start, or with a refusal, is no CONNACK", () => {
    const clean = new Talk({ version: 5 });
    clean.connect();
    const error = clean.fails(connack5([], true));
    assertEquals(error.code, "invalidresp");
    assertMatch(error.message, /MQTT5-3\.2\.2-2/);
    const refusal = new Talk({ version: 5, cleanSession: false });
    refusal.connect();
    const connack = encodeNaive5({ type: "CONNACK", sessionPresent: true, code: 135, properties: [] });
    assertMatch(refusal.fails(connack).message, /MQTT5-3\.2\.2-6/);
  });

  test("[MQTT5-3.14.2-2] a DISCONNECT of the server with a session expiry is refused", () => {
    const talk = Talk.open5();
    talk.hears("e0 07 00 05 11 00000001");
    const [packet] = talk.packets();
    assert(packet?.type === "DISCONNECT");
    assertEquals(packet.code, 130);
  });

  test("[MQTT5-3.2.0-2] a second CONNACK is refused", () => {
    const talk = Talk.open5();
    talk.hears(connack5());
    assertEquals(talk.packets().map(({ type }) => type), ["DISCONNECT"]);
    talk.pass(1000);
    assertMatch(talk.session.reason!.message, /MQTT5-3\.2\.0-2/);
  });

  for (const code of [129, 130, 131, 135, 137, 139, 141, 147, 151, 152, 156, 160]) {
    test(`[MQTT5-3.14.4-3] DISCONNECT ${code} of the server is told, with its words and its reference`, () => {
      const talk = Talk.open5({ reconnect });
      const properties: NaiveProperty[] = [[REFERENCE, "other:1883"], [REASON, "so it is"]];
      const told = talk.hears(encodeNaive5({ type: "DISCONNECT", code, properties })).map(show);
      assertEquals(told, ["hangup", `waiting ${code}`]);
      const { status } = talk.session;
      assert(status.type === "waiting");
      assertEquals([status.error.reason, status.error.serverReference], ["so it is", "other:1883"]);
      assertEquals(talk.sends().length, 0, "and nothing is sent");
    });
  }

  test("a session taken over (142) twice within the stable time ends the client; after that time it does not", () => {
    const over = encodeNaive5({ type: "DISCONNECT", code: 142, properties: [] });
    const talk = Talk.open5({ reconnect });
    const again = () => {
      talk.hears(over);
      const { type } = talk.session.status;
      if (type !== "waiting") return type;
      talk.redials();
      talk.connect();
      talk.hears(connack5());
      return talk.session.status.type;
    };
    assertEquals(again(), "connected");
    talk.now += 40_000;
    assertEquals(again(), "connected", "long after");
    assertEquals(again(), "closed");
    assertMatch(talk.session.reason!.message, /another client/);
  });
});

describe("version 5: the session", () => {
  test("[MQTT5-3.2.2-16] an assigned client identifier is the client's from then on", () => {
    const talk = Talk.open5({ id: "", reconnect }, [[ASSIGNED, "given"]]);
    assertEquals(talk.session.id, "given");
    talk.breaks();
    talk.redials();
    assertMatch(new TextDecoder().decode(talk.connect()), /given/);
  });

  test("[MQTT5-3.2.2-21] the server's keep alive is obeyed, also where there was none", () => {
    for (const keepalive of [60, 0]) {
      const talk = Talk.open5({ keepalive }, [[KEEPALIVE, 10]]);
      assertEquals(talk.session.limits?.keepalive, 10);
      assertEquals(talk.pass(9500), [[10_500, "c0 00"]], `${keepalive}`);
    }
    const silent = Talk.open5({ keepalive: 10 }, [[KEEPALIVE, 0]]);
    assertEquals(silent.pass(100_000), []);
  });

  test("[MQTT5-3.1.2-5] session expiry goes with CONNECT, and with DISCONNECT when that has another", () => {
    const talk = new Talk(kept);
    assert(hex(talk.connect()).includes("11 00 00 00 3c"));
    talk.hears(connack5());
    talk.disconnect({ session: 0, will: true });
    assertEquals(hex(talk.sends()), "e0 07 04 05 11 00 00 00 00");
    const none = Talk.open5();
    assertEquals(refused(() => none.disconnect({ session: 5 })), "unsupported");
    assertEquals(none.session.status.type, "connected");
  });
});

describe("version 5: messages that wait", () => {
  const expiryOf = ({ properties }: Publish) => properties?.find(([identifier]) => identifier === EXPIRY)?.[1];

  test("[MQTT5-3.3.2-6] the time that a message has waited is taken off its expiry, when it is sent again, too", () => {
    const talk = Talk.open5(kept);
    send(talk, "1", 1, { expiry: 100 });
    assertEquals(published(talk).map(expiryOf), [100]);
    talk.breaks();
    const properties = encodeMessageProperties({ user: [["a", "b"]] });
    send(talk, "2", 2, { expiry: 100, properties });
    send(talk, "0", 0, { expiry: 100 });
    const stale = send(talk, "late", 1, { expiry: 5 });
    talk.redials();
    talk.pass(9000);
    talk.connect();
    talk.hears(connack5([], true));
    assertEquals(stale.fate, "error stale");
    const again = published(talk);
    assertEquals(again.map((packet) => [text(packet), expiryOf(packet)]), [["0", 91], ["1", 91], ["2", 91]]);
    assertEquals(again[2]!.properties, [[EXPIRY, 91], [38, ["a", "b"]]]);
  });

  test("at QoS 0 the expiry goes with the message", () => {
    const talk = Talk.open5();
    send(talk, "x", 0, { expiry: 7 });
    assertEquals(published(talk).map(expiryOf), [7]);
  });
});

describe("version 5: topic aliases", () => {
  const topics = (talk: Talk, ...names: string[]) => {
    for (const name of names) talk.session.publish(name, "", 0);
  };
  const sizes = (talk: Talk) => {
    const sent = talk.sends(), found: number[] = [];
    for (let at = 0; at < sent.length; at += 2 + sent[at + 1]!) found.push(sent[at + 3]!);
    return found;
  };

  test("[MQTT5-3.2.2-17] there are no more than the server takes, and those used last have one", () => {
    const talk = Talk.open5({ topicAliases: 10 }, [[ALIASES, 2]]);
    topics(talk, "first", "second", "first", "third", "first", "second");
    // The length of each topic name, as it is sent.
    assertEquals(sizes(talk), [5, 6, 0, 5, 0, 6]);
  });

  test("what the broker reads are the names", () => {
    const talk = Talk.open5({ topicAliases: 3 }, [[ALIASES, 100]]);
    const names = Array.from({ length: 50 }, (_, i) => `topic/${(i * i) % 7}`);
    topics(talk, ...names);
    assertEquals(published(talk).map(({ topic }) => topic), names);
  });

  test("[MQTT5-3.3.2-7] an alias does not outlive its connection, nor the messages that waited have one", () => {
    const talk = Talk.open5({ ...kept, topicAliases: 10 }, [[ALIASES, 10]]);
    send(talk, "1", 1, { topic: "topic" });
    topics(talk, "topic");
    assertEquals(published(talk).map(({ topic }) => topic), ["topic", "topic"]);
    talk.reconnect(connack5([[ALIASES, 10]], true));
    send(talk, "2", 1, { topic: "topic" });
    assertEquals(sizes(talk), [5, 0]);
  });

  test("none where client or server want none", () => {
    const talk = Talk.open5({ topicAliases: 10 });
    topics(talk, "first", "first");
    assertEquals(sizes(talk), [5, 5]);
    const other = Talk.open5({}, [[ALIASES, 10]]);
    topics(other, "first", "first");
    assertEquals(sizes(other), [5, 5]);
  });
});

describe("version 5: what comes", () => {
  const subscribe = (desk: Desk, filters: string[], name: string, got: string[]) => {
    const { talk } = desk, call = new Asked(name);
    const asked = { filters: filters.map((topic) => ({ topic, qos: 2 as const })) };
    talk.session.subscribe(
      asked,
      { onpub: (_, message) => void got.push(`${name} ${message}`), concurrency: 1 },
      call,
      talk.now,
    );
    const [packet] = talk.packets();
    assert(packet?.type === "SUBSCRIBE");
    desk.hears(
      encodeNaive5({ type: "SUBACK", packetId: packet.packetId, codes: filters.map(() => 2), properties: [] }),
    );
    assertEquals(call.fate, 2);
    return packet.properties!.find(([identifier]) => identifier === ID)![1] as number;
  };

  test("[MQTT5-3.3.4-2] filters that overlap: each handler gets its own copy once, from brokers of both kinds", () => {
    const desk = Desk.open5(), got: string[] = [];
    const all = subscribe(desk, ["#"], "all", got), some = subscribe(desk, ["a/+", "a/b"], "some", got);
    assertEquals(new Set([all, some]).size, 2);
    desk.hears(message("a/b", "1", [[ID, all]]), message("a/b", "1", [[ID, some]]), message("a/b", "1", [[ID, some]]));
    assertEquals(got.splice(0), ["all 1", "some 1", "some 1"]);
    desk.hears(message("a/b", "2", [[ID, all], [ID, some]]));
    assertEquals(got.splice(0), ["all 2", "some 2"]);
    desk.hears(message("a/c", "3", [[ID, 77]]));
    assertEquals(got.splice(0).sort(), ["all 3", "some 3"], "an identifier of a process before");
  });

  test("[MQTT5-3.4.2-1] [MQTT5-3.5.2-1] 131 where a handler has failed, at once or later; PUBREC 131 ends it", () => {
    const works: Record<string, unknown> = { later: "later", lost: "lost" };
    const desk = Desk.open5({}, (topic) => {
      if (topic === "throws") desk.talk.session.backlog.countFailure();
      return works[topic];
    });
    const say = () =>
      desk.talk.packets().map((packet) => {
        const { type, packetId, code } = packet as { type: string; packetId: number; code: number };
        return `${type} ${packetId} ${code}`;
      });
    desk.hears(message("fine", "", [], 1, 1), message("throws", "", [], 1, 2), message("throws", "", [], 2, 3));
    assertEquals(say(), ["PUBACK 1 0", "PUBACK 2 131", "PUBREC 3 131"]);
    desk.hears(message("fine", "", [], 2, 3));
    assertEquals(say(), ["PUBREC 3 0"], "its identifier is another message's");
    assertEquals(desk.called, ["fine: ", "throws: ", "throws: ", "fine: "]);
    desk.hears(message("lost", "", [], 1, 4));
    desk.settles("lost", true);
    assertEquals(say(), ["PUBACK 4 131"]);
  });

  test("[MQTT5-3.4.2-1] a promise that rejects while another handler is called is no failure of that one", () => {
    const desk = Desk.open5({}, () => "pending"), { talk } = desk;
    const onpub = () => talk.session.backlog.settle(desk.works.get("pending")!, true);
    const asked = { filters: [{ topic: "fine", qos: 1 as const }] };
    talk.session.subscribe(asked, { onpub, concurrency: 1 }, new Asked("fine"), talk.now);
    talk.packets();
    desk.hears(message("pending", "", [], 1, 1));
    desk.hears(message("fine", "", [], 1, 2));
    const codes = talk.packets().map((packet) => [packet.type, (packet as { code?: number }).code]);
    assertEquals(codes, [["PUBACK", 131], ["PUBACK", 0]]);
  });

  test("a payload that is not what its format says is passed over, told, and acknowledged with 153, where that is looked at", () => {
    const FORMAT = 1, text = "\u00e9", bytes = new Uint8Array([0xff]);
    const misformatted = (qos: number, packetId: number) => {
      const what = { topic: "a", payload: bytes, qos, retain: false, dup: false, packetId };
      return encodeNaive5({ type: "PUBLISH", ...what, properties: [[FORMAT, 1]] });
    };
    const codes = (talk: Talk) =>
      talk.packets().map((packet) => {
        const { type, packetId, code } = packet as { type: string; packetId: number; code: number };
        return `${type} ${packetId} ${code}`;
      });
    const desk = Desk.open5({ checksFormat: true, receiveMaximum: 2 }, () => "pending");
    const right = message("a", text, [[FORMAT, 1]], 1, 1);
    const told = desk.hears(right, misformatted(1, 2));
    assertEquals([codes(desk.talk), told], [[], ["dropped 153"]], "it waits for the one before");
    desk.settles("pending");
    assertEquals(codes(desk.talk), ["PUBACK 1 0", "PUBACK 2 153"]);
    for (const id of [3, 4, 3]) desk.hears(misformatted(2, id));
    assertEquals(codes(desk.talk), ["PUBREC 3 153", "PUBREC 4 153", "PUBREC 3 153"], "and their identifiers are free");
    desk.hears(misformatted(0, 0));
    assertEquals([codes(desk.talk), desk.called, desk.talk.session.stats.dropped], [[], ["a: \u00e9"], 5]);
    const other = Desk.open5({}, () => undefined);
    other.hears(misformatted(1, 1));
    assertEquals([codes(other.talk), other.called.length], [["PUBACK 1 0"], 1], "unless it is not");
  });

  test("[MQTT5-3.3.4-9] more messages than Receive Maximum: DISCONNECT 147", () => {
    const desk = Desk.open5({ receiveMaximum: 2 }, () => "pending");
    desk.hears(message("a", "", [], 1, 1));
    desk.hears(message("a", "", [], 2, 2));
    assertEquals(desk.talk.packets(), []);
    desk.talk.session.flush(new Asked("flush"), desk.talk.now); // who waits for the broker goes on reading
    desk.talk.packets();
    desk.hears(message("a", "", [], 1, 3));
    const [packet] = desk.talk.packets();
    assert(packet?.type === "DISCONNECT");
    assertEquals(packet.code, 147);
  });

  test("[MQTT5-3.11.3-2] a filter that the broker does not give up stays, and the call fails with its reason code", () => {
    const desk = Desk.open5(), got: string[] = [];
    subscribe(desk, ["a"], "a", got);
    const call = desk.talk.unsubscribe(["a"]);
    const [packet] = desk.talk.packets();
    assert(packet?.type === "UNSUBSCRIBE");
    desk.hears(encodeNaive5({ type: "UNSUBACK", packetId: packet.packetId, codes: [135], properties: [] }));
    assertEquals(call.fate, "error 135");
    desk.hears(message("a", "still"));
    assertEquals(got, ["a still"]);
  });

  test("[MQTT5-3.3.4-1] reason codes from 128 on are errors, those below are results", () => {
    const talk = Talk.open5();
    const calls = [send(talk, "1", 1), send(talk, "2", 2), send(talk, "3", 1)];
    talk.packets();
    talk.hears(acknowledged("PUBACK", 1, 16));
    talk.hears(acknowledged("PUBREC", 2, 151));
    talk.hears(acknowledged("PUBACK", 3, 135));
    assertEquals(calls.map(({ fate }) => fate), [16, "error 151", "error 135"]);
    assertEquals(talk.session.stats.unacknowledged, 0);
  });
});
