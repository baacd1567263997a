/** What becomes of a call: its promise, and its callback. */
import { test } from "node:test";
import { assertEquals, assertRejects } from "@std/assert";
import { promiseOf } from "../../src/client/call.ts";
import { MqttError } from "../../src/errors.ts";

test("the callback of subscribe() hears of a refusal, and not of the reason code with which a connection has ended", async () => {
  for (const code of [128, 135] as const) {
    const error = new MqttError(code, "No"), heard: number[] = [];
    const ask = (reason: MqttError | undefined) =>
      promiseOf({ reason }, (call) => call.reject(error), (code) => heard.push(code));
    await assertRejects(() => ask(error), MqttError, "No");
    assertEquals(heard, []);
    await assertRejects(() => ask(undefined), MqttError, "No");
    assertEquals(heard, [code]);
  }
  // That of a DISCONNECT, on two connections in a row.
  const heard: number[] = [];
  const lost = new MqttError(139, "It is shutting down");
  await assertRejects(() => promiseOf({ reason: undefined }, (call) => call.reject(lost), (code) => heard.push(code)));
  assertEquals(heard, []);
});
