/** The thread's side: it owns the sockets and the keep alive, and passes bytes on as they are.
 * @module */

import { Buffer } from "node:buffer";
import process from "node:process";
import { setImmediate } from "node:timers";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { OnPublish } from "../api.ts";
import { makeBlock, Message } from "../message.ts";
import { encode } from "../protocol/encoder.ts";
import { KeepAlive } from "../session/keepalive.ts";
import { CONNACK, DISCONNECT, PINGREQ, PINGRESP } from "../protocol/packet.ts";
import { TopicFilters } from "../protocol/topic.ts";
import { dial, type Target } from "../transport/tcp.ts";
import type { Sink, Transport } from "../transport/transport.ts";
import { Boundaries } from "./boundaries.ts";
import { carry, type Dialling, type FromRelay, type FromThread } from "./messages.ts";
import type { ThreadData, ToRelay, ToThread } from "./messages.ts";
import { Ring } from "./ring.ts";
import { MessageFilter } from "./message_filter.ts";

/** Blocks that are written one after the other before the thread looks for what has come. */
const LONGEST_TURN = 64;

/** Where this module is, for the thread to import; nothing here runs when it is imported. */
export function locate(): string {
  return import.meta.url;
}

/** Starts what the thread does, and returns who hears what the client says to it. */
export function startRelay(): (message: ToThread) => void {
  const { said, module, routes } = workerData as ThreadData;
  const filters = new TopicFilters<true>();
  for (const filter of routes) filters.set(filter, true);
  const onpub = module === undefined ? undefined : load(module);
  onpub?.catch(() => undefined); // each connection tells it
  const say = said && (() => {
    Atomics.add(said, 0, 1);
    Atomics.notify(said, 0);
  });
  process.on("exit", () => {
    if (said === undefined) return;
    Atomics.store(said, 1, 1);
    say!();
  });
  return (message) => {
    if (message === "areYouAlive") say?.();
    else if (message === "exit") process.exit();
    else if ("target" in message) {
      const messageFilter = onpub?.then((onpub) => new MessageFilter(onpub, filters, message.maxPacketSize));
      void new Relay(message, say).open(message.target, messageFilter);
    } else if ("route" in message) {
      if (message.own) filters.set(message.route, true);
      else filters.delete(message.route);
    } else {
      const { topic, first, payload } = message;
      void onpub?.then((onpub) => onpub(topic, new Message(topic, first, makeBlock(payload), 0, payload.length)));
    }
  };
}

/** The module's function; what it throws is the client's to surface, and stops nothing here. */
async function load(module: string): Promise<OnPublish> {
  const { default: onpub } = await import(module);
  if (typeof onpub !== "function") {
    throw new TypeError(`Cannot use onpub as the default export of ${module} must be a function`);
  }
  return (topic, message) => {
    try {
      onpub(topic, message);
    } catch (error) {
      parentPort!.postMessage({ thrown: carry(error) } satisfies FromThread);
    }
  };
}

/** One connection. */
class Relay implements Sink {
  readonly #port: MessagePort;
  readonly #say: (() => void) | undefined;
  readonly #input: Ring;
  readonly #output: Ring;
  readonly #keepalive: number;
  readonly #abort = new AbortController();
  readonly #boundaries = new Boundaries();
  readonly #space = new Uint8Array(65_536);
  /** What is being written: a socket may not take shared memory. */
  readonly #block: Uint8Array;
  #messageFilter: MessageFilter | undefined;
  #transport: Transport | undefined;
  /** What has not found room for the client yet; then nothing is read. */
  #parts: Uint8Array[] = [];
  /** Runs from CONNACK to DISCONNECT. */
  #keepAlive = new KeepAlive(0, 0);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pinging = false;
  /** A block that came outside the ring: a large one, or DISCONNECT. */
  #large: Uint8Array | undefined;
  /** What to do when the write in flight is done; undefined when there is none. */
  #done: (() => void) | undefined;

