/**
 * What is subscribed to, over any number of processes: by `subscriptions` of the options, and by calls. Plays the program's
 * part of it, and has the model of which SUBSCRIBE and UNSUBSCRIBE go out when, and of who gets a message.
 */
import type { OnPublish, SubscribeOptions } from "../../../src/options.ts";
import type { MqttError } from "../../../src/errors.ts";
import type { Call } from "../../../src/session/events.ts";
import type { Session } from "../../../src/session/session.ts";
import type { Planned } from "../../../src/session/subscriptions.ts";
import type { NaivePacket, Publish, Suback, Subscribe } from "../../support/naive.ts";
import { numberIn } from "../../support/naive_properties.ts";
import type { Random } from "../../support/random.ts";
import { numberOf } from "../broker.ts";
import type { Library } from "../library.ts";
import type { Sent } from "../qos/broker.ts";

/** What the program may subscribe to. */
const TOPICS = ["s/0", "s/1", "s/2", "s/3"];
/** So often is a request sent whose connections are lost, then it has failed. */
const MOST_LOST = 2;
/** The property of version 5, and what it is when the program does not say it: this, or more. */
const ID = 11, FIRST_ID = 1024;
/** Who gets a message that no subscription takes; nobody does where connect has no handler. */
const REST = "onpub", NOBODY = "nobody";

/** A subscription, as it was asked for last. */
interface Wanted {
  readonly topic: string;
  readonly options: SubscribeOptions;
  /** Whether it is one of the options of connect. */
  readonly isPlanned: boolean;
  /** The name of its handler, if it has one of its own. */
  readonly handler: string | undefined;
  /** The subscription identifier in its packets, once there was one. */
  id: number | undefined;
}

/** A SUBSCRIBE or UNSUBSCRIBE: on its way, or waiting for a connection. */
interface Request {
  readonly type: "SUBSCRIBE" | "UNSUBSCRIBE";
  readonly topic: string;
  /** What it asks for, or what it gives up. */
  readonly wanted: Wanted | undefined;
  /** Whether it asks for what the broker had been asked for before, or should have been. */
  readonly renews: boolean;
  /** What its call gets: a code, that of an error, or what has become of it. */
  outcome: number | "done" | "lost" | undefined;
  packetId: number;
  lost: number;
}

/** What the history knows besides. */
interface Surroundings {
  readonly library: Library;
  readonly random: Random;
  readonly is5: boolean;
  /** What the broker has sent, by number. */
  readonly sent: readonly Sent[];
  readonly session: () => Session;
  /** What the clock of the process says. */
  readonly now: () => number;
  /** The handler with a name. */
  readonly handler: (name: string) => OnPublish;
  /** A call that must settle; `done` gets what it settles with. */
  readonly call: (what: string, done: (outcome: number | MqttError | undefined) => void) => Call;
  readonly note: (line: () => string) => void;
  readonly fail: (what: string) => void;
}

export class Subscribing {
  readonly #around: Surroundings;
  /** Whether connect has a handler for the rest. */
  readonly #hasOnpub: boolean;
  #handlers = 0;
  /** By topic filter, in the order in which they were asked for last. */
  #wanted = new Map<string, Wanted>();
  /** The filters that the broker has granted, and those of them that it has not been told are given up. */
  #granted = new Set<string>();
  #givenUp = new Set<string>();
  /** Whether all of them must be asked for on the next connection although the session is present. */
  #isIncomplete = false;
  #isOpen = false;
  /** On this connection: what is to be written next, how much of that before all else, and what has no answer. */
  #due: Request[] = [];
  #first = 0;
  #sent: Request[] = [];
  /** Sent, and given up. */
  #abandoned: Request[] = [];
  /** What waits for a connection. */
  #waiting: Request[] = [];
  /** The filters whose refusal is to be told. */
  #refusals: string[] = [];
  /** Who may get each message. */
  readonly #recipients = new Map<number, Set<string>>();
  readonly told: Set<string> = new Set();

  constructor(around: Surroundings, { hasOnpub }: { hasOnpub: boolean }) {
    this.#around = around;
    this.#hasOnpub = hasOnpub;
  }

