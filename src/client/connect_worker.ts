/** The clients whose connection lives in a thread, or all of them.
 * @module */

import type { Client } from "../api.ts";
import { deferred } from "../deferred.ts";
import type { ConnectOptions, OnPublish } from "../options.ts";
import { traceDial } from "../transport/trace.ts";
import { Connector } from "../worker/connector.ts";
import { openStore } from "./keeper.ts";
import { LoopClient } from "./loop_client.ts";
import { ModuleClient } from "./module_client.ts";
import { type Address, isUrl } from "./address.ts";
import { checkOnpub, checkSubscriptions } from "./arguments.ts";
import { finder, isPlaces, type Located, parsePlaces } from "./places.ts";
import { askPolicy } from "./policy.ts";
import { parseSettings, type Settings } from "./settings.ts";
import { systemClock } from "./system_clock.ts";

/**
 * Connects like `connect`, in a thread: the socket and the keep alive do not depend on what the calling thread does,
 * which may sleep or compute for as long as it likes.
 *
 * With a function as `onpub`, it is called on the calling thread. The connections of a program share the thread; what
 * comes while the calling thread is busy waits, 1 MiB of each connection in memory and the rest at the broker.
 *
 * With the URL of a module, the whole client lives in a thread of its own, and the module's default export is called
 * there with each message: messages and their acknowledgements do not touch the calling thread, except those that a
 * subscription's own `onpub` or an iterator takes. Functions that give credentials, `onstatus` and `trace` are called on
 * the calling thread.
 *
 * `addr` is a name, an address or a URL, a function that gives one, or a list, as for `connect`: a connection cannot cross to a thread. The client's `sock` is undefined.
 *
 * @example Print what a broker publishes
 * ```ts no-run
 * import { connectWorker } from "mqtt3c";
 *
 * const mqtt = await connectWorker("localhost", (topic, message) => console.log(topic, message.text()));
 * await mqtt.subscribe("#");
 * const end = await mqtt.run();
 * console.log(end.code);
 * ```
 *
 * @throws {TypeError | RangeError} If an argument is wrong, before any I/O; or if the module has no such function.
 * @throws {MqttError} If there is no connection; see its `code`.
 */
export async function connectWorker(
  addr: Address | (() => Address | Promise<Address>) | readonly (Address | (() => Address | Promise<Address>))[],
  onpub?: OnPublish | URL,
  op: ConnectOptions = {},
): Promise<Client> {
  if (!isUrl(onpub)) checkOnpub(onpub);
  const settings = parseRemote(addr, op, finder(op, { advice: NO_CONNECTION }));
  const { onstatus, trace, reconnect } = op;
  const policy = typeof reconnect === "function" ? reconnect : undefined;
  const subscriptions = checkSubscriptions(op);
  if (isUrl(onpub)) {
    const client = new ModuleClient(settings, {
      module: onpub,
      subscriptions,
      policy,
      authenticate: op.auth?.answer.bind(op.auth),
      onstatus,
      trace,
      store: op.store,
    });
    await ModuleClient.opened(client);
    return client;
  }
  const store = op.store && await openStore(op.store, settings.id, false);
  const connector = new Connector(), opened = deferred<number | undefined>();
  const client = new LoopClient({ ...settings, pingPart: 0 }, {
    clock: systemClock,
    dial: (signal, { target }) => traceDial((signal) => connector.dial(target!, settings, signal), trace)(signal),
    policy: policy && ((retry) => askPolicy(policy, retry)),
    authenticate: op.auth?.answer.bind(op.auth),
    onpub,
    subscriptions,
    onstatus,
    store,
    closed: () => void connector.end(),
  }, opened);
  await opened.promise;
  return client;
}

/** What a function may give. */
export const NO_CONNECTION = "a name, an address or a URL: a connection stays in its thread";

/** What a client whose connections are in a thread works with; functions are asked as `find` does. */
export function parseRemote(
  addr: unknown,
  op: ConnectOptions,
  find: (ask: () => unknown) => Located["find"],
): Settings {
  if (!isPlaces(addr)) throw new TypeError(`Cannot connect as addr must be ${NO_CONNECTION}`);
  const located = parsePlaces(addr, op, find);
  const settings = parseSettings(op, located);
  try {
    structuredClone(op.tls);
  } catch (cause) {
    throw new TypeError("Cannot use the tls options as they must be data: a function stays in its thread", { cause });
  }
  return settings;
}
