/** Messages that come from the thread of a module: unpacked, and given to the caller's handlers and iterators.
 * @module */

import { copyPayload, makeBlock, Message } from "../message.ts";
import type { Waiting } from "../session/consumer.ts";
import type { Iterations } from "./module_iterations.ts";
import type { Crossing, FromHost } from "./module_messages.ts";
import type { RemoteHandlers } from "./remote_handlers.ts";

/** What says that a message has come. */
type Carried = FromHost & { type: "message" | "iterated" };

/** Everything else that the thread says. */
export type Said = Exclude<FromHost, Carried>;

/** Who gets them. */
export interface ArrivalsParts {
  readonly handlers: RemoteHandlers;
  readonly iterations: Iterations;
  /** Whether handlers are called: after disconnect() they are not. */
  isDelivering(): boolean;
}

/** Takes what crosses together. */
export class Arrivals {
  readonly #parts: ArrivalsParts;
  /** Messages that crossed together last. */
  #fresh: Waiting[] = [];

  constructor(parts: ArrivalsParts) {
    this.#parts = parts;
  }

  /** Delivers the messages, and says the rest, in order. */
  take({ entries, bytes }: Crossing<FromHost>, say: (entry: Said) => void): void {
    const block = makeBlock(bytes);
    let at = 0;
    this.#copyWaiting();
    for (const entry of entries) {
      if (entry.type === "message" || entry.type === "iterated") {
        const { topic, first, size, properties } = entry, payload = at + Math.max(properties, 0);
        this.#deliver(entry, new Message(topic, first, block, payload, at + size - payload, properties));
        at += size;
      } else {
        say(entry);
      }
    }
  }

  /** Others have crossed: what waits is copied out of the memory of those before, or a small message would keep all of it. */
  #copyWaiting(): void {
    for (const { message, pending } of this.#fresh) if (pending > 0) copyPayload(message);
    this.#fresh = [];
  }

  #deliver(entry: Carried, message: Message): void {
    const { handlers, iterations, isDelivering } = this.#parts;
    if (entry.type === "message") {
      const taken = isDelivering() ? handlers.take(entry.handler, entry.number, message) : undefined;
      if (taken !== undefined && taken.pending > 0) this.#fresh.push(taken);
      return;
    }
    const delivery = iterations.deliver(entry.inbox, message);
    if (delivery !== undefined) this.#fresh.push(delivery);
  }
}
