/** What the caller of a client in a thread publishes: checked and packed here, sent there.
 * @module */

import type { OutgoingMessage, PublishOptions } from "../options.ts";
import { type Deferred, deferred, handled } from "../deferred.ts";
import { MqttError } from "../errors.ts";
import { Output } from "../protocol/output.ts";
import type { Ending } from "../session/ending.ts";
import type { Call, Events } from "../session/events.ts";
import { messageUnsupported, versionUnsupported } from "../session/limits.ts";
import { HIGH_WATER } from "../session/state.ts";
import { onAbort } from "./abort.ts";
import { checkPublications, type Publication, publication, publishFlags, withdrawn } from "./arguments.ts";
import { Acknowledgement, isDropped, packetSize, publishAll, rejection } from "./call.ts";
import type { ToHost } from "./module_messages.ts";
import type { ModuleState } from "./module_state.ts";
import type { Outbox } from "./outbox.ts";
import type { Settings } from "./settings.ts";

const DONE = Promise.resolve(0);

/** What it works with. */
export interface ModulePublisherParts {
  readonly settings: Pick<Settings, "maxBuffered" | "version">;
  readonly outbox: Outbox<ToHost>;
  readonly ending: Ending;
  readonly events: Events;
  /** Whether the program hears what is dropped. */
  readonly tellsDropped: boolean;
  /** What the broker takes, as far as that is known. */
  readonly state: Pick<ModuleState, "version" | "limits">;
  /** @throws {MqttError} Why no call can be made any more. */
  checkEnd(): void;
  /** A number for a call, which the thread answers; `done` is called with any answer. */
  number(call: Call, done: () => void): number;
  /** There is something to tell. */
  advance(): void;
}

/** Packs messages, and knows how much of them waits. */
export class ModulePublisher {
  readonly #parts: ModulePublisherParts;
  /** Checks and packs one message at a time. */
  readonly #packer: Output;
  /** Bytes of PUBLISH packets of QoS 0 that wait as far as is known. */
  #unsent = 0;
  /** Bytes of those of QoS 1 and 2 that are not acknowledged. */
  #unacknowledged = 0;
  /** Settled when publish() may go on; all who wait share it. */
  #room: Deferred<number> | undefined;

  constructor(parts: ModulePublisherParts) {
    this.#parts = parts;
    const { maxBuffered, version } = parts.settings;
    this.#packer = new Output(maxBuffered, version);
  }

  /** Bytes of PUBLISH packets of QoS 0 that wait as far as is known. */
  get unsent(): number {
    return this.#unsent;
  }

