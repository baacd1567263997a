/** Publishes until the connection is lost, and listens to nothing; run by moods_test.ts: `unheard.ts <mode> <port>`. */
import process from "node:process";
import { connect, connectWorker } from "../../mod.ts";

const [mode, port = ""] = process.argv.slice(2);

async function main(): Promise<void> {
  const open = mode === "connect" ? connect : connectWorker;
  const mqtt = await open(`127.0.0.1:${port}`, undefined);
  await mqtt.publish("$drop", "");
  process.stdout.write("published\n");
}

// No top-level await: while it waits, Bun reports an uncaught error and does not end the process.
void main();
