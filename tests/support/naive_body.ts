/** The fields of packets in the tests' own codec, written from the specification. */

/** What is wrong with a packet: the statement it breaks. */
export class Malformed extends Error {
  readonly statement: string;

  constructor(statement: string) {
    super(`Malformed: ${statement}`);
    this.statement = statement;
  }
}

/** Section 1.5.3 and RFC 3629, section 3. */
export function encodeUtf8(text: string): number[] {
  const found: number[] = [];
  for (const char of text) {
    const code = char.codePointAt(0)!;
    if (code >= 0xd800 && code <= 0xdfff) throw new Malformed("[MQTT-1.5.3-1]");
    if (code < 0x80) found.push(code);
    else if (code < 0x800) found.push(0xc0 + (code >> 6), 0x80 + code % 64);
    else if (code < 0x10000) found.push(0xe0 + (code >> 12), 0x80 + (code >> 6) % 64, 0x80 + code % 64);
    else found.push(0xf0 + (code >> 18), 0x80 + (code >> 12) % 64, 0x80 + (code >> 6) % 64, 0x80 + code % 64);
  }
  return found;
}

/** Section 1.5.3 and RFC 3629, section 3. */
export function decodeUtf8(bytes: Uint8Array, version = 4): string {
  const broken = () => new Malformed(version === 5 ? "[MQTT5-1.5.4-1]" : "[MQTT-1.5.3-1]");
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const first = bytes[at++]!;
    const more = first < 0x80 ? 0 : first < 0xc0 ? -1 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf8 ? 3 : -1;
    if (more === -1) throw broken();
    let code = more === 0 ? first : first % 2 ** (6 - more);
    for (let i = 0; i < more; i++) {
      const next = bytes[at++];
      if (next === undefined || next < 0x80 || next >= 0xc0) throw broken();
      code = code * 64 + next % 64;
    }
    const least = [0, 0x80, 0x800, 0x10000][more]!;
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) throw broken();
    text += String.fromCodePoint(code);
  }
  if (text.includes("\0")) throw new Malformed(version === 5 ? "[MQTT5-1.5.4-2]" : "[MQTT-1.5.3-2]");
  return text;
}

/** Section 2.2.3. */
export function encodeLength(length: number): number[] {
  const found: number[] = [];
  do {
    found.push(length % 128 + (length >= 128 ? 128 : 0));
    length = Math.floor(length / 128);
  } while (length > 0);
  return found;
}

/** A statement, by the version that the packet is of. */
export function of(version: number, statement4: string, statement5: string = statement4): string {
  return version === 5 ? `[MQTT5-${statement5}]` : `[MQTT-${statement4}]`;
}

/** Takes the fields of a packet one after the other. */
export class Body {
  readonly bytes: Uint8Array;
  readonly version: number;
  at = 0;

  constructor(bytes: Uint8Array, version = 4) {
    this.bytes = bytes;
    this.version = version;
  }

  /** Throws an error of the statement in either version. */
  fail(statement4: string, statement5: string = statement4): never {
    throw new Malformed(of(this.version, statement4, statement5));
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  take(length: number): Uint8Array {
    if (length > this.left) this.fail("4.8.0-1", "4.13.1-1");
    this.at += length;
    return this.bytes.slice(this.at - length, this.at);
  }

  byte(): number {
    return this.take(1)[0]!;
  }

  uint16(): number {
    return this.byte() * 256 + this.byte();
  }

  /** Section 1.5.5 of MQTT 5: as short as it can be. */
  varint(): number {
    let value = 0;
    for (let i = 0;; i++) {
      const byte = this.byte();
      if (byte === 0 && i > 0) throw new Malformed("[MQTT5-1.5.5-1]");
      value += byte % 128 * 128 ** i;
      if (byte < 128) return value;
      if (i === 3) this.fail("4.8.0-1", "4.13.1-1");
    }
  }

  packetId(statement5: string): number {
    const id = this.uint16();
    if (id === 0) this.fail("2.3.1-1", statement5);
    return id;
  }

  binary(): Uint8Array {
    return this.take(this.uint16());
  }

  string(): string {
    return decodeUtf8(this.binary(), this.version);
  }

  name(): string {
    const name = this.string();
    if (name.length === 0) this.fail("4.7.3-1");
    if (name.includes("#") || name.includes("+")) this.fail("3.3.2-2");
    return name;
  }

  filter(): string {
    const filter = this.string();
    if (filter.length === 0) this.fail("4.7.3-1");
    const levels = filter.split("/");
    if (this.version === 5 && levels[0] === "$share" && levels.length > 1) {
      if (levels[1] === "") this.fail("", "4.8.2-1");
      if (/[+#]/.test(levels[1]!) || levels.slice(2).join("/") === "") this.fail("", "4.8.2-2");
    }
    levels.forEach((level, i) => {
      if (level.includes("#") && (level !== "#" || i !== levels.length - 1)) this.fail("4.7.1-2", "4.7.1-1");
    });
    levels.forEach((level) => {
      if (level.includes("+") && level !== "+") this.fail("4.7.1-3", "4.7.1-2");
    });
    return filter;
  }

  end(statement4 = "4.8.0-1", statement5 = "4.13.1-1"): void {
    if (this.left > 0) this.fail(statement4, statement5);
  }
}
