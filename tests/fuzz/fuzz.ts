/**
 * Bytes that no broker would send, of both versions, into the decoder and the session: nothing comes out but packets and
 * `MqttError`s, the same at any cut, with no more memory than a block, and the same that the tests' own
 * codec says; with a small limit, messages over it are passed over, and the rest stays the same.
 *
 *     deno run -A tests/fuzz/main.ts [--inputs 10000000] [--seed 1]
 */
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { MqttError } from "../../src/errors.ts";
import { Message } from "../../src/message.ts";
import { Decoder } from "../../src/protocol/decoder.ts";
import type { Packet } from "../../src/protocol/decoder.ts";
import type { Version } from "../../src/protocol/packet.ts";
import { Session } from "../../src/session/session.ts";
import type { SessionSettings } from "../../src/session/settings.ts";
import { plain } from "../protocol/compare.ts";
import { hex, join } from "../support/bytes.ts";
import { decodeNaive, Malformed, NaiveConnection, type NaivePacket, type Publish } from "../support/naive.ts";
import { encodeProperties } from "../support/naive_properties.ts";
import { Inputs } from "./inputs.ts";
import { comparePeer } from "./peer.ts";

/** The largest packet of the protocol: nothing is passed over. */
const MAX = 268_435_460;
/** The topic aliases of a connection of version 5. */
const ALIASES = 3;
/** A block that reads may fill, and an input that waits; `Decoder` says how they grow. */
const MOST_MEMORY = 262_144 + 2 * 300;
/** So far an input that ends within a packet is filled up, to see what comes of the packet. */
const MOST_FILLED = 20_000;
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
    const version = tally.inputs % 2 === 0 ? 4 : 5;
    const input = inputs.next(version);
    try {
      one(version, input, inputs, tally);
    } catch (error) {
      Error.stackTraceLimit = stackTraceLimit;
      throw new Error(
        `Seed ${seed}, input ${tally.inputs}, version ${version}: ${hex(input)}: ${(error as Error).stack}`,
        {
          cause: error,
        },
      );
    }
  }
  Error.stackTraceLimit = stackTraceLimit;
  return tally;
}

function one(version: Version, input: Uint8Array, inputs: Inputs, tally: Tally): void {
  const { random } = inputs;
  const whole = digest(version, input, []);
  tally.packets += whole.packets;
  const key = String(whole.error?.code ?? "none");
  count(tally.errors, key);
  const cuts = Array.from({ length: random.int(1, 3) }, () => random.int(0, input.length)).sort((a, b) => a - b);
  const pieces = digest(version, input, random.chance(0.1) ? Array.from(input, (_, i) => i) : cuts);
  if (pieces.hash !== whole.hash || pieces.packets !== whole.packets) assertEquals(pieces, whole, `cut at ${cuts}`);
  if (String(pieces.error) !== String(whole.error)) assertEquals(pieces.error, whole.error, `cut at ${cuts}`);
  if (version === 4 && random.chance(0.4)) session(input, random.int(0, input.length), random.pick([20, 60, 300]));
  if (random.chance(0.1)) count(tally.errors, limited(version, input, { max: random.int(1, 60), cuts }));
  if (random.chance(0.1)) compareNaive(version, input, found(version, input));
  if (random.chance(0.05)) {
    const reason = comparePeer(version, input, found(version, input));
    if (reason !== undefined) count(tally.differences, reason);
  }
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

/** Decodes in pieces, and makes one number of all that came of it: comparing values costs more than decoding. */
function digest(
  version: Version,
  input: Uint8Array,
  cuts: number[],
): { hash: number; packets: number; error: MqttError | undefined } {
  const decoder = new Decoder(MAX, version, ALIASES);
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
    if (packets % 8 === 0) assertLessOrEqual(decoder.space().buffer.byteLength, MOST_MEMORY);
  } catch (error) {
    if (!(error instanceof MqttError)) throw error;
    return { hash, packets, error };
  }
  return { hash, packets, error: undefined };
}

