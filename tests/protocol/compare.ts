/** The library's packets in the form of the tests' own codec. */
import { Message } from "../../src/message.ts";
import * as packets from "../../src/protocol/packet.ts";
import type { Decoder, Packet } from "../../src/protocol/decoder.ts";
import type { NaivePacket } from "../support/naive.ts";

const NAMES = Object.entries(packets).filter(([name, value]) => /^[A-Z]+$/.test(name) && typeof value === "number");
const BY_TYPE = new Map(NAMES.map(([name, value]) => [value, name]));
const BY_NAME = new Map(NAMES.map(([name, value]) => [name, value]));

/** A packet that `decoder.next()` has just given; none that is over its limit. */
export function plain(packet: Packet, decoder: Decoder): NaivePacket {
  if (packet.type === "oversized") throw new Error(`A PUBLISH of ${packet.size} bytes was passed over`);
  if (!(packet instanceof Message)) return { ...packet, type: BY_TYPE.get(packet.type) } as NaivePacket;
  const { topic, qos, retain, dup } = packet;
  // A copy: what the payload is now, whatever happens to its memory later.
  return { type: "PUBLISH", topic, payload: packet.payload.slice(), qos, retain, dup, packetId: decoder.packetId };
}

/** A packet for `encode`. */
export function fancy(packet: Exclude<NaivePacket, { type: "PUBLISH" }>): packets.ControlPacket {
  return { ...packet, type: BY_NAME.get(packet.type) } as packets.ControlPacket;
}
