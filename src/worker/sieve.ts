/** What happens in the thread when `onpub` is a module: it gets the messages, the client the rest of the stream.
 * @module */

import type { OnPublish } from "../api.ts";
import { Decoder, type Packet } from "../protocol/decoder.ts";
import { PUBLISH } from "../protocol/packet.ts";
import type { TopicFilters } from "../protocol/topic.ts";

/** The bytes of CONNACK, which are for the client whatever they are. */
const CONNACK_SIZE = 4;

/**
 * Takes messages out of a stream. The client gets the bytes of all other packets, of messages
 * whose filter it routes itself, and of those it has to acknowledge; and from a mistake of the
 * broker on, everything, so that it finds the mistake as it would have without a thread.
 */
export class Sieve {
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

  /** Takes a chunk, and gives the parts of the stream that are for the client. */
  pass(chunk: Uint8Array): Uint8Array[] {
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
