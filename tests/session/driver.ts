/** A session without a shell: what a shell does is done by hand, and time passes when the test says so. */
import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import type { OnPublish } from "../../src/options.ts";
import type { ReconnectSettings } from "../../src/session/retry.ts";
import { MqttError } from "../../src/errors.ts";
import { Message } from "../../src/message.ts";
import type { FilterRequest, QoS } from "../../src/protocol/packet.ts";
import type { Handling, Work } from "../../src/session/consumer.ts";
import type { Call, SessionEvent } from "../../src/session/events.ts";
import { Inbox } from "../../src/session/inbox.ts";
import type { Credentials } from "../../src/session/connection.ts";
import type { Farewell } from "../../src/session/farewell.ts";
import { Session } from "../../src/session/session.ts";
import type { SessionParts, SessionSettings } from "../../src/session/settings.ts";
import type { Asked as SubscriptionAsked } from "../../src/session/subscriptions.ts";
import type { Trust } from "../../src/session/trust.ts";
import { bytes, hex, join } from "../support/bytes.ts";
import { encodeNaive, encodeNaive5, NaiveConnection, type NaivePacket, NaiveReader } from "../support/naive.ts";
import type { NaiveProperty } from "../support/naive_properties.ts";

/** The broker accepts; it accepts and has kept the session. */
export const CONNACK = "20 02 00 00", PRESENT = "20 02 01 00";

/** The CONNACK of a broker that speaks version 5. */
export function connack5(properties: NaiveProperty[] = [], sessionPresent = false): Uint8Array {
  return encodeNaive5({ type: "CONNACK", sessionPresent, code: 0, properties });
}

/** A client of no particular kind. */
export const SETTINGS: Omit<SessionSettings, "pingPart" | "maxUnsettled"> = {
  version: 4,
  fallsBack: false,
  sessionExpiry: 0,
  topicAliases: 0,
  properties: undefined,
  auth: undefined,
  checksFormat: false,
  id: "ID",
  will: undefined,
  keepalive: 60,
  cleanSession: true,
  maxPacketSize: 1 << 24,
  maxBuffered: 1 << 24,
  receiveMaximum: 1000,
  maxInflight: 100,
  maxInflightQoS2: 20,
  sessionLost: undefined,
  timeout: 10_000,
  reconnect: undefined,
  asksPolicy: false,
  offline: false,
  places: [{ address: "broker:1883", credentials: "none" }],
  rejectUntrusted: false,
};

/** Attempts without end, each 10 ms after the last. */
export const RECONNECT: ReconnectSettings = {
  minDelay: 10,
  maxDelay: 10,
  stableAfter: 30_000,
  attempts: Infinity,
};

/** A call that counts how often it was settled. */
export class Asked implements Call {
  readonly name: string;
  /** What it was settled with, each time. */
  readonly outcomes: (number | undefined | MqttError)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  resolve(code: number | undefined): void {
    this.outcomes.push(code);
  }

  reject(error: MqttError): void {
    this.outcomes.push(error);
  }

  get settled(): boolean {
    return this.outcomes.length > 0;
  }

  /** What it was settled with: a code, or that of the error; `"pending"` before. */
  get fate(): unknown {
    const [outcome] = this.outcomes;
    return !this.settled ? "pending" : outcome instanceof MqttError ? `error ${outcome.code}` : outcome;
  }
}

export function suback(packetId: number, ...codes: number[]): Uint8Array {
  return encodeNaive({ type: "SUBACK", packetId, codes });
}

export function unsuback(packetId: number): Uint8Array {
  return encodeNaive({ type: "UNSUBACK", packetId });
}

/** An event as text. */
export function show(event: SessionEvent): string {
  switch (event.type) {
    case 3:
      return `${event.topic}: ${event}`;
    case "dial":
    case "login":
      return `${event.type} ${event.attempt}`;
    case "settled":
      return `${(event.call as Asked).name}: ${event.error === undefined ? event.code : `error ${event.error.code}`}`;
    case "inbox":
      return `inbox ${event.inbox.filter}`;
    case "status":
      return "error" in event.status ? `${event.status.type} ${event.status.error.code}` : event.status.type;
    case "closed":
    case "unheard":
      return `${event.type}: ${event.error.code}`;
    default:
      return event.type;
  }
}

