/** Packet identifiers that a broker may still hold for the process before.
 * @module */

import type { Output } from "../protocol/output.ts";
import { PUBREL } from "../protocol/packet.ts";
import type { PacketIds } from "./packet_ids.ts";

/**
 * Packet identifiers of QoS 2 that the broker does not hold: it was told with PUBREL, and has answered with PUBCOMP.
 *
 * PUBREL has reason code 0, not 146, in version 5: the session may have had the message, and its exchange is to end as the
 * process before would have ended it. 146 answers a PUBREC, and calls that a mistake.
 */
export class FreedIds {
  readonly #ids: PacketIds;
  readonly #output: Output;
  readonly #most: number;
  readonly #asked = new Set<number>();
  readonly #free = new Set<number>();
  /** Whether they are wanted. */
  #isWanted = false;

  /** `most`: of how many it makes sure. */
  constructor(ids: PacketIds, output: Output, most: number) {
    this.#ids = ids;
    this.#output = output;
    this.#most = most;
    ids.add(this.#asked);
    ids.add(this.#free);
  }

  /** One that is free; undefined when there is none yet. */
  take(): number | undefined {
    if (!this.#isWanted) this.#ask();
    const [packetId] = this.#free;
    if (packetId !== undefined) this.#free.delete(packetId);
    return packetId;
  }

  /** Has the broker free as many as are used. */
  #ask(): void {
    this.#isWanted = true;
    while (this.#asked.size < this.#most) {
      const packetId = this.#ids.next();
      if (packetId === undefined) break;
      this.#asked.add(packetId);
      this.#output.acknowledge(PUBREL, packetId);
    }
  }

  /** PUBCOMP; whether it was asked for. */
  add(packetId: number): boolean {
    if (!this.#asked.delete(packetId)) return false;
    this.#free.add(packetId);
    return true;
  }

  /** It is not in use any more. */
  giveBack(packetId: number): void {
    this.#free.add(packetId);
  }

  /** There is another connection: asks again. */
  connected(): void {
    for (const packetId of this.#asked) this.#output.acknowledge(PUBREL, packetId);
  }

  /** The broker holds none any more. */
  clear(): void {
    this.#asked.clear();
    this.#free.clear();
  }
}
