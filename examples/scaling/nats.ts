/** A cluster of NATS servers that speak MQTT 3.1.1: JetStream keeps sessions and messages on three of them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, MqttError } from "../../mod.ts";
import { find, freePort, startChild } from "./child.ts";
import type { Broker } from "./mosquitto.ts";

export interface Cluster {
  readonly nodes: readonly Broker[];
  /** Ends all of it, and removes what it has kept. */
  stop(): Promise<void>;
}

/** Starts three nodes on free ports of the loopback interface, and waits until they have agreed who leads: some 8 seconds. */
export async function startCluster(): Promise<Cluster> {
  const command = find("nats-server", "nats-server");
  const folder = mkdtempSync(join(tmpdir(), "mqtt3c-nats-"));
  const places: { name: string; port: number; route: number }[] = [];
  for (const name of ["one", "two", "three"]) places.push({ name, port: await freePort(), route: await freePort() });
  const routes = places.map(({ route }) => `nats://127.0.0.1:${route}`).join(", ");
  const nodes: Broker[] = [];
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.kill()));
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    for (const { name, port, route } of places) {
      const config = join(folder, `${name}.conf`);
      const lines = [
        `server_name: ${name}`,
        "host: 127.0.0.1",
        "port: -1", // of NATS' own protocol: any
        `log_file: "${join(folder, `${name}.log`)}"`,
        `jetstream { store_dir: "${join(folder, name)}" }`,
        `cluster { name: mqtt3c, host: 127.0.0.1, port: ${route}, routes: [${routes}] }`,
        `mqtt { host: 127.0.0.1, port: ${port}, stream_replicas: 3, ack_wait: "5s" }`,
      ];
      writeFileSync(config, lines.join("\n"));
      const child = await startChild(command, ["-c", config]);
      nodes.push({ address: `127.0.0.1:${port}`, kill: child.kill });
    }
    await Promise.all(nodes.map(({ address }) => untilAccepted(address)));
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodes, stop };
}

/** A node accepts MQTT when the cluster has a leader that can make its streams. */
async function untilAccepted(address: string): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      const mqtt = await connect(address, undefined, { timeout: 5_000 });
      return await mqtt.disconnect();
    } catch (error) {
      if (!(error instanceof MqttError) || performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
