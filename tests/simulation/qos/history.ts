/**
 * One history of QoS 1 and 2: a bare session, a program with handlers and iterators, and a broker that keeps, loses or
 * forgets the session, on connections that break at any byte. A seed decides about everything, one small step after the
 * other; nothing here is asynchronous. After each step the session is held against two models, of what is published and
 * of what is received; then the faults end, and whatever can still be done must get done.
 *
 * Odd seeds speak version 5: their broker has limits on each connection, refuses with reason codes, disconnects with one,
 * and both give topic aliases.
 *
 * How a shell uses promises and sockets is played elsewhere.
 */
import type { ConnectOptions } from "../../../src/options.ts";
import type { Settings } from "../../../src/client/settings.ts";
import type { MqttError } from "../../../src/errors.ts";
import type { Message } from "../../../src/message.ts";
import type { Handling, Work } from "../../../src/session/consumer.ts";
import type { Call, SessionEvent } from "../../../src/session/events.ts";
import type { Inbox } from "../../../src/session/inbox.ts";
import type { Session } from "../../../src/session/session.ts";
import {
  decodeNaive,
  encodeNaive,
  encodeNaive5,
  NaiveConnection,
  type NaivePacket,
  NaiveReader,
} from "../../support/naive.ts";
import { type NaiveProperty, numberIn } from "../../support/naive_properties.ts";
import { encodeMessageProperties } from "../../../src/protocol/properties.ts";
import { Random } from "../../support/random.ts";
import { numbered, numberOf } from "../broker.ts";
import { type Outcome, Violation } from "../outcome.ts";
import { same, show } from "../packets.ts";
import type { Library } from "../library.ts";
import { type Answer, Broker, POLITE } from "./broker.ts";
import { Publishing, type Sending } from "./publishing.ts";
import { type Consumer, type Delivery, Receiving } from "./receiving.ts";

/** A connection: bytes on their way. */
interface Line {
  readonly attempt: number;
  readonly toBroker: Uint8Array[];
  readonly toClient: { bytes: Uint8Array; answer: Answer }[];
  /** How much of the first of those the client has. */
  at: number;
  /** What the client has written, and what the broker has read, as packets. */
  readonly written: NaiveConnection;
  readonly heard: NaiveReader;
  readonly heardConnection: NaiveConnection;
  /** The topic aliases of what the broker sends: there may be so many. */
  aliasMaximum: number;
  readonly aliases: Map<string, number>;
  writing: boolean;
  isOpen: boolean;
  /** Whether the client has sent DISCONNECT. */
  hasLeft: boolean;
}

/** A handler, or an iterator. */
interface Worker extends Consumer {
  readonly onpub: (topic: string, message: Message) => unknown;
  readonly inbox: Inbox | undefined;
}

/** A promise of a handler that is pending. */
interface Pending {
  readonly worker: Worker;
  readonly delivery: Delivery;
  work: Work | undefined;
  /** What it awaits; undefined: chance. */
  awaits: Sending | undefined;
  hangs: boolean;
}

/** A call that is no publish. */
interface Asked {
  readonly name: string;
  outcomes: number;
}

/** Plays a seed's history to its end, and throws the first {@linkcode Violation}. */
export function playQos(seed: number, library: Library, log?: (line: string) => void): Outcome {
  return new QosHistory(seed, library, log).play();
}

class QosHistory {
  readonly #random: Random;
  readonly #library: Library;
  readonly #log: ((line: string) => void) | undefined;
  readonly #settings: Settings;
  readonly #session: Session;
  readonly #broker: Broker;
  readonly #publishing: Publishing;
  readonly #receiving: Receiving;
  #now = 1000;
  #steps = 0;
  #violation: Violation | undefined;
  /** Whether the program takes messages itself, as one that blocks. */
  readonly #takes: boolean;
  /** Whether it is version 5: every other history is. */
  readonly #is5: boolean;
  /** Of version 5: how many messages of the program have an expiry. */
  readonly #expires: number;
  /** Of version 5: since when there is a connection, and whether another client has taken the session of the one before. */
  #connectedAt = 0;
  #wasTakenOver = false;
  #isDuel = false;
  /** The reason code with which the broker has ended the connection. */
  #goodbye: number | undefined;
  /** Whether nothing ever stops the reading: then packets may come in any pieces. */
  readonly #isRoomy: boolean;
  /** Whether what is taken is written at once: of a broker that lies it can be told then what it lies about. */
  readonly #isPrompt: boolean;
  /** Whether some promises never settle. */
  readonly #hangs: boolean;
  /** How often promises are returned. */
  readonly #async: number;
  readonly #workers = new Map<string, Worker>();
  readonly #pending: Pending[] = [];
  /** Iterators that wait, and have nothing. */
  readonly #waiting = new Set<Worker>();
  /** Who gets the messages of a topic. */
  readonly #routes = new Map<string, Worker[]>();
  readonly #hasOnpub: boolean;
  #claims: "no" | "asking" | "yes" = "no";
  readonly #asked = new Set<Asked>();
  #flushes: { readonly asked: Asked; readonly before: readonly Sending[] }[] = [];
  #connections = 0;
  #dialed: number | undefined;
  #line: Line | undefined;
  /** What the client was given whole and has, as far as can be seen, not decoded. */
  #given: Answer[] = [];
  /** How many packets the client was given. */
  #read = 0;
  #failures = 0;
  #isQuiet = false;
  #depth = 0;
  /** Whether a handler has done something that more may come of. */
  #again = false;
  /** What messages were taken back with. */
  readonly #takenBack = new Set<unknown>();
  readonly #withdrawn = new Set<Sending>();
  #left = false;
  #drains = false;
  #end: MqttError | undefined;
  readonly #told = new Set<string>();
  /** When the session was last told the time while too many bytes were unsettled. */
  #fullAt = -Infinity;

