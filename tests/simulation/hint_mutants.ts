/** Mistakes with hints that the way to the broker has changed. */
import type { Mutant } from "./mutants.ts";

const lifecycle = "src/session/lifecycle.ts";
const client = "src/client/loop_client.ts";
const kind = "hints";

export const hintMutants: readonly Mutant[] = [
  {
    mistake: "a hint does not wake a client that waits for its next attempt",
    file: lifecycle,
    find: "      this.#deadline = now;\n      return;\n    }\n    this.#hintedAt = now;",
    replace: "      return;\n    }\n    this.#hintedAt = now;",
    kind,
  },
  {
    mistake: "a hint begins an attempt while the program is asked when that is",
    file: lifecycle,
    find: 'if (this.#state === "waiting" && this.#deadline < Infinity) {',
    replace: 'if (this.#state === "waiting") {',
    kind,
  },
  {
    mistake: "a hint begins an attempt although one is under way",
    file: lifecycle,
    find: 'if (this.#state === "waiting" && this.#deadline < Infinity) {',
    replace: "if (!this.isOpen && this.#deadline < Infinity) {",
    kind,
  },
  {
    mistake: "a hint does not have an open connection answer",
    file: lifecycle,
    find: "if (this.isOpen) this.#connection!.probe();",
    replace: "",
    kind,
  },
  {
    mistake: "a hint has PINGREQ sent although the keep alive is off",
    file: "src/session/keepalive.ts",
    find: "if (this.#after < Infinity) this.#lastSent = -Infinity;",
    replace: "this.#after = Math.min(this.#after, 100_000);\n    this.#lastSent = -Infinity;",
    kind,
  },
  {
    mistake: "a connection that is lost soon after a hint waits as usual",
    file: lifecycle,
    find: "    this.#hintedAt = now;\n",
    replace: "",
    kind,
  },
  {
    mistake: "a hint counts for ever",
    file: lifecycle,
    find: "const delay = this.now - this.#hintedAt < HINTED ? 0 : planned;",
    replace: "const delay = this.#hintedAt > -Infinity ? 0 : planned;",
    kind,
  },
  {
    mistake: "one hint leads to attempts without end",
    file: lifecycle,
    find: "    this.#hintedAt = -Infinity; // one hint, one attempt\n",
    replace: "",
    kind,
  },
  {
    mistake: "what a hint has made due waits for the timer that was set before",
    file: client,
    find: "      session.wake(this.#clock.now());\n      this.#loop.schedule();\n",
    replace: "      session.wake(this.#clock.now());\n",
    kind,
  },
  {
    mistake: "hints are heard after the end",
    file: client,
    find: "    this.#stopHints?.();\n",
    replace: "",
    kind,
  },
];
