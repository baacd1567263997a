/** The entry of the blocking mode.
 * @module */

import type { SyncClient } from "../api.ts";
import type { ConnectOptions, OnPublish } from "../options.ts";
import { NO_CONNECTION, parseRemote } from "./connect_worker.ts";
import type { Address } from "./address.ts";
import { checkOnpub, checkSubscriptions } from "./arguments.ts";
import { type OpenStore, openStore } from "./keeper.ts";
import { finderNow } from "./places.ts";
import { SyncClient as BlockingClient } from "./sync_client.ts";

/**
 * Connects like `connect`, and waits for everything: no call returns a promise, and none needs an
 * event loop. A program that does one thing after the other, or a thread of your own, is simple then.
 *
 * The socket and the keep alive are in a thread, which the connections of a program share, so the connection lives
 * while the program computes or sleeps. A connection alone does not keep the program running. Keep it open: of each
 * that was closed, the runtime holds about 0.5 MiB until the program's event loop runs, if it ever does.
 *
 * `addr` is a name, an address or a URL, a function that returns one, or a list of those; `uname` and `passwd` may be functions that are not async;
 * the signal can only be aborted by code that runs, such as `onpub`.
 *
 * @example Print what a broker publishes
 * ```ts no-run
 * import { connectSync } from "mqtt3c";
 *
 * const mqtt = connectSync("localhost", (topic, message) => console.log(topic, message.text()));
 * mqtt.subscribe("#");
 * const end = mqtt.run(); // does not return unless the connection ends
 * console.log(end.code);
 * ```
 *
 * @throws {TypeError | RangeError} If an argument is wrong, before any I/O.
 * @throws {MqttError} If there is no connection; see its `code`.
 */
export function connectSync(
  addr: Address | (() => Address) | readonly (Address | (() => Address))[],
  onpub?: OnPublish,
  op: ConnectOptions = {},
): SyncClient {
  checkOnpub(onpub);
  const advice = `${NO_CONNECTION}, and not a promise, for which this client cannot wait`;
  const settings = parseRemote(addr, op, finderNow(op, { advice }));
  const { reconnect, onstatus } = op;
  const policy = typeof reconnect === "function" ? reconnect : undefined;
  const subscriptions = checkSubscriptions(op);
  const store = op.store && openStore(op.store, settings.id, true) as OpenStore;
  return new BlockingClient({ ...settings, pingPart: 0 }, {
    onpub,
    subscriptions,
    onstatus,
    policy,
    authenticate: op.auth?.answer.bind(op.auth),
    store,
  });
}
