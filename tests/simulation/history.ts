/**
 * One history: a client, a broker and a network that a seed decides everything about, in virtual
 * time. After each step the invariants are looked at; at the end, whether everything has settled.
 *
 * What may be lost at QoS 0, precisely:
 * - sent: a message handed to a connection that broke, stalled or was given up (with reconnect the
 *   client goes on, [MQTT-4.3.1]); a message never handed to one, if `run()` ends with the reason or
 *   the promise of `disconnect()` is rejected. Never one that a `disconnect()` without error covers.
 * - received: what is behind a full iterator when its connection ends; what comes after `disconnect()`.
 *
 * Odd seeds speak version 5: reason codes and properties in the broker's answers, its own keep alive, topic aliases, a DISCONNECT
 * on either side that says why, and a broker that keeps to the client's Receive Maximum.
 *
 * Messages come at QoS 1 and 2, too, and must be whole and theirs who get them. What becomes of them beyond that, and of
 * their acknowledgements, is played in `qos/`.
 */
import type { Client } from "../../src/api.ts";
import type { OnPublish } from "../../src/options.ts";
import type { Status } from "../../src/status.ts";
import type { LoopParts } from "../../src/client/loop_client.ts";
import type { Settings } from "../../src/client/settings.ts";
import type { MqttError } from "../../src/errors.ts";
import { deferred } from "../../src/deferred.ts";
import type { Message } from "../../src/message.ts";
import type { Empty, NaivePacket, Publish } from "../support/naive.ts";
import { Random } from "../support/random.ts";
import { type Ask, Asks } from "./asks.ts";
import { BareClient, type Lab } from "./bare_client.ts";
import { Broker, chooseVersion, filterMatches, isGoodbye, isRefusal, numberOf, type Sent } from "./broker.ts";
import { checkConnect, chooseOptions } from "./choices.ts";
import type { Library } from "./library.ts";
import { type Outcome, Violation } from "./outcome.ts";
import { same, show } from "./packets.ts";
import { type Published, PublishedMessages } from "./published.ts";
import { Drops, isRejection, Statuses } from "./statuses.ts";
import { refusesVersion, VersionModel } from "./versions.ts";
import { type Head, type Observer, Wire } from "./wire.ts";
import { World } from "./world.ts";

/** Makes the client that plays a history, and says when it has its first connection. */
export type MakeClient = (settings: Settings, parts: LoopParts, lab: Lab) => [Client, () => Promise<unknown>];

/** The client of the event loop. */
export const makeLoopClient: MakeClient = (settings, parts, { library: { LoopClient } }) => {
  const opened = deferred<number | undefined>();
  return [new LoopClient(settings, parts, opened), () => opened.promise];
};

/** The bare session. */
export const makeBareClient: MakeClient = (settings, parts, lab) => {
  const client = new BareClient(settings, parts, lab);
  return [client, () => client.opened];
};

interface Failure {
  code: string | number;
  message: string;
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
  due: number;
  readonly ask: Ask;
  left: boolean;
  done: boolean;
  waiting: boolean;
  last: number;
  /** Whether more was read although it was full, and nobody waited for the broker. */
  exceeded: boolean;
  /** What it must give next: the message, and the connection it came on. */
  readonly expected: { sent: number; wire: Wire }[];
}

/** A handler of messages. */
interface Worker {
  readonly name: string;
  readonly concurrency: number;
  /** Whether it returns promises. */
  readonly isAsync: boolean;
  /** How many of them are pending. */
  pending: number;
}

interface Call {
  readonly name: string;
  readonly at: number;
  readonly blocked: number;
  /** Milliseconds in which it must have settled; Infinity: by the end. */
  readonly bound: number;
  /** Whether only the time counts in which there is a connection. */
  readonly whileConnected: boolean;
}

const SLACK = 2000;
/** Milliseconds for a delay and an attempt, after a connection was lost. */
const RECOVERY = 20_000;
/** How much later than its deadline an attempt may end: timers ring late, and are looked at once more. */
const LATE = 500;
/** The reason code of an acknowledgement where a handler has failed. */
const HANDLER_FAILED = 131;
/** What a message that is not settled takes at most. */
const LARGEST = 7000;
/** Calls that wait for the broker. */
const AWAITING = /^(publish|subscribe|unsubscribe|leaving|flush)/;
/** What programs subscribe to. */
export const FILTERS: readonly string[] = ["t/0", "t/1", "t/2", "t/3", "t/+", "#"];

/** Plays a seed's history to its end, and throws the first {@linkcode Violation}. */
export function play(
  seed: number,
  make: MakeClient,
  library: Library,
  log?: (line: string) => void,
): Promise<Outcome> {
  return new History(seed, make, library, log).play();
}

class History implements Observer {
  readonly #random: Random;
  readonly #world: World;
  readonly #library: Library;
  readonly #log: ((line: string) => void) | undefined;
  readonly #settings: Settings;
  readonly #client: Client;
  readonly #opened: () => Promise<unknown>;
  readonly #broker: Broker;
  readonly #wires: Wire[] = [];
  /** The connection that the client uses; one that came too late is none. */
  #current: Wire | undefined;
  readonly #abort = new AbortController();
  readonly #horizon: number;
  readonly #reconnect: boolean;
  /** Whether it does little, and nobody asks how it ends. */
  readonly #lonely: boolean;
  readonly #listens: boolean;
  readonly #statuses: Statuses;
  readonly #drops: Drops;
  readonly #asks: Asks;
  /** The call that the program is making. */
  #calling: string | undefined;
  /** The errors of lost connections, and what the program's own code has thrown. */
  readonly #losses = new Set<unknown>();
  readonly #thrown = new Set<unknown>();
  /** When a connection was lost last. */
  #goneAt = -1;
  /** When one that the client cannot be blamed for was: a silent one is noticed late while the program does not let it read. */
  #lostAt = -Infinity;
  #dials = 0;
  /** The last connection that became slow. */
  #slow: Wire | undefined;
  #accepted = 0;
  /** Whether somebody hears of the end; whether it has surfaced. */
  #heard = false;
  #mayHear = false;
  #surfaced = false;
  #closed = false;
  #endedAt = Infinity;
  #endBlocked = 0;
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
  readonly #published: PublishedMessages;
  readonly #versions: VersionModel;
  /** When the attempt began, whatever version it tries; whether that is about to be made with the older one. */
  #attemptedAt = 0;
  #attemptBlocked = 0;
  #fallsBack = false;
  /** The last messages that onpub and each filter's own got. */
  readonly #lastDelivered = new Map<string, number>();
  #delivered = 0;
  #lastSeq = -1;
  readonly #owed: { seq: number; wire: Wire }[] = [];
  /** Messages that a certain handler must get. */
  #routed: { seq: number; topic: string; wire: Wire; handler: string }[] = [];
  readonly #iterations: Iteration[] = [];
  #depth = 0;
  /** When messages that are not settled last stopped the reading, as far as can be seen. */
  #fullAt = -Infinity;
  /** Whether the program waits for the broker: after the last step, or at any time since. */
  #wasAwaited = false;
  /** How many messages were not settled after the last step. */
  #unsettled = 0;
  readonly #workers = new Map<string, Worker>();
  /** Whether handlers return promises; whether some of them never settle. */
  readonly #isAsync: boolean;
  readonly #hangs: boolean;
  /** Whether publishes that are rejected are told. */
  readonly #tellsRejected: boolean;
  /** Whether disconnect() drains, or was called without that. */
  #drains = false;
  #cuts = false;

