/**
 * One history of the blocking client: a program of calls that a seed decides about, each of which lets virtual
 * time pass while it waits. After each call the invariants are looked at.
 *
 * Odd seeds speak version 5, or find out which version the broker has.
 */
import type { ConnectOptions, OnPublish } from "../../src/options.ts";
import type { Status } from "../../src/status.ts";
import type { Settings } from "../../src/client/settings.ts";
import type { SyncClient } from "../../src/client/sync_client.ts";
import type { MqttError } from "../../src/errors.ts";
import type { Message } from "../../src/message.ts";
import type { Empty, NaivePacket, Publish } from "../support/naive.ts";
import { Random } from "../support/random.ts";
import { Asks } from "./asks.ts";
import { Broker, chooseVersion, filterMatches, GOODBYES, isRefusal, numbered, numberOf, REFUSALS } from "./broker.ts";
import { checkConnect } from "./choices.ts";
import { FILTERS } from "./history.ts";
import type { Library } from "./library.ts";
import { type Outcome, Violation } from "./outcome.ts";
import { same, show } from "./packets.ts";
import { type Remote, RemoteThread, UNHEARD } from "./remote.ts";
import { refusesVersion, VersionModel } from "./versions.ts";
import { type Head, Wire } from "./wire.ts";
import { World } from "./world.ts";
import { Remote as RemoteConnection, type RemoteObserver } from "./remote.ts";

/** How much longer than it should a call may take, in milliseconds: what is due is looked at once more. */
const SLACK = 150;
const MOST_STEPS = 100_000;
/** What a message that waits counts besides its payload and properties. */
const EXTRA = 256;
/** How a connection may be lost that a flush() waits on. */
const LOSSES = ["socketclosed", "pingresp", "protocol", "unknowncp", "overflow", "timeout", ...GOODBYES];

interface Published {
  readonly seq: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly retain: boolean;
  /** Whether publish() has returned, or failed. */
  state: "asked" | "accepted" | "refused";
  remote: Remote | undefined;
  arrived: boolean;
  /** Whether a flush() has told that the broker has it, or that it may be lost. */
  told: boolean;
}

/** A message that the client was given. */
interface Expected {
  readonly sent: number;
  readonly remote: Remote;
  /** Whether it came during a disconnect() that drains: that need not hand it on. */
  readonly late: boolean;
}

/** Plays a seed's history to its end, and throws the first {@linkcode Violation}. */
export function playBlocking(seed: number, library: Library, log?: (line: string) => void): Outcome {
  return new BlockingHistory(seed, library, log).play();
}

class BlockingHistory implements RemoteObserver {
  readonly #random: Random;
  readonly #world: World;
  readonly #library: Library;
  readonly #log: ((line: string) => void) | undefined;
  readonly #settings: Settings;
  readonly #broker: Broker;
  readonly #thread: RemoteThread;
  readonly #asks: Asks;
  readonly #abort = new AbortController();
  readonly #horizon: number;
  /** Whether the network is gone for good: then even run() ends. */
  #isOver = false;
  readonly #wires: Wire[] = [];
  #remote: Remote | undefined;
  #client: SyncClient | undefined;
  #violation: Violation | undefined;
  /** The call that the program is making, and whether it may tell statuses. */
  #calling = "";
  #tells = false;
  #depth = 0;
  /** Milliseconds spent in calls, each counted once. */
  #within = 0;
  #end: MqttError | undefined;
  #left = false;
  /** Whether disconnect() drains now; whether another call has ended the client meanwhile. */
  #drains = false;
  #cuts = false;
  /** Why connections were lost, as far as anybody was told; whether a flush() was given up. */
  readonly #losses = new Set<unknown>();
  #gaveUpFlush = false;
  /** How long no byte has come or gone while flush() waits, at the most; since when none has. */
  #longestQuiet = 0;
  #quietSince = 0;
  /** How many messages a handler has thrown for. */
  #failures = 0;
  #leftError: unknown;
  /** Whether bytes were not sent when disconnect() closed the connection. */
  #unsent = false;
  readonly #statuses: Status[] = [];
  readonly #published: Published[] = [];
  #lastHanded = -1;
  #lastArrived = -1;
  /** Messages that the client was given, in order. */
  #expected: Expected[] = [];
  /** What was given to the program: a message may have several handlers. */
  readonly #taken = new WeakSet<Message>();
  #delivered = 0;
  #heads = 0;
  /** When an attempt failed last. */
  #failedAt = Infinity;
  /** When the delay of the next attempt is over. */
  #dialFrom = 0;
  #handlers = 0;
  readonly #thrown = new Set<unknown>();
  readonly #states = new Map<Remote, "used" | "left">();
  readonly #versions: VersionModel;
  /** When the attempt began, whatever version it tries; whether that is about to be made with the older one. */
  #attemptedAt = 0;
  #attemptBlocked = 0;
  #fallsBack = false;
  /** The UNSUBSCRIBE of the call that waits for its answer, and the first reason code from 128 on in that. */
  #givingUp: number | undefined;
  #refusal: number | undefined;

