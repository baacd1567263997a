import { assert, assertEquals, assertGreater, assertLess, assertThrows } from "@std/assert";
import { describe, test } from "node:test";
import { MqttError } from "../../src/errors.ts";
import { Output } from "../../src/protocol/output.ts";
import { assertBytes, bytes, hex, join } from "../support/bytes.ts";
import { decodeNaive, encodeNaive, frame, NaiveReader } from "../support/naive.ts";
import { Random } from "../support/random.ts";

const utf8 = new TextEncoder();
const PINGREQ = () => Uint8Array.of(0xc0, 0);

/** Takes and writes until nothing is left: all the bytes. */
function drain(output: Output): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let part = output.take(); part !== undefined; part = output.take()) {
    parts.push(part.slice());
    output.written();
  }
  return join(parts);
}

/** The bytes of a PUBLISH, by the tests' own codec. */
function published(topic: string, payload: string | Uint8Array, flags = 0): Uint8Array {
  const name = utf8.encode(topic);
  const head = [name.length >> 8, name.length & 255, ...name];
  return frame(3, flags, head, typeof payload === "string" ? utf8.encode(payload) : payload);
}

describe("output: PUBLISH byte by byte", () => {
  test("[MQTT-4.3.1-1] the bytes of the reference, at QoS 0 without DUP", () => {
    const output = new Output(1000);
    output.publish("a/b", "hi", 0);
    output.publish("a/b", utf8.encode("hi"), 0);
    output.publish("a/b", "", 1);
    assertBytes(drain(output), bytes('30 07 0003 "a/b" "hi" 30 07 0003 "a/b" "hi" 31 05 0003 "a/b"'));
  });

  // ASCII and not, short and long: each way through the writer.
  const names = [
    "a",
    "/",
    "a/b/c",
    "é",
    "漢字/😀",
    "\ufeffx",
    "\x7f",
    "\x80",
    "$SYS/x",
    "x".repeat(48),
    "x".repeat(500),
    "é".repeat(300),
  ];
  const texts = [
    "",
    "x",
    "hello",
    "é",
    "a😀b",
    "\0\x01",
    "\x7f",
    "\x80",
    "\ufeff",
    "x".repeat(47) + "é",
    "é" + "x".repeat(60),
  ];
  for (const size of [47, 48, 49, 100, 121, 122, 123, 124, 125, 16_370, 16_381]) texts.push("x".repeat(size));

  for (const topic of names) {
    test(`[MQTT-3.3.2-1] every payload to "${topic.length > 20 ? `${topic[0]} * ${topic.length}` : topic}"`, () => {
      const output = new Output(1 << 20);
      for (const text of texts) {
        for (const flags of [0, 1]) {
          for (const payload of [text, utf8.encode(text)]) {
            output.publish(topic, payload, flags);
            assertBytes(drain(output), published(topic, text, flags));
          }
        }
      }
    });
  }

  for (
    const size of [
      65_400,
      65_531,
      65_532,
      65_533,
      65_534,
      65_535,
      65_536,
      65_540,
      131_072,
      2_097_148,
      2_097_149,
      5_000_000,
    ]
  ) {
    test(`a payload of ${size} bytes`, () => {
      const payload = new Uint8Array(size).map((_, i) => i * 7 >> 2);
      const output = new Output(1 << 24);
      output.publish("t", "before", 0);
      output.publish("big/one", payload, 0);
      output.publish("t", "after", 0);
      const expected = join([published("t", "before"), published("big/one", payload), published("t", "after")]);
      assertEquals(output.buffered, expected.length);
      assertBytes(drain(output), expected);
      assertEquals(output.buffered, 0);
    });
  }

  test("long texts beyond ASCII", () => {
    const output = new Output(1 << 24);
    for (const text of ["é".repeat(40_000), "x".repeat(65_000) + "漢", "😀".repeat(20_000), "x".repeat(70_000) + "é"]) {
      output.publish("t", text, 0);
      assertBytes(drain(output), published("t", text));
    }
  });

  test("[MQTT-4.7.3-3] names of 65,535 bytes", () => {
    for (const topic of ["x".repeat(65_535), "é".repeat(32_767) + "x"]) {
      const output = new Output(1 << 20);
      output.publish(topic, "payload", 0);
      assertBytes(drain(output), published(topic, "payload"));
    }
  });

  test("more names than are kept, again and again", () => {
    const output = new Output(1 << 24);
    for (let i = 0; i < 200_000; i++) {
      const topic = `${i % 7 ? "name" : "größe"}/${i % 50_000}`;
      output.publish(topic, "x", 0);
      if (i % 1000 === 0) assertBytes(drain(output).slice(-published(topic, "x").length), published(topic, "x"));
    }
  });

  test("a payload that is a view of a larger buffer", () => {
    const whole = utf8.encode("before payload after");
    for (const length of [0, 7]) {
      const output = new Output(1000);
      output.publish("t", whole.subarray(7, 7 + length), 0);
      assertBytes(drain(output), published("t", "payload".slice(0, length)));
    }
  });

  test("a lone surrogate in a payload becomes U+FFFD, as everywhere in the platform", () => {
    for (const text of ["\ud800", "a\udc00b", "x".repeat(60) + "\ud83d"]) {
      const output = new Output(1000);
      output.publish("t", text, 0);
      assertBytes(drain(output), published("t", text.replace(/[\ud800-\udfff]/, "\ufffd")));
    }
  });

  test("what the caller does with the payload afterwards does not matter", () => {
    const payload = utf8.encode("as it was");
    const output = new Output(1000);
    output.publish("t", payload, 0);
    payload.fill(0);
    assertBytes(drain(output), published("t", "as it was"));
  });

  test("random messages", () => {
    const random = new Random(21);
    const output = new Output(1 << 24);
    const reader = new NaiveReader();
    for (let i = 0; i < 5000; i++) {
      const topic = random.name(), text = random.text(random.size(100)), retain = random.chance(0.5);
      output.publish(topic, random.chance(0.5) ? text : utf8.encode(text), retain ? 1 : 0);
      const payload = utf8.encode(text);
      const [packet] = reader.push(drain(output));
      assertEquals(packet, { type: "PUBLISH", topic, payload, qos: 0, retain, dup: false, packetId: 0 });
    }
  });
});

