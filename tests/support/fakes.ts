/** A world for the client's loop without sockets and without time: what happens, happens when the test says so. */
import { assert, assertEquals } from "@std/assert";
import type { ConnectOptions, OnPublish } from "../../src/options.ts";
import { LoopClient } from "../../src/client/loop_client.ts";
import type { Clock } from "../../src/client/clock.ts";
import { type Deferred, deferred } from "../../src/deferred.ts";
import { MqttError } from "../../src/errors.ts";
import { parseSettings } from "../../src/client/settings.ts";
import type { Trust } from "../../src/session/trust.ts";
import type { Dial, Sink, Transport } from "../../src/transport/transport.ts";
import { assertBytes, bytes, join } from "./bytes.ts";
import { type NaivePacket, NaiveReader } from "./naive.ts";

export const CONNACK = "20 02 00 00";

/** Time that passes when it is told to. */
export class FakeClock implements Clock {
  #now = 5000;
  #ticks: (() => void)[] = [];
  readonly timers: Set<{ at: number; callback: () => void }> = new Set();
  /** What `random` gives. */
  chance = 1;

  now(): number {
    return this.#now;
  }

  wall(): number {
    return 1_700_000_000_000 + this.#now;
  }

  wait(callback: () => void, milliseconds: number): () => void {
    const timer = { at: this.#now + milliseconds, callback };
    this.timers.add(timer);
    return () => this.timers.delete(timer);
  }

  tick(callback: () => void): void {
    this.#ticks.push(callback);
  }

  random(): number {
    return this.chance;
  }

  /** Until nothing moves any more without time: all that was awaited has gone on, as far as it can. */
  async settle(): Promise<void> {
    for (;;) {
      for (let turn = 0; turn < 30; turn++) await undefined;
      const ticks = this.#ticks.splice(0);
      if (ticks.length === 0) return;
      for (const tick of ticks) tick();
    }
  }

  /** Lets time pass; timers ring on time. */
  async advance(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    await this.settle();
    for (;;) {
      const [next] = [...this.timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.at);
      this.timers.delete(next);
      next.callback();
      await this.settle();
    }
    this.#now = end;
  }

  /** Lets time pass in which nothing runs: a laptop that sleeps, a thread that is blocked. Timers ring late. */
  async sleep(milliseconds: number): Promise<void> {
    await this.settle();
    this.#now += milliseconds;
    await this.advance(0);
  }
}

/** A connection, with the broker's end of it in the hands of the test. */
export class FakeTransport implements Transport {
  readonly sock = { fake: "socket" };
  readonly trusted: Trust;
  readonly #reader = new NaiveReader();
  #sink: Sink | undefined;
  /** What was given to `write` and has not gone out, and a copy. */
  #flying: { bytes: Uint8Array; copy: Uint8Array } | undefined;
  #paused = false;
  #waiting: Uint8Array[] = [];
  /** Whether writes go out by themselves; otherwise with `flush`. */
  flows = true;
  /** Each write, as it went out. */
  readonly writes: Uint8Array[] = [];
  /** What went out and was not asked for with `packets`. */
  #heard: NaivePacket[] = [];
  closed = false;
  ended = false;
  resumed = 0;
  /** What a transport must not be asked for. */
  readonly mistakes: string[] = [];

  constructor(trusted: Trust = false) {
    this.trusted = trusted;
  }

  start(sink: Sink): void {
    this.#check(this.#sink === undefined, "started twice");
    this.#check(!this.closed, "started after close");
    this.#sink = sink;
    this.started();
  }

  /** Called in start(). */
  started: () => void = () => {};

  write(given: Uint8Array): boolean {
    this.#check(!this.closed, "write after close");
    this.#check(!this.ended, "write after end");
    this.#check(this.#flying === undefined, "write before the last one was written");
    this.#check(given.length > 0, "write of nothing");
    this.#flying = { bytes: given, copy: given.slice() };
    if (this.flows) queueMicrotask(() => this.flush());
    return false;
  }

  resume(): void {
    this.resumed++;
    this.#paused = false;
    while (!this.#paused && this.#waiting.length > 0) this.#give(this.#waiting.shift()!);
  }

  end(): void {
    this.#check(this.#flying === undefined, "end before the last write was written");
    this.ended = true;
  }

  close(): void {
    this.closed = true;
  }

  #check(holds: boolean, mistake: string): void {
    if (!holds) this.mistakes.push(mistake);
  }

  /** Whether a write waits for `flush`. */
  get flying(): boolean {
    return this.#flying !== undefined;
  }

  /** Whether the client has asked for no more. */
  get paused(): boolean {
    return this.#paused;
  }

  /** What was written goes out. */
  flush(): void {
    const flying = this.#flying;
    if (flying === undefined || this.closed) return;
    assertBytes(flying.bytes, flying.copy, "written while it was being sent");
    this.#flying = undefined;
    this.writes.push(flying.copy);
    this.#heard.push(...this.#reader.push(flying.copy));
    this.#sink?.written();
  }

