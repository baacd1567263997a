/** What the client in the event loop does after each input: handles the session's events, writes, and sets its one timer.
 * @module */

import type { OnPublish } from "../options.ts";
import type { OnStatus } from "../status.ts";
import { isPromise } from "../deferred.ts";
import { invoke, type MqttError, surface } from "../errors.ts";
import type { Message } from "../message.ts";
import type { Handling, Work } from "../session/consumer.ts";
import type { AuthEvent, RetryEvent, SessionEvent } from "../session/events.ts";
import type { Session } from "../session/session.ts";
import type { Transport } from "../transport/transport.ts";
import { Alarm } from "./alarm.ts";
import { askAnswer, type Authenticate } from "./authenticate.ts";
import type { Clock } from "./clock.ts";
import { Keeper, type OpenStore } from "./keeper.ts";
import { type DialPlace, Link, type LinkParts } from "./link.ts";
import type { Settings } from "./settings.ts";

const WRITES = { writes: true };

/** What it runs with. */
export interface RunParts {
  /** Opens a connection. */
  dial: DialPlace;
  /** Says when the next attempt is, where the program decides that; undefined: there is none. */
  policy?: ((retry: RetryEvent) => number | undefined | Promise<number | undefined>) | undefined;
  /** Answers what the broker asks of a client that authenticates. */
  authenticate?: Authenticate | undefined;
  onstatus?: OnStatus | undefined;
  /** Where the session is kept. */
  store?: OpenStore | undefined;
  clock: Clock;
  /** Hears what handlers throw and reject with; by default, that is an uncaught error. */
  failed?(error: unknown): void;
  /** Called when it has done what there was to do: the counters may have changed. */
  advanced?(): void;
}

/** Whose loop it is. */
export interface LoopOwner {
  readonly session: Session;
  readonly places: Settings["places"];
  /** The client has ended. */
  ended(error: MqttError): void;
}

/** The loop of one client: nothing of a session goes on but through it. */
export class Loop implements Handling {
  readonly #parts: RunParts;
  readonly #owner: LoopOwner;
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #keeper: Keeper | undefined;
  readonly #linkParts: LinkParts;
  #link: Link | undefined;
  readonly #alarm: Alarm;
  /** Whether the session's events are being handled. */
  #handling = false;
  /** Whether there may be more of them meanwhile. */
  #again = false;
  /** Whether they will be handled at the end of this tick. */
  #scheduled = false;

