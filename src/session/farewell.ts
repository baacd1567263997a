/** The DISCONNECT with which a client leaves (section 3.14 of MQTT 5).
 * @module */

import { MqttError } from "../errors.ts";
import { encode } from "../protocol/encoder.ts";
import { DISCONNECT, type Properties } from "../protocol/packet.ts";
import { versionUnsupported } from "./limits.ts";
import type { SessionSettings } from "./settings.ts";

/** The reason code by which the broker publishes the will all the same. */
const WITH_WILL = 4;

/** What it says, with version 5. */
export interface Farewell {
  /** Whether the broker is to publish the will. */
  readonly will?: boolean | undefined;
  /** Seconds for which it keeps the session from now on. */
  readonly session?: number | undefined;
  readonly properties?: Pick<Properties, "user"> | undefined;
}

/** How a client is to leave: because of what, and whether what was received is settled first. */
export interface DisconnectRequest extends Farewell {
  readonly cause?: unknown;
  readonly drain?: boolean;
}

/**
 * Its bytes; without its user properties where they would make it larger than `most` bytes, which the broker takes
 * [MQTT5-3.14.2-4].
 *
 * @throws {MqttError} `"unsupported"`: it cannot say that.
 */
export function encodeFarewell(
  { will = false, session, properties }: Farewell,
  { version, sessionExpiry }: Pick<SessionSettings, "version" | "sessionExpiry">,
  most: number = Infinity,
): Uint8Array<ArrayBuffer> {
  const isPlain = !will && session === undefined && properties === undefined;
  if (!isPlain && version === 4) throw versionUnsupported("will, session or properties of disconnect()");
  if (session !== undefined && session > 0 && sessionExpiry === 0) {
    throw new MqttError(
      "unsupported",
      "Cannot use session of disconnect() where connect had none: the broker keeps none (section 3.14.2.2.2)",
    );
  }
  const code = will ? WITH_WILL : 0;
  const say = (more: Farewell["properties"]) =>
    encode({ type: DISCONNECT, code, properties: { ...more, sessionExpiry: session } }, version);
  const bytes = say(properties);
  return bytes.length > most ? say(undefined) : bytes;
}
