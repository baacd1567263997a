/** Inputs in any order: whatever happens, every call is settled once, and nothing is left at the end. */
import { assert, assertEquals, assertGreater, assertLessOrEqual } from "@std/assert";
import { test } from "node:test";
import type { ConnectionStatus } from "../../src/status.ts";
import type { ReconnectSettings } from "../../src/session/retry.ts";
import { MqttError } from "../../src/errors.ts";
import { Message } from "../../src/message.ts";
import type { SessionEvent } from "../../src/session/events.ts";
import { Inbox } from "../../src/session/inbox.ts";
import { Session } from "../../src/session/session.ts";
import type { SessionSettings } from "../../src/session/settings.ts";
import { encodeNaive, type NaivePacket, NaiveReader } from "../support/naive.ts";
import { Random } from "../support/random.ts";
import { Asked, SETTINGS } from "./driver.ts";

const FILTERS = ["a", "b", "+/c", "#", "$share/g/a", "$queue/b"];
const NAMES = ["a", "b", "x/c", "y"];

/** Which status of the connection may follow which. */
const FOLLOWS: Record<string, string[]> = {
  "": ["connecting"],
  connecting: ["connected", "waiting", "closed"],
  connected: ["waiting", "closed"],
  waiting: ["connecting", "closed"],
  closed: [],
};

/** The other end of one connection: what it heard, and what it will say. */
class Broker {
  readonly heard: NaivePacket[] = [];
  readonly answers: NaivePacket[] = [];
  readonly #reader = new NaiveReader();
  readonly #random: Random;
  readonly #present: boolean;

  constructor(random: Random, present: boolean) {
    this.#random = random;
    this.#present = present;
  }

