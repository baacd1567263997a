/** Inputs for the fuzzer of frames: valid streams, broken in ways that keep their structure, and plain noise. */
import { Buffer } from "node:buffer";
import { join } from "../support/bytes.ts";
import { Random } from "../support/random.ts";
import { frameOfWs } from "./frame_peer.ts";

/** Bytes that decide something in the head of a frame: opcodes, with and without FIN and reserved bits; lengths. */
// deno-fmt-ignore
const TELLING = [
  0x00, 0x01, 0x02, 0x03, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0f, 0x10, 0x20, 0x40, 0x42, 0x7d, 0x7e, 0x7f,
  0x80, 0x81, 0x82, 0x83, 0x88, 0x89, 0x8a, 0x8f, 0xa2, 0xc2, 0xc9, 0xf2, 0xfe, 0xff,
];
const LENGTHS = [0, 1, 2, 3, 10, 124, 125, 126, 127, 200];
const LONG = [1023, 1024, 1025, 3000, 65_535, 65_536, 70_000];
const CODES = [1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 0, 999];

const CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;

export class FrameInputs {
  readonly random: Random;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  /** The next input: a stream of some frames. */
  next(): Uint8Array {
    const { random } = this;
    if (random.chance(0.03)) return random.bytes(random.int(1, 40));
    const frames: Uint8Array[] = [];
    let isOpen = false;
    for (let more = random.int(1, 6); more > 0; more--) {
      const control = random.next();
      if (control < 0.15) frames.push(frameOfWs(PING, this.#bytes(random.int(0, 125)), true));
      else if (control < 0.25) frames.push(frameOfWs(PONG, this.#bytes(random.int(0, 125)), true));
      else if (control < 0.3) frames.push(this.#close());
      else {
        const opcode = isOpen ? CONTINUATION : random.chance(0.02) ? TEXT : BINARY, fin = random.chance(0.7);
        const length = random.pick(random.chance(0.03) ? LONG : LENGTHS);
        frames.push(frameOfWs(opcode, this.#bytes(length), fin));
        isOpen = !fin;
      }
    }
    return this.#broken(frames);
  }

  /** So many, of which a run is enough: chance for each would take most of the time. */
  #bytes(length: number): Uint8Array {
    return new Uint8Array(length).fill(this.random.int(0, 255)).map((byte, i) => byte + i);
  }

  #close(): Uint8Array {
    const { random } = this, code = random.pick(CODES), head = Buffer.from([code >> 8, code & 255]);
    const reason = random.pick([
      Buffer.alloc(0),
      Buffer.from("why ä €"),
      Buffer.from([0xff]),
      Buffer.from([0xe2, 0x82]),
    ]);
    return frameOfWs(CLOSE, random.chance(0.1) ? head.subarray(0, random.int(0, 1)) : join([head, reason]), true);
  }

  /** The stream of the frames, with changes in some of their heads, or anywhere. */
  #broken(frames: Uint8Array[]): Uint8Array {
    const { random } = this;
    for (let times = random.pick([0, 0, 1, 1, 2]); times > 0; times--) {
      const i = random.int(0, frames.length - 1), one = frames[i]!;
      const at = random.int(0, random.chance(0.8) ? Math.min(9, one.length - 1) : one.length - 1);
      const kind = random.int(0, 7);
      if (kind === 0) one[at]! ^= 1 << random.int(0, 7);
      else if (kind === 1) one[at] = random.pick(TELLING);
      else if (kind === 2) one[random.int(0, 1)] = random.pick(TELLING);
      else if (kind === 3) frames[i] = one.slice(0, at);
      else if (kind === 4) frames[i] = join([one.slice(0, at), one.slice(at + random.int(1, 3))]);
      else if (kind === 5) frames[i] = join([one.slice(0, at), random.bytes(random.int(1, 4)), one.slice(at)]);
      else if (kind === 6) frames[i] = this.#longer(one);
      else frames.push(one.slice());
      if (frames[i]!.length === 0) frames.splice(i, 1);
      if (frames.length === 0) break;
    }
    const stream = join(frames);
    return random.chance(0.2) ? stream.slice(0, random.int(0, stream.length)) : stream;
  }

  /** The length of a short frame in two or eight bytes, or another length, up to 2^64 - 1. */
  #longer(one: Uint8Array): Uint8Array {
    const { random } = this;
    if (one.length < 2) return one;
    const isWide = random.chance(0.6), size = isWide ? 8 : 2, length = Buffer.alloc(size);
    length[size - 1] = one[1]! & 127;
    if (random.chance(0.7)) length[random.int(0, size - 1)] = random.pick(TELLING);
    return join([Uint8Array.of(one[0]!, isWide ? 127 : 126), length, one.slice(2)]);
  }
}
