/**
 * An outside opinion: the npm package `mqtt-packet`, the codec of MQTT.js and aedes. Where it takes
 * what we refuse, or refuses what we take, the reason is in one of these tables; what both take is the same.
 */
import { Buffer } from "node:buffer";
import { assertEquals, fail } from "@std/assert";
import mqttPacket from "mqtt-packet";
import type { NaivePacket } from "../support/naive.ts";
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
];

/** What mqtt-packet refuses and we take, by its message. */
const STRICT: readonly [RegExp, string][] = [];

interface Theirs {
  cmd: string;
  messageId?: number;
  topic?: string;
  payload?: Uint8Array;
  qos?: number;
  retain?: boolean;
  dup?: boolean;
  granted?: number[];
  subscriptions?: { topic: string; qos: number }[];
  unsubscriptions?: string[];
  sessionPresent?: boolean;
  returnCode?: number;
  clientId?: string;
  keepalive?: number;
}

/** Compares, and returns the reason of a difference that is in the tables. */
export function comparePeer(input: Uint8Array, ours: Found): string | undefined {
  const { packets, error } = theirs(input);
  const both = Math.min(packets.length, ours.packets.length);
  for (let i = 0; i < both; i++) assertEquals(normal(packets[i]!), own(ours.packets[i]!));
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

function theirs(input: Uint8Array): { packets: Theirs[]; error: Error | undefined } {
  const packets: Theirs[] = [];
  let error: Error | undefined;
  const parser = mqttPacket.parser({ protocolVersion: 4 });
  parser.on("packet", (packet) => packets.push(packet as Theirs)).on("error", (found) => error ??= found);
  parser.parse(Buffer.from(input));
  return { packets, error };
}

function normal(packet: Theirs): unknown {
  const { cmd, messageId, topic, payload, qos, retain, dup } = packet;
  switch (cmd) {
    case "publish":
      return [cmd, topic, [...payload!], qos, retain, dup, messageId ?? 0];
    case "connect":
      return [cmd, packet.clientId, packet.keepalive];
    case "connack":
      return [cmd, packet.sessionPresent, packet.returnCode];
    case "subscribe":
      return [cmd, messageId, packet.subscriptions!.map(({ topic, qos }) => [topic, qos])];
    case "suback":
      return [cmd, messageId, packet.granted];
    case "unsubscribe":
      return [cmd, messageId, packet.unsubscriptions];
    default:
      return messageId === undefined ? [cmd] : [cmd, messageId];
  }
}

function own(packet: NaivePacket): unknown {
  const cmd = packet.type.toLowerCase();
  switch (packet.type) {
    case "PUBLISH":
      return [cmd, packet.topic, [...packet.payload], packet.qos, packet.retain, packet.dup, packet.packetId];
    case "CONNECT":
      return [cmd, packet.id, packet.keepalive];
    case "CONNACK":
      return [cmd, packet.sessionPresent, packet.code];
    case "SUBSCRIBE":
      return [cmd, packet.packetId, packet.filters.map(({ topic, qos }) => [topic, qos])];
    case "SUBACK":
      return [cmd, packet.packetId, packet.codes];
    case "UNSUBSCRIBE":
      return [cmd, packet.packetId, packet.filters];
    default:
      return "packetId" in packet ? [cmd, packet.packetId] : [cmd];
  }
}
