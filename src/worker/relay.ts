/** The thread's side: it owns the sockets and the keep alive, and passes bytes on as they are.
 * @module */

import type { MessagePort } from "node:worker_threads";
import { encode } from "../protocol/encoder.ts";
import { DISCONNECT, PINGREQ } from "../protocol/packet.ts";
import { nextTurn, runtimeProcess, workerThreads } from "../runtime.ts";
import { KeepAlive } from "../session/keepalive.ts";
import { concat } from "../protocol/wire.ts";
import { dial, type Target } from "../transport/tcp.ts";
import type { Sink, Transport } from "../transport/transport.ts";
import { Answers } from "./answers.ts";
import { carry, type Dialling, type FromRelay, type ThreadData, type ToRelay, type ToThread } from "./messages.ts";
import { Ring } from "./ring.ts";

/** Bytes that are written one block after the other before the thread looks for what has come, to other connections too. */
const LONGEST_TURN = 4_194_304;
/** So much is written at once, and then it is known that it has gone: the answer to PINGREQ waits for that. */
const WRITE = 262_144;
/** A block counts as so many bytes at least: writing takes its time, however little it is. */
const LEAST = 65_536;
/** What is read at once, in bytes: first, and after a read that has filled that. Most of many connections are idle. */
const FIRST_SPACE = 4096, SPACE = 65_536;

/** Blocks that no write needs. Most writes are done at once, so that one block serves many connections. */
const spare: Uint8Array[] = [];
/** So many are kept. */
const MOST_SPARE = 4;

/** Where this module is, for the thread to import; nothing here runs when it is imported. */
export function locate(): string {
  return import.meta.url;
}

/** Starts what the thread does, and returns who hears what the clients say to it. */
export function startRelay(): (message: ToThread) => void {
  const { ended } = workerThreads().workerData as ThreadData, process = runtimeProcess();
  const relays = new Set<Relay>();
  process.on("exit", () => {
    Atomics.store(ended, 0, 1);
    for (const relay of relays) {
      relay.leave();
      relay.say();
    }
  });
  return (message) => {
    if (message === "exit") return process.exit();
    const relay = new Relay(message, () => relays.delete(relay));
    relays.add(relay);
    void relay.open(message.target);
  };
}

/** Whole packets, and what to do when they are written. */
interface Block {
  bytes: Uint8Array;
  done: () => void;
}

/** One connection. */
class Relay implements Sink {
  readonly #port: MessagePort;
  readonly #said: Int32Array | undefined;
  readonly #input: Ring;
  readonly #output: Ring;
  #keepalive: number;
  readonly #closed: () => void;
  readonly #abort = new AbortController();
  /** Undefined when there are no pings. */
  readonly #answers: Answers | undefined;
  #space = new Uint8Array(FIRST_SPACE);
  #transport: Transport | undefined;
  /** What has not found room for the client yet; then nothing is read. */
  #parts: Uint8Array[] = [];
  /** Runs from CONNACK to DISCONNECT. */
  #keepAlive = new KeepAlive(0, 0);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pinging = false;
  /** A block that came outside the ring: a large one, or DISCONNECT. */
  #large: Uint8Array | undefined;
  /** What is not written yet of a block that is too large for one write. */
  #block: Block | undefined;
  /** What to do when the write in flight is done; undefined when there is none. */
  #done: (() => void) | undefined;
  /** Bytes in it. */
  #inFlight = 0;

