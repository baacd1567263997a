/** Mistakes to make in a copy of the sources: the simulation must find each of them. */
export interface Mutant {
  /** What is wrong then. */
  readonly mistake: string;
  readonly file: string;
  /** A piece of the source, which must be there, and what takes its place. */
  readonly find: string;
  readonly replace: string;
}

export const mutants: readonly Mutant[] = [
  {
    mistake: "a request is not rejected at the end: its promise never settles",
    file: "src/client/loop_client.ts",
    find: "this.#requests.end(reason);",
    replace: "",
  },
  {
    mistake: "a publish() that waits for room never goes on",
    file: "src/client/loop_client.ts",
    find: '    this.#makeRoom();\n    if (this.#state !== "leaving") return;',
    replace: '    if (this.#state !== "leaving") return;',
  },
  {
    mistake: "a second write while one is in flight",
    file: "src/client/loop_client.ts",
    find: "if (transport.write(bytes) && link === this.#link)",
    replace: "if (!transport.write(bytes) || link === this.#link)",
  },
  {
    mistake: "an attempt that was given up while the password was asked goes on",
    file: "src/client/loop_client.ts",
    find: "if (signal.aborted) return;\n    transport.start",
    replace: "transport.start",
  },
  {
    mistake: "an attempt that was given up leaves its connection open",
    file: "src/client/loop_client.ts",
    find: "if (signal.aborted) return transport.close();",
    replace: "if (signal.aborted) return;",
  },
  {
    mistake: "disconnect() does not wait for what was accepted",
    file: "src/client/loop_client.ts",
    find: "let bytes = this.#session.output.take();",
    replace: 'let bytes = this.#state === "closing" ? undefined : this.#session.output.take();',
  },
  {
    mistake: "a full iterator does not stop the reading",
    file: "src/client/loop_client.ts",
    find: "return this.#fullQueues === 0 ||",
    replace: "return true ||",
  },
  {
    mistake: "reading does not go on when an iterator has room again",
    file: "src/client/loop_client.ts",
    find: "link.transport?.resume();",
    replace: "",
  },
  {
    mistake: "a timer that rings late gives its verdict at once",
    file: "src/client/loop_client.ts",
    find: "judged = this.#judged;",
    replace: "judged = now;",
  },
  {
    mistake: "PINGREQ is never sent",
    file: "src/session/keepalive.ts",
    find: "if (now < this.#lastSent + this.#after && !silent) return false;",
    replace: "if (now > 0) return false;",
  },
  {
    mistake: "subscriptions are not made again after the connection was lost",
    file: "src/session/session.ts",
    find: "if (forgotten.length === 0) return undefined;",
    replace: "if (forgotten.length >= 0) return undefined;",
  },
  {
    mistake: "acknowledgements of the old connection go to the next one",
    file: "src/protocol/output.ts",
    find: "if (block[start]! >> 4 === PUBLISH) this.add",
    replace: "this.add",
  },
  {
    mistake: "pings are judged while a full iterator stops the reading",
    file: "src/client/loop_client.ts",
    find: "this.#session.tick(now, this.#fullQueues === 0);",
    replace: "this.#session.tick(now, true);",
  },
  {
    mistake: "a QoS 2 message is delivered again when it is sent again",
    file: "src/session/session.ts",
    find: "return known ? undefined : message;",
    replace: "return known ? message : message;",
  },
  {
    mistake: "a block is filled again while a part of it waits",
    file: "src/protocol/output.ts",
    find: "!this.#full.some((waiting) => waiting.buffer === buffer)",
    replace: "true",
  },
  {
    mistake: "the signal keeps its listener after the end",
    file: "src/client/loop_client.ts",
    find: 'this.#settings.signal?.removeEventListener("abort", this.#aborted);',
    replace: "",
  },
  {
    mistake: "a lost message is nobody's to know after disconnect()",
    file: "src/client/loop_client.ts",
    find: "if (unsent === 0) this.#left?.resolve();",
    replace: "if (unsent >= 0) this.#left?.resolve();",
  },
];
