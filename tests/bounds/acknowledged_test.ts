import { test } from "node:test";
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { modes } from "../client/qos_scene.ts";
import { runScript, startScript } from "../support/spawn.ts";

/** Mebibytes: a runtime's own, 50,000 promises and their outcomes, a thread with its buffers; with a module, both of it in two threads. */
const NOISE = 120;

for (const [mode] of modes) {
  test(`bounds: ${mode}: 100,000 messages of QoS 2 without PUBREL, and a broker that never acknowledges`, async () => {
    const broker = await startScript("tests/client/qos_broker.ts");
    try {
      const [, port] = await broker.output(/port (\d+)\n/);
      const args = [mode, port!];
      const { code, stdout, stderr } = await runScript("tests/bounds/acknowledged.ts", args, { deadline: 120_000 });
      assertEquals([code, stderr], [0, ""]);
      const { grown, received, counts } = JSON.parse(stdout);
      assertEquals(received, 65_535, "identifiers that come again are repeats [MQTT-4.3.3-2]");
      if (mode === "connectSync") {
        assertEquals(counts, { timeout: 2 });
      } else {
        assertEquals(Object.keys(counts).sort(), ["disconnect", "overflow"]);
        assertEquals(counts.disconnect + counts.overflow, 50_000, "everything settles");
        assertGreater(counts.disconnect, 3000);
      }
      assertLess(grown, mode === "connectWorker with a module" ? 2 * NOISE : NOISE);
    } finally {
      await broker.stop();
    }
  });
}
