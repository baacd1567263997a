/** Opens a client's connections in the thread that the program's connections share, and waits for them.
 * @module */

import type { MqttError } from "../errors.ts";
import type { Version } from "../protocol/packet.ts";
import { nextTurn, workerThreads } from "../runtime.ts";
import type { Target } from "../transport/tcp.ts";
import { PortTransport } from "./port_transport.ts";
import { program, type SharedThread, type Sharing, type User } from "./shared_thread.ts";
import type { RingPair } from "./spare_rings.ts";

/** Milliseconds without a sign of life after which a connection is asked for one. */
const SILENCE = 1000;
/** Milliseconds without a sign of life after which the thread counts as dead. */
const DEATH = 5000;

/** How connections are opened. */
export interface DialSettings {
  /** Seconds; 0 = off. */
  keepalive: number;
  /** That of the protocol: 4 by default. */
  version?: Version;
}

/** A client's way to its connections, one after the other. */
export class Connector implements User {
  readonly blocking: boolean;
  readonly #sharing: Sharing;
  /** The thread of the last connection, unless that has crashed. */
  #thread: SharedThread | undefined;
  #connection: PortTransport | undefined;
  /** Those of the connection, or of the last one. */
  #rings: RingPair | undefined;
  /** Counts what the connection has said, for a client that blocks. */
  #said: Int32Array = new Int32Array(new SharedArrayBuffer(4));
  /** The count when the connection was last listened to. */
  #heard = 0;
  /** Milliseconds waited since without a sign of life. */
  #silent = 0;

  /**
   * `blocking` lets a program end although the client's connection is open.
   *
   * @throws {TypeError} If there is no code for a thread, in a bundle.
   */
  constructor({ blocking = false, sharing = program }: { blocking?: boolean; sharing?: Sharing } = {}) {
    this.blocking = blocking;
    this.#sharing = sharing;
    void sharing.code;
  }

  /** Opens a connection; `signal` gives it up. */
  async dial(target: Target, settings: DialSettings, signal: AbortSignal): Promise<PortTransport> {
    const transport = this.open(target, settings);
    signal.addEventListener("abort", () => {
      transport.close();
      transport.fail(signal.reason);
    });
    transport.listen();
    await transport.opened?.promise;
    return transport;
  }

  /** Starts to open a connection. */
  open(target: Target, { keepalive, version }: DialSettings): PortTransport {
    if (this.#thread?.isOver) void this.#leave();
    const thread = this.#thread ??= this.#sharing.join(this);
    const { port1, port2: port } = new (workerThreads().MessageChannel)();
    const rings = this.#rings = this.#sharing.spareRings.next(this.#rings);
    const connection = this.#connection = new PortTransport(port1, rings, this.blocking ? undefined : nextTurn);
    const said = this.blocking ? this.#said = new Int32Array(new SharedArrayBuffer(4)) : undefined;
    this.#heard = this.#silent = 0;
    thread.post({ target, keepalive, mayChange: version === 5, ...rings, port, said }, [port]);
    return connection;
  }

  /** The thread has ended: the next connection has another one. */
  crashed(error: MqttError): void {
    this.#thread = undefined;
    this.#connection?.fail(error);
  }

  /** Whether the connection has said something since it was heard. */
  get hasSaid(): boolean {
    return Atomics.load(this.#said, 0) !== this.#heard;
  }

  /** Hears what the connection has said. */
  hear(connection: PortTransport): boolean {
    const said = Atomics.load(this.#said, 0);
    if (said !== this.#heard) this.#hasSpoken();
    this.#heard = said;
    const found = workerThreads().receiveMessageOnPort(connection.port);
    if (found !== undefined) connection.hear(found.message);
    else if (!connection.sleep()) connection.look();
    else return false;
    return true;
  }

  #hasSpoken(): void {
    this.#silent = 0;
    if (this.#thread !== undefined) this.#thread.hasSpoken = true;
  }

  /** Blocks until the connection has heard something; false when the time has come, in milliseconds. */
  wait(connection: PortTransport | undefined, due: number): boolean {
    for (;;) {
      if (connection === undefined) this.#heard = Atomics.load(this.#said, 0);
      else if (this.hear(connection)) return true;
      else if (connection.over === undefined && this.#isDead()) {
        const error = this.#thread!.giveUp();
        void this.#leave();
        connection.fail(error);
        return true;
      }
      const time = Math.min(due - performance.now(), SILENCE);
      if (time <= 0) return false;
      if (Atomics.wait(this.#said, 0, this.#heard, time) !== "timed-out") this.#hasSpoken();
      else if ((this.#silent += time) >= SILENCE) connection?.askIfAlive();
    }
  }

  /** A thread that has never spoken is starting, and has the time of the attempt. */
  #isDead(): boolean {
    const thread = this.#thread!;
    return thread.isOver || thread.hasSpoken && this.#silent >= DEATH;
  }

  /** Leaves the thread. */
  async #leave(): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.leave(this);
  }

  /** The client has ended. */
  async end(): Promise<void> {
    // The runtime keeps the worker until an event loop hears of its end, but not the connection's memory with it.
    this.#connection = undefined;
    if (this.#rings !== undefined) this.#sharing.spareRings.give(this.#rings);
    this.#rings = undefined;
    await this.#leave();
  }
}
