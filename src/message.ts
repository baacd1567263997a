/** A PUBLISH packet as the application sees it.
 * @module */

import { fromUtf8 } from "./protocol/bytes.ts";
import type { MessageProperties, QoS } from "./protocol/packet.ts";
import { readMessageProperties } from "./protocol/properties.ts";
import { isBun, newBytes } from "./runtime.ts";

/** Memory that bytes were read into, once: what has been filled is never written again. */
export interface Block {
  readonly bytes: Uint8Array;
  /** Those of `bytes`; kept here, as asking for each takes Node 80 ns. */
  readonly buffer: ArrayBufferLike;
  readonly byteOffset: number;
  readonly view: DataView;
}

/** A block over the same memory, never over a Buffer: views of it are the application's. */
export function makeBlock({ buffer, byteOffset, length }: Uint8Array): Block {
  const bytes = new Uint8Array(buffer, byteOffset, length);
  return { bytes, buffer, byteOffset, view: new DataView(buffer, byteOffset, length) };
}

/** No memory, for whoever has not read anything yet: making it takes 350 bytes. */
export const NO_BLOCK: Block = makeBlock(new Uint8Array(0));

/** A new block. */
export function newBlock(size: number): Block {
  return makeBlock(newBytes(size));
}

/** A small payload is copied on Bun, 25 ns where a view takes 90; V8 has it the other way round, 400 and 40. */
const COPIED = isBun ? 64 : 0;

/** The properties of a message of MQTT 5 that has none. */
const NO_PROPERTIES: MessageProperties = Object.freeze({});

/** How many bytes a message has: its payload and its properties. */
export let sizeOf: (message: Message) => number;

/** The payload of a message, for who copies it at once: unlike `message.payload`, it is not kept with the message. */
export let bytesOf: (message: Message) => Uint8Array;

/** The bytes of a message, its properties before its payload, for who copies them at once; the properties have so many, -1 in version 4. */
export let partsOf: (message: Message) => { bytes: Uint8Array; properties: number };

/** Copies the payload of a message out of the block that it came in, which it would keep in memory. */
export let copyPayload: (message: Message) => void;

/** A message received: the application's view of a PUBLISH packet [MQTT-3.3]. */
export class Message {
  /** The topic name it was published to. */
  readonly topic: string;
  /** Byte 1, and above it how many bytes the properties have, with 1 added: in one field, as every message has it. */
  readonly #first: number;
  #block: Block;
  #start: number;
  readonly #length: number;
  #payload: Uint8Array | undefined;
  #properties: MessageProperties | undefined;

  /**
   * Messages are made by the decoder: `first` is byte 1 of the packet, the payload lies in
   * `block`. Its Uint8Array is made when first asked for: half the time of a small message. So are the properties, which
   * have so many bytes before the payload; -1 in version 4.
   *
   * @ignore
   */
  constructor(topic: string, first: number, block: Block, start: number, length: number, properties = -1) {
    this.topic = topic;
    this.#first = first + 256 * (properties + 1);
    this.#block = block;
    this.#start = start;
    this.#length = length;
    this.#payload = undefined;
    this.#properties = undefined;
  }

  /** The PUBLISH packet type, 3. */
  get type(): 3 {
    return 3;
  }

  /**
   * The application message, 0 to 268,435,455 bytes; yours to keep: its bytes are never written again.
   * It lies among others: `slice()` it before you transfer its memory, to a thread or a byte stream.
   */
  get payload(): Uint8Array {
    return this.#payload ??= this.#bytes();
  }

