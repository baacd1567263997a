/** `mosquitto_sub` for many messages, or large ones: what it received, as a digest. */
import { createHash } from "node:crypto";
import { startProcess } from "../support/process.ts";
import { within } from "./support.ts";

export interface Digest {
  /** The digest of the payloads, one after the other, once all have come. */
  received(): Promise<string>;
}

/** What is retained under `topic` tells that the filters before it are subscribed to. */
export const ready = { topic: "mqtt3c/ready", message: "ready" };

/** Starts to receive `count` messages; the broker must have `ready`. */
export async function digest(port: number, topic: string, count: number): Promise<Digest> {
  const options = `-h 127.0.0.1 -p ${port} -t "$0" -t ${ready.topic} -C ${count + 1} -W 20 -N`;
  const script = `mosquitto_sub ${options} | { head -c ${ready.message.length}; openssl sha256; }`;
  const subscriber = await startProcess("sh", ["-c", script, topic]);
  await subscriber.output(/^ready/);
  return {
    async received() {
      try {
        await within(subscriber.exited, `${count} messages at mosquitto_sub`);
        return subscriber.stdout().trimEnd().slice(-64);
      } finally {
        await subscriber.stop();
      }
    },
  };
}

/** The digest that it must be. */
export function digestOf(payload: Uint8Array): string {
  return createHash("sha256").update(payload).digest("hex");
}
