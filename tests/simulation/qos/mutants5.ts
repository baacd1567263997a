/** Mistakes with what version 5 has besides. */
import type { Mutant } from "../mutants.ts";

const flight = "src/session/flight.ts";
const publisher = "src/session/publisher.ts";
const receiver = "src/session/receiver.ts";
const outgoing = "src/session/outgoing.ts";
const connection = "src/session/connection.ts";
const session = "src/session/session.ts";
const attempts = "src/session/attempts.ts";
const aliases = "src/protocol/aliases.ts";

const WINDOW = "if (qos1 + qos2 >= Math.min(maxInflight, this.#receiveMaximum)) return undefined;";
const STALE = "return outgoing.due <= now && isUnsent(outgoing);";
const PUBLISHED = "const { topic, message, flags, expiry, properties } = publication, shelf = this.#shelf;";

const mistakes: readonly Mutant[] = [
  // ---- packet identifiers that are unknown
  {
    mistake: "PUBREL does not say that the identifier of PUBREC is unknown",
    file: flight,
    find: "this.#version === 4 || this.#received.has(packetId) ? 0 : UNKNOWN_ID;",
    replace: "this.#received.has(packetId) ? 0 : 0 * UNKNOWN_ID;",
  },
  {
    mistake: "PUBREL says that the identifier of a message is unknown",
    file: flight,
    find: "this.#version === 4 || this.#received.has(packetId) ? 0 : UNKNOWN_ID;",
    replace: "this.#version === 4 ? 0 : UNKNOWN_ID;",
  },
  {
    mistake: "who has taken a session over says that the identifiers which it frees are unknown",
    file: "src/session/freed_ids.ts",
    find: "      this.#output.acknowledge(PUBREL, packetId);\n",
    replace: "      this.#output.acknowledge(PUBREL, packetId, 146);\n",
  },
  {
    mistake: "PUBCOMP does not say that the identifier of PUBREL is unknown",
    file: receiver,
    find: "this.#recorded.has(packetId) ? 0 : this.#unknown;",
    replace: "0;",
  },
  {
    mistake: "PUBCOMP says that the identifier of a message is unknown, as it was asked too late",
    file: receiver,
    find:
      "    const code = this.#recorded.has(packetId) ? 0 : this.#unknown;\n    if (this.#recorded.delete(packetId))",
    replace:
      "    const wasRecorded = this.#recorded.delete(packetId);\n    const code = this.#recorded.has(packetId) ? 0 : this.#unknown;\n    if (wasRecorded)",
  },

  // ---- what the broker takes
  {
    mistake: "Receive Maximum is no bound",
    file: flight,
    find: WINDOW,
    replace: "if (qos1 + qos2 >= maxInflight) return undefined;",
  },
  {
    mistake: "Receive Maximum is no bound for what is sent again",
    file: flight,
    find: WINDOW,
    replace: "const isAgain = (this.#waiting[1].firstWaiting(now, this.#giveUpStale)?.packetId ?? 0) > 0;\n" +
      "    if (qos1 + qos2 >= Math.min(maxInflight, isAgain ? Infinity : this.#receiveMaximum)) return undefined;",
  },
  {
    mistake: "PUBREC leaves room in the Receive Maximum",
    file: flight,
    find: WINDOW,
    replace: "if (qos1 + qos2 >= maxInflight || qos1 + this.#sending[2] >= this.#receiveMaximum) return undefined;",
  },
  {
    mistake: "a packet identifier is taken before the limits are checked",
    file: flight,
    find: PUBLISHED,
    replace: `${PUBLISHED}\n    this.#ids.next();`,
  },
  {
    mistake: "what waits is sent although the new connection's broker does not take it",
    file: flight,
    find: "if (isLimited(limits)) this.#refuse(limits);",
    replace: "",
  },
  {
    mistake: "the broker keeps the packet identifier of a message that the new connection's limits forbid",
    file: flight,
    find: "if (qos === 2 && packetId > 0) this.#release(packetId);",
    replace: "",
  },
  {
    mistake: "the packet identifier of such a message is another one's before the broker has freed it",
    file: flight,
    find: "    outgoing.refusal = error;\n    this.#receive(outgoing);",
    replace: "    this.#end(outgoing, error);",
  },
  {
    mistake: "maximum QoS and retain outlive their connection",
    file: publisher,
    find: "    this.#limits = undefined;\n    this.#forbidden = 0;\n",
    replace: "",
  },
  {
    mistake: "the broker's maximum packet size outlives its connection",
    file: flight,
    find: "    this.#shelf.limit(Infinity);\n",
    replace: "",
  },

  // ---- topic aliases
  {
    mistake: "topic aliases are over the broker's maximum",
    file: connection,
    find: "const most = Math.min(topicAliases, this.#settings.topicAliases);",
    replace: "const most = topicAliases > 0 ? this.#settings.topicAliases : 0;",
  },
  {
    mistake: "topic aliases are kept over a reconnect",
    file: session,
    find: "bytes = connection.aliases?.replace(bytes) ?? bytes;",
    replace: "const owner = this as { kept?: typeof connection.aliases };\n" +
      "        bytes = (owner.kept ??= connection.aliases)?.replace(bytes) ?? bytes;",
  },
  {
    mistake: "a topic alias is used before it was sent",
    file: aliases,
    find: "const head = known === undefined ? packet.subarray(name, nameEnd) : [0, 0];",
    replace: "const head = [0, 0];",
  },
  {
    mistake: "a topic alias makes a packet larger than the broker takes",
    file: aliases,
    find: "if (1 + lengthSize(remaining) + remaining > this.#largest) return undefined;",
    replace: "",
  },
  {
    mistake: "a topic alias goes on standing for the name that it was taken from",
    file: aliases,
    find: "if (known === undefined) this.#forget(alias);",
    replace: "",
  },

  // ---- expiry
  { mistake: "the expiry is not checked", file: outgoing, find: STALE, replace: "return now < 0;" },
  {
    mistake: "a message that was sent gets stale",
    file: outgoing,
    find: STALE,
    replace: "return outgoing.due <= now && outgoing.state === WAITING;",
  },
  {
    mistake: "the expiry is not reduced",
    file: flight,
    find: "    this.#reduce(next, now);\n    if (isNew)",
    replace: "    if (isNew)",
  },
  {
    mistake: "the expiry becomes 0",
    file: flight,
    find: "Math.max(Math.ceil((next.due - now) / 1000), 1)",
    replace: "Math.max(Math.ceil((next.due - now) / 1000), 0)",
  },

  // ---- reason codes
  {
    mistake: "PUBREC with an error code is answered with PUBREL",
    file: flight,
    find: "if (outgoing !== undefined && isRefused) return",
    replace: "if (outgoing !== undefined && isRefused && type === PUBREC) this.#release(packetId);\n" +
      "    if (outgoing !== undefined && isRefused) return",
  },
  {
    mistake: "a message that the broker refuses is acknowledged",
    file: flight,
    find: "if (outgoing !== undefined && isRefused) return",
    replace: "if (outgoing !== undefined && code < 0) return",
  },
  {
    mistake: "the reason code of PUBREC is forgotten",
    file: flight,
    find: "if (outgoing !== undefined && type === PUBREC) outgoing.code = code;",
    replace: "",
  },
  {
    mistake: "131 is not sent where a handler has failed",
    file: receiver,
    find: "this.#failure = version === 5 ? FAILED : 0;",
    replace: "this.#failure = 0;",
  },
  {
    mistake: "PUBREC 131 does not free the packet identifier",
    file: receiver,
    find: "if (this.#recorded.has(packetId) || failed && this.#failure > 0) return;",
    replace: "if (this.#recorded.has(packetId)) return;",
  },
  {
    mistake: "PUBREC 131 leaves no room in the client's Receive Maximum",
    file: receiver,
    find: "if (qos === 1 || code > 0) this.#open.delete(packetId);",
    replace: "if (qos === 1) this.#open.delete(packetId);",
  },
  {
    mistake: "what was not acknowledged counts on the next connection, too",
    file: receiver,
    find: "    this.#open.clear();\n",
    replace: "",
  },

  // ---- sessions
  {
    mistake: "CONNECT does not say how long the session is kept",
    file: connection,
    find: "      sessionExpiry,\n      receiveMaximum,",
    replace: "      receiveMaximum,",
  },
  {
    mistake: "two clients with one session push each other out for ever",
    file: attempts,
    find: "return this.#wasTakenOver && isAgain;",
    replace: "return false;",
  },
  {
    mistake: "a session that is taken over twice ends the client, however long that takes",
    file: attempts,
    find: "const isAgain = this.#wasTakenOver && lasted < (this.#settings.reconnect?.stableAfter ?? 0);",
    replace: "const isAgain = this.#wasTakenOver;",
  },
];

/** All of them, for the histories of QoS 1 and 2. */
export const qosMutants5: readonly Mutant[] = mistakes.map((mutant) => ({ ...mutant, kind: "qos" }));