  #bytes(): Uint8Array {
    return this.#length > COPIED ? this.#view() : this.#copy();
  }

  #view(): Uint8Array {
    const { buffer, byteOffset } = this.#block;
    return new Uint8Array(buffer, byteOffset + this.#start, this.#length);
  }

  #copy(): Uint8Array {
    const { bytes } = this.#block;
    const copy = new Uint8Array(this.#length);
    for (let i = 0; i < copy.length; i++) copy[i] = bytes[this.#start + i]!;
    return copy;
  }

  /**
   * What MQTT 5 says of the message besides [MQTT5-3.3.2.3]; frozen, and empty when it says nothing. Undefined over MQTT
   * 3.1.1.
   *
   * @throws {TypeError} If the memory of the payload was transferred before they were asked for: they lie beside it.
   */
  get properties(): MessageProperties | undefined {
    const size = this.#propertiesSize;
    if (size < 0) return undefined;
    return this.#properties ??= size === 0 ? NO_PROPERTIES : this.#readProperties(size);
  }

  /** -1 in version 4. */
  get #propertiesSize(): number {
    return Math.floor(this.#first / 256) - 1;
  }

  #readProperties(size: number): MessageProperties {
    const { bytes } = this.#block, end = this.#start;
    if (bytes.length < end) {
      throw new TypeError(
        "Cannot read the properties as they are gone with the payload, whose memory was transferred: slice() it before that",
      );
    }
    return readMessageProperties(bytes, end - size, end);
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
    return fromUtf8.decode(bytesOf(this)); // who reads it and is done does not keep the block that it came in
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

  static {
    sizeOf = (message) => message.#length + Math.max(message.#propertiesSize, 0);
    bytesOf = (message) => message.#payload ?? message.#bytes();
    partsOf = (message) => {
      const properties = message.#propertiesSize, size = Math.max(properties, 0);
      if (size === 0) return { bytes: bytesOf(message), properties };
      const { buffer, byteOffset } = message.#block;
      const bytes = new Uint8Array(buffer, byteOffset + message.#start - size, size + message.#length);
      return { bytes, properties };
    };
    copyPayload = (message) => {
      if (message.#payload !== undefined) return; // it is the application's already
      const { buffer, byteOffset } = message.#block;
      const size = Math.max(message.#propertiesSize, 0);
      const kept = new Uint8Array(buffer, byteOffset + message.#start - size, size + message.#length);
      message.#block = makeBlock(kept.slice());
      message.#start = size;
    };
    // Where runtimes look for it: Node, Bun, and `node:util` everywhere; and Deno.
    for (const name of ["nodejs.util.inspect.custom", "Deno.customInspect"]) {
      Object.defineProperty(this.prototype, Symbol.for(name), {
        value(this: Message) {
          return #first in this ? show(this) : "Message {}"; // the prototype is none
        },
      });
    }
  }
}

/** How many characters of a text, and how many other bytes, are shown. */
const SHOWN_TEXT = 80;
const SHOWN_BYTES = 32;

/** A message as `console.log` shows it: its topic, what its flags say, and the beginning of its payload. */
function show(message: Message): string {
  const { topic, qos, retain, dup } = message;
  const flags = `${retain ? ", retain: true" : ""}${dup ? ", dup: true" : ""}`;
  return `Message { topic: ${quote(topic)}, qos: ${qos}${flags}, payload: ${showPayload(bytesOf(message))} }`;
}

/** As text if it is UTF-8 without control characters, which could do something to a terminal. */
function showPayload(payload: Uint8Array): string {
  const { length } = payload;
  const text = textOf(payload, 4 * (SHOWN_TEXT + 1));
  const units = text === undefined ? Array.from(payload.subarray(0, SHOWN_BYTES + 1), hex) : [...text];
  const limit = text === undefined ? SHOWN_BYTES : SHOWN_TEXT;
  const shown = units.slice(0, limit);
  const whole = text === undefined ? `<${shown.join(" ")}>` : quote(shown.join(""));
  return units.length <= limit ? whole : `${whole}... (${length} bytes)`;
}

/** The text of as many bytes; undefined if they are none. */
function textOf(bytes: Uint8Array, limit: number): string | undefined {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  try {
    // Streaming leaves out a character that the limit cuts.
    const text = decoder.decode(bytes.subarray(0, limit), { stream: bytes.length > limit });
    return /(?![\t\n\r])\p{Cc}/u.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

/** In quotes, on one line, without control characters. */
function quote(text: string): string {
  return JSON.stringify(text).replaceAll(/\p{Cc}/gu, (char) => `\\u00${hex(char.charCodeAt(0))}`);
}