  constructor({ port, keepalive, input, output }: Dialling, say: (() => void) | undefined) {
    const wake = say ?? (() => this.#tell("look"));
    this.#port = port;
    this.#say = say;
    this.#keepalive = keepalive;
    this.#input = new Ring(input, wake);
    this.#output = new Ring(output, wake);
    this.#block = new Uint8Array(this.#output.size);
    port.on("message", (message: ToRelay) => this.#hear(message));
  }

  async open(target: Target, messageFilter: Promise<MessageFilter> | undefined): Promise<void> {
    try {
      this.#messageFilter = await messageFilter;
      const transport = await dial(target, this.#abort.signal);
      if (this.#abort.signal.aborted) return transport.close();
      this.#transport = transport;
      this.#tell({ trusted: transport.trusted });
      transport.start(this);
      this.#write();
    } catch (error) {
      this.closed(error);
    }
  }

  #hear(message: ToRelay): void {
    if (message === "look") {
      this.#give();
      this.#write();
    } else if (message === "end") {
      this.#transport?.end();
    } else if (message === "close") {
      this.#close();
    } else {
      this.#large = new Uint8Array(message);
      this.#write();
    }
  }

  #tell(message: FromRelay): void {
    this.#port.postMessage(message);
    this.#say?.();
  }

  /** Writes what there is, unless a write is in flight. Every so often it yields: the client may fill the ring as fast as the socket drains it. */
  #write(): void {
    for (let turn = 0; this.#done === undefined && this.#transport !== undefined; turn++) {
      if (turn === LONGEST_TURN) return void setImmediate(() => this.#write());
      const next = this.#next();
      if (next === undefined) return;
      if (next.bytes[0]! >> 4 === DISCONNECT) this.#keepAlive = new KeepAlive(0, 0);
      this.#done = next.done;
      if (!this.#transport.write(next.bytes)) return;
      this.#gone();
    }
  }

  /** The next bytes to write, and what to do when they are written: PINGREQ first, then all that is in the ring, then the block outside it. */
  #next(): { bytes: Uint8Array; done: () => void } | undefined {
    if (this.#pinging) {
      this.#pinging = false;
      return { bytes: encode({ type: PINGREQ }), done: () => {} };
    }
    let count = this.#output.take(this.#block);
    if (count === 0) {
      this.#output.awaitBytes();
      count = this.#output.take(this.#block);
    }
    if (count > 0) return { bytes: this.#block.subarray(0, count), done: () => this.#output.finish(count) };
    const large = this.#large;
    this.#large = undefined;
    return large && { bytes: large, done: () => this.#tell("sent") };
  }

  written(): void {
    this.#gone();
    this.#write();
  }

  #gone(): void {
    const done = this.#done;
    this.#done = undefined;
    this.#keepAlive.sent(performance.now());
    done?.();
  }

  space(): Uint8Array {
    return this.#messageFilter?.space() ?? this.#space;
  }

  received(chunk: Uint8Array, length: number): boolean {
    const types = this.#boundaries.walk(chunk, length);
    if (types & 1 << CONNACK) {
      this.#keepAlive = new KeepAlive(this.#keepalive, performance.now());
      this.#arm();
    }
    if (types & 1 << PINGRESP) this.#keepAlive.answered();
    this.#keepAlive.received(length);
    const bytes = chunk.subarray(0, length);
    this.#parts = this.#messageFilter?.filter(bytes) ?? [bytes];
    return this.#fill();
  }

  /** Puts the parts into the ring; whether all had room. */
  #fill(): boolean {
    for (let asked = false; this.#parts.length > 0;) {
      const part = this.#parts[0]!;
      const count = this.#input.put(part);
      if (count === part.length) this.#parts.shift();
      else if (count > 0) this.#parts[0] = part.subarray(count);
      else if (asked) return false;
      else {
        this.#input.awaitRoom(this.#input.size >> 1);
        asked = true;
      }
    }
    return true;
  }

  /** The client has made room in the ring: puts in what had none, and reads on when all of it is in. */
  #give(): void {
    if (this.#parts.length > 0 && this.#fill()) this.#transport?.resume();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const { due } = this.#keepAlive;
    if (due < Infinity) this.#timer = setTimeout(this.#ring, Math.max(due - performance.now(), 0));
  }

  /** The timer is not set anew for each write: it may ring before anything is due, and is set again then. */
  readonly #ring = () => {
    try {
      if (this.#keepAlive.tick(performance.now(), this.#parts.length === 0)) {
        this.#pinging = true;
        this.#write();
      }
      this.#arm();
    } catch (error) {
      this.closed(error);
    }
  };

  closed(error: unknown): void {
    const rest = Buffer.concat(this.#parts.splice(0));
    this.#tell({ over: carry(error), rest: new Uint8Array(rest) });
    clearTimeout(this.#timer);
    this.#transport?.close();
  }

  #close(): void {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#transport?.close();
    this.#port.close();
  }
}
