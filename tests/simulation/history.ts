/**
 * One history: a client, a broker and a network that a seed decides everything about, in virtual
 * time. After each step the invariants are looked at; at the end, whether everything has settled.
 *
 * What may be lost at QoS 0, precisely:
 * - sent: a message handed to a connection that broke, stalled or was given up (with reconnect the
 *   client goes on, [MQTT-4.3.1]); a message never handed to one, if `run()` ends with the reason or
 *   the promise of `disconnect()` is rejected. Never one that a `disconnect()` without error covers.
 * - received: what is behind a full iterator when its connection ends; what comes after `disconnect()`.
 */
import type { Client } from "../../src/api.ts";
import type { LoopClient } from "../../src/client/loop_client.ts";
import type { Clock } from "../../src/client/clock.ts";
import type { ConnectOptions, OnPublish } from "../../src/api.ts";
import type { MqttError } from "../../src/errors.ts";
import type { Message } from "../../src/message.ts";
import type { Settings } from "../../src/client/settings.ts";
import type { Dial } from "../../src/transport/transport.ts";
import { encodeNaive, type NaivePacket, type Publish } from "../support/naive.ts";
import { Random } from "../support/random.ts";
import { Broker, filterMatches, numbered, numberOf, type Sent } from "./broker.ts";
import { type Observer, Wire } from "./wire.ts";
import { World } from "./world.ts";

/** The library under test: the sources, or a copy with a mistake in it. */
export interface Library {
  LoopClient: new (settings: Settings, dial: Dial, onpub: OnPublish | undefined, clock: Clock) => LoopClient;
  parseSettings(op: ConnectOptions, fromUrl: Record<string, never>): Settings;
  MqttError: typeof MqttError;
}

/** What a step broke. */
export class Violation extends Error {
  override readonly name = "Violation";
}

interface Failure {
  code: string | number;
  message: string;
}

/** A message of the client's. */
interface Published {
  readonly seq: number;
  readonly size: number;
  readonly retain: boolean;
  readonly topic: string;
  readonly payload: Uint8Array;
  refused: boolean;
  wire: Wire | undefined;
  arrived: boolean;
}

interface Iteration {
  readonly filter: string;
  readonly limit: number;
  readonly iterator: AsyncIterableIterator<Message>;
  /** Whether its subscription was meddled with, or not granted yet: then only the order is checked. */
  vague: boolean;
  granted: boolean;
  /** Whether the client has seen SUBACK, which may wait behind a full iterator; when it gives up. */
  heard: boolean;
  readonly due: number;
  left: boolean;
  done: boolean;
  waiting: boolean;
  last: number;
  /** What it must give next: the message, and the connection it came on. */
  readonly expected: { sent: number; wire: Wire }[];
}

interface Call {
  readonly name: string;
  readonly at: number;
  readonly blocked: number;
  /** Milliseconds in which it must have settled; Infinity: by the end. */
  readonly bound: number;
}

const SLACK = 2000;
const FILTERS = ["t/0", "t/1", "t/2", "t/3", "t/+", "#"];

/** Plays a seed's history to its end, and throws the first {@linkcode Violation}. */
export function play(seed: number, library: Library, log?: (line: string) => void): Promise<Outcome> {
  return new History(seed, library, log).play();
}

/** What a history had in it, so that a test can tell that they have all. */
export interface Outcome {
  steps: number;
  code: string | number;
  connections: number;
  faults: string[];
  published: number;
  delivered: number;
}

class History implements Observer {
  readonly #random: Random;
  readonly #world: World;
  readonly #library: Library;
  readonly #log: ((line: string) => void) | undefined;
  readonly #settings: Settings;
  readonly #client: LoopClient & Client;
  readonly #broker: Broker;
  readonly #wires: Wire[] = [];
  /** The connection that the client uses; one that came too late is none. */
  #current: Wire | undefined;
  readonly #abort = new AbortController();
  readonly #horizon: number;
  readonly #reconnect: boolean;
  /** Whether it publishes so much at once that blocks fill, wait and are filled again. */
  readonly #floods: boolean;
  #listeners = 0;
  #dialing = 0;
  readonly #calls = new Set<Call>();
  /** Rejections that must be the very error of run(). */
  readonly #ends: { name: string; error: unknown }[] = [];
  #end: (Failure & Error) | undefined;
  #endCount = 0;
  #left = false;
  #aborted = false;
  #leftError: Failure | undefined;
  #violation: Violation | undefined;
  /** What ends the client although no connection broke. */
  #dialFailed = false;
  #dialHung = false;
  /** Whether the last connection ended in the middle of a write, behind which PINGREQ waited. */
  #pingWaited = false;
  readonly #published: Published[] = [];
  #lastHanded = -1;
  #lastArrived = -1;
  /** Bytes of PUBLISH packets accepted and not handed to a connection; those of the last write. */
  #pending = 0;
  #handed = 0;
  /** The last messages that onpub and each filter's own got. */
  readonly #lastDelivered = new Map<string, number>();
  #delivered = 0;
  readonly #owed: { seq: number; wire: Wire }[] = [];
  readonly #iterations: Iteration[] = [];
  readonly #requests = new Map<number, readonly string[]>();
  /** Filters that the broker has granted and nobody gave up. */
  readonly #granted = new Set<string>();
  readonly #acknowledged = new Set<string>();
  #depth = 0;

