/**
 * The cases that the Autobahn test suite lists for RFC 6455, by its numbers, as far as they apply to a client of binary MQTT:
 * where it wants a message sent back, an MQTT message comes out; where it sends text, the connection ends. Those of 10, 12
 * and 13, of fragments that the client makes by itself and of compression, are of what this client never does.
 */
import { test } from "node:test";
import { Buffer } from "node:buffer";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { connect } from "../../mod.ts";
import { type Action, send } from "../support/scripted.ts";
import { startAedes } from "../support/servers.ts";
import { serveWebSocket } from "../support/aedes_websocket.ts";
import { join } from "../support/bytes.ts";
import { closeFrame, frame, hear, until } from "../support/websocket.ts";
import { assertBytes, endsToo, gone, Inbox, noise, within } from "./support.ts";
import { accepted, answersClose, concat, latin1, open, publish, whole, withServer } from "./websocket_scene.ts";

const x = (count: number) => "x".repeat(count);
const PINGRESP = latin1("\xd0\0");

/** Bytes in pieces of so many, each of which has gone out before the next one does. */
const chopped = (bytes: Uint8Array, size: number): Action => async ({ socket }) => {
  for (let at = 0; at < bytes.length && !socket.destroyed; at += size) {
    await new Promise((sent) => socket.write(bytes.subarray(at, at + size), sent));
  }
};
/** The three ways in which Autobahn sends a case: at one go, frame by frame, byte by byte. */
const ways: [string, (frames: Uint8Array[]) => Action][] = [
  ["at one go", (frames) => send(concat(...frames))],
  ["frame by frame", (frames) => async (peer) => {
    for (const frame of frames) await chopped(frame, frame.length)(peer);
  }],
  ["byte by byte", (frames) => chopped(concat(...frames), 1)],
];
/** A case in three ways, which have numbers that follow each other. */
function inWays<T>(
  chapter: number,
  first: number,
  what: string,
  frames: Uint8Array[],
  row: (name: string, action: Action) => T,
) {
  return ways.map(([way, action], i) => row(`${chapter}.${first + i}: ${what}, ${way}`, action(frames)));
}

/** A frame of so many bytes: PINGRESPs that nobody asked for, and the message, in a frame of its own if the number is even. */
function padded(length: number): Uint8Array {
  const isEven = length % 2 === 0, payload = new Uint8Array(length);
  for (let at = 0; at < length; at += 2) payload.set(PINGRESP.subarray(0, length - at), at);
  if (isEven) return concat(frame(2, payload), frame(2, whole));
  payload.set(whole, length - whole.length);
  return frame(2, payload);
}

