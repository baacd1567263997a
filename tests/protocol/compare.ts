/** The library's packets in the form of the tests' own codec. */
import { assertEquals } from "@std/assert";
import { Message } from "../../src/message.ts";
import * as packets from "../../src/protocol/packet.ts";
import type { Decoder, Packet } from "../../src/protocol/decoder.ts";
import type { NaivePacket } from "../support/naive.ts";
import type { NaiveProperty } from "../support/naive_properties.ts";

const NAMES = Object.entries(packets).filter(([name, value]) =>
  /^[A-Z]+$/.test(name) && typeof value === "number" && value > 0
);
const BY_TYPE = new Map(NAMES.map(([name, value]) => [value, name]));
const BY_NAME = new Map(NAMES.map(([name, value]) => [name, value]));

/** The library's names of properties, by their identifiers. */
const PROPERTIES: Record<number, keyof packets.Properties> = {
  1: "payloadFormat",
  2: "expiry",
  3: "contentType",
  8: "responseTopic",
  9: "correlation",
  11: "subscriptionIds",
  17: "sessionExpiry",
  18: "assignedId",
  19: "serverKeepalive",
  21: "authMethod",
  22: "authData",
  23: "requestProblem",
  24: "willDelay",
  25: "requestResponse",
  26: "responseInformation",
  28: "serverReference",
  31: "reason",
  33: "receiveMaximum",
  34: "topicAliasMaximum",
  35: "topicAlias",
  36: "maximumQoS",
  37: "retainAvailable",
  38: "user",
  39: "maximumPacketSize",
  40: "wildcardAvailable",
  41: "subscriptionIdsAvailable",
  42: "sharedAvailable",
};
const LISTS = ["user", "subscriptionIds"];

function list(properties: packets.Properties = {}): NaiveProperty[] {
  return Object.entries(PROPERTIES).flatMap(([identifier, name]): NaiveProperty[] => {
    const value = properties[name];
    const values = value === undefined ? [] : LISTS.includes(name) ? value as unknown[] : [value];
    return values.map((each) => [Number(identifier), Array.isArray(each) ? [...each] : each] as NaiveProperty);
  });
}

/** Properties for `encode`. */
export function object(properties: readonly NaiveProperty[]): packets.Properties {
  const found: Record<string, unknown> = {};
  for (const [identifier, value] of properties) {
    const name = PROPERTIES[identifier]!;
    found[name] = LISTS.includes(name) ? [...found[name] as unknown[] ?? [], value] : value;
  }
  return found;
}

/** A packet that `decoder.next()` has just given; none that is over its limit. */
export function plain(packet: Packet, decoder: Decoder, version: packets.Version = 4): NaivePacket {
  if (packet.type === "oversized") throw new Error(`A PUBLISH of ${packet.size} bytes was passed over`);
  if (!(packet instanceof Message)) {
    const type = BY_TYPE.get(packet.type);
    const isPing = packet.type === packets.PINGREQ || packet.type === packets.PINGRESP;
    if (version === 4 || isPing) return { ...packet, type } as NaivePacket;
    const found: Record<string, unknown> = { ...packet, type, properties: list(packet.properties) };
    const hasCode = !("codes" in packet || "filters" in packet || packet.type === packets.CONNECT);
    if (hasCode) found.code ??= 0;
    if (packet.type === packets.CONNECT && packet.will) {
      found.will = { ...packet.will, properties: list(packet.will.properties) };
    }
    return found as unknown as NaivePacket;
  }
  const { topic, qos, retain, dup } = packet;
  // A copy: what the payload is now, whatever happens to its memory later.
  const payload = packet.payload.slice(), { packetId } = decoder;
  if (version === 4) {
    assertEquals(packet.properties, undefined);
    return { type: "PUBLISH", topic, payload, qos, retain, dup, packetId };
  }
  const properties = packet.properties!, { topicAlias, expiry, subscriptionIds } = decoder.found;
  assertEquals([expiry, subscriptionIds], [properties.expiry, properties.subscriptionIds ?? []]);
  const all = list({ ...properties, topicAlias: topicAlias || undefined });
  return { type: "PUBLISH", topic, payload, qos, retain, dup, packetId, properties: all };
}

/** A packet for `encode`. */
export function fancy(packet: Exclude<NaivePacket, { type: "PUBLISH" }>): packets.ControlPacket {
  const some = "properties" in packet ? { properties: object(packet.properties!) } : {};
  const will = "will" in packet && packet.will?.properties
    ? { will: { ...packet.will, properties: object(packet.will.properties) } }
    : {};
  return { ...packet, type: BY_NAME.get(packet.type), ...some, ...will } as packets.ControlPacket;
}
