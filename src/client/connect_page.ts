/** From an address to a client, in a page or a worker of it.
 * @module */

import type { Client } from "../api.ts";
import type { ConnectOptions, OnPublish } from "../options.ts";
import { MqttError } from "../errors.ts";
import { kindOf } from "../protocol/bytes.ts";
import { openPageSocket } from "../transport/page_socket.ts";
import type { TcpTarget } from "../transport/tcp.ts";
import { type Address, isAddress } from "./address.ts";
import { checkOnpub } from "./arguments.ts";
import { check, isObject } from "./checks.ts";
import { checkOptions } from "./options.ts";
import { pageClock } from "./page_clock.ts";
import { pageHints } from "./page_hints.ts";
import { finder, isPlaces, parsePlaces } from "./places.ts";
import { parseSettings, type Settings } from "./settings.ts";
import { startClient } from "./start_client.ts";

/** A function that says where the broker is; it is asked at every attempt. */
export type Locator = () => Address | Promise<Address>;

/**
 * Seconds. A browser lets the timers of a tab that nobody looks at ring once a minute: with half of this, PINGREQ goes out
 * before the broker gives the client up, which it does after one and a half of it [MQTT-3.1.2-24].
 */
const KEEPALIVE = 120;

const WHERE = "a WebSocket's URL, ws://host:port/path or wss://...";

/**
 * Connects to a broker over a WebSocket, from a page or a worker of it, and starts the loop. It is the client that Deno, Bun
 * and Node have, with the same calls, options and errors, over the WebSocket of the browser.
 *
 * `addr` is a `ws:` or `wss:` URL, as text or object (path `/mqtt` where it has none, user name and password percent-encoded);
 * a function that gives one, or a promise of it, at every attempt; or a list of those, which are tried in turn. `onpub` gets
 * every message that no subscription's own `onpub` or iterator takes.
 *
 * What the browser decides is not to be chosen here: `proxy`, `headers`, and of `tls` all but `untrusted`, which it always
 * rejects. `keepalive` is 120 seconds by default.
 *
 * The browser's WebSocket cannot be paused: when more than `maxBuffered` bytes have come while messages are not settled, the
 * connection ends with `"overflow"`.
 *
 * @example Show what a broker publishes
 * ```ts no-run
 * import { connect } from "mqtt3c/browser";
 *
 * const mqtt = await connect("wss://broker.example/mqtt", undefined, { reconnect: true });
 * for await (const message of mqtt.messages("greenhouse/#")) console.log(message.topic, message.text());
 * ```
 *
 * @throws {TypeError | RangeError} If an argument is wrong, before any I/O.
 * @throws {MqttError} If there is no connection; see its `code`. A page is not told why: it is `"cannotconnect"` mostly.
 */
export async function connect(
  addr: Address | Locator | readonly (Address | Locator)[],
  onpub?: OnPublish,
  op: ConnectOptions = {},
): Promise<Client> {
  checkOnpub(onpub);
  const settings = parsePage(addr, op);
  const dial = (target: unknown, signal: AbortSignal) => openPageSocket(urlOf(target as TcpTarget), settings, signal);
  return await startClient(settings, { op, onpub, clock: pageClock, hints: pageHints, dial });
}

/**
 * Not in a page: it rejects, and says what to do instead. A worker of the page keeps its connection while the page is busy:
 * start one, and call {@linkcode connect} there.
 *
 * @throws {MqttError} `"unsupported"`, always.
 */
export function connectWorker(..._: unknown[]): Promise<Client> {
  const advice = "start a Worker, and call connect() in it";
  return Promise.reject(new MqttError("unsupported", `A page has no thread that shares its connection: ${advice}`));
}

function parsePage(addr: unknown, given: ConnectOptions): Settings & { maxBuffered: number } {
  checkOptions(given);
  const op = { ...given, keepalive: given.keepalive === undefined ? KEEPALIVE : given.keepalive };
  for (const option of ["proxy", "headers"] as const) {
    check(op[option] === undefined, option, "left out in a page: the browser decides that");
  }
  for (const [name, value] of Object.entries(isObject(op.tls) ? op.tls : {})) {
    const isDecided = value !== undefined && name !== "untrusted";
    check(!isDecided, `tls.${name}`, "left out in a page: the browser decides that");
  }
  check(isPlaces(addr), "addr", `${WHERE}: received ${kindOf(addr)}`);
  for (const each of Array.isArray(addr) ? addr : [addr]) {
    if (isAddress(each)) checkAddress(each);
  }
  const find = finder(op, { advice: WHERE });
  const places = parsePlaces(addr, op, (ask) => find(async () => checkAddress(await ask())));
  return { ...parseSettings(op, places), pingPart: 0.5 };
}

/** It may have a password, so no error repeats it. */
function checkAddress<A>(addr: A): A {
  check(!isAddress(addr) || /^wss?:\/\//i.test(String(addr)), "addr", `${WHERE}, in a page`);
  return addr;
}

function urlOf({ tls, websocket }: TcpTarget): string {
  return `${tls ? "wss" : "ws"}://${websocket!.authority}${websocket!.resource}`;
}