/** Frames that give the one message "a: bc" to a client, and the last answer to their pings. */
const good: [what: string, Action, pong?: string][] = [
  ["1.2.1: a frame without a payload", send(concat(frame(2), frame(2, whole)))],
  ...[125, 126, 127, 128, 65_535, 65_536].map((length, i): [string, Action] => [
    `1.2.${i + 2}: a frame of ${length} bytes`,
    send(padded(length)),
  ]),
  ["1.2.8: a frame of 65,536 bytes, 997 at a time", chopped(padded(65_536), 997)],
  ["2.1: a ping without a payload", send(concat(frame(9), frame(2, whole))), ""],
  ["2.2: a ping with a text", send(concat(frame(9, "Hello, world!"), frame(2, whole))), "Hello, world!"],
  [
    "2.3: a ping with bytes that are no text",
    send(concat(frame(9, latin1("\0\xff\xfe\xfd\xfc\xfb\0\xff")), frame(2, whole))),
    "\0\xff\xfe\xfd\xfc\xfb\0\xff",
  ],
  ["2.4: a ping of 125 bytes", send(concat(frame(9, x(125)), frame(2, whole))), x(125)],
  ["2.6: a ping of 125 bytes, byte by byte", chopped(concat(frame(9, x(125)), frame(2, whole)), 1), x(125)],
  ["2.7: a pong without a payload that nobody asked for", send(concat(frame(10), frame(2, whole)))],
  ["2.8: a pong that nobody asked for", send(concat(frame(10, "x"), frame(2, whole)))],
  ["2.9: such a pong, then a ping", send(concat(frame(10, "x"), frame(9, "y"), frame(2, whole))), "y"],
  ...[send, (bytes: Uint8Array) => chopped(bytes, 1)].map((how, i): [string, Action, string] => [
    `2.${10 + i}: ten pings, ${ways[2 * i]![0]}`,
    how(concat(...Array.from({ length: 10 }, (_, i) => frame(9, `payload-${i}`)), frame(2, whole))),
    "payload-9",
  ]),
  ...inWays(
    5,
    3,
    "a packet in two fragments",
    [frame(2, whole.slice(0, 3), { more: true }), frame(0, whole.slice(3))],
    (name, action): [string, Action] => [name, action],
  ),
  ...inWays(
    5,
    6,
    "a ping between two fragments",
    [frame(2, whole.slice(0, 3), { more: true }), frame(9, "ping"), frame(0, whole.slice(3))],
    (name, action): [string, Action, string] => [name, action, "ping"],
  ),
  ...inWays(
    5,
    19,
    "five fragments, and two pings between",
    [
      frame(2, whole.slice(0, 1), { more: true }),
      frame(0, whole.slice(1, 2), { more: true }),
      frame(9, "pongme 1!"),
      frame(0, whole.slice(2, 3), { more: true }),
      frame(0, whole.slice(3, 4), { more: true }),
      frame(9, "pongme 2!"),
      frame(0, whole.slice(4)),
    ],
    (name, action): [string, Action, string] => [name, action, "pongme 2!"],
  ).slice(0, 2),
  [
    "6.1.2: fragments without a payload",
    send(concat(frame(2, "", { more: true }), frame(0, "", { more: true }), frame(0, whole), frame(2), frame(2))),
  ],
  [
    "a packet in as many frames as it has bytes",
    send(concat(...[...whole].map((byte) => frame(2, Uint8Array.of(byte))))),
  ],
  ["several packets in one frame", send(frame(2, concat(PINGRESP, PINGRESP, whole)))],
  ["a frame that announces 2^63 - 1 bytes", send(frame(2, whole, { length: 2n ** 63n - 1n, size: 8 }))],
];

for (const [what, action, pong] of good) {
  test(`Autobahn ${what}`, async () => {
    await withServer([...accepted, action, answersClose], async (server, op) => {
      const inbox = new Inbox();
      const client = await open(op, inbox.onpub);
      assertEquals(await inbox.text(), "a: bc");
      await client.disconnect();
      const pongs = hear(server.received()).frames.filter(({ opcode }) => opcode === 10);
      assertEquals(pongs.at(-1) && Buffer.from(pongs.at(-1)!.payload).toString("latin1"), pong);
    });
  });
}

const reserved = /a reserved bit, as of compression/, nothing = /a continuation of no message/;
type Bad = [what: string, Uint8Array | Action, code: number, RegExp];

