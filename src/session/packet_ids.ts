/** Packet identifiers: one space for requests and messages of the client.
 * @module */

/** What has packet identifiers in use. */
interface Users {
  readonly size: number;
  has(packetId: number): boolean;
}

/** Gives packet identifiers that are not in use [MQTT-2.3.1-2], the one that was used longest ago first. */
export class PacketIds {
  #users: readonly Users[] = [];
  #last = 0;

  /** The keys of this map, or the members of this set, are in use. */
  add(users: Users): void {
    this.#users = this.#users.concat(users);
  }

  /** The next one; undefined when all 65,535 are in use. */
  next(): number | undefined {
    if (this.#users.reduce((count, { size }) => count + size, 0) >= 65_535) return undefined;
    do this.#last = this.#last % 65_535 + 1; while (this.#isUsed(this.#last));
    return this.#last;
  }

  #isUsed(packetId: number): boolean {
    for (let i = 0; i < this.#users.length; i++) if (this.#users[i]!.has(packetId)) return true;
    return false;
  }
}
