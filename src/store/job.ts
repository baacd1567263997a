/** Work in portions: at one go where the caller blocks, otherwise with turns of the event loop in between.
 * @module */

import { nextTurn } from "../runtime.ts";

/** What it yields is waited for: a promise, or a turn of the event loop. One that is to run at one go yields no promise. */
export type Job<T> = Generator<Promise<void> | undefined, T, void>;

/** Does it at one go. */
export function runNow<T>(job: Job<T>): T {
  for (;;) {
    const step = job.next();
    if (step.done) return step.value;
  }
}

/** Does it portion by portion. */
export async function runSoon<T>(job: Job<T>): Promise<T> {
  let step = job.next();
  while (!step.done) {
    try {
      await (step.value ?? new Promise<void>((resolve) => nextTurn(resolve)));
    } catch (error) {
      step = job.throw(error);
      continue;
    }
    step = job.next();
  }
  return step.value;
}
