/** Starts a client in the event loop, with what the platform has: its time, and its way to open connections.
 * @module */

import type { Client } from "../api.ts";
import type { ConnectOptions, OnPublish } from "../options.ts";
import { deferred } from "../deferred.ts";
import type { SessionStore } from "../store/session_store.ts";
import type { Target } from "../transport/tcp.ts";
import { traceDial } from "../transport/trace.ts";
import type { Transport } from "../transport/transport.ts";
import { checkSubscriptions } from "./arguments.ts";
import { type OpenStore, openStore } from "./keeper.ts";
import { LoopClient, type LoopParts } from "./loop_client.ts";
import { askPolicy } from "./policy.ts";
import type { Settings } from "./settings.ts";

/** What a client is started with, besides its settings. */
export interface StartParts extends Pick<LoopParts, "clock" | "hints"> {
  readonly op: ConnectOptions;
  readonly onpub: OnPublish | undefined;
  /** Opens a connection to an address. */
  dial(target: Target, signal: AbortSignal): Promise<Transport>;
  /** Called when the client has ended, or has not come about. */
  closed?: (() => void) | undefined;
}

/**
 * The client, once it has its first connection.
 *
 * @throws {TypeError | RangeError} If a subscription of the options is wrong.
 * @throws {MqttError} If the store cannot be opened, or there is no connection.
 */
export async function startClient(
  settings: Settings,
  { op, onpub, clock, hints, dial, closed }: StartParts,
): Promise<Client> {
  const { onstatus, trace, reconnect } = op;
  const opened = deferred<number | undefined>();
  const client = new LoopClient(settings, {
    dial: (signal, { target, open = (signal) => dial(target!, signal) }) => traceDial(open, trace)(signal),
    policy: typeof reconnect === "function" ? (retry) => askPolicy(reconnect, retry) : undefined,
    authenticate: op.auth?.answer.bind(op.auth),
    onpub,
    subscriptions: checkSubscriptions(op),
    onstatus,
    store: op.store && await openStoreOr(op.store, settings.id, closed),
    clock,
    hints,
    closed,
  }, opened);
  await opened.promise;
  return client;
}

/** Opens the store of a client; when that fails there is no client, as after its end: `closed` is called. */
async function openStoreOr(store: SessionStore, id: string, closed: (() => void) | undefined): Promise<OpenStore> {
  try {
    return await openStore(store, id, false);
  } catch (error) {
    closed?.();
    throw error;
  }
}
