/** What an example tells: what was published, what of it was acknowledged, who has handled it; who is connected where. */
import type { Client, OnStatus } from "../../mod.ts";

/** Publishes numbers, and counts what becomes of each. */
export class Tally {
  /** How many numbers there are. */
  readonly total: number;
  readonly #acknowledged = new Set<number>();
  /** How often each was handled. */
  readonly #handled = new Map<number, number>();
  /** How many each worker has handled. */
  readonly #workers = new Map<string, number>();
  /** Asked whenever something has changed. */
  readonly #waiting = new Set<() => void>();

  constructor(total: number) {
    this.total = total;
  }

  /** Publishes all numbers at QoS 1, 2,000 a second at the most; resolves when all of them are acknowledged. */
  async publish(mqtt: Client, topicOf: (number: number) => string): Promise<void> {
    const published: Promise<void>[] = [];
    for (let number = 0; number < this.total; number++) {
      published.push(this.#publish(mqtt, topicOf(number), number));
      if (number % 20 === 19) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await Promise.all(published);
  }

  async #publish(mqtt: Client, topic: string, number: number): Promise<void> {
    await mqtt.publish(topic, `${number}`, { qos: 1 });
    this.#acknowledged.add(number);
    this.#changed();
  }

  /** A worker has handled a number. */
  handled(worker: string, number: number): void {
    this.#handled.set(number, (this.#handled.get(number) ?? 0) + 1);
    this.#workers.set(worker, (this.#workers.get(worker) ?? 0) + 1);
    this.#changed();
  }

  /** Resolves when so many are acknowledged. */
  acknowledged(count: number): Promise<void> {
    return this.#until(`${count} are acknowledged`, () => this.#acknowledged.size >= count);
  }

  /** Resolves when all that was published is acknowledged and handled. */
  complete(): Promise<void> {
    const isDone = () => this.#acknowledged.size === this.total && this.#handled.size === this.total;
    return this.#until("all of them are", isDone);
  }

  /** How it stands, in one line. */
  toString(): string {
    const workers = [...this.#workers].sort().map(([name, count]) => `${name} ${count}`).join(", ");
    const repeated = [...this.#handled.values()].filter((times) => times > 1).length;
    const lost = [...this.#acknowledged].filter((number) => !this.#handled.has(number)).length;
    return `${this.#acknowledged.size} acknowledged, ${lost} of them not handled, ${repeated} handled again; ${workers}`;
  }

  #changed(): void {
    for (const look of this.#waiting) look();
  }

  /** Rejects when nothing has changed for 20 seconds. */
  #until(what: string, isSo: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (end: () => void) => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        end();
      };
      const giveUp = () => finish(() => reject(new Error(`Nothing happens, and not yet ${what}: ${this}`)));
      let timer = setTimeout(giveUp, 20_000);
      const look = () => {
        clearTimeout(timer);
        if (isSo()) finish(resolve);
        else timer = setTimeout(giveUp, 20_000);
      };
      this.#waiting.add(look);
      look();
    });
  }
}

/** An `onstatus` that prints a line for each connection that is made or lost. */
export function teller(name: string): OnStatus {
  let address: string | undefined;
  return (status) => {
    if (status.type === "connecting") address = status.address;
    if (status.type === "connected") {
      console.log(
        `${name} is connected to ${address}, ${status.sessionPresent ? "with its" : "without an earlier"} session`,
      );
    }
    if (status.type === "waiting") console.log(`${name} is not connected to ${address}: ${status.error.code}`);
  };
}