  get #fail(): (what: string) => void {
    return this.#around.fail;
  }

  // ---- the program

  /** A process begins: its `subscriptions`, and the handler for the rest. */
  begin(): { subscriptions: Planned[]; onpub: OnPublish | undefined } {
    const { random, library, handler } = this.#around;
    this.#wanted = new Map();
    this.#granted = new Set();
    this.#givenUp = new Set();
    this.#waiting = [];
    this.#refusals = [];
    this.#end();
    const subscriptions: Record<string, OnPublish | SubscribeOptions> = {};
    for (const topic of TOPICS) {
      if (random.chance(0.4)) continue;
      const wanted = this.#want(topic, true), { options } = wanted;
      const isShort = Object.keys(options).length === 1 && options.onpub !== undefined;
      subscriptions[topic] = isShort ? options.onpub! : options;
      this.#wanted.set(topic, wanted);
    }
    this.#isIncomplete = this.#wanted.size > 0;
    this.#around.note(() => `subscriptions ${JSON.stringify(subscriptions)}`);
    return {
      subscriptions: library.checkSubscriptions({ subscriptions }),
      onpub: this.#hasOnpub ? handler(REST) : undefined,
    };
  }

  /** How a filter is asked for. */
  #want(topic: string, isPlanned: boolean): Wanted {
    const { random, is5 } = this.#around;
    const handler = random.chance(0.75) ? `${topic} ${this.#handlers++}` : undefined;
    const options: SubscribeOptions = {
      ...handler !== undefined && { onpub: this.#around.handler(handler) },
      ...random.chance(0.7) && { qos: random.int(0, 2) as 0 | 1 | 2 },
      ...handler !== undefined && random.chance(0.2) && { concurrency: 3 },
      ...is5 && random.chance(0.3) && { retainHandling: random.int(0, 2) as 0 | 1 | 2 },
      ...is5 && random.chance(0.2) && { noLocal: random.chance(0.5), retainAsPublished: random.chance(0.5) },
      ...is5 && random.chance(0.2) && { id: random.int(1, 3) },
    };
    return { topic, options, isPlanned, handler, id: options.id };
  }

  /** Subscribes, or unsubscribes. */
  act(): void {
    const { random } = this.#around, topic = random.pick(TOPICS);
    if (random.chance(0.5)) this.#subscribe(topic);
    else this.#unsubscribe(topic);
  }

  #subscribe(topic: string): void {
    const { session, now } = this.#around, wanted = this.#want(topic, false), { options } = wanted;
    const { qos = 0, onpub, concurrency = 1, id, ...rest } = options;
    const request = this.#request("SUBSCRIBE", wanted);
    const call = this.#call(request);
    this.#around.note(() => `subscribe ${topic} ${JSON.stringify(options)}, handler ${wanted.handler}`);
    try {
      session().subscribe({ filters: [{ topic, qos, ...rest }], id }, { onpub, concurrency }, call, now());
    } catch (error) {
      return this.#refusedAtOnce(call, error as MqttError);
    }
    this.#wanted.delete(topic);
    this.#wanted.set(topic, wanted);
    if (wanted.handler !== undefined) this.#claim(topic, wanted.handler);
    if (this.#isOpen) this.#send(request);
    else this.#waiting.push(request);
  }

  #unsubscribe(topic: string): void {
    const { session, now } = this.#around, wanted = this.#wanted.get(topic);
    const request = { ...this.#request("UNSUBSCRIBE", { topic }), wanted };
    const call = this.#call(request);
    this.#around.note(() => `unsubscribe ${topic}`);
    try {
      session().unsubscribe([topic], call, now());
    } catch (error) {
      return this.#refusedAtOnce(call, error as MqttError);
    }
    if (this.#isOpen) this.#send(request);
    else this.#giveUpAway(request);
  }

  #refusedAtOnce(call: Call, error: MqttError): void {
    if (error.code !== "overflow") this.#fail(`a subscription fails with ${error}`);
    call.reject(error);
  }

  #request(
    type: Request["type"],
    wanted: Wanted | { readonly topic: string },
    { renews = false }: { renews?: boolean } = {},
  ): Request {
    const { topic } = wanted, asked = "options" in wanted ? wanted : undefined;
    return { type, topic, wanted: asked, renews, outcome: undefined, packetId: 0, lost: 0 };
  }

  #send(request: Request): void {
    this.#due.push(request);
    this.#sent.push(request);
  }

  // ---- what its calls get

  #call(request: Request): Call {
    const what = `${request.type} ${request.topic}`;
    return this.#around.call(what, (outcome) => this.#settled(request, outcome));
  }

  #settled(request: Request, outcome: number | MqttError | undefined): void {
    const { type, topic } = request, { reason } = this.#around.session();
    const isOver = typeof outcome === "object" && (outcome === reason || outcome.code === "overflow");
    if (isOver) return;
    const code = typeof outcome === "object" ? outcome.code : outcome ?? "done";
    if (request.outcome === undefined) {
      if (code !== "timeout") this.#fail(`${type} ${topic} is ${code}, and has no answer`);
      return this.#failed(request);
    }
    const isLost = request.outcome === "lost" && typeof outcome === "object" && typeof code === "string";
    if (code !== request.outcome && !isLost) this.#fail(`${type} ${topic} is ${code}, not ${request.outcome}`);
  }

  /** A request has had no answer in time, or on as many connections as it may: it is not asked any more. */
  #failed(request: Request): void {
    const { type, topic, wanted } = request;
    if (this.#sent.includes(request)) this.#abandoned.push(request);
    this.#sent = this.#sent.filter((other) => other !== request);
    this.#waiting = this.#waiting.filter((other) => other !== request);
    if (type === "UNSUBSCRIBE") {
      this.#forget(topic, wanted);
      if (!this.#wanted.has(topic)) this.#givenUp.add(topic);
    } else if (!this.#granted.has(topic)) {
      this.#forget(topic, wanted);
    }
  }

  /** What a request has asked for, or gives up, is not wanted any more, unless it was asked for anew since. */
  #forget(topic: string, wanted: Wanted | undefined): void {
    if (wanted === undefined || this.#wanted.get(topic) !== wanted) return;
    this.#wanted.delete(topic);
    this.#granted.delete(topic);
  }

  /** A filter is given up while there is no connection. */
  #giveUpAway(request: Request): void {
    const { topic, wanted } = request;
    for (const other of this.#waiting) if (other.topic === topic) other.outcome = other.wanted!.options.qos ?? 0;
    this.#waiting = this.#waiting.filter((other) => other.topic !== topic);
    this.#forget(topic, wanted);
    if (!this.#granted.has(topic)) this.#givenUp.add(topic);
    request.outcome = "done";
  }

  // ---- connections

  /** CONNACK: what is to go out before all else. */
  connected(sessionPresent: boolean): void {
    const waiting = this.#waiting.map(({ wanted }) => wanted);
    const isWhole = sessionPresent && !this.#isIncomplete;
    const renewed = isWhole ? [] : [...this.#wanted.values()].filter((wanted) => !waiting.includes(wanted));
    const givenUp = sessionPresent ? [...this.#givenUp] : [];
    if (sessionPresent && renewed.some(({ isPlanned }) => isPlanned)) this.told.add("planned");
    this.#due = [
      ...renewed.map((wanted) => this.#request("SUBSCRIBE", wanted, { renews: true })),
      ...givenUp.map((topic) => ({ ...this.#request("UNSUBSCRIBE", { topic }), outcome: "done" as const })),
      ...this.#waiting,
    ];
    this.#first = this.#due.length;
    this.#sent = [...this.#due];
    this.#waiting = [];
    this.#givenUp.clear();
    this.#isIncomplete = false;
    this.#isOpen = true;
  }

  /** The connection is lost. */
  lost(): void {
    const sent = this.#sent;
    this.#end();
    for (const request of sent) {
      if (request.type === "UNSUBSCRIBE") {
        this.#giveUpAway(request);
      } else if (request.renews) {
        this.#isIncomplete = true;
      } else if (++request.lost < MOST_LOST) {
        this.#waiting.push(request);
      } else {
        this.#failed(request);
        request.outcome = "lost";
      }
    }
  }

  #end(): void {
    this.#isOpen = false;
    this.#due = [];
    this.#first = 0;
    this.#sent = [];
    this.#abandoned = [];
  }

  // ---- what the client sends

  wrote(packet: NaivePacket): void {
    if (packet.type === "CONNECT") return;
    const isOfThis = packet.type === "SUBSCRIBE" || packet.type === "UNSUBSCRIBE";
    const [request] = this.#due;
    if (!isOfThis) {
      if (this.#first > 0) this.#fail(`${packet.type} before ${request!.type} ${request!.topic}`);
      return;
    }
    this.#due.shift();
    this.#first--;
    const [filter] = packet.filters, topic = typeof filter === "string" ? filter : filter!.topic;
    if (packet.type !== request?.type || packet.filters.length !== 1 || topic !== request.topic) {
      const right = request === undefined ? "nothing" : `${request.type} ${request.topic}`;
      return this.#fail(`${packet.type} ${topic}, where ${right} is due`);
    }
    request.packetId = packet.packetId;
    if (packet.type === "SUBSCRIBE") this.#checkOptions(packet, request.wanted!);
  }

  #checkOptions({ filters: [filter], properties = [] }: Subscribe, wanted: Wanted): void {
    const { topic, options, isPlanned } = wanted;
    const { qos = 0, noLocal = false, retainAsPublished = false, retainHandling = isPlanned ? 1 : 0 } = options;
    const right = { topic, qos, ...this.#around.is5 && { noLocal, retainAsPublished, retainHandling } };
    for (const name of Object.keys(right) as (keyof typeof right)[]) {
      if (filter![name] !== right[name]) this.#fail(`SUBSCRIBE ${topic} has ${name} ${filter![name]}`);
    }
    const id = numberIn(properties, ID);
    const isRight = this.#around.is5
      ? id === wanted.id || wanted.id === undefined && id! >= FIRST_ID
      : id === undefined;
    if (!isRight) this.#fail(`SUBSCRIBE ${topic} has identifier ${id}, not ${wanted.id}`);
    wanted.id = id;
  }

  /** There is nothing more to be written. */
  checkWritten(): void {
    const [request] = this.#due;
    if (request !== undefined) this.#fail(`${request.type} ${request.topic} does not go out`);
  }

  // ---- what it hears

  heard(packet: NaivePacket): void {
    if (packet.type === "PUBLISH") this.#came(packet);
    if (packet.type !== "SUBACK" && packet.type !== "UNSUBACK") return;
    const isIt = ({ packetId }: Request) => packetId === packet.packetId;
    const request = this.#sent.find(isIt);
    this.#sent = this.#sent.filter((other) => other !== request);
    this.#abandoned = this.#abandoned.filter((other) => !isIt(other));
    if (request === undefined) return;
    if (packet.type === "SUBACK") return this.#answered(request, packet);
    this.#forget(request.topic, request.wanted);
    request.outcome = "done";
  }

  #answered(request: Request, { codes: [code] }: Suback): void {
    const { topic, wanted, renews } = request;
    request.outcome = code!;
    if (code! < 128) {
      if (this.#wanted.has(topic)) this.#granted.add(topic);
      this.#givenUp.delete(topic);
      return;
    }
    this.#forget(topic, wanted);
    if (renews) this.#refusals.push(topic);
  }

  /** The status has told that a subscription is refused. */
  refused(filter: string): void {
    if (this.#refusals.shift() !== filter) this.#fail(`${filter} is told as refused`);
  }

  /** All that is to be told is told. */
  check(): void {
    const [filter] = this.#refusals;
    if (filter !== undefined) this.#fail(`the refusal of ${filter} is not told`);
  }

  // ---- who gets a message

  /** Who gets the messages of a topic now. */
  #recipientOf(topic: string): string {
    return this.#wanted.get(topic)?.handler ?? (this.#hasOnpub ? REST : NOBODY);
  }

  /** A message has come; one that was dropped may come for another handler the next time. */
  #came({ topic, payload }: Publish): void {
    const seq = numberOf(payload), recipients = this.#recipients.get(seq) ?? new Set();
    this.#recipients.set(seq, recipients.add(this.#recipientOf(topic)));
    if (this.#sent.some((request) => request.type === "SUBSCRIBE" && request.topic === topic)) this.told.add("early");
  }

  /** There is a new handler: it gets what nobody has taken. */
  #claim(topic: string, handler: string): void {
    const { sent } = this.#around;
    for (const [seq, recipients] of this.#recipients) {
      if (recipients.has(NOBODY) && sent[seq]!.topic === topic) recipients.add(handler);
    }
  }

  /** Whether nobody may have got a message. */
  isNobodys(seq: number): boolean {
    return this.#recipients.get(seq)?.has(NOBODY) ?? false;
  }

  /** A handler has got a message. */
  handled(seq: number, name: string): void {
    const recipients = this.#recipients.get(seq);
    if (!recipients?.has(name)) this.#fail(`message ${seq} goes to ${name}, not to ${[...recipients ?? []]}`);
  }

  /** A message is told that nobody has taken. */
  unclaimed(topic: string): void {
    const { sent } = this.#around;
    const isRight = [...this.#recipients.keys()].some((seq) => this.isNobodys(seq) && sent[seq]!.topic === topic);
    if (!isRight) this.#fail(`a message of ${topic} goes unclaimed`);
    this.told.add("unclaimed");
  }

  // ---- the end

  /** Whether all requests have their answers. */
  get isDone(): boolean {
    return this.#isOpen && this.#sent.length === 0;
  }

  /** All that is wanted is what the broker has. */
  checkAll(subscribed: ReadonlySet<string>): void {
    for (const topic of this.#wanted.keys()) {
      if (!subscribed.has(topic)) this.#fail(`the broker has no subscription to ${topic}`);
    }
  }
}
