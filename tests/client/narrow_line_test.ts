/** A line that is slow, and no more than that: the broker's answer to PINGREQ is behind all that was written before. */
import { test } from "node:test";
import { assertEquals, assertGreater } from "@std/assert";
import { needs } from "../support/process.ts";
import { startMosquitto } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";
import { modes } from "./modes.ts";

/** Bytes a second, and so many bytes, which take longer than the keep alive and the wait for PINGRESP together. */
const RATE = 1_000_000, TOTAL = 5_000_000;
const op = { keepalive: 1, timeout: 60_000, reconnect: false } as const;

for (const [name, open] of modes) {
  test(`${name}: a slow line is no broken one, for many messages and for a large one`, needs("mosquitto"), async () => {
    const mosquitto = await startMosquitto({ config: "log_type none" }); // nobody reads it while a client blocks
    const line = await startScript("tests/client/narrow_line.ts", [`${mosquitto.port}`, `${RATE}`]);
    try {
      const [, port] = await line.output(/^port (\d+)$/m);
      const mqtt = await open("127.0.0.1", undefined, { ...op, port: Number(port) });
      const start = performance.now();
      for (let i = 0; i < TOTAL / 10_000; i++) void mqtt.publish("t", new Uint8Array(10_000));
      await mqtt.flush();
      assertGreater(performance.now() - start, 4000);
      assertEquals(await mqtt.publish("t", new Uint8Array(TOTAL), { qos: 1 }), 0);
      assertGreater(performance.now() - start, 8000);
      await mqtt.disconnect();
    } finally {
      await line.stop();
      await mosquitto.stop();
    }
  });
}