  constructor(seed: number, library: Library, log?: (line: string) => void) {
    const random = this.#random = new Random(seed);
    const world = this.#world = new World(random);
    this.#library = library;
    this.#log = log;
    this.#horizon = random.pick([3000, 10_000, 30_000]);
    const { version, ...speaking } = chooseVersion(random, seed);
    const op: ConnectOptions = {
      id: "simulated",
      version,
      ...version === 5 && { topicAliases: random.pick([0, 1, 100]) },
      session: random.chance(0.5),
      timeout: random.pick([2000, 10_000]),
      maxPacketSize: random.pick([200, 5000, 16 << 20]),
      maxBuffered: random.pick([2000, 100_000, 16 << 20]),
      receiveMaximum: random.pick([1, 2, 10, 1000]),
      ...random.chance(0.2) && { uname: random.pick(["user", () => "user"]) },
      ...random.chance(0.5) && { signal: this.#abort.signal },
      ...random.chance(0.75) && {
        reconnect: {
          minDelay: random.pick([random.int(1, 500), random.int(500, 5000)]),
          maxDelay: 5000,
          attempts: random.pick([3, Infinity]),
          stableAfter: random.pick([100, 3000]),
        },
      },
    };
    this.#note(() => `options ${JSON.stringify(op)}`);
    this.#settings = { ...library.parseSettings(op), pingPart: 0 };
    this.#broker = new Broker(world, random, {
      faults: random.pick([0, 0.5, 0.9]),
      refusals: random.pick([0, 0.1, 0.3]),
      forbids: random.chance(0.3),
      qos: false, // played in qos/
      ...speaking,
    });
    const fail = (what: string) => this.fail(what);
    this.#versions = new VersionModel(version, fail);
    const { maxPacketSize, topicAliases } = this.#settings;
    this.#asks = new Asks(world, this.#settings.timeout, fail);
    this.#thread = new RemoteThread(world, MOST_STEPS, (index) => {
      return this.#remote = new RemoteConnection({ index, maxPacketSize, topicAliases }, world, random, this);
    }, fail);
  }

  play(): Outcome {
    const { queueMicrotask } = globalThis;
    globalThis.queueMicrotask = (callback) => {
      try {
        callback();
      } catch (error) {
        if (!this.#thrown.delete(error)) this.fail(`${error} surfaces`);
      }
    };
    try {
      this.#script();
      this.#program();
      this.#world.pass(Infinity, () => false, MOST_STEPS);
      this.#conclude();
    } finally {
      globalThis.queueMicrotask = queueMicrotask;
    }
    if (this.#violation !== undefined) throw this.#violation;
    return {
      steps: this.#world.steps,
      code: this.#end?.code ?? "none",
      connections: this.#wires.length,
      faults: this.#wires.map(({ fault }) => fault),
      published: this.#published.length,
      delivered: this.#delivered,
      told: [
        ...new Set(this.#statuses.map(({ type }) => type)),
        ...this.#versions.fallBacks > 0 ? ["older version"] : [],
      ],
    };
  }

  fail(what: string): void {
    this.#note(() => `VIOLATION: ${what}`);
    this.#violation ??= new Violation(`${what} (at ${this.#world.now} ms)`);
  }

  #note(line: () => string): void {
    this.#log?.(`${String(Math.round(this.#world.now)).padStart(7)}  ${line()}`);
  }

  // ---- the network

  dial(opened: (wire: Wire) => void, failed: (error: MqttError) => void): void {
    const random = this.#random, world = this.#world, isFirst = this.#wires.length === 0;
    if (!this.#fallsBack) {
      this.#versions.begins();
      this.#attemptedAt = world.now;
      this.#attemptBlocked = world.blocked;
    }
    this.#fallsBack = false;
    if (world.now < this.#dialFrom) this.fail(`an attempt before ${this.#dialFrom} ms`);
    const faults = this.#broker.manners.faults / (isFirst ? 5 : 1);
    if (random.chance(faults * 0.1) && !this.#isOver) return this.#note(() => "dial hangs");
    world.after(random.size(200), () => {
      if (this.#isOver || random.chance(faults * 0.3)) {
        this.#failedAt = world.now;
        return failed(new this.#library.MqttError("cannotconnect", "Nobody listens"));
      }
      const trusted = random.pick([true, false, false, random.chance(faults) ? "untrusted" : true] as const);
      const { maxPacketSize, topicAliases } = this.#settings;
      const wire = new Wire({ index: this.#wires.length, trusted, maxPacketSize, topicAliases }, world, random, {
        ...UNHEARD,
        arrived: (wire, packets) => this.#arrived(wire, packets),
        socketClosed: (how) => new this.#library.MqttError("socketclosed", `The connection was closed: ${how}`),
        fail: (what) => this.fail(what),
      });
      this.#wires.push(wire);
      this.#broker.plan(wire);
      this.#note(() => `connection ${wire.index}, trusted ${trusted}`);
      opened(wire);
      this.#watch(wire);
    });
  }

  /** The thread sends the pings: that a connection is dead, it notices. */
  #watch(wire: Wire): void {
    const remote = this.#remote!;
    this.#world.after(4000, () => {
      if (wire.closed || remote.closed || remote.over !== undefined) return;
      const isDead = ["half-open", "silent", "stall"].includes(wire.fault) && this.#world.now - wire.faultAt > 8000;
      if (!isDead) return this.#watch(wire);
      remote.fail(new this.#library.MqttError("pingresp", "The broker did not answer PINGREQ"));
    });
  }

  wrote(remote: Remote, packets: NaivePacket[]): void {
    if (remote !== this.#remote) this.fail(`a write to connection ${remote.index}, which is an old one`);
    if (this.#end !== undefined) this.fail("a write after the end");
    for (const packet of packets) {
      this.#note(() => `< ${remote.index} ${show(packet)}`);
      const state = this.#states.get(remote);
      if ((packet.type === "CONNECT") !== (state === undefined)) this.fail(`${packet.type} in the wrong place`);
      if (packet.type !== "CONNECT" && !remote.connacked) this.fail(`${packet.type} before CONNACK`);
      if (state === "left") this.fail(`${packet.type} after DISCONNECT`);
      this.#states.set(remote, packet.type === "DISCONNECT" ? "left" : "used");
      this.#send(remote, packet);
    }
  }

  #send(remote: Remote, packet: NaivePacket): void {
    switch (packet.type) {
      case "CONNECT":
        this.#versions.connects(remote.version);
        checkConnect(packet, this.#settings, remote.version, (what) => this.fail(what));
        return this.#asks.connecting(remote);
      case "SUBSCRIBE":
      case "UNSUBSCRIBE":
        if (packet.type === "UNSUBSCRIBE" && this.#calling === "unsubscribe") this.#givingUp = packet.packetId;
        return this.#asks.wrote(remote, packet);
      case "DISCONNECT":
        return this.#sendDisconnect(remote, packet);
      case "PUBLISH":
        return this.#handOver(remote, packet);
    }
  }

  /** The program leaves; or, with version 5, the broker has made a mistake, and is told which. */
  #sendDisconnect(remote: Remote, { code = 0 }: Empty): void {
    remote.goodbye = code;
    const mistake = remote.wire?.garbageReason;
    if (code !== 0 && code !== mistake) this.fail(`DISCONNECT with ${code}, and the mistake is ${mistake}`);
    if (code === 0 && !this.#left && !this.#drains) this.fail("DISCONNECT that nobody asked for");
  }

  #handOver(remote: Remote, { topic, payload, retain }: Publish): void {
    const seq = numberOf(payload), published = this.#published[seq];
    if (published === undefined) return this.fail(`a message that nobody published: ${seq}`);
    if (topic !== published.topic || retain !== published.retain || !same(payload, published.payload)) {
      this.fail(`message ${seq} is garbled`);
    }
    if (published.state === "refused") this.fail(`message ${seq} is sent although it was refused`);
    if (seq <= this.#lastHanded) this.fail(`message ${seq} is sent after ${this.#lastHanded}`);
    const missing = this.#asks.missing(remote);
    if (missing !== undefined) this.fail(`message ${seq} goes before the subscription to ${missing}`);
    this.#lastHanded = seq;
    published.remote = remote;
  }

  #arrived(wire: Wire, packets: NaivePacket[]): void {
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

  read(remote: Remote, packet: NaivePacket): void {
    this.#note(() => `> ${remote.index} ${show(packet)}`);
    switch (packet.type) {
      case "CONNACK":
        remote.isTooNew = refusesVersion(packet.code);
        if (packet.code !== 0 || remote.connacked) return;
        this.#versions.accepted(remote.version);
        remote.connacked = remote.wire!.connacked = true;
        remote.sessionPresent = packet.sessionPresent;
        return this.#asks.connected(remote, packet.sessionPresent);
      case "SUBACK":
      case "UNSUBACK":
        if (packet.type === "UNSUBACK" && packet.packetId === this.#givingUp) {
          this.#refusal = packet.codes?.find((code) => code >= 128);
        }
        return this.#asks.answered(remote, packet);
      case "PUBLISH": {
        const sent = this.#broker.sent[numberOf(packet.payload)]!;
        if (this.#left) return;
        this.#expected.push({ sent: sent.seq, remote, late: this.#drains });
      }
    }
  }

  readHead(remote: Remote, { qos, packetId, size }: Head): void {
    this.#note(() => `> ${remote.index} PUBLISH qos ${qos} id ${packetId}, ${size} bytes: too many`);
    if (this.#left) return;
    this.#heads++;
  }

  passes({ connacked }: Remote): void {
    if (!connacked) return;
    this.#longestQuiet = Math.max(this.#longestQuiet, this.#world.now - this.#quietSince);
    this.#quietSince = this.#world.now;
  }

  gone(remote: Remote): void {
    this.#note(() => `connection ${remote.index} is gone, fault ${remote.wire?.fault}`);
    this.#asks.gone(remote);
    this.#givingUp = undefined;
    const version = this.#states.has(remote) ? remote.version : undefined;
    const isTooNew = remote.isTooNew || remote.wasLost && remote.over?.code === "socketclosed";
    this.#fallsBack = !remote.connacked && this.#versions.failed({ version, isTooNew });
    const { status } = this.#client ?? {};
    const isLeaving = this.#calling === "disconnect" ||
      this.#calling === "drain" && status?.type === "closed" && status.error.code === "disconnect";
    if (isLeaving && remote.unsent > 0) this.#unsent = true;
    this.#losses.add(remote.over);
    this.lost();
  }

  /** What the client makes of that: with version 5 it may have told the broker of a mistake before. */
  lost(): void {
    const { status } = this.#client ?? {};
    if (status?.type !== "waiting") return;
    this.#losses.add(status.error);
    this.#dialFrom = this.#world.now + status.delay;
  }

  // ---- the program

  #script(): void {
    const random = this.#random, world = this.#world;
    for (let i = random.int(0, 15); i > 0; i--) {
      const longest = random.pick([20, 20, 6000]);
      world.after(random.int(0, this.#horizon), () => this.#broker.publish(random.int(1, 20), longest));
    }
    world.after(this.#horizon, () => {
      this.#note(() => "the faults end");
      Object.assign(this.#broker.manners, { faults: 0, refusals: 0, forbids: false });
    });
  }

  #program(): void {
    const { timeout, signal } = this.#settings, { SyncClient } = this.#library;
    this.#call("connect", timeout, () => {
      this.#client = new SyncClient(this.#settings, {
        onpub: (_, message) => this.#handle(["#"], message),
        onstatus: (status) => this.#hearStatus(status),
        thread: this.#thread,
        clock: this.#world.clock,
      });
    });
    if (this.#world.now > this.#failedAt + SLACK) this.fail("connect() does not hear that nobody listens");
    const client = this.#client;
    if (client === undefined) return;
    while (this.#world.now < this.#horizon && !this.#isEnded) this.#act(client);
    // Then the faults end: whatever can still be done must get done.
    const quiet = Math.max(this.#horizon, this.#world.now) + 60_000;
    while (this.#world.now < quiet && !this.#isEnded) this.#receive(client, Math.ceil(quiet - this.#world.now));
    if (!this.#isEnded) this.#checkQuiet(client);
    if (signal !== undefined && this.#random.chance(0.3)) this.#abortAll();
    this.#disconnect(client);
    this.#afterwards(client);
  }

  get #isEnded(): boolean {
    return this.#left || this.#end !== undefined;
  }

  #act(client: SyncClient): void {
    const random = this.#random;
    switch (random.int(0, 15)) {
      case 0:
      case 1:
      case 2:
        return this.#subscribe(client);
      case 3:
      case 4:
        return this.#unsubscribe(client);
      case 5:
      case 6:
      case 7:
        return void this.#receive(client, random.pick([0, 0, 1, 100, 3000]));
      case 8:
        return this.#sleep(random.pick([1, 100, 5000, 15_000]));
      case 9:
        return this.#run(client);
      case 10:
        if (random.chance(0.1)) return random.chance(0.5) ? this.#disconnect(client) : this.#drain(client);
        return this.#flush(client);
      case 11:
        if (random.chance(0.1)) this.#abortAll();
        return;
      default:
        for (let i = random.int(1, 10); i > 0; i--) this.#publish(client);
    }
  }

  /** The program computes: nobody looks at the connection. */
  #sleep(milliseconds: number): void {
    this.#note(() => `computes for ${milliseconds} ms`);
    this.#world.blocked += milliseconds;
    this.#world.pass(this.#world.now + milliseconds, () => false, MOST_STEPS);
  }

  /** Makes a call: it returns in time, and fails with what it may fail with. Undefined when it has failed. */
  #call<T>(name: string, bound: number, make: () => T, codes: readonly (string | number)[] = []): T | undefined {
    const at = this.#world.now, within = this.#within, outer = this.#calling, tells = this.#tells;
    this.#note(() => `${name}()`);
    this.#calling = name;
    this.#tells = name === "run" || name === "receive" || name === "drain";
    try {
      const result = make();
      this.#note(() => `${name}() done`);
      return result;
    } catch (error) {
      this.#failed(name, error, codes);
      return undefined;
    } finally {
      this.#calling = outer;
      this.#tells = tells;
      const took = this.#world.now - at - (this.#within - within);
      this.#within += took;
      if (took > bound + SLACK) this.fail(`${name}() takes ${took} ms, bound ${bound}`);
      this.#check();
    }
  }

  #failed(name: string, error: unknown, codes: readonly (string | number)[]): void {
    this.#note(() => `${name}() throws ${error}`);
    if (this.#violation !== undefined) throw this.#violation;
    if (this.#thrown.has(error)) throw error;
    if (!(error instanceof this.#library.MqttError)) throw error;
    const { status } = this.#client ?? {};
    if (name === "connect" || status?.type === "closed" && status.error === error) this.#end ??= error;
    if (this.#end !== undefined) {
      if (error !== this.#end && name !== "disconnect" && name !== "drain" && !codes.includes(error.code)) {
        this.fail(`${name}() fails with ${error}, and the end is ${this.#end}`);
      }
    } else if (!codes.includes(error.code) && !["subscribe", "disconnect", "drain"].includes(name)) {
      this.fail(`${name}() fails with ${error}`);
    }
    this.#checkHeldUp(name, error);
  }

  #publish(client: SyncClient): void {
    const random = this.#random;
    const seq = this.#published.length;
    const published: Published = {
      seq,
      topic: `up/${seq % 5}`,
      payload: numbered(seq, 4 + random.size(random.pick([100, 100, 20_000]))),
      retain: random.chance(0.1),
      state: "asked",
      remote: undefined,
      arrived: false,
      told: false,
    };
    this.#published.push(published);
    this.#call("publish", this.#settings.timeout, () => {
      client.publish(published.topic, published.payload.slice(), { retain: published.retain });
      published.state = "accepted";
    }, ["timeout", "overflow"]);
    if (published.state === "accepted") {
      // It may be behind what was written just now.
      const before = this.#published[seq - 1];
      if (before?.state === "accepted" && before.remote === undefined && published.remote === undefined) {
        this.fail(`publish() returned, and messages ${seq - 1} and ${seq} wait`);
      }
      return;
    }
    published.state = "refused";
    if (published.remote !== undefined) this.fail(`message ${seq} was sent and refused`);
  }

  #subscribe(client: SyncClient): void {
    const random = this.#random;
    const filters = [...new Set([random.pick(FILTERS), random.pick(FILTERS)])];
    if (random.chance(0.6)) filters.splice(random.int(0, filters.length), 0, this.#asks.ownFilter());
    const onpub: OnPublish | undefined = random.chance(0.5)
      ? (_, message) => this.#handle(filters, message)
      : undefined;
    this.#note(() => `subscribe ${filters}`);
    const ask = this.#asks.ask(filters, true);
    let code: string | number | undefined = "failed";
    this.#call("subscribe", this.#settings.timeout, () => {
      try {
        client.subscribe(filters, onpub === undefined ? {} : { onpub });
        code = undefined;
      } catch (error) {
        code = (error as MqttError).code;
        throw error;
      } finally {
        this.#asks.settled(ask, code);
      }
    }, [...REFUSALS, "timeout", "overflow"]);
    const isKnown = code === undefined || isRefusal(code) || code === "timeout" || code === "overflow";
    if (!isKnown && this.#end === undefined && ask.lost < 2) this.fail(`subscribe() fails with ${code}`);
  }

  #unsubscribe(client: SyncClient): void {
    const random = this.#random;
    const some = Array.from({ length: random.int(1, 3) }, () => random.pick([...FILTERS, ...this.#asks.ownFilters]));
    const filters = [...new Set(some)];
    this.#note(() => `unsubscribe ${filters}`);
    const given = this.#asks.giveUp(filters);
    const isAway = () => !this.#remote?.connacked || this.#remote.closed;
    const wasAway = isAway(), at = this.#world.now;
    let code: string | number | undefined;
    this.#givingUp = this.#refusal = undefined;
    const isDone = this.#call("unsubscribe", this.#settings.timeout, () => {
      try {
        client.unsubscribe(filters);
        return true;
      } catch (error) {
        code = (error as MqttError).code;
        throw error;
      }
    }, [...REFUSALS, "timeout", "overflow"]);
    if ((isRefusal(code ?? 0) ? code : undefined) !== this.#refusal) {
      this.fail(`unsubscribe() ends with ${code}, and the broker has said ${this.#refusal}`);
    }
    if (wasAway && this.#world.now > at) this.fail("unsubscribe() waits though there is no connection");
    if (isDone) this.#asks.gaveUp(given, isAway());
  }

  /** Whether there was a message. */
  #receive(client: SyncClient, timeout: number): boolean {
    const message = this.#call("receive", timeout, () => client.receive(timeout));
    if (message !== undefined) this.#take(message);
    return message !== undefined;
  }

  // ---- what waits for the program

  /** What a message counts while it waits, in bytes. */
  #weightOf({ sent }: Expected): number {
    const { payload, propertiesSize } = this.#broker.sent[sent]!;
    return payload.length + propertiesSize + EXTRA;
  }

  /** Whether all that has come may wait. */
  get #canKeepAll(): boolean {
    return this.#expected.reduce((sum, expected) => sum + this.#weightOf(expected), 0) < this.#settings.maxBuffered;
  }

  /** Whether what waits is surely the first of what has come: none of it was lost with its connection. */
  get #isKeptKnown(): boolean {
    return this.#expected.every(({ remote, late }) => !remote.closed && !late);
  }

  /** The bytes that wait, and those without the last message; undefined when they are not known. */
  get #kept(): { all: number; before: number } | undefined {
    const { unsettled } = this.#client!.stats;
    if (!this.#isKeptKnown) return undefined;
    const weights = this.#expected.slice(0, unsettled).map((expected) => this.#weightOf(expected));
    const all = weights.reduce((sum, weight) => sum + weight, 0);
    return { all, before: all - (weights.at(-1) ?? 0) };
  }

  /** A call has failed: that messages wait for the program is the reason if and only if there is no room for more. */
  #checkHeldUp(name: string, error: MqttError): void {
    const { maxBuffered } = this.#settings, kept = this.#client === undefined ? undefined : this.#kept;
    if (kept === undefined || error === this.#end || this.#isLoss(error)) return;
    const isFull = kept.all >= maxBuffered;
    const isHeldUp = error.code === "overflow" && /wait for run|not settled/.test(error.message);
    if (isHeldUp && !isFull) this.fail(`${name}() fails with ${error}, and ${kept.all} bytes wait`);
    const isOfBroker = ["publish", "subscribe", "unsubscribe", "flush"].includes(name);
    if (error.code === "timeout" && isOfBroker && isFull) {
      this.fail(`${name}() fails with ${error}, and ${kept.all} bytes wait to be taken`);
    }
  }

  #checkKept(client: SyncClient): void {
    const { maxBuffered } = this.#settings, { unsettled, failed } = client.stats;
    if (unsettled > this.#expected.length) this.fail(`${unsettled} messages wait, and ${this.#expected.length} came`);
    const before = this.#kept?.before ?? (unsettled - 1) * EXTRA;
    if (before >= maxBuffered) this.fail(`more waits than ${before} bytes`);
    if (failed !== this.#failures) this.fail(`${this.#failures} handlers failed, and ${failed} are counted`);
  }

  /** Handles messages until a handler has enough, or until the connections end, which they do some time. */
  #run(client: SyncClient): void {
    const random = this.#random, world = this.#world;
    if (this.#depth > 0 || this.#settings.reconnect?.attempts === Infinity) return;
    const before = this.#broker.manners.faults;
    let runs = true;
    const longest = random.pick([100, 3000, 20_000]);
    world.after(longest, () => {
      if (!runs) return;
      this.#note(() => "the network is gone for good");
      this.#isOver = true;
      for (const wire of this.#wires) {
        if (wire.closed) continue;
        wire.fault = "reset";
        wire.reset();
      }
    });
    try {
      const end = this.#call("run", longest + 120_000, () => client.run());
      this.#end ??= end;
      if (end !== this.#end) this.fail(`run() ends with ${end}, instead of ${this.#end}`);
    } catch (error) {
      if (!this.#thrown.delete(error)) throw error;
    }
    runs = false;
    this.#note(() => `run() is over, faults ${before}`);
  }

  /** A handler gets a message: it may do anything but wait for messages. */
  #handle(filters: readonly string[], message: Message): void {
    const random = this.#random, client = this.#client!;
    if (this.#calling !== "run" && this.#calling !== "drain") {
      this.fail(`a handler is called in ${this.#calling}()`);
    }
    if (!filters.some((filter) => filterMatches(filter, message.topic))) {
      this.fail(`a message to ${message.topic} is handled for ${filters}`);
    }
    if (!this.#taken.has(message)) this.#take(message);
    if (this.#depth > 0 || this.#isEnded) return;
    this.#depth++;
    if (random.chance(0.3)) this.#publish(client);
    if (random.chance(0.1)) this.#subscribe(client);
    if (random.chance(0.1)) this.#unsubscribe(client);
    if (random.chance(0.1)) this.#flush(client);
    if (random.chance(0.03)) this.#disconnect(client);
    if (random.chance(0.03)) this.#drain(client);
    this.#depth--;
    if (!random.chance(0.1)) return;
    this.#failures++;
    const problem = new Error("the program's own");
    this.#thrown.add(problem);
    throw problem;
  }

  #take(message: Message): void {
    const { topic, payload, qos, retain } = message, seq = numberOf(payload), sent = this.#broker.sent[seq];
    this.#delivered++;
    this.#note(() => `message ${seq} is taken`);
    this.#taken.add(message);
    if (sent?.topic !== topic || sent.qos !== qos || sent.retain !== retain || !same(payload, sent.payload)) {
      this.fail(`message ${seq} is garbled`);
    }
    let next = this.#expected.shift();
    for (; next?.sent !== seq; next = this.#expected.shift()) {
      if (next === undefined) return this.fail(`message ${seq} is taken, which did not come now`);
      this.#missed(next);
    }
    if (this.#drains && next.late) this.fail(`message ${seq} came after disconnect({ drain: true }), and is handled`);
  }

  /** What the client was given and nobody got: it was not decoded when the connection was lost, as too much waited. */
  #missed({ sent, remote, late }: Expected): void {
    if (remote.closed && this.#settings.maxBuffered < 16 << 20 || this.#left || late) return;
    this.fail(`message ${sent} is lost`);
  }

  /** Whether an error is that of a lost connection; it may say, behind that, that another client may have taken the session over. */
  #isLoss(error: unknown): boolean {
    if (this.#losses.has(error)) return true;
    const { code, message } = error as MqttError;
    return [...this.#losses].some((loss) => {
      const lost = loss as MqttError;
      return lost?.code === code && message.startsWith(`${lost.message}, `);
    });
  }

  /** All that was published before is with the broker when that returns, or was told to be lost. */
  #flush(client: SyncClient): void {
    const before = this.#published.slice(), at = this.#world.now;
    this.#longestQuiet = 0;
    this.#quietSince = at;
    let error: MqttError | undefined;
    this.#call("flush", Infinity, () => {
      try {
        client.flush();
      } catch (thrown) {
        error = thrown as MqttError;
        throw thrown;
      }
    }, LOSSES);
    const { timeout } = this.#settings, quiet = this.#world.now - this.#quietSince;
    this.#longestQuiet = Math.max(this.#longestQuiet, quiet);
    if (this.#longestQuiet > timeout + SLACK) {
      this.fail(`flush() waits though no byte came for ${this.#longestQuiet} ms`);
    }
    const lost = this.#published.filter(({ remote, told }) => remote?.closed && !told);
    if (error === undefined) {
      // Who was given up by one flush() may have had its answer before the connection was lost.
      const missing = before.find(({ state, arrived, told }) => state === "accepted" && !arrived && !told) ??
        (this.#gaveUpFlush ? undefined : lost.find(({ seq }) => seq < before.length));
      if (missing !== undefined) this.fail(`flush() returns, and message ${missing.seq} may be lost`);
      for (const published of before) published.told = true;
    } else if (this.#isLoss(error)) {
      if (lost.length === 0 && error !== this.#end) this.fail(`flush() fails with ${error}, and nothing is lost`);
    } else if (error.code === "timeout") {
      this.#gaveUpFlush = true;
      if (quiet < timeout && error !== this.#end) this.fail(`flush() fails after ${quiet} ms without a byte`);
    } else if (error.code !== "overflow" && error !== this.#end) {
      this.fail(`flush() fails with ${error}`);
    }
    for (const published of lost) published.told = true;
  }

  #disconnect(client: SyncClient): void {
    this.#cuts = true;
    this.#left ||= this.#end === undefined;
    this.#call("disconnect", this.#settings.timeout + 1000, () => this.#leave(() => client.disconnect()));
    this.#checkLeft(client);
  }

  /** What was received is handled before that returns, and nothing more. */
  #drain(client: SyncClient): void {
    if (this.#drains) return void this.#call("drain", 0, () => client.disconnect({ drain: true }));
    const wasLeft = this.#left;
    const owed = this.#expected.slice(0, this.#canKeepAll ? Infinity : this.#isKeptKnown ? client.stats.unsettled : 0);
    this.#cuts = false;
    this.#drains = true;
    const bound = this.#settings.timeout + 1000;
    this.#call("drain", bound, () => this.#leave(() => client.disconnect({ drain: true })));
    this.#drains = false;
    const { status } = client;
    this.#left ||= this.#end === undefined && status.type === "closed" && status.error.code === "disconnect";
    this.#checkLeft(client);
    if (wasLeft || this.#cuts) return;
    const lost = owed.find((owed) => this.#expected.includes(owed) && !owed.late);
    if (lost !== undefined) this.fail(`disconnect({ drain: true }) returns, and message ${lost.sent} is not handled`);
  }

  #leave(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#leftError = error;
      throw error;
    }
  }

  #checkLeft(client: SyncClient): void {
    if (this.#unsent && this.#leftError === undefined) this.fail("disconnect() does not tell that bytes were not sent");
    const { status } = client;
    if (status.type !== "closed") return this.fail(`the status is ${status.type} after disconnect()`);
    this.#end ??= status.error;
    if (this.#left && this.#end.code !== "disconnect") this.fail(`the end is ${this.#end} after disconnect()`);
  }

  #abortAll(): void {
    if (this.#settings.signal === undefined) return;
    this.#left ||= this.#end === undefined;
    this.#leftError ??= "unknown"; // what it could not send, nobody is told
    this.#call("abort", this.#settings.timeout + 1000, () => this.#abort.abort(new Error("enough")));
    const { status } = this.#client!;
    if (status.type !== "closed") return this.fail(`the status is ${status.type} after abort()`);
    this.#end ??= status.error;
  }

  /** After the end every call fails with its error, once all messages are taken. */
  #afterwards(client: SyncClient): void {
    while (this.#receive(client, 0));
    for (const missed of this.#expected.splice(0)) this.#missed(missed);
    const calls: (() => unknown)[] = [
      () => client.publish("t", "x"),
      () => client.subscribe("t"),
      () => client.unsubscribe("t"),
      () => client.receive(),
      () => client.flush(),
    ];
    for (const call of calls) {
      try {
        call();
        this.fail("a call after the end returns");
      } catch (error) {
        if (error !== this.#end) this.fail(`a call after the end throws ${error}, and the end is ${this.#end}`);
      }
    }
    if (this.#call("run", 0, () => client.run()) !== this.#end) this.fail("run() tells another end");
    this.#call("disconnect", 0, () => client.disconnect());
    this.#checkStatuses();
  }

  #hearStatus(status: Status): void {
    this.#note(() => `status ${JSON.stringify(status)}`);
    if (!this.#tells) this.fail(`${status.type} is told in ${this.#calling}()`);
    this.#statuses.push(status);
  }

  // ---- what must hold

  #check(): void {
    if (this.#client !== undefined) this.#checkKept(this.#client);
    this.#asks.check({ told: false, left: this.#left });
    const late = this.#world.now - this.#attemptedAt - (this.#world.blocked - this.#attemptBlocked);
    const isConnecting = this.#client?.status.type === "connecting";
    if (isConnecting && late > this.#settings.timeout + SLACK) this.fail(`an attempt takes ${late} ms`);
    if (this.#violation !== undefined) throw this.#violation;
  }

  /** The faults are over for long: a client that is still there works. */
  #checkQuiet(client: SyncClient): void {
    const remote = this.#remote!;
    const { wire } = remote;
    if (wire === undefined || wire.fault !== "none") return;
    if (remote.closed || !remote.connacked) return this.fail("no connection though nothing is wrong");
    if (client.status.type !== "connected") this.fail(`the status is ${client.status.type}`);
    this.#asks.checkQuiet(this.#broker);
    for (const missed of this.#expected.splice(0)) this.#missed(missed);
    if (wire.writing || remote.unsent > 0) return;
    for (const { seq, state, remote } of this.#published) {
      if (state === "accepted" && remote === undefined) this.fail(`message ${seq} is not sent though nothing is wrong`);
    }
    if (this.#wires.length === 1 && client.stats.dropped !== this.#heads) {
      this.fail(`${this.#heads} messages were too long, and ${client.stats.dropped} are counted`);
    }
  }

  #checkStatuses(): void {
    const asides = ["refused", "dropped", "stalled"];
    const all = this.#statuses.map(({ type }) => type).filter((type) => !asides.includes(type));
    const text = all.join(" ");
    if (
      !/^connecting( connecting)?( connected)?( waiting connecting( connecting)?( connected)?)*( waiting)? closed$/
        .test(text)
    ) this.fail(`it told ${text}`);
    const fallBacks = text.split("connecting connecting").length - 1;
    if (fallBacks > this.#versions.fallBacks) this.fail(`it told ${fallBacks} times that it tries the older version`);
    let attempts = 0, before = "";
    for (const status of this.#statuses) {
      if (asides.includes(status.type)) continue;
      if (status.type === "connected") attempts = 0;
      if (status.type === "connecting" && before !== "connecting") attempts++;
      if (status.type === "connecting" && status.attempt !== attempts) this.fail(`attempt ${status.attempt}`);
      before = status.type;
    }
    const last = this.#statuses.at(-1)!;
    if (last.type === "closed" && last.error !== this.#end) this.fail("closed is told with another error");
    const dropped = this.#statuses.filter(({ type }) => type === "dropped").length;
    if (dropped !== this.#client!.stats.dropped) this.fail(`${dropped} dropped messages are told`);
  }

  #conclude(): void {
    for (const remote of this.#thread.remotes) if (!remote.closed) this.fail(`connection ${remote.index} is left open`);
    for (const wire of this.#wires) if (!wire.closed) this.fail(`the socket of connection ${wire.index} is left open`);
    if (this.#world.timers > 0) this.fail("a timer is left");
    for (const published of this.#published) this.#checkFate(published);
  }

  #checkFate({ seq, state, arrived, remote }: Published): void {
    if (state !== "accepted" || arrived || !this.#left || this.#leftError !== undefined) return;
    if (remote === undefined) return this.fail(`message ${seq} was accepted and is lost, and nobody was told`);
    if (remote.wire?.fault !== "none" || remote !== this.#remote) return;
    this.fail(`message ${seq} was sent and did not arrive, though nothing was wrong`);
  }
}