  /** The packets that went out since it was asked last. */
  packets(): NaivePacket[] {
    return this.#heard.splice(0);
  }

  /** Their names, with what tells them apart. */
  said(): string[] {
    return this.packets().map((packet) => {
      switch (packet.type) {
        case "PUBLISH":
          return `PUBLISH ${packet.topic}`;
        case "SUBSCRIBE":
          return `SUBSCRIBE ${packet.packetId} ${packet.filters.map(({ topic }) => topic)}`;
        case "UNSUBSCRIBE":
          return `UNSUBSCRIBE ${packet.packetId} ${packet.filters}`;
        default:
          return packet.type;
      }
    });
  }

  /** The broker sends. */
  send(...literals: (string | Uint8Array)[]): void {
    const chunk = join(literals.map((literal) => typeof literal === "string" ? bytes(literal) : literal));
    if (this.#paused || this.#waiting.length > 0) this.#waiting.push(chunk);
    else this.#give(chunk);
  }

  #give(chunk: Uint8Array): void {
    if (this.closed || this.#sink === undefined) return;
    if (!this.#sink.received(chunk.slice(), chunk.length)) this.#paused = true;
  }

  /** The connection breaks. */
  break(error: MqttError = new MqttError("socketclosed", "The connection was closed by the broker")): void {
    const sink = this.#sink;
    this.#sink = undefined;
    if (!this.closed) sink?.closed(error);
  }
}

/** A client, its clock, and the connections it makes. */
export class World {
  readonly clock: FakeClock = new FakeClock();
  readonly client: LoopClient;
  readonly transports: FakeTransport[] = [];
  /** The signals of all attempts. */
  readonly signals: AbortSignal[] = [];
  /** What onpub heard. */
  readonly heard: string[] = [];
  /** What an attempt does; by default it succeeds at once. */
  dial: Dial = () => Promise.resolve(this.add(new FakeTransport()));
  opened: Promise<number | undefined> | undefined;
  /** Settled when the client has its first connection. */
  readonly opening: Deferred<number | undefined> = deferred();
  /** Hints that the network has changed; undefined when the client does not hear it any more. */
  hint: (() => void) | undefined;

  /** `listens`: somebody hears of the end, so that it does not surface. */
  constructor(op: ConnectOptions = {}, onpub?: OnPublish | null, listens = true) {
    const settings = parseSettings({ id: "ID", ...op });
    const listen: OnPublish = (topic, message) => void this.heard.push(`${topic}: ${message}`);
    this.client = new LoopClient(settings, {
      dial: (signal) => {
        this.signals.push(signal);
        return this.dial(signal);
      },
      onpub: onpub === null ? undefined : onpub ?? listen,
      onstatus: op.onstatus,
      clock: this.clock,
      hints: (wake) => {
        this.hint = wake;
        return () => this.hint = undefined;
      },
    }, this.opening);
    if (listens) void this.client.run();
  }

  /** A client whose broker has accepted it. */
  static async open(op: ConnectOptions = {}, onpub?: OnPublish | null, listens = true): Promise<World> {
    const world = new World(op, onpub, listens);
    await world.start();
    world.broker.send(CONNACK);
    await world.opened;
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT"]);
    return world;
  }

  /** Begins to connect. */
  async start(): Promise<void> {
    this.opened = this.opening.promise;
    this.opened.catch(() => {}); // each test looks at it itself
    await this.clock.settle();
  }

  add(transport: FakeTransport): FakeTransport {
    this.transports.push(transport);
    return transport;
  }

  /** The connection made last. */
  get broker(): FakeTransport {
    return this.transports.at(-1)!;
  }

  /** What has become of a promise: "pending", its value, or its error's code. */
  async fate(promise: PromiseLike<unknown>): Promise<unknown> {
    let fate: unknown = "pending";
    Promise.resolve(promise).then(
      (value) => fate = value,
      (error) => fate = error instanceof MqttError ? `error ${error.code}` : error,
    );
    await this.clock.settle();
    return fate;
  }

  /** Checks that it is over, with this code: nothing is pending, no timer, no connection. */
  async over(code: unknown): Promise<MqttError> {
    await this.clock.settle();
    const end = await this.fate(this.client.run());
    assertEquals(end instanceof MqttError ? end.code : end, code as string, "run()");
    assertEquals(this.clock.timers.size, 0, "timers after the end");
    for (const transport of this.transports) {
      assertEquals(transport.closed, true, "the connection is closed");
      assertEquals(transport.mistakes, []);
    }
    const error = end as MqttError;
    for (const late of [this.client.publish("t", "x"), this.client.subscribe("t"), this.client.unsubscribe("t")]) {
      assertEquals(await this.fate(late), `error ${String(code)}`, "asked after the end");
    }
    assert(await this.fate(this.client.disconnect()) !== "pending", "disconnect() after the end");
    await this.clock.advance(1_000_000);
    assertEquals(this.clock.timers.size, 0, "timers long after the end");
    return error;
  }
}