  /** `closed` is called when the client has closed it. */
  constructor({ port, keepalive, mayChange, input, output, said }: Dialling, closed: () => void) {
    const wake = said === undefined ? () => this.#tell("look") : () => this.say();
    this.#port = port;
    this.#said = said;
    this.#keepalive = keepalive;
    this.#closed = closed;
    if (keepalive > 0 || mayChange) this.#answers = new Answers();
    this.#input = new Ring(input, wake);
    this.#output = new Ring(output, wake);
    port.on("message", this.#hear);
  }

  async open(target: Target): Promise<void> {
    try {
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

  /** The rings are not touched any more: another connection may have them. */
  leave(): void {
    this.#transport = undefined;
    this.#input.leave();
    this.#output.leave();
  }

  /** Wakes a client that blocks. */
  say(): void {
    if (this.#said === undefined) return;
    Atomics.add(this.#said, 0, 1);
    Atomics.notify(this.#said, 0);
  }

  readonly #hear = (message: ToRelay): void => {
    if (message === "look") {
      this.#give();
      this.#write();
    } else if (message === "areYouAlive") {
      this.say();
    } else if (message === "end") {
      this.#transport?.end();
    } else if (message === "close") {
      this.#close();
    } else if ("keepalive" in message) {
      this.#keepalive = message.keepalive;
      this.#keepAlive = new KeepAlive(message.keepalive, performance.now());
      this.#arm();
    } else {
      this.#large = new Uint8Array(message);
      this.#write();
    }
  };

  #tell(message: FromRelay): void {
    this.#port.postMessage(message);
    this.say();
  }

  /** Writes what there is, unless a write is in flight. Every so often it yields: the client may fill the ring as fast as the socket drains it. */
  #write(): void {
    for (let turn = 0; this.#done === undefined && this.#transport !== undefined;) {
      if (turn >= LONGEST_TURN) return void nextTurn(() => this.#write());
      const next = this.#next();
      if (next === undefined) return;
      const { bytes, done } = next;
      turn += Math.max(bytes.length, LEAST);
      this.#done = done;
      this.#inFlight = bytes.length;
      if (!this.#transport.write(bytes)) return;
      this.#gone();
    }
  }

  /** The next bytes to write, and what to do when they are written. */
  #next(): Block | undefined {
    const block = this.#block ?? this.#nextBlock();
    if (block === undefined || block.bytes.length <= WRITE) {
      this.#block = undefined;
      return block;
    }
    this.#block = { ...block, bytes: block.bytes.subarray(WRITE) };
    return { bytes: block.bytes.subarray(0, WRITE), done: () => {} };
  }

  /** The next block: PINGREQ first, then all that is in the ring, then the one outside it. */
  #nextBlock(): Block | undefined {
    if (this.#pinging) {
      this.#pinging = false;
      this.#answers?.asked();
      return { bytes: encode({ type: PINGREQ }), done: () => {} };
    }
    const next = this.#nextInRing() ?? this.#nextOutside();
    if (next !== undefined) this.#answers?.passed(next.bytes);
    return next;
  }

  /** By way of a block: so the place in the ring is free before the socket has written. */
  #nextInRing(): Block | undefined {
    const block = spare.pop() ?? new Uint8Array(this.#output.size);
    const free = () => void (spare.length < MOST_SPARE && spare.push(block));
    let count = this.#output.take(block);
    if (count === 0) {
      this.#output.awaitBytes();
      count = this.#output.take(block);
    }
    if (count === 0) {
      free();
      return undefined;
    }
    return {
      bytes: block.subarray(0, count),
      done: () => {
        free();
        this.#output.finish(count);
      },
    };
  }

  #nextOutside(): Block | undefined {
    const large = this.#large;
    this.#large = undefined;
    if (large === undefined) return undefined;
    if (large[0]! >> 4 === DISCONNECT) this.#keepAlive = new KeepAlive(0, 0);
    return { bytes: large, done: () => this.#tell("sent") };
  }

  written(): void {
    this.#gone();
    this.#write();
  }

  #gone(): void {
    const done = this.#done;
    this.#done = undefined;
    this.#keepAlive.sent(performance.now(), this.#inFlight, this.#block !== undefined);
    this.#inFlight = 0;
    done?.();
  }

  space(): Uint8Array {
    return this.#space;
  }

  received(chunk: Uint8Array, length: number): boolean {
    const bytes = chunk.subarray(0, length);
    if (length === this.#space.length && length < SPACE) this.#space = new Uint8Array(SPACE);
    this.#parts = this.#answers === undefined ? [bytes] : this.#take(this.#answers, bytes);
    return this.#fill();
  }

  /** What is for the client; the keep alive hears of it. */
  #take(answers: Answers, bytes: Uint8Array): Uint8Array[] {
    const { parts, accepted, answered } = answers.receive(bytes);
    if (accepted) {
      this.#keepAlive = new KeepAlive(this.#keepalive, performance.now());
      this.#arm();
    }
    if (answered) this.#keepAlive.answered();
    this.#keepAlive.received(bytes.length);
    return parts;
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
      if (this.#keepAlive.tick(performance.now(), this.#parts.length === 0, this.#inFlight)) {
        this.#pinging = true;
        this.#write();
      }
      this.#arm();
    } catch (error) {
      this.closed(error);
    }
  };

  closed(error: unknown): void {
    const half = this.#answers?.last() ?? [];
    this.#tell({ over: carry(error), rest: concat([...this.#parts.splice(0), half]) });
    clearTimeout(this.#timer);
    this.#transport?.close();
  }

  #close(): void {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#transport?.close();
    this.leave();
    this.#port.off("message", this.#hear); // as its other end does: Deno keeps what listens to a closed port
    this.#port.close();
    this.#closed();
  }
}
