/** A simulated TCP connection: bytes that are delayed, merged, cut, stalled and lost; and the client's end of it. */
import type { MqttError } from "../../src/errors.ts";
import type { Trust } from "../../src/session/trust.ts";
import type { Sink, Transport } from "../../src/transport/transport.ts";
import { assertBytes } from "../support/bytes.ts";
import {
  decodeUtf8,
  encodeNaive,
  encodeNaive5,
  Malformed,
  NaiveConnection,
  type NaivePacket,
  NaiveReader,
  type Publish,
} from "../support/naive.ts";
import type { Random } from "../support/random.ts";
import type { World } from "./world.ts";

/** What is wrong with a connection: nothing, or what the client cannot be blamed for. */
export type Fault =
  | ("none" | "fin" | "reset" | "half-open" | "stall" | "silent" | "deaf" | "garbage" | "refusal")
  /** The broker hangs up when it is asked for a certain filter; it answers no request; it says why it ends the connection. */
  | ("forbids" | "mute" | "goodbye");

/** The head of a PUBLISH over maxPacketSize; `size` in bytes, of the whole packet. */
export interface Head {
  readonly topic: string;
  readonly size: number;
  readonly qos: number;
  readonly packetId: number;
}

/** Who hears what passes on a connection. */
export interface Observer {
  /** The client listens to a connection. */
  started(wire: Wire): void;
  /** The client gave packets to `write`. */
  wrote(wire: Wire, packets: NaivePacket[]): void;
  /** The client has been given this packet. */
  read(wire: Wire, packet: NaivePacket): void;
  /** The client has been given the head of a PUBLISH over maxPacketSize, and perhaps more of it. */
  readHead(wire: Wire, head: Head): void;
  /** The broker has got these packets. */
  arrived(wire: Wire, packets: NaivePacket[]): void;
  /** The connection is over for the client. */
  gone(wire: Wire): void;
  /** What the client is told then: an error of the library under test, which may be a copy. */
  socketClosed(how: string): MqttError;
  fail(what: string): void;
}

/** Understands what a client writes, of the version that its CONNECT has: that is written whole. */
export class Writing {
  readonly #fail: (what: string) => void;
  #connection: NaiveConnection | undefined;
  #reader = new NaiveReader();

  constructor(fail: (what: string) => void) {
    this.#fail = fail;
  }

  /** The version of CONNECT; 4 before. */
  get version(): number {
    return this.#connection?.version ?? 4;
  }

