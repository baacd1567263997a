/**
 * Clients that lose one broker together, in virtual time: when their attempts arrive, and when all are back.
 *
 * An attempt fails at once when the broker is down or has taken all it can in this second. That is the worst case: where
 * nothing answers, each attempt takes up to `timeout` besides, and fewer arrive.
 */
import type { ReconnectOptions } from "../../mod.ts";
import { parseSettings } from "../../src/client/settings.ts";
import { Retry } from "../../src/session/retry.ts";
import type { Random } from "../support/random.ts";

/** How long a client waits before its next attempt: what {@linkcode Retry} does, and those it is compared with. */
export interface Waits {
  delay(lasted: number | undefined, chance: number): number | undefined;
}

export interface Storm {
  clients: number;
  /** Milliseconds for which the broker is down. */
  down: number;
  /** So many connections the broker accepts in each second. */
  capacity: number;
  random: Random;
  /** What each client waits by; by default as the library does with `reconnect: true`. */
  waits?: () => Waits;
}

export interface Course {
  /** Attempts that arrived in each second since the connections were lost. */
  arrivals: number[];
  /** Those of them that the broker accepted. */
  accepted: number[];
  /** Milliseconds until the last client was back. */
  end: number;
  /** Attempts in all, and the most that one client needed. */
  attempts: number;
  most: number;
}

/** The library's defaults. */
export const defaults: Required<{ [Name in keyof ReconnectOptions]: number }> = parseSettings({ reconnect: true })
  .reconnect!;

/** Milliseconds in which the order of attempts does not matter. */
const SLOT = 10;

/** Lets all clients lose a connection that was stable, and goes on until the last one is back. */
export function simulate(storm: Storm): Course {
  const { clients, down, capacity, random, waits = () => new Retry(defaults) } = storm;
  const course: Course = { arrivals: [], accepted: [], end: 0, attempts: 0, most: 0 };
  const states = Array.from({ length: clients }, waits);
  // Retry makes no attempt for a client that was never accepted: these were, for a long time.
  const dueAt = Float64Array.from(states, (state) => state.delay(Infinity, random.next())!);
  const failures = new Uint32Array(clients);
  const slots = new Map<number, number[]>();
  const enter = (client: number) => {
    const slot = Math.floor(dueAt[client]! / SLOT);
    const waiting = slots.get(slot);
    if (waiting) waiting.push(client);
    else slots.set(slot, [client]);
  };
  for (let client = 0; client < clients; client++) enter(client);
  for (let slot = 0; slots.size > 0; slot++) {
    const second = Math.floor(slot * SLOT / 1000);
    if (course.arrivals.length === second) course.arrivals.push(0), course.accepted.push(0);
    // One whose delay is shorter than a slot comes again in this one: the list grows while it is gone through.
    for (const client of slots.get(slot) ?? []) {
      const now = dueAt[client]!;
      course.attempts++;
      course.arrivals[second]!++;
      course.most = Math.max(course.most, failures[client]! + 1);
      if (now >= down && course.accepted[second]! < capacity) {
        course.accepted[second]!++;
        course.end = Math.max(course.end, now);
        continue;
      }
      failures[client]!++;
      const delay = states[client]!.delay(undefined, random.next());
      if (delay === undefined) throw new Error(`Client ${client} has given up after ${failures[client]} attempts`);
      dueAt[client] = now + delay;
      enter(client);
    }
    slots.delete(slot);
  }
  return course;
}

/** A second, and how many attempts it had. */
export interface Peak {
  second: number;
  arrivals: number;
}

/** The second with the most arrivals, from one on. */
export function peak({ arrivals }: Course, from = 0): Peak {
  let found: Peak = { second: from, arrivals: 0 };
  arrivals.forEach((count, second) => {
    if (second >= from && count > found.arrivals) found = { second, arrivals: count };
  });
  return found;
}

/**
 * Attempts of each client to be expected in the first `minDelay`, when all fail. The sum of k delays of up to w1, w2, ...
 * (in units of `minDelay`, each at least 1) is below 1 with a chance of 1 / (k! w1 w2 ...).
 */
export function firstAttempts({ minDelay, maxDelay }: { minDelay: number; maxDelay: number }): number {
  let chance = 1, sum = 0;
  for (let k = 1; k < 30; k++) {
    chance /= k * Math.min(maxDelay / minDelay, 2 ** (k - 1));
    sum += chance;
  }
  return sum;
}
