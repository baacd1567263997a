/**
 * Bytes that no broker would send, into the decoder and the session: nothing comes out but packets and
 * `MqttError`s, the same at any cut, with no more memory than the packet limit allows, and the same
 * that the tests' own codec says.
 *
 *     deno run -A tests/fuzz/main.ts [--inputs 10000000] [--seed 1]
 */
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { MqttError } from "../../src/errors.ts";
import { Message } from "../../src/message.ts";
import { Decoder } from "../../src/protocol/decoder.ts";
import type { Packet } from "../../src/protocol/decoder.ts";
import { Session } from "../../src/session/session.ts";
import { plain } from "../protocol/compare.ts";
import { hex } from "../support/bytes.ts";
import { decodeNaive, Malformed, type NaivePacket } from "../support/naive.ts";
import { Inputs } from "./inputs.ts";
import { comparePeer } from "./peer.ts";

const MAX = 300;
/** A block that reads may fill, and a packet that waits; `Decoder` says how they grow. */
const MOST_MEMORY = 262_144 + 2 * MAX;
const CONNACK = Uint8Array.of(0x20, 2, 0, 0);

/** What came of a stream. */
export interface Found {
  packets: NaivePacket[];
  error: MqttError | undefined;
}

/** How often each thing happened. */
export interface Tally {
  inputs: number;
  packets: number;
  errors: Map<string, number>;
  /** Differences from mqtt-packet, by the reason in the table of peer.ts. */
  differences: Map<string, number>;
}

/** Plays so many inputs; throws with the bytes of the first that is handled wrongly. */
export async function fuzz(seed: number, count: number): Promise<Tally> {
  const inputs = new Inputs(seed);
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0; // half of the inputs end in an error, and its trace costs more than all the rest
  const tally: Tally = { inputs: 0, packets: 0, errors: new Map(), differences: new Map() };
  for (; tally.inputs < count; tally.inputs++) {
    // A test that never gives way cannot be stopped by its deadline.
    if (tally.inputs % 10_000 === 0) await new Promise((resolve) => setTimeout(resolve));
    const input = inputs.next();
    try {
      one(input, inputs, tally);
    } catch (error) {
      Error.stackTraceLimit = stackTraceLimit;
      throw new Error(`Seed ${seed}, input ${tally.inputs}: ${hex(input)}: ${(error as Error).stack}`, {
        cause: error,
      });
    }
  }
  Error.stackTraceLimit = stackTraceLimit;
  return tally;
}

function one(input: Uint8Array, inputs: Inputs, tally: Tally): void {
  const { random } = inputs;
  const whole = digest(input, []);
  tally.packets += whole.packets;
  const key = String(whole.error?.code ?? "none");
  count(tally.errors, key);
  const cuts = Array.from({ length: random.int(1, 3) }, () => random.int(0, input.length)).sort((a, b) => a - b);
  const pieces = digest(input, random.chance(0.1) ? Array.from(input, (_, i) => i) : cuts);
  if (pieces.hash !== whole.hash || pieces.packets !== whole.packets) assertEquals(pieces, whole, `cut at ${cuts}`);
  if (String(pieces.error) !== String(whole.error)) assertEquals(pieces.error, whole.error, `cut at ${cuts}`);
  if (random.chance(0.2)) session(input, random.int(0, input.length));
  if (random.chance(0.1)) compareNaive(input, found(input));
  if (random.chance(0.05)) {
    const reason = comparePeer(input, found(input));
    if (reason !== undefined) count(tally.differences, reason);
  }
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

/** Decodes in pieces, and makes one number of all that came of it: comparing values costs more than decoding. */
function digest(input: Uint8Array, cuts: number[]): { hash: number; packets: number; error: MqttError | undefined } {
  const decoder = new Decoder(MAX);
  let hash = 0, packets = 0;
  try {
    for (let i = 0, at = 0; i <= cuts.length; i++) {
      const end = cuts[i] ?? input.length;
      if (end > at) decoder.receive(input.subarray(at, end));
      at = end;
      for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
        packets++;
        hash = mix(hash, packet, decoder);
      }
    }
    assertLessOrEqual(decoder.waiting, MAX + 3);
    if (packets % 8 === 0) assertLessOrEqual(decoder.space().buffer.byteLength, MOST_MEMORY);
  } catch (error) {
    if (!(error instanceof MqttError)) throw error;
    return { hash, packets, error };
  }
  return { hash, packets, error: undefined };
}

