/** Splits the stream in the thread when `onpub` is a module: messages go to the module, the rest to the client.
 * @module */

import type { OnPublish } from "../api.ts";
import { Decoder, type Packet } from "../protocol/decoder.ts";
import { PUBLISH } from "../protocol/packet.ts";
import type { TopicFilters } from "../protocol/topic.ts";

/** The bytes of CONNACK, which are for the client whatever they are. */
const CONNACK_SIZE = 4;

/**
 * Gives messages to the module. These are left in the stream, whose bytes go on to the client:
 * - all packets that are no messages,
 * - messages for an `onpub` or an iterator of the client's own,
 * - messages of QoS 1 and 2, which the client has to acknowledge,
 * - everything from the broker's first mistake on: the client ends the connection for it.
 */
export class MessageFilter {
  readonly #onpub: OnPublish;
  readonly #routes: TopicFilters<true>;
  readonly #decoder: Decoder;
  #head = CONNACK_SIZE;
  #broken = false;

  constructor(onpub: OnPublish, routes: TopicFilters<true>, maxPacketSize: number) {
    this.#onpub = onpub;
    this.#routes = routes;
    this.#decoder = new Decoder(maxPacketSize);
  }

  /** Where the socket may read to. */
  space(): Uint8Array {
    return this.#decoder.space();
  }

  /** Takes a chunk of the stream, and returns the parts of it that are for the client. */
  filter(chunk: Uint8Array): Uint8Array[] {
    const head = chunk.subarray(0, this.#broken ? chunk.length : this.#head);
    const parts = head.length > 0 ? [head] : [];
    if (!this.#broken) this.#head -= head.length;
    if (head.length === chunk.length) return parts;
    const decoder = this.#decoder;
    decoder.receive(chunk.subarray(head.length));
    for (;;) {
      const { waiting } = decoder;
      const packet = this.#next();
      if (packet?.type === "oversized") this.#broken = true; // the client passes over it, and tells it
      if (this.#broken) return [...parts, decoder.last(waiting)];
      if (packet === undefined) return parts;
      if (packet.type === PUBLISH && packet.qos === 0 && !this.#isRouted()) this.#onpub(packet.topic, packet);
      else parts.push(decoder.last(waiting).subarray(0, waiting - decoder.waiting));
    }
  }

  #next(): Packet | undefined {
    try {
      return this.#decoder.next();
    } catch {
      this.#broken = true; // the client finds the same mistake, and tells it
      return undefined;
    }
  }

  #isRouted(): boolean {
    return this.#routes.size > 0 && this.#routes.match(this.#decoder.topic, (found) => found.length > 0);
  }
}