  hears(bytes: Uint8Array): void {
    const packets = this.#reader.push(bytes);
    assertEquals(this.#reader.rest.length, 0, "whole packets are written");
    for (const packet of packets) {
      assertEquals(packet.type === "CONNECT", this.heard.length === 0, "CONNECT is first, and once");
      assert(this.heard.at(-1)?.type !== "DISCONNECT", `${packet.type} after DISCONNECT`);
      this.heard.push(packet);
      this.#answer(packet);
    }
  }

  #answer(packet: NaivePacket): void {
    const random = this.#random;
    if (packet.type === "CONNECT") {
      const code = random.chance(0.15) ? random.int(1, 5) : 0;
      this.answers.push({ type: "CONNACK", sessionPresent: this.#present && code === 0 && random.chance(0.6), code });
    } else if (random.chance(0.15)) {
      return; // it never answers
    } else if (packet.type === "SUBSCRIBE") {
      const codes = packet.filters.map(({ qos }) => random.chance(0.2) ? 128 : random.int(0, qos));
      this.answers.push({ type: "SUBACK", packetId: packet.packetId, codes });
    } else if (packet.type === "UNSUBSCRIBE") {
      this.answers.push({ type: "UNSUBACK", packetId: packet.packetId });
    } else if (packet.type === "PINGREQ") {
      this.answers.push({ type: "PINGRESP" });
    }
  }

  /** What it says next: an answer, in any order after the first, or a message. */
  says(): NaivePacket | undefined {
    const random = this.#random, { answers } = this;
    if (this.heard.length === 0 || answers[0]?.type === "CONNACK") return answers.shift();
    if (answers.length > 0 && random.chance(0.7)) return answers.splice(random.int(0, answers.length - 1), 1)[0];
    const qos = random.int(0, 2), packetId = qos === 0 ? 0 : random.int(1, 20);
    if (random.chance(0.2)) return { type: "PUBREL", packetId: random.int(1, 20) };
    const payload = new Uint8Array(random.size(200));
    return { type: "PUBLISH", topic: random.pick(NAMES), payload, qos, retain: false, dup: false, packetId };
  }
}

/** A shell that does what it likes. */
class Walk {
  readonly random: Random;
  readonly session: Session;
  readonly calls: Asked[] = [new Asked("connect")];
  readonly settings: SessionSettings;
  now = 0;
  attempt = -1;
  /** What the shell has to do for this attempt. */
  todo: "dial" | "login" | "open" | "nothing" = "nothing";
  broker: Broker | undefined;
  /** Bytes that were taken and are not written yet. */
  flying: Uint8Array | undefined;
  readonly inboxes: Inbox[] = [];
  readonly statuses: ConnectionStatus[] = [];
  readonly ends: SessionEvent[] = [];
  heard = false;
  /** Whether nobody asks for anything: then nobody hears of the end. */
  readonly quiet: boolean;

  constructor(seed: number) {
    const random = this.random = new Random(seed);
    this.quiet = random.chance(0.3);
    const reconnect: ReconnectSettings | undefined = random.chance(0.2) ? undefined : {
      minDelay: random.pick([0, 10, 1000]),
      maxDelay: random.pick([10, 1000]),
      stableAfter: random.pick([0, 1000, 30_000]),
      attempts: random.chance(0.8) ? Infinity : random.int(1, 3),
    };
    const keepalive = random.pick([0, 1, 10, 60]);
    this.settings = {
      ...SETTINGS,
      keepalive,
      pingPart: random.chance(0.9) ? 1 : 0,
      cleanSession: random.chance(0.5),
      maxPacketSize: random.pick([100, 1000]),
      maxBuffered: random.pick([100, 1000, 100_000]),
      maxUnsettled: random.pick([100, 1000, 100_000]),
      receiveMaximum: random.pick([1, 3, 1000]),
      timeout: random.pick([100, 1000, 10_000]),
      reconnect,
      places: [{ address: "broker:1883", credentials: random.chance(0.5) ? "both" : "none" }],
    };
    this.session = new Session(this.settings, { random: () => random.next() }, this.calls[0]!, this.now);
  }

  get isClosed(): boolean {
    return this.statuses.at(-1)?.type === "closed";
  }

  call(name: string): Asked {
    const call = new Asked(name);
    this.calls.push(call);
    return call;
  }

  /** Takes some events, or all. */
  drain(most = Infinity, keep = this.random.chance(0.3)): void {
    for (let i = 0; i < most; i++) {
      const event = keep ? this.session.nextKeepingMessages() : this.session.next();
      if (event === undefined) return;
      this.#take(event, keep);
    }
  }

  #take(event: SessionEvent, keep: boolean): void {
    if (event instanceof Message) return assert(!keep, "messages are kept");
    if (event.type === "dial") {
      assertGreater(event.attempt, this.attempt, "each attempt has a number of its own");
      [this.attempt, this.todo] = [event.attempt, "dial"];
    } else if (event.type === "login") {
      assertEquals(event.attempt, this.attempt);
      this.todo = "login";
    } else if (event.type === "hangup") {
      [this.todo, this.broker, this.flying] = ["nothing", undefined, undefined];
    } else if (event.type === "settled") {
      const call = event.call as Asked;
      assertEquals(call.settled, false, `${call.name} is settled once`);
      if (event.error === undefined) call.resolve(event.code);
      else call.reject(event.error);
      this.heard ||= event.error !== undefined && event.error === this.session.reason;
    } else if (event.type === "status" && !/refused|dropped|stalled/.test(event.status.type)) {
      const before = this.statuses.at(-1)?.type ?? "";
      assert(FOLLOWS[before]!.includes(event.status.type), `${event.status.type} after "${before}"`);
      this.statuses.push(event.status as ConnectionStatus);
    } else if (event.type === "closed" || event.type === "unheard") {
      this.ends.push(event);
      assertEquals(event.error, this.session.reason!);
      assert(event.type === "closed" || !this.heard, "unheard, though it was heard");
    }
  }

  /** What may throw: too much, or the end. A call that was not taken is never settled. */
  ask(name: string, ask: (call: Asked) => void): void {
    const call = new Asked(name);
    if (this.#tries(name, () => ask(call))) this.calls.push(call);
  }

  #tries(name: string, act: () => void): boolean {
    try {
      act();
      return true;
    } catch (error) {
      assert(error instanceof MqttError, `${error}`);
      assert(error.code === "overflow" || error === this.session.reason, `${name}: ${error}`);
      this.heard ||= error === this.session.reason;
      return false;
    }
  }

  step(): void {
    const { random, session, now } = this;
    const some = () => Array.from({ length: random.int(1, 3) }, () => random.pick(FILTERS));
    switch (random.int(0, this.quiet ? 11 : 20)) {
      case 0:
        return this.drain();
      case 1:
        return this.drain(random.int(1, 3));
      case 2:
      case 3:
      case 4:
        return this.#connects();
      case 5:
      case 6:
        return this.#writes();
      case 7:
      case 8:
      case 9:
        return this.#says();
      case 10:
        return this.#passes();
      case 11: {
        const error = new MqttError(random.pick(["socketclosed", "cannotconnect"]), "lost");
        if (this.todo !== "nothing" && random.chance(0.3)) session.lost(this.attempt, error, now);
        return;
      }
      case 12:
        return this.ask("subscribe", (call) => {
          session.subscribe(
            { filters: some().map((topic) => ({ topic, qos: 2 })) },
            { onpub: undefined, concurrency: 1 },
            call,
            now,
          );
        });
      case 13:
        return this.ask("unsubscribe", (call) => session.unsubscribe(some(), call, now));
      case 14: {
        const inbox = new Inbox(random.pick(FILTERS), random.int(1, 5), () => {});
        session.iterate(inbox, { filters: [{ topic: inbox.filter, qos: 0 }] }, now);
        session.backlog.setWaiting(inbox, random.chance(0.5));
        this.heard ||= session.reason !== undefined && inbox.ended;
        this.inboxes.push(inbox);
        return;
      }
      case 15: {
        const inbox = this.inboxes.length === 0 ? undefined : random.pick(this.inboxes);
        if (inbox === undefined || random.chance(0.6)) return inbox && void session.backlog.take(inbox);
        if (session.leave(inbox)) this.ask("leave", (call) => session.unsubscribeInbox(inbox, call, now));
        return;
      }
      case 16:
        this.#tries("publish", () => session.publish(random.pick(NAMES), new Uint8Array(random.size(70_000)), 0));
        return;
      case 17:
        if (!session.isRoomAwaited) session.awaitRoom(this.call("room"));
        return;
      case 18: {
        const call = random.pick(this.calls);
        const error = new MqttError("timeout", "given up");
        if (/subscribe/.test(call.name) && random.chance(0.3)) session.giveUp(call, error, now);
        return;
      }
      case 19:
        return this.#stale();
      default:
        if (random.chance(0.03)) session.disconnect(this.call("disconnect"), { drain: random.chance(0.5) }, now);
        else if (random.chance(0.02)) {
          session.listen();
          this.heard = true;
        }
    }
  }

  #connects(): void {
    const { random, session } = this;
    // A shell that has not heard all may be late: the attempt may be over.
    const hasHeard = random.chance(0.7);
    if (hasHeard) this.drain();
    if (this.todo === "dial") {
      const trusted = random.pick([false, true, "untrusted"] as const);
      this.todo = "nothing";
      const wanted = session.opened(this.attempt, { trusted, unsent: random.int(0, 10) }, this.now);
      if (hasHeard) assertEquals(wanted, trusted !== "untrusted" || this.settings.places[0]!.credentials === "none");
    } else if (this.todo === "login") {
      assertEquals(session.takeBytes(), undefined, "nothing is written before the credentials are known");
      const wanted = session.login(this.attempt, { uname: undefined, passwd: undefined }, this.now);
      if (hasHeard) assert(wanted);
      this.todo = wanted ? "open" : "nothing";
      this.broker = new Broker(random, !this.settings.cleanSession);
    }
  }

