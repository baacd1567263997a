/** How a history ends: with a step that broke something, or with what it had in it. */

/** What a step broke. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** What a history had in it, so that a test can tell that they have all. */
export interface Outcome {
  steps: number;
  code: string | number;
  connections: number;
  faults: string[];
  published: number;
  delivered: number;
  /** What onstatus told, and whether the end surfaced. */
  told: string[];
}
