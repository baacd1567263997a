/** `mosquitto_sub` for many messages, or large ones: what it received, as a digest. */
import { createHash } from "node:crypto";
import { startProcess } from "../support/process.ts";
import { mosquittoPub } from "../support/servers.ts";
import { within } from "./support.ts";

export interface Digest {
  /** The digest of the payloads, one after the other, once all have come. */
  received(): Promise<string>;
}

/** A retained message says that it has subscribed; then come those that count. */
export async function digest({ port, topic, count }: { port: number; topic: string; count: number }): Promise<Digest> {
  await mosquittoPub({ port, topic, message: "ready", retain: true });
  const script = `mosquitto_sub -h 127.0.0.1 -p ${port} -t "$0" -C ${count + 1} -N | { head -c 5; openssl sha256; }`;
  const subscriber = await startProcess("sh", ["-c", script, topic]);
  await subscriber.output(/^ready/);
  return {
    async received() {
      try {
        await within(subscriber.exited, `${count} messages at mosquitto_sub`);
        return subscriber.stdout().trimEnd().slice(-64);
      } finally {
        await subscriber.stop();
        await mosquittoPub({ port, topic, message: "", retain: true });
      }
    },
  };
}

/** The digest that it must be. */
export function digestOf(payload: Uint8Array): string {
  return createHash("sha256").update(payload).digest("hex");
}