  #writes(): void {
    const { session } = this;
    if (this.flying !== undefined) {
      assertEquals(session.takeBytes(), undefined, "one write is in flight");
      this.broker!.hears(this.flying);
      this.flying = undefined;
      return session.written(this.attempt, this.now);
    }
    // The shell writes once it has heard all.
    this.drain();
    const bytes = session.takeBytes();
    if (bytes === undefined) return;
    assert(this.todo === "open" && bytes.length > 0);
    this.flying = bytes.slice();
    assertEquals(session.takeBytes(), undefined, "one write is in flight");
  }

  #says(): void {
    const { random, session } = this;
    if (this.todo !== "open") return;
    let bytes = random.chance(0.005) ? random.bytes(5) : undefined;
    const packet = bytes === undefined ? this.broker!.says() : undefined;
    if (packet !== undefined) bytes = encodeNaive(packet);
    if (bytes === undefined) return;
    for (let at = 0; at < bytes.length;) {
      const length = random.chance(0.8) ? bytes.length : random.int(1, bytes.length);
      const space = session.space(this.attempt), chunk = bytes.subarray(at, at + Math.min(length, space.length));
      space.set(chunk);
      session.received(this.attempt, space, chunk.length, this.now);
      at += chunk.length;
    }
  }

  #passes(): void {
    const { random, session } = this;
    const due = session.due;
    const late = random.pick([0, 0, 1, 50, 500, 100_000]);
    this.now = due === Infinity || random.chance(0.5)
      ? this.now + random.size(1000) + 1
      : Math.max(due, this.now) + late;
    session.tick(this.now);
    if (session.status.type === "closed") this.drain(); // or somebody hears of the end while `unheard` waits
  }

  /** What an earlier connection says. */
  #stale(): void {
    const { random, session, now } = this;
    if (this.attempt < 1) return;
    const attempt = random.int(0, this.attempt - 1);
    const before = [session.due, session.buffered, session.status, session.isReading];
    assertEquals(session.opened(attempt, { trusted: true }, now), false);
    assertEquals(session.login(attempt, { uname: undefined, passwd: undefined }, now), false);
    session.received(attempt, random.bytes(20), 20, now);
    session.written(attempt, now);
    session.lost(attempt, new MqttError("socketclosed", "an earlier one"), now);
    assertGreater(session.space(attempt).length, 0);
    assertEquals([session.due, session.buffered, session.status, session.isReading], before);
  }

  /** What is so after any step. */
  check(): void {
    const { session, statuses } = this;
    assert(!Number.isNaN(session.due));
    assertLessOrEqual(session.buffered, this.settings.maxBuffered + 4 * 65_535 + 70_000);
    if (session.status.type === "closed") {
      this.drain();
      assertEquals(session.status.error, session.reason);
      if (this.heard || session.reason!.code === "disconnect") assertEquals(session.due, Infinity, "after the end");
    }
    if (session.status.type !== "connected" || this.random.chance(0.8)) return;
    this.drain();
    if (session.status.type !== "connected") return;
    assertEquals(session.status, statuses.at(-1));
    const waits = this.calls.some((call) => !call.settled && /subscribe|disconnect/.test(call.name));
    if (waits) assert(session.due < Infinity, "a call waits for ever");
  }

  /** Everything comes to its end. */
  finish(): void {
    const { session } = this;
    session.disconnect(this.call("disconnect"), {}, this.now);
    for (let i = 0; i < 100 && session.due < Infinity; i++) {
      this.drain(Infinity, false);
      this.now = Math.max(session.due, this.now);
      session.tick(this.now);
    }
    this.drain(Infinity, false);
    assert(this.isClosed, `it ends: ${this.statuses.at(-1)?.type}`);
    for (const call of this.calls) assertEquals(call.outcomes.length, 1, `${call.name} is settled once`);
    for (const inbox of this.inboxes) assert(inbox.ended, "every iterator ends");
    assertEquals(this.statuses.filter(({ type }) => type === "closed").length, 1);
    assertEquals(this.ends.filter(({ type }) => type === "closed").length, 1);
    assertEquals([session.due, session.takeBytes(), session.next()], [Infinity, undefined, undefined]);
    session.tick(this.now + 1e9);
    assertEquals([session.due, session.next()], [Infinity, undefined]);
  }
}

test("session: inputs in any order: every call is settled once, every status follows the last, nothing is left", () => {
  const seen = new Map<string, number>();
  const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
  for (let seed = 1; seed <= 1000; seed++) {
    const walk = new Walk(seed);
    let step = 0;
    try {
      for (let after = 0; step < 2000 && after < 60; step++) {
        walk.step();
        walk.check();
        if (walk.isClosed) after++;
      }
      walk.finish();
    } catch (error) {
      throw new Error(`Seed ${seed}, step ${step}: ${(error as Error).stack}`, { cause: error });
    }
    for (const { type } of [...walk.statuses, ...walk.ends]) count(`${type}`);
    for (const { name, fate } of walk.calls) count(`${name} ${fate}`);
  }
  // It has in it what it is for.
  for (const what of ["connected", "waiting", "closed", "unheard", "room 0", "leave undefined"]) {
    assertGreater(seen.get(what) ?? 0, 10, what);
  }
  for (const fate of ["0", "error 128", "error timeout", "error socketclosed", "error disconnect"]) {
    assertGreater(seen.get(`subscribe ${fate}`) ?? 0, 10, fate);
  }
});
