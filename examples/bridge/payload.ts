/** Payloads in JSON: text where they are UTF-8, and otherwise base64. */
import { Buffer, isUtf8 } from "node:buffer";
import type { MessageProperties } from "../../mod.ts";
import { toJson } from "./properties.ts";

/** A message, now or from before. */
export interface Value {
  readonly topic: string;
  readonly payload: Uint8Array;
  /** From before: the broker had kept it, or the bridge has. */
  readonly retain: boolean;
  /** What it says of itself, with MQTT 5. */
  readonly properties?: MessageProperties | undefined;
}

/**
 * The payload of a request in JSON: text (`payload`), or bytes (`base64`).
 *
 * @throws {TypeError} If it is none.
 */
export function payloadOf({ payload = "", base64 }: { payload?: unknown; base64?: unknown }): string | Uint8Array {
  if (base64 === undefined) {
    if (typeof payload !== "string") throw new TypeError("Cannot publish as payload must be a string");
    return payload;
  }
  if (typeof base64 !== "string") throw new TypeError("Cannot publish as base64 must be a string");
  // What is no base64 is skipped there: then it does not come out again.
  const bytes = Buffer.from(base64, "base64"), withoutPadding = base64.replace(/={1,2}$/, "");
  if (bytes.toString("base64").replace(/=+$/, "") === withoutPadding) return bytes;
  throw new TypeError("Cannot publish as base64 is not base64");
}

let lastValue: Value | undefined;
let lastJson = "";

/** A value as JSON without its braces. */
export function json(value: Value): string {
  if (value === lastValue) return lastJson;
  const { topic, payload, retain } = value, properties = toJson(value.properties);
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  const content = isUtf8(bytes)
    ? `"payload":${JSON.stringify(bytes.toString())}`
    : `"base64":"${bytes.toString("base64")}"`;
  lastValue = value;
  const more = properties ? `,"properties":${JSON.stringify(properties)}` : "";
  return lastJson = `"topic":${JSON.stringify(topic)},${content}${retain ? `,"retain":true` : ""}${more}`;
}
