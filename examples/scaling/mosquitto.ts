/** A mosquitto of the example's own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { find, freePort, startChild, untilOpen } from "./child.ts";

/** A broker, or a node of one. */
export interface Broker {
  /** As `connect()` takes it. */
  readonly address: string;
  /** Ends it at once, with SIGKILL. */
  kill(): Promise<void>;
}

/** Starts mosquitto on a free port of the loopback interface. */
export async function startMosquitto(): Promise<Broker> {
  const command = find("mosquitto", "mosquitto");
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "mqtt3c-mosquitto-"));
  const config = join(folder, "mosquitto.conf");
  // By default it drops what exceeds 1,000 messages that wait for a client, though it has acknowledged them.
  const lines = ["allow_anonymous true", "max_queued_messages 100000", "log_type none", "log_dest none"];
  writeFileSync(config, [`listener ${port} 127.0.0.1`, ...lines, ""].join("\n"));
  const child = await startChild(command, ["-c", config]);
  try {
    await untilOpen(port, child);
  } finally {
    rmSync(folder, { recursive: true }); // it has read the file
  }
  return { address: `127.0.0.1:${port}`, kill: child.kill };
}