function mix(hash: number, packet: Packet, decoder: Decoder): number {
  const add = (value: number) => hash = Math.imul(hash ^ value, 0x9e3779b1);
  if (packet.type === "oversized") throw new Error("a message was passed over");
  add(packet.type);
  if (packet instanceof Message) {
    add(packet.qos << 2 | (packet.retain ? 2 : 0) | (packet.dup ? 1 : 0));
    add(decoder.packetId);
    for (let i = 0; i < packet.topic.length; i++) add(packet.topic.charCodeAt(i));
    for (const byte of packet.payload) add(byte);
    add(JSON.stringify(packet.properties ?? "").length);
    add(decoder.found.topicAlias);
  } else if ("packetId" in packet) {
    add(packet.packetId);
  }
  if ("codes" in packet) packet.codes?.forEach(add);
  if ("code" in packet) add(packet.code ?? 0);
  if ("properties" in packet) add(JSON.stringify(packet.properties ?? "").length);
  if ("filters" in packet) add(JSON.stringify(packet.filters).length);
  return hash;
}

/** All packets, in the form of the naive codec. */
export function found(version: Version, input: Uint8Array): Found {
  const decoder = new Decoder(MAX, version, ALIASES);
  const packets: NaivePacket[] = [];
  try {
    decoder.receive(input);
    for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
      packets.push(plain(packet, decoder, version));
    }
  } catch (error) {
    if (!(error instanceof MqttError)) throw error;
    return { packets, error };
  }
  return { packets, error: undefined };
}

/**
 * With a small limit: messages over it are passed over, another packet over it is an error, and all the rest
 * is what a decoder without a limit gives. Returns the code of the error.
 */
function limited(
  version: Version,
  input: Uint8Array,
  { max, cuts }: { max: number; cuts: readonly number[] },
): string {
  const { whole, isLarge } = fillUp(version, input);
  const without: string[] = [], within: string[] = [];
  let code = "none";

  const decoder = new Decoder(MAX, version, ALIASES);
  try {
    decoder.receive(whole);
    for (let waiting = decoder.waiting;; waiting = decoder.waiting) {
      const packet = decoder.next();
      if (packet === undefined) break;
      const size = waiting - decoder.waiting;
      if (size <= max) without.push(JSON.stringify(plain(packet, decoder, version)));
      else if (packet instanceof Message && isPassedOver(plain(packet, decoder, version) as Publish, max)) {
        without.push(passedOver(packet.topic, size, packet.qos, decoder.packetId));
      } else {
        without.push("overflow");
        break;
      }
    }
  } catch (error) {
    assert(error instanceof MqttError);
    without.push(String(error));
  }

  const small = new Decoder(max, version, ALIASES);
  try {
    for (let i = 0, at = 0; i <= cuts.length; i++) {
      const end = cuts[i] ?? whole.length;
      if (end > at) small.receive(whole.slice(at, end));
      at = end;
      for (let packet = small.next(); packet !== undefined; packet = small.next()) {
        if (packet.type !== "oversized") within.push(JSON.stringify(plain(packet, small, version)));
        else within.push(passedOver(packet.topic, packet.size, packet.qos, packet.packetId));
      }
    }
  } catch (error) {
    assert(error instanceof MqttError);
    code = String(error.code);
    within.push(error.code === "overflow" ? "overflow" : String(error));
  }
  const last = within.length - 1;
  // What else is wrong with a packet over the limit is not looked at.
  if (code === "overflow" && without[last]?.startsWith("MqttError")) without[last] = "overflow";
  // Of a very large packet only its head has come: it is enough to pass it over, or to refuse it.
  if (isLarge && last === without.length) without.push(within[last]!);
  assertEquals(within, without, `maxPacketSize ${max}, cut at ${cuts}`);
  return code;
}

/** Properties are kept until all of them have come: they are not over the limit, or the packet is a mistake. */
function isPassedOver({ properties }: Publish, max: number): boolean {
  return properties === undefined || encodeProperties(properties).length <= max;
}

function passedOver(topic: string, size: number, qos: number, packetId: number): string {
  return `passed over: ${size} bytes, QoS ${qos}, ${packetId}, ${topic}`;
}

