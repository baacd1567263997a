// Four workers, each a process, share one stream by `$share` on a mosquitto that this program starts. One is killed
// half-way and started again with its name: every message that was acknowledged to the publisher is handled.
//
//     deno run -A examples/shared_workers.ts

import { fileURLToPath } from "node:url";
import { connect } from "../mod.ts";
import { type Child, startScript } from "./scaling/child.ts";
import { startMosquitto } from "./scaling/mosquitto.ts";
import { Tally } from "./scaling/tally.ts";

const script = fileURLToPath(import.meta.url).replace("shared_workers", "shared_worker");
const broker = await startMosquitto();
const tally = new Tally(2000);
const workers = new Map<string, Child>();

async function start(name: string): Promise<void> {
  const heard = (line: string) => line.startsWith("done ") && tally.handled(name, Number(line.slice(5)));
  workers.set(name, await startScript(script, [broker.address, name], heard));
}

try {
  await Promise.all(["anna", "ben", "clara", "david"].map(start));
  const mqtt = await connect(broker.address);
  const published = tally.publish(mqtt, () => "demo/work");
  await tally.acknowledged(tally.total / 2);
  await workers.get("ben")!.kill();
  console.log(`ben is killed: ${tally}`);
  await start("ben");
  await published;
  await tally.complete();
  console.log(`at the end: ${tally}`);
  await mqtt.disconnect();
} finally {
  for (const child of [...workers.values(), broker]) await child.kill();
}
