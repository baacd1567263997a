/** Which PINGRESP is whose: the thread sends PINGREQ, and so does the client, whose packets it passes on.
 * @module */

import { CONNACK, PINGREQ, PINGRESP } from "../protocol/packet.ts";
import { Boundaries } from "./boundaries.ts";

/** The first byte of a PINGRESP; its second is 0 [MQTT-3.13]. */
const FIRST = PINGRESP << 4;

/** What is for the client of the bytes that have come, and what is told by them. */
export interface Received {
  parts: Uint8Array[];
  /** Whether CONNACK begins there. */
  accepted: boolean;
  /** Whether a PINGREQ of the thread's own was answered. */
  answered: boolean;
}

/**
 * Takes out of the broker's bytes the answers to the thread's own pings. The broker answers in the order of the
 * PINGREQs. All else is the client's: answers to its own, those that nobody asked for, and what only looks like one.
 */
export class Answers {
  readonly #sent = new Boundaries(PINGREQ);
  readonly #received = new Boundaries(PINGRESP);
  /** The PINGREQs that are not answered yet, in order: whether each is the thread's own. */
  readonly #unanswered: boolean[] = [];
  /** Whether the last chunk ended with the first byte of what may be an answer to the thread: it waits for the second. */
  #half = false;

  /** The thread sends a PINGREQ of its own. */
  asked(): void {
    this.#unanswered.push(true);
  }

  /** Bytes of the client are sent. */
  passed(bytes: Uint8Array): void {
    this.#sent.walk(bytes, bytes.length);
    for (const _ of this.#sent.starts) this.#unanswered.push(false);
  }

  /** Takes what has come, any cut of it. */
  receive(bytes: Uint8Array): Received {
    const accepted = (this.#received.walk(bytes, bytes.length) & 1 << CONNACK) !== 0;
    const { starts } = this.#received;
    if (starts.length === 0 && !this.#half) return { parts: [bytes], accepted, answered: false };
    const parts: Uint8Array[] = [];
    let from = 0, answered = false;
    if (this.#half && bytes.length > 0) {
      this.#half = false;
      if (bytes[0] === 0) {
        this.#unanswered.shift();
        answered = true;
        from = 1;
      } else {
        parts.push(Uint8Array.of(FIRST));
      }
    }
    for (const at of starts) {
      if (bytes[at] !== FIRST) continue;
      const isWhole = at + 1 < bytes.length;
      if (isWhole && bytes[at + 1] !== 0) continue;
      const isOwn = this.#unanswered[0] === true;
      if (isWhole || !isOwn) this.#unanswered.shift();
      if (!isOwn) continue;
      if (at > from) parts.push(bytes.subarray(from, at));
      from = at + 2;
      if (isWhole) answered = true;
      else this.#half = true;
    }
    if (from < bytes.length) parts.push(bytes.subarray(from));
    return { parts, accepted, answered };
  }

  /** What waits for its second byte when the stream ends. */
  last(): Uint8Array {
    return this.#half ? Uint8Array.of(FIRST) : new Uint8Array(0);
  }
}