describe("output: what is no message", () => {
  const names: [statement: string, name: unknown][] = [
    ["[MQTT-4.7.3-1]", ""],
    ["[MQTT-3.3.2-2]", "#"],
    ["[MQTT-3.3.2-2]", "a/+"],
    ["[MQTT-3.3.2-2]", "é/#"],
    ["[MQTT-1.5.3-2]", "a\0b"],
    ["[MQTT-1.5.3-2]", "é\0"],
    ["[MQTT-1.5.3-1]", "\ud800"],
    ["[MQTT-1.5.3-1]", "a/\udfff/b"],
    ["[MQTT-4.7.3-3]", "x".repeat(65_536)],
    ["[MQTT-4.7.3-3]", "é".repeat(32_768)],
    ["[MQTT-4.7.3-3]", "x".repeat(131_072)],
    ["[MQTT-3.3.2-1]", undefined],
    ["[MQTT-3.3.2-1]", 5],
    ["[MQTT-3.3.2-1]", utf8.encode("a")],
  ];
  for (const [statement, name] of names) {
    const shown = typeof name === "string" && name.length > 20 ? `${name[0]} * ${name.length}` : JSON.stringify(name);
    test(`${statement} a topic name ${shown} throws, and adds nothing`, () => {
      const output = new Output(1 << 20);
      output.publish("t", "before", 0);
      const error = assertThrows(() => output.publish(name as string, "x", 0), Error);
      assert(error instanceof TypeError || error instanceof RangeError, `${error}`);
      output.publish("t", "after", 0);
      assertBytes(drain(output), join([published("t", "before"), published("t", "after")]));
    });
  }

  for (
    const payload of [
      undefined,
      null,
      5,
      {},
      ["x"],
      new ArrayBuffer(2),
      new Uint16Array(2),
      new DataView(new ArrayBuffer(2)),
    ]
  ) {
    test(`a payload ${Object.prototype.toString.call(payload)} throws, and adds nothing`, () => {
      const output = new Output(1000);
      assertThrows(() => output.publish("t", payload as unknown as string, 0), TypeError);
      assertEquals([output.buffered, output.take()], [0, undefined]);
    });
  }

  test("a packet too long for the protocol throws, and adds nothing", () => {
    const output = new Output(Number.MAX_SAFE_INTEGER);
    assertThrows(() => output.publish("t", new Uint8Array(268_435_453), 0), RangeError);
    assertEquals(output.buffered, 0);
  });
});

