/** What the SMQ bridge is told, and what of it cannot be. */
import { Buffer } from "node:buffer";
import type { BrokerOptions } from "./program.ts";
import { checkFilter, checkTopic } from "./topics.ts";
import type { WaitingLimits } from "./waiting.ts";

/** Bytes of a payload, at most. */
export const MAX_PAYLOAD = 65_520;

/** What goes where, and the bounds; those are of SMQ.md. */
export interface SmqOptions extends BrokerOptions {
  /** The hub: `ws://localhost/smq.lsp`; user and password of the URL are sent as HTTP wants them. */
  hub: string;
  /** Authorities a wss: hub may have its certificate from, in PEM. */
  ca?: string;
  /** Identifies the bridge to the hub, at least 6 bytes; another with the same takes its place. `mqtt3c-bridge` by default. */
  uid?: string;
  /** At most 255 bytes; or a function that answers the hub's challenge: its seed, 32 bits, and our address as it sees it. */
  credentials?: string | ((seed: number, address: string) => string | Uint8Array | Promise<string | Uint8Array>);
  /** MQTT topic filters whose messages go to SMQ; `smqPrefix` goes before their topics, `mqtt/` by default. */
  toSmq?: readonly string[];
  smqPrefix?: string;
  /** SMQ topics whose messages go to MQTT; `mqttPrefix` goes before them, `smq/` by default. */
  toMqtt?: readonly string[];
  mqttPrefix?: string;
  /** Messages, and bytes, that may wait for the hub, and the same for the broker; 20,000 and 4 MiB by default. */
  maxWaiting?: WaitingLimits;
  /** Topics whose numbers at the hub the bridge keeps in mind; 10,000 by default. */
  maxTopics?: number;
  /** Milliseconds in which the hub must answer; 10,000 by default. */
  timeout?: number;
}

/** @throws {TypeError | RangeError} If the bridge cannot do what they say. */
export function checkOptions(options: SmqOptions): void {
  const { toSmq = [], smqPrefix = "mqtt/", toMqtt = [], mqttPrefix = "smq/" } = options;
  const { uid = "mqtt3c-bridge", credentials = "" } = options;
  check(toSmq.length + toMqtt.length > 0, "nothing is to go anywhere: name a filter to SMQ, or a topic to MQTT");
  check(smqPrefix !== "" && mqttPrefix !== "", "a prefix is empty: messages would go in circles");
  check(toMqtt.every((topic) => !topic.startsWith(smqPrefix)), `SMQ topics with ${smqPrefix} come from MQTT`);
  check(toMqtt.every((topic) => !/[+#]/.test(topic)), "SMQ has no wildcards: name each topic that is to go to MQTT");
  check(typeof credentials !== "string" || Buffer.byteLength(credentials) < 256, "the credentials are over 255 bytes");
  check(Buffer.byteLength(uid) >= 6 && Buffer.byteLength(uid) < 256, "uid must have 6 to 255 bytes");
  check(/^wss?:/.test(options.hub) && URL.canParse(options.hub), "hub must be a ws: or wss: URL");
  for (const filter of toSmq) checkFilter(filter);
  for (const topic of toMqtt) checkTopic(mqttPrefix + topic);
}

function check(holds: boolean, mistake: string): void {
  if (!holds) throw new TypeError(`Cannot bridge as ${mistake}`);
}
