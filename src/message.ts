/** A PUBLISH packet as the application sees it.
 * @module */

import type { QoS } from "./protocol/packet.ts";

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** A message received: the application's view of a PUBLISH packet [MQTT-3.3]. */
export class Message {
  /** The PUBLISH packet type, 3. */
  readonly type = 3;
  /** The topic name it was published to. */
  readonly topic: string;
  readonly #first: number;
  #bytes: Uint8Array;
  /** Where the payload starts in `#bytes`; -1 once `#bytes` is the payload. */
  #start: number;
  readonly #length: number;

  /**
   * Messages are made by the decoder: `first` is byte 1 of the packet, the payload lies in
   * `bytes`. Its Uint8Array is made when first asked for: half the time of a small message.
   *
   * @ignore
   */
  constructor(topic: string, first: number, bytes: Uint8Array, start: number, length: number) {
    this.topic = topic;
    this.#first = first;
    this.#bytes = bytes;
    this.#start = start;
    this.#length = length;
  }

  /** The application message, 0 to 268,435,455 bytes; yours to keep: its bytes are never written again. */
  get payload(): Uint8Array {
    if (this.#start !== -1) {
      this.#bytes = this.#bytes.subarray(this.#start, this.#start + this.#length);
      this.#start = -1;
    }
    return this.#bytes;
  }

  /** Quality of service: 0, 1 or 2 [MQTT-3.3.1.2]. */
  get qos(): QoS {
    return ((this.#first >> 1) & 3) as QoS;
  }

  /** Whether the broker had kept it for new subscribers [MQTT-3.3.1-8]. */
  get retain(): boolean {
    return (this.#first & 1) === 1;
  }

  /** Whether it may be a repetition of an earlier one [MQTT-3.3.1-1]; always false at QoS 0. */
  get dup(): boolean {
    return (this.#first & 8) === 8;
  }

  /** The payload as UTF-8 text; bytes that are not UTF-8 become U+FFFD. */
  text(): string {
    return utf8.decode(this.payload);
  }

  /**
   * The payload as JSON.
   *
   * @throws {SyntaxError} If it is not JSON.
   */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T;
  }

  /** The same as {@linkcode Message.text}. */
  toString(): string {
    return this.text();
  }
}
