/** The properties of a message of MQTT 5 in JSON, by the library's names; in HTTP they are one header. */
import { Buffer, isUtf8 } from "node:buffer";
import type { MessageProperties, PublishOptions } from "../../mod.ts";

/** A header is bounded, by those who read it, too; so many bytes of them go into one. */
const MAX_HEADER = 8192;

/** As an object for JSON; undefined where there are none. Correlation data that is no text is base64. */
export function toJson(properties: MessageProperties | undefined): Record<string, unknown> | undefined {
  if (properties === undefined) return undefined;
  const { correlation, subscriptionIds: _, ...rest } = properties; // those are the bridge's
  const bytes = correlation && Buffer.from(correlation);
  const text = bytes &&
    (isUtf8(bytes) ? { correlation: bytes.toString() } : { correlationBase64: bytes.toString("base64") });
  const given = Object.entries({ ...rest, ...text }).filter(([, value]) => value !== undefined);
  return given.length > 0 ? Object.fromEntries(given) : undefined;
}

/**
 * What `publish()` is told for such an object; the library checks the values.
 *
 * @throws {TypeError} If it is none.
 */
export function fromJson(given: unknown): Pick<PublishOptions, "expiry" | "properties"> {
  if (given === undefined) return {};
  if (typeof given !== "object" || given === null) {
    throw new TypeError("Cannot publish as properties must be an object");
  }
  const { expiry, correlation, correlationBase64, ...more } = given as Record<string, unknown>;
  const [name, text] = correlation === undefined
    ? ["correlationBase64", correlationBase64]
    : ["correlation", correlation];
  if (text !== undefined && typeof text !== "string") throw new TypeError(`Cannot publish as ${name} must be a string`);
  const bytes = text === undefined ? undefined : Buffer.from(text, name === "correlation" ? "utf8" : "base64");
  const properties = { ...more, ...bytes && { correlation: bytes } };
  return {
    ...expiry !== undefined && { expiry: expiry as number },
    ...Object.keys(properties).length > 0 && { properties },
  };
}

/** The header that says them, in ASCII; undefined where there are none, or too many for one. */
export function toHeader(properties: MessageProperties | undefined): string | undefined {
  const given = toJson(properties);
  const text = given && JSON.stringify(given).replaceAll(/[^ -~]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
  return text !== undefined && text.length <= MAX_HEADER ? text : undefined;
}

/** @throws {SyntaxError | TypeError} If it is no JSON, no object, or not UTF-8. */
export function fromHeader(header: string | string[] | undefined): Pick<PublishOptions, "expiry" | "properties"> {
  if (header === undefined) return {};
  const bytes = Buffer.from(String(header), "latin1"); // a character of a header stands for a byte
  if (!isUtf8(bytes)) throw new TypeError("The header mqtt-properties is not UTF-8");
  try {
    return fromJson(JSON.parse(bytes.toString()));
  } catch (error) {
    if (error instanceof SyntaxError) throw new SyntaxError(`The header mqtt-properties is no JSON: ${error.message}`);
    throw error;
  }
}
