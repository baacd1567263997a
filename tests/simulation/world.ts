/** Virtual time: events in their order, each followed by the promises and ticks it set going. */
import type { Clock } from "../../src/client/clock.ts";
import type { Random } from "../support/random.ts";

interface Event {
  time: number;
  /** At one time, timers come first, as in an event loop that was blocked. */
  readonly rank: 0 | 1;
  readonly order: number;
  /** Whether it needs the client's thread. */
  readonly mine: boolean;
  readonly act: () => void;
  cancelled: boolean;
}

/** More than the longest chain of promises in the client; each await is one turn of the microtasks. */
const TURNS = 16;

/** The time, the events to come, and whether the client's thread is blocked. */
export class World {
  now = 0;
  /** Milliseconds that the thread was blocked, in all: so much later may anything be. */
  blocked = 0;
  /** Timers of the client that have not rung. */
  timers = 0;
  steps = 0;
  /** What the client was last given as chance. */
  chance = 0;
  readonly #random: Random;
  readonly #heap: Event[] = [];
  #ticks: (() => void)[] = [];
  #order = 0;
  #blockedUntil = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** What the client sees of it. */
  readonly clock: Clock = {
    now: () => this.now,
    wall: () => this.now,
    wait: (callback, milliseconds) => {
      this.timers++;
      const jitter = this.#random.chance(0.1) ? this.#random.int(1, 80) : 0;
      const event = this.#add(Math.max(milliseconds, 1) + jitter, 0, true, () => {
        event.cancelled = true;
        this.timers--;
        callback();
      });
      return () => {
        if (!event.cancelled) this.timers--;
        event.cancelled = true;
      };
    },
    tick: (callback) => void this.#ticks.push(callback),
    random: () => this.chance = this.#random.next(),
  };

  /** Does something later, outside the client. */
  after(milliseconds: number, act: () => void): void {
    this.#add(milliseconds, 1, false, act);
  }

  /** Does something later, on the client's thread. */
  onThread(milliseconds: number, act: () => void): void {
    this.#add(milliseconds, 1, true, act);
  }

  sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => this.onThread(milliseconds, resolve));
  }

  /** Nothing runs on the client's thread for so long. */
  block(milliseconds: number): void {
    const until = Math.max(this.now + milliseconds, this.#blockedUntil);
    this.blocked += until - Math.max(this.now, this.#blockedUntil);
    this.#blockedUntil = until;
  }

  /** Runs until nothing is left to happen; `check` is called after each step. */
  async run(check: () => void, mostSteps: number): Promise<void> {
    await this.#settle();
    for (let event = this.#next(); event !== undefined; event = this.#next()) {
      if (event.cancelled) continue;
      if (event.mine && event.time < this.#blockedUntil) {
        event.time = this.#blockedUntil;
        this.#push(event);
        continue;
      }
      if (++this.steps > mostSteps) throw new Error(`No end after ${mostSteps} steps`);
      this.now = event.time;
      event.act();
      await this.#settle();
      check();
    }
  }

  /** Lets time pass without promises, until something is so, or the time has come; whether it is so. */
  pass(until: number, isSo: () => boolean, mostSteps: number): boolean {
    while (!isSo()) {
      const event = this.#next();
      if (event === undefined || event.time > until) {
        if (event !== undefined) this.#push(event);
        if (until < Infinity) this.now = Math.max(this.now, until);
        return isSo();
      }
      if (event.cancelled) continue;
      if (++this.steps > mostSteps) throw new Error(`No end after ${mostSteps} steps`);
      this.now = event.time;
      event.act();
    }
    return true;
  }

  async #settle(): Promise<void> {
    for (;;) {
      for (let i = 0; i < TURNS; i++) await undefined;
      if (this.#ticks.length === 0) return;
      for (const tick of this.#ticks.splice(0)) tick();
    }
  }

  #add(milliseconds: number, rank: 0 | 1, mine: boolean, act: () => void): Event {
    const event = { time: this.now + milliseconds, rank, order: this.#order++, mine, act, cancelled: false };
    this.#push(event);
    return event;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    for (let up = at - 1 >> 1; at > 0 && before(event, heap[up]!); at = up, up = at - 1 >> 1) heap[at] = heap[up]!;
    heap[at] = event;
  }

  #next(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && before(heap[down + 1]!, heap[down]!)) down++;
      if (!before(heap[down]!, last)) break;
      heap[at] = heap[down]!;
      at = down;
    }
    heap[at] = last;
    return first;
  }
}

function before(a: Event, b: Event): boolean {
  return a.time !== b.time ? a.time < b.time : a.rank !== b.rank ? a.rank < b.rank : a.order < b.order;
}