  constructor(seed: number, library: Library, log?: (line: string) => void) {
    const random = this.#random = new Random(seed);
    this.#library = library;
    this.#log = log;
    this.#world = new World(random);
    this.#horizon = random.pick([3000, 10_000, 30_000]);
    this.#reconnect = random.chance(0.6);
    this.#floods = random.chance(0.06);
    const signal = this.#abort.signal;
    this.#countListeners(signal);
    const slow = random.pick([5, 500, 5000]);
    const op: ConnectOptions = {
      id: "simulated",
      keepalive: random.pick([0, 2, 5, 20, 20, 20]),
      session: !random.chance(0.7),
      timeout: slow === 5000 ? 10_000 : random.pick([2000, 10_000]),
      maxPacketSize: random.pick([5000, 16 << 20]),
      maxBuffered: random.pick([2000, 100_000, 16 << 20]),
      ...random.chance(0.3) &&
        { uname: random.pick(["user", () => "user", () => this.#world.sleep(slow).then(() => "u")]) },
      ...random.chance(0.5) && { signal },
      ...this.#reconnect &&
        { reconnect: { minDelay: random.int(1, 500), maxDelay: 5000, attempts: random.pick([3, Infinity]) } },
    };
    this.#note(() => `options ${JSON.stringify(op)}`);
    this.#settings = library.parseSettings(op, {});
    this.#broker = new Broker(this.#world, random, {
      faults: random.pick([0, 0.4, 0.8]),
      refusals: random.pick([0, 0, 0.1]),
      qos: random.chance(0.5),
      maxPacketSize: this.#settings.maxPacketSize,
    });
    this.#client = new library.LoopClient(
      this.#settings,
      (signal) => this.#dial(signal),
      (_, message) => this.#deliver("onpub", "#", message),
      this.#world.clock,
    );
  }

  async play(): Promise<Outcome> {
    void this.#client.run().then((error) => {
      this.#note(() => `run() ends: ${error.code} ${error.message}`);
      this.#end = error as Failure & Error;
      if (++this.#endCount > 1) this.fail("run() ends twice");
    }, () => this.fail("run() rejects"));
    this.#follow("open", this.#client.open(), this.#settings.timeout);
    this.#script();
    await this.#world.run(() => this.#check(), 200_000);
    this.#conclude();
    if (this.#violation !== undefined) throw this.#violation;
    return {
      steps: this.#world.steps,
      code: this.#end!.code,
      connections: this.#wires.length,
      faults: this.#wires.map(({ fault }) => fault),
      published: this.#published.length,
      delivered: this.#delivered,
    };
  }

  /** Thrown by the next check: here it could end in a promise of the client. */
  fail(what: string): void {
    this.#note(() => `VIOLATION: ${what}`);
    this.#violation ??= new Violation(`${what} (at ${this.#world.now} ms)`);
  }

