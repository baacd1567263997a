/** A message as `console.log` shows it. */
import { test } from "node:test";
import { inspect } from "node:util";
import { assert, assertEquals } from "@std/assert";
import { Message } from "../../mod.ts";
import { makeBlock } from "../../src/message.ts";
import { runScript } from "../support/spawn.ts";

function message(topic: string, payload: string | Uint8Array | number[], first = 0x30): Message {
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : Uint8Array.from(payload);
  return new Message(topic, first, makeBlock(bytes), 0, bytes.length);
}

const shown: [Message, string][] = [
  [message("a/b", "21.5"), 'Message { topic: "a/b", qos: 0, payload: "21.5" }'],
  [message("a", ""), 'Message { topic: "a", qos: 0, payload: "" }'],
  [message("a", "x", 0x31), 'Message { topic: "a", qos: 0, retain: true, payload: "x" }'],
  [message("a", "x", 0x3b), 'Message { topic: "a", qos: 1, retain: true, dup: true, payload: "x" }'],
  [message("größe", '{"t":1}\n'), 'Message { topic: "größe", qos: 0, payload: "{\\"t\\":1}\\n" }'],
  [message("a", "x".repeat(80)), `Message { topic: "a", qos: 0, payload: "${"x".repeat(80)}" }`],
  [message("a", "x".repeat(81)), `Message { topic: "a", qos: 0, payload: "${"x".repeat(80)}"... (81 bytes) }`],
  [message("a", "€".repeat(9999)), `Message { topic: "a", qos: 0, payload: "${"€".repeat(80)}"... (29997 bytes) }`],
  [message("a", "𝄞".repeat(80)), `Message { topic: "a", qos: 0, payload: "${"𝄞".repeat(80)}" }`],
  [message("a", "𝄞".repeat(81)), `Message { topic: "a", qos: 0, payload: "${"𝄞".repeat(80)}"... (324 bytes) }`],
  [message("a", [0, 255, 16]), 'Message { topic: "a", qos: 0, payload: <00 ff 10> }'],
  [message("a", [0xe2, 0x82]), 'Message { topic: "a", qos: 0, payload: <e2 82> }'],
  [message("a", "\x1b[31m"), 'Message { topic: "a", qos: 0, payload: <1b 5b 33 31 6d> }'],
  [message("a\x1b\x9b", ""), 'Message { topic: "a\\u001b\\u009b", qos: 0, payload: "" }'],
  [message("a", new Uint8Array(32)), `Message { topic: "a", qos: 0, payload: <${"00 ".repeat(32).trim()}> }`],
  [
    message("a", new Uint8Array(5000)),
    `Message { topic: "a", qos: 0, payload: <${"00 ".repeat(32).trim()}>... (5000 bytes) }`,
  ],
];

type Inspecting = { inspect(value: unknown): string };

test("console.log shows topic, QoS, flags and the beginning of the payload", () => {
  const { Deno: deno, Bun: bun } = globalThis as { Deno?: Inspecting; Bun?: Inspecting };
  for (const [message, expected] of shown) {
    for (const { inspect: inspected } of [{ inspect }, deno ?? [], bun ?? []].flat()) {
      assertEquals(inspected(message), expected);
      assert(inspected({ list: [message] }).includes(expected), "inside of others, too");
    }
    assertEquals(`${message}`, message.text());
  }
  assertEquals(Object.keys(message("a", "")), ["topic"]);
});

test("what is no message of its own can be shown, too", () => {
  for (const value of [Message.prototype, Object.create(message("a", ""))]) {
    assertEquals(typeof inspect(value), "string");
  }
});

test("a program's console.log shows it", async () => {
  const { stdout, stderr, code } = await runScript("tests/client/show.ts");
  assertEquals([stdout, stderr, code], ['Message { topic: "a/b", qos: 0, payload: "21.5" }\n', "", 0]);
});
