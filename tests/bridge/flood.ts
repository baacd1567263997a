/**
 * A flood from SMQ while mosquitto is stopped, with its connections open:
 *
 *     deno run -A tests/bridge/flood.ts 30000
 */
import process from "node:process";
import { connect } from "../../mod.ts";
import type { Process } from "../support/process.ts";
import { startMosquitto } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";
import { startHub } from "./hub.ts";
import { config } from "./load.ts";
import { FIRST, LAST } from "./meter.ts";
import { until } from "./support.ts";

export interface FloodReport {
  /** Messages the hub had for the bridge, and those it dropped itself, as the bridge did not read. */
  sent: number;
  hubDropped: number;
  /** What the bridge says of them, and the lines of its log that tell of losses. */
  published: number;
  dropped: number;
  unconfirmed: number;
  lines: string[];
  /** What the subscriber got, and whether the hub's connection lived all the time. */
  received: number;
  lived: boolean;
}

/** Messages of 1 kB flood the hub while the MQTT broker is stopped, with its connections open; then it goes on. */
export async function flood(count: number): Promise<FloodReport> {
  const broker = await startMosquitto({ config }), hub = await startHub({ record: false });
  const url = `mqtt://127.0.0.1:${broker.port}`, body = "x".repeat(1000);
  let received = 0, program: Process | undefined;
  const subscriber = await connect("127.0.0.1", () => void received++, { port: broker.port });
  try {
    await subscriber.subscribe("smq/t");
    program = await startScript("examples/bridge/smq.ts", ["--broker", url, "--hub", hub.url, "--to-mqtt", "t"]);
    await until(() => {
      hub.publish("t", FIRST);
      return received > 0;
    }, "messages come to MQTT");
    const before = [...hub.clients.values()][0]!;
    broker.kill("SIGSTOP");
    let sent = 0;
    while (sent < count) {
      for (let i = 0; i < 100; i++, sent++) hub.publish("t", body);
      // Who publishes to a hub goes as fast as the hub does: as fast as a client that reads.
      await until(() => before.socket.bufferedAmount < 262_144, "the bridge reads");
    }
    await program.output(/Lost: /);
    broker.kill("SIGCONT");
    hub.publish("t", LAST);
    const lived = [...hub.clients.values()][0] === before && before.socket.readyState === before.socket.OPEN;
    program.kill("SIGTERM");
    await program.exited;
    const out = program.stdout(), { toMqtt } = JSON.parse(/All counts: (.*)/.exec(out)![1]!);
    await until(() => received >= toMqtt.published, "all that is confirmed has come");
    const lines = out.split("\n").filter((line) => line.includes("Lost: "));
    const { published, dropped, unconfirmed } = toMqtt;
    return { sent, hubDropped: hub.dropped(), published, dropped, unconfirmed, lines, received, lived };
  } finally {
    broker.kill("SIGCONT");
    await program?.stop();
    await hub.kill();
    await subscriber.disconnect();
    await broker.stop();
  }
}

if (import.meta.main) console.log(JSON.stringify(await flood(Number(process.argv[2] ?? 30_000)), undefined, 2));