/** Its messages, as text. */
export function messages(events: readonly SessionEvent[]): string[] {
  return events.filter((event) => event instanceof Message).map(show);
}

export interface TalkParts {
  onpub?: OnPublish;
  subscriptions?: SessionParts["subscriptions"];
  /** Whether somebody listens for the end; true by default. */
  listens?: boolean;
  credentials?: Partial<Credentials>;
}

/** A session, its shell and its broker's end. */
export class Talk {
  readonly session: Session;
  readonly opening: Asked = new Asked("connect");
  readonly #credentials: Credentials;
  now = 1000;
  /** What the session gets as chance. */
  chance = 1;
  /** The number of the last attempt that was begun. */
  attempt = -1;
  /** Reads what is sent on this connection, in version 5. */
  #reader: NaiveReader | undefined;
  readonly #version: number;
  /** All that the session told. */
  readonly told: SessionEvent[] = [];

  constructor(
    settings: Partial<SessionSettings> = {},
    { listens = true, credentials = {}, ...handlers }: TalkParts = {},
  ) {
    const { maxBuffered = SETTINGS.maxBuffered } = settings;
    const whole = { ...SETTINGS, maxUnsettled: maxBuffered, ...settings };
    this.#version = whole.version;
    const random = () => this.chance;
    this.#credentials = { uname: undefined, passwd: undefined, ...credentials };
    this.session = new Session(
      { pingPart: 1, ...whole },
      { ...handlers, random },
      this.opening,
      this.now,
    );
    if (listens) this.session.listen();
  }

  /** On a connection that the broker accepted. */
  static open(settings: Partial<SessionSettings> = {}, parts: TalkParts = {}): Talk {
    const talk = new Talk(settings, parts);
    talk.connect();
    assertEquals(talk.hears(CONNACK).map(show), ["connected", "connect: undefined"]);
    return talk;
  }

  /** The same of version 5; CONNACK says what it is given. */
  static open5(
    settings: Partial<SessionSettings> = {},
    properties: NaiveProperty[] = [],
    parts: TalkParts = {},
  ): Talk {
    const talk = new Talk({ version: 5, ...settings }, parts);
    talk.connect();
    talk.hears(connack5(properties));
    assertEquals(talk.opening.fate, undefined);
    return talk;
  }

