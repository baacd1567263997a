/** `mqtt3c bench` counts right, and says so for people and machines. */
import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { needs } from "../support/process.ts";
import { mqtt3c, startCommand, withMosquitto } from "./support.ts";

const tools = needs("mosquitto");

test(
  "bench: every message is published once, and received by each subscriber",
  tools,
  () =>
    withMosquitto({}, async ({ port }) => {
      const args = ["bench", "-p", `${port}`, "--publishers", "2", "--subscribers", "3", "--seconds", "0.5"];
      for (const qos of ["0", "1", "2"]) {
        const { code, stdout, stderr } = await mqtt3c([...args, "-q", qos, "--rate", "200", "--json"]);
        assertEquals([code, stderr], [0, ""]);
        const { published, received, lost, milliseconds, ...rest } = JSON.parse(stdout);
        assert(published > 10 && published <= 110, stdout);
        assertEquals([received, lost], [3 * published, 0]);
        assertEquals([rest.publishers, rest.subscribers, rest.qos, rest.size], [2, 3, Number(qos), 64]);
        assert(
          milliseconds.p50 > 0 && milliseconds.p50 <= milliseconds.p99 && milliseconds.p99 <= milliseconds.max,
          stdout,
        );
      }
      const { stdout } = await mqtt3c([...args, "-q", "1", "--size", "8"]);
      assertMatch(
        stdout,
        /^published [\d,]+ in [\d.]+ s: [\d,]+ a second\nreceived {2}[\d,]+: .*\nunder way p50 .* max .* ms\n$/,
      );
    }),
);

test("bench ends in order at a signal, and with what it has", tools, () =>
  withMosquitto({}, async ({ port, log }) => {
    const bench = await startCommand(["bench", "-p", `${port}`, "-q", "1", "--rate", "100", "--seconds", "600", "-d"]);
    await bench.output(/<- PUBLISH/);
    bench.kill("SIGINT");
    assertEquals(await bench.exited, 0, bench.stderr());
    assertMatch(bench.stdout(), /^published [\d,]+ in /);
    assertMatch(log(), /disconnected\./);
  }));
