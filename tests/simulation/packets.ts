/** Packets of a history: compared, and shown to people. */
import type { NaivePacket } from "../support/naive.ts";
import { numberOf } from "./broker.ts";

/** Whether two have the same bytes. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** A packet, for people to read. */
export function show(packet: NaivePacket): string {
  if (packet.type === "PUBLISH") {
    const { topic, payload, qos, dup, packetId } = packet;
    return `PUBLISH ${numberOf(payload)} ${topic} qos ${qos}${
      dup ? " dup" : ""
    } id ${packetId} ${payload.length} bytes`;
  }
  return JSON.stringify(packet);
}
