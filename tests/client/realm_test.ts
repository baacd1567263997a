/** Values of another realm, as a vm and some test runners make them: bytes are bytes. */
import { Buffer } from "node:buffer";
import { test } from "node:test";
import vm from "node:vm";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { connect, type ConnectOptions, connectSync, type Streams } from "../../mod.ts";
import { isBytes, kindOf } from "../../src/protocol/bytes.ts";
import { Output } from "../../src/protocol/output.ts";
import { parseSettings } from "../../src/client/settings.ts";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { send, startScripted, wait } from "../support/scripted.ts";
import { mosquittoSub, startMosquitto } from "../support/servers.ts";
import { modes } from "./modes.ts";
import { endsToo } from "./support.ts";

/** Bytes whose Uint8Array is not ours. */
function foreign(bytes: Uint8Array | readonly number[]): Uint8Array {
  const made = vm.runInNewContext("Uint8Array.from(bytes)", { bytes: [...bytes] }) as Uint8Array;
  assert(!(made instanceof Uint8Array));
  return made;
}

const bytesOf = (text: string) => foreign(new TextEncoder().encode(text));

/** A Buffer as a runner sees it that has a Uint8Array of its own. */
function strangeBuffer(text: string): Uint8Array {
  const bytes = bytesOf(text);
  return Object.setPrototypeOf(bytes, Object.create(Object.getPrototypeOf(bytes)));
}

test("isBytes: a Uint8Array of any realm, and nothing else", () => {
  for (const bytes of [new Uint8Array(1), Buffer.from("a"), foreign([1]), strangeBuffer("a")]) assert(isBytes(bytes));
  const others = [
    "",
    null,
    undefined,
    1,
    {},
    [1],
    new ArrayBuffer(1),
    new DataView(new ArrayBuffer(1)),
    new Int8Array(1),
  ];
  const fakes = [new Uint8ClampedArray(1), { [Symbol.toStringTag]: "Uint8Array" }, vm.runInNewContext("[1]")];
  for (const other of [...others, ...fakes]) assert(!isBytes(other), kindOf(other));
});

test("kindOf names what was received", () => {
  class Reading {}
  const rows: [unknown, string][] = [
    [null, "null"],
    [undefined, "undefined"],
    [[1], "an array"],
    [{}, "an object"],
    [Object.create(null), "an object"],
    [1, "a number"],
    [1n, "a bigint"],
    [true, "a boolean"],
    [Symbol(), "a symbol"],
    [() => {}, "a function"],
    ["text", "a string"],
    [new Blob([]), "a Blob"],
    [new Reading(), "a Reading"],
    [new Uint16Array(1), "a Uint16Array"],
    [new ArrayBuffer(1), "an ArrayBuffer"],
    [new Date(), "a Date"],
    [Promise.resolve(), "a Promise"],
  ];
  for (const [value, expected] of rows) assertEquals(kindOf(value), expected);
});

test("bytes of another realm in CONNECT and PUBLISH are sent as they are", async () => {
  const accept = [wait(14), send([0x20, 2, 0, 0]), endsToo];
  const server = await startScripted(accept);
  const op: ConnectOptions = {
    port: server.port,
    id: "ID",
    uname: bytesOf("U"),
    passwd: () => strangeBuffer("P"),
    will: { topic: "w", message: bytesOf("gone") },
  };
  try {
    for (const [mode, open] of modes.slice(0, 2)) {
      const mqtt = await open("127.0.0.1", undefined, op);
      await mqtt.publish("t", bytesOf("m"));
      await mqtt.publish("t", strangeBuffer("n"));
      await mqtt.publish("t", foreign(new Uint8Array(100).fill(7)));
      await mqtt.publish("t", foreign(new Uint8Array(300_000).fill(8)));
      await mqtt.disconnect();
      const sent = server.peers.at(-1)!.received();
      const connecting = "\x10\x1d\0\x04MQTT\x04\xc6\0<\0\x02ID\0\x01w\0\x04gone\0\x01U\0\x01P";
      const publishing = `0\x04\0\x01tm0\x04\0\x01tn0g\0\x01t${"\x07".repeat(100)}`;
      assertEquals(Buffer.from(sent.subarray(0, 148)).toString("latin1"), connecting + publishing, mode);
      assertEquals(sent.filter((byte) => byte === 8).length, 300_000, mode);
    }
  } finally {
    await server.stop();
  }
});

