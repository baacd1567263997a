/** The client of a lab, as the test sees it: what it tells of its statuses and messages, and whether that is in order. */
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import type { ConnectOptions } from "../../mod.ts";
import { patience, type Process } from "../support/process.ts";

/** What `child.ts` is to do. */
export interface Orders {
  mode: "connect" | "connectWorker";
  address: string;
  op: ConnectOptions & { reconnect: { minDelay: number; maxDelay: number } };
  /** Milliseconds between two messages. */
  interval: number;
  /** So many are published at once first. */
  burst?: number;
}

/** A status of the client; `at`: milliseconds, by the clock of its process. */
export interface StatusLine {
  at: number;
  type: string;
  attempt?: number;
  delay?: number;
  code?: string | number;
}

/** A line that `child.ts` prints. */
export type Line =
  | { at: number; status: Omit<StatusLine, "at"> }
  | { at: number; acknowledged: number }
  | { at: number; failed: number; code: unknown }
  /** connect() has rejected. */
  | { at: number; rejected: unknown; after: number }
  /** All is settled, and disconnected. */
  | { at: number; published: number };

export class NetworkClient {
  readonly process: Process;
  readonly statuses: StatusLine[] = [];
  /** The numbers of messages, in the order in which they were acknowledged; and when that was. */
  readonly acknowledged: number[] = [];
  readonly acknowledgedAt: number[] = [];
  /** The codes of messages that failed: there must be none. */
  readonly failures: unknown[] = [];
  /** What connect() was rejected with, and after how many milliseconds. */
  rejected: { code: unknown; after: number } | undefined;
  /** How many messages there were, once it has stopped. */
  published: number | undefined;
  readonly orders: Orders;
  #wake = () => {};

  constructor(process: Process, orders: Orders) {
    this.process = process;
    this.orders = orders;
    process.lines((line) => this.#take(JSON.parse(line)));
    process.exited.then(() => this.#wake());
  }

  #take(line: Line): void {
    if ("status" in line) this.statuses.push({ at: line.at, ...line.status });
    else if ("acknowledged" in line) this.acknowledged.push(line.acknowledged), this.acknowledgedAt.push(line.at);
    else if ("failed" in line) this.failures.push(line.code);
    else if ("rejected" in line) this.rejected = { code: line.rejected, after: line.after };
    else this.published = line.published;
    this.#wake();
  }

  /** The codes of the failures that it has told since a status. */
  codes(from = 0): unknown[] {
    return this.statuses.slice(from).filter(({ type }) => type === "waiting").map(({ code }) => code);
  }

  /** Waits until something holds, which may change with each line. */
  until(holds: () => boolean, what: string, deadline: number = patience): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`${what}: ${why}\n${this.show()}`));
      const timer = setTimeout(() => fail(`not within ${deadline} ms`), deadline);
      let ended = false;
      this.#wake = () => {
        if (!holds() && !ended) return;
        clearTimeout(timer);
        if (holds()) resolve();
        else fail("its process has ended");
      };
      this.process.exited.then(() => {
        ended = true;
        this.#wake();
      });
      this.#wake();
    });
  }

  /** Waits for so many messages more. */
  more(count: number, deadline?: number): Promise<void> {
    const wanted = this.acknowledged.length + count;
    return this.until(() => this.acknowledged.length >= wanted, `${count} acknowledgements`, deadline);
  }

  /** Waits until so many attempts have failed, or connections were lost, since a status; to their codes. */
  async failed(from: number, count: number): Promise<unknown[]> {
    await this.until(() => this.codes(from).length >= count, `${count} failures`);
    return this.codes(from);
  }

  /** Waits until it is connected again, after a status at which it was. */
  connected(from: number): Promise<void> {
    const holds = () => this.statuses.slice(from).some(({ type }) => type === "connected");
    return this.until(holds, "connected again");
  }

  /** Publishes no more; waits until all is settled, the connection closed and the process at its end. */
  async stop(): Promise<number> {
    this.process.kill("SIGTERM");
    await this.until(() => this.published !== undefined, "all is settled", 2 * patience);
    const code = await this.process.exited;
    assertEquals([code, this.process.stderr()], [0, ""], this.show());
    return this.published!;
  }

  /**
   * Whether the statuses follow each other as their table says: attempts are counted from 1 since the last one that was
   * accepted, what fails is told once, with a delay that the policy allows, and the end comes once.
   */
  judge(): void {
    const { maxDelay } = this.orders.op.reconnect;
    const follows: Record<string, string[]> = {
      connecting: ["connected", "waiting"],
      connected: ["waiting", "closed"],
      waiting: ["connecting"],
      closed: [],
    };
    assertEquals(this.statuses.map(({ type }) => type).filter((type) => !(type in follows)), [], this.show());
    assertEquals([this.statuses[0]?.type, this.statuses.at(-1)?.type], ["connecting", "closed"], this.show());
    assertEquals(this.statuses.at(-1)?.code, "disconnect");
    let attempts = 0;
    this.statuses.forEach(({ type, attempt, delay, at }, i) => {
      const next = this.statuses[i + 1];
      if (next) {
        assert(follows[type]!.includes(next.type), `${type}, then ${next.type}\n${this.show()}`);
        assertLessOrEqual(at, next.at);
      }
      if (type === "connected") attempts = 0;
      if (type === "connecting") assertEquals(attempt, ++attempts, this.show());
      if (type === "waiting") assertLessOrEqual(delay!, maxDelay);
    });
    assertEquals(this.failures, []);
  }

  /** For people to read. */
  show(): string {
    const lines = this.statuses.slice(-30).map(({ at, type, attempt, delay, code }) => {
      const more = [attempt && `attempt ${attempt}`, code, delay !== undefined && `delay ${Math.round(delay)}`];
      return `  ${Math.round(at)} ${[type, ...more].filter(Boolean).join(", ")}`;
    });
    return [...lines, `  ${this.acknowledged.length} acknowledged`, this.process.stderr()].join("\n");
  }
}