  /** The broker takes so many topic aliases. */
  takeAliases(maximum: number): void {
    if (this.#connection !== undefined) this.#connection.topicAliasMaximum = maximum;
  }

  /** The packets of a write. */
  push(bytes: Uint8Array): NaivePacket[] {
    if (this.#connection === undefined) {
      this.#connection = new NaiveConnection(versionOf(bytes));
      this.#reader = new NaiveReader(this.#connection);
    }
    try {
      const packets = this.#reader.push(bytes);
      if (bytes.length === 0 || this.#reader.rest.length > 0) this.#fail("a write that is no packets");
      return packets;
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.#fail(`a write that breaks ${error.message}`);
      return [];
    }
  }
}

/** Understands what a client is given: packets, and the heads of those over maxPacketSize. */
export class Hearing {
  readonly #maxPacketSize: number;
  readonly #hearer: { read(packet: NaivePacket): void; readHead(head: Head): void };
  #version = 4;
  #reader = new NaiveReader();
  #heardGarbage = false;
  /** Whether the head of the packet that comes was told. */
  #toldHead = false;

  constructor(maxPacketSize: number, hearer: { read(packet: NaivePacket): void; readHead(head: Head): void }) {
    this.#maxPacketSize = maxPacketSize;
    this.#hearer = hearer;
  }

  /** The broker answers a CONNECT, in this version; the client takes so many topic aliases. */
  speak(version: number, topicAliases: number): void {
    this.#version = version;
    this.#reader = new NaiveReader(new NaiveConnection(version, topicAliases));
  }

  /** What the broker should not have sent, the tests' own codec need not understand; what comes before, it does. */
  hear(bytes: Uint8Array, garbage: boolean): void {
    if (!garbage) return this.#hear(bytes);
    try {
      for (const byte of bytes) {
        if (!this.#heardGarbage) this.#hear(Uint8Array.of(byte));
      }
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.#heardGarbage = true;
    }
  }

  #hear(bytes: Uint8Array): void {
    for (const packet of this.#reader.push(bytes)) {
      const head = packet.type === "PUBLISH" ? headOf(packet, this.#version) : undefined;
      if (head === undefined || head.size <= this.#maxPacketSize) this.#hearer.read(packet);
      else if (!this.#toldHead) this.#hearer.readHead(head);
      this.#toldHead = false;
    }
    const begun = this.#toldHead ? undefined : beginning(this.#reader.rest, this.#version, this.#maxPacketSize);
    if (begun === undefined) return;
    this.#toldHead = true;
    this.#hearer.readHead(begun);
  }
}

/** One connection. */
export class Wire implements Transport {
  readonly sock = "simulated";
  readonly trusted: Trust;
  readonly index: number;
  readonly #world: World;
  readonly #random: Random;
  readonly #observer: Observer;
  /** What has gone wrong so far. */
  fault: Fault = "none";
  /** When it did. */
  faultAt: number = Infinity;
  connacked = false;
  /** When the client had CONNACK. */
  connackedAt: number = Infinity;
  sessionPresent = false;
  /** The version that the broker answers in; seconds of keep alive that it wants instead of the client's. */
  spoken = 4;
  keepalive: number | undefined;
  /** How many topic aliases the broker takes. */
  aliases = 0;
  /** Whether CONNACK has refused the version. */
  isTooNew = false;
  /** Whether the client was told that the connection is lost, and has not closed it itself. */
  wasLost = false;
  /** The client: was told to read no more; has ended its side; the connection is over for it. */
  paused = false;
  ended = false;
  closed = false;
  #givenUp = false;
  lastWrite = 0;
  resumedAt = 0;
  /** Whether the broker has hung up, whatever else is wrong. */
  forbade = false;
  /** Whether nothing passes any more, and nobody is told; whether nothing passes for a while. */
  #dead = false;
  #stalled = false;
  /** The broker: reads; has closed. */
  #brokerReads = true;
  brokerClosed = false;
  #sink: Sink | undefined;
  readonly #latency: number;
  readonly #longestRead: number;
  readonly #window: number;
  readonly #inPlace: number;
  /** How often the client's kernel accepts bytes while they are written. */
  readonly #atOnce: number;
  /** To the client: what has arrived in its socket. */
  #inbox: Uint8Array[] = [];
  /** Since when. */
  #arrivedAt = 0;
  #fin = false;
  #reading = false;
  #toClient: Uint8Array[] = [];
  #toBroker: (Uint8Array | "fin")[] = [];
  /** Accepted by the client's kernel, not read by the broker. */
  #inFlight = 0;
  #write: { bytes: Uint8Array; copy: Uint8Array; at: number } | undefined;
  readonly #written: Writing;
  readonly #read: Hearing;
  readonly #topicAliases: number;
  #heardConnection = new NaiveConnection();
  #heard = new NaiveReader();
  /** Whether what no broker may send was sent, and the reason code of version 5 for it. */
  garbage = false;
  garbageReason: number | undefined;
  /** The reason code of the client's DISCONNECT; 0 with version 4. */
  goodbye: number | undefined;

  constructor(
    { index, trusted, maxPacketSize, topicAliases }: {
      index: number;
      trusted: Trust;
      maxPacketSize: number;
      topicAliases: number;
    },
    world: World,
    random: Random,
    observer: Observer,
  ) {
    this.index = index;
    this.trusted = trusted;
    this.#topicAliases = topicAliases;
    this.#written = new Writing((what) => observer.fail(what));
    this.#read = new Hearing(maxPacketSize, {
      read: (packet) => observer.read(this, packet),
      readHead: (head) => observer.readHead(this, head),
    });
    this.#world = world;
    this.#random = random;
    this.#observer = observer;
    this.#latency = random.pick([0, 1, 1, 5, 40, 300]);
    this.#longestRead = random.pick([1, 5, 65_536, 65_536]);
    this.#window = random.pick([2000, 60_000, 300_000]);
    this.#inPlace = random.pick([0, 0.5, 1]);
    this.#atOnce = random.pick([0, 0, 0.5, 1]);
  }

  /** Whether it may be long until something arrives. */
  get isSlow(): boolean {
    return !this.closed && (this.fault === "deaf" || this.fault === "stall");
  }

  get writing(): boolean {
    return this.#write !== undefined;
  }

  /** The version of CONNECT; 4 before. */
  get version(): number {
    return this.#written.version;
  }

  /** The broker answers CONNECT in this version, before it sends anything else. */
  speak(version: number): void {
    this.spoken = version;
    this.#read.speak(version, this.#topicAliases);
  }

  /** The broker takes so many topic aliases. */
  takeAliases(maximum: number): void {
    this.aliases = maximum;
    this.#written.takeAliases(maximum);
    this.#heardConnection.topicAliasMaximum = maximum;
  }

  /** Since when the client could have read what it has not; Infinity when there is nothing. */
  get unread(): number {
    const readable = this.#sink !== undefined && !this.paused && !this.#dead && !this.#stalled;
    return readable && this.#inbox.length > 0 ? Math.max(this.#arrivedAt, this.resumedAt) : Infinity;
  }

  start(sink: Sink): void {
    if (this.#sink !== undefined) this.#observer.fail("a transport is started twice");
    if (this.#givenUp) this.#observer.fail("a transport is started that the client has closed");
    this.#sink = sink;
    this.#observer.started(this);
    this.#readSoon();
  }

  write(bytes: Uint8Array): boolean {
    if (this.closed) this.#observer.fail("a write to a closed connection");
    if (this.ended) this.#observer.fail("a write after end()");
    if (this.#write !== undefined) this.#observer.fail("a second write in flight");
    this.lastWrite = this.#world.now;
    const packets = this.#written.push(bytes);
    if (this.#heardConnection.version !== this.version) {
      this.#heardConnection = new NaiveConnection(this.version);
      this.#heard = new NaiveReader(this.#heardConnection);
    }
    this.#write = { bytes, copy: bytes.slice(), at: 0 };
    this.#observer.wrote(this, packets);
    if (this.#random.chance(this.#atOnce)) this.#accept();
    else this.#acceptSoon();
    return this.#write === undefined;
  }

  resume(): void {
    if (this.closed) return;
    this.paused = false;
    this.resumedAt = this.#world.now;
    this.#readSoon();
  }

  end(): void {
    if (this.#write !== undefined) this.#observer.fail("end() while a write is in flight");
    this.ended = true;
    this.#toBroker.push("fin");
    this.#passToBroker();
  }

  close(): void {
    this.#givenUp = true;
    if (this.closed) return;
    this.closed = true;
    this.#sink = undefined;
    this.#observer.gone(this);
    // What the kernel took still arrives when the client had ended its side; otherwise it may.
    if (!this.ended && this.#random.chance(0.5)) this.#toBroker.length = 0;
    this.#world.after(this.#latency, () => this.brokerClosed = true);
  }

  /** The connection is lost, and the client is told: with a reset, or as what takes too long. */
  reset(): void {
    if (this.brokerClosed && this.closed) return;
    this.brokerClosed = true;
    this.#inbox.length = this.#toClient.length = this.#toBroker.length = 0;
    this.#tellClosed("reset");
  }

  /** From now on nothing passes, and nobody is told. */
  kill(): void {
    this.#dead = true;
  }

  /** Nothing passes for so long. */
  stall(milliseconds: number): void {
    this.#stalled = true;
    this.#world.after(milliseconds, () => {
      this.#stalled = false;
      this.#passToBroker();
      this.#passToClient();
      this.#readSoon();
    });
  }

  /** The broker does not read for so long. */
  deafen(milliseconds: number): void {
    this.#brokerReads = false;
    this.#world.after(milliseconds, () => {
      this.#brokerReads = true;
      this.#passToBroker();
    });
  }

  /** The broker sends a packet. */
  say(packet: NaivePacket): void {
    this.#send(this.spoken === 5 ? encodeNaive5(packet) : encodeNaive(packet));
  }

  /** The broker sends what no broker may send; `reason`: the reason code of version 5 for it. */
  sendGarbage(bytes: Uint8Array, reason?: number): void {
    this.#send(bytes);
    if (this.brokerClosed) return;
    this.garbage = true;
    this.garbageReason ??= reason;
  }

  #send(bytes: Uint8Array): void {
    if (this.brokerClosed || this.garbage) return;
    this.#toClient.push(bytes);
    this.#world.after(this.#latency, () => this.#passToClient());
  }

  /** The broker closes, in order. */
  brokerEnds(): void {
    if (this.brokerClosed) return;
    this.brokerClosed = true;
    this.#world.after(this.#latency, () => {
      this.#passToClient();
      this.#fin = true;
      this.#readSoon();
    });
  }

  #passToClient(): void {
    if (this.#dead || this.#stalled || this.#toClient.length === 0) return;
    if (this.#inbox.length === 0) this.#arrivedAt = this.#world.now;
    this.#inbox.push(...this.#toClient.splice(0));
    this.#readSoon();
  }

  #readSoon(): void {
    if (this.#reading || this.#sink === undefined || this.paused || this.#dead || this.#stalled) return;
    if (this.#inbox.length === 0 && !this.#fin) return;
    this.#reading = true;
    this.#world.onThread(0, () => {
      this.#reading = false;
      this.#readNow();
    });
  }

  #readNow(): void {
    const sink = this.#sink;
    if (sink === undefined || this.paused) return;
    if (this.#inbox.length === 0) {
      if (this.#fin) this.#tellClosed("end");
      return;
    }
    // What is long comes in some dozens of reads at most.
    const waiting = this.#inbox.reduce((sum, part) => sum + part.length, 0);
    const longest = this.#random.int(1, Math.max(this.#longestRead, waiting >> 4));
    let chunk: Uint8Array = take(this.#inbox, longest);
    let length = chunk.length;
    if (this.#random.chance(this.#inPlace)) {
      const space = sink.space();
      if (space.length === 0) this.#observer.fail("no space to read to");
      length = Math.min(length, space.length);
      if (length < chunk.length) this.#inbox.unshift(chunk.subarray(length));
      space.set(chunk.subarray(0, length));
      chunk = space;
    }
    this.#read.hear(chunk.subarray(0, length), this.garbage);
    this.paused = !sink.received(chunk, length);
    this.#readSoon();
  }

  #acceptSoon(): void {
    this.#world.onThread(this.#random.chance(0.7) ? 0 : this.#random.int(1, 30), () => {
      const waited = this.#write !== undefined;
      this.#accept();
      if (waited && this.#write === undefined) this.#sink?.written();
    });
  }

  #accept(): void {
    const write = this.#write;
    if (write === undefined || this.closed) return;
    const room = this.#window - this.#inFlight;
    if (room <= 0) return;
    const left = write.bytes.length - write.at;
    const taken = Math.min(room, this.#random.chance(0.3) ? this.#random.int(1, left) : left);
    const part = write.bytes.slice(write.at, write.at + taken);
    write.at += taken;
    this.#inFlight += taken;
    if (this.brokerClosed) {
      // Nobody is there any more: the answer is a reset.
      this.#world.after(this.#latency, () => this.#tellClosed("reset"));
    } else {
      this.#toBroker.push(part);
      this.#world.after(this.#latency, () => this.#passToBroker());
    }
    if (write.at < write.bytes.length) return this.#acceptSoon();
    assertBytes(write.bytes, write.copy, "what was given to write changed before written()");
    this.#write = undefined;
    this.lastWrite = this.#world.now;
  }

  #passToBroker(): void {
    if (this.#dead || this.#stalled || !this.#brokerReads) return;
    for (const part of this.#toBroker.splice(0)) {
      if (part === "fin") {
        this.brokerEnds();
        return;
      }
      this.#inFlight -= part.length;
      this.#observer.arrived(this, this.#heard.push(part));
    }
    if (this.#write !== undefined) this.#acceptSoon();
  }

  #tellClosed(how: string): void {
    this.#world.onThread(0, () => {
      const sink = this.#sink;
      if (sink === undefined) return;
      this.#sink = undefined;
      this.closed = this.wasLost = true;
      this.#observer.gone(this);
      sink.closed(this.#observer.socketClosed(how));
    });
  }
}

