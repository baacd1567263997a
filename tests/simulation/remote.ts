/** The thread that a blocking client waits for, in virtual time: connections whose bytes wait on both sides until somebody looks. */
import type { WaitedFor, Waiting } from "../../src/client/sync_link.ts";
import type { MqttError } from "../../src/errors.ts";
import type { Trust } from "../../src/session/trust.ts";
import type { Sink } from "../../src/transport/transport.ts";
import type { NaivePacket } from "../support/naive.ts";
import type { Random } from "../support/random.ts";
import type { Line } from "./asks.ts";
import { type Head, Hearing, type Observer, type Wire, Writing } from "./wire.ts";
import type { World } from "./world.ts";

/** The next block may come while no more than so many bytes wait. */
const AHEAD = 4000;
/** So many bytes may have come ahead of what the client takes. */
const MOST = 8000;

/** Who hears what passes between the client and a connection, as the client sees it. */
export interface RemoteObserver {
  /** Opens a connection: the wire, or why there is none, is told then. */
  dial(opened: (wire: Wire) => void, failed: (error: MqttError) => void): void;
  wrote(remote: Remote, packets: NaivePacket[]): void;
  read(remote: Remote, packet: NaivePacket): void;
  readHead(remote: Remote, head: Head): void;
  /** The client hears that bytes came or went. */
  passes(remote: Remote): void;
  /** The client has heard that the connection is over, or has closed it. */
  gone(remote: Remote): void;
  /** The client has heard that the connection is over, and has done what it does then. */
  lost(): void;
  fail(what: string): void;
}

/** A connection in the thread. */
export class Remote implements WaitedFor, Line {
  readonly sock = undefined;
  readonly index: number;
  isOpen = false;
  trusted: Trust = false;
  over: MqttError | undefined;
  connacked = false;
  sessionPresent = false;
  closed = false;
  resumedAt = 0;
  wire: Wire | undefined;
  readonly #world: World;
  readonly #random: Random;
  readonly #observer: RemoteObserver;
  readonly #written: Writing;
  readonly #topicAliases: number;
  /** Whether the client was given anything; whether it was told that the connection is over, and has not closed it itself. */
  #hasGiven = false;
  wasLost = false;
  /** Whether CONNACK has refused the version; the reason code of the client's DISCONNECT. */
  isTooNew = false;
  goodbye: number | undefined;
  readonly #read: Hearing;
  #sink: Sink | undefined;
  #reading = false;
  #input: Uint8Array[] = [];
  #output: Uint8Array[] = [];
  /** Whether the wire waits for room to read to. */
  #full = false;
  /** Whether the client waits for `written`; whether all must have gone out before that. */
  #writing = false;
  #flushes = false;
  #ends = false;
  /** Whether there is something new to hear besides bytes. */
  #news = false;