/** Frames that end the connection; the code that the server hears, and the message. */
const bad: Bad[] = [
  ...[0, 125, 126, 127, 128, 65_535, 65_536].map((length, i): Bad => [
    `1.1.${i + 1}: text of ${length} bytes`,
    frame(1, x(length)),
    1003,
    /a text frame.*\[MQTT-6\.0\.0-1\]/,
  ]),
  ["1.1.8: text of 65,536 bytes, 997 at a time", chopped(frame(1, x(65_536)), 997), 1003, /a text frame/],
  ["2.5: a ping of 126 bytes", frame(9, x(126)), 1002, /more than 125 bytes.*section 5\.5\]/],
  ...[1, 2, 3, 4, 5, 6, 7].map((bits, i): Bad => [
    `3.${i + 1}: reserved bits ${bits}`,
    frame(2, whole, { reserved: bits }),
    1002,
    reserved,
  ]),
  ...[1, 2, 3, 4, 5, 6, 7].map((bits): Bad => [
    `3.${bits}: reserved bits ${bits} of a ping`,
    frame(9, "", { reserved: bits }),
    1002,
    reserved,
  ]),
  ...[3, 4, 5, 6, 7].map((
    opcode,
    i,
  ): Bad => [`4.1.${i + 1}: opcode ${opcode}`, frame(opcode, "x"), 1002, /reserved opcode/]),
  ...[11, 12, 13, 14, 15].map((opcode, i): Bad => [
    `4.2.${i + 1}: opcode ${opcode}`,
    frame(opcode, "x"),
    1002,
    /reserved opcode/,
  ]),
  [
    "5.1: a ping in fragments",
    concat(frame(9, "x", { more: true }), frame(0, "y")),
    1002,
    /a control frame in fragments/,
  ],
  [
    "5.2: a pong in fragments",
    concat(frame(10, "x", { more: true }), frame(0, "y")),
    1002,
    /a control frame in fragments/,
  ],
  ...[[9, false], [12, true]].flatMap(([first, more]) =>
    inWays(
      5,
      Number(first),
      `a continuation of nothing, FIN ${more ? "not set" : "set"}`,
      [frame(0, "non-continuation", { more: Boolean(more) }), frame(2, whole)],
      (name, action): Bad => [name, action, 1002, nothing],
    )
  ),
  [
    "5.15: a continuation after a message in two fragments",
    concat(frame(2, "", { more: true }), frame(0), frame(0, "x", { more: true }), frame(2, whole)),
    1002,
    nothing,
  ],
  ["5.16: a continuation before each message", concat(frame(0, "x", { more: true }), frame(2, whole)), 1002, nothing],
  ["5.17: a last continuation before each message", concat(frame(0, "x"), frame(2, whole)), 1002, nothing],
  ["5.18: a message within another", concat(frame(2, "", { more: true }), frame(2, whole)), 1002, /before the end of/],
  ["6: text in fragments", concat(frame(1, "κ", { more: true }), frame(0, "ό")), 1003, /a text frame/],
  ["7.3.2: a close frame of one byte", frame(8, "x"), 1002, /close frame with the code 120/],
  ["7.3.6: a reason of 124 bytes", closeFrame(1000, x(124)), 1002, /more than 125 bytes/],
  ["7.5.1: a reason that is not UTF-8", closeFrame(1000, latin1("\xce\xba\xed\xa0\x80")), 1007, /reason is not UTF-8/],
  ...[0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999].map((code, i): Bad => [
    `7.9.${i + 1}: the close code ${code}`,
    closeFrame(code),
    1002,
    /which is none/,
  ]),
  ...[5000, 65_535].map((
    code,
    i,
  ): Bad => [`7.13.${i + 1}: the close code ${code}`, closeFrame(code), 1002, /which is none/]),
  ["the close code 1015", closeFrame(1015), 1002, /which is none/],
  ["a ping of 2^62 bytes", frame(9, "", { length: 2n ** 62n, size: 8 }), 1002, /more than 125 bytes/],
  ["a masked frame", frame(2, whole, { masked: true }), 1002, /a masked frame/],
  ["a length of 2^63", frame(2, "", { length: 2n ** 63n, size: 8 }), 1002, /2\^63 bytes or more/],
  ["a length of 2^64 - 1", frame(2, "", { length: 2n ** 64n - 1n, size: 8 }), 1002, /2\^63 bytes or more/],
  ["a length in more bytes than it needs", frame(2, whole, { size: 2 }), 1002, /more bytes than it needs/],
  ["a length in eight bytes instead of two", frame(2, x(300), { size: 8 }), 1002, /more bytes than it needs/],
];

