/** Counts what one direction of a bridge carries. */

export interface Direction {
  sent: number;
  /** Messages received besides: the first, which show that all are there, and the last, which shows that all has come. */
  markers: number;
  received: number;
  /** Sent and never received; received twice; received after a later one. */
  missing: number;
  twice: number;
  reordered: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  max: number;
}

/** Markers: messages that are not counted among those sent. */
export const FIRST = "0 all are there";
export const LAST = "-1 all has come";

/** Counts what one direction carries: messages are a number and the time they were sent. */
export class Meter {
  sent = 0;
  markers = 0;
  /** Whether the last marker has come. */
  finished = false;
  readonly #seen = new Set<number>();
  readonly #times: number[] = [];
  #last = 0;
  #twice = 0;
  #reordered = 0;
  #awaited = false;
  #since = 0;
  recovery = 0;

  message(): string {
    return `${++this.sent} ${performance.now()} ${"x".repeat(40)}`;
  }

  take(text: string): void {
    const [number, time] = text.split(" ").map(Number);
    if (number! <= 0) {
      this.markers++;
      this.finished = number === -1;
      return;
    }
    const now = performance.now();
    if (this.#seen.has(number!)) this.#twice++;
    else this.#times.push(now - time!);
    this.#seen.add(number!);
    if (number! < this.#last) this.#reordered++;
    this.#last = number!;
    if (!this.#awaited) return;
    this.#awaited = false;
    this.recovery = Math.max(this.recovery, now - this.#since);
  }

  /** The other side is there again: how long until something comes? */
  expect(): void {
    this.#awaited = true;
    this.#since = performance.now();
  }

  get awaited(): boolean {
    return this.#awaited;
  }

  get received(): number {
    return this.#times.length;
  }

  report(): Direction {
    const times = this.#times.sort((a, b) => a - b);
    const at = (part: number) => Number((times[Math.floor((times.length - 1) * part)] ?? NaN).toFixed(2));
    return {
      sent: this.sent,
      markers: this.markers,
      received: times.length,
      missing: this.sent - times.length,
      twice: this.#twice,
      reordered: this.#reordered,
      p50: at(0.5),
      p99: at(0.99),
      max: at(1),
    };
  }
}
