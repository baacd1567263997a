/** Messages that are lost, counted by kind; the log has one line for each kind and minute. */

/** Milliseconds between two lines of one kind. */
const EVERY = 60_000;

export class Losses<Kind extends string> {
  /** How many so far. */
  readonly counts: Record<Kind, number>;
  readonly #kinds: Record<Kind, string>;
  readonly #log: (line: string) => void;
  readonly #every: number;
  /** Of each kind whose line was written lately: those that came after it, and when they are told. */
  readonly #later = new Map<Kind, { count: number; timer: ReturnType<typeof setTimeout> }>();

  /** `kinds` says of each where to, and why. */
  constructor(kinds: Record<Kind, string>, log: (line: string) => void = () => {}, every: number = EVERY) {
    this.#kinds = kinds;
    this.#log = log;
    this.#every = every;
    this.counts = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, 0])) as Record<Kind, number>;
  }

  add(kind: Kind, count = 1): void {
    if (count === 0) return;
    this.counts[kind] += count;
    const later = this.#later.get(kind);
    if (later) later.count += count;
    else this.#tell(kind, count);
  }

  /** Tells what was not told yet; nothing is to be added after it. */
  close(): void {
    for (const [kind, { count, timer }] of this.#later) {
      clearTimeout(timer);
      if (count > 0) this.#line(kind, count);
    }
    this.#later.clear();
  }

  #tell(kind: Kind, count: number): void {
    this.#line(kind, count);
    const timer = setTimeout(() => {
      const { count } = this.#later.get(kind)!;
      this.#later.delete(kind);
      if (count > 0) this.#tell(kind, count);
    }, this.#every);
    this.#later.set(kind, { count: 0, timer });
  }

  #line(kind: Kind, count: number): void {
    const total = this.counts[kind], soFar = total === count ? "" : `, ${total} so far`;
    this.#log(`Lost: ${count} ${this.#kinds[kind]}${soFar}`);
  }
}