  /** What publish() does with a message. */
  publish(topic: string, message: string | Uint8Array, options?: PublishOptions): Promise<number> {
    try {
      const flags = options === undefined ? 0 : publishFlags(options);
      return this.#publish(publication(topic, message, flags, options));
    } catch (error) {
      return rejection(this.#parts.ending, error);
    }
  }

  /** What publish() does with a list of them. */
  publishAll(messages: readonly OutgoingMessage[]): Promise<number> {
    try {
      return publishAll(checkPublications(messages), (each) => this.#publish(each), this.#isTold);
    } catch (error) {
      return rejection(this.#parts.ending, error);
    }
  }

  #publish(publication: Publication): Promise<number> {
    const { topic, flags, signal, expiry } = publication;
    if (signal?.aborted) return Promise.reject(withdrawn(signal.reason));
    let packet: Uint8Array;
    try {
      packet = this.#pack(publication);
    } catch (error) {
      return this.#rejected(error as MqttError, () => packetSize(publication, this.#parts.state.version), topic);
    }
    if (flags > 1 || expiry !== undefined) return this.#send(packet, publication);
    this.#unsent += packet.length;
    this.#cross(packet);
    if (this.#unsent <= HIGH_WATER) return DONE;
    this.#room ??= deferred();
    return this.#room.promise;
  }

  /** @throws {MqttError} `"overflow"`, `"unsupported"`; why no call can be made any more. */
  #pack({ topic, message, flags, expiry, properties }: Publication): Uint8Array {
    const { checkEnd, state: { version, limits } } = this.#parts;
    checkEnd();
    if (properties === undefined) this.#packer.publish(topic, message, flags);
    else if (version === 4) throw versionUnsupported("properties");
    else this.#packer.publishWith(topic, message, flags, properties);
    const packet = this.#packer.take()!;
    this.#packer.written(); // it is copied before the next one is packed
    const error = limits && messageUnsupported(limits, { flags, size: packet.length });
    if (error !== undefined) throw error; // at QoS 0 the thread could not tell it any more
    this.#checkRoom(flags > 1 || expiry !== undefined ? this.#unacknowledged : this.#unsent, packet);
    return packet;
  }

  /** A message of QoS 1 or 2, or one that may get stale: its call is answered when the broker has acknowledged it, or it is stored, or sent. */
  #send(packet: Uint8Array, { signal, expiry, untilStored }: Publication): Promise<number> {
    const { ending, outbox, tellsDropped, number: numberOf } = this.#parts, size = packet.length;
    // What the thread drops it tells itself.
    const call = new Acknowledgement(ending, tellsDropped ? () => {} : undefined);
    let stop = () => {};
    this.#unacknowledged += size;
    const number = numberOf({
      resolve: (code) => call.resolve(code),
      reject: (error) => call.reject(error.code === "disconnect" && signal?.aborted ? withdrawn(signal.reason) : error),
    }, () => {
      this.#unacknowledged -= size;
      stop();
    });
    if (signal === undefined && expiry === undefined && !untilStored) {
      this.#cross(packet, number);
      return call.promise;
    }
    const until = untilStored ? "stored" : undefined;
    outbox.add({ type: "publish", size, call: number, isWithdrawable: signal !== undefined, expiry, until });
    outbox.addBytes(packet);
    stop = onAbort(signal, () => outbox.add({ type: "withdraw", call: number }));
    return call.promise;
  }

  /** The rejection of a message that has not crossed. */
  #rejected(error: MqttError, size: () => number, topic: string): Promise<never> {
    const { ending, events, tellsDropped, advance } = this.#parts;
    const dropped = () => {
      events.tell({ type: "dropped", topic, size: size(), error });
      advance();
    };
    return rejection(ending, error, tellsDropped ? dropped : undefined);
  }

  /** Whether nobody has to await an error of a publish. */
  readonly #isTold = (error: unknown): boolean =>
    error === this.#parts.ending.reason || this.#parts.tellsDropped && isDropped(error);

  /** A packet crosses, with the number of its call if it has one. */
  #cross(packet: Uint8Array, call?: number): void {
    const { outbox } = this.#parts;
    let { last } = outbox;
    if (last?.type !== "publishes") outbox.add(last = { type: "publishes", size: 0, calls: [] });
    last.size += packet.length;
    if (call !== undefined) last.calls.push(call);
    outbox.addBytes(packet);
  }

  /** @throws {MqttError} `"overflow"` */
  #checkRoom(waiting: number, { length }: Uint8Array): void {
    const { maxBuffered } = this.#parts.settings;
    if (waiting + length <= maxBuffered) return;
    throw new MqttError(
      "overflow",
      `${waiting} bytes wait and ${length} more would exceed maxBuffered, ${maxBuffered}: await publish(), or raise it`,
    );
  }

  /** So many bytes of PUBLISH packets of QoS 0 do not wait any more. */
  makeRoom(size: number): void {
    this.#unsent -= size;
    if (this.#unsent > HIGH_WATER) return;
    this.#room?.resolve(0);
    this.#room = undefined;
  }

  /** The client has ended: whoever waits for room gets why, which nobody has to await. */
  end(error: MqttError): void {
    const room = this.#room;
    this.#room = undefined;
    if (room === undefined) return;
    const { promise, resolve, reject } = room;
    this.#parts.events.settle({
      resolve: () => resolve(0),
      reject: (error) => {
        void handled(promise);
        reject(error);
      },
    }, { error });
  }
}
