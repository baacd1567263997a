/** What passes on a connection, packet by packet: seen at the transport, so that client and session know nothing of it.
 * @module */

import type { Trace, TraceRecord } from "../api.ts";
import { invoke } from "../errors.ts";
import { CONNACK, CONNECT, NAMES, PUBLISH, type QoS, SUBACK, SUBSCRIBE, UNSUBSCRIBE } from "../protocol/packet.ts";
import type { Dial, Transport } from "./transport.ts";

/** Connections as `dial` opens them, traced; without `trace` they are untouched, so that costs nothing. */
export function traceDial(dial: Dial, trace: Trace | undefined): Dial {
  return trace === undefined ? dial : async (signal) => traced(await dial(signal), trace);
}

/** The transport, with `trace` told of what passes. */
function traced(transport: Transport, trace: Trace): Transport {
  const sent = new Walker("sent", trace), received = new Walker("received", trace);
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

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Finds the packets in a stream of bytes, whatever its cuts. It judges nothing: that is the decoder's. */
class Walker {
  readonly #direction: TraceRecord["direction"];
  readonly #trace: Trace;
  /** A head that is not whole yet; bytes to pass over, Infinity after what is no packet. */
  #head: Uint8Array = new Uint8Array(0);
  #skip = 0;

  constructor(direction: TraceRecord["direction"], trace: Trace) {
    this.#direction = direction;
    this.#trace = trace;
  }

  walk(bytes: Uint8Array): void {
    for (;;) {
      const skipped = Math.min(this.#skip, bytes.length);
      this.#skip -= skipped;
      bytes = bytes.subarray(skipped);
      if (bytes.length === 0) return;
      const before = this.#head.length;
      const head = before === 0 ? bytes.subarray(0, LONGEST_HEAD) : concat(this.#head, bytes);
      const size = sizeOf(head);
      if (size === undefined || head.length < headLength(head, size)) {
        this.#head = head.slice();
        return;
      }
      this.#head = new Uint8Array(0);
      this.#skip = size - before;
      if (size !== Infinity) {
        const time = performance.now();
        invoke(this.#trace, { direction: this.#direction, time, size, ...describe(head.subarray(0, size)) });
      }
    }
  }
}

function concat(start: Uint8Array, more: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(Math.min(start.length + more.length, LONGEST_HEAD));
  all.set(start);
  all.set(more.subarray(0, all.length - start.length), start.length);
  return all;
}

/** The size of the packet that starts here; Infinity if none does, undefined if that is not known yet. */
function sizeOf(head: Uint8Array): number | undefined {
  const type = head[0]! >> 4;
  if (type === 0 || type === 15) return Infinity;
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
function headLength(head: Uint8Array, size: number): number {
  if (size === Infinity) return 0;
  const type = head[0]! >> 4, at = bodyAt(head);
  if (type === SUBSCRIBE || type === UNSUBSCRIBE || type === SUBACK) return Math.min(size, LONGEST_HEAD);
  const name = type === PUBLISH ? head.length < at + 2 ? 65_535 : head[at]! << 8 | head[at + 1]! : 0;
  return Math.min(size, at + 2 + (type === PUBLISH ? name + 2 : 0));
}

function describe(packet: Uint8Array): Omit<TraceRecord, "direction" | "time" | "size"> {
  const kind = packet[0]! >> 4, type = NAMES[kind]!, at = bodyAt(packet);
  const uint16 = (at: number) => (packet[at] ?? 0) << 8 | (packet[at + 1] ?? 0);
  const string = (at: number) => utf8.decode(packet.subarray(at + 2, at + 2 + uint16(at)));
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
      return { type, packetId: uint16(at), codes: [...packet.subarray(at + 2)] };
    case SUBSCRIBE:
    case UNSUBSCRIBE: {
      const topics: string[] = [];
      for (let next = at + 2; next < packet.length; next += 2 + uint16(next) + (kind === SUBSCRIBE ? 1 : 0)) {
        topics.push(string(next));
      }
      return { type, packetId: uint16(at), topics };
    }
    default:
      return kind === CONNECT || packet.length < at + 2 ? { type } : { type, packetId: uint16(at) };
  }
}