  constructor(
    { index, maxPacketSize, topicAliases }: { index: number; maxPacketSize: number; topicAliases: number },
    world: World,
    random: Random,
    observer: RemoteObserver,
  ) {
    this.#topicAliases = topicAliases;
    this.#written = new Writing((what) => observer.fail(what));
    this.index = index;
    this.#world = world;
    this.#random = random;
    this.#observer = observer;
    this.#read = new Hearing(maxPacketSize, {
      read: (packet) => observer.read(this, packet),
      readHead: (head) => observer.readHead(this, head),
    });
    observer.dial((wire) => {
      if (this.closed) return wire.close();
      this.wire = wire;
      this.trusted = wire.trusted;
      this.isOpen = this.#news = true;
      wire.start({
        space: () => new Uint8Array(this.#random.int(1, 2000)),
        received: (chunk, length) => {
          this.#input.push(chunk.slice(0, length));
          return !(this.#full = sizeOf(this.#input) > MOST);
        },
        written: () => this.#pump(),
        closed: (error) => this.fail(error),
      });
    }, (error) => this.fail(error));
  }

  /** The connection is over. */
  fail(error: MqttError): void {
    this.over ??= error;
    this.#news = true;
  }

  /** The version of CONNECT; 4 before. */
  get version(): number {
    return this.#written.version;
  }

  get paused(): boolean {
    return !this.#reading;
  }

  get unsent(): number {
    return sizeOf(this.#output) + (this.wire?.writing ? 1 : 0);
  }

  /** Whether there is something to hear. */
  get hasSaid(): boolean {
    return this.#news || this.#reading && this.#input.length > 0 || this.#writing && this.#hasRoom;
  }

  /** Says one thing; whether there was one. */
  hear(): boolean {
    if (this.closed) return false;
    if (this.#writing && this.#hasRoom) {
      this.#writing = false;
      this.#observer.passes(this);
      this.#sink!.written();
      return true;
    }
    if (this.#reading && this.#input.length > 0) {
      this.#give();
      return true;
    }
    const isNews = this.#news;
    this.#news = false;
    if (this.over === undefined || !this.#reading) return isNews;
    const sink = this.#sink!, { over } = this;
    this.wasLost = true;
    this.close();
    sink.closed(over);
    this.#observer.lost();
    return true;
  }

  #give(): void {
    const sink = this.#sink!;
    let chunk = this.#input.shift()!;
    let { length } = chunk;
    if (this.#random.chance(0.5)) {
      const space = sink.space();
      length = Math.min(length, space.length);
      if (length < chunk.length) this.#input.unshift(chunk.subarray(length));
      space.set(chunk.subarray(0, length));
      chunk = space;
    }
    if (this.#full && sizeOf(this.#input) <= MOST) {
      this.#full = false;
      this.wire!.resume();
    }
    if (!this.#hasGiven) {
      const { spoken, aliases } = this.wire!;
      this.#hasGiven = true;
      this.#read.speak(spoken, this.#topicAliases);
      this.#written.takeAliases(aliases);
    }
    this.#read.hear(chunk.subarray(0, length), this.wire!.garbage);
    this.#observer.passes(this);
    if (!sink.received(chunk, length)) this.#reading = false;
  }

  get #hasRoom(): boolean {
    return this.#flushes ? this.unsent === 0 : sizeOf(this.#output) <= AHEAD;
  }

  start(sink: Sink): void {
    if (this.#sink !== undefined || this.closed) this.#observer.fail("a connection is started twice, or too late");
    this.#sink = sink;
    this.resume();
  }

  write(bytes: Uint8Array): boolean {
    if (this.closed || this.#ends) this.#observer.fail("a write to a connection that is closed");
    if (this.#writing) this.#observer.fail("a second write in flight");
    const packets = this.#written.push(bytes);
    this.#observer.wrote(this, packets);
    this.#output.push(bytes.slice());
    this.#flushes = bytes.length > AHEAD || packets.at(-1)?.type === "DISCONNECT";
    this.#pump();
    this.#writing = !this.#hasRoom;
    if (!this.#writing) this.#observer.passes(this);
    return !this.#writing;
  }

  #pump(): void {
    const { wire } = this;
    if (wire === undefined || wire.closed) return;
    while (!wire.writing && this.#output.length > 0) wire.write(this.#output.shift()!);
    if (this.#ends && !wire.writing && !wire.ended) wire.end();
  }

  resume(): void {
    if (this.#sink === undefined || this.#reading || this.closed) return;
    this.#reading = true;
    this.resumedAt = this.#world.now;
    if (this.#input.length > 0) this.#give();
  }

  end(): void {
    this.#ends = true;
    this.#pump();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#observer.gone(this);
    this.wire?.close();
  }
}

/** The thread; `mostSteps`: so much may happen in all. */
export class RemoteThread implements Waiting {
  readonly remotes: Remote[] = [];
  readonly #make: (index: number) => Remote;
  readonly #world: World;
  readonly #mostSteps: number;
  #ended = false;
  readonly #fail: (what: string) => void;

  constructor(world: World, mostSteps: number, make: (index: number) => Remote, fail: (what: string) => void) {
    this.#world = world;
    this.#mostSteps = mostSteps;
    this.#make = make;
    this.#fail = fail;
  }

  open(): Remote {
    if (this.#ended || this.remotes.some(({ closed }) => !closed)) {
      this.#fail("a connection after the end, or the last");
    }
    const remote = this.#make(this.remotes.length);
    this.remotes.push(remote);
    return remote;
  }

  get hasSaid(): boolean {
    return this.remotes.at(-1)?.hasSaid ?? false;
  }

  hear(connection: WaitedFor): boolean {
    return (connection as Remote).hear();
  }

  wait(connection: WaitedFor | undefined, due: number): boolean {
    const remote = connection as Remote | undefined;
    for (;;) {
      if (remote?.hear()) return true;
      if (this.#world.now >= due) return false;
      if (!this.#world.pass(due, () => remote?.hasSaid ?? false, this.#mostSteps) && due === Infinity) {
        throw new Error("it blocks for ever");
      }
    }
  }

  end(): Promise<void> {
    if (this.#ended) this.#fail("the thread is ended twice");
    this.#ended = true;
    for (const { closed, index } of this.remotes) if (!closed) this.#fail(`connection ${index} is left open`);
    return Promise.resolve();
  }
}

function sizeOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

/** What of a wire nobody has to hear, as the client is told by the remote connection. */
export const UNHEARD: Pick<Observer, "started" | "wrote" | "read" | "readHead" | "gone"> = {
  started: () => {},
  wrote: () => {},
  read: () => {},
  readHead: () => {},
  gone: () => {},
};
