/** Mistakes with QoS 1 and 2. */
import type { Mutant } from "../mutants.ts";

const flight = "src/session/flight.ts";
const shelf = "src/session/shelf.ts";
const receiver = "src/session/receiver.ts";
const backlog = "src/session/backlog.ts";
const lifecycle = "src/session/lifecycle.ts";
const deadlines = "src/session/deadlines.ts";
const intake = "src/session/intake.ts";
const flushes = "src/session/flushes.ts";

const mistakes: readonly Mutant[] = [
  // ---- what is sent again
  {
    mistake: "a message that is sent again has no DUP",
    file: flight,
    find: "stamp(next, next.packetId, { dup: isRepeat });",
    replace: "stamp(next, next.packetId, { dup: false });",
  },
  {
    mistake: "a message that is sent for the first time has DUP",
    file: flight,
    find: "stamp(next, next.packetId, { dup: isRepeat });",
    replace: "stamp(next, next.packetId, { dup: true });",
  },
  {
    mistake: "a message is sent again with another packet identifier",
    file: flight,
    find: "const isRepeat = next.packetId > 0;",
    replace: "const isRepeat = next.packetId < 0;",
  },
  {
    mistake: "messages are sent again in another order",
    file: flight,
    find: "this.#waiting[qos].putBack(again);",
    replace: "this.#waiting[qos].putBack(again.reverse());",
  },
  {
    mistake: "messages are sent again behind new ones",
    file: flight,
    find: "this.#waiting[qos].putBack(again);",
    replace: "for (const outgoing of again) this.#waiting[qos].push(outgoing);",
  },
  {
    mistake: "messages are not sent again",
    file: flight,
    find: "this.#waiting[qos].putBack(again);",
    replace: "",
  },
  {
    mistake: "a message is sent again although the broker has received it",
    file: flight,
    find: "    this.#sent.delete(outgoing.packetId);\n    this.#received.set(outgoing.packetId, outgoing);",
    replace: "    this.#received.set(outgoing.packetId, outgoing);\n    outgoing.state = SENT;",
  },
  {
    mistake: "what waits in the output goes to the next connection, too",
    file: "src/protocol/output.ts",
    find: "if (block[start]! >> 4 !== PUBLISH || (block[start]! & 6) !== 0) continue;",
    replace: "if (block[start]! >> 4 !== PUBLISH) continue;",
  },

  // ---- the window
  {
    mistake: "maxInflight is no bound",
    file: flight,
    find: "if (qos1 + qos2 >= Math.min(maxInflight, this.#receiveMaximum)) return undefined;",
    replace: "",
  },
  {
    mistake: "maxInflight is no bound for what is sent again",
    file: flight,
    find: "if (qos1 + qos2 >= Math.min(maxInflight, this.#receiveMaximum)) return undefined;",
    replace:
      "if (qos1 + qos2 >= maxInflight && !((this.#waiting[1].firstWaiting(now, this.#giveUpStale)?.packetId ?? 0) > 0)) return undefined;",
  },
  {
    mistake: "the bound of QoS 2 is none",
    file: flight,
    find: "qos2 < maxInflightQoS2 ? this.#waiting[2]",
    replace: "maxInflightQoS2 > 0 ? this.#waiting[2]",
  },
  {
    mistake: "a message of QoS 2 counts only until PUBREC",
    file: flight,
    find: "qos2 = this.#sending[2] + received;",
    replace: "qos2 = this.#sending[2] + 0 * received;",
  },
  {
    mistake: "PUBACK makes no room in the window",
    file: flight,
    find: "if (state === SENT) this.#sending[qos]--;",
    replace: "",
  },
  {
    mistake: "more than maxBuffered bytes wait to be acknowledged",
    file: shelf,
    find: "if (this.#bytes + size > this.#max) {",
    replace: "if (this.#bytes < 0) {",
  },
  {
    mistake: "what is acknowledged still counts",
    file: shelf,
    find: "    this.#bytes -= size;\n",
    replace: "",
  },
  {
    mistake: "a block is filled again although a message in it waits",
    file: shelf,
    find: "if (--page.wanted > 0) return;",
    replace: "page.wanted--;",
  },

  // ---- the broker's acknowledgements
  {
    mistake: "PUBREC is not answered",
    file: flight,
    find: "if (type === PUBREC && outgoing?.qos !== 1) this.#release(packetId);",
    replace: "",
  },
  {
    mistake: "PUBREC for a message of QoS 1 is answered",
    file: flight,
    find: "if (type === PUBREC && outgoing?.qos !== 1) this.#release(packetId);",
    replace: "if (type === PUBREC) this.#release(packetId);",
  },
  {
    mistake: "PUBREC of nothing is not answered",
    file: flight,
    find: "if (type === PUBREC && outgoing?.qos !== 1) this.#release(packetId);",
    replace: "if (type === PUBREC && outgoing?.qos === 2) this.#release(packetId);",
  },
  {
    mistake: "PUBREL is not sent again",
    file: flight,
    find: "for (const { packetId } of this.#received.values()) this.#release(packetId);",
    replace: "",
  },
  {
    mistake: "PUBRELs are sent again in another order",
    file: flight,
    find: "for (const { packetId } of this.#received.values()) this.#release(packetId);",
    replace: "for (const { packetId } of [...this.#received.values()].reverse()) this.#release(packetId);",
  },
  {
    mistake: "PUBACK acknowledges a message of QoS 2",
    file: flight,
    find: "type === PUBACK && outgoing.qos === 1",
    replace: "type === PUBACK",
  },
  {
    mistake: "PUBREC counts for a message of QoS 1",
    file: flight,
    find: "if (type === PUBREC && outgoing?.qos === 2) this.#receive(outgoing);",
    replace: "if (type === PUBREC && outgoing !== undefined) this.#receive(outgoing);",
  },
  {
    mistake: "publish() is done with PUBREC",
    file: flight,
    find: "if (type === PUBREC && outgoing?.qos === 2) this.#receive(outgoing);",
    replace:
      "if (type === PUBREC && outgoing?.qos === 2) { this.#receive(outgoing); this.settle(outgoing, undefined); }",
  },
  {
    mistake: "acknowledgements of nothing are not counted",
    file: flight,
    find: "else this.ignored++;",
    replace: "",
  },
  {
    mistake: "a message is taken back although it was sent",
    file: flight,
    find: "if (outgoing.state !== WAITING || outgoing.packetId !== NEW) return;",
    replace: "if (outgoing.state !== WAITING) return;",
  },

  // ---- packet identifiers
  {
    mistake: "a packet identifier in use is taken by a message",
    file: "src/session/packet_ids.ts",
    find: "this.#last % 65_535 + 1; while (this.#isUsed(this.#last));",
    replace: "this.#last % 120 + 1; while (this.#last < 0);",
  },
  {
    mistake: "identifiers that the process before may have used are not freed",
    file: flight,
    find: "if (isTakenOver && this.#freed === undefined) {",
    replace: "if (isTakenOver && this.#calls < 0) {",
  },
  {
    mistake: "identifiers are not freed again on the next connection",
    file: flight,
    find: "    this.#freed?.connected();\n",
    replace: "",
  },
  {
    mistake: "an identifier counts as freed before PUBCOMP",
    file: "src/session/freed_ids.ts",
    find: "    if (!this.#asked.delete(packetId)) return false;\n    this.#free.add(packetId);",
    replace:
      "    if (!this.#asked.has(packetId)) return false;\n    for (const id of this.#asked) this.#free.add(id);\n" +
      "    this.#asked.clear();",
  },

  // ---- a session that the broker has lost
  {
    mistake: "a message of QoS 2 is sent again although the session is lost",
    file: flight,
    find: 'sessionLost === undefined ? outgoing.qos === 1 : sessionLost === "resend"',
    replace: 'sessionLost === undefined ? true : sessionLost === "resend"',
  },
  {
    mistake: "sessionLost makes no difference",
    file: flight,
    find: 'sessionLost === undefined ? outgoing.qos === 1 : sessionLost === "resend"',
    replace: "outgoing.qos === 1 || sessionLost === null",
  },
  {
    mistake: "nobody notices that the session is lost",
    file: flight,
    find: "if (!sessionPresent) this.#forget();",
    replace: "",
  },
  {
    mistake: "what is sent anew has the identifier of before, and DUP",
    file: flight,
    find: "      outgoing.packetId = ANEW;\n",
    replace: "",
  },
  {
    mistake: "what is sent anew has the order of the PUBRECs",
    file: flight,
    find: "...this.#sent.values()].sort((one, other) => one.number - other.number);",
    replace: "...this.#sent.values()];",
    from: 5_600,
  },
  {
    mistake: "identifiers that were received are kept though the session is lost",
    file: receiver,
    find: "    this.#recorded.clear();\n",
    replace: "",
  },
  {
    mistake: "what came in a lost session is acknowledged",
    file: receiver,
    find: "    for (const delivery of [...this.#earlier.values()]) this.forget(delivery);\n",
    replace: "",
  },

  // ---- what is received
  {
    mistake: "a message of QoS 2 that is settled is delivered again",
    file: receiver,
    find: "if (qos !== 2 || !this.#recorded.has(packetId)) return true;",
    replace: "if (packetId > 0) return true;",
  },
  {
    mistake: "a message of QoS 2 that is settled is not acknowledged again",
    file: receiver,
    find: "    this.#acknowledge(qos, packetId, 0);\n    return false;",
    replace: "    return false;",
  },
  {
    mistake: "a message in hand is delivered again",
    file: receiver,
    find: "if (inHand !== undefined && isRepeat(message, inHand.message)) return false;",
    replace: "",
  },
  {
    mistake: "a message in hand is delivered again on the next connection",
    file: receiver,
    find: "if (earlier !== undefined && isRepeat(message, earlier.message)) {",
    replace: "if (earlier !== undefined && packetId < 0) {",
  },
  {
    mistake: "identifiers that were received are forgotten on the next connection",
    file: receiver,
    find: "    if (sessionPresent) return;\n",
    replace: "",
  },
  {
    mistake: "a message is acknowledged before it is settled",
    file: receiver,
    find: "if (delivery === undefined || delivery.pending === 0) this.#settled(",
    replace: "if (packetId > 0) this.#settled(",
  },
  {
    mistake: "acknowledgements have the order of settling",
    file: receiver,
    find: "    this.#sendSettled(qos);\n",
    replace: "    if (this.#isOpen) this.#send(qos, packetId, failed);\n",
  },
  {
    mistake: "what is settled at once is acknowledged before others",
    file: receiver,
    find: "if (this.#receipts[qos - 1]!.length === 0) this.#send(",
    replace: "if (packetId > 0) this.#send(",
  },
  {
    mistake: "what came on one connection is acknowledged on the next",
    file: receiver,
    find: "    for (const receipts of this.#receipts) receipts.clear();\n",
    replace: "",
  },
  {
    mistake: "an identifier is not recorded when its message is settled",
    file: receiver,
    find: "    if (qos === 2) this.#record(packetId, failed);\n    this.#sendSettled(qos);",
    replace: "    this.#sendSettled(qos);",
  },
  {
    mistake: "PUBREL is not answered",
    file: receiver,
    find: "    this.#journal.afterwards(() => this.#output.acknowledge(PUBCOMP, packetId, code));\n",
    replace: "",
  },
  {
    mistake: "PUBREL does not free the identifier",
    file: receiver,
    find: "if (this.#recorded.delete(packetId)) this.#journal.change(RELEASED, packetId);",
    replace: "this.#journal.change(RELEASED, packetId);",
  },
  {
    mistake: "what nobody has begun is acknowledged when it is dropped",
    file: receiver,
    find: '    delivery.receipt = "none";\n',
    replace: "",
  },
  {
    mistake: "what nobody has begun is not dropped when it comes again",
    file: lifecycle,
    find: "if (sessionPresent) backlog.dropUnbegun(subscriber.subscriptions.inboxes);",
    replace: "",
  },
  {
    mistake: "what a handler has begun is dropped for the others",
    file: backlog,
    find: "!begun && packetId > 0",
    replace: "packetId > 0",
  },
  {
    mistake: "messages of QoS 0 are dropped with those that come again",
    file: backlog,
    find: "!begun && packetId > 0",
    replace: "!begun",
  },
  {
    mistake: "something is acknowledged behind DISCONNECT",
    file: lifecycle,
    find: "    this.#parts.receiver.lost(); // what is settled from now on would be acknowledged behind DISCONNECT\n",
    replace: "",
  },

  // ---- messages over maxPacketSize
  {
    mistake: "a message over maxPacketSize is not acknowledged",
    file: receiver,
    find: "    if (qos > 0) this.#settled(qos, packetId, false);\n",
    replace: "",
  },
  {
    mistake: "a message over maxPacketSize is counted again when it is sent again",
    file: receiver,
    find: "    if (isRepeat) return;\n",
    replace: "",
    from: 1_400,
  },

  // ---- messages that nobody takes
  {
    mistake: "messages that nobody takes wait for ever when the session is lost",
    file: "src/session/claims.ts",
    find: "this.due = sessionPresent || this.#backlog.hasUnclaimed ? by",
    replace: "this.due = sessionPresent ? by",
  },
  {
    mistake: "messages that nobody takes are settled at once",
    file: intake,
    find: "if (isLeft) return backlog.keepUnclaimed(message, packetId);",
    replace: "",
  },
  {
    mistake: "messages that somebody claims are not delivered",
    file: backlog,
    find: "        this.#queue(consumer, delivery);\n        this.#ready.push(consumer);",
    replace: "        this.#queue(consumer, delivery);",
  },

  // ---- who waits
  {
    mistake: "nothing is read although a publish waits for its acknowledgement",
    file: intake,
    find: "flushes.isAwaited || flight.isAwaited;",
    replace: "flushes.isAwaited;",
  },
  {
    mistake: "a publish whose acknowledgement is never read waits for ever",
    file: deadlines,
    find: "if (flight.isAwaited) flight.fail(",
    replace: "if (count < 0) flight.fail(",
  },
  {
    mistake: "flush() does not wait for acknowledgements",
    file: flushes,
    find: "if (!flush.isAnswered || flush.pending > 0) return;",
    replace: "if (!flush.isAnswered) return;",
  },
  {
    mistake: "flush() is done although a message has failed",
    file: flushes,
    find: "      if (error !== undefined) this.#fail(flush, error);\n      else this.#settle(flush);",
    replace: "      this.#settle(flush);",
  },
];

/** All of them, for the histories of QoS 1 and 2. */
export const qosMutants: readonly Mutant[] = mistakes.map((mutant) => ({ ...mutant, kind: "qos" }));
