/**
 * The smallest shell around a session: a client that keeps to the session's contract by the letter, uses all
 * the freedom that it leaves, and checks what the session owes it in return.
 */
import type { Client } from "../../src/api.ts";
import type {
  DisconnectOptions,
  MessagesOptions,
  OutgoingMessage,
  PublishOptions,
  SubscribeCallback,
  SubscribeOptions,
} from "../../src/options.ts";
import type { ConnectionStatus, Stats } from "../../src/status.ts";
import type { LoopParts } from "../../src/client/loop_client.ts";
import type { Settings } from "../../src/client/settings.ts";
import type { MqttError } from "../../src/errors.ts";
import type { Message } from "../../src/message.ts";
import type { Limits } from "../../src/options5.ts";
import type { Handling, Work } from "../../src/session/consumer.ts";
import type { Call, SessionEvent } from "../../src/session/events.ts";
import type { Session } from "../../src/session/session.ts";
import type { Trust } from "../../src/session/trust.ts";
import type { Transport } from "../../src/transport/transport.ts";
import type { Random } from "../support/random.ts";
import type { Library } from "./library.ts";
import type { World } from "./world.ts";

/** What a client is played with. */
export interface Lab {
  readonly library: Library;
  readonly world: World;
  readonly random: Random;
  fail(what: string): void;
}

/** One that waits, and how often it was settled. */
class Waiting implements Call {
  readonly promise: Promise<number | undefined>;
  settled = 0;
  resolve!: (code: number | undefined) => void;
  reject!: (error: MqttError) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = (code) => {
        this.settled++;
        resolve(code);
      };
      this.reject = (error) => {
        this.settled++;
        reject(error);
      };
    });
    this.promise.catch(() => {}); // the history follows what is given to it
  }
}

export class BareClient implements Client {
  readonly #settings: Settings;
  readonly #parts: LoopParts;
  readonly #lab: Lab;
  readonly #session: Session;
  readonly #calls: Waiting[] = [];
  readonly #opening = new Waiting();
  readonly #ended = new Waiting();
  /** The end, as run() tells it. */
  #error: MqttError | undefined;
  #attempt = -1;
  /** Whether the session has given up that attempt. */
  #isOld = true;
  #abort = new AbortController();
  #transport: Transport | undefined;
  #reading = true;
  #writing = false;
  #pumping = false;
  #scheduled = false;
  #stopTimer = () => {};
  #timerDue = Infinity;
  #left: Promise<void> | undefined;
  #drained: Promise<void> | undefined;
  #room: Promise<unknown> | undefined;
  readonly #stopListening: () => void;

  constructor(settings: Settings, parts: LoopParts, lab: Lab) {
    const { world, library } = lab;
    this.#settings = settings;
    this.#parts = parts;
    this.#lab = lab;
    this.#calls.push(this.#opening);
    const random = () => world.clock.random();
    this.#session = new library.Session(settings, { onpub: parts.onpub, random }, this.#opening, world.now);
    if (parts.onstatus !== undefined) this.#session.listen();
    this.#stopListening = library.onAbort(settings.signal, (reason) => void this.#disconnect(reason).catch(() => {}));
    this.#schedule();
  }

  get opened(): Promise<unknown> {
    return this.#opening.promise;
  }

  get sock(): unknown {
    return this.#transport?.sock;
  }

  get trusted(): Trust {
    return this.#transport?.trusted ?? false;
  }

  get id(): string {
    return this.#session.id;
  }

  get limits(): Limits | undefined {
    return this.#session.limits;
  }

  request(): Promise<Message> {
    return Promise.reject(new Error("It asks nobody"));
  }

  respond(): Promise<number> {
    return Promise.reject(new Error("It answers nobody"));
  }

  reauthenticate(): Promise<void> {
    return this.#call((call) => this.#session.reauthenticate(call, this.#lab.world.now)) as Promise<undefined>;
  }

  get status(): ConnectionStatus {
    return this.#session.status;
  }

  get stats(): Stats {
    return this.#session.stats;
  }

  async run(): Promise<MqttError> {
    this.#session.listen();
    this.#schedule();
    await this.#ended.promise;
    return this.#error!;
  }

