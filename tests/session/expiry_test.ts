import { describe, test } from "node:test";
import { assertEquals } from "@std/assert";
import { Asked, CONNACK, RECONNECT, Talk } from "./driver.ts";

function send(talk: Talk, message: string, flags: number, expiry?: number): Asked {
  const call = new Asked(message);
  talk.session.send({ topic: "a", message, flags, expiry }, call, talk.now);
  return call;
}

/** What went out, as payloads. */
function payloads(talk: Talk): string[] {
  return talk.packets().flatMap((packet) =>
    packet.type === "PUBLISH" ? [new TextDecoder().decode(packet.payload)] : []
  );
}

describe("expiry", () => {
  for (const [qos, flags] of [[0, 0], [1, 2], [2, 4]] as const) {
    test(`QoS ${qos}: a message that waits longer for a connection is not sent, and its call fails`, () => {
      const talk = new Talk();
      const late = send(talk, "late", flags, 1), kept = send(talk, "kept", flags, 3600);
      talk.drain();
      talk.pass(1000);
      talk.drain();
      assertEquals([late.fate, kept.fate], ["error stale", "pending"]);
      talk.connect();
      talk.hears(CONNACK);
      assertEquals(payloads(talk), ["kept"]);
    });
  }

  test("it is not sent either when nobody has looked at the time meanwhile", () => {
    const talk = new Talk();
    const late = send(talk, "late", 2, 1);
    talk.connect();
    talk.hears(CONNACK);
    talk.now += 1000;
    assertEquals(talk.session.takeBytes(talk.now), undefined);
    talk.drain();
    assertEquals(late.fate, "error stale");
  });

  test("QoS 0: what is published behind one that waits comes behind it", () => {
    const talk = new Talk();
    talk.session.publish("a", "1", 0);
    send(talk, "2", 0, 100);
    talk.session.publish("a", "3", 0);
    send(talk, "4", 0, 100);
    assertEquals(talk.session.stats.unacknowledged, 0);
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(payloads(talk), ["1", "2", "3", "4"]);
    assertEquals(talk.session.stats.unacknowledged, 0);
  });

  test("flush() has its PINGREQ behind messages of QoS 0 that waited for a connection", () => {
    const talk = new Talk();
    send(talk, "1", 0, 100);
    const flushed = new Asked("flush");
    talk.session.flush(flushed, talk.now);
    talk.connect();
    talk.hears(CONNACK);
    assertEquals(talk.packets().map(({ type }) => type), ["PUBLISH", "PINGREQ"]);
    talk.hears("d0 00");
    assertEquals(flushed.fate, undefined);
  });

  test("a message that was sent does not get stale, over a reconnect either", () => {
    const talk = Talk.open({ cleanSession: false, reconnect: RECONNECT });
    const call = send(talk, "sent", 2, 1);
    assertEquals(payloads(talk), ["sent"]);
    talk.breaks();
    talk.drain();
    talk.pass(2000);
    assertEquals(call.fate, "pending");
  });

  test("nothing rings any more when the client has ended", () => {
    const talk = Talk.open();
    send(talk, "1", 2, 60);
    const left = talk.disconnect();
    talk.sends();
    talk.sends();
    talk.breaks();
    talk.drain();
    assertEquals([left.fate, talk.session.due], [undefined, Infinity]);
  });
});
