/** Plays histories; the first that breaks an invariant is played again and printed. */
import { makeBareClient, makeLoopClient, type Outcome, play } from "./history.ts";
import { type Library, library } from "./library.ts";

/** What is played: the client of the event loop, or the bare session. */
export type Kind = "loop" | "bare";
export const kinds: readonly Kind[] = ["loop", "bare"];

const makers = { loop: makeLoopClient, bare: makeBareClient };

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
  const once = (seed: number, log?: (line: string) => void) => play(seed, makers[kind], using, log);
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
