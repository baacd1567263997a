/** Keeps what the session writes down in its store.
 * @module */

import { isPromise } from "../deferred.ts";
import { MqttError } from "../errors.ts";
import { Restored } from "../session/restored.ts";
import type { Session } from "../session/session.ts";
import type { SessionParts } from "../session/settings.ts";
import type { SessionStore } from "../store/session_store.ts";

/**
 * So many bytes of records that mean nothing any more stay in the store: to write it anew takes an fsync, and at 100,000
 * messages a second there are 37 MB of records in a second. With 64 KiB that took half of the time.
 */
const SLACK = 4_194_304;

/** A store that is open, and what was found in it. */
export interface OpenStore {
  readonly store: SessionStore;
  readonly restored: Restored;
  /** What was wrong with it. */
  readonly problems: readonly MqttError[];
}

/**
 * Opens the store of a client.
 *
 * @throws {MqttError} `"store"`; also when it has another client's session.
 */
export function openStore(store: SessionStore, id: string, blocking: boolean): OpenStore | Promise<OpenStore> {
  const restored = new Restored(), problems: MqttError[] = [];
  const read = (record: Uint8Array) => restored.read(record);
  const told = (error: MqttError) => void problems.push(error);
  const opened = () => {
    if (restored.id === undefined || restored.id === id) return { store, restored, problems };
    const failure = `The store has the session of the client "${restored.id}", and this one is "${id}"`;
    return closeAfter(store, new MqttError("store", `${failure}: each client has a store of its own`));
  };
  const opening = store.open({ blocking, read, told });
  if (!isPromise(opening)) return opened();
  if (!blocking) return opening.then(opened);
  throw new TypeError("Cannot use the store as it returns a promise: a client that blocks needs one that does not");
}

function closeAfter(store: SessionStore, error: MqttError): Promise<never> {
  const closing = store.close();
  if (!isPromise(closing)) throw error;
  return closing.then(() => {
    throw error;
  });
}

/** What a session is made with, of its store. */
export function durable(open: OpenStore | undefined, wall: () => number): SessionParts["durable"] {
  if (open === undefined) return undefined;
  const { store, restored, problems } = open;
  const log = { append: (record: Uint8Array) => store.append(record), wall, slack: SLACK };
  return { log, restored, problems };
}

/** What a keeper works with. */
interface KeeperParts {
  readonly session: Session;
  readonly now: () => number;
  /** Called when something was kept later. */
  advance(): void;
}

/** Has the store flush what the session has written, one flush at a time, and has it written anew when half of it is dead. */
export class Keeper {
  readonly #store: SessionStore;
  readonly #parts: KeeperParts;
  /** Flushing, or writing anew, which go on. */
  #flushing: Promise<void> | undefined;
  #replacing: Promise<void> | undefined;

  constructor(store: SessionStore, parts: KeeperParts) {
    this.#store = store;
    this.#parts = parts;
  }

  /** Keeps what there is to be kept; whether there was something. */
  keep(): boolean {
    const { session, now } = this.#parts;
    if (this.#flushing !== undefined || !session.store(now())) return false;
    this.#flushing = this.#run(() => this.#store.flush(), (error) => {
      this.#flushing = undefined;
      if (error !== undefined) return session.notStored(error, now());
      session.stored(now());
      this.#compact();
    });
    return true;
  }

  #compact(): void {
    const { session, now } = this.#parts;
    if (this.#replacing !== undefined || !session.ledger.isSparse) return;
    this.#replacing = this.#run(() => this.#store.replace(session.ledger.records(now())), (error) => {
      this.#replacing = undefined;
      if (error !== undefined) session.ledger.notReplaced(error);
    });
  }

  /** Does something, and tells how it went: before it returns, or later. */
  #run(act: () => void | Promise<void>, done: (error: unknown) => void): Promise<void> | undefined {
    let result: void | Promise<void>;
    try {
      result = act();
    } catch (error) {
      done(error);
      return undefined;
    }
    if (!isPromise(result)) {
      done(undefined);
      return undefined;
    }
    const later = (error: unknown) => {
      done(error);
      this.#parts.advance();
    };
    return result.then(() => later(undefined), later);
  }

  /** The client has ended: gives up the store, once nothing goes on there. */
  close(): void | Promise<void> {
    const going = [this.#flushing, this.#replacing].filter((each) => each !== undefined);
    if (going.length === 0) return this.#store.close();
    return Promise.all(going).then(() => this.#store.close());
  }
}
