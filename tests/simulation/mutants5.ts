/** Mistakes with version 5, and with finding out which version the broker has, for the histories of QoS 0. */
import type { Mutant } from "./mutants.ts";

const versions = "src/session/versions.ts";
const lifecycle = "src/session/lifecycle.ts";
const connection = "src/session/connection.ts";
const subscriber = "src/session/subscriber.ts";
const subscriptions = "src/session/subscriptions.ts";
const publisher = "src/session/publisher.ts";
const receiver = "src/session/receiver.ts";
const control = "src/protocol/control.ts";
const call = "src/client/call.ts";

export const mutants5: readonly Mutant[] = [
  // ---- which version the broker has
  {
    mistake: "the version is decided anew at each reconnect",
    file: versions,
    find: "const isTooNew = this.#settings.fallsBack && !wasAccepted && connection?.isTooNew(failure) === true;\n" +
      "    this.tries = isTooNew ? 4 : this.version;",
    replace: "const isTooNew = this.#settings.fallsBack && connection?.isTooNew(failure) === true;\n" +
      "    this.tries = isTooNew ? 4 : this.#settings.version;",
  },
  {
    mistake: "the older version is tried after any failure",
    file: connection,
    find: "return this.version === 5 && this.#isConnectTaken && !this.isOpen && isRefusal;",
    replace: "return this.version === 5 && !this.isOpen && isRefusal !== undefined;",
  },
  {
    mistake: "the older version is not tried when the broker just closes",
    file: connection,
    find: 'code === 1 || code === 132 || code === "socketclosed";',
    replace: "code === 1 || code === 132;",
  },
  {
    mistake: "the older version is not tried when the broker says so as the newer one has it",
    file: connection,
    find: 'code === 1 || code === 132 || code === "socketclosed";',
    replace: 'code === 1 || code === "socketclosed";',
  },
  {
    mistake: "a refusal in the form of the older version is no CONNACK",
    file: connection,
    find: "if (version === 5 && head[1] === 2) return head[3] === undefined ? undefined : olderConnack(head[3]);",
    replace: "",
  },
  {
    mistake: "each of the two attempts has a deadline of its own",
    file: lifecycle,
    find: "this.#status = this.#dial(this.#deadline);",
    replace: "this.#status = this.#dial();",
  },
  {
    mistake: "the attempt with the older version counts as another one",
    file: lifecycle,
    find: "    this.#parts.attempts.repeat();\n",
    replace: "",
  },
  {
    mistake: "messages that waited are sent as the newer version has them",
    file: publisher,
    find: "    this.#output.downgrade((packet) => {",
    replace: "    if (this.#limits !== undefined) this.#output.downgrade((packet) => {",
  },
  {
    mistake: "requests are sent as the newer version has them",
    file: subscriber,
    find: "    this.#settings = { ...this.#settings, version: 4 };\n",
    replace: "",
  },

  // ---- what the broker answers
  {
    mistake: "the reason codes of a SUBACK with a reason string are read one byte too late",
    file: control,
    find: "const none = type === packet.SUBACK ? RULES.noSubackCodes : RULES.noUnsubackCodes;",
    replace: "const none = RULES.noSubackCodes;\n    if (properties?.reason !== undefined) reasonCode(type, fields);",
  },
  {
    mistake: "the reason codes of UNSUBACK are ignored",
    file: subscriber,
    find: "const at = codes.findIndex((code) => code >= 128);",
    replace: "const at = codes.findIndex((code) => code > 255);",
    kind: "blocking",
  },
  {
    mistake: "a refused filter has the reason code of another one",
    file: subscriber,
    find: "const code = codes.find((code) => code >= 128) ?? 0;",
    replace: "const code = codes.reduce((highest, code) => Math.max(highest, code));",
  },
  {
    mistake: "the broker's keep alive does not count",
    file: connection,
    find: "    this.#keepAlive.change(keepalive * this.#settings.pingPart);\n",
    replace: "    this.#keepAlive.change(this.#settings.keepalive * this.#settings.pingPart + 0 * keepalive);\n",
  },
  {
    mistake: "a former subscription identifier is nobody's",
    file: subscriptions,
    find: "for (const id of others) find(({ formerIds }) => formerIds.includes(id));",
    replace: "for (const id of others) find(() => id < 0);",
  },

  // ---- flow control, and DISCONNECT
  {
    mistake: "what was acknowledged counts in the Receive Maximum, too",
    file: receiver,
    find: "    this.#open.delete(packetId);\n    this.#journal.afterwards",
    replace: "    this.#journal.afterwards",
  },
  {
    mistake: "DISCONNECT does not say what the broker's mistake is",
    file: connection,
    find: "this.#refusal = encode({ type: DISCONNECT, code }, 5);",
    replace: "this.#refusal = encode({ type: DISCONNECT, code: 0 }, 5);",
  },
  {
    mistake: "the broker is not told that it has made a mistake",
    file: connection,
    find: "if (!this.isOpen || this.failure !== undefined || this.version === 4) return false;",
    replace: "if (!this.isOpen || this.failure !== undefined || this.version !== 4) return false;",
  },
  {
    mistake: "the size of a rejected publish is told without its properties",
    file: call,
    find: "const propertiesSize = version === 5 ? own?.length ?? 1 : 0;",
    replace: "const propertiesSize = version === 5 ? own?.length ?? 0 : 0;",
  },
];
