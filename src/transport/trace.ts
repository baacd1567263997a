/** What passes on a connection, packet by packet: seen at the transport, so that client and session know nothing of it.
 * @module */

import type { Trace, TraceRecord } from "../options.ts";
import { invoke } from "../errors.ts";
import { fromUtf8 } from "../protocol/bytes.ts";
import * as packets from "../protocol/packet.ts";
import { NAMES, PUBLISH, type QoS } from "../protocol/packet.ts";
import { checkProperties, Found } from "../protocol/properties.ts";
import { concat, getLength, lengthSize, viewOf } from "../protocol/wire.ts";
import type { Dial, Transport } from "./transport.ts";

const { AUTH, CONNACK, CONNECT, DISCONNECT, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE } = packets;

/** Connections as `dial` opens them, traced; without `trace` they are untouched, so that costs nothing. */
export function traceDial(dial: Dial, trace: Trace | undefined): Dial {
  return trace === undefined ? dial : async (signal) => traced(await dial(signal), trace);
}

/** The transport, with `trace` told of what passes. */
function traced(transport: Transport, trace: Trace): Transport {
  const line = { version: 4 };
  const sent = new Walker("sent", line, trace), received = new Walker("received", line, trace);
  return {
    get sock() {
      return transport.sock;
    },
    trusted: transport.trusted,
    get unsent() {
      return transport.unsent ?? 0;
    },
    start: (sink) =>
      transport.start({
        space: () => sink.space(),
        received: (chunk, length) => {
          received.walk(chunk.subarray(0, length));
          return sink.received(chunk, length);
        },
        written: () => sink.written(),
        closed: (error) => sink.closed(error),
      }),
    write: (bytes) => {
      sent.walk(bytes);
      return transport.write(bytes);
    },
    resume: () => transport.resume(),
    keepAlive: (seconds) => transport.keepAlive?.(seconds),
    end: () => transport.end(),
    close: () => transport.close(),
  };
}

/** Fixed header, topic name and packet identifier are within this; so is as much of a list as is shown. */
const LONGEST_HEAD = 65_544;

/** Finds the packets in a stream of bytes, whatever its cuts. It judges nothing: that is the decoder's. */
class Walker {
  readonly #direction: TraceRecord["direction"];
  /** What both directions know: the version, as CONNECT has it. */
  readonly #line: { version: number };
  readonly #trace: Trace;
  /** The topic names that aliases stand for, in this direction. */
  readonly #aliases = new Map<number, string>();
  /** A head that is not whole yet; bytes to pass over, Infinity after what is no packet. */
  #head: Uint8Array = new Uint8Array(0);
  #skip = 0;

  constructor(direction: TraceRecord["direction"], line: { version: number }, trace: Trace) {
    this.#direction = direction;
    this.#line = line;
    this.#trace = trace;
  }