/** An input that ends within a packet, with zeros to the packet's end, unless that is very large. */
function fillUp(version: Version, input: Uint8Array): { whole: Uint8Array; isLarge: boolean } {
  const decoder = new Decoder(MAX, version, ALIASES);
  try {
    decoder.receive(input);
    while (decoder.next() !== undefined);
  } catch {
    return { whole: input, isLarge: false };
  }
  let length = 0;
  for (let at = 1; at < 5; at++) {
    const byte = decoder.peek(at);
    if (byte === undefined) break;
    length += (byte & 127) * 128 ** (at - 1);
    if (byte > 127) continue;
    const missing = at + 1 + length - decoder.waiting;
    if (missing > MOST_FILLED) return { whole: input, isLarge: true };
    return { whole: join([input, new Uint8Array(missing)]), isLarge: false };
  }
  return { whole: input, isLarge: false };
}

/** The session takes it after CONNACK, or instead of it, and answers or ends. */
function session(input: Uint8Array, cut: number, maxPacketSize: number): void {
  const one = new Session({ ...SETTINGS, maxPacketSize }, { random: () => 0 }, NOBODY, 0);
  let dropped = 0;
  const hear = (bytes: Uint8Array) => {
    one.received(0, bytes, bytes.length, 0);
    for (let event = one.next(); event !== undefined; event = one.next()) {
      if (event.type === "status" && event.status.type === "dropped") dropped++;
    }
  };
  one.listen();
  assert(one.opened(0, { trusted: false }, 0) && one.login(0, { uname: undefined, passwd: undefined }, 0));
  assertEquals(one.takeBytes()?.[0], 0x10);
  one.written(0, 0);
  const open = cut % 8 > 0;
  if (open) hear(CONNACK);
  one.subscribe({ filters: [{ topic: "a", qos: 2 }] }, { onpub: undefined, concurrency: 1 }, NOBODY, 0);
  hear(input.subarray(0, cut));
  hear(input.subarray(cut));
  assertEquals(one.stats.dropped, dropped);
  assertLessOrEqual(one.buffered, 1000);
  if (one.reason === undefined) return;
  const { code } = one.reason;
  assert(open || code === "invalidresp" || input[0] === 0x20, `${code} before CONNACK`);
  // It is over: nothing more is heard.
  hear(CONNACK);
  assertEquals([one.next(), one.takeBytes(), one.due], [undefined, undefined, Infinity]);
}

const NOBODY = { resolve() {}, reject() {} };

const SETTINGS: SessionSettings = {
  version: 4,
  checksFormat: false,
  fallsBack: false,
  sessionExpiry: 0,
  topicAliases: 0,
  properties: undefined,
  auth: undefined,
  id: "f",
  will: undefined,
  keepalive: 60,
  pingPart: 1,
  cleanSession: true,
  maxPacketSize: 300,
  maxBuffered: 1000,
  maxUnsettled: 1 << 20,
  receiveMaximum: 1000,
  maxInflight: 100,
  maxInflightQoS2: 20,
  sessionLost: undefined,
  timeout: 10_000,
  reconnect: undefined,
  asksPolicy: false,
  offline: false,
  places: [{ address: undefined, credentials: "none" }],
  rejectUntrusted: false,
};

function compareNaive(version: Version, input: Uint8Array, { packets, error }: Found): void {
  const connection = new NaiveConnection(version, ALIASES);
  let at = 0;
  for (const packet of packets) {
    const naive = decodeNaive(input.subarray(at), connection);
    assert(naive !== undefined, `a packet that the naive codec does not see: ${JSON.stringify(packet)}`);
    assertEquals<NaivePacket>(packet, naive.packet);
    at += naive.length;
  }
  let statement: string | undefined;
  try {
    const more = decodeNaive(input.subarray(at), connection);
    if (error === undefined) assertEquals(more, undefined, "a packet that only the naive codec sees");
  } catch (naive) {
    if (!(naive instanceof Malformed)) throw naive;
    statement = naive.statement;
  }
  if (error === undefined) assertEquals(statement, undefined, "a mistake that only the naive codec sees");
  else if (statement === undefined) foundEarly(input.subarray(at), connection, error);
}

/** Ours finds a mistake in what has come of a packet: then no bytes that follow make it whole and right. */
function foundEarly(rest: Uint8Array, connection: NaiveConnection, error: MqttError): void {
  assertEquals(decodeNaive(rest, connection), undefined, `a mistake that only the decoder sees: ${error.message}`);
}
