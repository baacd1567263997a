/** What the thread of a module is made with: the client's settings, as far as they can cross.
 * @module */

import { HIGH_WATER } from "../session/state.ts";
import type { Planned } from "../session/subscriptions.ts";
import { FileStore } from "../store/file_store.ts";
import { makeToken } from "../store/lock.ts";
import type { SessionStore } from "../store/session_store.ts";
import { check } from "./checks.ts";
import { type Asks, asksOf, withoutFunctions } from "./module_questions.ts";
import type { RemoteHandlers } from "./remote_handlers.ts";
import type { Settings } from "./settings.ts";

/** All of it is data. */
export interface HostData {
  /** Its default export gets the messages. */
  module: string;
  /** Without what is no data. */
  settings: Settings;
  /** What it subscribes to with its first connection; `handler` is the number of the caller's. */
  subscriptions: readonly (Omit<Planned, "onpub" | "concurrency"> & { handler: number | undefined })[];
  /** What the caller is asked for at every attempt. */
  asks: Asks;
  /** Whether the caller hears statuses. */
  hears: boolean;
  /** Whether the caller wants each packet told. */
  traces: boolean;
  /** Where the session is kept: what makes a FileStore there. */
  store: { path: string; sync: "os" | "disk"; token: string } | undefined;
  /** Where the thread keeps its COUNTERS: told in messages, they would be as many as those of the broker. */
  counters: SharedArrayBuffer;
}

/**
 * What makes the same store in the thread.
 *
 * @throws {TypeError} If it cannot cross.
 */
export function carryStore(store: SessionStore | undefined): HostData["store"] {
  if (store === undefined) return undefined;
  const isCarried = store instanceof FileStore;
  check(isCarried, "store", "fileStore(path) when onpub is a module: another store cannot cross to its thread");
  const { path, sync } = store as FileStore;
  return { path, sync, token: makeToken() };
}

/** The settings; what is asked of functions is asked of the caller. */
export function carrySettings(settings: Settings): Pick<HostData, "settings" | "asks"> {
  const carried = {
    ...settings,
    // What waits in the thread is what this waits for, and what need not be waited for.
    maxBuffered: settings.maxBuffered + HIGH_WATER,
    places: settings.places.map(withoutFunctions),
    signal: undefined,
  };
  return { settings: carried, asks: asksOf(settings) };
}

/** The subscriptions of the options; their handlers stay with the caller. */
export function carrySubscriptions(
  subscriptions: readonly Planned[],
  handlers: RemoteHandlers,
): HostData["subscriptions"] {
  return subscriptions.map(({ onpub, concurrency, ...wanted }) => {
    return { ...wanted, handler: handlers.subscribe([wanted.topic], onpub, concurrency).number };
  });
}
