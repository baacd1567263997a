/** Standard output that is in the pipe when a call returns, for processes that are killed. */
import { writeSync } from "node:fs";

const encoder = new TextEncoder(), pause = new Int32Array(new SharedArrayBuffer(4));

/** Writes all of a text, however long the reader takes: a pipe that is full takes a part of it, or nothing yet. */
export function writeNow(text: string): void {
  for (let rest = encoder.encode(text); rest.length > 0;) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if ((error as { code?: string }).code !== "EAGAIN") throw error;
      Atomics.wait(pause, 0, 0, 1);
    }
  }
}