for (const [what, frames, closeCode, message] of bad) {
  test(`Autobahn ${what}: "protocol", and what came before is delivered`, async () => {
    const action = typeof frames === "function" ? frames : send(frames), rest = send(frame(2, publish("a", "never")));
    await withServer([...accepted, send(frame(2, whole)), action, rest, endsToo], async (server, op) => {
      const inbox = new Inbox();
      const error = await within((await open(op, inbox.onpub)).run(), "run()");
      assertEquals(error.code, "protocol", error.message);
      assertMatch(error.message, message);
      assertEquals(inbox.messages.map((message) => message.text()), ["bc"]);
      await until(await server.peer(), ({ frames }) => frames.at(-1)?.opcode === 8);
      const last = hear(server.received()).frames.at(-1);
      assertEquals([last?.opcode, last?.payload.join()], [8, `${closeCode >> 8},${closeCode & 255}`]);
    });
  });
}

const large = publish("a", "never");
type Closing = [what: string, frames: Uint8Array[], code: number, RegExp, messages: string[]];
const named: [number, RegExp][] = [
  [1000, /1000, normal/],
  [1001, /1001, it is going away/],
  [1002, /1002, protocol error/],
  [1003, /1003, data it does not take/],
  [1007, /1007, wrong data/],
  [1008, /1008, against its policy/],
  [1009, /1009, too large/],
  [1010, /1010, an extension is missing/],
  [1011, /1011, an error of its own/],
  [3000, /3000: "/],
  [3999, /3999: "/],
  [4000, /4000: "/],
  [4999, /4999: "/],
];

/** Close frames, and what is told of them; the code of the answer. */
const closings: Closing[] = [
  ["7.1.1: a message, then a close frame", [frame(2, whole), closeFrame(1000)], 1000, /1000, normal/, ["bc"]],
  ["7.1.2: two close frames", [closeFrame(1000), closeFrame(1001)], 1000, /1000, normal/, []],
  ["7.1.3: a ping after a close frame", [closeFrame(1000), frame(9)], 1000, /1000, normal/, []],
  ["7.1.4: a message after a close frame", [closeFrame(1000), frame(2, large)], 1000, /1000, normal/, []],
  [
    "7.1.5: a close frame between two fragments",
    [frame(2, whole.slice(0, 3), { more: true }), closeFrame(1000), frame(0, whole.slice(3))],
    1000,
    /1000, normal/,
    [],
  ],
  [
    "7.1.6: 256 KiB, a close frame, and a ping",
    [padded(262_144), closeFrame(1000), frame(9)],
    1000,
    /1000, normal/,
    ["bc"],
  ],
  ["7.3.1: a close frame without a payload", [frame(8)], 1000, /1005, no code/, []],
  ["7.3.3: a close frame with a code alone", [closeFrame(1000)], 1000, /1000, normal$/, []],
  ["7.3.4: a reason", [closeFrame(1000, "Hello World!")], 1000, /1000, normal: "Hello World!"/, []],
  ["7.3.5: a reason of 123 bytes", [closeFrame(1000, "*".repeat(123))], 1000, /1000, normal: "\*{123}"/, []],
  ...named.map(([code, message], i): Closing => [
    `7.7.${i + 1}: the close code ${code}`,
    [closeFrame(code, "who\x1b[ say"), frame(2, large)],
    code,
    message,
    [],
  ]),
  ["the close code 1012", [closeFrame(1012)], 1012, /1012, it restarts/, []],
  ["the close code 1014", [closeFrame(1014)], 1014, /1014, an error of a server behind it/, []],
];

for (const [what, frames, code, message, messages] of closings) {
  test(`Autobahn ${what}: it is told, and answered: "socketclosed"`, async () => {
    await withServer([...accepted, send(concat(...frames)), endsToo], async (server, op) => {
      const inbox = new Inbox();
      const error = await within((await open(op, inbox.onpub)).run(), "run()");
      assertEquals(error.code, "socketclosed");
      assertMatch(error.message, message);
      if (what.startsWith("7.7")) assertStringIncludes(error.message, `"who\\u001b[ say"`);
      assertEquals(inbox.messages.map((message) => message.text()), messages);
      await gone(await server.peer());
      const heard = hear(server.received()).frames, last = heard.at(-1);
      assertEquals(last?.payload.join(), `${code >> 8},${code & 255}`);
      assertEquals(
        heard.filter(({ opcode }) => opcode >= 8).map(({ opcode }) => opcode),
        [8],
        "one close frame, no pong",
      );
    });
  });
}

const MIB = 1 << 20;
/** A PUBLISH of so many bytes in all. */
function packetOf(total: number): Uint8Array {
  const packet = noise(total), rest = total - (total - 4 < 2 ** 21 ? 4 : 5);
  packet[0] = 0x30;
  packet.set([rest & 127 | 128, rest >> 7 & 127 | 128, rest >> 14 & 127 | (rest >> 21 > 0 ? 128 : 0), rest >> 21], 1);
  packet.set([0, 1, 97], total - rest);
  return packet;
}
/** A packet in fragments of so many bytes. */
function fragmented(packet: Uint8Array, size: number): Uint8Array {
  const count = Math.ceil(packet.length / size);
  return join(Array.from({ length: count }, (_, i) => {
    return frame(i === 0 ? 2 : 0, packet.subarray(i * size, (i + 1) * size), { more: i < count - 1 });
  }));
}

const sizes: [what: string, total: number, (packet: Uint8Array) => Action][] = [
  ...[64 * 1024, 256 * 1024, MIB, 4 * MIB, 8 * MIB, 16 * MIB].map((
    total,
    i,
  ): [string, number, (p: Uint8Array) => Action] => [
    `9.2.${i + 1}: a frame of ${total / 1024} KiB`,
    total,
    (packet) => send(frame(2, packet)),
  ]),
  ...[64, 256, 1024, 4096, 16_384, 65_536, 262_144, MIB, 4 * MIB].map((
    size,
    i,
  ): [string, number, (p: Uint8Array) => Action] => [
    `9.4.${i + 1}: 4 MiB in fragments of ${size} bytes`,
    4 * MIB,
    (packet) => send(fragmented(packet, size)),
  ]),
  ...[64, 128, 256, 512, 1024, 2048].map((size, i): [string, number, (p: Uint8Array) => Action] => [
    `9.6.${i + 1}: a frame of 1 MiB, ${size} bytes at a time`,
    MIB,
    (packet) => chopped(frame(2, packet), size),
  ]),
];

for (const [what, total, how] of sizes) {
  test(`Autobahn ${what}`, async () => {
    const packet = packetOf(total);
    await withServer([...accepted, how(packet), answersClose], async (_, op) => {
      const inbox = new Inbox();
      const client = await open(op, inbox.onpub);
      const [message] = await inbox.take(1), { payload } = message!;
      assertBytes(payload, packet.subarray(total - payload.length));
      assertEquals(total - payload.length - 3, total < 2 ** 21 ? 4 : 5);
      await client.disconnect();
    });
  });
}

test("Autobahn 9.8: 1,000 messages of 0, 16, 64, 256, 1,024 and 4,096 bytes there and back, one at a time", async () => {
  const { broker, stop } = await startAedes(), web = await serveWebSocket(broker);
  try {
    const inbox = new Inbox(), client = await connect(`ws://127.0.0.1:${web.port}`, inbox.onpub);
    await client.subscribe("echo");
    for (const length of [0, 16, 64, 256, 1024, 4096]) {
      const payload = new Uint8Array(length).fill(0xfe);
      for (let i = 0; i < 1000; i++) {
        await client.publish("echo", payload);
        assertBytes((await inbox.take(1))[0]!.payload, payload);
      }
    }
    await client.disconnect();
  } finally {
    await web.stop();
    await stop();
  }
});
