/** The properties of MQTT 5 (section 2.2.2.2) in the tests' own codec: pairs of identifier and value, in the order of the identifiers. */
import { Body, encodeLength, encodeUtf8, Malformed } from "./naive_body.ts";

export type NaiveProperty = [identifier: number, value: number | string | Uint8Array | [string, string]];

/** Table 2-4: the type of each, and the letters of the packets that have it. */
const TABLE: Record<
  number,
  [type: "byte" | "two" | "four" | "varint" | "binary" | "string" | "pair", packets: string]
> = {
  1: ["byte", "PUBLISH WILL"],
  2: ["four", "PUBLISH WILL"],
  3: ["string", "PUBLISH WILL"],
  8: ["string", "PUBLISH WILL"],
  9: ["binary", "PUBLISH WILL"],
  11: ["varint", "PUBLISH SUBSCRIBE"],
  17: ["four", "CONNECT CONNACK DISCONNECT"],
  18: ["string", "CONNACK"],
  19: ["two", "CONNACK"],
  21: ["string", "CONNECT CONNACK AUTH"],
  22: ["binary", "CONNECT CONNACK AUTH"],
  23: ["byte", "CONNECT"],
  24: ["four", "WILL"],
  25: ["byte", "CONNECT"],
  26: ["string", "CONNACK"],
  28: ["string", "CONNACK DISCONNECT"],
  31: ["string", "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"],
  33: ["two", "CONNECT CONNACK"],
  34: ["two", "CONNECT CONNACK"],
  35: ["two", "PUBLISH"],
  36: ["byte", "CONNACK"],
  37: ["byte", "CONNACK"],
  38: ["pair", "every"],
  39: ["four", "CONNECT CONNACK"],
  40: ["byte", "CONNACK"],
  41: ["byte", "CONNACK"],
  42: ["byte", "CONNACK"],
};

/** The value of a property that is a number. */
export function numberIn(properties: readonly NaiveProperty[], wanted: number): number | undefined {
  return properties.find(([identifier]) => identifier === wanted)?.[1] as number | undefined;
}

export function isAllowed(identifier: number, packet: string): boolean {
  const packets = TABLE[identifier]?.[1] ?? "";
  return packets === "every" || packets.split(" ").includes(packet);
}

/** The properties of a packet with their length. */
export function encodeProperties(properties: readonly NaiveProperty[] = []): number[] {
  const all = properties.flatMap(([identifier, value]) => [identifier, ...encodeValue(TABLE[identifier]![0], value)]);
  return [...encodeLength(all.length), ...all];
}

function encodeValue(type: string, value: NaiveProperty[1]): number[] {
  if (Array.isArray(value)) return value.flatMap((text) => encodeValue("string", text));
  if (typeof value === "string") return encodeValue("binary", Uint8Array.from(encodeUtf8(value)));
  if (typeof value !== "number") return [Math.floor(value.length / 256), value.length % 256, ...value];
  if (type === "varint") return encodeLength(value);
  const bytes: number[] = [];
  for (let more = type === "byte" ? 1 : type === "two" ? 2 : 4; more > 0; more--) {
    bytes.unshift(value % 256);
    value = Math.floor(value / 256);
  }
  return bytes;
}

/** The properties of a packet: their length, and as many bytes. */
export function decodeProperties(body: Body, packet: string): NaiveProperty[] {
  if (body.left === 0) throw new Malformed("[MQTT5-2.2.2-1]");
  const inner = new Body(body.take(body.varint()), 5);
  const found: NaiveProperty[] = [];
  while (inner.left > 0) {
    const identifier = inner.byte();
    if (!isAllowed(identifier, packet)) throw new Malformed("[MQTT5-4.13.1-1]");
    const isMany = identifier === 38 || identifier === 11 && packet === "PUBLISH";
    if (!isMany && found.some(([other]) => other === identifier)) throw new Malformed("[MQTT5-4.13.1-1]");
    found.push([identifier, decodeValue(inner, identifier)]);
  }
  const has = (wanted: number) => found.some(([identifier]) => identifier === wanted);
  if (packet === "AUTH" && !has(21)) throw new Malformed("[MQTT5-4.12.0-5]");
  if (has(22) && !has(21)) throw new Malformed("[MQTT5-4.13.1-1]");
  return found.sort(([a], [b]) => a - b);
}

function decodeValue(body: Body, identifier: number): NaiveProperty[1] {
  switch (TABLE[identifier]![0]) {
    case "byte": {
      const value = body.byte();
      if (value > 1) throw new Malformed("[MQTT5-4.13.1-1]");
      return value;
    }
    case "two": {
      const value = body.uint16();
      if (value === 0 && identifier === 33) throw new Malformed("[MQTT5-4.13.1-1]");
      if (value === 0 && identifier === 35) throw new Malformed("[MQTT5-3.3.2-8]");
      return value;
    }
    case "four": {
      const value = body.uint16() * 65_536 + body.uint16();
      if (value === 0 && identifier === 39) throw new Malformed("[MQTT5-4.13.1-1]");
      return value;
    }
    case "varint": {
      const value = body.varint();
      if (value === 0) throw new Malformed("[MQTT5-4.13.1-1]");
      return value;
    }
    case "binary":
      return body.binary();
    case "pair":
      return [body.string(), body.string()];
    default: {
      const text = body.string();
      if (identifier === 8 && text === "") throw new Malformed("[MQTT5-4.7.3-1]");
      if (identifier === 8 && /[#+]/.test(text)) throw new Malformed("[MQTT5-3.3.2-14]");
      return text;
    }
  }
}
