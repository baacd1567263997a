/** The seam between the client and what carries its bytes.
 * @module */

import type { MqttError } from "../errors.ts";
import type { Trust } from "../session/trust.ts";

/** Who hears what happens on a connection; nothing is called after `closed`. */
export interface Sink {
  /** Where the next bytes may be read to; nothing else is written there. */
  space(): Uint8Array;
  /** The first `length` bytes of `chunk` are new, and nobody writes them again. False: read no more until `resume`. */
  received(chunk: Uint8Array, length: number): boolean;
  /** The bytes for which `write` returned false have gone out: their memory is free. */
  written(): void;
  /** The connection is over; said once. */
  closed(error: MqttError): void;
}

/** An open connection. */
export interface Transport {
  /** The connection under it, as the runtime made it or the caller handed it in. */
  readonly sock: unknown;
  readonly trusted: Trust;
  /** Bytes that have not reached the socket yet, although the sink has heard `written`; undefined: none. */
  readonly unsent?: number;
  /** Starts to tell the sink what comes. */
  start(sink: Sink): void;
  /**
   * Sends bytes. True: they have gone out. False: they go out later, and the sink hears `written` then; until that they
   * must not change, and nothing else may be written.
   */
  write(bytes: Uint8Array): boolean;
  /** Reads again after `received` returned false. */
  resume(): void;
  /** Sends PINGREQ after so many seconds from now on, 0: never; undefined where the client does that itself. */
  keepAlive?(seconds: number): void;
  /** Says that nothing more will be written; what was written still arrives. */
  end(): void;
  /** Gives up the connection at once. */
  close(): void;
}

/** Opens a connection; when the signal is aborted it gives up, with the signal's reason. */
export type Dial = (signal: AbortSignal) => Promise<Transport>;