describe("output: maxBuffered", () => {
  for (
    const [topic, payload] of [["a", "hi"], ["a", "é"], ["é", "x"], ["t", "x".repeat(60)], ["t", "x".repeat(200)], [
      "t",
      "x".repeat(70_000),
    ]] as const
  ) {
    const size = published(topic, payload).length;
    test(`exactly maxBuffered bytes are accepted: ${size} of "${topic}"`, () => {
      const output = new Output(size);
      output.publish(topic, payload, 0);
      assertEquals(output.buffered, size);
      assertEquals(drain(output).length, size);
      const less = new Output(size - 1);
      const error = assertThrows(() => less.publish(topic, payload, 0), MqttError);
      assertEquals([error.code, less.buffered, less.take()], ["overflow", 0, undefined]);
    });
  }

  test("overflow adds nothing, and there is room again when something was written", () => {
    const output = new Output(100);
    const one = published("t", "x".repeat(20));
    for (let i = 0; i < 4; i++) output.publish("t", "x".repeat(20), 0);
    assertEquals(assertThrows(() => output.publish("t", "x".repeat(20), 0), MqttError).code, "overflow");
    assertEquals(assertThrows(() => output.add(one), MqttError).code, "overflow");
    assertEquals(output.buffered, 4 * one.length);
    const taken = output.take()!;
    assertEquals(taken.length, 4 * one.length);
    assertEquals(
      assertThrows(() => output.add(one), MqttError).code,
      "overflow",
      "what is handed out is not written yet",
    );
    output.written();
    output.publish("t", "x".repeat(20), 0);
    assertBytes(drain(output), one);
  });

  test("addFirst has a place whatever waits", () => {
    const output = new Output(10);
    output.add(bytes("40 02 0001 40 02 0002"));
    output.addFirst(PINGREQ());
    output.addFirst(PINGREQ());
    output.addFirst(PINGREQ());
    assertEquals(hex(drain(output)), "c0 00 c0 00 c0 00 40 02 00 01 40 02 00 02");
  });
});

describe("output: blocks", () => {
  test("what is added within a tick goes out in one write", () => {
    const output = new Output(1 << 20);
    for (let i = 0; i < 8; i++) output.publish("sensors/1", "temperature 21.5", 0);
    assertEquals(output.take()!.length, 8 * published("sensors/1", "temperature 21.5").length);
  });

  test("a hundred thousand small messages go out in large writes", () => {
    const output = new Output(1 << 24);
    for (let i = 0; i < 100_000; i++) output.publish("sensors/1", "temperature 21.5", 0);
    let writes = 0, size = 0;
    for (let part = output.take(); part !== undefined; part = output.take()) {
      writes++;
      size += part.length;
      output.written();
    }
    assertEquals(size, 100_000 * published("sensors/1", "temperature 21.5").length);
    assertLess(writes, 70);
  });

  test("every write starts and ends between two packets", () => {
    const random = new Random(2);
    const output = new Output(1 << 24);
    for (let i = 0; i < 3000; i++) output.publish("t", random.bytes(random.size(5000)), 0);
    for (let part = output.take(); part !== undefined; part = output.take()) {
      for (let at = 0; at < part.length;) at += decodeNaive(part.subarray(at))!.length;
      output.written();
    }
  });

  test("a lone client that sends little keeps little memory", () => {
    const output = new Output(1 << 24);
    for (let i = 0; i < 100; i++) {
      output.publish("t", "x", 0);
      assertLess(output.take()!.buffer.byteLength, 5000);
      output.written();
    }
  });

  test("blocks are used again: a long stream needs few of them", () => {
    const output = new Output(1 << 24);
    const blocks = new Set<ArrayBufferLike>();
    for (let i = 0; i < 100_000; i++) {
      output.publish("sensors/1", "temperature 21.5", 0);
      if (i % 500 !== 0) continue;
      blocks.add(output.take()!.buffer);
      output.written();
    }
    assertLess(blocks.size, 20);
  });

  test("of the memory of a burst 2 MiB are kept for the next, until a quiet write", () => {
    const output = new Output(1 << 24), payload = new Uint8Array(4096);
    const known = new Set<ArrayBufferLike>();
    /** How much of the known memory it uses again, in blocks of 256 KiB. */
    const burst = (): number => {
      for (let i = 0; i < 2500; i++) output.publish("t", payload, 0);
      const used = new Set<ArrayBufferLike>();
      for (let part = output.take(); part !== undefined; part = output.take()) {
        used.add(part.buffer);
        output.written();
      }
      const again = [...used].filter((buffer) => known.has(buffer)).length;
      for (const buffer of used) known.add(buffer);
      return again;
    };
    assertEquals(burst(), 0);
    const again = burst();
    assertGreater(again, 6);
    assertLess(again, 10); // and the block that was begun
    output.publish("t", "quiet", 0);
    drain(output);
    assertLess(burst(), 3);
  });

  test("take without anything to send is undefined, written without take is nothing", () => {
    const output = new Output(100);
    assertEquals(output.take(), undefined);
    output.written();
    output.publish("t", "x", 0);
    output.written();
    assertBytes(drain(output), published("t", "x"));
  });

  test("a block whose second half waits is not written", () => {
    const output = new Output(1 << 24);
    const payload = "x".repeat(1000);
    // Past the small blocks.
    for (let i = 0; i < 100; i++) output.publish("t", payload, 0);
    drain(output);
    for (let i = 0; i < 30; i++) output.publish("first", payload, 0);
    output.take();
    for (let i = 0; i < 50; i++) output.publish("second", payload, 0); // fills the block, and starts another
    output.addFirst(PINGREQ());
    output.written();
    for (let i = 0; i < 200; i++) output.publish("third", payload, 0);
    const expected = [
      PINGREQ(),
      ...Array(50).fill(published("second", payload)),
      ...Array(200).fill(published("third", payload)),
    ];
    const topics = (stream: Uint8Array) =>
      new NaiveReader().push(stream).map((packet) => packet.type === "PUBLISH" ? packet.topic : packet.type);
    assertEquals(topics(drain(output)).join(), topics(join(expected)).join());
  });
});

