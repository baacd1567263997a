import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { needs } from "../support/process.ts";
import { flood } from "./flood.ts";
import { type BridgeName, load, type LoadReport } from "./load.ts";

/** What the bridge itself counted of the messages to MQTT, whatever its status looks like. */
function toMqtt(bridge: BridgeName, { status, told }: LoadReport): { published: number; lost: number } {
  if (bridge !== "smq") return { published: status.published, lost: told };
  const { published, dropped, unconfirmed } = status.toMqtt;
  return { published, lost: dropped + unconfirmed };
}

for (const bridge of ["http", "websocket", "smq"] as const) {
  test(`${bridge}: nothing is lost, doubled or reordered where nothing is slow`, needs("mosquitto"), async () => {
    const report = await load({ bridge, rate: 2000, seconds: 1.5 });
    for (const direction of [report.toMqtt, report.fromMqtt]) {
      const { sent, received, missing, twice } = direction;
      assertEquals({ received, missing, twice }, { received: sent, missing: 0, twice: 0 });
      assertGreater(sent, 2000);
      // Those of HTTP come by several connections.
      if (direction === report.fromMqtt || bridge !== "http") assertEquals(direction.reordered, 0);
    }
    assertEquals(toMqtt(bridge, report), { published: report.toMqtt.sent + report.toMqtt.markers, lost: 0 });
  });

  test(
    `${bridge}: the broker is killed again and again: it recovers, and every message is published or told`,
    needs("mosquitto"),
    async () => {
      const rounds = 2, report = await load({ bridge, rate: 1000, seconds: 1, kill: "broker", rounds });
      const { published, lost } = toMqtt(bridge, report);
      assertEquals(published + lost, report.toMqtt.sent + report.toMqtt.markers);
      assertEquals(report.confirmedAndLost, 0);
      assertEquals([report.toMqtt.twice, report.fromMqtt.twice], [0, 0]);
      if (bridge !== "smq") assertEquals(report.goings, rounds);
      assertLess(report.recovery.toMqtt + report.recovery.fromMqtt, 10_000);
    },
  );

  test(`${bridge}: the other side is killed again and again: it recovers`, needs("mosquitto"), async () => {
    const report = await load({ bridge, rate: 1000, seconds: 1, kill: "peer", rounds: 2 });
    assertEquals([report.toMqtt.twice, report.fromMqtt.twice], [0, 0]);
    // Sent into a connection that was cut, it may not have arrived; what arrived was published.
    assertEquals(toMqtt(bridge, report).published, report.toMqtt.received + report.toMqtt.markers);
    if (bridge !== "smq") return;
    const { published, dropped, unconfirmed } = report.status.toSmq;
    assertEquals(published + dropped + unconfirmed, report.fromMqtt.sent + report.fromMqtt.markers);
    assert(report.fromMqtt.missing <= dropped + unconfirmed, "no message is lost that was not told");
  });
}

test(
  "smq: 30,000 messages of 1 kB while the MQTT broker is stopped: the hub lives, and what is lost is told",
  needs("mosquitto"),
  async () => {
    const report = await flood(30_000);
    const { sent, hubDropped, published, dropped, unconfirmed, lines, received, lived } = report;
    assertEquals({ sent, hubDropped, lived }, { sent: 30_000, hubDropped: 0, lived: true });
    assertGreater(published + dropped + unconfirmed, sent);
    assertGreater(dropped, 20_000);
    assert(received >= published, "what was confirmed is never lost");
    const ofDropped = lines.filter((line) => line.includes("more slowly than they come"));
    assertEquals(ofDropped.length, 2, lines.join("\n"));
    const told = ofDropped.reduce((sum, line) => sum + Number(/Lost: (\d+) to MQTT/.exec(line)![1]), 0);
    assertEquals(told, dropped);
  },
);
