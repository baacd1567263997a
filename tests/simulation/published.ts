/** The model of what the program publishes at QoS 0: what was accepted, handed to a connection, and has arrived. */
import { encodeNaive, encodeNaive5, type Publish } from "../support/naive.ts";
import { numbered, numberOf } from "./broker.ts";
import { same } from "./packets.ts";
import type { Wire } from "./wire.ts";

/** A message of the client's. */
export interface Published {
  readonly seq: number;
  /** Bytes of its packet. */
  size: number;
  readonly retain: boolean;
  readonly topic: string;
  readonly payload: Uint8Array;
  /** Whether its bytes count in `pending`: those of what is published after disconnect() do not. */
  readonly counts: boolean;
  refused: boolean;
  wire: Wire | undefined;
  arrived: boolean;
  /** Whether flush() has told that it may be lost. */
  told: boolean;
}

export class PublishedMessages {
  readonly all: Published[] = [];
  readonly #fail: (what: string) => void;
  #lastHanded = -1;
  #lastArrived = -1;
  /** Bytes of PUBLISH packets accepted and not handed to a connection; those of the last write. */
  pending = 0;
  handed = 0;
  #version: number;

  /** `version`: that of the packets, as far as it is known. */
  constructor(version: number, fail: (what: string) => void) {
    this.#version = version;
    this.#fail = fail;
  }

  /** The version is known: what waits is of that. */
  speak(version: number): void {
    if (version === this.#version) return;
    this.#version = version;
    for (const published of this.all) {
      if (published.wire !== undefined || published.refused) continue;
      const size = sizeOf(published, version);
      if (published.counts) this.pending += size - published.size;
      published.size = size;
    }
  }

  /** The program publishes a payload of so many bytes; `isOver`: it has disconnected, or the client has ended. */
  add(topic: string, size: number, { retain, isOver }: { retain: boolean; isOver: boolean }): Published {
    const seq = this.all.length, payload = numbered(seq, size);
    const published: Published = {
      seq,
      size: sizeOf({ topic, payload }, this.#version),
      retain,
      topic,
      payload,
      counts: !isOver,
      refused: false,
      wire: undefined,
      arrived: false,
      told: false,
    };
    this.all.push(published);
    if (published.counts) this.pending += published.size; // it may be handed to the connection at once
    return published;
  }

  /** It was rejected. */
  refuse(published: Published): void {
    if (published.wire !== undefined) this.#fail(`message ${published.seq} was sent and refused`);
    if (published.counts) this.pending -= published.size;
    published.refused = true;
  }

  /** The client writes it. */
  handOver(wire: Wire, packet: Publish): void {
    const seq = numberOf(packet.payload), published = this.all[seq];
    if (published === undefined) return this.#fail(`a message that nobody published: ${seq}`);
    const { topic, payload, retain } = published;
    if (packet.topic !== topic || packet.retain !== retain || !same(packet.payload, payload)) {
      this.#fail(`message ${seq} is garbled`);
    }
    if (published.wire !== undefined) this.#fail(`message ${seq} is sent twice`);
    if (seq <= this.#lastHanded) this.#fail(`message ${seq} is sent after ${this.#lastHanded}`);
    if (published.refused) this.#fail(`message ${seq} is sent although it was refused`);
    this.#lastHanded = seq;
    published.wire = wire;
    if (published.counts) this.pending -= published.size;
    this.handed += published.size;
  }

  /** The broker has it. */
  arrived({ payload }: Publish): void {
    const seq = numberOf(payload);
    if (seq <= this.#lastArrived) this.#fail(`message ${seq} arrives after ${this.#lastArrived}`);
    this.#lastArrived = seq;
    this.all[seq]!.arrived = true;
  }
}

function sizeOf({ topic, payload }: Pick<Published, "topic" | "payload">, version: number): number {
  const packet: Publish = { type: "PUBLISH", topic, payload, qos: 0, retain: false, dup: false, packetId: 0 };
  return (version === 5 ? encodeNaive5 : encodeNaive)(packet).length;
}