test("the same with connectSync", needs("mosquitto", "mosquitto_sub"), async () => {
  const mosquitto = await startMosquitto();
  const subscriber = await mosquittoSub({ port: mosquitto.port, topic: "t" });
  try {
    const will = { topic: "w", message: bytesOf("gone") };
    const mqtt = connectSync(`127.0.0.1:${mosquitto.port}`, undefined, {
      uname: bytesOf("U"),
      passwd: bytesOf("P"),
      will,
    });
    mqtt.publish("t", bytesOf("m"));
    mqtt.disconnect();
    assertEquals(Buffer.from((await subscriber.next()).payload).toString(), "m");
  } finally {
    await subscriber.stop();
    await mosquitto.stop();
  }
});

test("certificates, lists and options of another realm", needs("mosquitto", "openssl"), async () => {
  const { ca, client } = certificates();
  const mosquitto = await startMosquitto({ clientCert: true });
  const list = vm.runInNewContext("[ca]", { ca: bytesOf(ca) });
  const tls = vm.runInNewContext("({ ca, cert, key })", {
    ca: list,
    cert: bytesOf(client.cert),
    key: bytesOf(client.key),
  });
  try {
    for (const [, open] of modes) {
      const mqtt = await open("localhost", undefined, { port: mosquitto.port, tls });
      assertEquals(mqtt.trusted, true);
      await mqtt.disconnect();
    }
  } finally {
    await mosquitto.stop();
  }
});

test("a signal and streams of another realm are known by what they are", async () => {
  const { signal } = new AbortController();
  // As a polyfill has it: not an instance of ours.
  const other = Object.create(Object.prototype, {
    [Symbol.toStringTag]: { value: "AbortSignal" },
    aborted: { value: false },
    addEventListener: { value: signal.addEventListener.bind(signal) },
    removeEventListener: { value: signal.removeEventListener.bind(signal) },
  });
  parseSettings({ signal: other });
  for (const wrong of [{}, "now", { aborted: false }]) {
    assertThrows(() => parseSettings({ signal: wrong as AbortSignal }), TypeError, "signal");
  }
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const reader = readable.getReader();
  const streams = {
    readable: { locked: false, getReader: () => new ReadableStream({ start: (to) => to.close() }).getReader() },
    writable: { locked: false, getWriter: () => writable.getWriter() },
  };
  const connecting = connect(streams as unknown as Streams, undefined, { id: "ID", timeout: 1000 });
  await assertRejects(() => connecting, Error, "closed");
  await reader.cancel();
});

test("what is no payload is named, with what to do", () => {
  const rows: [unknown, string][] = [
    [{}, "received an object; JSON.stringify() or String() it"],
    [[1], "received an array; JSON.stringify() or String() it"],
    [42, "received a number; JSON.stringify() or String() it"],
    [true, "received a boolean; JSON.stringify() or String() it"],
    [new Date(), "received a Date; JSON.stringify() or String() it"],
    [null, 'received null; JSON.stringify() or String() it; an empty message is ""'],
    [undefined, 'received undefined; JSON.stringify() or String() it; an empty message is ""'],
    [new Blob([]), "received a Blob; give new Uint8Array(await its arrayBuffer())"],
    [Promise.resolve(""), "received a Promise; await it"],
    [new ArrayBuffer(1), "received an ArrayBuffer; give new Uint8Array(it)"],
    [new Uint16Array(1), "received a Uint16Array; give its bytes, new Uint8Array(buffer, byteOffset, byteLength)"],
  ];
  const output = new Output(1000);
  for (const [payload, message] of rows) {
    assertThrows(() => output.publish("t", payload as string, 0), TypeError, message);
  }
  assertEquals(output.buffered, 0);
  assertThrows(
    () => output.publish(null as never, "", 0),
    TypeError,
    "the topic name as it must be a string: received null",
  );
});