/** The queue once more, as a plain list of packets. */
class Model {
  waiting: Uint8Array[] = [];
  taken: Uint8Array | undefined;

  get buffered(): number {
    return this.waiting.reduce((sum, packet) => sum + packet.length, 0) + (this.taken?.length ?? 0);
  }

  /** What was handed out must be whole packets, from the front. */
  took(part: Uint8Array): void {
    for (let at = 0; at < part.length;) {
      const packet = this.waiting.shift()!;
      assertBytes(part.subarray(at, at + packet.length), packet, "the next packet");
      at += packet.length;
      assert(at <= part.length, "a whole packet");
    }
    this.taken = part.slice();
  }
}

describe("output: any order of events", () => {
  for (
    const [name, largest, events] of [["small packets", 60, 3000], ["packets of all sizes", 100_000, 400], [
      "half blocks",
      30_000,
      600,
    ]] as const
  ) {
    test(`what a plain list would send: ${name}`, () => {
      for (let seed = 1; seed <= 25; seed++) {
        const random = new Random(seed);
        const max = random.pick([2000, 300_000, 1 << 23]);
        const output = new Output(max);
        const model = new Model();
        let part: Uint8Array | undefined;
        for (let event = 0; event < events; event++) {
          const kind = random.int(1, 100);
          if (kind <= 60) {
            const topic = random.pick(["t", "sensors/1", "é"]);
            const payload = new Uint8Array(random.size(largest)).fill(event);
            const packet = published(topic, payload);
            const fits = model.buffered + packet.length <= max;
            try {
              output.publish(topic, payload, 0);
              model.waiting.push(packet);
              assert(fits);
            } catch (error) {
              assertEquals((error as MqttError).code, "overflow", `${error}`);
              assert(!fits, `seed ${seed}: ${model.buffered} and ${packet.length} of ${max} bytes is no overflow`);
            }
          } else if (kind <= 65) {
            const packet = encodeNaive({ type: "PUBACK", packetId: event + 1 });
            if (model.buffered + packet.length <= max) {
              output.add(packet);
              model.waiting.push(packet);
            }
          } else if (kind <= 68) {
            const first = encodeNaive({ type: "SUBSCRIBE", packetId: event + 1, filters: [{ topic: "a", qos: 0 }] });
            output.addFirst(Uint8Array.from(first));
            model.waiting.unshift(first);
          } else if (kind <= 82) {
            if (part !== undefined) continue;
            part = output.take();
            if (part === undefined) assertEquals(model.waiting.length, 0, `seed ${seed}`);
            else model.took(part);
          } else if (kind <= 99) {
            if (part === undefined) continue;
            assertBytes(part, model.taken!, `seed ${seed}: written while it was handed out`);
            output.written();
            part = model.taken = undefined;
          } else if (random.chance(0.2)) {
            output.restart();
            part = model.taken = undefined;
            model.waiting = model.waiting.filter((packet) => packet[0]! >> 4 === 3);
          }
          assertEquals(output.buffered, model.buffered, `seed ${seed}`);
        }
        if (part !== undefined) {
          output.written();
          model.taken = undefined;
        }
        for (part = output.take(); part !== undefined; part = output.take()) {
          model.took(part);
          output.written();
        }
        assertEquals([model.waiting.length, output.buffered], [0, 0], `seed ${seed}`);
      }
    });
  }
});

