/** A PUBLISH of one version as one of the other: a session that is kept may have been written with either.
 * @module */

import type { Version } from "./packet.ts";
import { isExpiryAlone } from "./properties.ts";
import { getLength, lengthSize, varint } from "./wire.ts";

/** The packet, and whether version 4 cannot say all that it says. */
export interface Converted {
  readonly packet: Uint8Array;
  readonly isPoorer: boolean;
}

/** A PUBLISH packet in the other version. The client keeps its expiry itself, in both. */
export function convertPublish(packet: Uint8Array, from: Version, to: Version): Converted {
  if (from === to) return { packet, isPoorer: false };
  const name = 1 + lengthSize(getLength(packet, 1, packet.length));
  const properties = name + 2 + (packet[name]! << 8 | packet[name + 1]!) + ((packet[0]! & 6) === 0 ? 0 : 2);
  const length = from === 5 ? getLength(packet, properties, packet.length) : 0;
  const payload = from === 5 ? properties + lengthSize(length) + length : properties;
  const own = to === 5 ? [0] : [];
  const head = varint(properties - name + own.length + packet.length - payload);
  const converted = new Uint8Array(1 + head.length + properties - name + own.length + packet.length - payload);
  converted[0] = packet[0]!;
  converted.set(head, 1);
  converted.set(packet.subarray(name, properties), 1 + head.length);
  converted.set(packet.subarray(payload), converted.length - (packet.length - payload)); // before it, own is 0 already
  return { packet: converted, isPoorer: length > 0 && !isExpiryAlone(packet.subarray(payload - length, payload)) };
}
