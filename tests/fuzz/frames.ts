/**
 * Frames that no server would send, into what takes them apart, and beside that into the npm package `ws`: nothing comes
 * out but payloads, and one clear end, the same at any cut, and the same that `ws` finds, but for what the tables name.
 * Through the whole transport, whose sink now and then wants no more, and whose writes are done when chance says so: all
 * comes, all goes, and nothing stands still.
 *
 *     deno run -A tests/fuzz/frames_main.ts [--inputs 1000000] [--seed 1]
 */
import { Buffer } from "node:buffer";
import { fail } from "node:assert/strict";
import { assert, assertEquals } from "@std/assert";
import { FrameReader } from "../../src/transport/websocket_frames.ts";
import { hex, join } from "../support/bytes.ts";
import { FrameInputs } from "./frame_inputs.ts";
import { type Found, readByWs } from "./frame_peer.ts";
import { throughTransport } from "./frame_transport.ts";

/** What we refuse and `ws` takes, by our message. */
const STRICT: readonly [RegExp, string][] = [
  [/a text frame/, "it takes text [MQTT-6.0.0-1]"],
  [/in more bytes than it needs/, "it takes lengths in more bytes than they need [RFC 6455, section 5.2]"],
  [/of 2\^63 bytes or more/, "it closes with 1009 for a length of 2^63 [RFC 6455, section 5.2]"],
];

/** What `ws` refuses and we take, by its message: we hand on the bytes as they come, and never keep so many. */
const LENIENT: readonly [RegExp, string][] = [
  [/payload length > 2\^53 - 1/, "it takes no length beyond 2^53 - 1"],
];

/** How often each thing happened. */
export interface FrameTally {
  inputs: number;
  /** Bytes of payloads. */
  bytes: number;
  /** Through the transport. */
  transported: number;
  /** How streams ended: the close codes of mistakes, and of the server. */
  ends: Map<string, number>;
  /** Differences from `ws`, by the reason in the tables. */
  differences: Map<string, number>;
}

/** Plays so many inputs; throws with the bytes of the first that is handled wrongly. */
export async function fuzzFrames(seed: number, count: number): Promise<FrameTally> {
  const inputs = new FrameInputs(seed), { random } = inputs, { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0; // many of the inputs end in an error, and its trace costs more than all the rest
  const tally: FrameTally = { inputs: 0, bytes: 0, transported: 0, ends: new Map(), differences: new Map() };
  try {
    for (; tally.inputs < count; tally.inputs++) {
      // A test that never gives way cannot be stopped by its deadline.
      if (tally.inputs % 1000 === 0) await new Promise((resolve) => setTimeout(resolve));
      const input = inputs.next();
      try {
        const whole = one(input, inputs, tally);
        if (!random.chance(0.1)) continue;
        await throughTransport(input, whole, random);
        tally.transported++;
      } catch (error) {
        const place = `Seed ${seed}, input ${tally.inputs}: ${hex(input)}`;
        throw new Error(`${place}: ${(error as Error).stack ?? error}`, { cause: error });
      }
    }
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  return tally;
}

function one(input: Uint8Array, { random }: FrameInputs, tally: FrameTally): Found {
  const whole = read(input, []);
  tally.bytes += whole.data.length;
  count(tally.ends, whole.mistake ? `mistake ${whole.mistake.code}` : whole.closed ? "close" : "none");
  const some = Array.from({ length: random.int(1, 4) }, () => random.int(0, input.length)).sort((a, b) => a - b);
  const cuts = random.chance(0.1) && input.length < 1000 ? Array.from(input, (_, i) => i) : some;
  const pieces = read(input, cuts);
  if (!isSame(pieces, whole)) assertEquals(pieces, whole, `cut at ${cuts}`);
  const difference = compare(input, whole);
  if (difference !== undefined) count(tally.differences, difference);
  return whole;
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

/** What our reader finds in a stream. It moves payloads within the bytes that it is given, so it has a copy. */
function read(input: Uint8Array, cuts: readonly number[]): Found {
  const reader = new FrameReader(), parts: Uint8Array[] = [];
  for (let i = 0, from = 0; i <= cuts.length; i++) {
    const chunk = input.slice(from, cuts[i]);
    from = cuts[i] ?? 0;
    for (let at = 0; at < chunk.length && reader.closed === undefined && reader.mistake === undefined;) {
      const next = reader.take(chunk, at, chunk.length);
      assert(next > at, "it goes on");
      at = next;
      if (reader.to > reader.from) parts.push(chunk.slice(reader.from, reader.to));
    }
  }
  const { ping, closed, mistake } = reader;
  return {
    data: Buffer.concat(parts),
    pings: ping === undefined ? [] : [hex(ping)],
    closed: closed === undefined ? undefined : { ...closed },
    mistake: mistake === undefined ? undefined : { code: mistake.closeCode, message: mistake.message },
  };
}

function isSame(a: Found, b: Found): boolean {
  return Buffer.compare(a.data, b.data) === 0 && a.pings.join() === b.pings.join() &&
    a.closed?.code === b.closed?.code && a.closed?.reason === b.closed?.reason &&
    a.mistake?.code === b.mistake?.code && a.mistake?.message === b.mistake?.message;
}

/** Compares with `ws`, and returns the reason of a difference that is in the tables. */
function compare(input: Uint8Array, found: Found): string | undefined {
  const longer = join([input, Uint8Array.of(0)]);
  let ours = found, theirs = readByWs(input);
  // We find a mistake in the first byte of a frame, it in the second one; that a close frame has one byte, it finds before that.
  if (ours.mistake !== undefined && theirs.mistake === undefined) theirs = readByWs(longer);
  else if (ours.mistake === undefined && theirs.mistake !== undefined) ours = read(longer, []);
  const both = Math.min(ours.data.length, theirs.data.length);
  assertEquals(Buffer.compare(ours.data.subarray(0, both), theirs.data.subarray(0, both)), 0, "the same payloads");
  const strict = STRICT.find(([pattern]) => pattern.test(ours.mistake?.message ?? ""));
  if (strict !== undefined) return strict[1]; // it goes on, perhaps to another mistake
  assertEquals(ours.mistake?.code ?? theirs.mistake?.code, theirs.mistake?.code);
  if (theirs.mistake !== undefined && ours.mistake === undefined) {
    const [, reason] = LENIENT.find(([pattern]) => pattern.test(theirs.mistake!.message)) ??
      fail(`not in the table: ${theirs.mistake.message}`);
    return reason;
  }
  // It hands on whole messages only: ours has more at the end, and never less.
  assert(ours.data.length >= theirs.data.length, "all of them");
  assertEquals(ours.closed, theirs.closed);
  assertEquals(ours.pings, theirs.pings.slice(-1));
  return undefined;
}