describe("output: restart", () => {
  const requests = ["82 08 0001 0003 732f31 00", "40 02 0001", "c0 00", "70 02 0001"].map(bytes);

  test("[MQTT-3.1.0-1] only PUBLISH packets wait for the next connection", () => {
    const output = new Output(1000);
    for (const request of requests) {
      output.add(request);
      output.publish("t", "x", 0);
      output.addFirst(Uint8Array.from(request));
    }
    output.restart();
    assertBytes(drain(output), join(requests.map(() => published("t", "x"))));
  });

  test("[MQTT-4.3.1-1] what was handed out is not sent a second time", () => {
    const output = new Output(1000);
    output.publish("t", "gone", 0);
    output.take();
    output.publish("t", "stays", 0);
    output.restart();
    assertEquals(output.buffered, published("t", "stays").length);
    output.written(); // of the connection that is no more
    assertBytes(drain(output), published("t", "stays"));
  });

  test("what a connection that is no more still writes does not change", () => {
    const output = new Output(1 << 24);
    for (let i = 0; i < 200; i++) output.publish("t", "x".repeat(1000), 0);
    drain(output);
    output.publish("t", "old".repeat(1000), 0);
    const old = output.take()!;
    const before = old.slice();
    output.restart();
    for (let i = 0; i < 300; i++) output.publish("new", "y".repeat(1000), 0);
    assertBytes(old, before);
    const found = drain(output);
    assertBytes(old, before);
    assertEquals(new NaiveReader().push(found).length, 300);
  });

  test("much that waits, in many blocks", () => {
    const random = new Random(8);
    const output = new Output(1 << 24);
    const expected: Uint8Array[] = [];
    for (let i = 0; i < 2000; i++) {
      const payload = random.bytes(random.size(3000));
      output.publish("t", payload, 0);
      expected.push(published("t", payload));
      if (random.chance(0.1)) output.add(encodeNaive({ type: "PUBREC", packetId: i + 1 }));
    }
    assertGreater(output.buffered, 200_000);
    output.restart();
    output.restart();
    assertBytes(drain(output), join(expected));
  });

  test("of nothing is nothing", () => {
    const output = new Output(1000);
    output.restart();
    assertEquals([output.buffered, output.take()], [0, undefined]);
    output.publish("t", "x", 0);
    assertBytes(drain(output), published("t", "x"));
  });
});

describe("output: acknowledgements, and copies of what waits elsewhere", () => {
  test("[MQTT-3.6.1-1] [MQTT-2.3.1-6] four bytes each, PUBREL with its flags", () => {
    const output = new Output(100);
    output.acknowledge(4, 0x0102);
    output.acknowledge(5, 0xffff);
    output.acknowledge(6, 1);
    output.acknowledge(7, 0x0100);
    assertEquals(hex(output.take()!), hex(bytes("40 02 0102 50 02 ffff 62 02 0001 70 02 0100")));
  });

  test("they have a place whatever waits, and are a flood when no broker that reads can want so many", () => {
    const output = new Output(10);
    const most = 10 + 5 * 65_535 + 262_144;
    for (let size = 4; size <= most; size += 4) output.acknowledge(4, 1);
    assertEquals(output.isFlooded, false);
    output.acknowledge(4, 1);
    assertEquals(output.isFlooded, true);
    while (output.take() !== undefined) output.written();
    assertEquals([output.buffered, output.isFlooded], [0, false]);
  });

  test("another connection: neither they nor copies are kept, only messages of QoS 0, in their order", () => {
    const output = new Output(1000);
    output.publish("a", "1", 0);
    output.acknowledge(4, 1);
    output.addCopies(bytes('32 06 0001 "a" 0001 "x" 3c 06 0001 "a" 0002 "y"'));
    output.publish("a", "2", 1);
    output.acknowledge(6, 2);
    assertEquals(output.restart(), 2);
    assertEquals(hex(output.take()!), hex(bytes('30 04 0001 "a" "1" 31 04 0001 "a" "2"')));
  });

  test("copies have a place although the rest is used up: they are counted where they wait", () => {
    const output = new Output(10);
    output.addCopies(new Uint8Array(100));
    assertEquals(output.buffered, 100);
    assertThrows(() => output.publish("a", "x", 0), MqttError, "maxBuffered");
  });
});
