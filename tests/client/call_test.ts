/** What becomes of a call: its promise, and its callback. */
import { test } from "node:test";
import { assertEquals, assertRejects } from "@std/assert";
import { promiseOf } from "../../src/client/call.ts";
import { MqttError } from "../../src/errors.ts";

test("the callback of subscribe() hears of a refusal, and not of the reason code with which the client has ended", async () => {
  for (const code of [128, 135] as const) {
    const error = new MqttError(code, "No"), heard: number[] = [];
    const ask = (reason: MqttError | undefined) =>
      promiseOf({ reason }, (call) => call.reject(error), (code) => heard.push(code));
    await assertRejects(() => ask(error), MqttError, "No");
    assertEquals(heard, []);
    await assertRejects(() => ask(undefined), MqttError, "No");
    assertEquals(heard, [code]);
  }
});
