/** CRC-32, as in zip and zlib: Node 20 has none.
 * @module */

/** How many bytes one step takes: 1.2 to 2 GB/s on the three runtimes, with 8 bytes 1 to 1.5. */
const STEP = 16;

/** 16 tables one behind the other: table n is for a byte that n others follow. Filled at the first use. */
let tables: Int32Array | undefined;

function fill(): Int32Array {
  const filled = new Int32Array(STEP * 256);
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? value >>> 1 ^ 0xedb88320 : value >>> 1;
    filled[byte] = value;
  }
  for (let i = 256; i < filled.length; i++) {
    const before = filled[i - 256]!;
    filled[i] = before >>> 8 ^ filled[before & 255]!;
  }
  return filled;
}

/** The checksum of `bytes` from `from` to `to`; `before` is that of what stands before them. Unsigned. */
export function crc32(bytes: Uint8Array, from: number, to: number, before = 0): number {
  const table = tables ??= fill();
  let crc = ~before, at = from;
  for (; at + STEP <= to; at += STEP) {
    crc = table[3840 + ((crc ^ bytes[at]!) & 255)]! ^
      table[3584 + ((crc >>> 8 ^ bytes[at + 1]!) & 255)]! ^
      table[3328 + ((crc >>> 16 ^ bytes[at + 2]!) & 255)]! ^
      table[3072 + (crc >>> 24 ^ bytes[at + 3]!)]! ^
      table[2816 + bytes[at + 4]!]! ^ table[2560 + bytes[at + 5]!]! ^
      table[2304 + bytes[at + 6]!]! ^ table[2048 + bytes[at + 7]!]! ^
      table[1792 + bytes[at + 8]!]! ^ table[1536 + bytes[at + 9]!]! ^
      table[1280 + bytes[at + 10]!]! ^ table[1024 + bytes[at + 11]!]! ^
      table[768 + bytes[at + 12]!]! ^ table[512 + bytes[at + 13]!]! ^
      table[256 + bytes[at + 14]!]! ^ table[bytes[at + 15]!]!;
  }
  for (; at < to; at++) crc = crc >>> 8 ^ table[(crc ^ bytes[at]!) & 255]!;
  return ~crc >>> 0;
}
