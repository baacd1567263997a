/**
 * One history of a session in a store: processes that die between any two steps, one after the other, a log on a disk that
 * is slow, full or damaged, and a broker that keeps, loses or forgets the session, on connections that break at any packet.
 * A seed decides about everything. After each step the session, the log and what has gone to the broker are held against
 * each other; then the faults end, and whatever was promised must get done.
 *
 * Odd seeds speak version 5, with reason codes and the expiry that is left. Some programs have `subscriptions`.
 *
 * What goes on inside one process is played with more detail in `qos/`; how the store is used by promises, elsewhere.
 */
import type { ConnectOptions } from "../../../src/options.ts";
import type { Settings } from "../../../src/client/settings.ts";
import type { MqttError } from "../../../src/errors.ts";
import type { Message } from "../../../src/message.ts";
import type { Handling, Work } from "../../../src/session/consumer.ts";
import type { Call, SessionEvent } from "../../../src/session/events.ts";
import type { Session } from "../../../src/session/session.ts";
import { encodeNaive, encodeNaive5, NaiveConnection, type NaivePacket, NaiveReader } from "../../support/naive.ts";
import { Random } from "../../support/random.ts";
import { numbered, numberOf } from "../broker.ts";
import { type Outcome, Violation } from "../outcome.ts";
import { same, show } from "../packets.ts";
import type { Library } from "../library.ts";
import { type Answer, Broker, POLITE } from "../qos/broker.ts";
import { Disk } from "./disk.ts";
import { ACCEPTED, changesOf, CONNECTED, SENT } from "./log.ts";
import { type Published, Publishing } from "./published.ts";
import { Receiving } from "./received.ts";
import { Subscribing } from "./subscribing.ts";

/** A connection: packets on their way. */
interface Line {
  readonly attempt: number;
  readonly toBroker: NaivePacket[];
  readonly toClient: Answer[];
  readonly written: NaiveReader;
  writing: boolean;
  isOpen: boolean;
  /** Whether the broker has not kept the session, and the log does not say so yet. */
  isForgetDue: boolean;
  hasLeft: boolean;
}

/** A promise of a handler that is pending. */
interface Pending {
  readonly seq: number;
  work: Work | undefined;
}

/** So many bytes of records that mean nothing any more may be there besides twice what is alive. */
const SLACK = 65_536;
/** What a store adds to a record. */
const FRAME = 16;
/** The clock of the wall when the history begins; that of a process begins anew with each. */
const EPOCH = 1_700_000_000_000;

/** Plays a seed's history to its end, and throws the first {@linkcode Violation}. */
export function playDurable(seed: number, library: Library, log?: (line: string) => void): Outcome {
  return new DurableHistory(seed, library, log).play();
}

class DurableHistory {
  readonly #random: Random;
  readonly #library: Library;
  readonly #log: ((line: string) => void) | undefined;
  readonly #settings: Settings;
  readonly #broker: Broker;
  readonly #disk = new Disk();
  readonly #publishing: Publishing;
  readonly #receiving: Receiving;
  /** Of a program that subscribes. */
  readonly #subscribing: Subscribing | undefined;
  #session: Session | undefined;
  /** Since the history has begun, and when the process did. */
  #now = 0;
  #born = 0;
  #steps = 0;
  #violation: Violation | undefined;
  /** Whether flushes are done at once. */
  readonly #isPrompt: boolean;
  /** Whether it is version 5: every other history is. */
  readonly #is5: boolean;
  /** How much of the log is damaged when it is read: 0 to 1. */
  readonly #damage: number;
  #isDamaged = false;
  #isDamagedNow = false;
  /** How often the disk becomes full; whether it is; whether what was to be kept last was not. */
  readonly #fills: number;
  #isFull = false;
  #isFailing = false;
  /** How often the log is replaced though it need not be. */
  readonly #replaces: number;
  /** Whether a replacement has failed: then the log may grow once more. */
  #hasReplacementFailed = false;
  /** Payloads have so many bytes at the most. */
  readonly #longest: number;
  /** How often promises are returned. */
  readonly #async: number;
  readonly #pending: Pending[] = [];
  /** Calls that are no publishes, of this process. */
  readonly #asked = new Set<string>();
  #calls = 0;
  /** Numbers of messages that could not be kept by this process. */
  readonly #unkept = new Set<number>();
  /** The connection whose CONNACK the flush under way keeps: it told that the session is another one. */
  #forgetting: Line | undefined;
  /** How often the session was another one, and when the flush under way began. */
  #forgets = 0;
  #forgetsThen = 0;
  #connections = 0;
  #processes = 0;
  /** Whether a broker has accepted the client, and this process of it: if not, the first connection that is lost ends it. */
  #hasConnected = false;
  #hasConnectedNow = false;
  #dialed: number | undefined;
  #line: Line | undefined;
  #hasLeft = false;
  /** Whether the log was empty when the process began; whether the broker is to forget the session that it has. */
  #isNew = true;
  #startsAnew = false;
  #end: MqttError | undefined;
  readonly #told = new Set<string>();

