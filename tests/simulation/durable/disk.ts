/** A log on a simulated disk: flushes take their time and fail, a replacement takes longer, and a process dies in the middle of either. */
import type { Random } from "../../support/random.ts";
import { LogState } from "./log.ts";

/** Records that are to take the place of all others. */
interface Replacement {
  readonly records: Iterator<Uint8Array>;
  readonly made: Uint8Array[];
  /** What was kept since it began. */
  readonly behind: Uint8Array[];
}

export class Disk {
  /** What is kept, and what that says. */
  kept: Uint8Array[] = [];
  state: LogState = new LogState();
  /** What was appended and is not being flushed, and what is. */
  pending: Uint8Array[] = [];
  #batch: Uint8Array[] | undefined;
  #replacement: Replacement | undefined;

  get isFlushing(): boolean {
    return this.#batch !== undefined;
  }

  get isReplacing(): boolean {
    return this.#replacement !== undefined;
  }

  append(record: Uint8Array): void {
    this.pending.push(record.slice());
  }

  /** Begins a flush; what it is to keep. */
  begin(): readonly Uint8Array[] {
    this.#batch = this.pending;
    this.pending = [];
    return this.#batch;
  }

  /** The flush is done; what it has kept. */
  succeed(): readonly Uint8Array[] {
    const batch = this.#batch!;
    this.#batch = undefined;
    this.kept.push(...batch);
    this.#replacement?.behind.push(...batch);
    for (const record of batch) this.state.apply(record);
    return batch;
  }

  /** The disk is full; what was not kept. */
  fail(): readonly Uint8Array[] {
    const batch = this.#batch!;
    this.#batch = undefined;
    return batch;
  }

  /** Begins to replace what is kept. */
  replace(records: Iterable<Uint8Array>): void {
    this.#replacement = { records: records[Symbol.iterator](), made: [], behind: [] };
  }

  /** Asks for so many of the records; whether there are more. */
  pull(count: number): boolean {
    const { records, made } = this.#replacement!;
    for (; count > 0; count--) {
      const { value, done } = records.next();
      if (done) return false;
      made.push(value.slice());
    }
    return true;
  }

  /** All records are there: they are the log. */
  finishReplacement(): void {
    const { made, behind } = this.#replacement!;
    this.#replacement = undefined;
    this.kept = [...made, ...behind];
    this.state = new LogState(this.kept);
  }

  /** The log stays as it was. */
  cutReplacement(): void {
    this.#replacement = undefined;
  }

  /** The process dies: of a flush that is under way, any part from its beginning on is kept; of what is damaged, nothing. */
  die(random: Random, damage: number): number {
    const batch = this.#batch ?? [];
    this.kept.push(...batch.slice(0, random.int(0, batch.length)));
    this.#batch = this.#replacement = undefined;
    this.pending = [];
    const { length } = this.kept;
    if (damage > 0) this.kept = this.kept.filter(() => !random.chance(damage));
    this.state = new LogState(this.kept);
    return length - this.kept.length;
  }
}
