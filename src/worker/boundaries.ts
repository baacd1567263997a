/** Where packets begin in a stream, at a few nanoseconds a packet: nothing is decoded.
 * @module */

/** Walks over a stream of packets; any cut of it gives the same. */
export class Boundaries {
  /** Where the packets of one type begin, in the bytes walked over last. */
  readonly starts: number[] = [];
  readonly #type: number;
  /** Bytes of the packet that are still to come, once its remaining length is known. */
  #left = 0;
  /** The remaining length as far as known, and how many of its bits; -1: the next byte begins a packet. */
  #length = 0;
  #bits = -1;

  /** `type`: of the packets whose `starts` are wanted. */
  constructor(type: number) {
    this.#type = type;
  }

  /** The types of the packets that begin in the first `end` bytes: bit n for type n. */
  walk(bytes: Uint8Array, end: number): number {
    let types = 0, at = this.#left, length = this.#length, bits = this.#bits;
    const type = this.#type;
    this.starts.length = 0;
    while (at < end) {
      const byte = bytes[at++]!;
      if (bits === -1) {
        types |= 1 << (byte >> 4);
        if (byte >> 4 === type) this.starts.push(at - 1);
        length = bits = 0;
        continue;
      }
      length |= (byte & 127) << bits;
      bits += 7;
      if (byte > 127 && bits < 28) continue; // a fifth byte is the decoder's to refuse
      at += length;
      bits = -1;
    }
    this.#left = at - end;
    this.#length = length;
    this.#bits = bits;
    return types;
  }
}