  constructor(parts: RunParts, owner: LoopOwner) {
    const { clock, dial, store } = parts, { session } = owner;
    this.#parts = parts;
    this.#owner = owner;
    this.#session = session;
    this.#clock = clock;
    // What comes of it waits for a tick: a timer that is set while one rings, and so on, rings once a minute in a tab in the
    // background. One that is set in a tick rings within a second of its time (Chromium 156).
    this.#alarm = new Alarm(clock, (now) => {
      session.tick(now);
      this.schedule();
    });
    this.#keeper = store && new Keeper(store.store, { session, now: clock.now, advance: this.#advance });
    this.#linkParts = { session, clock, dial, advance: this.#advance };
  }

  /** The open connection. */
  get transport(): Transport | undefined {
    return this.#link?.transport;
  }

  /** Whether the session's events are being handled: then what a call asks for is written after them. */
  get isHandling(): boolean {
    return this.#handling;
  }

  /** Whether something goes on when messages are settled: reading, or disconnect(). */
  get isHeldUp(): boolean {
    return this.#link?.isPaused || this.#session.isDraining;
  }

  /** Gathers what is asked for within a tick into one write. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.tick(this.#tick);
  }

  readonly #tick = () => {
    this.#scheduled = false;
    // What waited for room in an iterator is decoded now, and may end the connection.
    if (this.isHeldUp) this.#session.tick(this.#clock.now());
    this.#advance();
    this.#alarm.set(this.#session.due);
    this.#link?.resume();
  };

  /** Writes inside a call of the program: what comes of it is told when that is over. */
  writeNow(): void {
    const outer = this.#handling;
    this.#handling = true;
    this.#write();
    this.#handling = outer;
  }

  /** Keeps what is to be kept, and writes what may be written then; whether something may have come of it. */
  #write(): boolean {
    const hasKept = this.#keeper?.keep() ?? false; // a store that keeps at once has settled calls
    const hasWritten = this.#link?.write() ?? false;
    return hasKept || hasWritten;
  }

  /** After each input: handles the session's events, and writes. Messages alone make nothing due, as long as they are read. */
  readonly #advance = ({ writes }: { writes: boolean } = WRITES): void => {
    this.#again = true;
    if (this.#handling) return;
    this.#handling = true;
    const session = this.#session;
    let onlyMessages = true;
    while (this.#again) {
      this.#again = false;
      for (;;) {
        const event = session.nextDelivering(this);
        if (event === undefined) break;
        onlyMessages = false;
        this.#handle(event);
      }
      if (writes && this.#write()) this.#again = true;
    }
    this.#handling = false;
    if (!onlyMessages || !session.isReading) this.#alarm.set(session.due);
    this.#parts.advanced?.();
  };

  // ---- handlers

  call(onpub: OnPublish, message: Message): unknown {
    try {
      const result = onpub(message.topic, message);
      if (result !== undefined && isPromise(result)) return result;
    } catch (error) {
      this.#session.backlog.countFailure();
      this.#failed(error);
    }
    return undefined;
  }

  watch(promise: unknown, work: Work): void {
    Promise.resolve(promise).then(() => this.#settle(work, false), (error) => {
      this.#failed(error);
      this.#settle(work, true);
    });
  }

  #failed(error: unknown): void {
    if (this.#parts.failed === undefined) surface(error);
    else this.#parts.failed(error);
  }

  /** What waits for the handler goes to it at once; acknowledgements are gathered: a write for each takes ten times as long. */
  #settle(work: Work, failed: boolean): void {
    const session = this.#session;
    session.backlog.settle(work, failed);
    if (this.isHeldUp) session.tick(this.#clock.now()); // what is decoded then counts from then
    this.#advance({ writes: false });
    this.schedule();
  }

  // ---- the session's events

  #handle(event: SessionEvent): void {
    switch (event.type) {
      case "dial":
        this.#link = new Link(event.attempt, this.#owner.places[event.place]!, this.#linkParts);
        return;
      case "retry":
        return void this.#plan(event);
      case "login":
        return void this.#link!.login();
      case "end":
        return this.#link!.end();
      case "auth":
        return void this.#authenticate(event);
      case "keepalive":
        return this.#link!.keepAlive(event.seconds);
      case "hangup":
        return this.#link?.close();
      case "settled":
        return event.error === undefined ? event.call.resolve(event.code) : event.call.reject(event.error);
      case "inbox":
        return event.inbox.wake();
      case "status":
        return invoke(this.#parts.onstatus, event.status);
      case "closed":
        return this.#owner.ended(event.error);
      case "unheard":
        return surface(event.error);
    }
  }

  /** Asks the program when the next attempt is. */
  async #plan(retry: RetryEvent): Promise<void> {
    this.#session.plan(await this.#parts.policy!(retry), this.#clock.now());
    this.#advance();
  }

  /** Asks the program what it answers. */
  async #authenticate({ attempt, data, isAwaited }: AuthEvent): Promise<void> {
    try {
      const answer = await askAnswer(this.#parts.authenticate!, data, isAwaited);
      if (isAwaited) this.#session.answered(attempt, answer);
    } catch (error) {
      this.#session.lost(attempt, error as MqttError, this.#clock.now());
    }
    this.#advance();
  }

  /** Gives up the store, once the client has ended. */
  closeStore(): void | Promise<void> {
    try {
      return this.#keeper?.close();
    } catch (error) {
      return Promise.reject(error);
    }
  }
}
