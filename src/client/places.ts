/** Where a client may find its broker: one place for each address, with the user name and password that belong to it.
 * @module */

import type { ConnectOptions, Credential } from "../options.ts";
import { MqttError } from "../errors.ts";
import { kindOf } from "../protocol/bytes.ts";
import type { Place as SessionPlace } from "../session/attempts.ts";
import type { Target } from "../transport/tcp.ts";
import type { Dial } from "../transport/transport.ts";
import { type Address, isAddress, parseTarget } from "./address.ts";
import { check } from "./checks.ts";
import { toCredential } from "./credentials.ts";

/** What an address says, or a function that is to say it. */
export interface Located {
  /** For people to read. */
  readonly address?: string | undefined;
  readonly target?: Target | undefined;
  /** Takes over an established connection. */
  readonly open?: Dial | undefined;
  /** Asks the program, at each attempt, which place it is; a promise of it, except in the blocking mode. */
  readonly find?: (() => Place | Promise<Place>) | undefined;
  /** Of the URL. */
  readonly uname?: Credential | undefined;
  readonly passwd?: Credential | undefined;
}

/** A place, with what CONNECT says there of the user. */
export interface Place extends SessionPlace, Located {
  readonly address: string | undefined;
}

/** The place, with the user name and password of the options where they give them, and those of the URL otherwise. */
export function makePlace(op: ConnectOptions, located: Located): Place {
  const { uname = located.uname, passwd = located.passwd } = op;
  if (typeof uname !== "function") toCredential(uname, "uname");
  if (typeof passwd !== "function") toCredential(passwd, "passwd");
  check(passwd === undefined || uname !== undefined, "passwd", "with uname [MQTT-3.1.2-22]");
  const credentials = uname === undefined ? "none" : passwd === undefined ? "uname" : "both";
  return { address: undefined, ...located, uname, passwd, credentials };
}

/** How what functions give becomes places. */
export interface Finding {
  /** What they may give besides an address. */
  connection?(given: unknown): Located;
  /** What to do instead of giving something else. */
  readonly advice: string;
}

/** What a function has given, as a place. */
function toPlace(given: unknown, op: ConnectOptions, { connection, advice }: Finding): Place {
  if (isAddress(given)) return makePlace(op, parseTarget(given, op));
  check(connection !== undefined, "what addr() gave", `${advice}: received ${kindOf(given)}`);
  return makePlace(op, connection(given));
}

/** The error of a function that failed, or gave what cannot be used. */
function notFound(cause: unknown): MqttError {
  const why = cause instanceof TypeError || cause instanceof RangeError ? `: ${cause.message}` : "";
  return new MqttError("cannotconnect", `Cannot connect as addr() failed${why}`, cause);
}

/** Asks a function that may be async. */
export function finder(op: ConnectOptions, finding: Finding): (ask: () => unknown) => () => Promise<Place> {
  return (ask) => async () => {
    try {
      return toPlace(await ask(), op, finding);
    } catch (cause) {
      throw notFound(cause);
    }
  };
}

/** Asks a function where nothing can be awaited. */
export function finderNow(op: ConnectOptions, finding: Finding): (ask: () => unknown) => () => Place {
  return (ask) => () => {
    try {
      return toPlace(ask(), op, finding);
    } catch (cause) {
      throw notFound(cause);
    }
  };
}

/**
 * What `addr` says: an address, a function, or a list of those.
 *
 * @throws {TypeError | RangeError} If one of them is wrong.
 */
export function parsePlaces(
  addr: unknown,
  op: ConnectOptions,
  find: (ask: () => unknown) => Located["find"],
): Located[] {
  const list: unknown[] = Array.isArray(addr) ? [...addr] : [addr];
  check(list.length > 0, "addr", "one address at least: received an empty list");
  return list.map((each) => {
    if (typeof each === "function") return { find: find(each as () => unknown) };
    check(isAddress(each), "a list of addresses", `one of addresses and functions: received ${kindOf(each)} in it`);
    return parseTarget(each as Address, op);
  });
}

/** Whether `addr` is an address, a function, or a list. */
export function isPlaces(addr: unknown): boolean {
  return isAddress(addr) || typeof addr === "function" || Array.isArray(addr);
}