  constructor(seed: number, library: Library, log?: (line: string) => void) {
    const random = this.#random = new Random(seed);
    this.#library = library;
    this.#log = log;
    this.#is5 = seed % 2 === 1;
    this.#isPrompt = random.chance(0.3);
    this.#damage = random.chance(0.08) ? random.pick([0.02, 0.2]) : 0;
    this.#fills = random.pick([0, 0, 0.02, 0.1]);
    this.#replaces = random.pick([0, 0.1, 0.5]);
    this.#longest = random.pick([20, 200, 200, 30_000]);
    this.#async = random.pick([0, 0.3, 0.7]);
    const op: ConnectOptions = {
      id: "simulated",
      keepalive: 0,
      session: true,
      maxInflight: random.pick([1, 2, 5, 20, undefined]),
      sessionLost: random.pick([undefined, undefined, "resend", "reject"]),
      maxBuffered: random.pick([1000, 16 << 20, 16 << 20]),
      reconnect: { minDelay: 10, maxDelay: 10, attempts: Infinity },
      version: this.#is5 ? 5 : 4,
    };
    this.#note(() => `options ${JSON.stringify(op)}`);
    this.#settings = { ...library.parseSettings(op), maxUnsettled: 16 << 20 };
    const forgets = random.pick([0, 0.1, 0.5]);
    const manners = this.#is5 ? { refuses: random.pick([0, 0.1, 0.5]) } : {
      disorder: random.pick([0, 0, 0.3]),
      twice: random.pick([0, 0, 0.2]),
      repeats: random.pick([0, 0.3]),
    };
    this.#broker = new Broker(random, { ...POLITE, forgets, ...manners }, this.#settings.version);
    const fail = (what: string) => this.fail(what);
    this.#publishing = new Publishing(this.#settings, { log: () => this.#disk.state, wall: () => this.#wall(), fail });
    const { sent } = this.#broker;
    if (random.chance(0.25)) {
      this.#subscribing = new Subscribing({
        ...{ library, random, sent, fail, is5: this.#is5, note: (line) => this.#note(line) },
        session: () => this.#session!,
        now: () => this.#time,
        handler: (name) => this.#handler(name),
        call: (what, done) => this.#call(what, done),
      }, { hasOnpub: random.chance(0.5) });
      Object.assign(this.#broker.manners, { denies: random.pick([0, 0, 0.2]), hastes: random.pick([0, 0.5]) });
    }
    const isNobodys = (seq: number) => this.#subscribing?.isNobodys(seq) ?? false;
    this.#receiving = new Receiving({ log: () => this.#disk.state, sent, isNobodys, fail });
    if (random.chance(0.2)) this.#broker.inherit(["s/0", "s/3"]);
    this.#start();
  }

  readonly #wall = (): number => EPOCH + this.#now;

  /** What the clock of the process says. */
  get #time(): number {
    return 1000 + this.#now - this.#born;
  }

  // ---- processes

  #start(): void {
    const restored = new this.#library.Restored();
    for (const record of this.#disk.kept) restored.read(record);
    this.#isNew = this.#disk.kept.length === 0;
    this.#startsAnew = false;
    this.#publishing.restart(this.#isDamaged);
    this.#born = this.#now - this.#random.pick([0, 17, 100_000]);
    this.#end = undefined;
    this.#hasLeft =
      this.#hasConnectedNow =
      this.#isFailing =
      this.#isFull =
      this.#hasReplacementFailed =
        false;
    this.#forgetting = undefined;
    this.#asked.clear();
    this.#unkept.clear();
    this.#pending.length = 0;
    this.#dialed = undefined;
    this.#note(() => `process ${this.#processes}: ${this.#disk.kept.length} records`);
    this.#processes++;
    const { MqttError, Session } = this.#library;
    const problems = this.#isDamagedNow ? [new MqttError("store", "The log is damaged")] : [];
    const log = { append: (record: Uint8Array) => this.#disk.append(record), wall: this.#wall, slack: SLACK };
    const consumers = this.#subscribing?.begin() ?? { onpub: this.#handler("onpub") };
    this.#session = new Session(
      this.#settings,
      { ...consumers, random: () => 1, durable: { log, restored, problems } },
      this.#call("connect"),
      this.#time,
    );
    this.#session.listen();
    this.#pump();
  }

  /** The process dies, and another one is started. */
  #die(): void {
    this.#note(() => `the process dies; ${this.#disk.pending.length} records wait`);
    this.#told.add("died");
    this.#gone();
    this.#restart(this.#disk.die(this.#random, this.#random.chance(0.5) ? this.#damage : 0));
  }

  #restart(damaged: number): void {
    if (damaged > 0) this.#told.add("damaged");
    this.#isDamagedNow = damaged > 0;
    this.#isDamaged ||= this.#isDamagedNow;
    this.#receiving.died(this.#isDamaged);
    this.#now += this.#random.pick([0, 3, 1000, 20_000]);
    this.#start();
  }

  // ---- the program

  #call(what: string, done: (outcome: number | MqttError | undefined) => void = () => {}): Call {
    const name = `${what} ${this.#calls++}`, process = this.#processes;
    this.#asked.add(name);
    const settled = (outcome: number | MqttError | undefined) => {
      if (process !== this.#processes) this.fail(`${name} is settled by another process`);
      if (!this.#asked.delete(name)) this.fail(`${name} is settled twice`);
      done(outcome);
    };
    return { resolve: settled, reject: settled };
  }

  #act(): void {
    const random = this.#random;
    if (this.#hasLeft) return;
    if (this.#subscribing !== undefined && random.chance(0.1)) return this.#subscribing.act();
    switch (random.int(0, 9)) {
      case 0:
        if (random.chance(0.3)) this.#withdraw();
        return;
      case 1:
        if (random.chance(0.3)) this.#flush();
        return;
      case 2:
      case 3:
      case 4:
        return this.#settleOne();
      case 5:
        if (random.chance(0.05)) this.#disconnect();
        return;
      default:
        for (let i = random.pick([1, 1, 1, 3, 10]); i > 0; i--) this.#publish();
    }
  }

  #publish(): void {
    const random = this.#random, session = this.#session!;
    const qos = random.pick([0, 1, 1, 2, 2] as const);
    const expiry = random.chance(0.3) ? random.pick(this.#is5 ? [1, 2, 20, 60] : [0.005, 0.05, 2, 60]) : undefined;
    const untilStored = qos > 0 && random.chance(0.4);
    const payload = numbered(this.#publishing.all.length, 4 + random.size(this.#longest));
    const published = this.#publishing.make(qos, payload, { ...expiry !== undefined && { expiry }, untilStored });
    const { seq, topic } = published;
    this.#note(() => `publish ${seq}, QoS ${qos}, ${published.size} bytes, expiry ${expiry}, stored ${untilStored}`);
    const message = payload.slice(), flags = qos << 1, process = this.#processes;
    const settled = (outcome: number | MqttError) => {
      if (process !== this.#processes) this.fail(`publish ${seq} is settled by another process`);
      this.#settled(published, outcome);
    };
    const call: Call = { resolve: (code) => settled(code!), reject: settled };
    try {
      if (qos > 0 || expiry !== undefined) {
        published.outgoing = session.send({ topic, message, flags, expiry, untilStored }, call, this.#time);
      } else {
        session.publish(topic, message, flags);
        this.#publishing.settled(published, 0, false);
      }
    } catch (error) {
      this.#publishing.refused(published, error as MqttError);
      this.#told.add("overflow");
    }
  }

  #flush(): void {
    const call = this.#call("flush");
    try {
      this.#session!.flush(call, this.#time);
    } catch (error) {
      call.reject(error as MqttError);
      if ((error as MqttError).code !== "overflow") this.fail(`flush() throws ${error}`);
    }
  }

  #settled(published: Published, outcome: number | MqttError): void {
    this.#note(() => `publish ${published.seq}: ${typeof outcome === "number" ? outcome : outcome.code}`);
    if (typeof outcome !== "number") this.#told.add(String(outcome.code));
    else if (published.isUntilStored) this.#told.add("stored");
    this.#publishing.settled(published, outcome, outcome === this.#session!.reason);
  }

  #withdraw(): void {
    const some = this.#publishing.live.filter(({ outgoing, hasCall }) => outgoing !== undefined && hasCall);
    if (some.length === 0) return;
    const published = this.#random.pick(some), before = published.outgoing!.state;
    this.#note(() => `withdraw ${published.seq}`);
    this.#session!.withdraw(published.outgoing!, new this.#library.MqttError("disconnect", "It is taken back"));
    if (published.outgoing!.state !== before) this.#publishing.gaveUp(published, "withdrawn");
  }

  #disconnect(): void {
    this.#note(() => "disconnect");
    this.#hasLeft = true;
    this.#receiving.left();
    this.#session!.disconnect(this.#call("disconnect"), {}, this.#time);
  }

  // ---- handlers

  readonly #handler = (name: string) => (_: string, message: Message): unknown => {
    const { topic, payload, qos } = message, seq = numberOf(payload), sent = this.#broker.sent[seq];
    if (sent?.topic !== topic || sent.qos !== qos || !same(sent.payload, payload)) {
      this.fail(`message ${seq} is garbled`);
    }
    this.#note(() => `${name} gets ${seq}`);
    this.#receiving.handled(seq);
    this.#subscribing?.handled(seq, name);
    if (this.#random.chance(this.#async)) {
      const pending: Pending = { seq, work: undefined };
      this.#pending.push(pending);
      return pending;
    }
    this.#receiving.settled(seq);
    return undefined;
  };

  readonly #handling: Handling = {
    call: (onpub, message) => onpub(message.topic, message),
    watch: (promise, work) => void ((promise as Pending).work = work),
  };

  #settleOne(): void {
    const [pending] = this.#pending;
    if (pending?.work === undefined) return;
    this.#pending.shift();
    this.#note(() => `handler is done with ${pending.seq}`);
    this.#receiving.settled(pending.seq);
    this.#session!.backlog.settle(pending.work, false);
    this.#pump();
  }

  // ---- the shell

  /** Does what the session wants, until it is dry. */
  #pump(): void {
    this.#drain();
    if (this.#isPrompt && !this.#disk.isFlushing) this.#flushNow();
  }

  #drain(): void {
    for (let event = this.#next(); event !== undefined; event = this.#next()) this.#handle(event);
    this.#publishing.checkStale();
  }

  #next(): SessionEvent | undefined {
    return this.#session!.nextDelivering(this.#handling);
  }

  #handle(event: SessionEvent): void {
    switch (event.type) {
      case "dial":
        this.#dialed = event.attempt;
        return;
      case "login":
        this.#session!.login(event.attempt, { uname: undefined, passwd: undefined }, this.#time);
        return;
      case "hangup":
        return this.#gone();
      case "settled":
        return event.error === undefined ? event.call.resolve(event.code) : event.call.reject(event.error);
      case "status": {
        const { status } = event;
        this.#told.add(status.type);
        this.#note(() => `status ${status.type}${"error" in status ? ` ${status.error.code}` : ""}`);
        if (status.type === "waiting" && !["socketclosed", "timeout"].includes(status.error.code as string)) {
          this.fail(`the connection is given up: ${status.error}`);
        }
        if (status.type === "refused") this.#subscribing!.refused(status.filter);
        if (status.type === "dropped") this.#dropped(status.topic, status.error);
        return;
      }
      case "closed":
        this.#note(() => `the end: ${event.error.code}`);
        this.#end = event.error;
        if (!this.#hasLeft && this.#hasConnectedNow) this.fail(`it ends: ${event.error}`);
    }
  }

  /** A message that nobody waits for is given up, or one that nobody takes. */
  #dropped(topic: string, error: MqttError): void {
    if (error.code === "unclaimed" && this.#subscribing !== undefined) return this.#subscribing.unclaimed(topic);
    const published = this.#publishing.all[Number(topic.slice(3))];
    this.#told.add(String(error.code));
    if (published === undefined) return this.fail(`${topic} is told as dropped`);
    if (published.hasCall) this.fail(`message ${published.seq} is told as dropped, and its call waits`);
    this.#publishing.gaveUp(published, String(error.code));
  }

  /** The connection is over. */
  #gone(): void {
    this.#dialed = undefined;
    if (this.#line === undefined) return;
    this.#note(() => `connection ${this.#line!.attempt} is gone`);
    this.#line = undefined;
    this.#broker.lost(this.#now);
    this.#publishing.lost();
    this.#receiving.lost();
    this.#subscribing?.lost();
  }

  // ---- the disk

  /** Something goes on there, if there is something to do. */
  #goOnWithDisk(): void {
    const random = this.#random, disk = this.#disk;
    if (!this.#isQuiet && random.chance(this.#fills)) this.#isFull = !this.#isFull;
    if (disk.isReplacing && random.chance(0.5)) return this.#goOnReplacing();
    if (disk.isFlushing) return this.#finishFlush();
    if (this.#beginFlush()) return;
    const { isSparse } = this.#session!.ledger;
    if (!disk.isReplacing && (isSparse || random.chance(this.#replaces))) this.#replace();
  }

  #beginFlush(): boolean {
    const isDue = this.#session!.store(this.#time);
    this.#drain(); // what has become stale meanwhile
    if (!isDue) return false;
    const batch = this.#disk.begin();
    this.#note(() => `flush ${batch.flatMap(changesOf).map((change) => Object.values(change).join(" "))}`);
    this.#forgetsThen = this.#forgets;
    this.#forgetting = this.#line?.isForgetDue ? this.#line : undefined;
    for (const { type, a } of batch.flatMap(changesOf)) {
      if (type === SENT && this.#unkept.has(a)) this.fail("what is of a message that could not be kept is written");
    }
    return true;
  }

  #finishFlush(): void {
    const session = this.#session!;
    if (this.#isFull) {
      for (const { type, a } of this.#disk.fail().flatMap(changesOf)) {
        if (type === ACCEPTED) this.#unkept.add(a);
      }
      this.#note(() => "the disk is full");
      this.#isFailing = true;
      session.notStored(new Error("ENOSPC"), this.#time);
      return this.#pump();
    }
    const batch = this.#disk.succeed(), isOfThis = this.#line !== undefined && this.#forgetting === this.#line;
    this.#note(() => "flushed");
    this.#isFailing = false;
    for (const { type, a } of batch.flatMap(changesOf)) {
      const logged = type === SENT ? this.#disk.state.messages.get(a) : undefined;
      const isSent = logged !== undefined && logged.packetId > 0 && this.#forgets === this.#forgetsThen;
      if (isSent) this.#publishing.sent(logged.seq, logged.packetId);
      if (type === CONNECTED && a === 0 && isOfThis) this.#line!.isForgetDue = false;
    }
    if (isOfThis) this.#broker.accepted(false);
    session.stored(this.#time);
    this.#pump();
  }

  #flushNow(): void {
    while (this.#beginFlush()) this.#finishFlush();
  }

  #replace(): void {
    this.#note(() => "a replacement begins");
    this.#disk.replace(this.#session!.ledger.records(this.#time));
    if (this.#session!.ledger.isSparse) this.fail("the log is to be replaced as soon as it was");
    if (this.#isPrompt || this.#random.chance(0.3)) this.#goOnReplacing(Infinity);
  }

  #goOnReplacing(count: number = this.#random.int(0, 4)): void {
    if (this.#disk.pull(count)) return;
    this.#hasReplacementFailed = this.#isFull;
    this.#note(() => `the replacement ${this.#isFull ? "fails" : "is done"}`);
    if (this.#isFull) return this.#disk.cutReplacement();
    this.#disk.finishReplacement();
    this.#told.add("replaced");
  }

  // ---- the network

  #open(): void {
    const attempt = this.#dialed;
    if (attempt === undefined) return;
    this.#dialed = undefined;
    this.#note(() => `connection ${attempt}`);
    this.#line = {
      attempt,
      toBroker: [],
      toClient: [],
      written: new NaiveReader(new NaiveConnection(this.#settings.version)),
      writing: false,
      isOpen: false,
      isForgetDue: false,
      hasLeft: false,
    };
    this.#session!.opened(attempt, { trusted: false }, this.#time);
    this.#pump();
  }

  #write(): void {
    const line = this.#line;
    if (line === undefined || line.writing) return;
    const bytes = this.#session!.takeBytes(this.#time);
    this.#drain();
    if (bytes === undefined) return this.#subscribing?.checkWritten();
    for (const packet of line.written.push(bytes)) {
      this.#note(() => `< ${show(packet)}`);
      this.#publishing.wrote(packet);
      this.#receiving.wrote(packet);
      this.#subscribing?.wrote(packet);
      if (line.isForgetDue && NEEDS_LOG.includes(packet.type) && (packet as { qos?: number }).qos !== 0) {
        this.fail(`${packet.type} before the log says that the session is another one`);
      }
      if (packet.type === "DISCONNECT") this.#left(line);
      if (packet.type === "CONNECT" && packet.cleanSession !== this.#startsAnew) {
        this.fail(`CONNECT has clean start ${packet.cleanSession}`);
      }
      line.toBroker.push(packet);
    }
    line.writing = true;
  }

  #left(line: Line): void {
    line.hasLeft = true;
    const { isFlushing, pending } = this.#disk;
    if (isFlushing || pending.length > 0 || this.#isFailing) this.fail("DISCONNECT before all is kept");
  }

  #written(): void {
    const line = this.#line;
    if (!line?.writing) return;
    line.writing = false;
    this.#session!.written(line.attempt, this.#time);
    this.#pump();
  }

  /** The broker reads a packet. */
  #hear(): void {
    const packet = this.#line?.toBroker.shift();
    if (packet !== undefined) this.#broker.hear(packet, this.#now);
  }

  /** The broker sends a packet. */
  #speak(): void {
    const answer = this.#line === undefined ? undefined : this.#broker.speak();
    if (answer !== undefined) this.#line!.toClient.push(answer);
  }

  /** The client reads some packets. */
  #feed(): void {
    const line = this.#line;
    if (line === undefined || line.hasLeft || !this.#session!.isReading) return;
    const given = line.toClient.splice(0, this.#random.pick([1, 1, 3]));
    if (given.length === 0) return;
    const parts: Uint8Array[] = [];
    for (const { packet, isGenuine } of given) {
      this.#note(() => `> ${show(packet)}${isGenuine ? "" : ", once more"}`);
      parts.push(this.#is5 ? encodeNaive5(packet) : encodeNaive(packet));
      if (packet.type === "CONNACK" && this.#isOrphaned(packet.sessionPresent)) break;
      if (packet.type === "CONNACK") this.#connected(line, packet.sessionPresent);
      this.#publishing.heard(packet, isGenuine);
      this.#subscribing?.heard(packet);
      this.#receiving.heard(packet, isGenuine);
    }
    const chunk = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      chunk.set(part, at);
      at += part.length;
    }
    this.#session!.received(line.attempt, chunk, chunk.length, this.#time);
    this.#pump();
  }

  /** Of version 5: whether the session is one of a store that is gone. Then the next CONNECT has the broker forget it. */
  #isOrphaned(sessionPresent: boolean): boolean {
    const isOrphaned = this.#is5 && sessionPresent && this.#isNew && !this.#hasConnectedNow;
    if (isOrphaned) this.#told.add("orphaned");
    this.#startsAnew = isOrphaned;
    return isOrphaned;
  }

  #connected(line: Line, sessionPresent: boolean): void {
    this.#connections++;
    line.isOpen = true;
    line.isForgetDue = !sessionPresent;
    if (!sessionPresent) this.#forgets++;
    const isTakenOver = sessionPresent && !this.#hasConnected;
    this.#hasConnected = this.#hasConnectedNow = true;
    if (isTakenOver) this.#told.add("taken over");
    else this.#told.add(sessionPresent ? "resumed" : "lost");
    this.#publishing.connected(sessionPresent, isTakenOver || this.#isDamaged);
    this.#receiving.connected(sessionPresent);
    this.#subscribing?.connected(sessionPresent);
  }

  /** The connection breaks; some of what is on its way to the broker may arrive. */
  #break(): void {
    const line = this.#line;
    if (line === undefined) return;
    this.#note(() => `connection ${line.attempt} breaks`);
    for (let i = this.#random.int(0, 3); i > 0; i--) this.#hear();
    const error = new this.#library.MqttError("socketclosed", "The connection was closed");
    this.#session!.lost(line.attempt, error, this.#time);
    this.#pump();
  }

  /** Time passes. */
  #pass(milliseconds: number): void {
    const until = this.#now + milliseconds, session = this.#session!;
    const toGo = () => session.due - this.#time;
    for (let rings = 0; this.#now + toGo() <= until && this.#end === undefined; rings++) {
      if (rings > 10_000) return this.fail("it rings for ever");
      this.#now = Math.max(this.#now, this.#now + toGo());
      session.tick(this.#time);
      this.#pump();
    }
    this.#now = until;
  }

  /** Each does its part. */
  #goOnWithNetwork(): void {
    this.#open();
    this.#write();
    this.#written();
    this.#hear();
    this.#speak();
    this.#feed();
  }

  // ---- the history

  play(): Outcome {
    const random = this.#random, breaks = random.pick([0, 0.01, 0.03]), deaths = random.pick([0.005, 0.02, 0.05]);
    for (let i = random.int(30, 300); i > 0 && this.#violation === undefined; i--) {
      if (random.chance(deaths)) this.#die();
      else if (random.chance(breaks)) this.#break();
      this.#step();
      this.#check();
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
      told: [...this.#told, ...this.#subscribing?.told ?? []],
    };
  }

  #isQuiet = false;

  #step(): void {
    const random = this.#random;
    if (this.#end !== undefined) return this.#restartAfterEnd();
    switch (random.int(0, 17)) {
      case 0:
      case 1:
      case 2:
        return this.#write();
      case 3:
        return this.#written();
      case 4:
      case 5:
        return this.#hear();
      case 6:
      case 7:
        return this.#speak();
      case 8:
      case 9:
        return this.#feed();
      case 10: {
        const topics = this.#subscribing === undefined ? ["down"] : [...this.#broker.subscribed];
        if (topics.length === 0) return;
        return this.#broker.publish(random.pick(topics), random.pick([0, 1, 2, 2, 2]), 4 + random.size(100));
      }
      case 11:
        if (random.chance(0.5)) this.#broker.repeat();
        else for (let i = random.int(1, 6); i > 0; i--) this.#goOnWithNetwork();
        return;
      case 12:
        return this.#pass(random.pick([0, 5, 20, 1000]));
      case 13:
      case 14:
      case 15:
        return this.#goOnWithDisk();
      default:
        this.#act();
        return this.#pump();
    }
  }

  /** The client has ended in order: the store is closed, and the program started again. */
  #restartAfterEnd(): void {
    for (const name of this.#asked) this.fail(`${name} does not settle`);
    for (const { seq, hasCall } of this.#publishing.all) if (hasCall) this.fail(`publish ${seq} does not settle`);
    if (this.#disk.isFlushing) this.#disk.succeed();
    this.#disk.begin();
    this.#disk.succeed();
    this.#restart(this.#disk.die(this.#random, 0));
  }

  /** The faults end: everything settles. */
  #finishAll(): void {
    if (this.#violation !== undefined) return;
    this.#note(() => "the faults end");
    this.#isQuiet = true;
    this.#isFull = false;
    Object.assign(this.#broker.manners, POLITE);
    if (this.#end !== undefined || this.#hasLeft) this.#finish();
    this.#goOnUntil(() => this.#isAllDone, 600);
    if (this.#violation === undefined && !this.#isAllDone) this.#tellWhatWaits();
    this.#check();
    this.#subscribing?.checkAll(this.#broker.subscribed);
    this.#disconnect();
    this.#goOnUntil(() => this.#end !== undefined, 100);
    if (this.#end === undefined) return this.fail("it does not end");
    for (const name of this.#asked) this.fail(`${name} does not settle`);
    this.#publishing.checkArrivals(this.#broker.arrivals);
    this.#receiving.checkAll();
  }

  /** A client that was about to end does so, and there is one more. */
  #finish(): void {
    this.#goOnUntil(() => this.#end !== undefined, 100);
    if (this.#end === undefined) return this.fail("it does not end");
    this.#restartAfterEnd();
  }

  get #isAllDone(): boolean {
    return this.#publishing.live.every(({ isExcused }) => isExcused) && this.#session!.unacknowledged === 0 &&
      this.#broker.unacknowledged.length === 0 && this.#asked.size === 0 && this.#pending.length === 0 &&
      !this.#disk.isFlushing && !this.#session!.store(this.#time) && (this.#subscribing?.isDone ?? true);
  }

  #tellWhatWaits(): void {
    const [published] = this.#publishing.live, [sent] = this.#broker.unacknowledged;
    if (published !== undefined) return this.fail(`message ${published.seq} is not sent though nothing is wrong`);
    if (sent !== undefined) return this.fail(`message ${sent.seq} is not acknowledged: it is ${sent.state}`);
    this.fail(`${[...this.#asked]} wait though nothing is wrong`);
  }

  #goOnUntil(isSo: () => boolean, most: number): void {
    for (let i = 0; i < most && this.#violation === undefined && !isSo(); i++) {
      for (let j = 0; j < 20; j++) {
        this.#goOnWithNetwork();
        this.#settleOne();
        if (this.#disk.isFlushing) this.#finishFlush();
        this.#beginFlush();
        this.#check();
      }
      this.#pass(i < 10 ? 20 : 200);
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
    this.#publishing.check();
    this.#subscribing?.check();
    if (this.#end !== undefined) return;
    const { unacknowledged } = this.#session!, { live } = this.#publishing;
    const some = live.filter(({ qos }) => qos > 0).length;
    if (!live.some(({ isExcused }) => isExcused) && unacknowledged !== some) {
      this.fail(`${unacknowledged} messages are not acknowledged, and it should be ${some}`);
    }
    const isIdle = !this.#session!.ledger.isBusy && this.#disk.pending.length === 0 && !this.#isFailing;
    if (!isIdle || this.#isDamaged || !this.#isPrompt && this.#session!.due <= this.#time) return;
    this.#publishing.checkLog();
    this.#receiving.checkLog();
    if (this.#disk.state.id !== this.#settings.id) this.fail(`the log is that of the client ${this.#disk.state.id}`);
    this.#checkSize();
  }

  /** The log is at most twice what is alive, or it is to be replaced. */
  #checkSize(): void {
    if (this.#disk.isReplacing || this.#hasReplacementFailed || this.#session!.ledger.isSparse) return;
    const { bytes, records, recorded } = this.#disk.state, { live } = this.#publishing;
    const alive = live.reduce((sum, { size }) => sum + size + 3 * (17 + FRAME), 0) + recorded.size * (5 + FRAME);
    const size = bytes + FRAME * records;
    if (size > 2 * alive + SLACK + 200) this.fail(`the log has ${size} bytes, of which ${alive} mean something`);
  }
}

/** What may only be sent once the log knows in which session. */
const NEEDS_LOG = ["PUBLISH", "PUBREC", "PUBREL", "PUBCOMP"];