  constructor(seed: number, make: MakeClient, library: Library, log?: (line: string) => void) {
    const random = this.#random = new Random(seed);
    this.#library = library;
    this.#log = log;
    this.#world = new World(random);
    this.#horizon = random.pick([3000, 10_000, 30_000]);
    this.#reconnect = random.chance(0.85);
    this.#floods = random.chance(0.06);
    this.#lonely = random.chance(0.08);
    this.#listens = !this.#lonely && random.chance(0.8);
    const signal = this.#abort.signal;
    this.#countListeners(signal);
    const { version, ...speaking } = chooseVersion(random, seed);
    this.#isAsync = random.chance(0.6);
    this.#hangs = this.#isAsync && random.chance(0.1);
    const op = chooseOptions(random, {
      world: this.#world,
      reconnect: this.#reconnect,
      signal,
      version,
    });
    // How it stays connected is chosen apart from all that follows.
    const other = new Random(seed * 31 + 7);
    const addresses = Array.from({ length: other.pick([1, 1, 2, 3]) }, (_, i) => `address-${i}`);
    op.offline = this.#reconnect && other.chance(0.25);
    const asks = this.#reconnect && other.chance(0.2);
    if (asks) op.reconnect = () => undefined;
    this.#note(() => `options ${JSON.stringify(op)}, ${addresses}, ${asks ? "asks" : ""}`);
    this.#settings = library.parseSettings(op, addresses.map((address) => ({ address })));
    this.#broker = new Broker(this.#world, random, {
      faults: random.pick([0, 0.5, 0.9]),
      refusals: random.pick([0, 0.1, 0.3]),
      forbids: random.chance(0.3),
      qos: random.chance(0.5),
      ...speaking,
    });
    const fail = (what: string) => this.fail(what);
    this.#published = new PublishedMessages(this.#settings.version, fail);
    this.#versions = new VersionModel(version, fail);
    this.#statuses = new Statuses(
      this.#world,
      { policy: this.#settings.reconnect, asks, offline: op.offline, addresses },
      fail,
    );
    this.#drops = new Drops(fail);
    this.#asks = new Asks(this.#world, this.#settings.timeout, fail);
    this.#heard = this.#listens;
    const worker = this.#worker("onpub", 1);
    const parts: LoopParts = {
      policy: ({ failures, error }) => {
        this.#losses.add(error); // the program may disconnect before it is told
        const answer = other.chance(0.05) ? undefined : other.int(0, 3000);
        if (this.#listens) this.#statuses.asked(failures, answer);
        return answer;
      },
      dial: (signal) => this.#dial(signal),
      onpub: (_, message) => this.#work(worker, ["#"], message),
      onstatus: this.#listens ? (status) => this.#hearStatus(status) : undefined,
      clock: this.#world.clock,
      closed: () => this.#hearEnd(),
    };
    const lab: Lab = { library, world: this.#world, random: new Random(-seed), fail };
    this.#tellsRejected = this.#listens && make === makeLoopClient; // that is the shell's
    [this.#client, this.#opened] = this.#call("connect", () => make(this.#settings, parts, lab));
  }

  /** A call of the program's: while it runs, no status may be told. */
  #call<T>(name: string, make: () => T): T {
    const outer = this.#calling;
    this.#calling = name;
    try {
      return make();
    } finally {
      this.#calling = outer;
    }
  }

  async play(): Promise<Outcome> {
    // What nobody hears of, and what handlers throw, surfaces in a microtask of its own.
    const { queueMicrotask } = globalThis;
    globalThis.queueMicrotask = (callback) =>
      queueMicrotask(() => {
        try {
          callback();
        } catch (error) {
          this.#hearSurfaced(error);
        }
      });
    try {
      if (!this.#lonely) this.#run();
      const { offline, timeout, places } = this.#settings;
      this.#follow("open", this.#opened(), offline ? 0 : timeout * places.length);
      this.#script();
      await this.#world.run(() => this.#check(), 200_000);
      this.#conclude();
    } finally {
      globalThis.queueMicrotask = queueMicrotask;
    }
    if (this.#violation !== undefined) throw this.#violation;
    return {
      steps: this.#world.steps,
      code: this.#end!.code,
      connections: this.#wires.length,
      faults: this.#wires.map(({ fault }) => fault),
      published: this.#published.all.length,
      delivered: this.#delivered,
      told: [
        ...Object.entries(this.#statuses.told).flatMap(([type, count]) => count === 0 ? [] : type),
        ...this.#surfaced ? ["surfaced"] : [],
        ...this.#versions.fallBacks > 0 ? ["older version"] : [],
      ],
    };
  }

  #run(): void {
    this.#heard = true;
    void this.#call("run", () => this.#client.run()).then((error) => {
      this.#note(() => `run() ends: ${error.code} ${error.message}`);
      if (error !== this.#end) this.fail(`run() ends with ${error}, instead of ${this.#end}`);
      if (++this.#endCount > 1) this.fail("run() ends twice");
    }, () => this.fail("run() rejects"));
  }

  #hearEnd(): void {
    if (this.#closed) this.fail("it ends twice");
    this.#closed = true;
    const { status } = this.#client;
    if (status.type !== "closed") return this.fail(`the status at the end is ${status.type}`);
    this.#note(() => `the end: ${status.error.code} ${status.error.message}`);
    this.#end ??= status.error as Failure & Error;
    this.#endedAt = this.#world.now;
    this.#endBlocked = this.#world.blocked;
    this.#heard ||= this.#left;
    // Who iterates hears of it, some time; who may have been given up, perhaps.
    const iterating = this.#iterations.filter(({ left, done }) => !left && !done);
    this.#heard ||= iterating.some(({ vague, granted }) => granted && !vague);
    this.#mayHear = iterating.length > 0;
    if (this.#listens && !this.#left) this.#statuses.checkEnd(this.#end!);
  }

  #hearSurfaced(error: unknown): void {
    this.#note(() => `surfaces: ${error}`);
    if (this.#thrown.delete(error)) return;
    if (error !== this.#end || this.#surfaced) return this.fail(`${error} surfaces`);
    this.#surfaced = true;
    if (this.#heard) this.fail("the end surfaces although somebody has heard of it");
    if (this.#world.now < this.#endedAt + 1000) this.fail("the end surfaces within a second");
  }

  /** Publishes that were rejected as there was no room, and those that were told as dropped. */
  readonly #rejected: string[] = [];
  readonly #toldRejected: string[] = [];

  #hearStatus(status: Status): void {
    this.#note(() => `status ${JSON.stringify(status)}`);
    if (this.#calling !== undefined) this.fail(`${status.type} is told inside ${this.#calling}()`);
    this.#statuses.tell(status, this.#current);
    if (status.type === "waiting") {
      this.#losses.add(status.error);
      this.#checkReason(status.error);
    }
    if (status.type === "closed") this.#end = status.error as Failure & Error;
    if (status.type === "refused") this.#asks.refused(status.filter, status.error.code);
    if (status.type === "dropped" && isRejection(status)) {
      this.#toldRejected.push(`${status.topic} ${status.size} ${status.error.code}`);
    } else if (status.type === "dropped") {
      this.#drops.count(this.#client.stats.dropped);
      this.#drops.tell(status);
    }
    this.#actWithin(status.type === "waiting" ? 0.4 : 0.05);
    this.#throwAtTimes();
  }

  /** What the program does in its handlers. */
  #actWithin(chance: number): void {
    if (this.#depth > 0 || !this.#random.chance(chance)) return;
    this.#depth++;
    this.#act();
    this.#depth--;
  }

  #throwAtTimes(): void {
    if (!this.#random.chance(0.01)) return;
    const problem = new Error("the program's own");
    this.#thrown.add(problem);
    throw problem;
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
    this.#dials++;
    if (!this.#fallsBack) {
      this.#versions.begins();
      this.#attemptedAt = this.#world.now;
      this.#attemptBlocked = this.#world.blocked;
    }
    this.#fallsBack = false;
    if (this.#listens) this.#statuses.dials();
    const random = this.#random;
    const faults = this.#broker.manners.faults / (this.#wires.length === 0 ? 5 : 1);
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
          const { maxPacketSize, topicAliases } = this.#settings;
          const given = { index: this.#wires.length, trusted, maxPacketSize, topicAliases };
          const wire = new Wire(given, this.#world, random, this);
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
    this.#published.handed = 0;
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
        if (wire.trusted === "untrusted" && this.#settings.places[0]!.uname !== undefined) {
          this.fail("credentials to a stranger");
        }
        this.#versions.connects(wire.version);
        checkConnect(packet, this.#settings, wire.version, (what) => this.fail(what));
        return this.#asks.connecting(wire);
      case "SUBSCRIBE":
      case "UNSUBSCRIBE":
        return this.#asks.wrote(wire, packet);
      case "DISCONNECT":
        return this.#sendDisconnect(wire, packet);
      case "PUBLISH":
        return this.#handOver(wire, packet);
      case "PUBACK":
      case "PUBREC":
      case "PUBCOMP":
        if (!this.#count(`${wire.index} ${packet.type} ${packet.packetId}`, -1)) {
          this.fail(`${packet.type} ${packet.packetId} for nothing`);
        }
        if (![0, HANDLER_FAILED].includes(packet.code ?? 0)) this.fail(`${packet.type} with ${packet.code}`);
    }
  }

  /** The program leaves; or, with version 5, the broker has made a mistake, and is told which. */
  #sendDisconnect(wire: Wire, { code = 0 }: Empty): void {
    wire.goodbye = code;
    if (code !== 0) {
      if (code !== wire.garbageReason) this.fail(`DISCONNECT with ${code}, and the mistake is ${wire.garbageReason}`);
      return;
    }
    if (!this.#left) this.fail("DISCONNECT that nobody asked for");
    // Once those that were refused just now have heard of it.
    this.#world.after(0, () => {
      if (this.#published.pending > 0) {
        this.fail(`DISCONNECT before ${this.#published.pending} bytes that were accepted`);
      }
    });
  }

  /** How often each acknowledgement is due. */
  readonly #toAcknowledge = new Map<string, number>();
  #count(key: string, change: 1 | -1): boolean {
    const count = (this.#toAcknowledge.get(key) ?? 0) + change;
    this.#toAcknowledge.set(key, count);
    return count >= 0;
  }

  #handOver(wire: Wire, packet: Publish): void {
    const missing = this.#asks.missing(wire);
    if (missing !== undefined) this.fail(`a message goes before the subscription to ${missing}`);
    this.#published.handOver(wire, packet);
  }

  arrived(wire: Wire, packets: NaivePacket[]): void {
    // Who connects again ends the connection from before [MQTT-3.1.4-2].
    if (wire.index < (this.#broker.wire?.index ?? 0)) return;
    for (const packet of packets) {
      if (packet.type === "PUBLISH") this.#published.arrived(packet);
      this.#broker.hear(wire, packet);
    }
  }

  read(wire: Wire, packet: NaivePacket): void {
    this.#note(() => `> ${wire.index} ${show(packet)}`);
    switch (packet.type) {
      case "CONNACK":
        if (packet.code === 0 && !wire.connacked) this.#connected(wire, packet.sessionPresent);
        wire.isTooNew = refusesVersion(packet.code);
        return;
      case "SUBACK":
        return this.#granted(wire, packet);
      case "UNSUBACK":
        return this.#asks.answered(wire, packet);
      case "PUBREL":
        return void this.#count(`${wire.index} PUBCOMP ${packet.packetId}`, 1);
      case "PUBLISH":
        return this.#readMessage(wire, this.#broker.sent[numberOf(packet.payload)]!);
    }
  }

  #connected(wire: Wire, sessionPresent: boolean): void {
    this.#accepted++;
    this.#versions.accepted(wire.version);
    this.#published.speak(wire.version);
    wire.connacked = true;
    wire.sessionPresent = sessionPresent;
    wire.connackedAt = wire.lastWrite = this.#world.now; // nothing could be written before
    this.#asks.connected(wire, sessionPresent);
    for (const iteration of this.#iterations) iteration.due = this.#world.now + this.#settings.timeout;
  }

  #granted(wire: Wire, packet: NaivePacket & { type: "SUBACK" }): void {
    const filters = this.#asks.filtersOf(wire, packet.packetId);
    this.#asks.answered(wire, packet);
    filters.forEach((filter, i) => {
      if (packet.codes[i]! >= 128) return this.#meddle(filter);
      for (const iteration of this.#iterations) {
        if (iteration.filter !== filter) continue;
        iteration.granted = true;
        this.#asks.seems(iteration.ask, filters);
      }
    });
  }

  readHead(wire: Wire, head: Head): void {
    const { topic, size, qos, packetId } = head;
    this.#note(() => `> ${wire.index} PUBLISH ${topic} qos ${qos} id ${packetId}, ${size} bytes: too many`);
    const sent = qos === 0 ? undefined : this.#broker.sent.findLast((sent) => sent.packetId === packetId);
    if (sent !== undefined) this.#acknowledge(wire, sent);
    if (sent?.received || this.#left) return;
    if (sent?.qos === 2) sent.received = true;
    this.#drops.add(head, () => sent !== undefined && (sent.received = false));
  }

  #acknowledge(wire: Wire, { qos, packetId }: Sent): void {
    if (qos > 0) this.#count(`${wire.index} ${qos === 1 ? "PUBACK" : "PUBREC"} ${packetId}`, 1);
  }

  #readMessage(wire: Wire, sent: Sent): void {
    this.#acknowledge(wire, sent);
    if (sent.qos > 0 || this.#left) return;
    const iterations = this.#iterations.filter(({ filter, left }) => !left && filterMatches(filter, sent.topic));
    for (const iteration of iterations) {
      const { vague, expected, granted, limit } = iteration;
      iteration.exceeded ||= !this.#wasAwaited && waitingFor(expected) > limit;
      const isFor = sent.filters.length === 0 || sent.filters.includes(iteration.filter);
      const isForgotten = !granted && this.#asks.hasFailed(iteration.filter);
      if (!vague && isFor && !isForgotten) expected.push({ sent: sent.seq, wire });
    }
    const handlers = this.#asks.handlers(sent.topic);
    for (const handler of handlers) this.#routed.push({ seq: sent.seq, topic: sent.topic, wire, handler });
    if (iterations.length === 0) this.#owed.push({ seq: sent.seq, wire });
  }

  gone(wire: Wire): void {
    this.#note(() => `connection ${wire.index} is gone, fault ${wire.fault}`);
    if (wire.paused) this.#forget(wire);
    this.#goneAt = this.#world.now;
    if (wire.fault !== "none") this.#lostAt = this.#world.now;
    const version = this.#state(wire) === "new" ? undefined : wire.version;
    const isTooNew = wire.isTooNew || wire.wasLost;
    this.#fallsBack = !wire.connacked && this.#versions.failed({ version, isTooNew });
    if (this.#fallsBack && this.#listens) this.#statuses.fallsBack();
    this.#asks.gone(wire);
    this.#drops.count(this.#client.stats.dropped);
    this.#drops.gone();
    if (wire.connacked) { for (const iteration of this.#iterations) iteration.due = Infinity; }
    if (this.#end === undefined) this.#pingWaited = wire.writing; // and not of an attempt that came too late
  }

  /** What is behind a full iterator goes with its connection. */
  #forget(wire: Wire): void {
    const kept = this.#owed.filter((owed) => owed.wire !== wire);
    this.#owed.splice(0, Infinity, ...kept);
    this.#routed = this.#routed.filter((routed) => routed.wire !== wire);
  }

  // ---- what the client gives

  #worker(name: string, concurrency: number): Worker {
    const worker = { name, concurrency, isAsync: this.#isAsync && this.#random.chance(0.6), pending: 0 };
    this.#workers.set(name, worker);
    return worker;
  }

  #isBusy(name: string): boolean {
    const { pending, concurrency } = this.#workers.get(name)!;
    return pending >= concurrency;
  }

  /** A handler is called. */
  #work(worker: Worker, filters: readonly string[], message: Message): void | Promise<void> {
    const { name, concurrency, isAsync } = worker, random = this.#random;
    if (worker.pending >= concurrency) this.fail(`${name} is called although ${worker.pending} promises are pending`);
    this.#deliver(name, filters, message);
    if (!isAsync || random.chance(0.2)) return;
    worker.pending++;
    if (this.#hangs && random.chance(0.1)) return new Promise(() => {});
    return this.#world.sleep(random.pick([0, 5, 100, 3000])).then(() => {
      worker.pending--;
      this.#throwAtTimes();
    });
  }

  #deliver(to: string, filters: readonly string[], message: Message): void {
    const seq = this.#checkMessage(filters, message);
    // Who disconnects in a handler does not take the message from the others.
    if (this.#cuts && seq !== this.#lastSeq) this.fail(`${to} is called with message ${seq} after disconnect()`);
    this.#lastSeq = seq;
    const last = this.#lastDelivered.get(to) ?? -1;
    if (message.qos === 0) {
      if (seq <= last) this.fail(`message ${seq} is delivered to ${to} after ${last}`);
      this.#lastDelivered.set(to, seq);
    }
    const at = this.#owed.findIndex((owed) => owed.seq === seq);
    if (at > 0 && !this.#isAsync) this.fail(`message ${seq} is delivered before ${this.#owed[0]!.seq}`);
    if (at >= 0) this.#owed.splice(at, 1);
    this.#routed = this.#routed.filter((routed) => routed.seq !== seq || routed.handler !== to);
    const [other] = to === "onpub" && !this.#isAsync ? this.#asks.handlers(message.topic) : [];
    if (other !== undefined) this.fail(`message ${seq} goes to connect's onpub, and not to ${other}`);
    this.#actWithin(0.05);
    this.#throwAtTimes();
  }

  #checkMessage(filters: readonly string[], message: Message): number {
    this.#delivered++;
    const { topic, payload, qos, retain } = message;
    const seq = numberOf(payload);
    this.#note(() => `message ${seq} is delivered for ${filters}`);
    const sent = this.#broker.sent[seq];
    if (this.#end !== undefined && !this.#isAsync) this.fail(`message ${seq} is delivered after the end`);
    if (sent === undefined || sent.topic !== topic || sent.qos !== qos || sent.retain !== retain) {
      this.fail(`message ${seq} is garbled`);
      return seq;
    }
    if (message.properties?.expiry !== sent.expiry) this.fail(`message ${seq} has another expiry`);
    if (!same(payload, sent.payload)) this.fail(`message ${seq} has another payload`);
    if (!filters.some((filter) => filterMatches(filter, topic))) {
      this.fail(`message ${seq} to ${topic} is delivered for ${filters}`);
    }
    return seq;
  }

  /** Follows a promise: it settles in time, and with an error that is one of the library's. */
  #follow(
    name: string,
    promise: Promise<unknown>,
    bound = Infinity,
    failed: (error: Failure) => void = () => {},
    ask?: Ask,
  ): void {
    const { now: at, blocked } = this.#world;
    const call: Call = { name, at, blocked, bound: bound + SLACK, whileConnected: ask !== undefined };
    this.#calls.add(call);
    this.#wasAwaited ||= AWAITING.test(name);
    const settled = (error?: unknown) => {
      this.#calls.delete(call);
      this.#note(() => `${name} ${error === undefined ? "done" : `fails: ${(error as Failure).code}`}`);
      this.#checkTime(call);
      if (error === undefined) return;
      if (!(error instanceof this.#library.MqttError)) return this.fail(`${name} fails with ${error}`);
      this.#heard ||= error === this.#end;
      // Asked for on two connections that were lost, it fails with the second one's error.
      const isLoss = (ask?.lost === 2 || name === "flush") && this.#isLoss(error);
      if (error.code === "timeout" && !isLoss && error !== this.#end && name !== "disconnect") this.#checkGivenUp(call);
      if (!isOwn(error.code) && !isLoss) this.#ends.push({ name, error });
      failed(error);
    };
    promise.then(() => settled(), settled);
  }

  /** A request was not answered in time: it has all of it, and nothing may be unread that came before. */
  #checkGivenUp({ name, at, whileConnected }: Call): void {
    const { timeout } = this.#settings;
    // The same tick may have given up the connection, too.
    const connectedAt = this.#goneAt === this.#world.now ? this.#current!.connackedAt : this.#connectedAt;
    const since = whileConnected ? Math.max(at, connectedAt) : at;
    if (since === Infinity) return this.fail(`${name} is given up though there is no connection`);
    if (this.#world.now < since + timeout) this.fail(`${name} is given up after ${this.#world.now - since} ms`);
    const { unread = Infinity } = this.#current ?? {};
    if (unread >= since + timeout) return;
    this.fail(`${name} is given up at ${since + timeout} ms although bytes have been in the socket since ${unread} ms`);
  }

  /** Whether a connection was lost with that error. */
  #isLoss(error: unknown): boolean {
    const { status } = this.#client;
    return this.#losses.has(error) || status.type === "waiting" && status.error === error;
  }

  /** When the broker accepted the connection that there is; Infinity when there is none. */
  get #connectedAt(): number {
    return this.#current === undefined || this.#current.closed ? Infinity : this.#current.connackedAt;
  }

  #checkTime({ name, at, blocked, bound, whileConnected }: Call): void {
    const took = this.#world.now - (whileConnected ? Math.max(at, this.#connectedAt) : at);
    if (took > bound + this.#world.blocked - blocked) this.fail(`${name} takes ${took} ms, bound ${bound}`);
  }

  // ---- what callers do

  #script(): void {
    const random = this.#random;
    const count = this.#lonely ? random.int(0, 2) : random.int(5, 30);
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
        // What the program does right after it, what is due has not been given up yet.
        if (random.chance(0.5)) this.#world.onThread(0, () => random.chance(0.2) ? this.#disconnect() : this.#act());
      });
    }
    // A busy one fills its buffer as soon as the network is slow.
    for (let i = random.chance(0.15) ? 100 : 0; i > 0; i--) {
      const isPublish = random.chance(0.9);
      this.#world.onThread(random.int(0, this.#horizon), () => isPublish ? this.#publish(100) : this.#iterate());
    }
    // Then the faults end: whatever can still be done must get done.
    this.#world.after(this.#horizon, () => {
      this.#note(() => "the faults end");
      Object.assign(this.#broker.manners, { faults: 0, refusals: 0, forbids: false });
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
    switch (this.#lonely ? 19 : random.int(0, 19)) {
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
        return random.chance(0.5) ? this.#wrong() : this.#changeMind();
      case 10:
        if (random.chance(0.15)) return random.chance(0.5) ? this.#disconnect() : this.#drain();
        return this.#flush();
      case 11:
        if (random.chance(0.15)) this.#abortAll();
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

  /** Gives a filter up, and asks for it again at once. */
  #changeMind(): void {
    const filters = [this.#random.pick(FILTERS)];
    this.#unsubscribe(filters);
    this.#subscribe(filters);
  }

  /** Asks for something when the network has become slow, and publishes until there is room for not one byte more. */
  #fill(): void {
    if (!this.#current?.isSlow) return;
    this.#iterate();
    for (let i = 0; i < 200; i++) this.#publish(1);
  }

  /** Half a MiB and more, in pieces that come while others are being written. */
  #flood(): void {
    for (let i = this.#random.int(5, 12); i > 0; i--) {
      this.#world.onThread(this.#random.int(0, 20), () => {
        for (let i = this.#random.int(1, 5); i > 0; i--) this.#publish(20_000, this.#random.int(10_000, 120_000));
      });
    }
  }

  #publish(longest: number, size = 4 + this.#random.size(longest)): Promise<number> {
    const topic = `up/${this.#published.all.length % 5}`, retain = this.#random.chance(0.1);
    const before = this.#published.pending, over = this.#isOver;
    const published = this.#published.add(topic, size, { retain, isOver: over });
    const { seq, size: length, payload } = published;
    this.#note(() => `publish ${seq}, ${length} bytes`);
    const promise = this.#call("publish", () => this.#client.publish(topic, payload.slice(), { retain }));
    this.#follow(`publish ${seq}`, promise, Infinity, (error) => {
      const { code, message } = error;
      // A packet over maxPacketSize ends the client with this code, too.
      const full = code === "overflow" && message.includes("maxBuffered") && !message.includes("There was no room");
      if (!full && !over) return;
      // Also while disconnect() drains.
      if (full && error !== this.#end) this.#rejected.push(`${topic} ${length} ${code}`);
      this.#published.refuse(published);
      const { maxBuffered } = this.#settings;
      const most = before + this.#unwritten() + length + 5000;
      if (!over && most <= maxBuffered) {
        this.fail(`overflow at ${most} of ${maxBuffered} bytes`);
      }
    });
    return promise;
  }

  /** Whether nothing is accepted any more. */
  get #isOver(): boolean {
    return this.#left || this.#end !== undefined;
  }

  /** At most so much may be in flight. */
  #unwritten(): number {
    return this.#current?.writing ? this.#published.handed : 0;
  }

  async #publishEach(count: number, longest: number): Promise<void> {
    for (; count > 0; count--) {
      const failed = await this.#publish(longest).then(() => false, () => true);
      if (failed) return;
    }
  }

  /** Does not look at what becomes of it; the end of the connection must not make that an unhandled rejection. */
  #forgetful(): void {
    if (this.#drains || this.#settings.maxBuffered < 1 << 20 || this.#broker.manners.faults > 0) return;
    this.#note(() => "publish and forget");
    const published = this.#published.add("up/x", 4, { retain: false, isOver: this.#isOver });
    published.refused = this.#isOver;
    void this.#call("publish", () => this.#client.publish("up/x", published.payload));
    this.#heard ||= this.#end !== undefined;
  }

  #subscribe(given: readonly string[] = []): void {
    const random = this.#random;
    const own = given.length > 0 || random.chance(0.5);
    const filters = own
      ? [given[0] ?? random.pick(FILTERS)]
      : [...new Set([random.pick(FILTERS), random.pick(FILTERS)])];
    // One filter that no other call asks for tells this one's packets from all others.
    if (random.chance(0.6)) filters.splice(random.int(0, filters.length), 0, this.#asks.ownFilter());
    this.#note(() => `subscribe ${filters}${own ? " with onpub" : ""}`);
    for (const filter of filters) this.#meddle(filter);
    const name = `onpub ${this.#subscribed++} of ${filters}`;
    const ask = this.#asks.ask(filters, true, own ? name : undefined);
    const concurrency = random.int(1, 3), worker = this.#worker(name, concurrency);
    const onpub: OnPublish = (_, message) => this.#work(worker, filters, message);
    let called = 0;
    const promise = this.#call(
      "subscribe",
      () =>
        this.#client.subscribe(filters, own ? { onpub, concurrency } : {}, (code) => {
          if (++called > 1) this.fail("the callback of subscribe() is called twice");
          if (code !== 0 && !isRefusal(code)) this.fail(`subscribe() is granted ${code}`);
        }),
    );
    // Before the other one looks at it.
    promise.then(() => this.#asks.settled(ask), ({ code }) => this.#asks.settled(ask, code));
    this.#follow("subscribe", promise, this.#settings.timeout, undefined, ask);
  }

  #subscribed = 0;

  #unsubscribe(given: readonly string[] = []): void {
    const random = this.#random;
    const some = Array.from({ length: random.int(1, 3) }, () => random.pick([...FILTERS, ...this.#asks.ownFilters]));
    const iterated = this.#iterations.filter(({ done }) => !done).map(({ filter }) => filter);
    if (iterated.length > 0 && random.chance(0.4)) some.push(random.pick(iterated));
    const filters = given.length > 0 ? given : [...new Set(some)];
    this.#note(() => `unsubscribe ${filters}`);
    for (const filter of filters) this.#meddle(filter);
    this.#followGivingUp("unsubscribe", filters, () => this.#client.unsubscribe(filters));
  }

  #followGivingUp(name: string, filters: readonly string[], call: () => Promise<unknown>): void {
    const given = this.#asks.giveUp(filters), settled = this.#asks.gives(filters);
    const promise = this.#call(name, call);
    promise.then(() => settled(undefined), ({ code }) => settled(code));
    promise.then(() => this.#asks.gaveUp(given, this.#connectedAt === Infinity), () => {});
    this.#follow(name, promise, this.#settings.timeout);
  }

  /** Who asks for a filter again, gives it up or is refused, changes what its iterators get. */
  #meddle(filter: string): void {
    this.#asks.meddle(filter);
    for (const iteration of this.#iterations) if (iteration.filter === filter) iteration.vague = true;
  }

  #iterate(): void {
    const random = this.#random;
    const filter = random.pick(FILTERS);
    const limit = random.pick([1, 2, 5, 100]);
    this.#note(() => `iterate ${filter}, limit ${limit}`);
    const isAsking = this.#asks.isAsking(filter);
    const ask = this.#asks.ask([filter], false);
    const iterator = this.#call("messages", () => this.#client.messages(filter, { limit }));
    const left = this.#isOver;
    const others = this.#iterations.filter((other) => other.filter === filter);
    for (const other of others) other.vague = true;
    const vague = left || others.length > 0 || isAsking;
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
      due: this.#connectedAt === Infinity ? Infinity : this.#world.now + this.#settings.timeout,
      ask,
      left,
      done: false,
      waiting: false,
      last: -1,
      exceeded: false,
      expected: [],
    };
    this.#iterations.push(iteration);
    void this.#consume(iteration, random.pick([0, 0, 10, 1000, 20_000]), random.pick([3, Infinity]));
  }

  async #consume(iteration: Iteration, pause: number, most: number): Promise<void> {
    const { iterator } = iteration;
    const call: Call = { name: "an iterator", at: this.#world.now, blocked: 0, bound: Infinity, whileConnected: false };
    this.#calls.add(call);
    try {
      for (let count = 0; count < most; count++) {
        iteration.waiting = this.#wasAwaited = true;
        const result = await this.#call("next", () => iterator.next());
        iteration.waiting = false;
        if (result.done) break;
        this.#take(iteration, result.value);
        if (pause > 0) await this.#world.sleep(pause);
      }
      this.#leave(iteration);
    } catch (error) {
      iteration.waiting = false;
      if (!(error instanceof this.#library.MqttError)) this.fail(`an iterator fails with ${error}`);
      const { code } = error as Failure;
      this.#note(() => `the iterator of ${iteration.filter} fails: ${code}`);
      if (code === "disconnect") this.fail("an iterator throws disconnect");
      this.#heard ||= error === this.#end;
      if (!isOwn(code)) {
        const { lost, vague } = iteration.ask;
        if (lost < 2 && !vague || !this.#isLoss(error)) this.#ends.push({ name: "an iterator", error });
      }
      this.#asks.settled(iteration.ask, code);
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
    const seq = this.#checkMessage([iteration.filter], message);
    this.#end = end;
    if (message.qos > 0) return;
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
    const { ask, iterator } = iteration;
    this.#asks.meddle(iteration.filter);
    // Unless somebody else wants it, or has given it up.
    const filters = this.#asks.isAlone(ask) && !iteration.vague ? [iteration.filter] : [];
    this.#followGivingUp("leaving an iterator", filters, () => iterator.return!());
  }

  #wrong(): void {
    if (this.#isOver) return;
    for (const topic of ["", "a/#", "a\0", "\ud800"]) {
      this.#call("publish", () => this.#client.publish(topic, "x")).then(
        () => this.fail("a wrong topic is accepted"),
        (error) => {
          if (!(error instanceof TypeError)) this.fail(`a wrong topic fails with ${error}`);
        },
      );
    }
  }

  /** All that was published before is with the broker when that is done. */
  #flush(): void {
    const before = this.#published.all.slice();
    this.#note(() => `flush ${before.length}`);
    const promise = this.#call("flush", () => this.#client.flush());
    this.#follow("flush", promise, Infinity, () => {
      for (const published of this.#published.all) published.told ||= published.wire?.closed ?? false;
    });
    promise.then(() => {
      const lost = before.find(({ refused, arrived, told }) => !refused && !arrived && !told);
      if (lost !== undefined) this.fail(`flush() is done, and message ${lost.seq} is not with the broker`);
    }, () => {});
  }

  #drain(): void {
    this.#note(() => "disconnect({ drain: true })");
    const isOpen = this.#client.status.type === "connected";
    this.#drains ||= isOpen && !this.#left;
    const owed = this.#left ? [] : this.#routed.filter(({ wire, handler }) => !wire.paused && this.#isBusy(handler));
    this.#left ||= this.#end === undefined;
    const promise = this.#call("disconnect", () => this.#client.disconnect({ drain: true }));
    this.#follow("disconnect", promise, Infinity, (error) => this.#leftError = error);
    if (!isOpen) return;
    promise.then(() => {
      if (this.#cuts) return;
      for (const { name, pending } of this.#workers.values()) {
        if (pending > 0) this.fail(`disconnect({ drain: true }) is done, and ${name} is not`);
      }
      const lost = owed.find(({ seq, handler }) => (this.#lastDelivered.get(handler) ?? -1) < seq);
      if (lost !== undefined) this.fail(`disconnect({ drain: true }) is done, and message ${lost.seq} is lost`);
      const { unsettled } = this.#client.stats;
      if (unsettled > 0) this.fail(`disconnect({ drain: true }) is done, and ${unsettled} messages are not`);
    }, () => {});
  }

  #disconnect(): void {
    this.#note(() => "disconnect()");
    this.#cuts ||= this.#end === undefined;
    this.#left ||= this.#end === undefined;
    const bound = this.#settings.timeout + 1000;
    const promise = this.#call("disconnect", () => this.#client.disconnect());
    this.#follow("disconnect", promise, bound, (error) => this.#leftError = error);
  }

  #abortAll(): void {
    if (this.#settings.signal === undefined) return;
    this.#note(() => "abort");
    this.#aborted = true;
    this.#cuts ||= this.#end === undefined;
    this.#left ||= this.#end === undefined;
    this.#call("abort", () => this.#abort.abort(new Error("enough")));
    this.#disconnect();
  }

  // ---- what must hold

  #check(): void {
    this.#wasAwaited ||= this.#isAwaited;
    this.#checkStep();
    // The answer may have come, and wait behind what is not settled.
    this.#wasAwaited = this.#isAwaited || this.#wasAwaited && (this.#current?.paused ?? false);
    this.#unsettled = this.#client.stats.unsettled;
    for (const iteration of this.#iterations) iteration.exceeded = false;
    if (this.#violation !== undefined) throw this.#violation;
  }

  /** Whether the program waits for the broker: then it reads on, whatever is not settled. */
  get #isAwaited(): boolean {
    return [...this.#calls].some(({ name }) => AWAITING.test(name)) ||
      this.#iterations.some(({ waiting, granted, done }) => (waiting || !granted) && !done) ||
      this.#current !== undefined && this.#asks.isUnanswered(this.#current);
  }

  #checkStep(): void {
    const world = this.#world;
    const isAway = this.#connectedAt === Infinity;
    for (const call of this.#calls) {
      if (call.bound !== Infinity) this.#checkTime(call);
      if (isAway && (call.name === "unsubscribe" || call.name === "leaving an iterator")) {
        this.fail(`${call.name} waits though there is no connection`);
      }
    }
    this.#asks.check({ told: this.#listens, left: this.#left });
    this.#checkStatus();
    if (this.#published.pending > this.#settings.maxBuffered) {
      this.fail(`${this.#published.pending} bytes wait to be sent`);
    }
    const wire = this.#current;
    if (world.timers > 1) this.fail(`${world.timers} timers`);
    if (this.#end !== undefined) {
      this.#checkSurfacing();
      if (wire !== undefined && !wire.closed) this.fail("a connection after the end");
      return;
    }
    if (world.timers === 0 && (this.#keepaliveOf(wire) > 0 || !wire?.connacked)) {
      this.fail("no timer: nobody would notice that nothing happens");
    }
    const [owed] = this.#owed;
    const isBusy = [...this.#workers.keys()].some((name) => this.#isBusy(name));
    if (owed !== undefined && !this.#left && !owed.wire.paused && !isBusy) {
      this.fail(`message ${owed.seq} is not delivered`);
    }
    // Who has been replaced or given up meanwhile need not get it.
    const routed = this.#routed.find(({ topic, wire, handler }) =>
      !wire.paused && !this.#isBusy(handler) && this.#asks.handlers(topic).includes(handler)
    );
    if (routed !== undefined && !this.#left) this.fail(`message ${routed.seq} does not go to ${routed.handler}`);
    this.#routed = this.#routed.filter(({ wire, handler }) => wire.paused || this.#isBusy(handler));
    if (wire !== undefined && !wire.closed && wire.connacked && !this.#left) this.#checkOpen(wire);
    if (this.#settings.maxBuffered > 2000 || !wire?.isSlow || this.#slow === wire) return;
    this.#slow = wire;
    world.onThread(this.#random.int(0, 500), () => this.#fill());
  }

  /** Seconds: what the broker says counts, and not what the program has asked for [MQTT5-3.1.2-21]. */
  #keepaliveOf(wire: Wire | undefined): number {
    return wire?.keepalive ?? this.#settings.keepalive;
  }

  /** The status is what the model thinks, and what was told. */
  #checkStatus(): void {
    const { status, stats } = this.#client, { last, told } = this.#statuses;
    const isConnecting = this.#dialing > 0 || this.#wires.some((wire) => !wire.closed && !wire.connacked);
    const right = this.#end !== undefined
      ? "closed"
      : this.#connectedAt < Infinity
      ? "connected"
      : isConnecting
      ? "connecting"
      : "waiting";
    const late = this.#world.now - this.#attemptedAt - (this.#world.blocked - this.#attemptBlocked);
    if (right === "connecting" && late > this.#settings.timeout + LATE) this.fail(`an attempt takes ${late} ms`);
    if (status.type !== right) this.fail(`the status is ${status.type} and should be ${right}`);
    if (status.type === "waiting") this.#losses.add(status.error);
    this.#drops.count(stats.dropped);
    if (!this.#left && !(this.#current?.paused ?? false)) this.#drops.check(this.#listens);
    if (!this.#listens) return;
    if (last !== status) this.fail(`the status is ${status.type}, and ${last?.type} was told last`);
    if (told.connecting !== this.#dials) {
      this.fail(`${this.#dials} attempts, and connecting is told ${told.connecting} times`);
    }
    if (told.connected !== this.#accepted) {
      this.fail(`connected is told ${told.connected} times, not ${this.#accepted}`);
    }
  }

  /** An end that nobody hears of surfaces after a second; nothing waits for that when somebody has. */
  #checkSurfacing(): void {
    const { now, blocked, timers } = this.#world;
    const waited = now - this.#endedAt;
    const isLate = waited > 1000 + 400 + (blocked - this.#endBlocked);
    if (timers > 0 && (this.#surfaced || isLate || this.#heard && waited === 0)) this.fail("a timer after the end");
    if (isLate && !this.#heard && !this.#mayHear && !this.#surfaced) {
      this.fail("an end that nobody has heard of does not surface");
    }
  }

  #checkOpen(wire: Wire): void {
    for (const iteration of this.#iterations) {
      iteration.vague ||= !iteration.heard && this.#world.now >= iteration.due;
      iteration.heard ||= iteration.granted && !wire.paused;
    }
    const { unsettled } = this.#client.stats;
    if (wire.paused && unsettled === 0) this.fail("nothing is read, though everything is settled");
    const { maxBuffered, receiveMaximum } = this.#settings;
    const isWaiting = [...this.#calls].some(({ name }) => AWAITING.test(name)) ||
      this.#iterations.some(({ waiting, done }) => waiting && !done);
    if (wire.paused && isWaiting && unsettled * LARGEST < maxBuffered) {
      this.fail("nothing is read, though the program waits for the broker");
    }
    if ((unsettled - 1) * 256 >= maxBuffered) this.fail(`${unsettled} messages are not settled`);
    if (!this.#wasAwaited && unsettled > Math.max(receiveMaximum, this.#unsettled)) {
      this.fail(`${unsettled} messages are not settled, and more is read`);
    }
    const pending = [...this.#workers.values()].map(({ pending }) => pending);
    if (unsettled < Math.max(...pending)) this.fail(`${unsettled} messages are not settled, and ${pending} promises`);
    if (!wire.paused) {
      for (const { vague, granted, left, exceeded, expected, limit, filter } of this.#iterations) {
        const isFull = exceeded && waitingFor(expected) > limit;
        if (!vague && granted && !left && isFull && !this.#wasAwaited) {
          this.fail(`${expected.length} messages wait for ${filter}, limit ${limit}, and more is read`);
        }
      }
    }
    const keepalive = this.#keepaliveOf(wire);
    const silent = this.#world.now - wire.lastWrite - this.#world.blocked;
    // Counted from when the write is known to be done, which may be late; a broker waits half as long again [MQTT-3.1.2-24].
    if (keepalive > 0 && !wire.writing && silent > keepalive * 1500) this.fail(`${silent} ms of silence`);
    // Where too many messages are unsettled the answer is not wanted, though the transport may read: no verdict then.
    const isFull = this.#iterations.some(({ expected, limit }) => waitingFor(expected) > limit >> 1);
    if (unsettled > receiveMaximum >> 1 || isFull) this.#fullAt = this.#world.now;
    if (keepalive > 0 && wire.fault === "half-open" && !wire.paused) {
      const since = Math.max(wire.faultAt, wire.resumedAt, this.#fullAt);
      const bound = 7 * keepalive * 1000 + 12_000 + this.#world.blocked;
      if (this.#world.now - since > bound) this.fail("a half-open connection is not noticed");
    }
  }

  /** The faults are over for long: a client that is still there works. */
  #checkQuiet(): void {
    const wire = this.#current;
    if (this.#end !== undefined || this.#left || wire === undefined) return;
    if (wire.fault !== "none") return;
    if (wire.closed || !wire.connacked) {
      if (this.#world.now - this.#lostAt > RECOVERY) this.fail("no connection though nothing is wrong");
      return;
    }
    if (!wire.writing) { // or else the network is slow
      if (this.#published.pending > 0) {
        this.fail(`${this.#published.pending} bytes are not sent though nothing is wrong`);
      }
      for (const { name } of this.#calls) {
        if (name.startsWith("publish")) this.fail(`${name} waits though there is room and nothing is wrong`);
      }
    }
    this.#asks.checkQuiet(this.#broker);
  }

  #conclude(): void {
    const end = this.#end;
    if (end === undefined) return this.fail("it does not end");
    if (!this.#lonely && this.#endCount === 0) this.fail("run() does not end");
    for (const error of this.#thrown) this.fail(`${error} does not surface`);
    for (const { name } of this.#calls) this.fail(`${name} does not settle`);
    for (const { name, error } of this.#ends) {
      if (error !== end && error !== this.#leftError) this.fail(`${name} fails with ${error}, run() ends with ${end}`);
    }
    if (this.#world.timers !== 0) this.fail("a timer is left");
    if (this.#dialing !== 0) this.fail("an attempt is left");
    if (this.#listeners !== 0) this.fail(`${this.#listeners} listeners are left on the signal`);
    for (const wire of this.#wires) if (!wire.closed) this.fail(`connection ${wire.index} is left open`);
    if ((end.code === "disconnect") !== this.#left && !this.#drains) this.fail(`the end is ${end.code}`);
    if (this.#aborted && !(end.cause instanceof Error)) this.#note(() => "aborted after disconnect()");
    if (!this.#left) this.#checkReason(end);
    for (const published of this.#published.all) this.#checkFate(published, end);
    if (this.#tellsRejected && this.#rejected.join() !== this.#toldRejected.join()) {
      this.fail(`${this.#rejected} were rejected, and ${this.#toldRejected} told as dropped`);
    }
  }

  /** An end has a reason. */
  #checkReason({ code }: Failure): void {
    const last = this.#current;
    const fault = last?.fault ?? "none";
    const reasons: Record<string, readonly string[]> = {
      socketclosed: ["fin", "reset", "goodbye", "refusal", "deaf", "stall", "forbids", "mute"],
      pingresp: ["half-open", "stall", "silent", "deaf", "garbage"],
      protocol: ["garbage"],
      unknowncp: ["garbage"],
      invalidresp: ["garbage"],
      overflow: ["garbage"],
      untrusted: ["none", fault],
    };
    this.#checkTold(code);
    if (
      typeof code === "number" ? fault === (isGoodbye(code) ? "goodbye" : "refusal") : reasons[code]?.includes(fault)
    ) return;
    if (code === "cannotconnect" && this.#dialFailed || code === "socketclosed" && last?.forbade) return;
    if (code === "pingresp" && this.#pingWaited) return;
    if (code === "timeout" && (this.#dialHung || !last?.connacked || this.#wires.length > 1)) return;
    this.fail(`it ends with ${code}, fault ${fault}`);
  }

  /** A broker of version 5 is told which mistake it has made, if there is time. */
  #checkTold(code: string | number): void {
    const wire = this.#current;
    const isMistake = code === "protocol" || code === "unknowncp" || code === "overflow" && wire?.fault === "garbage";
    if (!isMistake || wire?.version !== 5 || wire.goodbye !== undefined || wire.writing) return;
    this.fail(`the connection ends with ${code}, and the broker is not told`);
  }

  #checkFate({ seq, refused, arrived, wire }: Published, { code }: Failure): void {
    if (refused || arrived) return;
    if (wire !== undefined) {
      if (wire.fault !== "none") return;
      // Given up in time, or lost with a rejection.
      if (this.#leftError !== undefined || !this.#left && code !== "disconnect") return;
      if (this.#state(wire) !== "left" && wire !== this.#current) return;
      this.fail(`message ${seq} was sent and did not arrive, though nothing was wrong`);
    }
    if (!this.#left || this.#leftError !== undefined) return;
    this.fail(`message ${seq} was accepted and is lost, and nobody was told`);
  }
}

/** Whether a call may fail with that of its own accord. */
function isOwn(code: string | number): boolean {
  return isRefusal(code) || code === "timeout" || code === "overflow";
}

/** How many an iterator holds, apart from those that went with their connection. */
function waitingFor(expected: Iteration["expected"]): number {
  return expected.filter(({ wire }) => !(wire.closed && wire.paused)).length;
}