/** The version in a CONNECT, behind the fixed header and the protocol's name. */
function versionOf(connect: Uint8Array): number {
  let at = 1;
  while (connect[at]! >= 128) at++;
  return connect[at + 7] === 5 ? 5 : 4;
}

function headOf(packet: Publish, version: number): Head {
  const { topic, qos, packetId } = packet;
  return { topic, qos, packetId, size: (version === 5 ? encodeNaive5 : encodeNaive)(packet).length };
}

/** The head of a PUBLISH of more than so many bytes, once it has come: then its payload need not. */
function beginning(bytes: Uint8Array, version: number, most: number): Head | undefined {
  if (bytes.length < 5 || bytes[0]! >> 4 !== 3) return undefined;
  let length = 0, at = 1;
  do length += bytes[at]! % 128 * 128 ** (at - 1); while (bytes[at++]! >= 128 && at < 5);
  const qos = bytes[0]! >> 1 & 3, size = at + length;
  const nameEnd = at + 2 + bytes[at]! * 256 + bytes[at + 1]!;
  const properties = nameEnd + (qos === 0 ? 0 : 2);
  const payload = version === 5 ? properties + 1 + bytes[properties]! : properties; // they are short here
  if (size <= most || !(payload <= bytes.length)) return undefined;
  const topic = decodeUtf8(bytes.slice(at + 2, nameEnd));
  return { topic, qos, packetId: qos === 0 ? 0 : bytes[nameEnd]! * 256 + bytes[nameEnd + 1]!, size };
}

/** The first bytes of what waits, merged, as many as asked for at most. */
function take(parts: Uint8Array[], longest: number): Uint8Array {
  const first = parts[0]!;
  if (first.length >= longest || parts.length === 1) {
    if (first.length <= longest) return parts.shift()!;
    parts[0] = first.subarray(longest);
    return first.slice(0, longest);
  }
  const chunk = new Uint8Array(Math.min(longest, parts.reduce((sum, part) => sum + part.length, 0)));
  for (let at = 0; at < chunk.length;) {
    const part = parts.shift()!;
    const taken = Math.min(part.length, chunk.length - at);
    chunk.set(part.subarray(0, taken), at);
    at += taken;
    if (taken < part.length) parts.unshift(part.subarray(taken));
  }
  return chunk;
}
