/** A naive reading of the log, from the table of its records alone, which shares nothing with the library. */

/** The types of records. */
export const CLIENT = 0, CONNECTED = 1, ACCEPTED = 2, SENT = 3, RECEIVED = 4, DONE = 5, RECORDED = 6, RELEASED = 7;
/** An accepted message of version 5. */
const ACCEPTED5 = 8;

/** A message in the log. */
export interface Logged {
  /** Its number in the log, and in its payload. */
  readonly number: number;
  readonly seq: number;
  /** Milliseconds since 1970, or Infinity. */
  readonly due: number;
  /** 0 when it was not sent in this session. */
  packetId: number;
}

/** One change of those that a record is of. */
export interface Change {
  readonly type: number;
  /** What follows the type: a number of a message, a packet identifier, or a flag; and the packet identifier of SENT. */
  readonly a: number;
  readonly b: number;
}

export function changesOf(record: Uint8Array): Change[] {
  const view = new DataView(record.buffer, record.byteOffset, record.length), type = record[0]!;
  if (type === CLIENT) return [{ type, a: 0, b: 0 }];
  if (type === CONNECTED) return [{ type, a: record[1]!, b: 0 }];
  if (type === ACCEPTED || type === ACCEPTED5) return [{ type, a: view.getFloat64(1), b: 0 }];
  const isOfId = type === RECORDED || type === RELEASED;
  const first = isOfId ? view.getUint16(1) : view.getFloat64(1), count = view.getUint16(isOfId ? 3 : 9);
  const packetId = type === SENT ? view.getUint16(11) : 0;
  return Array.from({ length: count }, (_, i) => ({ type, a: first + i, b: type === SENT ? packetId + i : 0 }));
}

/** What the log says so far. */
export class LogState {
  readonly messages: Map<number, Logged> = new Map();
  /** The same messages by the numbers in their payloads. */
  readonly bySeq: Map<number, Logged> = new Map();
  /** In the order of PUBREC. */
  received: Logged[] = [];
  readonly recorded: Set<number> = new Set();
  id: string | undefined;
  /** Bytes of the records, and how many they are. */
  bytes = 0;
  records = 0;

  constructor(records: Iterable<Uint8Array> = []) {
    for (const record of records) this.apply(record);
  }

  apply(record: Uint8Array): void {
    this.bytes += record.length;
    this.records++;
    for (const change of changesOf(record)) this.#apply(change, record);
  }

  #apply({ type, a, b }: Change, record: Uint8Array): void {
    const message = this.messages.get(a);
    if (type === CLIENT) this.id = new TextDecoder().decode(record.subarray(1));
    if (type === CONNECTED && a === 0) this.#forget();
    if ((type === ACCEPTED || type === ACCEPTED5) && message === undefined) this.#accept(a, record);
    if (type === SENT && message !== undefined) this.#send(message, b);
    if (type === RECEIVED && message !== undefined && message.packetId > 0) {
      this.received = [...this.received.filter((other) => other !== message), message];
    }
    if (type === DONE && message !== undefined) this.#drop(message);
    if (type === RECORDED) this.recorded.add(a);
    if (type === RELEASED) this.recorded.delete(a);
  }

  #accept(number: number, record: Uint8Array): void {
    const seq = seqOf(record.subarray(17), record[0] === ACCEPTED5);
    const due = new DataView(record.buffer, record.byteOffset, record.length).getFloat64(9);
    const message = { number, seq, due, packetId: 0 };
    this.messages.set(number, message);
    this.bySeq.set(seq, message);
  }

  #send(message: Logged, packetId: number): void {
    for (const other of this.messages.values()) {
      if (other === message || other.packetId !== packetId) continue;
      other.packetId = 0;
      this.received = this.received.filter((received) => received !== other);
    }
    message.packetId = packetId;
  }

  #drop(message: Logged): void {
    this.messages.delete(message.number);
    this.bySeq.delete(message.seq);
    this.received = this.received.filter((other) => other !== message);
  }

  #forget(): void {
    for (const message of this.messages.values()) message.packetId = 0;
    this.received = [];
    this.recorded.clear();
  }
}

/** The number in the payload of a PUBLISH of QoS 1 or 2. */
function seqOf(packet: Uint8Array, hasProperties: boolean): number {
  let at = 1;
  while (packet[at]! > 127) at++;
  const topic = at + 1;
  const properties = topic + 2 + packet[topic]! * 256 + packet[topic + 1]! + 2;
  const payload = hasProperties ? properties + 1 + packet[properties]! : properties; // they are fewer than 128 bytes
  return new DataView(packet.buffer, packet.byteOffset, packet.length).getUint32(payload);
}
