/** Mistakes with a session in a store. */
import type { Mutant } from "../mutants.ts";
import { subscribingMutants } from "./subscribing_mutants.ts";

const flight = "src/session/flight.ts";
const journal = "src/session/journal.ts";
const ledger = "src/session/ledger.ts";
const receiver = "src/session/receiver.ts";
const restored = "src/session/restored.ts";
const parts = "src/session/parts.ts";
const lifecycle = "src/session/lifecycle.ts";
const deadlines = "src/session/deadlines.ts";

const mistakes: readonly Mutant[] = [
  // ---- what is written
  {
    mistake: "the packet identifier of a message is not written down",
    file: flight,
    find: "      this.#journal.change(SENT_RECORD, next.number, packetId);\n",
    replace: "",
  },
  {
    mistake: "PUBREC is not written down",
    file: flight,
    find: "    this.#journal.change(RECEIVED_RECORD, outgoing.number);\n",
    replace: "",
  },
  {
    mistake: "that a message is done is not written down",
    file: flight,
    find: "    this.#journal.change(DONE_RECORD, number);\n",
    replace: "",
  },
  {
    mistake: "that the broker has forgotten the session is not written down",
    file: ledger,
    find: "this.#parts.journal.change(CONNECTED, sessionPresent ? 1 : 0);",
    replace: "if (sessionPresent) this.#parts.journal.change(CONNECTED, 1);",
  },
  {
    mistake: "a settled message of QoS 2 is not written down",
    file: receiver,
    find: "    this.#journal.change(RECORDED, packetId);\n",
    replace: "",
  },
  {
    mistake: "PUBREL is not written down",
    file: receiver,
    find: "if (this.#recorded.delete(packetId)) this.#journal.change(RELEASED, packetId);",
    replace: "this.#recorded.delete(packetId);",
  },
  {
    mistake: "the client identifier is not written down",
    file: ledger,
    find: "    if (restored?.id === undefined) journal.client(id);\n",
    replace: "",
  },

  // ---- what waits for it
  {
    mistake: "PUBLISH goes out before it is kept",
    file: flight,
    find: "if (ready.length > 0) this.#journal.afterwards(() => this.#handOver(ready));",
    replace: "if (ready.length > 0) this.#handOver(ready);",
  },
  {
    mistake: "PUBREL goes out before PUBREC is kept",
    file: flight,
    find: "this.#journal.afterwards(() => this.#output.acknowledge(PUBREL, packetId, code));",
    replace: "this.#output.acknowledge(PUBREL, packetId, code);",
  },
  {
    mistake: "PUBREC goes out before it is kept that the message is settled",
    file: receiver,
    find: "else this.#journal.afterwards(() => this.#output.acknowledge(PUBREC, packetId, code));",
    replace: "else this.#output.acknowledge(PUBREC, packetId, code);",
  },
  {
    mistake: "PUBCOMP goes out before PUBREL is kept",
    file: receiver,
    find: "this.#journal.afterwards(() => this.#output.acknowledge(PUBCOMP, packetId, code));",
    replace: "this.#output.acknowledge(PUBCOMP, packetId, code);",
  },
  {
    mistake: "what waits for the next flush goes out after the one under way",
    file: journal,
    find: "flush: this.#isDirty ? this.#flushes + 1 : this.#flushes, act",
    replace: "flush: this.#flushes, act",
  },
  {
    mistake: "what waits for the flush under way waits for one more",
    file: journal,
    find: "this.#held.first.flush <= this.#flushes)",
    replace: "this.#held.first.flush < this.#flushes)",
  },
  {
    mistake: "what was held back goes to the next connection",
    file: journal,
    find: "    this.#held.clear();\n",
    replace: "",
  },
  {
    mistake: "DISCONNECT goes out before all is kept",
    file: lifecycle,
    find: 'this.#state !== "closing" || this.#parts.ledger.isBusy',
    replace: 'this.#state !== "closing"',
  },
  {
    mistake: "until: stored is told when the message is accepted",
    file: ledger,
    find: "outgoing.untilStored = untilStored;",
    replace: "if (untilStored) flight.settle(outgoing, undefined);",
  },
  {
    mistake: "until: stored is told when the message is acknowledged",
    file: ledger,
    find: "if (outgoing?.untilStored) this.#parts.flight.settle(outgoing, undefined);",
    replace: "",
  },

  // ---- flushes that fail
  {
    mistake: "a flush that has failed is not tried again",
    file: journal,
    find: "    this.#retryAt = now + RETRY;\n",
    replace: "    this.#isDirty = now < 0;\n",
  },
  {
    mistake: "a flush that has failed is not tried again in time",
    file: deadlines,
    find: "    if (journal.due <= by) journal.retry();\n",
    replace: "",
  },
  {
    mistake: "messages that could not be kept are not rejected",
    file: journal,
    find: "    keeping.notKept(accepted, error);\n    this.#forget(new Set(accepted));\n",
    replace: "",
  },
  {
    mistake: "messages that could not be kept are told as stored",
    file: journal,
    find: "    keeping.notKept(accepted, error);\n",
    replace: "    keeping.kept(accepted);\n",
  },
  {
    mistake: "messages that could not be kept are sent all the same",
    file: flight,
    find: "ready.filter(({ state }) => state === SENT)",
    replace: "ready",
  },
  {
    mistake: "messages of the next flush are rejected, too",
    file: journal,
    find: "const accepted = this.#accepted.splice(0, this.#flushedAccepted);",
    replace: "const accepted = this.#accepted.splice(0);",
  },
  {
    mistake: "the changes of a flush that has failed are forgotten",
    file: journal,
    find: "    this.#retryAt = now + RETRY;\n",
    replace: "    this.#retryAt = now + RETRY;\n    this.#changes = this.#changes.slice(this.#flushedChanges);\n",
  },
  {
    mistake: "what is said of messages that could not be kept is written again and again",
    file: journal,
    find: "    this.#forget(new Set(accepted));\n",
    replace: "",
  },
  {
    mistake: "a run goes on with what does not follow it",
    file: journal,
    find: "changes[last + 1]! + count === of &&",
    replace: "changes[last + 1]! < of &&",
  },
  {
    mistake: "what comes during a flush is not written",
    file: journal,
    find: "    this.#changes = this.#changes.slice(this.#flushedChanges);\n",
    replace: "    this.#changes = [];\n",
  },
  {
    mistake: "what comes during a flush goes on with a run that is being flushed",
    file: journal,
    find: "const count = last >= this.#flushedChanges &&",
    replace: "const count = last >= 0 &&",
  },
  {
    mistake: "of a run, only the first message has a packet identifier",
    file: restored,
    find: "for (const [i, number] of run(view).entries()) this.#send(number, packetId + i);",
    replace: "this.#send(run(view)[0]!, packetId);",
  },

  {
    mistake: "the client identifier is forgotten with a flush that has failed",
    file: journal,
    find: "    if (this.#client !== undefined) this.#append(encodeClient(this.#client));\n",
    replace: "",
  },

  // ---- what the next process finds
  {
    mistake: "messages are restored in another order",
    file: flight,
    find: "const inOrder = [...messages.values()].sort((one, other) => one.number - other.number);",
    replace: "const inOrder = [...messages.values()].sort((one, other) => other.number - one.number);",
  },
  {
    mistake: "the order of the PUBRECs is not restored",
    file: flight,
    find: "    for (const number of received) {\n",
    replace: "    for (const number of [...received].reverse()) {\n",
  },
  {
    mistake: "what the broker has is sent again after a restart",
    file: flight,
    find: "      if (received.has(number)) continue;\n",
    replace: "",
  },
  {
    mistake: "restored packet identifiers are not in use",
    file: flight,
    find: "      if (packetId > 0) this.#sent.set(packetId, outgoing);\n      this.#waiting",
    replace: "      this.#waiting",
  },
  {
    mistake: "messages are sent with other packet identifiers after a restart",
    file: flight,
    find: "      outgoing.packetId = packetId;\n      found",
    replace: "      found",
  },
  {
    mistake: "recorded packet identifiers are not restored",
    file: parts,
    find: "new Receiver(settings, { output, events, journal }, restored?.recorded);",
    replace: "new Receiver(settings, { output, events, journal });",
  },
  {
    mistake: "numbers of messages begin anew with each process",
    file: flight,
    find: "    this.#accepted = accepted;\n",
    replace: "    this.#accepted = accepted - accepted;\n",
  },
  {
    mistake: "when a message gets stale is not restored",
    file: flight,
    find: "this.#accept(this.#shelf.place(packet), number, due + offset);",
    replace: "this.#accept(this.#shelf.place(packet), number, Infinity + offset);",
  },
  {
    mistake: "when a message gets stale is restored by another clock",
    file: flight,
    find: "this.#accept(this.#shelf.place(packet), number, due + offset);",
    replace: "this.#accept(this.#shelf.place(packet), number, due + 0 * offset);",
  },
  {
    mistake: "a client that was accepted before counts as new after a restart",
    file: restored,
    find: "      this.wasConnected = true;\n",
    replace: "",
  },
  {
    mistake: "who has taken a session over does not free identifiers after a restart",
    file: restored,
    find: "      this.isTakenOver = record[1] === 1;\n",
    replace: "",
  },
  {
    mistake: "a lost session is not lost after a restart",
    file: restored,
    find: "      if (!this.isTakenOver) this.#forget();\n",
    replace: "",
  },
  {
    mistake: "recorded identifiers of a lost session are restored",
    file: restored,
    find: "    this.recorded.clear();\n",
    replace: "",
  },
  {
    mistake: "restored messages that are given up are not told",
    file: flight,
    find: "if (call === undefined) return error && this.#tell(outgoing, error);",
    replace: "if (call === undefined) return;",
  },

  {
    mistake: "two messages may have one packet identifier after a damage",
    file: restored,
    find: "      other.packetId = 0;\n",
    replace: "",
  },
  {
    mistake: "packet identifiers that a damaged log has lost are not freed",
    file: ledger,
    find: "    if (problems.length === 0 || !this.#isKnown) return;\n",
    replace: "    if (problems.length >= 0 || !this.#isKnown) return;\n",
    from: 8_000,
  },

  // ---- the log anew
  {
    mistake: "a replacement forgets who the client is",
    file: ledger,
    find: "    yield encodeClient(id);\n",
    replace: "",
  },
  {
    mistake: "a replacement forgets that the client was accepted",
    file: ledger,
    find: "const connected = this.#isKnown ? [this.#isTakenOver ? 1 : 0] : [];",
    replace: "const connected: number[] = [];",
  },
  {
    mistake: "a replacement forgets what was settled",
    file: ledger,
    find: "messages, [...receiver.recorded], ",
    replace: "messages, [], ",
  },
  {
    mistake: "a replacement forgets what the broker has",
    file: ledger,
    find: "      if (state === RECEIVED) yield journal.encodeChange(RECEIVED_RECORD, number);\n",
    replace: "",
  },
  {
    mistake: "a replacement forgets packet identifiers",
    file: ledger,
    find: "      if (packetId > 0) yield journal.encodeChange(SENT_RECORD, number, packetId);\n",
    replace: "",
  },
  {
    mistake: "a replacement has messages that are not kept yet, and never may be",
    file: ledger,
    find: "qos > 0 && !this.#unkept.has(number)",
    replace: "qos > 0 && number >= 0",
  },
  {
    mistake: "a replacement has when messages get stale by another clock",
    file: ledger,
    find: "[...receiver.recorded], journal.offset(now));",
    replace: "[...receiver.recorded], 0 * journal.offset(now));",
  },
  {
    mistake: "the size of the log is not reset",
    file: journal,
    find: "    this.#size = bytes + FRAME * records;\n",
    replace: "    this.#size += 0 * (bytes + FRAME * records);\n",
    from: 1_600,
  },
  {
    mistake: "the log is never replaced",
    file: journal,
    find: "return this.#log !== undefined && this.#size > 2 * (live + FRAME * records) + this.#log.slack;",
    replace: "return this.#size > 1e9 * (live + FRAME * records + 65_536);",
  },
  {
    mistake: "what a process found in the log is not of its size",
    file: parts,
    find: "new Journal(durable?.log, restored?.size ?? 0, ",
    replace: "new Journal(durable?.log, 0 * (restored?.size ?? 0), ",
  },

  // ---- what gets stale
  {
    mistake: "a stale message is sent",
    file: "src/session/queue.ts",
    find: "if (isStale(first, now)) giveUp(first);\n      else if",
    replace: "if",
  },
  {
    mistake: "a message that was sent may get stale",
    file: flight,
    find: "if (isStale(outgoing, now)) this.#giveUpStale(outgoing);",
    replace: "if (outgoing.due <= now && outgoing.state === WAITING) this.#giveUpStale(outgoing);",
  },
  {
    mistake: "stale messages are given up only when they would be sent",
    file: deadlines,
    find: "    if (flight.due <= by) flight.expire(now);\n",
    replace: "",
  },
  {
    mistake: "messages of QoS 0 overtake one that waits for a connection",
    file: "src/session/publisher.ts",
    find: "    if (this.#flight.holdsQoS0) {\n",
    replace: "    if (this.#flight.holdsQoS0 && flags > 1) {\n",
  },

  // ---- version 5
  {
    mistake: "a session of version 5 is gone on with although its store is gone",
    file: lifecycle,
    find: "    if (version === 5 && ledger.isOrphaned(sessionPresent)) return this.#beginAnew();\n",
    replace: "",
  },
  {
    mistake: "each connection begins the session anew, once one has",
    file: "src/session/ledger.ts",
    find: "    this.startsAnew = false;\n",
    replace: "",
  },
];

/** All of them, for the histories of a session in a store. */
export const durableMutants: readonly Mutant[] = [
  ...mistakes.map((mutant): Mutant => ({ ...mutant, kind: "durable" })),
  ...subscribingMutants,
];