  constructor(seed: number, library: Library, log?: (line: string) => void) {
    const random = this.#random = new Random(seed);
    this.#library = library;
    this.#log = log;
    this.#is5 = seed % 2 === 1;
    this.#takes = random.chance(0.2);
    this.#isRoomy = random.chance(0.4);
    this.#hangs = random.chance(0.08);
    this.#async = random.pick([0, 0.3, 0.7]);
    this.#hasOnpub = random.chance(0.6);
    const lies = random.chance(0.15);
    this.#isPrompt = lies || random.chance(0.3);
    const op: ConnectOptions = {
      id: "simulated",
      keepalive: 0,
      session: random.chance(0.8) && (this.#is5 ? random.pick([true, true, 1]) : true),
      maxInflight: random.pick([1, 2, 5, 20, undefined]),
      sessionLost: random.pick([undefined, undefined, "resend", "reject"]),
      maxPacketSize: random.pick([MAX_PACKET_SIZE, 16 << 20]),
      maxBuffered: this.#isRoomy ? 16 << 20 : random.pick([1000, 1500, 4000, 16 << 20]),
      receiveMaximum: this.#isRoomy ? 65_535 : random.pick([1, 2, 5, 1000]),
      reconnect: { minDelay: 10, maxDelay: 10, attempts: Infinity, stableAfter: 1000 },
      ...this.#is5 && { version: 5, topicAliases: random.pick([0, 1, 2, 100]) },
    };
    this.#note(() => `options ${JSON.stringify(op)}, ${this.#takes ? "taking" : "delivering"}`);
    this.#settings = {
      ...library.parseSettings(op),
      ...random.chance(0.3) && { maxInflightQoS2: random.pick([1, 3]) },
    };
    this.#expires = this.#is5 ? random.pick([0, 0.3]) : 0;
    // A broker of version 5 answers in order, and sends again after a reconnect only.
    const forgets = random.pick([0, 0.1, 0.5]);
    const manners = this.#is5
      ? {
        refuses: random.pick([0, 0.1, 0.5]),
        limits: random.pick([0, 0.3, 0.7]),
        strays: random.pick([0, 0, 0.05]),
      }
      : {
        disorder: random.pick([0, 0, 0.3]),
        twice: random.pick([0, 0, 0.3]),
        wrong: lies ? 0.1 : 0,
        repeats: random.pick([0, 0.3]),
      };
    this.#broker = new Broker(random, { ...POLITE, forgets, ...manners }, this.#settings.version);
    const fail = (what: string) => this.fail(what);
    this.#makeWorkers();
    this.#publishing = new Publishing(this.#settings, fail);
    this.#receiving = new Receiving(this.#settings, {
      route: (topic) => this.#routes.get(topic) ?? [],
      takes: this.#takes,
      consumers: [...this.#workers.values()],
      fail,
    });
    const onpub = this.#hasOnpub ? this.#workers.get("onpub")!.onpub : undefined;
    const opening = this.#call("connect");
    this.#session = new library.Session(this.#settings, { onpub, random: () => 1 }, opening, this.#now);
    this.#session.listen();
  }

  // ---- the program

  /** Handlers of the topics a and b, an iterator of c, both of d, and whoever gets the rest: e. */
  #makeWorkers(): void {
    const random = this.#random;
    const limit = this.#isRoomy ? 100_000 : random.pick([1, 3, 100]);
    this.#worker("a", 1);
    this.#worker("b", random.int(2, 3));
    this.#worker("c", undefined, "c", limit);
    this.#worker("d", 1);
    this.#worker("d iterated", undefined, "d", limit);
    this.#worker("e", 1);
    this.#worker("onpub", 1);
    const route = (topic: string, ...names: string[]) => {
      this.#routes.set(topic, names.map((name) => this.#workers.get(name)!));
    };
    route("a", "a");
    route("b", "b");
    route("c", "c");
    route("d", "d", "d iterated");
    route("e", ...this.#hasOnpub ? ["onpub"] : []);
  }

  #worker(name: string, concurrency: number | undefined, filter?: string, limit?: number): void {
    const worker: Worker = {
      name,
      concurrency,
      running: 0,
      expected: [],
      given: undefined,
      isLeft: false,
      inbox: filter === undefined ? undefined : new this.#library.Inbox(filter, limit!, () => this.#wake(worker)),
      onpub: (_, message) => this.#work(worker, message),
    };
    this.#workers.set(name, worker);
  }

  #call(name: string, done?: (error: MqttError | undefined) => void): Call {
    const asked: Asked = { name, outcomes: 0 };
    this.#asked.add(asked);
    const settled = (error: MqttError | undefined) => {
      this.#note(() => `${name}: ${error?.code ?? "done"}`);
      if (++asked.outcomes > 1) this.fail(`${name} is settled twice`);
      this.#asked.delete(asked);
      done?.(error);
    };
    return { resolve: () => settled(undefined), reject: settled };
  }

  #subscribe(topic: string, name: string, done: (error: MqttError | undefined) => void = () => {}): void {
    const { onpub, concurrency } = this.#workers.get(name)!;
    const call = this.#call(`subscribe ${topic}`, done);
    this.#again = true;
    this.#session.subscribe({ filters: [{ topic, qos: 2 }] }, { onpub, concurrency: concurrency! }, call, this.#now);
  }

  /** Begins with what the program wants, and a connection on which it gets that. */
  #begin(): void {
    if (!this.#settings.cleanSession && this.#random.chance(0.3)) this.#broker.inherit();
    for (const name of ["a", "b", "d"]) this.#subscribe(name, name);
    for (const worker of this.#workers.values()) {
      const { inbox } = worker;
      if (inbox !== undefined) this.#session.iterate(inbox, { filters: [{ topic: inbox.filter, qos: 2 }] }, this.#now);
    }
    const manners = { ...this.#broker.manners };
    Object.assign(this.#broker.manners, POLITE);
    this.#goOn();
    Object.assign(this.#broker.manners, manners);
    if (this.#asked.size > 0) this.fail(`${[...this.#asked].map(({ name }) => name)} wait though nothing is wrong`);
  }

  #act(): void {
    const random = this.#random;
    switch (random.int(0, 11)) {
      case 0:
      case 1:
      case 2:
      case 3:
        for (let i = random.pick([1, 1, 1, 3, 10]); i > 0; i--) this.#publish();
        return;
      case 4:
      case 5:
        return this.#settleOne();
      case 6:
        return this.#ask();
      case 7:
        if (random.chance(0.3)) this.#withdraw();
        return;
      case 8:
        if (random.chance(0.3)) this.#flush();
        return;
      case 9:
        if (random.chance(0.05)) this.#disconnect({ drain: !this.#takes && random.chance(0.5) });
        else if (random.chance(0.1)) this.#leave();
        return;
      case 10:
        if (random.chance(0.2)) this.#subscribeRest();
        return;
      default:
        if (this.#takes) this.#take();
        else this.#settleOne();
    }
  }

  #publish(): Sending | undefined {
    if (this.#left) return undefined;
    const random = this.#random, seq = this.#publishing.all.length;
    const qos = random.int(1, 2) as 1 | 2, retain = random.chance(0.2);
    const payload = numbered(seq, 4 + random.size(200));
    const expiry = this.#is5 && random.chance(this.#expires) ? random.pick([1, 2, 60]) : undefined;
    const user: NaiveProperty[] = this.#is5 && random.chance(0.2) ? [[38, ["name", "value"]]] : [];
    const what = { qos, topic: `up/${seq % 3}`, payload, retain, user, expiry };
    const sending = this.#publishing.make(what, this.#now);
    const call: Call = {
      resolve: (code) => this.#settled(sending, code!),
      reject: (error) => this.#settled(sending, error),
    };
    this.#note(() => `publish ${seq}, QoS ${qos}, ${sending.size} bytes`);
    try {
      const flags = qos << 1 | (retain ? 1 : 0);
      const properties = user.length === 0 ? undefined : encodeMessageProperties({ user: [["name", "value"]] });
      const publication = { topic: sending.topic, message: payload.slice(), flags, expiry, properties };
      sending.outgoing = this.#session.send(publication, call, this.#now);
      this.#publishing.asked(sending, undefined);
    } catch (error) {
      this.#publishing.asked(sending, error as MqttError);
    }
    return sending;
  }

  #settled(sending: Sending, outcome: number | MqttError): void {
    this.#note(() => `publish ${sending.seq}: ${typeof outcome === "number" ? outcome : outcome.code}`);
    const isOver = outcome === this.#session.reason;
    if (typeof outcome === "number") this.#decodeUntil(() => sending.state === "done");
    else if ((typeof outcome.code === "number" || outcome.code === "unsupported") && !isOver) {
      this.#decodeUntil(() => sending.state === "failed");
    }
    if (typeof outcome !== "number" && outcome.code !== "disconnect") this.#told.add(String(outcome.code));
    this.#publishing.settled(sending, outcome, {
      withdrawn: this.#takenBack.has(outcome),
      isOver,
      isStalled: this.#fullAt === this.#now,
      now: this.#now,
    });
    for (const pending of [...this.#pending]) if (pending.awaits === sending) this.#finish(pending);
  }

  #withdraw(): void {
    const { live } = this.#publishing;
    if (live.length === 0) return;
    const sending = this.#random.pick(live);
    this.#note(() => `withdraw ${sending.seq}`);
    const error = new this.#library.MqttError("disconnect", "It is taken back");
    this.#takenBack.add(error);
    const before = this.#session.unacknowledged;
    this.#session.withdraw(sending.outgoing!, error);
    if (this.#session.unacknowledged === before) return;
    this.#withdrawn.add(sending);
    this.#publishing.withdrawn(sending);
  }

  #flush(): void {
    if (this.#left) return;
    const before = [...this.#publishing.live];
    this.#note(() => "flush");
    const call = this.#call("flush", (error) => {
      const waiting = before.find(({ outcome, isGivenUp }) => outcome === undefined && !isGivenUp);
      if (error === undefined && waiting !== undefined) {
        this.#decodeUntil(() => waiting.state === "done");
        if (waiting.state !== "done") this.fail(`flush() is done, and message ${waiting.seq} is ${waiting.state}`);
      }
      const hasFailed = (sending: Sending) => sending.state === "failed" && !this.#withdrawn.has(sending);
      // One that the broker refuses need not be told by its call, which may have been given up.
      if (typeof error?.code === "number" && error !== this.#session.reason) {
        this.#decodeUntil(() => before.some(hasFailed));
      }
      const isLost = before.some(hasFailed);
      if (error === undefined && isLost) this.fail("flush() is done, and a message is lost");
      const mayFail = isLost || error?.code === "timeout" || error?.code === "overflow" ||
        error === this.#session.reason;
      if (error !== undefined && !mayFail) this.fail(`flush() fails with ${error}`);
    });
    try {
      this.#session.flush(call, this.#now);
    } catch (error) {
      call.reject(error as MqttError); // "overflow": nothing was asked for
    }
  }

  /** Asks for what nobody takes, where there is no handler for the rest. */
  #subscribeRest(): void {
    if (this.#hasOnpub || this.#claims !== "no" || this.#left || this.#session.buffered > 500) return;
    this.#claims = "asking";
    const routes = this.#routes;
    routes.set("e", [this.#workers.get("e")!]);
    this.#receiving.claim(["e"], (seq) => this.#broker.sent[seq]!.topic);
    this.#subscribe("e", "e", (error) => {
      this.#claims = error === undefined ? "yes" : "no";
      if (error !== undefined) routes.set("e", []);
    });
  }

  // ---- handlers and iterators

  /** A handler is called. */
  #work(worker: Worker, message: Message): unknown {
    const random = this.#random, delivery = this.#gets(worker, message);
    if (delivery === undefined) return undefined;
    if (this.#depth === 0 && random.chance(0.15)) {
      this.#depth++;
      this.#act();
      this.#depth--;
    }
    if (random.chance(this.#async)) {
      const hangs = this.#hangs && random.chance(0.1);
      const awaits = random.chance(0.3) ? this.#publish() : undefined;
      const isPending = awaits?.outcome === undefined;
      const pending: Pending = { worker, delivery, work: undefined, awaits: isPending ? awaits : undefined, hangs };
      this.#pending.push(pending);
      return pending;
    }
    const fails = random.chance(0.05);
    this.#receiving.finished(worker, delivery, fails);
    if (!fails) return undefined;
    this.#failures++;
    throw new Error("the program's own");
  }

  readonly #handling: Handling = {
    call: (onpub, message) => {
      try {
        return onpub(message.topic, message);
      } catch (error) {
        if (error instanceof Violation) throw error;
        this.#session.backlog.countFailure();
        return undefined;
      }
    },
    watch: (promise, work) => void ((promise as Pending).work = work),
  };

  #gets(worker: Worker, message: Message): Delivery | undefined {
    const seq = this.#checkMessage(message);
    this.#note(() => `${worker.name} gets ${seq}`);
    if (this.#left && !this.#drains && worker.inbox === undefined) {
      this.fail(`${worker.name} is called after disconnect()`);
    }
    this.#decodeUntil(() => worker.expected[0]?.seq === seq);
    return this.#receiving.gets(worker, seq);
  }

  #checkMessage({ topic, payload, qos }: Message): number {
    const seq = numberOf(payload), sent = this.#broker.sent[seq];
    if (sent?.topic !== topic || sent.qos !== qos || !same(sent.payload, payload)) {
      this.fail(`message ${seq} is garbled`);
    }
    return seq;
  }

  /** A promise of a handler settles. */
  #settleOne(): void {
    const some = this.#pending.filter(({ awaits, work, hangs }) =>
      awaits === undefined && work !== undefined && !hangs
    );
    if (some.length === 0) return;
    this.#finish(this.#random.pick(some));
    if (this.#depth === 0) this.#pump();
  }

  #finish(pending: Pending): void {
    const { worker, delivery, work } = pending, failed = this.#random.chance(0.05);
    pending.awaits = undefined;
    if (work === undefined || pending.hangs) return;
    this.#pending.splice(this.#pending.indexOf(pending), 1);
    this.#note(() => `${worker.name} is done with ${delivery.seq}`);
    if (failed) this.#failures++;
    this.#receiving.finished(worker, delivery, failed);
    this.#session.backlog.settle(work, failed);
    this.#again = true;
  }

  /** An iterator asks for the next message. */
  #ask(): void {
    for (const worker of this.#workers.values()) {
      const { inbox, isLeft } = worker;
      if (inbox === undefined || isLeft || this.#waiting.has(worker)) continue;
      if (!this.#isQuiet && this.#random.chance(0.3)) continue;
      this.#receiving.asks(worker);
      const message = this.#session.backlog.take(inbox);
      if (message !== undefined) {
        worker.given = this.#gets(worker, message);
      } else if (!inbox.ended) {
        if (worker.expected.length > 0) this.fail(`${worker.name} does not get message ${worker.expected[0]!.seq}`);
        this.#session.backlog.setWaiting(inbox, true);
        this.#waiting.add(worker);
      }
    }
  }

  /** Something has come for an iterator that waits. */
  #wake(worker: Worker): void {
    const inbox = worker.inbox!;
    if (!this.#waiting.has(worker)) return;
    const message = inbox.ended ? undefined : this.#session.backlog.take(inbox);
    if (message === undefined && !inbox.ended) return;
    this.#session.backlog.setWaiting(inbox, false);
    this.#waiting.delete(worker);
    if (message !== undefined) worker.given = this.#gets(worker, message);
  }

  /** An iterator is left: another handler may get what comes then, or nobody. */
  #leave(): void {
    const worker = this.#workers.get("c")!, inbox = worker.inbox!;
    if (worker.isLeft || this.#depth > 0 || this.#end !== undefined || this.#left) return;
    this.#note(() => "leave c");
    this.#receiving.leaves(worker);
    this.#routes.set("c", this.#hasOnpub ? [this.#workers.get("onpub")!] : []);
    const isAlone = this.#session.leave(inbox);
    if (isAlone) this.#session.unsubscribeInbox(inbox, this.#call("leave"), this.#now);
  }

  /** A program that blocks asks for the next message. */
  #take(): void {
    if (this.#depth > 0) return;
    for (;;) {
      this.#receiving.settleTaken();
      const event = this.#session.next();
      if (event === undefined) break;
      if (event.type !== 3) {
        this.#handle(event);
        continue;
      }
      const seq = this.#checkMessage(event);
      this.#note(() => `the program takes ${seq}`);
      this.#decodeUntil(() => this.#receiving.kept[0]?.seq === seq);
      this.#receiving.takes(seq);
      break;
    }
  }

  #disconnect({ drain }: { drain: boolean }): void {
    if (this.#left || this.#depth > 0) return;
    this.#note(() => `disconnect, drain ${drain}`);
    const isOpen = this.#session.status.type === "connected";
    this.#left = true;
    this.#drains = drain && isOpen;
    if (this.#drains) {
      this.#receiving.isOver = true;
      this.#receiving.mayHaveLeft = this.#hangs;
      this.#receiving.discardUnclaimed();
    } else {
      this.#receiving.leave();
    }
    this.#session.disconnect(
      this.#call("disconnect", (error) => {
        const isDismissed = typeof error?.code === "number"; // the broker had done so before
        if (error !== undefined && this.#isQuiet && !this.#hangs && !isDismissed) {
          this.fail(`disconnect() fails with ${error}`);
        }
      }),
      { drain },
      this.#now,
    );
  }

  // ---- the shell

  /** Does what the session wants, until it is dry. */
  #pump(): void {
    const session = this.#session;
    do {
      this.#again = false;
      for (;;) {
        const event = this.#takes ? session.nextKeepingMessages() : session.nextDelivering(this.#handling);
        if (event === undefined) break;
        this.#handle(event);
      }
    } while (this.#again);
    this.#decodeUntil(() => false);
  }

  #handle(event: SessionEvent): void {
    switch (event.type) {
      case 3:
        return this.fail("a message is told, not delivered");
      case "dial":
        this.#dialed = event.attempt;
        return;
      case "login":
        this.#session.login(event.attempt, { uname: undefined, passwd: undefined }, this.#now);
        return;
      case "end":
        return void this.#note(() => "end");
      case "hangup":
        return this.#hangup();
      case "settled":
        return event.error === undefined ? event.call.resolve(event.code) : event.call.reject(event.error);
      case "inbox":
        return event.inbox.wake();
      case "status": {
        const { status } = event;
        this.#told.add(status.type);
        if (status.type === "connected") this.#decodeUntil(() => this.#line!.isOpen);
        this.#note(() => `status ${status.type}`);
        if (status.type === "waiting" && !this.#mayEnd(status.error)) {
          this.fail(`the connection is given up: ${status.error}`);
        }
        if (status.type === "waiting" && this.#isDuel) this.fail("it goes on though another client takes its session");
        if (status.type === "dropped") this.#told.add(String(status.error.code));
        if (status.type === "dropped" && status.error.code === "stale") {
          this.#publishing.toldStale(status.topic, status.size, this.#now);
        }
        if (status.type === "dropped" && status.error.code === "unclaimed") {
          this.#told.add("unclaimed");
          this.#receiving.giveUp(this.#now);
        }
        return;
      }
      case "closed":
        this.#note(() => `the end: ${event.error.code}`);
        this.#end = event.error;
        if (!this.#left && !this.#isDuel && this.#is5) this.fail(`it ends: ${event.error}`);
    }
  }

  /** Whether a connection may end with an error. */
  #mayEnd({ code }: MqttError): boolean {
    return code === "socketclosed" || code === "timeout" || code === this.#goodbye;
  }

  #hangup(): void {
    this.#dialed = undefined;
    const line = this.#line;
    if (line === undefined) return;
    this.#note(() => `connection ${line.attempt} is gone`);
    if (this.#given.at(-1)?.packet.type === "DISCONNECT") this.#decodeUntil(() => false);
    else if (line.isOpen) this.#wasTakenOver = false;
    this.#line = undefined;
    if (this.#given.length > 0 && !this.#left) this.fail(`${this.#given[0]!.packet.type} is not decoded`);
    this.#given = [];
    this.#broker.lost(this.#now);
    this.#publishing.lost();
    this.#receiving.lost();
  }

  /** The client decodes what it was given, until it is so. */
  #decodeUntil(isSo: () => boolean): void {
    while (this.#given.length > 0 && !isSo()) {
      const { packet, isGenuine } = this.#given.shift()!;
      if (packet.type === "CONNACK") {
        const { sessionPresent } = packet;
        this.#receiving.connected(sessionPresent, this.#now);
        if (sessionPresent) this.#told.add(this.#connections === 0 ? "taken over" : "resumed");
        else if (this.#connections > 0) this.#told.add("lost");
        this.#publishing.connected(sessionPresent, this.#connections++ === 0, packet.properties);
        this.#line!.isOpen = true;
        this.#connectedAt = this.#now;
        this.#goodbye = undefined;
        this.#broker.accepted(this.#settings.cleanSession);
      } else if (packet.type === "DISCONNECT") {
        this.#dismissed(packet.code!);
      } else {
        this.#publishing.heard(packet, isGenuine);
        this.#receiving.heard(packet, this.#now);
      }
    }
  }

  /** The broker has disconnected the client: twice within the stable time as another client has its session, and it is to end. */
  #dismissed(code: number): void {
    const isTakenOver = code === TAKEN_OVER;
    const isSoon = this.#now - this.#connectedAt < this.#settings.reconnect!.stableAfter;
    this.#isDuel = isTakenOver && this.#wasTakenOver && isSoon;
    if (this.#isDuel) this.#told.add("duel");
    this.#wasTakenOver = isTakenOver;
    this.#goodbye = code;
  }

  // ---- the network

  #open(): void {
    const attempt = this.#dialed;
    if (attempt === undefined) return;
    this.#dialed = undefined;
    this.#note(() => `connection ${attempt}`);
    const heard = new NaiveConnection(this.#settings.version);
    this.#line = {
      attempt,
      toBroker: [],
      toClient: [],
      at: 0,
      written: new NaiveConnection(this.#settings.version),
      heard: new NaiveReader(heard),
      heardConnection: heard,
      aliasMaximum: 0,
      aliases: new Map(),
      writing: false,
      isOpen: false,
      hasLeft: false,
    };
    this.#session.opened(attempt, { trusted: false }, this.#now);
    this.#pump();
  }

  #write(): void {
    const line = this.#line;
    if (line === undefined || line.writing) return;
    do {
      const bytes = this.#session.takeBytes(this.#now);
      this.#publishing.ready(this.#now);
      if (bytes === undefined) return this.#checkSent(line);
      for (let at = 0; at < bytes.length;) {
        const found = decodeNaive(bytes.subarray(at), line.written);
        if (found === undefined) return this.fail("a write that ends within a packet");
        this.#wrote(found.packet, found.length);
        at += found.length;
      }
      line.toBroker.push(bytes.slice());
      line.writing = true;
      if (this.#isPrompt || this.#isQuiet) this.#written();
    } while (this.#isPrompt && this.#line === line);
  }

  #wrote(packet: NaivePacket, size: number): void {
    this.#note(() => `< ${show(packet)}`);
    const properties = "properties" in packet ? packet.properties ?? [] : [];
    if (packet.type === "CONNECT" && this.#is5) this.#checkConnect(properties);
    if (packet.type === "PUBLISH" && numberIn(properties, 35) !== undefined) this.#told.add("aliased");
    this.#publishing.wrote(packet, size);
    this.#receiving.wrote(packet);
    if (packet.type !== "DISCONNECT") return;
    this.#line!.hasLeft = true;
    if (!this.#left) this.fail("DISCONNECT that nobody asked for");
    const isDrained = this.#receiving.count === 0 && this.#receiving.isAcknowledged;
    if (this.#drains && !isDrained && this.#isQuiet && !this.#hangs) this.fail("DISCONNECT before all is acknowledged");
  }

  /** What CONNECT says besides, in version 5. */
  #checkConnect(properties: readonly NaiveProperty[]): void {
    const { sessionExpiry, receiveMaximum, maxPacketSize, topicAliases } = this.#settings;
    const right = [[17, sessionExpiry], [33, receiveMaximum], [34, topicAliases], [39, maxPacketSize]] as const;
    for (const [identifier, value] of right) {
      const found = numberIn(properties, identifier) ?? 0;
      if (found !== (value ?? 0)) this.fail(`CONNECT has ${found} as property ${identifier}, not ${value}`);
    }
    this.#line!.aliasMaximum = topicAliases;
  }

  /** There is nothing more to be written. */
  #checkSent({ isOpen }: Line): void {
    if (!isOpen || this.#end !== undefined || this.#given.length > 0) return;
    if (!this.#left) this.#receiving.checkSent();
    if (this.#session.status.type === "connected") this.#publishing.checkSent(this.#now);
  }

  #written(): void {
    const line = this.#line;
    if (!line?.writing) return;
    line.writing = false;
    this.#session.written(line.attempt, this.#now);
    this.#pump();
  }

  /** The broker reads some bytes. */
  #hear(): void {
    const line = this.#line, part = line?.toBroker.shift();
    if (line === undefined || part === undefined) return;
    const length = this.#random.chance(0.5) ? part.length : this.#random.int(1, part.length);
    if (length < part.length) line.toBroker.unshift(part.subarray(length));
    for (const packet of line.heard.push(part.subarray(0, length))) this.#broker.hear(packet, this.#now);
  }

  /** The broker sends a packet. */
  #speak(): void {
    const answer = this.#broker.speak();
    if (answer === undefined) return;
    const { packet } = answer, line = this.#line!;
    if (packet.type === "CONNACK" && this.#is5) {
      // The client's own option is a bound, too.
      const most = Math.min(numberIn(packet.properties!, 34) ?? 0, this.#settings.topicAliases);
      line.written.topicAliasMaximum = line.heardConnection.topicAliasMaximum = most;
    }
    line.toClient.push(this.#send(answer, line));
  }

  /** Its bytes; the broker gives topic aliases, too. */
  #send(answer: Answer, { aliasMaximum, aliases }: Line): Line["toClient"][0] {
    const { packet } = answer;
    if (!this.#is5) return { bytes: encodeNaive(packet), answer };
    if (packet.type !== "PUBLISH" || aliasMaximum === 0 || this.#random.chance(0.3)) {
      return { bytes: encodeNaive5(packet), answer };
    }
    const { topic, properties = [] } = packet, known = aliases.get(topic);
    const alias = known ?? this.#random.int(1, Math.min(aliasMaximum, 3));
    if (known === undefined) {
      for (const [name, other] of aliases) if (other === alias) aliases.delete(name);
    }
    aliases.set(topic, alias);
    const sent = { ...packet, properties: [...properties, [35, alias] as NaiveProperty] };
    const bytes = encodeNaive5({ ...sent, topic: known === undefined ? topic : "" });
    return { bytes, answer: { ...answer, packet: sent } };
  }

  /** The client reads some bytes. */
  #feed(): void {
    const line = this.#line, random = this.#random;
    // What comes after DISCONNECT is for nobody.
    if (line === undefined || line.hasLeft || line.toClient.length === 0 || !this.#session.isReading) return;
    const takesNow = this.#takes && this.#receiving.kept.length === 0 && random.chance(0.3);
    const most = this.#isRoomy && !takesNow ? random.pick([1, 3, 50]) : 1;
    let chunk = new Uint8Array(0);
    const given: Answer[] = [];
    while (given.length < most && line.toClient.length > 0) {
      const { bytes, answer } = line.toClient[0]!;
      const left = bytes.length - line.at;
      // One that is too long is answered at its head.
      const isWhole = bytes.length > MAX_PACKET_SIZE || random.chance(0.7);
      const length = isWhole ? left : random.int(1, left);
      chunk = Uint8Array.of(...chunk, ...bytes.subarray(line.at, line.at + length));
      line.at += length;
      if (length < left) break;
      line.at = 0;
      line.toClient.shift();
      given.push(answer);
      this.#read++;
      this.#note(() => `> ${show(answer.packet)}${answer.isGenuine ? "" : ", which is not true"}`);
    }
    this.#given.push(...given);
    this.#session.received(line.attempt, chunk, chunk.length, this.#now);
    if (takesNow) this.#take();
    this.#pump();
  }

  /** The connection breaks; some of what is on its way to the broker may arrive. */
  #break(): void {
    const line = this.#line;
    if (line === undefined) return;
    if (this.#is5 && this.#random.chance(0.5) && this.#broker.disconnect()) return;
    this.#note(() => `connection ${line.attempt} breaks`);
    for (let i = this.#random.int(0, 3); i > 0; i--) this.#hear();
    this.#session.lost(
      line.attempt,
      new this.#library.MqttError("socketclosed", "The connection was closed"),
      this.#now,
    );
    this.#pump();
  }

  /** Time passes. */
  #pass(milliseconds: number): void {
    const until = this.#now + milliseconds;
    while (this.#session.due <= until && this.#end === undefined) {
      this.#now = Math.max(this.#now, this.#session.due);
      if (this.#receiving.bytes >= this.#settings.maxUnsettled) this.#fullAt = this.#now;
      this.#session.tick(this.#now);
      this.#pump();
    }
    this.#now = until;
  }

  // ---- the history

  play(): Outcome {
    this.#begin();
    const random = this.#random, breaks = random.pick([0, 0.01, 0.03]);
    for (let i = random.int(30, 300); i > 0 && this.#violation === undefined && this.#end === undefined; i--) {
      this.#step(breaks);
    }
    this.#finishAll();
    if (this.#violation !== undefined) throw this.#violation;
    return {
      steps: this.#steps,
      code: this.#end?.code ?? "none",
      connections: this.#connections,
      faults: [],
      published: this.#publishing.all.length,
      delivered: this.#receiving.delivered,
      told: [...this.#told],
    };
  }

  #step(breaks: number): void {
    const random = this.#random;
    if (random.chance(breaks)) this.#break();
    switch (random.int(0, 15)) {
      case 0:
      case 1:
      case 2:
        this.#write();
        break;
      case 3:
        this.#written();
        break;
      case 4:
      case 5:
        this.#hear();
        break;
      case 6:
      case 7:
        this.#speak();
        break;
      case 8:
      case 9:
      case 10:
        this.#feed();
        break;
      case 11:
        for (let i = random.pick([1, 1, 5]); i > 0; i--) {
          this.#broker.publish(
            random.pick(["a", "b", "c", "d", "e"]),
            random.pick([0, 1, 1, 2, 2]),
            // One that knows maxPacketSize sends nothing larger.
            random.chance(0.03) && !this.#is5 ? MAX_PACKET_SIZE : 4 + random.size(200),
          );
        }
        break;
      case 12:
        if (random.chance(0.5)) this.#open();
        else this.#broker.repeat();
        break;
      case 13:
        this.#pass(random.pick(this.#is5 ? [0, 5, 20, 700] : [0, 5, 20]));
        break;
      default:
        this.#act();
    }
    this.#pump();
    this.#check();
  }

  /** Whatever can be done without the program is done. */
  #goOn(): void {
    for (let idle = 0, rounds = 0; idle < 3 && this.#violation === undefined; rounds++) {
      if (rounds > 5000) return this.fail("it goes on for ever");
      const before = [this.#publishing.live.length, this.#receiving.delivered, this.#broker.sent.length];
      this.#pump();
      this.#open();
      this.#write();
      this.#written();
      this.#hear();
      const spoke = this.#broker.isIdle;
      this.#speak();
      this.#feed();
      if (this.#dialed === undefined && this.#line === undefined) this.#pass(20);
      this.#pump(); // what has become stale meanwhile
      this.#check();
      const line = this.#line;
      const isDry = line === undefined
        ? this.#end !== undefined
        : (line.isOpen || line.hasLeft) && spoke && line.toBroker.length === 0 &&
          (line.toClient.length === 0 || line.hasLeft || !this.#session.isReading);
      const isSame = before[0] === this.#publishing.live.length && before[1] === this.#receiving.delivered;
      idle = isDry && isSame ? idle + 1 : 0;
    }
  }

  /** The faults end, and the program does its part: everything settles. */
  #finishAll(): void {
    if (this.#violation !== undefined) return;
    this.#note(() => "the faults end");
    this.#isQuiet = true;
    Object.assign(this.#broker.manners, POLITE);
    for (let i = 0; i < 300 && this.#end === undefined && this.#violation === undefined; i++) {
      const before = this.#progress;
      this.#goOn();
      this.#doPart();
      this.#goOn();
      if (before === this.#progress && i > 3) {
        // Who waits for ever is told so, and what nobody takes is given up.
        for (let seconds = 0; seconds < 22 && this.#end === undefined; seconds++) {
          this.#pass(1000);
          this.#goOn();
        }
        if (before === this.#progress) break;
      }
    }
    if (!this.#left && this.#end === undefined) this.#conclude();
    this.#disconnect({ drain: !this.#takes && this.#random.chance(0.5) });
    for (let i = 0; i < 5 && this.#end === undefined; i++) {
      this.#goOn();
      this.#doPart();
      this.#pass(1000);
    }
    for (let i = 0; i < 5 && this.#end === undefined; i++) {
      this.#goOn();
      this.#pass(11_000);
    }
    if (this.#end === undefined) return this.fail("it does not end");
    this.#pump();
    this.#publishing.check(true);
    for (const { name } of this.#asked) this.fail(`${name} does not settle`);
    this.#publishing.checkArrivals(this.#broker.arrivals);
  }

  /** Handlers are done, and iterators ask for more. */
  #doPart(): void {
    while (this.#pending.some(({ awaits, work, hangs }) => awaits === undefined && work && !hangs)) this.#settleOne();
    this.#ask();
    if (this.#takes) this.#take();
    this.#pump();
  }

  get #progress(): string {
    const { live } = this.#publishing, { delivered, count } = this.#receiving;
    return [live.length, delivered, count, this.#pending.length, this.#read].join();
  }

  /** Nothing is wrong any more: all is done. */
  #conclude(): void {
    const { live } = this.#publishing, { count } = this.#receiving;
    const waiting = live.find(({ isGivenUp }) => !isGivenUp);
    if (waiting !== undefined) {
      this.fail(`publish ${waiting.seq} waits though nothing is wrong: it is ${waiting.state}`);
    }
    if (this.#hangs) return;
    if (live.length > 0) this.fail(`message ${live[0]!.seq} is not delivered though nothing is wrong`);
    if (count > 0) this.fail(`${count} messages are not settled though nothing is wrong`);
    const [sent] = this.#broker.unacknowledged;
    if (sent !== undefined) {
      this.fail(`message ${sent.seq} is not acknowledged though nothing is wrong: it is ${sent.state}`);
    }
    for (const { name } of this.#asked) this.fail(`${name} waits though nothing is wrong`);
    for (const { seq, topic, qos, state, payload } of this.#broker.sent) {
      const isDropped = payload.length >= this.#settings.maxPacketSize;
      if (qos === 0 || state === "lost" || isDropped) continue;
      const names: Record<string, string[]> = { a: ["a"], b: ["b"], d: ["d", "d iterated"] };
      for (const name of this.#takes ? ["the program"] : names[topic] ?? []) {
        if (!this.#receiving.has(name, seq)) this.fail(`${name} never got message ${seq}`);
      }
    }
  }

  // ---- what must hold

  fail(what: string): void {
    this.#note(() => `VIOLATION: ${what}`);
    this.#violation ??= new Violation(`${what} (at ${this.#now} ms, step ${this.#steps})`);
  }

  #note(line: () => string): void {
    this.#log?.(`${String(Math.round(this.#now)).padStart(7)}  ${line()}`);
  }

  #check(): void {
    this.#steps++;
    this.#publishing.check(this.#end !== undefined);
    if (this.#end !== undefined) return;
    if (!this.#left && !this.#takes) this.#receiving.check();
    const { stats, isReading } = this.#session, { count, givenUp, hasRoom, bytes } = this.#receiving;
    const right = {
      dropped: this.#receiving.dropped,
      unsettled: this.#drains && this.#hangs ? stats.unsettled : count, // it may have given up draining
      failed: this.#failures,
      unclaimed: givenUp,
      unacknowledged: this.#publishing.live.length,
      ignored: this.#publishing.ignored,
    };
    for (const name of Object.keys(right) as (keyof typeof right)[]) {
      if (stats[name] !== right[name]) this.fail(`stats.${name} is ${stats[name]}, not ${right[name]}`);
    }
    if (this.#line?.isOpen !== true || this.#left) return;
    const isAwaited = this.#publishing.isAwaited || this.#waiting.size > 0;
    const hasSpace = bytes < this.#settings.maxUnsettled;
    if (!isReading && hasRoom) this.fail("nothing is read, and there is room");
    if (!isReading && isAwaited && hasSpace) this.fail("nothing is read, though the program waits for the broker");
    if (isReading && !hasSpace) this.fail(`more is read, and ${bytes} bytes are not settled`);
    if (isReading && hasRoom === false && !isAwaited && !this.#takes && this.#asked.size === 0) {
      this.fail(`more is read, and ${count} messages are not settled`);
    }
  }
}

/** Where it is a bound, some messages exceed it. */
const MAX_PACKET_SIZE = 400;

/** The reason code of version 5 for a session that another client has taken over. */
const TAKEN_OVER = 142;
