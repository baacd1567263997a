/** Inputs for the fuzzer: valid streams, broken in ways that keep their structure, and plain noise. */
import { join } from "../support/bytes.ts";
import { encodeNaive, encodeNaive5, type NaivePacket } from "../support/naive.ts";
import { Random } from "../support/random.ts";

/** Bytes that decide something somewhere: types and flags, lengths, identifiers, properties, ends of UTF-8 ranges, wildcards. */
const TELLING = [
  0x00,
  0x01,
  0x02,
  0x03,
  0x04,
  0x08,
  0x0b,
  0x10,
  0x15,
  0x1f,
  0x20,
  0x23,
  0x26,
  0x2b,
  0x2f,
  0x30,
  0x32,
  0x34,
  0x36,
  0x38,
  0x3a,
  0x3b,
  0x40,
  0x50,
  0x62,
  0x70,
  0x7f,
  0x80,
  0x82,
  0x90,
  0xa2,
  0xb0,
  0xbf,
  0xc0,
  0xc2,
  0xd0,
  0xe0,
  0xed,
  0xf0,
  0xf4,
  0xfe,
  0xff,
];

export class Inputs {
  readonly random: Random;
  readonly #all: Record<4 | 5, Uint8Array[]>;
  #valid: Uint8Array[] = [];

  constructor(seed: number) {
    this.random = new Random(seed);
    this.#all = { 4: this.#some(4), 5: this.#some(5) };
  }

  /** Valid packets of a version. */
  #some(version: 4 | 5): Uint8Array[] {
    const { random } = this;
    return Array.from({ length: 1500 }, () => {
      for (;;) {
        const packet = version === 4
          ? encodeNaive(random.packet(20))
          : encodeNaive5(random.chance(0.1) ? this.#aliased() : random.packet5(20));
        if (packet.length < 60) return packet;
      }
    });
  }

  /** A PUBLISH that gives an alias its meaning, or goes to one; some of those stand for nothing. */
  #aliased(): NaivePacket {
    const { random } = this, topic = random.chance(0.6) ? random.name() : "";
    const payload = random.bytes(3), alias = random.int(1, 4);
    return {
      type: "PUBLISH",
      topic,
      payload,
      qos: 0,
      retain: false,
      dup: false,
      packetId: 0,
      properties: [[35, alias]],
    };
  }

  /** The next input: a stream of a few dozen bytes. */
  next(version: 4 | 5): Uint8Array {
    const { random } = this;
    this.#valid = this.#all[version];
    if (random.chance(0.05)) return random.bytes(random.int(1, 40));
    let stream = random.pick(this.#valid);
    for (let more = random.int(0, 2); more > 0; more--) stream = join([stream, random.pick(this.#valid)]);
    stream = stream.slice();
    for (let times = random.pick([0, 1, 1, 1, 2, 3]); times > 0; times--) stream = this.#mutate(stream);
    return stream;
  }

  #mutate(stream: Uint8Array): Uint8Array {
    const { random } = this;
    if (stream.length === 0) return stream;
    const at = random.int(0, stream.length - 1);
    switch (random.int(0, 8)) {
      case 0:
        stream[at]! ^= 1 << random.int(0, 7);
        return stream;
      case 1:
        stream[at] = random.pick(TELLING);
        return stream;
      case 2: // the first byte, or the length, of the first packet
        stream[random.int(0, Math.min(4, stream.length - 1))] = random.pick(TELLING);
        return stream;
      case 3: // one more or one less
        stream[at]! += random.pick([1, 255]);
        return stream;
      case 4: // cut out
        return join([stream.subarray(0, at), stream.subarray(at + random.int(1, 4))]);
      case 5: // put in
        return join([stream.subarray(0, at), Uint8Array.of(random.pick(TELLING)), stream.subarray(at)]);
      case 6: // twice
        return join([stream, stream.subarray(at, at + random.int(1, 20))]);
      case 7: // the end is missing
        return stream.subarray(0, at);
      default: { // a piece of another
        const other = random.pick(this.#valid);
        return join([stream.subarray(0, at), other.subarray(random.int(0, other.length - 1))]);
      }
    }
  }
}