  /** Everything until CONNECT can be taken. */
  login(trusted: Trust = false): void {
    this.drain();
    assert(this.session.opened(this.attempt, { trusted }, this.now), "the connection is wanted");
    assertEquals(this.drain().map(show), [`login ${this.attempt}`]);
    assert(this.session.login(this.attempt, this.#credentials, this.now), "the credentials are wanted");
  }

  /** Opens the connection that is wanted; returns CONNECT. */
  connect(): Uint8Array {
    this.login();
    if (this.#version === 5) this.#reader = new NaiveReader(new NaiveConnection(5, 100));
    return this.sends();
  }

  /** What the session tells, until it is dry. */
  drain(): SessionEvent[] {
    const events: SessionEvent[] = [];
    for (let event = this.session.next(); event !== undefined; event = this.session.next()) {
      events.push(this.take(event));
    }
    return events;
  }

  /** Does what the shell does with an event. */
  take(event: SessionEvent): SessionEvent {
    this.told.push(event);
    if (event.type === "dial") this.attempt = event.attempt;
    if (event.type === "settled") {
      if (event.error === undefined) event.call.resolve(event.code);
      else event.call.reject(event.error);
    }
    return event;
  }

  /** The bytes come; nobody asks what they mean. */
  gets(literal: string | Uint8Array): void {
    const chunk = typeof literal === "string" ? bytes(literal) : literal;
    this.session.received(this.attempt, chunk, chunk.length, this.now);
  }

  /** The broker sends; what the session tells. */
  hears(literal: string | Uint8Array): SessionEvent[] {
    this.gets(literal);
    return this.drain();
  }

  /** What the broker sends ends the client: with which error. */
  fails(literal: string | Uint8Array): MqttError {
    this.gets(literal);
    return this.ends();
  }

  /** The client ends: with which error. */
  ends(): MqttError {
    const events = this.drain();
    const { status } = this.session;
    assert(status.type === "closed", `${status.type}, not closed`);
    const { code } = status.error;
    const [hangup, ...others] = events.map(show).filter((event) => /^(hangup|closed)/.test(event));
    assertEquals([hangup, ...others], ["hangup", `closed ${code}`, `closed: ${code}`]);
    return status.error;
  }

  /** The connection breaks. */
  breaks(error: MqttError = new MqttError("socketclosed", "The connection has ended")): SessionEvent[] {
    this.session.lost(this.attempt, error, this.now);
    return this.drain();
  }

  /** The connection breaks; the next one is accepted. Returns what was told from CONNACK on. */
  reconnect(connack: string | Uint8Array = CONNACK): SessionEvent[] {
    this.breaks();
    this.redials();
    this.connect();
    return this.hears(connack);
  }

  /** Time passes until the next attempt. */
  redials(): void {
    const { attempt } = this;
    this.pass(10);
    assertEquals(this.attempt, attempt + 1, "another attempt");
  }

  /** What the session wants to send. */
  sends(): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let part = this.session.takeBytes(); part !== undefined; part = this.session.takeBytes()) {
      parts.push(part.slice());
      this.session.written(this.attempt, this.now);
    }
    return join(parts);
  }

  packets(): NaivePacket[] {
    return (this.#reader ?? new NaiveReader()).push(this.sends());
  }

  /** The packets that are sent, as text. */
  says(): string[] {
    return this.packets().map((packet) => {
      switch (packet.type) {
        case "SUBSCRIBE":
          return `SUBSCRIBE ${packet.packetId} ${packet.filters.map(({ topic }) => topic)}`;
        case "UNSUBSCRIBE":
          return `UNSUBSCRIBE ${packet.packetId} ${packet.filters}`;
        case "PUBLISH":
          return `PUBLISH ${packet.topic}`;
        default:
          return packet.type;
      }
    });
  }

  /** Lets time pass, ringing when the session wants it. Returns what was sent, and when. */
  pass(milliseconds: number): [number, string][] {
    const end = this.now + milliseconds;
    const sent: [number, string][] = [];
    for (let rings = 0; this.session.due <= end; rings++) {
      assert(rings < 1_000_000, "it rings for ever");
      assertGreaterOrEqual(this.session.due, this.now, "due in the past");
      this.now = this.session.due;
      this.session.tick(this.now);
      this.drain();
      const found = this.sends();
      if (found.length > 0) sent.push([this.now, hex(found)]);
    }
    this.now = end;
    return sent;
  }

  /** Asks for topic filters, at QoS 0 where none is said. */
  subscribe(
    filters: readonly (string | FilterRequest)[],
    onpub?: OnPublish,
    more: Omit<SubscriptionAsked, "filters"> = {},
  ): Asked {
    const call = new Asked(`subscribe ${filters.map((filter) => typeof filter === "string" ? filter : filter.topic)}`);
    const asked = filters.map((filter) => typeof filter === "string" ? { topic: filter, qos: 0 as QoS } : filter);
    this.session.subscribe({ filters: asked, ...more }, { onpub, concurrency: 1 }, call, this.now);
    return call;
  }

  /** Asks for topic filters, and the broker grants them. */
  subscribed(filters: readonly string[], onpub?: OnPublish): void {
    const call = this.subscribe(filters, onpub);
    const request = this.packets().find(({ type }) => type === "SUBSCRIBE");
    assert(request?.type === "SUBSCRIBE");
    this.hears(suback(request.packetId, ...filters.map(() => 0)));
    assertEquals(call.fate, 0);
  }

  unsubscribe(filters: readonly string[]): Asked {
    const call = new Asked(`unsubscribe ${filters}`);
    this.session.unsubscribe(filters, call, this.now);
    return call;
  }

  /** Asks for the messages of a filter as an iterator does. */
  iterate(filter: string, limit = 1000, qos: QoS = 0): Inbox {
    const inbox = new Inbox(filter, limit, () => {});
    this.session.iterate(inbox, { filters: [{ topic: filter, qos }] }, this.now);
    return inbox;
  }

  disconnect(farewell: Farewell = {}): Asked {
    const call = new Asked("disconnect");
    this.session.disconnect(call, farewell, this.now);
    return call;
  }
}

/** A session whose handlers return what the test says; promises are their names. */
export class Desk {
  readonly talk: Talk;
  /** What handlers were called with. */
  readonly called: string[] = [];
  /** The calls whose promises are pending, by what they were called with. */
  readonly works: Map<string, Work> = new Map<string, Work>();
  readonly #handling: Handling = {
    call: (onpub, message) => {
      this.called.push(`${message.topic}: ${message.text().trim()}`);
      return onpub(message.topic, message);
    },
    watch: (promise, work) => void this.works.set(promise as string, work),
  };

  constructor(settings: Partial<SessionSettings> = {}, onpub?: (topic: string, message: Message) => unknown) {
    const open = settings.version === 5 ? (op: object, parts?: TalkParts) => Talk.open5(op, [], parts) : Talk.open;
    this.talk = open({ keepalive: 0, ...settings }, onpub && { onpub });
  }

  /** The same of version 5. */
  static open5(settings: Partial<SessionSettings> = {}, onpub?: (topic: string, message: Message) => unknown): Desk {
    return new Desk({ version: 5, ...settings }, onpub);
  }

  /** What the session tells meanwhile. */
  drain(): SessionEvent[] {
    const events: SessionEvent[] = [];
    const next = () => this.talk.session.nextDelivering(this.#handling);
    for (let event = next(); event !== undefined; event = next()) events.push(this.talk.take(event));
    return events;
  }

  hears(...parts: (string | Uint8Array)[]): string[] {
    this.talk.gets(join(parts.map((part) => typeof part === "string" ? bytes(part) : part)));
    return this.drain().map(show);
  }

  /** The promise of a call settles. */
  settles(name: string, failed = false): void {
    this.talk.session.backlog.settle(this.works.get(name)!, failed);
    this.works.delete(name);
    this.drain();
  }

  /** The time comes. */
  pass(milliseconds: number): string[] {
    const { talk } = this, end = talk.now + milliseconds, told: string[] = [];
    while (talk.session.due <= end) {
      talk.now = Math.max(talk.session.due, talk.now);
      talk.session.tick(talk.now);
      told.push(...this.drain().map(show));
    }
    talk.now = end;
    return told;
  }

  /** The connection breaks; the next one is accepted. What was told from CONNACK on, and after it. */
  reconnect(connack: string, ...parts: string[]): string[] {
    const { talk } = this;
    talk.breaks();
    talk.redials();
    talk.connect();
    return this.hears(bytes([connack, ...parts].join(" ")));
  }

  subscribes(filter: string, onpub: (topic: string, message: Message) => unknown, concurrency = 1): void {
    const { talk } = this, call = new Asked(`subscribe ${filter}`);
    talk.session.subscribe({ filters: [{ topic: filter, qos: 0 }] }, { onpub, concurrency }, call, talk.now);
    const [packet] = talk.packets();
    assert(packet?.type === "SUBSCRIBE");
    this.hears(suback(packet.packetId, 0));
    assertEquals(call.fate, 0);
  }

  get reads(): boolean {
    return this.talk.session.isReading;
  }

  get unsettled(): number {
    return this.talk.session.stats.unsettled;
  }
}
