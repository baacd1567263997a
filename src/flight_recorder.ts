/** The last packets of a connection, kept for when something goes wrong.
 * @module */

import type { Trace, TraceRecord } from "./options.ts";

/** Keeps the last packets, and prints them. */
export interface FlightRecorder {
  /** Give it as `op.trace`; several connections may share it. */
  readonly trace: Trace;
  /** The packets kept, oldest first. */
  readonly records: readonly TraceRecord[];
  /** One line for each packet kept: milliseconds since the first, direction, type and what else is known. */
  toString(): string;
}

/**
 * Makes a ring of the last `capacity` packets, 100 by default.
 *
 * @example What happened before the connection ended
 * ```ts no-run
 * import { connect, flightRecorder } from "mqtt3c";
 *
 * const recorder = flightRecorder(50);
 * const mqtt = await connect("localhost", undefined, { trace: recorder.trace });
 * const end = await mqtt.run();
 * console.log(`${end.message}\n${recorder}`);
 * ```
 *
 * @throws {RangeError} If `capacity` is no whole number of 1 and more.
 */
export function flightRecorder(capacity = 100): FlightRecorder {
  if (!Number.isSafeInteger(capacity) || capacity < 1) {
    throw new RangeError(`Cannot keep ${capacity} packets as it must be a whole number of 1 and more`);
  }
  const ring: TraceRecord[] = [];
  let next = 0;
  const records = () => [...ring.slice(next), ...ring.slice(0, next)];
  return {
    trace: (record) => {
      ring[next] = record;
      next = (next + 1) % capacity;
    },
    get records() {
      return records();
    },
    toString() {
      const kept = records();
      return kept.map((record) => line(record, record.time - kept[0]!.time)).join("\n");
    },
  };
}

function line({ direction, type, size, ...fields }: TraceRecord, after: number): string {
  const { packetId, topic, topics, qos, retain, dup, code, codes } = fields;
  const known = [
    topic !== undefined && JSON.stringify(topic),
    topics !== undefined && topics.map((topic) => JSON.stringify(topic)).join(" "),
    qos !== undefined && `qos ${qos}`,
    retain && "retain",
    dup && "dup",
    packetId !== undefined && `id ${packetId}`,
    code !== undefined && `code ${code}`,
    codes !== undefined && `codes ${codes.join(" ")}`,
    `${size} bytes`,
  ];
  const arrow = direction === "sent" ? ">" : "<";
  return `${after.toFixed(1).padStart(10)} ms ${arrow} ${type.padEnd(11)} ${known.filter(Boolean).join(", ")}`;
}
