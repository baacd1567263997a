/** Stores between the client and the file: one that kills its process at a flush, and one that takes its time. */
import process from "node:process";
import type { SessionStore, StoreReader } from "../../mod.ts";
import type { Random } from "../support/random.ts";

/** A store that does what another one does. */
class Wrapped implements SessionStore {
  protected readonly store: SessionStore;

  constructor(store: SessionStore) {
    this.store = store;
  }

  open(reader: StoreReader): void | Promise<void> {
    return this.store.open(reader);
  }

  append(record: Uint8Array): void {
    this.store.append(record);
  }

  flush(): void | Promise<void> {
    return this.store.flush();
  }

  replace(records: Iterable<Uint8Array>): void | Promise<void> {
    return this.store.replace(records);
  }

  close(): void | Promise<void> {
    return this.store.close();
  }
}

/** Kills its process just before or just after a flush; the first is 1. */
export class DeadlyStore extends Wrapped {
  readonly #last: number;
  readonly #when: "before" | "after";
  #flushes = 0;

  constructor(store: SessionStore, { flush, when }: { flush: number; when: "before" | "after" }) {
    super(store);
    this.#last = flush;
    this.#when = when;
  }

  override flush(): void | Promise<void> {
    const isLast = ++this.#flushes === this.#last;
    if (isLast && this.#when === "before") die();
    const flushing = this.store.flush();
    if (!isLast) return flushing;
    return flushing?.then(die) ?? die();
  }
}

/** The signal comes at once, or a moment later: nothing is done until then. */
function die(): never {
  process.kill(process.pid, "SIGKILL");
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

/** Flushes take up to so many milliseconds, before or after the other store does it. */
export class SlowStore extends Wrapped {
  readonly #random: Random;
  readonly #most: number;

  constructor(store: SessionStore, random: Random, most: number) {
    super(store);
    this.#random = random;
    this.#most = most;
  }

  override async flush(): Promise<void> {
    const isEarly = this.#random.chance(0.5);
    if (isEarly) await this.store.flush();
    await new Promise((resolve) => setTimeout(resolve, this.#random.int(0, this.#most)));
    if (!isEarly) await this.store.flush();
  }
}
