/** The trace and the flight recorder on a connection of MQTT 5. */
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { flightRecorder, type TraceRecord } from "../../mod.ts";
import { join } from "../support/bytes.ts";
import { encodeNaive5, type NaivePacket } from "../support/naive.ts";
import { Random } from "../support/random.ts";
import { taps } from "./taps.ts";

const connect = encodeNaive5({
  type: "CONNECT",
  id: "I",
  keepalive: 0,
  cleanSession: true,
  properties: [[38, ["a", "b"]]],
});

/** What is told of a packet; reason codes of 0 may be left out. */
function expected(packet: NaivePacket): unknown {
  const { type } = packet, code = "code" in packet && packet.code ? packet.code : 0;
  const packetId = "packetId" in packet && packet.packetId > 0 ? packet.packetId : undefined;
  const topics = packet.type === "SUBSCRIBE" ? packet.filters.map(({ topic }) => topic) : undefined;
  const filters = packet.type === "UNSUBSCRIBE" ? packet.filters : topics;
  const codes = packet.type === "SUBACK" || packet.type === "UNSUBACK" ? packet.codes : undefined;
  return { type, code, packetId, topics: filters, codes, topic: packet.type === "PUBLISH" ? packet.topic : undefined };
}

function told({ type, code = 0, packetId, topics, codes, topic }: TraceRecord): unknown {
  return { type, code, packetId, topics, codes, topic };
}

test("trace: every packet of version 5 once, at any cut of the stream, in both directions", async () => {
  const random = new Random(6), records: TraceRecord[] = [];
  const { send, receive } = await taps((record) => records.push(record));
  send(connect);
  for (const feed of [send, receive]) {
    for (const longest of [1, 7, 300, 70_000]) {
      records.length = 0;
      const packets = Array.from({ length: 60 }, () => random.packet5(random.pick([10, 3000])))
        .filter(({ type }) => type !== "CONNECT");
      const stream = join(packets.map(encodeNaive5));
      for (let at = 0; at < stream.length;) {
        const length = random.int(1, longest);
        feed(stream.subarray(at, at + length));
        at += length;
      }
      assertEquals(records.map(told), packets.map(expected));
    }
  }
});

test("trace: a topic alias is told by its name, and the recorder shows reason codes", async () => {
  const recorder = flightRecorder();
  const { send, receive } = await taps(recorder.trace);
  const message = (topic: string): NaivePacket => {
    const what = { payload: new Uint8Array(3), qos: 1, retain: false, dup: false, packetId: 7 };
    return { type: "PUBLISH", topic, ...what, properties: [[35, 9]] };
  };
  send(connect);
  for (const topic of ["long/topic", ""]) {
    send(encodeNaive5(message(topic)));
    receive(encodeNaive5({ type: "PUBACK", packetId: 7, code: 16, properties: [] }));
  }
  receive(encodeNaive5({ type: "DISCONNECT", code: 142, properties: [] }));
  assertEquals(recorder.records.filter(({ type }) => type === "PUBLISH").map(({ topic }) => topic), [
    "long/topic",
    "long/topic",
  ]);
  assertMatch(`${recorder}`, /PUBACK +id 7, code 16/);
  assertMatch(`${recorder}`, /DISCONNECT +code 142/);
});