  walk(bytes: Uint8Array): void {
    for (;;) {
      const skipped = Math.min(this.#skip, bytes.length);
      this.#skip -= skipped;
      bytes = bytes.subarray(skipped);
      if (bytes.length === 0) return;
      const before = this.#head.length;
      const head = before === 0
        ? bytes.subarray(0, LONGEST_HEAD)
        : concat([this.#head, bytes.subarray(0, LONGEST_HEAD - before)]);
      const { version } = this.#line, size = sizeOf(head, version);
      if (size === undefined || head.length < headLength(head, size, version)) {
        this.#head = head.slice();
        return;
      }
      this.#head = new Uint8Array(0);
      this.#skip = size - before;
      if (size !== Infinity) {
        const time = performance.now();
        const packet = head.subarray(0, size);
        // The level follows the protocol name, which is MQTT (section 3.1.2.2).
        if (packet[0]! >> 4 === CONNECT) this.#line.version = packet[bodyAt(packet) + 6] ?? 4;
        const described = describe(packet, version);
        const name = described.topic, isAliased = name !== undefined && version === 5;
        const topic = isAliased ? { topic: this.#aliased(name, packet) } : {};
        invoke(this.#trace, { direction: this.#direction, time, size, ...described, ...topic });
      }
    }
  }

  /** The topic name of a PUBLISH, or the one that its alias stands for. */
  #aliased(topic: string, packet: Uint8Array): string {
    const at = afterId(packet), length = getLength(packet, at, packet.length);
    const found = new Found(), start = at + lengthSize(length);
    if (length <= 0 || start + length > packet.length) return topic;
    try {
      checkProperties(packet, viewOf(packet), start, start + length, PUBLISH, found);
    } catch {
      return topic; // the decoder tells what is wrong
    }
    const { topicAlias } = found;
    if (topicAlias > 0 && topic !== "") this.#aliases.set(topicAlias, topic);
    return topic === "" ? this.#aliases.get(topicAlias) ?? topic : topic;
  }
}

/** The size of the packet that starts here; Infinity if none does, undefined if that is not known yet. */
function sizeOf(head: Uint8Array, version: number): number | undefined {
  const type = head[0]! >> 4;
  if (type === 0 || type === AUTH && version === 4) return Infinity;
  for (let at = 1, length = 0; at <= 4; at++) {
    const byte = head[at];
    if (byte === undefined) return undefined;
    length += (byte & 127) * 128 ** (at - 1);
    if (byte < 128) return at + 1 + length;
  }
  return Infinity;
}

/** Where the variable header starts. */
function bodyAt(head: Uint8Array): number {
  let at = 1;
  while (head[at]! > 127) at++;
  return at + 1;
}

/** How much of a packet must have come for it to be described. */
function headLength(head: Uint8Array, size: number, version: number): number {
  if (size === Infinity) return 0;
  const type = head[0]! >> 4, at = bodyAt(head);
  if (type === SUBSCRIBE || type === UNSUBSCRIBE || type === SUBACK || type === UNSUBACK) {
    return Math.min(size, LONGEST_HEAD);
  }
  if (type === CONNECT) return Math.min(size, at + 7);
  const name = type === PUBLISH ? head.length < at + 2 ? 65_535 : head[at]! << 8 | head[at + 1]! : 0;
  const length = Math.min(size, at + 3 + (type === PUBLISH ? name + 2 : 0));
  if (version === 4 || type !== PUBLISH || head.length < length) return length;
  const properties = afterId(head), count = getLength(head, properties, head.length);
  return count < 0
    ? Math.min(size, head.length + 1, LONGEST_HEAD)
    : Math.min(size, properties + lengthSize(count) + count, LONGEST_HEAD);
}

/** Where a PUBLISH has what follows its topic name and its packet identifier. */
function afterId(packet: Uint8Array): number {
  const at = bodyAt(packet);
  return at + 2 + ((packet[at] ?? 0) << 8 | (packet[at + 1] ?? 0)) + ((packet[0]! & 6) === 0 ? 0 : 2);
}

/** Where a packet of a subscription has what its packet identifier, and in version 5 its properties, are before. */
function afterProperties(packet: Uint8Array, version: number): number {
  const at = bodyAt(packet) + 2;
  const length = version === 5 ? getLength(packet, at, packet.length) : -1;
  return length < 0 ? at : at + lengthSize(length) + length;
}

/** What a packet is, without payload and credentials. */
type Described = Omit<TraceRecord, "direction" | "time" | "size">;

function describe(packet: Uint8Array, version: number): Described {
  const kind = packet[0]! >> 4, type = NAMES[kind]!, at = bodyAt(packet);
  const uint16 = (at: number) => (packet[at] ?? 0) << 8 | (packet[at + 1] ?? 0);
  const string = (at: number) => fromUtf8.decode(packet.subarray(at + 2, at + 2 + uint16(at)));
  switch (kind) {
    case PUBLISH: {
      const qos = (packet[0]! >> 1 & 3) as QoS;
      const packetId = qos > 0 && { packetId: uint16(at + 2 + uint16(at)) };
      return {
        type,
        topic: string(at),
        qos,
        retain: (packet[0]! & 1) === 1,
        dup: (packet[0]! & 8) === 8,
        ...packetId,
      };
    }
    case CONNACK:
      return { type, code: packet[at + 1] ?? 0 };
    case SUBACK:
    case UNSUBACK: {
      const codes = [...packet.subarray(afterProperties(packet, version))];
      return { type, packetId: uint16(at), ...(codes.length > 0 && { codes }) };
    }
    case DISCONNECT:
    case AUTH:
      return version === 5 && packet.length > at ? { type, code: packet[at]! } : { type };
    case SUBSCRIBE:
    case UNSUBSCRIBE: {
      const topics: string[] = [];
      for (
        let next = afterProperties(packet, version);
        next < packet.length;
        next += 2 + uint16(next) + (kind === SUBSCRIBE ? 1 : 0)
      ) {
        topics.push(string(next));
      }
      return { type, packetId: uint16(at), topics };
    }
    default:
      if (kind === CONNECT || packet.length < at + 2) return { type };
      return packet.length === at + 2
        ? { type, packetId: uint16(at) }
        : { type, packetId: uint16(at), code: packet[at + 2]! };
  }
}
