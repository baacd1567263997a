/**
 * An outside opinion: the npm package `mqtt-packet`, the codec of MQTT.js and aedes. Where it takes
 * what we refuse, or refuses what we take, the reason is in one of these tables; what both take is the same.
 */
import { Buffer } from "node:buffer";
import { assertEquals, fail } from "@std/assert";
import mqttPacket from "mqtt-packet";
import type { NaivePacket } from "../support/naive.ts";
import type { NaiveProperty } from "../support/naive_properties.ts";
import type { Version } from "../../src/protocol/packet.ts";
import type { Found } from "./fuzz.ts";

/** What we refuse and mqtt-packet takes, by our message. */
const LENIENT: readonly [RegExp, string][] = [
  [/not UTF-8/, "it decodes with replacement characters; ill-formed UTF-8 ends the connection [MQTT-1.5.3-1]"],
  [/U\+0000/, "it takes the null character [MQTT-1.5.3-2]"],
  [/reserved type/, "it ends in another way: type 0 is ignored, type 15 is AUTH of MQTT 5 [MQTT-4.8.0-1]"],
  [
    /of remaining length/,
    "it looks only at the fields it knows: packets of a fixed length may be longer [MQTT-4.8.0-1]",
  ],
  [/wildcard/, "it takes topic names with wildcards [MQTT-3.3.2-2]"],
  [/empty topic name/, "it takes empty topic names, which MQTT 5 allows [MQTT-4.7.3-1]"],
  [/a topic filter that is none/, "it leaves topic filters to the broker [MQTT-4.7.1-2] [MQTT-4.7.1-3]"],
  [/DUP at QoS 0/, "it takes DUP at QoS 0 [MQTT-3.3.1-2]"],
  [/packet identifier 0/, "it takes packet identifier 0 [MQTT-2.3.1-1]"],
  [/bytes after its last field|ends within a field/, "it reads what is there and ignores the rest [MQTT-4.8.0-1]"],
  [/nothing in it/, "it takes SUBSCRIBE, SUBACK and UNSUBSCRIBE without any filter or code [MQTT-3.8.3-3]"],
  [/protocol level|protocol name/, "it speaks MQTT 3.1 and 5, too [MQTT-3.1.2-2]"],
  [/acknowledge flags|return code|requested QoS/, "it leaves values to its user [MQTT-2.2.2-1] [MQTT-3.9.3-2]"],
  [/without (a|clean)|will QoS|a password/, "it leaves what contradicts itself to its user [MQTT-3.1.2-22]"],
  [/with flags/, "it looks at the flags of some types only [MQTT-2.2.2-2]"],
  [/QoS 3|more than four bytes|reserved flag/, "found one packet later [MQTT-4.8.0-1]"],
  // Version 5
  [/in more bytes than it needs/, "it takes numbers in more bytes than they need [MQTT5-1.5.5-1]"],
  [/property .* twice/, "it takes properties twice [MQTT5-4.13.1-1]"],
  [/with property/, "it takes properties in any packet [MQTT5-4.13.1-1]"],
  [/reason code/, "it leaves reason codes to its user [MQTT5-3.4.2-1]"],
  [/properties' length|properties that end/, "it reads properties as far as they go [MQTT5-2.2.2-1]"],
  [/topic alias|topicAlias/, "it leaves topic aliases to its user [MQTT5-3.3.2-8]"],
  [/response topic/, "it takes any response topic [MQTT5-3.3.2-14]"],
  [/authentication/, "it takes what lacks an authentication method [MQTT5-4.12.0-5]"],
  [
    /payloadFormat|subscriptionIds|receiveMaximum|maximumPacketSize|maximumQoS|Available|request/,
    "it takes values of properties as they are [MQTT5-4.13.1-1]",
  ],
  [
    /subscription options|retain handling|no local|shared subscription/,
    "it leaves options to its user [MQTT5-3.8.3-5]",
  ],
];

/** What mqtt-packet refuses and we take, by its message. */
const STRICT: readonly [RegExp, string][] = [
  [
    /Invalid (auth|disconnect) reason code|Unknown property|Cannot parse property code type|variable byte integer/,
    "it takes the bytes behind a DISCONNECT or AUTH that is short for what that left out [MQTT5-3.14.2-1]",
  ],
];

/** Their names of properties, by identifier. */
const NAMES: Record<number, string> = {
  1: "payloadFormatIndicator",
  2: "messageExpiryInterval",
  3: "contentType",
  8: "responseTopic",
  9: "correlationData",
  11: "subscriptionIdentifier",
  17: "sessionExpiryInterval",
  18: "assignedClientIdentifier",
  19: "serverKeepAlive",
  21: "authenticationMethod",
  22: "authenticationData",
  23: "requestProblemInformation",
  24: "willDelayInterval",
  25: "requestResponseInformation",
  26: "responseInformation",
  28: "serverReference",
  31: "reasonString",
  33: "receiveMaximum",
  34: "topicAliasMaximum",
  35: "topicAlias",
  36: "maximumQoS",
  37: "retainAvailable",
  38: "userProperties",
  39: "maximumPacketSize",
  40: "wildcardSubscriptionAvailable",
  41: "subscriptionIdentifiersAvailable",
  42: "sharedSubscriptionAvailable",
};

interface Theirs {
  cmd: string;
  messageId?: number;
  topic?: string;
  payload?: Uint8Array;
  qos?: number;
  retain?: boolean;
  dup?: boolean;
  granted?: number[];
  subscriptions?: { topic: string; qos: number; nl?: boolean; rap?: boolean; rh?: number }[];
  unsubscriptions?: string[];
  sessionPresent?: boolean;
  returnCode?: number;
  reasonCode?: number;
  properties?: Record<string, unknown>;
  clientId?: string;
  keepalive?: number;
}

/** Compares, and returns the reason of a difference that is in the tables. */
export function comparePeer(version: Version, input: Uint8Array, ours: Found): string | undefined {
  const { packets, error } = theirs(version, input);
  const both = Math.min(packets.length, ours.packets.length);
  for (let i = 0; i < both; i++) {
    const mine = ours.packets[i]!;
    // See STRICT.
    if (/^(DISCONNECT|AUTH)$/.test(mine.type)) assertEquals(packets[i]!.cmd, mine.type.toLowerCase());
    else assertEquals(normal(packets[i]!, version), own(mine));
  }
  if (ours.error !== undefined && (packets.length > both || error === undefined)) {
    return explain(LENIENT, ours.error.message);
  }
  if (error !== undefined && (ours.packets.length > both || ours.error === undefined)) {
    return explain(STRICT, error.message);
  }
  assertEquals(packets.length, ours.packets.length);
  return undefined;
}

function explain(table: readonly [RegExp, string][], message: string): string {
  return table.find(([pattern]) => pattern.test(message))?.[1] ?? fail(`not in the table: ${message}`);
}

function theirs(version: Version, input: Uint8Array): { packets: Theirs[]; error: Error | undefined } {
  const packets: Theirs[] = [];
  let error: Error | undefined;
  const parser = mqttPacket.parser({ protocolVersion: version });
  parser.on("packet", (packet) => packets.push(packet as Theirs)).on("error", (found) => error ??= found);
  parser.parse(Buffer.from(input));
  return { packets, error };
}

function normal(packet: Theirs, version: Version): unknown {
  const { cmd, messageId, topic, payload, qos, retain, dup, reasonCode = 0 } = packet;
  const some = version === 5 ? [normalProperties(packet.properties)] : [];
  switch (cmd) {
    case "publish": {
      const to = packet.properties?.topicAlias === undefined ? topic : "";
      return [cmd, to, [...payload!], qos, retain, dup, messageId ?? 0, ...some];
    }
    case "connect":
      return [cmd, packet.clientId, packet.keepalive, ...some];
    case "connack":
      return [cmd, packet.sessionPresent, version === 4 ? packet.returnCode : reasonCode, ...some];
    case "subscribe": {
      const options = (each: NonNullable<Theirs["subscriptions"]>[0]) =>
        version === 4 ? [] : [each.nl ?? false, each.rap ?? false, each.rh ?? 0];
      return [cmd, messageId, packet.subscriptions!.map((each) => [each.topic, each.qos, ...options(each)]), ...some];
    }
    case "suback":
      return [cmd, messageId, packet.granted, ...some];
    case "unsuback":
      return version === 4 ? [cmd, messageId] : [cmd, messageId, packet.granted, ...some];
    case "unsubscribe":
      return [cmd, messageId, packet.unsubscriptions, ...some];
    case "pingreq":
    case "pingresp":
      return [cmd];
    default: {
      const id = messageId === undefined ? [] : [messageId];
      return version === 4 ? [cmd, ...id] : [cmd, ...id, reasonCode, ...some];
    }
  }
}

/** As they have them: one value or a list of them, user properties by name, and whether a byte is not 0. */
function normalProperties(properties: Record<string, unknown> = {}): unknown {
  const found: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(properties)) {
    found[name] = value instanceof Uint8Array
      ? [...value]
      : name === "userProperties"
      ? { ...value as object }
      : typeof value === "boolean"
      ? Number(value)
      : value;
  }
  return found;
}

