/** One attempt of a blocking client: its connection in a thread, waited for and fed to the session.
 * @module */

import type { MqttError } from "../errors.ts";
import type { Session } from "../session/session.ts";
import type { Trust } from "../session/trust.ts";
import type { Target } from "../transport/tcp.ts";
import type { Transport } from "../transport/transport.ts";
import type { DialSettings } from "../worker/connector.ts";
import type { Clock } from "./clock.ts";
import { askCredentialNow } from "./credentials.ts";
import type { Place } from "./places.ts";
import type { Settings } from "./settings.ts";

/** A connection that lives elsewhere, and says what happens when it is waited for. */
export interface WaitedFor extends Transport {
  readonly isOpen: boolean;
  /** Why it is over, or could not be opened. */
  readonly over: Error | undefined;
}

/** Where connections live: the client's thread; tests have their own. */
export interface Waiting {
  /** Starts to open a connection. */
  open(target: Target, settings: DialSettings): WaitedFor;
  /** Whether there is something to hear. */
  readonly hasSaid: boolean;
  /** Lets the connection say something; whether it did. */
  hear(connection: WaitedFor): boolean;
  /** Blocks until the connection has said something; false when the time has come, in milliseconds. */
  wait(connection: WaitedFor | undefined, due: number): boolean;
  end(): Promise<void>;
}

/** What a link works with. */
export interface SyncLinkParts {
  readonly session: Session;
  readonly thread: Waiting;
  readonly clock: Clock;
  readonly settings: Settings;
}

/** Tells the session what happens on one connection, and does what it says. */
export class SyncLink {
  readonly #attempt: number;
  readonly #parts: SyncLinkParts;
  readonly #place: Place;
  readonly #connection: WaitedFor;
  /** Whether the session does not know yet whether it is open. */
  #opening = true;
  /** Whether something has happened since the session was last asked for events. */
  #changed = false;

  /** Starts to open a connection. */
  constructor(attempt: number, place: Place, parts: SyncLinkParts) {
    this.#attempt = attempt;
    this.#parts = parts;
    this.#place = place;
    this.#connection = parts.thread.open(place.target!, parts.settings);
  }

  /**
   * Starts to open a connection where the program says, if the place is a function.
   *
   * @throws {MqttError} `"cannotconnect"` if that fails.
   */
  static open(attempt: number, place: Place, parts: SyncLinkParts): SyncLink {
    const found = place.find === undefined ? place : place.find() as Place;
    if (found !== place) parts.session.located(attempt, found.credentials);
    return new SyncLink(attempt, found, parts);
  }

  /** What is known of the server's certificate. */
  get trusted(): Trust {
    return this.#connection.trusted;
  }

  /** Tells the session what has come, as far as that needs no waiting. */
  look(): void {
    const { thread } = this.#parts;
    if (thread.hasSaid) { while (thread.hear(this.#connection)); }
  }

  /** Whether the connection is over; the session hears of it after all that came before. */
  get isOver(): boolean {
    return this.#connection.over !== undefined;
  }

  /** Lets time pass until something has happened, or it is `due` (milliseconds). */
  wait(due: number): void {
    const { session, thread, clock } = this.#parts;
    const connection = this.#connection;
    this.#changed = false;
    if (session.isReading) connection.resume();
    if (!this.#changed && !this.#isOpened) thread.wait(connection, due);
    if (!this.#isOpened) return;
    this.#opening = false;
    if (connection.over === undefined) session.opened(this.#attempt, connection, clock.now());
    else session.lost(this.#attempt, connection.over as MqttError, clock.now());
  }

  /** Whether it is open, or cannot be opened, which the session does not know yet. */
  get #isOpened(): boolean {
    return this.#opening && (this.#connection.isOpen || this.#connection.over !== undefined);
  }

  /** Asks for the credentials, and starts the transport. */
  login(): void {
    const { session, clock } = this.#parts, { uname, passwd } = this.#place;
    const attempt = this.#attempt, now = () => clock.now();
    try {
      const credentials = { uname: askCredentialNow(uname, "uname"), passwd: askCredentialNow(passwd, "passwd") };
      if (!session.login(attempt, credentials, now())) return;
      const report = (tell: () => void) => {
        this.#changed = true;
        tell();
      };
      this.#connection.start({
        space: () => session.space(attempt),
        received: (chunk, length) => {
          report(() => session.received(attempt, chunk, length, now()));
          return false; // it is looked at before more is read
        },
        written: () => report(() => session.written(attempt, now())),
        closed: (error) => report(() => session.lost(attempt, error, now())),
      });
    } catch (error) {
      session.lost(attempt, error as MqttError, now());
    }
  }

  /** Writes what the session has, unless a write is in flight. */
  write(): void {
    const { session, clock } = this.#parts, now = clock.now(); // once: asked for three times it took 0.15 of a publish, or more
    for (let bytes = session.takeBytes(now); bytes !== undefined; bytes = session.takeBytes(now)) {
      if (!this.#connection.write(bytes)) return;
      this.#changed = true;
      session.written(this.#attempt, now);
    }
  }

  /** The server wants another keep alive; seconds. */
  keepAlive(seconds: number): void {
    this.#connection.keepAlive?.(seconds);
  }

  /** Nothing more is written. */
  end(): void {
    this.#connection.end();
  }

  /** Closes the connection, or gives up the attempt. */
  close(): void {
    this.#opening = false;
    this.#connection.close();
  }
}
