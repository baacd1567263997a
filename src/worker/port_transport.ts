/** The client's end of a connection that lives in a thread.
 * @module */

import type { MessagePort } from "node:worker_threads";
import { type Deferred, deferred } from "../deferred.ts";
import type { MqttError } from "../errors.ts";
import { DISCONNECT } from "../protocol/packet.ts";
import type { Trust } from "../session/trust.ts";
import type { Sink, Transport } from "../transport/transport.ts";
import { type FromRelay, restore, type ToRelay } from "./messages.ts";
import { Ring } from "./ring.ts";
import type { RingPair } from "./spare_rings.ts";

/** The next block may come while no more than this is in the ring: the client is to know whether anything goes out. */
const AHEAD = 262_144;
/** So many bytes are taken out of the ring, then other events have their turn. */
const TURN = 524_288;

/** A transport whose bytes cross to a thread and back, as they are. Its owner lets it hear what the port says. */
export class PortTransport implements Transport {
  readonly sock = undefined;
  readonly port: MessagePort;
  readonly #input: Ring;
  readonly #output: Ring;
  readonly #later: ((look: () => void) => void) | undefined;
  /** Settled when the connection is open, or could not be opened; who blocks has none, as no promise ever goes on there. */
  readonly opened: Deferred<void> | undefined;
  isOpen = false;
  trusted: Trust = false;
  /** Why it is over, which the sink hears after all that came before. */
  over: Error | undefined;
  /** What came before, and had no room in the ring. */
  #rest: Uint8Array = new Uint8Array(0);
  #sink: Sink | undefined;
  #reading = false;
  /** Whether the sink waits for `written`. */
  #writing = false;
  /** Whether its block has gone to the thread as a message, outside the ring, and is not sent yet. */
  #outside = false;
  #closed = false;

  /** `later` calls back after other events; without it the client blocks, and calls `look` itself. */
  constructor(port: MessagePort, { input, output }: RingPair, later?: (look: () => void) => void) {
    const wake = () => this.#tell("look");
    this.port = port;
    this.#later = later;
    this.#input = new Ring(input, wake);
    this.#output = new Ring(output, wake);
    if (later !== undefined) this.opened = deferred();
  }

  /** Hears what the thread says by events. */
  listen(): void {
    this.port.on("message", this.#heard);
  }

  readonly #heard = (message: FromRelay) => this.hear(message);

  /** Takes what the thread says. */
  hear(message: FromRelay): void {
    if (message === "look") {
      this.look();
    } else if (message === "sent") {
      this.#outside = false;
      this.look();
    } else if ("trusted" in message) {
      this.trusted = message.trusted;
      this.isOpen = true;
      this.opened?.resolve();
    } else {
      this.#rest = message.rest;
      this.fail(restore(message.over));
    }
  }

  /** The connection is over. */
  fail(error: Error): void {
    this.over ??= error;
    this.opened?.reject(error);
    this.look();
  }

  get unsent(): number {
    return this.#output.unfinished;
  }

  /** Gives the sink what has come, for one turn; the rest after other events. */
  readonly look = (): void => {
    this.#confirm();
    for (let taken = 0; this.#reading && taken < TURN && this.#input.waiting > 0;) {
      const space = this.#sink!.space();
      const count = this.#input.take(space);
      taken += count;
      this.#give(space, count);
    }
    const rest = this.#rest;
    if (this.#reading && rest.length > 0 && this.#input.waiting === 0) {
      this.#rest = new Uint8Array(0);
      this.#give(rest, rest.length);
    }
    // Who does not read, and waits for a write that never ends, would never hear of it.
    const isLast = this.#reading ? this.#waiting === 0 : this.#writing && this.#later !== undefined;
    if (this.over !== undefined && isLast) {
      const sink = this.#sink;
      this.close();
      sink?.closed(this.over as MqttError);
    } else if (!this.sleep()) {
      this.#later?.(this.look);
    }
  };

  #give(chunk: Uint8Array, length: number): void {
    const more = this.#sink!.received(chunk, length);
    this.#reading &&= more;
  }

  /** Bytes that the sink has not got. */
  get #waiting(): number {
    return this.#input.waiting + this.#rest.length;
  }

  #confirm(): void {
    if (!this.#writing || !this.#hasRoom) return;
    this.#writing = false;
    this.#sink?.written();
  }

  get #hasRoom(): boolean {
    return !this.#outside && this.#output.waiting <= AHEAD;
  }

  /** Wants to be woken when there is something to look at; false if there is already. */
  sleep(): boolean {
    if (this.#reading) this.#input.awaitBytes();
    if (this.#writing) this.#output.awaitRoom(AHEAD);
    return !(this.#reading && this.#waiting > 0) && !(this.#writing && this.#hasRoom);
  }

  #tell(message: ToRelay): void {
    this.port.postMessage(message, message instanceof ArrayBuffer ? [message] : []);
  }

  start(sink: Sink): void {
    this.#sink = sink;
    this.resume();
  }

  /**
   * Whole blocks only, so that the thread can send PINGREQ between any two. A block is written when
   * the next one has room: the thread and the socket are never idle. DISCONNECT, when all has gone out.
   */
  write(bytes: Uint8Array): boolean {
    this.#outside = bytes.length > AHEAD || bytes[0]! >> 4 === DISCONNECT;
    if (this.#outside) this.#tell(bytes.slice().buffer as ArrayBuffer);
    else this.#output.put(bytes);
    if (this.#hasRoom) return true;
    this.#writing = true;
    // Not before: to be woken for nothing costs the thread 100 us.
    if (this.sleep() || !this.#hasRoom) return false;
    this.#writing = false;
    return true;
  }

  resume(): void {
    if (this.#sink === undefined || this.#reading) return;
    this.#reading = true;
    this.look();
  }

  keepAlive(seconds: number): void {
    this.#tell({ keepalive: seconds });
  }

  end(): void {
    this.#tell("end");
  }

  /** Asks for a sign of life. */
  askIfAlive(): void {
    this.#tell("areYouAlive");
  }

  close(): void {
    this.#sink = undefined;
    this.#reading = this.#writing = false;
    if (this.#closed) return;
    this.#closed = true;
    this.#tell("close");
    this.#input.leave();
    this.#output.leave();
    // Deno keeps a closed port until the next full collection, and the connection with it if it has a listener.
    this.port.off("message", this.#heard);
    this.port.close();
  }
}
