/** What lets others have their turn while a connection brings more and more.
 * @module */

import { nextTurn } from "../runtime.ts";

/**
 * Runtimes read again and again while there is something, and no timer rings meanwhile: with a slow
 * callback 35 s were seen on Deno, 20 s on Node. After so many milliseconds of it the others have their turn.
 */
const LONGEST_TURN = 20;
/** A shorter read has emptied the socket, so other events have had their turn: the clock is not read for it. */
const LONG_READ = 4096;

/** How long reads have left no turn to others. */
export class Turn {
  /** When this turn's first long read came; 0 before it. */
  #began = 0;

  /** So many bytes have been read. */
  begin(length: number): void {
    if (length < LONG_READ || this.#began !== 0) return;
    this.#began = performance.now();
    nextTurn(() => this.#began = 0);
  }

  /** Whether others should have theirs, after a read of so many bytes has been handled. */
  isOver(length: number): boolean {
    return length >= LONG_READ && performance.now() - this.#began >= LONGEST_TURN;
  }
}
