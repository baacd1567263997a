/** What the caller of a client in a thread knows of it, as that has told.
 * @module */

import type { ConnectionStatus, Stats, Status } from "../status.ts";
import type { Limits } from "../options5.ts";
import type { Version } from "../protocol/packet.ts";
import type { Trust } from "../session/trust.ts";
import { COUNTERS, isOfConnection } from "./module_messages.ts";
import type { Settings } from "./settings.ts";

/** The state of the client in the thread. */
export class ModuleState {
  /** The version of the settings. */
  readonly #version: Version;
  #status: ConnectionStatus;
  /** The client identifier. */
  id: string;
  /** What is known of the server's certificate. */
  trusted: Trust = false;
  /** The thread's counters, in the order of COUNTERS; it writes them there. */
  readonly counters: Float64Array<SharedArrayBuffer> = new Float64Array(new SharedArrayBuffer(8 * COUNTERS.length));

  constructor({ version, id, places }: Settings) {
    this.#version = version;
    this.id = id;
    this.#status = { type: "connecting", attempt: 1, address: places[0]!.address };
  }

  /** The last status of the connection. */
  get status(): ConnectionStatus {
    return this.#status;
  }

  /** There is a new status; it may be one of something that happened on the connection. */
  tell(status: Status): void {
    if (isOfConnection(status)) this.#status = status;
  }

  /** Whether the client has ended. */
  get isClosed(): boolean {
    return this.#status.type === "closed";
  }

  /** What the broker of the connection can do; undefined while there is none. */
  get limits(): Limits | undefined {
    return this.#status.type === "connected" ? this.#status.limits : undefined;
  }

  /** The version, as far as it is known. */
  get version(): Version {
    return this.#status.type === "connected" ? this.#status.version : this.#version;
  }

  /** The counters. */
  get stats(): Stats {
    return Object.fromEntries(COUNTERS.map((name, i) => [name, this.counters[i]!])) as unknown as Stats;
  }
}
