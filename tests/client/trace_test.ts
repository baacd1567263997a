import { test } from "node:test";
import { assert, assertEquals, assertGreaterOrEqual, assertLess, assertMatch, assertThrows } from "@std/assert";
import { connect, connectWorker, flightRecorder, type TraceRecord } from "../../mod.ts";
import { join } from "../support/bytes.ts";
import { encodeNaive, type NaivePacket } from "../support/naive.ts";
import { Random } from "../support/random.ts";
import { startAedes } from "../support/servers.ts";
import { taps } from "./taps.ts";
import { within } from "./support.ts";

function expected(packet: NaivePacket): Omit<TraceRecord, "direction" | "time"> {
  const { type } = packet, size = encodeNaive(packet).length;
  switch (packet.type) {
    case "PUBLISH": {
      const { topic, qos, retain, dup, packetId } = packet;
      return { type, size, topic, qos: qos as 0 | 1 | 2, retain, dup, ...qos > 0 && { packetId } };
    }
    case "CONNACK":
      return { type, size, code: packet.code };
    case "SUBACK":
      return { type, size, packetId: packet.packetId, codes: packet.codes };
    case "SUBSCRIBE":
      return { type, size, packetId: packet.packetId, topics: packet.filters.map(({ topic }) => topic) };
    case "UNSUBSCRIBE":
      return { type, size, packetId: packet.packetId, topics: packet.filters };
    default:
      return "packetId" in packet ? { type, size, packetId: packet.packetId } : { type, size };
  }
}

test("trace: every packet once, at any cut of the stream, in both directions", async () => {
  const random = new Random(5);
  const records: TraceRecord[] = [];
  const { send, receive } = await taps((record) => records.push(record));
  for (const [direction, feed] of [["sent", send], ["received", receive]] as const) {
    for (const longest of [1, 7, 300, 70_000]) {
      const packets = Array.from({ length: 60 }, () => random.packet(random.pick([10, 3000])));
      const stream = join(packets.map(encodeNaive));
      for (let at = 0; at < stream.length;) {
        const length = random.int(1, longest);
        feed(stream.subarray(at, at + length));
        at += length;
      }
      const seen = records.splice(0).map(({ time, ...record }) => {
        assertGreaterOrEqual(performance.now(), time);
        return record;
      });
      assertEquals<unknown>(seen, packets.map((packet) => ({ direction, ...expected(packet) })));
    }
  }
});

test("trace: after what is no packet nothing is made up", async () => {
  const records: TraceRecord[] = [];
  const { receive } = await taps((record) => records.push(record));
  receive(Uint8Array.of(0xd0, 0, 0xf0, 0, 0xd0, 0));
  receive(Uint8Array.of(0xd0, 0));
  assertEquals(records.map(({ type }) => type), ["PINGRESP"]);
});

test("trace: a long head that never ends costs no more than a topic name", async () => {
  const { receive } = await taps(() => {});
  receive(Uint8Array.of(0x90, 0xff, 0xff, 0xff, 0x7f));
  const start = performance.now();
  for (let i = 0; i < 100; i++) receive(new Uint8Array(1 << 16));
  assertLess(performance.now() - start, 5000);
});

test("flight recorder: keeps the last packets and prints them", () => {
  const recorder = flightRecorder(2);
  const record = { direction: "sent", type: "PINGREQ", size: 2 } as const;
  assertEquals([recorder.records.length, String(recorder)], [0, ""]);
  for (const time of [1000, 1001, 1002.25]) recorder.trace({ ...record, time });
  assertEquals(recorder.records.map(({ time }) => time), [1001, 1002.25]);
  recorder.trace({
    direction: "received",
    time: 1004,
    type: "PUBLISH",
    size: 30,
    topic: 'a "b"\n',
    qos: 1,
    retain: true,
    dup: true,
    packetId: 7,
  });
  assertEquals(
    String(recorder),
    [
      "       0.0 ms > PINGREQ     2 bytes",
      '       1.8 ms < PUBLISH     "a \\"b\\"\\n", qos 1, retain, dup, id 7, 30 bytes',
    ].join("\n"),
  );
  for (const capacity of [0, -1, 1.5, NaN, Infinity]) assertThrows(() => flightRecorder(capacity), RangeError);
  assertEquals(flightRecorder().records, []);
});

for (const [name, open] of [["connect", connect], ["connectWorker", connectWorker]] as const) {
  test(`op.trace: what ${name} sends and receives, without credentials and payloads`, async () => {
    const broker = await startAedes();
    const recorder = flightRecorder();
    let arrived = () => {};
    const message = new Promise<void>((resolve) => arrived = resolve);
    const mqtt = await open(`mqtt://127.0.0.1:${broker.port}`, () => arrived(), {
      trace: recorder.trace,
      id: "traced",
      uname: "somebody",
      passwd: "hunter2",
      will: { topic: "gone", message: "testament" },
    });
    await mqtt.subscribe("a/+");
    await mqtt.publish("a/b", "confidential");
    await within(message, "the message");
    await mqtt.disconnect();
    await broker.stop();
    const seen = recorder.records.map(({ direction, type, topic, topics }) =>
      [direction, type, topic ?? topics].flat().filter((part) => part !== undefined).join(" ")
    );
    assertEquals(seen.toSorted(), [
      "received CONNACK",
      "received PUBLISH a/b",
      "received SUBACK",
      "sent CONNECT",
      "sent DISCONNECT",
      "sent PUBLISH a/b",
      "sent SUBSCRIBE a/+",
    ]);
    const text = `${recorder}${JSON.stringify(recorder.records)}`;
    for (const secret of ["somebody", "hunter2", "testament", "confidential"]) assert(!text.includes(secret), secret);
    assertMatch(`${recorder}`, /> CONNECT +\d+ bytes\n.* < CONNACK +code 0, 4 bytes/);
  });
}
