/** Time, as the client sees it.
 * @module */

/** What a client knows of time; tests have their own. */
export interface Clock {
  /** Milliseconds. */
  now(): number;
  /** Milliseconds since 1970. */
  wall(): number;
  /** Calls back once, and returns what calls it off. */
  wait(callback: () => void, milliseconds: number): () => void;
  /** Calls back after the code that runs now, and after its microtasks. */
  tick(callback: () => void): void;
  /** 0 to 1. */
  random(): number;
}