function mix(hash: number, packet: Packet, decoder: Decoder): number {
  const add = (value: number) => hash = Math.imul(hash ^ value, 0x9e3779b1);
  add(packet.type);
  if (packet instanceof Message) {
    add(packet.qos << 2 | (packet.retain ? 2 : 0) | (packet.dup ? 1 : 0));
    add(decoder.packetId);
    for (let i = 0; i < packet.topic.length; i++) add(packet.topic.charCodeAt(i));
    for (const byte of packet.payload) add(byte);
  } else if ("packetId" in packet) {
    add(packet.packetId);
  }
  if ("codes" in packet) packet.codes.forEach(add);
  if ("code" in packet) add(packet.code);
  if ("filters" in packet) add(JSON.stringify(packet.filters).length);
  return hash;
}

/** All packets, in the form of the naive codec. */
export function found(input: Uint8Array): Found {
  const decoder = new Decoder(MAX);
  const packets: NaivePacket[] = [];
  try {
    decoder.receive(input);
    for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
      packets.push(plain(packet, decoder));
    }
  } catch (error) {
    if (!(error instanceof MqttError)) throw error;
    return { packets, error };
  }
  return { packets, error: undefined };
}

/** The session takes it after CONNACK, or instead of it, and answers or refuses. */
function session(input: Uint8Array, cut: number): void {
  const one = new Session({
    keepalive: 60,
    cleanSession: true,
    maxPacketSize: MAX,
    maxBuffered: 1000,
  });
  one.connect({ id: "f" }, 0);
  const open = cut % 8 > 0;
  try {
    if (open) one.receive(CONNACK, 4);
    one.subscribe([{ topic: "a", qos: 2 }]);
    one.receive(input.subarray(0, cut), cut);
    while (one.next() !== undefined);
    one.receive(input.subarray(cut), input.length - cut);
    while (one.next() !== undefined);
  } catch (error) {
    assert(error instanceof MqttError, `${error}`);
    assert(open || error.code === "invalidresp" || input[0] === 0x20, `${error.code} before CONNACK`);
    // It is over: nothing more is heard.
    one.receive(CONNACK, 4);
    assertEquals(one.next(), undefined);
    assertEquals(one.due, Infinity);
  }
  assertLessOrEqual(one.output.buffered, 1000);
}

function compareNaive(input: Uint8Array, { packets, error }: Found): void {
  let at = 0;
  for (const packet of packets) {
    const naive = decodeNaive(input.subarray(at));
    assert(naive !== undefined, `a packet that the naive codec does not see: ${JSON.stringify(packet)}`);
    assertEquals<NaivePacket>(packet, naive.packet);
    at += naive.length;
  }
  let statement: string | undefined;
  try {
    const more = decodeNaive(input.subarray(at));
    if (error === undefined) assertEquals(more, undefined, "a packet that only the naive codec sees");
  } catch (naive) {
    if (!(naive instanceof Malformed)) throw naive;
    statement = naive.statement;
  }
  if (error === undefined) assertEquals(statement, undefined, "a mistake that only the naive codec sees");
  else if (error.code !== "overflow" && statement === undefined) foundEarly(input.subarray(at), error);
}

/** Ours finds a mistake in what has come of a packet: then no bytes that follow make it whole and right. */
function foundEarly(rest: Uint8Array, error: MqttError): void {
  assertEquals(decodeNaive(rest), undefined, `a mistake that only the decoder sees: ${error.message}`);
}
