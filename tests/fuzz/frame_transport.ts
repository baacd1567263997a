/** A stream of frames through the whole transport, over a connection that stalls by chance; the server is a receiver of `ws`. */
import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import type { MqttError } from "../../src/errors.ts";
import type { Sink, Transport } from "../../src/transport/transport.ts";
import { BINARY, Block } from "../../src/transport/websocket_frames.ts";
import { type Upgrade, upgrader } from "../../src/transport/websocket.ts";
import { noise } from "../client/support.ts";
import { hex, join } from "../support/bytes.ts";
import type { Random } from "../support/random.ts";
import { agreed } from "../support/websocket.ts";
import { type Found, WsReader } from "./frame_peer.ts";

const TARGET = { authority: "h", resource: "/mqtt", headers: [], mustTrust: false };
/** What the client writes, in pieces. */
const WRITTEN = noise(300_000);

let loaded: Promise<Upgrade> | undefined;

/** The connection below: what comes and when, and whether a write is done at once, is decided by who plays. */
class Below implements Transport {
  readonly sock = undefined;
  readonly trusted = true;
  readonly #random: Random;
  readonly written: Uint8Array[] = [];
  sink: Sink | undefined;
  isReading = false;
  isClosed = false;
  /** A write that is not done: its bytes, and what they were when it began. */
  pending: { bytes: Uint8Array; copy: Uint8Array } | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  start(sink: Sink): void {
    this.sink = sink;
    this.isReading = true;
  }

  write(bytes: Uint8Array): boolean {
    assert(this.pending === undefined && !this.isClosed, "one write at a time, while it is open");
    const copy = bytes.slice();
    this.written.push(copy);
    if (this.#random.chance(0.5)) return true;
    this.pending = { bytes, copy };
    return false;
  }

  /** The write in flight is done; meanwhile another connection has made a frame. */
  drain(): void {
    const { bytes, copy } = this.pending!, other = Block.take();
    other.frame(BINARY, copy.subarray(0, 100));
    other.free();
    assertEquals(Buffer.compare(bytes, copy), 0, "bytes in flight do not change");
    this.pending = undefined;
    this.sink!.written();
  }

  /** Some of the bytes come, by way of the sink's memory or not; returns how many. */
  deliver(bytes: Uint8Array): number {
    const space = this.#random.chance(0.8) ? this.sink!.space() : new Uint8Array(bytes.length);
    const count = Math.min(space.length, bytes.length, this.#random.pick([1, 7, 100, 70_000]));
    space.set(bytes.subarray(0, count));
    this.isReading = this.sink!.received(space, count);
    return count;
  }

  resume(): void {
    this.isReading = true;
  }

  end(): void {}

  close(): void {
    this.isClosed = true;
    this.isReading = false;
  }
}

/** Who has the WebSocket: it writes, stops to read, and reads on by chance. */
class User implements Sink {
  readonly #random: Random;
  readonly got: Uint8Array[] = [];
  transport!: Transport;
  isReading = true;
  isWriting = false;
  /** How much has been written, and why it is over. */
  wrote = 0;
  over: MqttError | undefined;
  /** Whether it has given up the connection: it hears nothing more. */
  hasLeft = false;

  constructor(random: Random) {
    this.#random = random;
  }

  space(): Uint8Array {
    return new Uint8Array(64);
  }

  received(chunk: Uint8Array, length: number): boolean {
    assert(this.isReading && this.over === undefined && !this.hasLeft, "nothing comes to who does not read");
    this.got.push(chunk.slice(0, length));
    if (this.#random.chance(0.1)) this.write();
    if (this.#random.chance(0.01)) {
      this.hasLeft = true;
      this.transport.close();
    }
    return this.isReading = this.#random.chance(0.8);
  }

  write(): void {
    if (this.isWriting || this.over !== undefined || this.hasLeft) return;
    const length = Math.min(this.#random.pick([1, 4, 125, 126, 2000, 2000, 270_000]), WRITTEN.length - this.wrote);
    if (length === 0) return;
    const bytes = WRITTEN.subarray(this.wrote, this.wrote += length);
    this.isWriting = !this.transport.write(bytes);
  }

  written(): void {
    assert(this.isWriting && this.over === undefined && !this.hasLeft, "who waits is told");
    this.isWriting = false;
    if (this.#random.chance(0.5)) this.write();
  }

  closed(error: MqttError): void {
    assert(this.over === undefined && !this.hasLeft, "the end is told once");
    this.over = error;
  }

  resume(): void {
    this.isReading = true;
    this.transport.resume();
  }
}

/** Plays a stream, of which it is known what is in it; throws when that is not what comes, or something stands still. */
export async function throughTransport(input: Uint8Array, whole: Found, random: Random): Promise<void> {
  const upgrade = await (loaded ??= upgrader(TARGET));
  const below = new Below(random), user = new User(random);
  const opening = upgrade(below, new AbortController().signal);
  const request = Buffer.from(below.written.shift()!).toString("latin1");
  let rest = join([Buffer.from(agreed(request), "latin1"), input]);
  while (below.isReading) rest = rest.subarray(below.deliver(rest));
  user.transport = await opening;
  user.transport.start(user);

  while (!below.isClosed) {
    const canCome = below.isReading && rest.length > 0, step = random.int(0, 3);
    if (!canCome && below.pending === undefined && user.isReading) break; // all has come and gone
    if (step === 0 && canCome) rest = rest.subarray(below.deliver(rest));
    else if (step === 1 && below.pending !== undefined) below.drain();
    else if (step === 2 && !user.isReading) user.resume();
    else if (step === 3 && random.chance(0.2)) user.write();
  }
  const { mistake, closed } = whole, got = Buffer.concat(user.got);
  assertEquals(Buffer.compare(got, user.hasLeft ? whole.data.subarray(0, got.length) : whole.data), 0, "the payloads");
  if (user.hasLeft) return;
  if (mistake === undefined && closed === undefined) {
    assert(user.over === undefined, `over: ${user.over?.message}`);
    assertEquals([rest.length, user.isWriting, below.isReading], [0, false, true], "nothing stands still");
  } else {
    assertEquals(user.over?.code, mistake === undefined ? "socketclosed" : "protocol");
    if (mistake !== undefined) assertEquals(user.over?.message, mistake.message);
  }

  const server = new WsReader(true), stream = join(below.written);
  for (let from = 0; from < stream.length;) server.take(stream.subarray(from, from += random.int(1, 100_000)));
  const { found } = server, sent = Buffer.concat(found.data);
  assertEquals(found.mistake, undefined);
  assertEquals(Buffer.compare(sent, WRITTEN.subarray(0, sent.length)), 0, "what the server gets");
  if (user.over === undefined) {
    assertEquals([sent.length, found.pongs.at(-1)], [user.wrote, whole.pings.at(-1)]);
    return;
  }
  // A close frame is sent, with the same code, unless something is being written.
  const code = mistake?.code ?? (closed!.code === 1005 ? 1000 : closed!.code);
  if (below.pending === undefined) assertEquals(found.closed?.code, code);
  else assertEquals(found.closed?.code ?? code, code);
  assert(found.pongs.every((pong) => hex(input).includes(pong)), "pongs are of pings");
}