  #note(line: () => string): void {
    this.#log?.(`${String(Math.round(this.#world.now)).padStart(7)}  ${line()}`);
  }

  #countListeners(signal: AbortSignal): void {
    const { addEventListener, removeEventListener } = EventTarget.prototype;
    Object.defineProperties(signal, {
      addEventListener: {
        value: (type: string, listener: () => void) => {
          this.#listeners++;
          addEventListener.call(signal, type, listener);
        },
      },
      removeEventListener: {
        value: (type: string, listener: () => void) => {
          this.#listeners--;
          removeEventListener.call(signal, type, listener);
        },
      },
    });
  }

  // ---- the network

  #dial(signal: AbortSignal): Promise<Wire> {
    if (this.#wires.some((wire) => !wire.closed)) this.fail("a second connection beside the first");
    if (this.#dialing > 0) this.fail("a second attempt beside the first");
    const random = this.#random;
    const { faults } = this.#broker.manners;
    const hangs = random.chance(faults * 0.1);
    const delay = hangs ? 20_000 : random.size(200);
    this.#dialHung ||= hangs;
    const ignoresAbort = random.chance(0.2);
    this.#dialing++;
    return new Promise((resolve, reject) => {
      let settled = false;
      const settle = (act: () => void) => {
        if (settled) return;
        settled = true;
        this.#dialing--;
        act();
      };
      // Some notice too late that nobody wants the connection any more.
      signal.addEventListener("abort", () => {
        if (!ignoresAbort) settle(() => reject(signal.reason));
        else if (!settled) this.#dialing--;
      });
      this.#world.onThread(delay, () => {
        if (signal.aborted && ignoresAbort) this.#dialing++;
        settle(() => {
          if (random.chance(faults * 0.3)) {
            this.#dialFailed = true;
            this.#note(() => "dial fails");
            return reject(new this.#library.MqttError("cannotconnect", "Nobody listens"));
          }
          const trusted = random.pick([true, false, false, random.chance(faults) ? "untrusted" : true] as const);
          const wire = new Wire(this.#wires.length, trusted, this.#world, random, this);
          this.#wires.push(wire);
          this.#broker.plan(wire);
          this.#note(() => `connection ${wire.index}, trusted ${trusted}`);
          resolve(wire);
        });
      });
    });
  }

  socketClosed(how: string): MqttError {
    return new this.#library.MqttError("socketclosed", `The connection was closed: ${how}`);
  }

  started(wire: Wire): void {
    this.#current = wire;
  }

  wrote(wire: Wire, packets: NaivePacket[]): void {
    if (wire !== this.#current) this.fail(`a write to connection ${wire.index}, which is an old one`);
    if (this.#end !== undefined) this.fail("a write after the end");
    this.#handed = 0;
    for (const packet of packets) {
      this.#note(() => `< ${wire.index} ${show(packet)}`);
      if ((packet.type === "CONNECT") !== (this.#state(wire) === "new")) this.fail(`${packet.type} in the wrong place`);
      if (packet.type !== "CONNECT" && !wire.connacked) this.fail(`${packet.type} before CONNACK`);
      if (this.#state(wire) === "left") this.fail(`${packet.type} after DISCONNECT`);
      this.#states.set(wire, packet.type === "DISCONNECT" ? "left" : "used");
      this.#send(wire, packet);
    }
  }

  readonly #states = new Map<Wire, "used" | "left">();
  #state(wire: Wire): "new" | "used" | "left" {
    return this.#states.get(wire) ?? "new";
  }

  #send(wire: Wire, packet: NaivePacket): void {
    switch (packet.type) {
      case "CONNECT":
        if (wire.trusted === "untrusted" && this.#settings.uname !== undefined) this.fail("credentials to a stranger");
        this.#missing.set(wire, new Set());
        return;
      case "SUBSCRIBE":
        this.#requests.set(packet.packetId, packet.filters.map(({ topic }) => topic));
        for (const { topic } of packet.filters) this.#missing.get(wire)!.delete(topic);
        return;
      case "UNSUBSCRIBE":
        this.#requests.set(packet.packetId, packet.filters);
        for (const topic of packet.filters) this.#missing.get(wire)!.delete(topic);
        return;
      case "DISCONNECT":
        if (!this.#left) this.fail("DISCONNECT that nobody asked for");
        // Once those that were refused just now have heard of it.
        return this.#world.after(0, () => {
          if (this.#pending > 0) this.fail(`DISCONNECT before ${this.#pending} bytes that were accepted`);
        });
      case "PUBLISH":
        return this.#handOver(wire, packet);
      case "PUBACK":
      case "PUBREC":
        if (!this.#count(`${wire.index} ${packet.type} ${packet.packetId}`, -1)) {
          this.fail(`${packet.type} ${packet.packetId} for nothing`);
        }
    }
  }

  /** How often each acknowledgement is due. */
  readonly #toAcknowledge = new Map<string, number>();
  #count(key: string, change: 1 | -1): boolean {
    const count = (this.#toAcknowledge.get(key) ?? 0) + change;
    this.#toAcknowledge.set(key, count);
    return count >= 0;
  }

  /** Filters that must be subscribed again before a message goes out. */
  readonly #missing = new Map<Wire, Set<string>>();

  #handOver(wire: Wire, packet: Publish): void {
    const seq = numberOf(packet.payload);
    const published = this.#published[seq];
    if (published === undefined) return this.fail(`a message that nobody published: ${seq}`);
    const { topic, payload, retain } = published;
    if (packet.topic !== topic || packet.retain !== retain || !same(packet.payload, payload)) {
      this.fail(`message ${seq} is garbled`);
    }
    if (published.wire !== undefined) this.fail(`message ${seq} is sent twice`);
    if (seq <= this.#lastHanded) this.fail(`message ${seq} is sent after ${this.#lastHanded}`);
    if (published.refused) this.fail(`message ${seq} is sent although it was refused`);
    const [missing] = this.#missing.get(wire)!;
    if (missing !== undefined) this.fail(`message ${seq} goes before the subscription to ${missing}`);
    this.#lastHanded = seq;
    published.wire = wire;
    this.#pending -= published.size;
    this.#handed += published.size;
  }

  arrived(wire: Wire, packets: NaivePacket[]): void {
    // Who connects again ends the connection from before [MQTT-3.1.4-2].
    if (wire.index < (this.#broker.wire?.index ?? 0)) return;
    for (const packet of packets) {
      if (packet.type === "PUBLISH") {
        const seq = numberOf(packet.payload);
        if (seq <= this.#lastArrived) this.fail(`message ${seq} arrives after ${this.#lastArrived}`);
        this.#lastArrived = seq;
        this.#published[seq]!.arrived = true;
      }
      this.#broker.hear(wire, packet);
    }
  }

  read(wire: Wire, packets: NaivePacket[]): void {
    for (const packet of packets) {
      this.#note(() => `> ${wire.index} ${show(packet)}`);
      if (packet.type === "PUBLISH" && encodeNaive(packet).length > this.#settings.maxPacketSize) {
        wire.fault = "garbage";
        this.#over.add(wire);
      }
      if (this.#over.has(wire)) return;
      if (packet.type === "CONNACK" && packet.code === 0 && !wire.connacked) {
        wire.connacked = true;
        wire.lastWrite = this.#world.now; // nothing could be written before
        if (!packet.sessionPresent) this.#missing.set(wire, new Set(this.#granted));
      } else if (packet.type === "SUBACK") {
        this.#requests.get(packet.packetId)?.forEach((filter, i) => {
          if (packet.codes[i] === 128) return this.#meddle(filter);
          for (const iteration of this.#iterations) {
            if (iteration.filter !== filter) continue;
            iteration.granted = true;
          }
        });
      } else if (packet.type === "PUBLISH") {
        this.#readMessage(wire, this.#broker.sent[numberOf(packet.payload)]!);
      }
    }
  }

  /** Connections on which a packet came that is over maxPacketSize. */
  readonly #over = new Set<Wire>();

  #readMessage(wire: Wire, sent: Sent): void {
    if (sent.qos > 0) {
      this.#count(`${wire.index} ${sent.qos === 1 ? "PUBACK" : "PUBREC"} ${sent.packetId}`, 1);
    }
    if (sent.received || this.#left) return;
    sent.received = sent.qos === 2;
    const iterations = this.#iterations.filter(({ filter, left }) => !left && filterMatches(filter, sent.topic));
    for (const { vague, expected } of iterations) if (!vague) expected.push({ sent: sent.seq, wire });
    if (iterations.length === 0) this.#owed.push({ seq: sent.seq, wire });
  }

  gone(wire: Wire): void {
    this.#note(() => `connection ${wire.index} is gone, fault ${wire.fault}`);
    if (wire.paused) this.#forget(wire);
    if (this.#end === undefined) this.#pingWaited = wire.writing; // and not of an attempt that came too late
  }

  /** What is behind a full iterator goes with its connection. */
  #forget(wire: Wire): void {
    const kept = this.#owed.filter((owed) => owed.wire !== wire);
    this.#owed.splice(0, Infinity, ...kept);
  }

  // ---- what the client gives

  #deliver(to: string, filter: string, message: Message): void {
    const seq = this.#checkMessage(filter, message);
    const last = this.#lastDelivered.get(to) ?? -1;
    if (seq <= last) this.fail(`message ${seq} is delivered to ${to} after ${last}`);
    this.#lastDelivered.set(to, seq);
    const at = this.#owed.findIndex((owed) => owed.seq === seq);
    if (at > 0) this.fail(`message ${seq} is delivered before ${this.#owed[0]!.seq}`);
    if (at === 0) this.#owed.shift();
    if (this.#depth === 0 && this.#random.chance(0.05)) {
      this.#depth++;
      this.#act();
      this.#depth--;
    }
  }

  #checkMessage(filter: string, message: Message): number {
    this.#delivered++;
    const { topic, payload, qos, retain } = message;
    const seq = numberOf(payload);
    this.#note(() => `message ${seq} is delivered for ${filter}`);
    const sent = this.#broker.sent[seq];
    if (this.#end !== undefined) this.fail(`message ${seq} is delivered after the end`);
    if (sent === undefined || sent.topic !== topic || sent.qos !== qos || sent.retain !== retain) {
      this.fail(`message ${seq} is garbled`);
      return seq;
    }
    if (!same(payload, sent.payload)) this.fail(`message ${seq} has another payload`);
    if (!filterMatches(filter, topic)) this.fail(`message ${seq} to ${topic} is delivered for ${filter}`);
    return seq;
  }

  /** Follows a promise: it settles in time, and with an error that is one of the library's. */
  #follow(
    name: string,
    promise: Promise<unknown>,
    bound = Infinity,
    failed: (error: Failure) => void = () => {},
  ): void {
    const call: Call = { name, at: this.#world.now, blocked: this.#world.blocked, bound: bound + SLACK };
    this.#calls.add(call);
    const settled = (error?: unknown) => {
      this.#calls.delete(call);
      this.#note(() => `${name} ${error === undefined ? "done" : `fails: ${(error as Failure).code}`}`);
      this.#checkTime(call);
      if (error === undefined) return;
      if (!(error instanceof this.#library.MqttError)) return this.fail(`${name} fails with ${error}`);
      const due = call.at + this.#settings.timeout, { unread = Infinity } = this.#current ?? {};
      if (error.code === "timeout" && name !== "disconnect" && unread < due) {
        this.fail(`${name} is given up at ${due} ms although bytes have been in the socket since ${unread} ms`);
      }
      if (![128, "timeout", "overflow"].includes(error.code)) this.#ends.push({ name, error });
      failed(error);
    };
    promise.then(() => settled(), settled);
  }

  #checkTime({ name, at, blocked, bound }: Call): void {
    const took = this.#world.now - at;
    if (took > bound + this.#world.blocked - blocked) this.fail(`${name} takes ${took} ms, bound ${bound}`);
  }

  // ---- what callers do

  #script(): void {
    const random = this.#random;
    const count = random.int(5, 30);
    for (let i = 0; i < count; i++) this.#world.onThread(this.#when(), () => this.#act());
    for (let i = random.int(0, 15); i > 0; i--) {
      const longest = random.pick([20, 20, 6000]);
      this.#world.after(this.#when(), () => this.#broker.publish(random.int(1, 20), longest));
    }
    for (let i = random.pick([0, 0, 1, 3]); i > 0; i--) {
      this.#world.after(this.#when(), () => {
        const milliseconds = random.pick([50, 2000, 15_000]);
        this.#note(() => `the thread is blocked for ${milliseconds} ms`);
        this.#world.block(milliseconds);
      });
    }
    // Then the faults end: whatever can still be done must get done.
    this.#world.after(this.#horizon, () => {
      this.#note(() => "the faults end");
      Object.assign(this.#broker.manners, { faults: 0, refusals: 0 });
    });
    this.#world.onThread(this.#horizon + 95_000, () => {
      this.#checkQuiet();
      this.#disconnect();
    });
  }

  #when(): number {
    return this.#random.chance(0.3) ? this.#random.int(0, 1000) : this.#random.int(0, this.#horizon);
  }

  #act(): void {
    const random = this.#random;
    switch (random.int(0, 19)) {
      case 0:
      case 1:
      case 2:
        return this.#subscribe();
      case 3:
        return this.#unsubscribe();
      case 4:
      case 5:
        return this.#iterate();
      case 6: {
        const iteration = random.pick([...this.#iterations, undefined]);
        return iteration && this.#leave(iteration);
      }
      case 7:
        return void this.#publishEach(random.int(1, 20), 20_000);
      case 8:
        for (let i = random.int(1, 20); i > 0; i--) this.#publish(20_000);
        return;
      case 9:
        return this.#wrong();
      case 10:
        if (random.chance(0.3)) this.#disconnect();
        return;
      case 11:
        if (random.chance(0.3)) this.#abortAll();
        return;
      case 12:
        return this.#forgetful();
      case 13:
        if (this.#floods) return this.#flood();
      // falls through
      default:
        for (let i = random.int(1, 5); i > 0; i--) this.#publish(100);
    }
  }

  /** Half a MiB and more, in pieces that come while others are being written. */
  #flood(): void {
    for (let i = this.#random.int(5, 12); i > 0; i--) {
      this.#world.onThread(this.#random.int(0, 20), () => {
        for (let i = this.#random.int(1, 5); i > 0; i--) this.#publish(20_000, this.#random.int(10_000, 120_000));
      });
    }
  }

  #publish(longest: number, size = 4 + this.#random.size(longest)): Promise<void> {
    const seq = this.#published.length;
    const topic = `up/${seq % 5}`, payload = numbered(seq, size);
    const retain = this.#random.chance(0.1);
    const packet: Publish = { type: "PUBLISH", topic, payload, qos: 0, retain, dup: false, packetId: 0 };
    const length = encodeNaive(packet).length;
    const published: Published = {
      seq,
      size: length,
      retain,
      topic,
      payload,
      refused: false,
      wire: undefined,
      arrived: false,
    };
    this.#published.push(published);
    this.#note(() => `publish ${seq}, ${length} bytes`);
    const before = this.#pending;
    const over = this.#left || this.#end !== undefined;
    if (!over) this.#pending += length; // it may be handed to the connection at once
    const promise = this.#client.publish(topic, payload.slice(), { retain });
    this.#follow(`publish ${seq}`, promise, Infinity, ({ code, message }) => {
      // A packet over maxPacketSize ends the client with this code, too.
      const full = code === "overflow" && message.includes("maxBuffered");
      if (!full && !over) return;
      published.refused = true;
      if (published.wire !== undefined) this.fail(`message ${seq} was sent and refused`);
      if (!over) this.#pending -= length;
      const { maxBuffered } = this.#settings;
      const most = before + this.#unwritten() + length + 5000;
      if (!over && most <= maxBuffered) {
        this.fail(`overflow at ${most} of ${maxBuffered} bytes`);
      }
    });
    return promise;
  }

  /** At most so much may be in flight. */
  #unwritten(): number {
    return this.#current?.writing ? this.#handed : 0;
  }

  async #publishEach(count: number, longest: number): Promise<void> {
    for (; count > 0; count--) {
      const failed = await this.#publish(longest).then(() => false, () => true);
      if (failed) return;
    }
  }

  /** Does not look at what becomes of it; the end of the connection must not make that an unhandled rejection. */
  #forgetful(): void {
    if (this.#settings.maxBuffered < 1 << 20 || this.#broker.manners.faults > 0) return;
    this.#note(() => "publish and forget");
    const seq = this.#published.length;
    const payload = numbered(seq, 4);
    const size = 12;
    const refused = this.#left || this.#end !== undefined;
    this.#published.push({
      seq,
      size,
      retain: false,
      topic: "up/x",
      payload,
      refused,
      wire: undefined,
      arrived: false,
    });
    if (!refused) this.#pending += size;
    void this.#client.publish("up/x", payload);
  }

  #subscribe(): void {
    const random = this.#random;
    const own = random.chance(0.5);
    const filters = own ? [random.pick(FILTERS)] : [...new Set([random.pick(FILTERS), random.pick(FILTERS)])];
    this.#note(() => `subscribe ${filters}${own ? " with onpub" : ""}`);
    const token = {};
    for (const filter of filters) {
      this.#meddle(filter);
      this.#asked.set(filter, token);
    }
    const name = `onpub ${this.#subscribed++} of ${filters}`;
    const onpub: OnPublish = (_, message) => this.#deliver(name, filters[0]!, message);
    let called = 0;
    const promise = this.#client.subscribe(filters, own ? { onpub } : {}, (code) => {
      if (++called > 1) this.fail("the callback of subscribe() is called twice");
      if (code !== 0 && code !== 128) this.fail(`subscribe() is granted ${code}`);
    });
    this.#follow("subscribe", promise, this.#settings.timeout);
    this.#asking.push(...filters);
    const answered = () => {
      for (const filter of filters) this.#asking.splice(this.#asking.indexOf(filter), 1);
    };
    // An answer that is too late for the caller may still come.
    promise.then(answered, ({ code }) => code !== "timeout" && answered());
    promise.then(() => {
      for (const filter of filters) if (this.#asked.get(filter) === token) this.#granted.add(filter);
    }, () => {});
  }

  /** Filters of subscribe() calls whose answer may still come. */
  readonly #asking: string[] = [];
  readonly #asked = new Map<string, object>();
  #subscribed = 0;

  #unsubscribe(): void {
    const filter = this.#random.pick(FILTERS);
    this.#note(() => `unsubscribe ${filter}`);
    this.#meddle(filter);
    this.#follow("unsubscribe", this.#client.unsubscribe(filter), this.#settings.timeout);
  }

  /** Who asks for a filter again, gives it up or is refused, changes what its iterators get. */
  #meddle(filter: string): void {
    this.#asked.delete(filter);
    this.#granted.delete(filter);
    for (const missing of this.#missing.values()) missing.delete(filter);
    for (const iteration of this.#iterations) if (iteration.filter === filter) iteration.vague = true;
  }

  #iterate(): void {
    const random = this.#random;
    const filter = random.pick(FILTERS);
    const limit = random.pick([1, 2, 5, 100]);
    this.#note(() => `iterate ${filter}, limit ${limit}`);
    const iterator = this.#client.messages(filter, { limit });
    this.#asked.delete(filter);
    this.#granted.delete(filter);
    for (const missing of this.#missing.values()) missing.delete(filter);
    const left = this.#left || this.#end !== undefined;
    const others = this.#iterations.filter((other) => other.filter === filter);
    for (const other of others) other.vague = true;
    const vague = left || others.length > 0 || this.#asking.includes(filter);
    // What has been read and not delivered yet is the iterator's from now on.
    const owed = this.#owed.filter(({ seq }) => !filterMatches(filter, this.#broker.sent[seq]!.topic));
    this.#owed.splice(0, Infinity, ...owed);
    const iteration: Iteration = {
      filter,
      limit,
      iterator,
      vague,
      granted: false,
      heard: false,
      due: this.#world.now + this.#settings.timeout,
      left,
      done: false,
      waiting: false,
      last: -1,
      expected: [],
    };
    this.#iterations.push(iteration);
    void this.#consume(iteration, random.pick([0, 0, 10, 1000, 20_000]), random.pick([3, Infinity]));
  }

  async #consume(iteration: Iteration, pause: number, most: number): Promise<void> {
    const { iterator } = iteration;
    const call: Call = { name: "an iterator", at: this.#world.now, blocked: 0, bound: Infinity };
    this.#calls.add(call);
    try {
      for (let count = 0; count < most; count++) {
        iteration.waiting = true;
        const result = await iterator.next();
        iteration.waiting = false;
        if (result.done) break;
        this.#take(iteration, result.value);
        if (pause > 0) await this.#world.sleep(pause);
      }
      this.#leave(iteration);
    } catch (error) {
      iteration.waiting = false;
      if (!(error instanceof this.#library.MqttError)) this.fail(`an iterator fails with ${error}`);
      if ((error as Failure).code === "disconnect") this.fail("an iterator throws disconnect");
      if (this.#end !== undefined && (error as Failure).code !== 128 && (error as Failure).code !== "timeout") {
        this.#ends.push({ name: "an iterator", error });
      }
      iteration.vague = iteration.vague || this.#end === undefined;
    } finally {
      iteration.done = true;
      this.#calls.delete(call);
      this.#complete(iteration, Infinity);
      iteration.left = true;
    }
  }

  #take(iteration: Iteration, message: Message): void {
    const end = this.#end;
    this.#end = undefined; // what an iterator holds outlives the connection
    const seq = this.#checkMessage(iteration.filter, message);
    this.#end = end;
    if (seq <= iteration.last) this.fail(`an iterator gets message ${seq} after ${iteration.last}`);
    iteration.last = seq;
    this.#complete(iteration, seq);
  }

  /** All that came before must have been given, but for what went with its connection. */
  #complete({ expected, vague, granted, left }: Iteration, seq: number): void {
    while (expected.length > 0 && expected[0]!.sent <= seq) {
      const { sent, wire } = expected.shift()!;
      if (sent === seq) return;
      if (vague || !granted || left || wire.closed && wire.paused || this.#left) continue;
      this.fail(`an iterator does not get message ${sent}`);
    }
  }

  #leave(iteration: Iteration): void {
    if (iteration.left) return;
    iteration.left = true;
    this.#note(() => `leave ${iteration.filter}`);
    // Its filter is given up, and what comes then goes elsewhere.
    this.#asked.delete(iteration.filter);
    this.#granted.delete(iteration.filter);
    for (const missing of this.#missing.values()) missing.delete(iteration.filter);
    this.#follow("leaving an iterator", iteration.iterator.return!(), this.#settings.timeout);
  }

  #wrong(): void {
    if (this.#left || this.#end !== undefined) return;
    for (const topic of ["", "a/#", "a\0", "\ud800"]) {
      this.#client.publish(topic, "x").then(() => this.fail("a wrong topic is accepted"), (error) => {
        if (!(error instanceof TypeError)) this.fail(`a wrong topic fails with ${error}`);
      });
    }
  }

  #disconnect(): void {
    this.#note(() => "disconnect()");
    this.#left ||= this.#end === undefined;
    const bound = this.#settings.timeout + 1000;
    this.#follow("disconnect", this.#client.disconnect(), bound, (error) => this.#leftError = error);
  }

  #abortAll(): void {
    if (this.#settings.signal === undefined) return;
    this.#note(() => "abort");
    this.#aborted = true;
    this.#left ||= this.#end === undefined;
    this.#abort.abort(new Error("enough"));
    this.#disconnect();
  }

  // ---- what must hold

  #check(): void {
    this.#checkStep();
    if (this.#violation !== undefined) throw this.#violation;
  }

  #checkStep(): void {
    const world = this.#world;
    for (const call of this.#calls) {
      if (call.bound !== Infinity) this.#checkTime(call);
    }
    if (this.#pending > this.#settings.maxBuffered) this.fail(`${this.#pending} bytes wait to be sent`);
    const wire = this.#current;
    if (world.timers > 1) this.fail(`${world.timers} timers`);
    if (this.#end !== undefined) {
      if (world.timers > 0) this.fail("a timer after the end");
      if (wire !== undefined && !wire.closed) this.fail("a connection after the end");
      return;
    }
    if (world.timers === 0 && (this.#settings.keepalive > 0 || !wire?.connacked)) {
      this.fail("no timer: nobody would notice that nothing happens");
    }
    const [owed] = this.#owed;
    if (owed !== undefined && !this.#left && !owed.wire.paused) this.fail(`message ${owed.seq} is not delivered`);
    if (wire !== undefined && !wire.closed && wire.connacked && !this.#left) this.#checkOpen(wire);
  }

  #checkOpen(wire: Wire): void {
    for (const iteration of this.#iterations) {
      iteration.vague ||= !iteration.heard && this.#world.now >= iteration.due;
      iteration.heard ||= iteration.granted && !wire.paused;
    }
    const vague = this.#iterations.some(({ vague, granted, done }) => (vague || !granted) && !done);
    if (wire.paused && !vague && this.#iterations.every(({ expected, done }) => done || expected.length === 0)) {
      this.fail("nothing is read, though every iterator waits");
    }
    if (!wire.paused) {
      for (const { vague, granted, left, waiting, expected, limit, filter } of this.#iterations) {
        if (!vague && granted && !left && !waiting && waitingFor(expected) > Math.max(limit, 1)) {
          this.fail(`${expected.length} messages wait for ${filter}, limit ${limit}, and more is read`);
        }
      }
    }
    const { keepalive } = this.#settings;
    const silent = this.#world.now - wire.lastWrite - this.#world.blocked;
    // Counted from when the write is known to be done, which may be late; a broker waits half as long again [MQTT-3.1.2-24].
    if (keepalive > 0 && !wire.writing && silent > keepalive * 1500) this.fail(`${silent} ms of silence`);
    if (keepalive > 0 && wire.fault === "half-open" && !wire.paused) {
      const since = Math.max(wire.faultAt, wire.resumedAt);
      const bound = 7 * keepalive * 1000 + 12_000 + this.#world.blocked;
      if (this.#world.now - since > bound) this.fail("a half-open connection is not noticed");
    }
  }

  /** The faults are over for long: a client that is still there works. */
  #checkQuiet(): void {
    const wire = this.#current;
    if (this.#end !== undefined || this.#left || wire === undefined) return;
    if (wire.fault !== "none" || this.#wires.some((wire) => wire.oversized)) return;
    if (wire.closed || !wire.connacked) return this.fail("no connection though nothing is wrong");
    if (!wire.writing) { // or else the network is slow
      if (this.#pending > 0) this.fail(`${this.#pending} bytes are not sent though nothing is wrong`);
      for (const { name } of this.#calls) {
        if (name.startsWith("publish")) this.fail(`${name} waits though there is room and nothing is wrong`);
      }
    }
    for (const filter of this.#granted) {
      if (!this.#broker.filters.has(filter)) this.fail(`the subscription to ${filter} is lost`);
    }
  }

  #conclude(): void {
    const end = this.#end;
    if (end === undefined) return this.fail("run() does not end");
    for (const { name } of this.#calls) this.fail(`${name} does not settle`);
    for (const { name, error } of this.#ends) {
      if (error !== end && error !== this.#leftError) this.fail(`${name} fails with ${error}, run() ends with ${end}`);
    }
    if (this.#world.timers !== 0) this.fail("a timer is left");
    if (this.#dialing !== 0) this.fail("an attempt is left");
    if (this.#listeners !== 0) this.fail(`${this.#listeners} listeners are left on the signal`);
    for (const wire of this.#wires) if (!wire.closed) this.fail(`connection ${wire.index} is left open`);
    if ((end.code === "disconnect") !== this.#left) this.fail(`the end is ${end.code}`);
    if (this.#aborted && !(end.cause instanceof Error)) this.#note(() => "aborted after disconnect()");
    if (!this.#left) this.#checkReason(end);
    for (const published of this.#published) this.#checkFate(published, end);
  }

  /** An end has a reason. */
  #checkReason({ code }: Failure): void {
    const last = this.#current;
    const fault = last?.fault ?? "none";
    const reasons: Record<string, readonly string[]> = {
      socketclosed: ["fin", "reset", "refusal", "deaf", "stall"],
      pingresp: ["half-open", "stall", "silent", "deaf", "garbage"],
      protocol: ["garbage"],
      unknowncp: ["garbage"],
      invalidresp: ["garbage"],
      overflow: ["garbage", "none", "deaf", "stall", "half-open", "silent", "fin", "reset"],
      untrusted: ["none", fault],
    };
    if (typeof code === "number" ? fault === "refusal" : reasons[code]?.includes(fault)) return;
    if (code === "cannotconnect" && this.#dialFailed) return;
    // A subscription that was made again, and refused; or not answered, below.
    if (code === 128 && this.#wires.length > 1) return;
    if (code === "pingresp" && this.#pingWaited) return;
    if (code === "timeout" && (this.#dialHung || !last?.connacked || this.#wires.length > 1)) return;
    this.fail(`it ends with ${code}, fault ${fault}`);
  }

  #checkFate({ seq, refused, arrived, wire }: Published, { code }: Failure): void {
    if (refused || arrived) return;
    if (wire !== undefined) {
      if (wire.fault !== "none" || wire.oversized) return;
      // Given up in time, or lost with a rejection.
      if (this.#leftError !== undefined || !this.#left && code !== "disconnect") return;
      if (this.#state(wire) !== "left" && wire !== this.#current) return;
      this.fail(`message ${seq} was sent and did not arrive, though nothing was wrong`);
    }
    if (!this.#left || this.#leftError !== undefined) return;
    this.fail(`message ${seq} was accepted and is lost, and nobody was told`);
  }
}

/** How many an iterator holds, apart from those that went with their connection. */
function waitingFor(expected: Iteration["expected"]): number {
  return expected.filter(({ wire }) => !(wire.closed && wire.paused)).length;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function show(packet: NaivePacket): string {
  if (packet.type === "PUBLISH") {
    const { topic, payload, qos, dup, packetId } = packet;
    return `PUBLISH ${numberOf(payload)} ${topic} qos ${qos}${
      dup ? " dup" : ""
    } id ${packetId} ${payload.length} bytes`;
  }
  return JSON.stringify(packet);
}
