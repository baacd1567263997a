/** The frames of a WebSocket: a server's are taken apart in place, a client's are made (RFC 6455, section 5).
 * @module */

import { MqttError } from "../errors.ts";

const CONTINUATION = 0, TEXT = 1;
/** The frames that have MQTT in them. */
export const BINARY = 2;
/** The frames that end a connection, and ask and tell whether the other side is there. */
export const CLOSE = 8, PING = 9, PONG = 10;

/** The longest payload of a control frame (section 5.5). */
const MAX_CONTROL = 125;

/**
 * A payload up to so long is moved to the one before it, so that both are handed on at once, as another call costs 2 us on
 * Node: 4 KiB take 0.75 of the time.
 */
const SHORT = 16_384;

/** What a close frame says: a code, 1005 if it has none, and a reason, "" if it has none. */
export type Close = { readonly code: number; readonly reason: string };

/** What the server must not do, and the code with which the connection is closed for it. */
export class BrokenFrame extends MqttError {
  readonly closeCode: number;

  constructor(mistake: string, source: string, closeCode = 1002) {
    super("protocol", `The broker sent ${mistake} over the WebSocket [${source}]`);
    this.closeCode = closeCode;
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Takes the payloads of frames out of a stream of bytes, any cut of it: `take`, until it has come to the end of them or
 * `closed` is set. Lengths are counted, never allocated.
 */
export class FrameReader {
  /** Where the payload that `take` has found is, in its bytes; none if both are equal. */
  from = 0;
  to = 0;
  /** The payload of the last PING that is not answered yet: the answer to it is one to all before (section 5.5.3). */
  ping: Uint8Array | undefined;
  /** What the server's close frame says, after which there is nothing. */
  closed: Close | undefined;
  /** What is wrong; what was found before it is right. */
  mistake: BrokenFrame | undefined;
  /** Bytes of the frame's payload that are still to come. */
  #left = 0;
  /** The opcode of a control frame whose payload is coming; 0: it is data. */
  #control = 0;
  /** Whether a message has begun whose last frame has not come. */
  #isFragmented = false;
  /** A head, or the payload of a control frame, that is not whole yet. */
  readonly #part = new Uint8Array(MAX_CONTROL);
  #partLength = 0;
  /** The memory of the last bytes in which something was moved. */
  #view: DataView = new DataView(new ArrayBuffer(0));

  /**
   * Takes the bytes from `at` to `end`, in which it may move payloads; returns how far it has come: to the end, or
   * to a payload that is better handed on by itself.
   */
  take(bytes: Uint8Array, at: number, end: number): number {
    let from = at, to = at;
    while (at < end) {
      if (this.#control !== 0) {
        at = this.#takeControl(bytes, at, end);
        if (this.closed !== undefined || this.mistake !== undefined) break;
        continue;
      }
      if (this.#left === 0) {
        at = this.#takeHead(bytes, at, end);
        if (this.mistake !== undefined) break;
        // One without a payload is whole, and no byte of it may ever come.
        if (this.#control !== 0 && this.#left === 0 && this.#endControl()) break;
        continue;
      }
      const count = Math.min(this.#left, end - at);
      if (from === to) from = to = at;
      if (to === at) to += count;
      else if (count > SHORT) break;
      else to = this.#move(bytes, to, at, count);
      at += count;
      this.#left -= count;
    }
    this.from = from;
    this.to = to;
    return at;
  }

  /** Takes the head of a frame, two to ten bytes, as far as it has come. */
  #takeHead(bytes: Uint8Array, at: number, end: number): number {
    if (this.#partLength === 0 && end - at >= 2 && bytes[at] === (0x80 | BINARY) && bytes[at + 1]! <= MAX_CONTROL) {
      if (!this.#isFragmented) { // almost all of them
        this.#left = bytes[at + 1]!;
        return at + 2;
      }
    }
    const part = this.#part;
    while (at < end) {
      part[this.#partLength++] = bytes[at++]!;
      const [first, second] = part;
      if (this.#partLength === 1) {
        if (!this.#isFirst(first!)) return at;
        continue;
      }
      const size = second === 127 ? 10 : second === 126 ? 4 : 2;
      if (this.#partLength === 2 && !this.#isSecond(first!, second!)) return at;
      if (this.#partLength < size) continue;
      if (!this.#isLength(size, second!)) return at;
      const opcode = first! & 15;
      this.#partLength = 0;
      if (opcode >= CLOSE) this.#control = opcode;
      else this.#isFragmented = first! < 0x80;
      return at;
    }
    return at;
  }

  /** Moves bytes to the left; returns where the moved ones end. Of a few, a call of `copyWithin` takes longer, and so does each byte by itself. */
  #move(bytes: Uint8Array, to: number, from: number, count: number): number {
    const end = from + count;
    if (count > 64) {
      bytes.copyWithin(to, from, end);
      return to + count;
    }
    if (this.#view.buffer !== bytes.buffer) this.#view = new DataView(bytes.buffer);
    const view = this.#view, base = bytes.byteOffset;
    for (; from + 4 <= end; from += 4, to += 4) view.setInt32(base + to, view.getInt32(base + from, true), true);
    while (from < end) bytes[to++] = bytes[from++]!;
    return to;
  }

  #isFirst(first: number): boolean {
    const opcode = first & 15, isLast = first >= 0x80;
    if ((first & 0x70) !== 0) {
      return this.#isBroken("a frame with a reserved bit, as of compression, which nobody asked for", "section 5.2");
    }
    if (opcode >= CLOSE && opcode <= PONG) {
      return isLast || this.#isBroken("a control frame in fragments", "section 5.5");
    }
    if (opcode === CONTINUATION) {
      return this.#isFragmented || this.#isBroken("a continuation of no message", "section 5.4");
    }
    if (opcode !== TEXT && opcode !== BINARY) {
      return this.#isBroken(`a frame of the reserved opcode ${opcode}`, "section 5.2");
    }
    if (this.#isFragmented) return this.#isBroken("a new message before the end of the last one", "section 5.4");
    return opcode === BINARY || this.#isBroken("a text frame, where MQTT is in binary ones", "MQTT-6.0.0-1", 1003);
  }

  #isSecond(first: number, second: number): boolean {
    if (second >= 0x80) return this.#isBroken("a masked frame", "section 5.1");
    const isLong = (first & 15) >= CLOSE && second > MAX_CONTROL;
    return !isLong || this.#isBroken(`a control frame of more than ${MAX_CONTROL} bytes`, "section 5.5");
  }

  /** Whether the length is right: it takes the fewest bytes, and is below 2^63. Beyond 2^53 it is not exact, and never all comes. */
  #isLength(size: number, second: number): boolean {
    const part = this.#part;
    let length = second;
    if (size > 2) {
      length = 0;
      for (let i = 2; i < size; i++) length = length * 256 + part[i]!;
      if (part[2]! >= 0x80 && size === 10) return this.#isBroken("a frame of 2^63 bytes or more", "section 5.2");
      const least = size === 4 ? 126 : 65_536;
      if (length < least) return this.#isBroken(`a length of ${length} in more bytes than it needs`, "section 5.2");
    }
    this.#left = length;
    return true;
  }

  /** Takes the payload of a control frame, as far as it has come. */
  #takeControl(bytes: Uint8Array, at: number, end: number): number {
    const count = Math.min(this.#left, end - at);
    this.#part.set(bytes.subarray(at, at + count), this.#partLength);
    this.#partLength += count;
    this.#left -= count;
    if (this.#left === 0) this.#endControl();
    return at + count;
  }

  /** A control frame is whole; whether nothing comes after it. */
  #endControl(): boolean {
    const payload = this.#part.slice(0, this.#partLength), opcode = this.#control;
    this.#partLength = this.#control = 0;
    if (opcode === PING) this.ping = payload;
    if (opcode === CLOSE) this.#close(payload);
    return opcode === CLOSE;
  }

  #close(payload: Uint8Array): void {
    if (payload.length === 0) {
      this.closed = { code: 1005, reason: "" };
      return;
    }
    const code = payload.length === 1 ? payload[0]! : payload[0]! << 8 | payload[1]!;
    if (payload.length === 1 || !isCloseCode(code)) {
      this.#isBroken(`a close frame with the code ${code}, which is none`, "section 7.4");
      return;
    }
    try {
      this.closed = { code, reason: utf8.decode(payload.subarray(2)) };
    } catch {
      this.#isBroken("a close frame whose reason is not UTF-8", "section 5.5.1", 1007);
    }
  }

  /** Always false. */
  #isBroken(mistake: string, source: string, closeCode?: number): false {
    const cited = source.startsWith("MQTT") ? source : `RFC 6455, ${source}`;
    this.mistake = new BrokenFrame(mistake, cited, closeCode);
    return false;
  }
}

/** What a close frame may have: what the standard has named, what is registered, and what applications choose. */
function isCloseCode(code: number): boolean {
  return code >= 1000 && code <= 1014 && !(code >= 1004 && code <= 1006) || code >= 3000 && code <= 4999;
}

/** Where a payload is in a block for a frame: its head, at most fourteen bytes, is before it, and words can be masked at once. */
const PAYLOAD = 16;
/** The longest payload of a frame that the client makes, in bytes. */
export const MAX_PAYLOAD = 262_144;

/** Blocks that no write needs. Most writes are done at once, so that one block serves many connections. */
const spare: Block[] = [];
/** So many are kept. */
const MOST_SPARE = 4;

/** Memory for a frame. */
export class Block {
  readonly #bytes = new Uint8Array(PAYLOAD + MAX_PAYLOAD);
  /** With signs: such numbers are masked three times as fast as those without. */
  readonly #words = new Int32Array(this.#bytes.buffer);

  /** A block that nobody uses. */
  static take(): Block {
    return spare.pop() ?? new Block();
  }

  /** Gives it back. */
  free(): void {
    if (spare.length < MOST_SPARE) spare.push(this);
  }

  /** Makes a whole frame of bytes, at most {@linkcode MAX_PAYLOAD} of them; it is in the block, until that is used again. */
  frame(opcode: number, payload: Uint8Array): Uint8Array {
    const bytes = this.#bytes, { length } = payload;
    bytes.set(payload, PAYLOAD);
    const mask = this.#words[PAYLOAD / 4 - 1] = nextMask();
    this.#mask(mask, length);
    const at = PAYLOAD - 4 - (length <= MAX_CONTROL ? 2 : length < 65_536 ? 4 : 10);
    bytes[at] = 0x80 | opcode;
    if (length <= MAX_CONTROL) {
      bytes[at + 1] = 0x80 | length;
    } else if (length < 65_536) {
      bytes[at + 1] = 0x80 | 126;
      bytes[at + 2] = length >> 8;
      bytes[at + 3] = length;
    } else {
      bytes[at + 1] = 0x80 | 127;
      bytes.fill(0, at + 2, at + 6);
      for (let i = 0; i < 4; i++) bytes[at + 6 + i] = length >>> 24 - 8 * i;
    }
    return bytes.subarray(at, PAYLOAD + length);
  }

  /** By whole words, a few bytes more than there are: they mean nothing. */
  #mask(mask: number, length: number): void {
    const words = this.#words, end = PAYLOAD / 4 + (length + 3 >> 2);
    for (let i = PAYLOAD / 4; i < end; i++) words[i] = words[i]! ^ mask;
  }
}

/** Random numbers for masks, which nobody may foresee (section 5.3): asked for by the thousand, as one by one takes 1 us. */
const masks = new Int32Array(1024);
let masksUsed = masks.length;

function nextMask(): number {
  if (masksUsed === masks.length) {
    crypto.getRandomValues(masks);
    masksUsed = 0;
  }
  return masks[masksUsed++]!;
}