function ownProperties(properties: readonly NaiveProperty[] = []): unknown {
  const found: Record<string, unknown> = {};
  const add = (target: Record<string, unknown>, name: string, value: unknown) => {
    target[name] = Object.hasOwn(target, name) ? [target[name], value].flat() : value;
  };
  for (const [identifier, value] of properties) {
    const name = NAMES[identifier]!;
    if (!Array.isArray(value)) add(found, name, value instanceof Uint8Array ? [...value] : value);
    else add((found[name] ??= {}) as Record<string, unknown>, ...value);
  }
  return found;
}

function own(packet: NaivePacket): unknown {
  const cmd = packet.type.toLowerCase();
  const is5 = "properties" in packet, some = is5 ? [ownProperties(packet.properties)] : [];
  switch (packet.type) {
    case "PUBLISH": {
      const { topic, payload, qos, retain, dup, packetId, properties = [] } = packet;
      const to = properties.some(([identifier]) => identifier === 35) ? "" : topic;
      return [cmd, to, [...payload], qos, retain, dup, packetId, ...some];
    }
    case "CONNECT":
      return [cmd, packet.id, packet.keepalive, ...some];
    case "CONNACK":
      return [cmd, packet.sessionPresent, packet.code, ...some];
    case "SUBSCRIBE": {
      const options = (each: typeof packet.filters[0]) =>
        is5 ? [each.noLocal, each.retainAsPublished, each.retainHandling] : [];
      return [cmd, packet.packetId, packet.filters.map((each) => [each.topic, each.qos, ...options(each)]), ...some];
    }
    case "SUBACK":
      return [cmd, packet.packetId, packet.codes, ...some];
    case "UNSUBACK":
      return is5 ? [cmd, packet.packetId, packet.codes, ...some] : [cmd, packet.packetId];
    case "UNSUBSCRIBE":
      return [cmd, packet.packetId, packet.filters, ...some];
    case "PINGREQ":
    case "PINGRESP":
      return [cmd];
    default: {
      const id = "packetId" in packet ? [packet.packetId] : [];
      return is5 ? [cmd, ...id, packet.code, ...some] : [cmd, ...id];
    }
  }
}
