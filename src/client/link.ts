/** One attempt of a client in the event loop: its connection, opened and fed to the session.
 * @module */

import type { MqttError } from "../errors.ts";
import type { Session } from "../session/session.ts";
import type { Sink, Transport } from "../transport/transport.ts";
import type { Clock } from "./clock.ts";
import { askCredential } from "./credentials.ts";
import type { Place } from "./places.ts";

/** Opens a connection; when the signal is aborted it gives up, with the signal's reason. */
export type DialPlace = (signal: AbortSignal, place: Place) => Promise<Transport>;

/** What a link works with. */
export interface LinkParts {
  readonly session: Session;
  readonly clock: Clock;
  readonly dial: DialPlace;
  /** Called when the session was told something. */
  advance(): void;
}

/** Tells the session what happens on one connection, and does what it says. */
export class Link implements Sink {
  readonly #attempt: number;
  readonly #parts: LinkParts;
  #place: Place;
  /** Gives up what is under way until the transport has started; then it goes: a signal is 1 KiB, on Deno 5. */
  #abort: AbortController | undefined = new AbortController();
  #transport: Transport | undefined;
  /** Whether the transport reads. */
  #reading = true;

  /** Starts to open a connection. */
  constructor(attempt: number, place: Place, parts: LinkParts) {
    this.#attempt = attempt;
    this.#place = place;
    this.#parts = parts;
    void this.#open(this.#abort!.signal);
  }

  /** The open connection. */
  get transport(): Transport | undefined {
    return this.#transport;
  }

  async #open(signal: AbortSignal): Promise<void> {
    const { session, clock, dial } = this.#parts;
    try {
      const { find } = this.#place;
      if (find !== undefined) {
        this.#place = await find();
        session.located(this.#attempt, this.#place.credentials);
      }
      const transport = await dial(signal, this.#place);
      if (session.opened(this.#attempt, transport, clock.now())) this.#transport = transport;
      else transport.close();
    } catch (error) {
      session.lost(this.#attempt, error as MqttError, clock.now());
    }
    this.#parts.advance();
  }

  /** Asks for the credentials, and starts the transport. */
  async login(): Promise<void> {
    const { session, clock } = this.#parts;
    const attempt = this.#attempt, { uname, passwd } = this.#place;
    try {
      const credentials = { uname: await askCredential(uname, "uname"), passwd: await askCredential(passwd, "passwd") };
      if (!session.login(attempt, credentials, clock.now())) return;
      this.#abort = undefined;
      this.#transport!.start(this);
    } catch (error) {
      session.lost(attempt, error as MqttError, clock.now());
    }
    this.#parts.advance(); // the answer may have come with it
  }

  // ---- what the transport says

  space(): Uint8Array {
    return this.#parts.session.space(this.#attempt);
  }

  received(chunk: Uint8Array, length: number): boolean {
    const parts = this.#parts, { session } = parts;
    session.received(this.#attempt, chunk, length, parts.clock.now());
    parts.advance();
    return this.#reading = session.isReading;
  }

  written(): void {
    const { session, clock, advance } = this.#parts;
    session.written(this.#attempt, clock.now());
    advance();
  }

  closed(error: MqttError): void {
    const { session, clock, advance } = this.#parts;
    session.lost(this.#attempt, error, clock.now());
    advance();
  }

  // ---- what the session says

  /** Writes what the session has, unless a write is in flight; whether something has gone out. */
  write(): boolean {
    const { session, clock } = this.#parts;
    let some = false;
    for (let bytes = session.takeBytes(clock.now()); bytes !== undefined; bytes = session.takeBytes(clock.now())) {
      if (!this.#transport!.write(bytes)) break;
      session.written(this.#attempt, clock.now());
      some = true;
    }
    return some;
  }

  /** Whether it has stopped reading, as the session had no room. */
  get isPaused(): boolean {
    return !this.#reading;
  }

  /** Reads on, if it does not and the session wants it. */
  resume(): void {
    if (this.#reading || !this.#parts.session.isReading) return;
    this.#reading = true;
    this.#transport!.resume();
  }

  /** The server wants another keep alive; seconds. */
  keepAlive(seconds: number): void {
    this.#transport?.keepAlive?.(seconds);
  }

  /** Nothing more is written. */
  end(): void {
    this.#transport?.end();
  }

  /** Closes the connection, or gives up the attempt. */
  close(): void {
    this.#abort?.abort();
    this.#transport?.close();
    this.#transport = undefined; // a client that has ended may be kept, but not the memory of its connection
    this.#reading = true;
  }
}
