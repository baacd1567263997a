/** Plays histories; the first that breaks an invariant is played again and printed. */
import { playBlocking } from "./blocking.ts";
import { playDurable } from "./durable/history.ts";
import { playHints } from "./hints.ts";
import { makeBareClient, makeLoopClient, play } from "./history.ts";
import { type Library, library } from "./library.ts";
import type { Outcome } from "./outcome.ts";
import { playQos } from "./qos/history.ts";

/**
 * What is played: the client of the event loop, the bare session, the blocking client, QoS 1 and 2, a session in a store, or
 * hints that the way to the broker has changed.
 */
export type Kind = "loop" | "bare" | "blocking" | "qos" | "durable" | "hints";
export const kinds: readonly Kind[] = ["loop", "bare", "blocking", "qos", "durable", "hints"];

type Log = (line: string) => void;

const players: Record<Kind, (seed: number, using: Library, log?: Log) => Promise<Outcome> | Outcome> = {
  loop: (seed, using, log) => play(seed, makeLoopClient, using, log),
  bare: (seed, using, log) => play(seed, makeBareClient, using, log),
  blocking: playBlocking,
  qos: playQos,
  durable: playDurable,
  hints: playHints,
};

/** Plays `count` histories from a seed on; throws with the history of the first that fails. */
export async function simulate(
  from: number,
  count: number,
  { using = library, kind = "loop", each = () => {} }: {
    using?: Library;
    kind?: Kind;
    each?: (outcome: Outcome) => void;
  } = {},
): Promise<void> {
  const once = async (seed: number, log?: Log) => await players[kind](seed, using, log);
  for (let seed = from; seed < from + count; seed++) {
    try {
      each(await once(seed));
    } catch (error) {
      const lines: string[] = [];
      const again = await once(seed, (line) => lines.push(line)).then(() => "nothing", (error) => error.message);
      const message = (error as Error).message;
      throw new Error(
        `Seed ${seed}: ${message}${again === message ? "" : `, and then ${again}`}\n${
          lines.slice(-3000).join("\n")
        }\n` +
          `Again: deno run -A tests/simulation/main.ts --kind ${kind} --from ${seed} --seeds 1\n${
            (error as Error).stack
          }`,
      );
    }
  }
}