  publish(
    topic: string | readonly OutgoingMessage[],
    message?: string | Uint8Array,
    { retain = false }: PublishOptions = {},
  ): Promise<number> {
    const session = this.#session;
    let waits = false;
    const done = this.#call((call) => {
      waits = session.publish(topic as string, message!, retain ? 1 : 0);
      call.resolve(0);
    });
    if (waits && !session.isRoomAwaited) this.#room = this.#call((call) => session.awaitRoom(call));
    return (waits ? this.#room! : done) as Promise<number>;
  }

  subscribe(
    topic: string | readonly string[],
    options: SubscribeOptions | SubscribeCallback = {},
    callback?: SubscribeCallback,
  ): Promise<number> {
    const { onpub, concurrency = 1 } = options as SubscribeOptions;
    const filters = [topic].flat().map((topic) => ({ topic, qos: 0 as const }));
    const promise = this.#call((call) =>
      this.#session.subscribe({ filters }, { onpub, concurrency }, call, this.#lab.world.now)
    );
    promise.then((code) => callback?.(code!), ({ code }) => code === 128 && callback?.(128));
    return promise as Promise<number>;
  }

  unsubscribe(topic: string | readonly string[]): Promise<void> {
    const filters = [topic].flat();
    return this.#call((call) => this.#session.unsubscribe(filters, call, this.#lab.world.now)) as Promise<undefined>;
  }

  messages(topic: string, { limit = 1000 }: MessagesOptions = {}): AsyncIterableIterator<Message> {
    const session = this.#session, { library, world } = this.#lab;
    return new library.MessageIterator((wake) => new library.Inbox(topic, limit, wake), {
      open: (inbox) => {
        session.iterate(inbox, { filters: [{ topic, qos: 0 }] }, world.now);
        this.#schedule();
      },
      take: (inbox) => {
        this.#schedule();
        return session.backlog.take(inbox);
      },
      wait: (inbox, waiting) => {
        session.backlog.setWaiting(inbox, waiting);
        this.#schedule();
      },
      leave: async (inbox) => {
        const isAlone = session.leave(inbox);
        this.#schedule();
        if (isAlone) await this.#call((call) => session.unsubscribeInbox(inbox, call, world.now));
      },
      heard: () => session.listen(),
    });
  }

  flush(): Promise<void> {
    return this.#call((call) => this.#session.flush(call, this.#lab.world.now)) as Promise<undefined>;
  }

  disconnect({ drain = false }: DisconnectOptions = {}): Promise<void> {
    if (!drain) return this.#disconnect(undefined);
    return this.#drained ??= this.#left ??
      this.#call((call) => this.#session.disconnect(call, { drain }, this.#lab.world.now)) as Promise<undefined>;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#disconnect(undefined);
  }

  #disconnect(cause: unknown): Promise<void> {
    return this.#left ??= this.#call((call) =>
      this.#session.disconnect(call, { cause }, this.#lab.world.now)
    ) as Promise<undefined>;
  }

  readonly #handlers: Handling = {
    call: (onpub, message) => {
      try {
        return onpub(message.topic, message);
      } catch (error) {
        this.#session.backlog.countFailure();
        this.#lab.library.surface(error);
        return undefined;
      }
    },
    watch: (promise, work) =>
      void (promise as Promise<unknown>).then(() => this.#settle(work, false), (error) => {
        this.#lab.library.surface(error);
        this.#settle(work, true);
      }),
  };

  #settle(work: Work, failed: boolean): void {
    this.#session.backlog.settle(work, failed);
    this.#schedule();
  }

  #call(ask: (call: Waiting) => void): Promise<number | undefined> {
    const call = new Waiting();
    try {
      ask(call);
      this.#calls.push(call);
    } catch (error) {
      call.reject(error as MqttError);
    }
    this.#schedule();
    return call.promise;
  }

  // ---- the session's contract

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#lab.world.clock.tick(() => {
      this.#scheduled = false;
      this.#session.tick(this.#lab.world.now); // at any time
      this.#pump();
      if (this.#session.due < this.#lab.world.now) this.#lab.fail(`tick() is due at ${this.#session.due} ms`);
      this.#mistime();
    });
  }

  /** An input was given: handles what comes of it now, or a little later. */
  #advance(): void {
    if (this.#lab.random.chance(0.3)) this.#schedule();
    else this.#pump();
  }

  #pump(): void {
    if (this.#pumping) return this.#schedule();
    this.#pumping = true;
    const session = this.#session;
    for (;;) {
      const event = session.nextDelivering(this.#handlers);
      if (event !== undefined) this.#handle(event);
      else if (!this.#write()) break;
    }
    this.#pumping = false;
    if (this.#error !== undefined) this.#checkSettled();
    if (!this.#reading && session.isReading && this.#transport !== undefined) {
      this.#reading = true;
      this.#transport.resume();
    }
    this.#setTimer(session.due);
  }

  #handle(event: SessionEvent): void {
    const { fail, library } = this.#lab;
    const isOver = this.#error !== undefined;
    if (isOver && event.type !== "unheard" && event.type !== "settled") fail(`${event.type} after closed`);
    switch (event.type) {
      case "dial":
        return this.#dial(event.attempt, event.place);
      case "login":
        return this.#login(event.attempt);
      case "end":
        return this.#transport!.end();
      case "hangup":
        this.#isOld = true;
        this.#abort.abort(new Error("the attempt is given up"));
        this.#transport?.close();
        return;
      case "settled": {
        const call = event.call as Waiting;
        if (call.settled > 0) fail("a call is settled twice");
        if (!this.#calls.includes(call)) fail("a call is settled that threw");
        return event.error === undefined ? call.resolve(event.code) : call.reject(event.error);
      }
      case "inbox":
        return event.inbox.wake();
      case "status":
        return library.invoke(this.#parts.onstatus, event.status);
      case "closed":
        if (this.#error !== undefined) fail("closed twice");
        this.#error = event.error;
        this.#stopListening();
        this.#ended.resolve(undefined);
        return this.#parts.closed?.();
      case "unheard":
        if (event.error !== this.#error) fail("another error is unheard");
        return library.surface(event.error);
      case "retry":
        return void Promise.resolve(this.#parts.policy!(event)).then((delay) => {
          this.#session.plan(delay, this.#lab.world.now);
          this.#advance();
        });
      case "keepalive":
        return; // this one has no thread that sends pings
      case "auth":
        return fail("AUTH of a broker that has none");
      default:
        fail(`a message to ${event.topic} is told, not delivered`);
    }
  }

  #checkSettled(): void {
    for (const { settled } of this.#calls) if (settled !== 1) this.#lab.fail(`a call was settled ${settled} times`);
  }

  #dial(attempt: number, place: number): void {
    const { world, fail } = this.#lab;
    if (attempt <= this.#attempt) fail(`attempt ${attempt} after ${this.#attempt}`);
    this.#attempt = attempt;
    this.#isOld = false;
    this.#transport = undefined;
    this.#reading = true;
    this.#writing = false;
    this.#abort = new AbortController();
    this.#parts.dial(this.#abort.signal, this.#settings.places[place]!).then((transport) => {
      const isWanted = this.#session.opened(attempt, transport, world.now);
      if (isWanted && attempt !== this.#attempt) fail("an old attempt is wanted");
      if (isWanted) this.#transport = transport;
      else transport.close();
      this.#advance();
    }, (error) => {
      this.#session.lost(attempt, error, world.now);
      this.#advance();
    });
  }

  /** Asks for the credentials, and is in no hurry. */
  #login(attempt: number): void {
    const { world, random } = this.#lab, transport = this.#transport!;
    const { uname } = this.#settings.places[0]!;
    const answer = typeof uname === "function" ? uname() : uname;
    void Promise.resolve(answer).then((answer) => {
      const bytes = typeof answer === "string" ? new TextEncoder().encode(answer) : answer;
      world.onThread(random.chance(0.5) ? 0 : random.int(1, 200), () => {
        if (!this.#session.login(attempt, { uname: bytes, passwd: undefined }, world.now)) return;
        this.#start(attempt, transport);
        this.#advance();
      });
    });
  }

  #start(attempt: number, transport: Transport): void {
    const session = this.#session, { world } = this.#lab;
    transport.start({
      space: () => session.space(attempt),
      received: (chunk, length) => {
        session.received(attempt, chunk, length, world.now);
        this.#pump();
        return this.#reading = session.isReading;
      },
      written: () => {
        this.#writing = false;
        session.written(attempt, world.now);
        this.#advance();
      },
      closed: (error) => {
        session.lost(attempt, error, world.now);
        this.#advance();
      },
    });
  }

  /** Writes the next bytes; whether they are written already. */
  #write(): boolean {
    const session = this.#session, { world, fail, random } = this.#lab;
    if (this.#writing && !random.chance(0.2)) return false;
    const bytes = session.takeBytes();
    if (bytes === undefined) return false;
    if (this.#writing || this.#isOld) fail("bytes are given while a write is in flight, or there is no connection");
    this.#writing = !this.#transport!.write(bytes);
    if (!this.#writing) session.written(this.#attempt, world.now);
    return !this.#writing;
  }

  #setTimer(due: number): void {
    const { world, random } = this.#lab;
    if (due === this.#timerDue) return;
    this.#stopTimer();
    this.#stopTimer = () => {};
    this.#timerDue = due;
    if (due === Infinity) return;
    const late = random.chance(0.1) ? random.int(1, 100) : 0;
    this.#stopTimer = world.clock.wait(() => {
      this.#timerDue = Infinity;
      this.#session.tick(world.now);
      if (random.chance(0.3)) this.#mistime();
      this.#pump();
    }, Math.max(due - world.now, 0) + late);
  }

  /** What a shell may do at any time, or an old connection says: nothing may come of it. */
  #mistime(): void {
    const session = this.#session, { world, random, fail, library } = this.#lab;
    if (!random.chance(0.2)) return;
    const last = this.#isOld ? this.#attempt : this.#attempt - 1;
    if (last < 0) return;
    const attempt = random.int(0, last);
    const seen =
      () => [session.status, session.due, session.buffered, session.isReading, session.backlog.kept, session.reason];
    const before = seen();
    const link = { trusted: random.pick([true, false, "untrusted"] as const) };
    switch (random.int(0, 5)) {
      case 0:
        if (session.opened(attempt, link, world.now)) fail("an old connection is wanted");
        break;
      case 1:
        if (session.login(attempt, { uname: undefined, passwd: undefined }, world.now)) fail("an old login is wanted");
        break;
      case 2:
        session.lost(attempt, new library.MqttError("socketclosed", "An old connection"), world.now);
        break;
      case 3:
        session.written(attempt, world.now);
        break;
      default: {
        const space = session.space(attempt);
        if (space.length === 0) fail("no space for what comes late");
        space.set([0, 0]);
        session.received(attempt, space, 2, world.now);
      }
    }
    const after = seen();
    if (after.some((value, i) => value !== before[i])) fail(`an old attempt changes ${before} to ${after}`);
  }
}
