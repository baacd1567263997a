/** Floods into handlers that wait: the broker waits, too, and memory does not grow. */
import { test } from "node:test";
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { runtime } from "../support/spawn.ts";
import { measureWaiting } from "./bounds.ts";

/** Mebibytes that a runtime takes for itself while it works: blocks not collected yet, compiled code. */
const NOISE = 60;
/** Bun collects what it has read late as long as a program blocks: 42 to 60 were seen. */
const NOISE_OF_BLOCKING_BUN = 80;

interface Waited {
  handled: number;
  unsettled: number;
  stalled: boolean;
  /** Of the program that blocks. */
  published?: number;
  code?: string;
}

const modes = ["connect", "connectWorker", "a module", "a module's caller", "connectSync"];

test("bounds: 192 MB into handlers that wait 2 ms, 3 s and for ever, in each mode", async () => {
  for (const mode of modes) {
    await Promise.all(["2", "3000", "never"].map(async (what) => {
      const { grown, result, sent } = await measureWaiting(mode, what), told = `${mode}, ${what}`;
      const { handled, unsettled, stalled, published, code } = result as Waited;
      if (what === "2") assertGreater(handled, 499, told);
      if (what === "3000") assertGreater(handled, 0, told);
      if (what === "never" && mode === "connectSync") {
        // It takes no message, and publishes, which goes on as long as the broker takes that; it cannot flush().
        assertEquals([published, code], [20_000, "overflow"], told);
      } else if (what === "never") {
        assertEquals([handled, unsettled, stalled], [0, 1000, true], told);
      }
      assertLess(sent, 48 << 20, `${told}: 192 MB are held back`);
      const isBlockingBun = runtime === "bun" && mode === "connectSync";
      assertLess(grown, isBlockingBun ? NOISE_OF_BLOCKING_BUN : NOISE, told);
    }));
  }
});

test("bounds: of each 64 KiB of 192 MB a small message is kept, and not the other messages beside it", async () => {
  await Promise.all(["connect", "connectWorker", "a module's caller"].map(async (mode) => {
    const { grown, result } = await measureWaiting(mode, "survivors");
    assertGreater((result as Waited).unsettled, 2999, mode);
    assertLess(grown, 2 * NOISE, mode); // all of the flood passes; the blocks would be 192 MiB
  }));
});
