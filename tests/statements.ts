/**
 * The numbered statements of MQTT 3.1.1 (Appendix B), each in a few words, with whose it is, and those of MQTT 5, which
 * numbers others alike: [MQTT-3.3.1-5] is one of 3.1.1, [MQTT5-3.3.1-5] one of 5. Those of the client must be named by a
 * test, and those that are open are nobody's yet; `statements_test.ts` holds that. Run, it lists them all with their tests:
 *
 *     deno run -R tests/statements.ts
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { LIST5 } from "./statements5.ts";

/**
 * `client`: ours to keep, or to refuse when the broker breaks it. `server`: the broker's alone. `none`: nobody's here.
 * `open`: ours, and what would prove it is still to come.
 */
export type Whose = "client" | "server" | "none" | "open";

/** A statement in a list: its number, whose it is, what it says, and why it is not the client's. */
export type Listed = readonly [id: string, whose: Whose, says: string, why?: string];

export interface Statement {
  id: string;
  whose: Whose;
  says: string;
  /** Why it is not the client's. */
  why?: string;
}

const CONNECT = "what the broker does with CONNECT";
const WILL = "what the broker does with the will; the real brokers' suite sees it fire";
const RETAINED = "what the broker keeps, and when it sends it";
const REQUESTS = "what the broker does with the request";
const SESSIONS = "what the broker keeps";

const list: readonly Listed[] = [
  // 1.5.3 UTF-8 encoded strings
  ["1.5.3-1", "client", "strings are well-formed UTF-8, without surrogates; otherwise the connection is closed"],
  ["1.5.3-2", "client", "strings hold no U+0000; otherwise the connection is closed"],
  ["1.5.3-3", "client", "EF BB BF is U+FEFF wherever it is, and never stripped"],
  // 2.2 Fixed header
  ["2.2.2-1", "client", "reserved flags have the value of table 2.2"],
  ["2.2.2-2", "client", "wrong flags close the connection"],
  // 2.3.1 Packet identifier
  ["2.3.1-1", "client", "SUBSCRIBE, UNSUBSCRIBE and PUBLISH over QoS 0 have a packet identifier that is not 0"],
  ["2.3.1-2", "client", "a new packet gets an identifier that is not in use"],
  ["2.3.1-3", "client", "a packet sent again keeps its identifier, which is free after the acknowledgement"],
  ["2.3.1-4", "server", "the same for PUBLISH packets of the server", "its own identifiers"],
  ["2.3.1-5", "client", "PUBLISH at QoS 0 has no packet identifier"],
  ["2.3.1-6", "client", "PUBACK, PUBREC and PUBREL have the identifier of their PUBLISH"],
  ["2.3.1-7", "client", "SUBACK and UNSUBACK have the identifier of their request; others are refused"],
  // 3.1 CONNECT
  ["3.1.0-1", "client", "the first packet of a connection is CONNECT"],
  ["3.1.0-2", "server", "a second CONNECT is a violation", CONNECT],
  ["3.1.2-1", "server", "another protocol name is not served as MQTT 3.1.1", CONNECT],
  ["3.1.2-2", "server", "another protocol level is answered with code 1", CONNECT],
  ["3.1.2-3", "server", "the reserved flag is checked", CONNECT],
  ["3.1.2-4", "client", "without clean session, both keep the session and go on with it"],
  ["3.1.2-5", "server", "messages for a client that is away are kept", SESSIONS],
  ["3.1.2-6", "client", "with clean session, both forget the one before"],
  ["3.1.2-7", "server", "retained messages are no part of the session", SESSIONS],
  ["3.1.2-8", "server", "the will is stored, and published when the connection ends without DISCONNECT", WILL],
  ["3.1.2-9", "client", "with the will flag, topic and message of the will are in the payload"],
  ["3.1.2-10", "server", "the will is removed once published, or after DISCONNECT", WILL],
  ["3.1.2-11", "client", "without the will flag, neither its fields nor its QoS and retain are there"],
  ["3.1.2-12", "server", "without the will flag, none is published", WILL],
  ["3.1.2-13", "client", "without the will flag, will QoS is 0"],
  ["3.1.2-14", "client", "will QoS is 0, 1 or 2"],
  ["3.1.2-15", "client", "without the will flag, will retain is 0"],
  ["3.1.2-16", "server", "without will retain, the will is published without RETAIN", WILL],
  ["3.1.2-17", "server", "with will retain, the will is published with RETAIN", WILL],
  ["3.1.2-18", "client", "without its flag, there is no user name"],
  ["3.1.2-19", "client", "with its flag, there is a user name"],
  ["3.1.2-20", "client", "without its flag, there is no password"],
  ["3.1.2-21", "client", "with its flag, there is a password"],
  ["3.1.2-22", "client", "without user name there is no password"],
  ["3.1.2-23", "client", "packets are never further apart than the keep alive: PINGREQ if need be"],
  ["3.1.2-24", "server", "a client silent for 1.5 times the keep alive is disconnected", "the broker's clock"],
  ["3.1.3-1", "client", "the order is client identifier, will topic, will message, user name, password"],
  ["3.1.3-2", "client", "the client identifier is what both know the session by"],
  ["3.1.3-3", "client", "the client identifier is there, and first"],
  ["3.1.3-4", "client", "the client identifier is a UTF-8 string"],
  ["3.1.3-5", "client", "1 to 23 letters and digits are accepted by every server: the default is of them"],
  ["3.1.3-6", "server", "an empty client identifier may be accepted, and another one assigned", CONNECT],
  ["3.1.3-7", "client", "an empty client identifier comes with clean session"],
  ["3.1.3-8", "server", "without, it is answered with code 2", CONNECT],
  ["3.1.3-9", "server", "a client identifier it does not take is answered with code 2", CONNECT],
  ["3.1.3-10", "client", "the will topic is a UTF-8 string"],
  ["3.1.3-11", "client", "the user name is a UTF-8 string"],
  ["3.1.4-1", "server", "a CONNECT that is wrong ends the connection without CONNACK", CONNECT],
  ["3.1.4-2", "server", "an earlier connection of the same client identifier is ended", CONNECT],
  ["3.1.4-3", "server", "clean session is done as section 3.1.2.4 says", CONNECT],
  ["3.1.4-4", "server", "a CONNECT that is right is answered with code 0", CONNECT],
  ["3.1.4-5", "server", "after a refusal nothing more is processed", CONNECT],
  // 3.2 CONNACK
  ["3.2.0-1", "client", "the first packet of the server is CONNACK; anything else is refused"],
  ["3.2.2-1", "client", "with clean session, session present is 0; otherwise it is refused"],
  ["3.2.2-2", "client", "session present tells whether the server has kept the session: the client goes by it"],
  ["3.2.2-3", "client", "no session present: the client makes its subscriptions again"],
  ["3.2.2-4", "client", "a refusal has session present 0; otherwise it is refused"],
  ["3.2.2-5", "client", "after a refusal the connection is closed: the client does too"],
  ["3.2.2-6", "client", "there are no codes but 0 to 5; others are refused"],
  // 3.3 PUBLISH
  ["3.3.1-1", "client", "DUP is 1 when a PUBLISH is sent again, and 0 the first time"],
  ["3.3.1-2", "client", "DUP is 0 at QoS 0; otherwise it is refused"],
  ["3.3.1-3", "server", "DUP is not handed on from publisher to subscriber", "what the broker sends"],
  ["3.3.1-4", "client", "QoS 3 closes the connection"],
  ["3.3.1-5", "server", "a message with RETAIN is kept", RETAINED],
  ["3.3.1-6", "server", "a new subscription gets the retained messages", RETAINED],
  ["3.3.1-7", "server", "a retained message at QoS 0 takes the place of the one before", RETAINED],
  ["3.3.1-8", "server", "RETAIN is 1 in a message that a new subscription gets", RETAINED],
  ["3.3.1-9", "server", "RETAIN is 0 in a message for an established subscription", RETAINED],
  ["3.3.1-10", "server", "a retained message without payload removes the one before", RETAINED],
  ["3.3.1-11", "server", "and is not kept itself", RETAINED],
  ["3.3.1-12", "server", "a message without RETAIN is not kept", RETAINED],
  ["3.3.2-1", "client", "the topic name is the first field, a UTF-8 string"],
  ["3.3.2-2", "client", "a topic name holds no wildcard"],
  ["3.3.2-3", "server", "its topic name matches a subscription of the client", "whatever comes is delivered"],
  ["3.3.4-1", "client", "the answer to PUBLISH is nothing, PUBACK or PUBREC, as its QoS says"],
  [
    "3.3.5-1",
    "server",
    "overlapping subscriptions: the message comes at the highest QoS of them",
    "what the broker sends",
  ],
  [
    "3.3.5-2",
    "server",
    "a PUBLISH that is not authorized is acknowledged all the same, or the connection closed",
    REQUESTS,
  ],
  // 3.6 PUBREL
  ["3.6.1-1", "client", "the flags of PUBREL are 0010"],
  // 3.8 SUBSCRIBE
  ["3.8.1-1", "client", "the flags of SUBSCRIBE are 0010"],
  ["3.8.3-1", "client", "topic filters are UTF-8 strings"],
  ["3.8.3-2", "server", "wildcards that it does not support are refused", REQUESTS],
  ["3.8.3-3", "client", "SUBSCRIBE has at least one filter"],
  ["3.8.3-4", "client", "requested QoS is 0, 1 or 2, and the bits above it are 0"],
  ["3.8.4-1", "server", "SUBSCRIBE is answered with SUBACK", REQUESTS],
  ["3.8.4-2", "server", "which has its packet identifier", "the client checks 2.3.1-7"],
  ["3.8.4-3", "server", "a filter subscribed again takes the place of the one before", REQUESTS],
  ["3.8.4-4", "server", "several filters are as several SUBSCRIBE packets", REQUESTS],
  ["3.8.4-5", "client", "SUBACK has a return code for each filter; otherwise it is refused"],
  ["3.8.4-6", "client", "no more is granted than was asked; otherwise it is refused"],
  // 3.9 SUBACK
  ["3.9.3-1", "client", "return codes are in the order of the filters: the client reads them so"],
  ["3.9.3-2", "client", "return codes are 0, 1, 2 and 0x80; others are refused"],
  // 3.10 UNSUBSCRIBE
  ["3.10.1-1", "client", "the flags of UNSUBSCRIBE are 0010"],
  ["3.10.3-1", "client", "topic filters are UTF-8 strings"],
  ["3.10.3-2", "client", "UNSUBSCRIBE has at least one filter"],
  ["3.10.4-1", "server", "filters are compared byte by byte", REQUESTS],
  ["3.10.4-2", "server", "no new messages come for them", REQUESTS],
  ["3.10.4-3", "server", "deliveries that have begun are completed", REQUESTS],
  ["3.10.4-4", "server", "UNSUBACK has the packet identifier of UNSUBSCRIBE", "the client checks 2.3.1-7"],
  ["3.10.4-5", "server", "UNSUBACK comes even when nothing was deleted", REQUESTS],
  ["3.10.4-6", "server", "several filters are as several UNSUBSCRIBE packets", REQUESTS],
  // 3.12 PINGREQ, 3.14 DISCONNECT
  [
    "3.12.4-1",
    "server",
    "PINGREQ is answered with PINGRESP",
    "what the client does without one is tested with keep alive",
  ],
  ["3.14.1-1", "client", "the flags of DISCONNECT are 0"],
  ["3.14.4-1", "client", "after DISCONNECT the client closes the connection"],
  ["3.14.4-2", "client", "after DISCONNECT it sends nothing"],
  ["3.14.4-3", "server", "after DISCONNECT the will is discarded", WILL],
  // 4.1 Storing state
  ["4.1.0-1", "client", "session state is kept as long as the session lasts"],
  ["4.1.0-2", "client", "a session lasts at least as long as its connection"],
  // 4.3 Quality of service
  ["4.3.1-1", "client", "at QoS 0, PUBLISH is sent with QoS 0 and DUP 0"],
  ["4.3.2-1", "client", "what the sender does at QoS 1: an identifier, DUP 0, unacknowledged until PUBACK"],
  [
    "4.3.2-2",
    "client",
    "what the receiver does at QoS 1: PUBACK, and after that any PUBLISH with the identifier is a new one",
  ],
  ["4.3.3-1", "client", "what the sender does at QoS 2: unacknowledged until PUBREC, then PUBREL until PUBCOMP"],
  ["4.3.3-2", "client", "what the receiver does at QoS 2: PUBREC each time, delivery once, PUBCOMP for PUBREL"],
  // 4.4 to 4.6 Delivery
  [
    "4.4.0-1",
    "client",
    "after a reconnect, unacknowledged PUBLISH and PUBREL packets are sent again, with their identifiers",
  ],
  ["4.5.0-1", "server", "a message is added to the sessions whose subscriptions match", SESSIONS],
  ["4.5.0-2", "client", "a message is acknowledged whether the application wants it or not"],
  ["4.6.0-1", "client", "PUBLISH packets are sent again in their order, each QoS"],
  ["4.6.0-2", "client", "PUBACK packets go in the order of the messages"],
  ["4.6.0-3", "client", "PUBREC packets go in the order of the messages"],
  ["4.6.0-4", "client", "PUBREL packets go in the order of the PUBREC packets"],
  ["4.6.0-5", "server", "topics are ordered by default", "what the broker sends"],
  ["4.6.0-6", "server", "messages of an ordered topic come in their order", "what the broker sends"],
  // 4.7 Topic names and topic filters
  ["4.7.1-1", "client", "wildcards are for filters, not for names"],
  ["4.7.1-2", "client", "# stands alone or after a separator, and last"],
  ["4.7.1-3", "client", "+ fills a level"],
  ["4.7.2-1", "client", "a wildcard at the start does not match a name with $: the client's own matching too"],
  ["4.7.3-1", "client", "names and filters have at least one character"],
  ["4.7.3-2", "client", "names and filters hold no U+0000"],
  ["4.7.3-3", "client", "names and filters have at most 65,535 bytes"],
  ["4.7.3-4", "client", "nothing is normalized in matching: the client's own matching too"],
  // 4.8 Handling errors
  ["4.8.0-1", "client", "a protocol violation closes the connection"],
  ["4.8.0-2", "client", "a packet that cannot be processed closes the connection"],
  // 6 WebSocket
  ["6.0.0-1", "client", "packets travel in binary frames"],
  ["6.0.0-2", "client", "packets are not aligned on frames"],
  ["6.0.0-3", "client", "the client offers the subprotocol mqtt"],
  ["6.0.0-4", "server", "the server selects the subprotocol mqtt", "the client refuses another one"],
  // 7 Conformance
  ["7.0.0-1", "server", "a server that connects to servers is a client too", "a broker's bridge"],
  ["7.0.0-2", "none", "no extension is needed to interoperate", "there is none; the suite over real brokers shows it"],
  ["7.1.1-1", "server", "the server's transport is ordered and lossless", "the broker's transport"],
  ["7.1.2-1", "client", "the client's transport is an ordered and lossless stream of bytes"],
];

function statements(specification: string, all: readonly Listed[]): Statement[] {
  return all.map(([id, whose, says, why]) => {
    return { id: `[${specification}-${id}]`, whose, says, ...(why !== undefined && { why }) };
  });
}

export const STATEMENTS: readonly Statement[] = [...statements("MQTT", list), ...statements("MQTT5", LIST5)];

/** The repository: Node runs the tests from a copy within it. */
export const root: string = findRoot(dirname(fileURLToPath(import.meta.url)));

function findRoot(folder: string): string {
  return existsSync(join(folder, "deno.json")) ? folder : findRoot(dirname(folder));
}

/** The texts of the TypeScript files below a folder of the repository. */
export function read(folder: string): { path: string; text: string }[] {
  return readdirSync(join(root, folder), { encoding: "utf8", recursive: true }).filter((path) => path.endsWith(".ts"))
    .map((path) => ({ path: join(folder, path), text: readFileSync(join(root, folder, path), "utf8") }));
}

/** The statements named in a text, each once. */
export function named(text: string): string[] {
  return [...new Set(text.match(/\[MQTT5?-\d+\.\d+(?:\.\d+)?-\d+\]/g))];
}

/** The test files, and the tables of packets, of which those of version 5 have the numbers alone. */
export function readTests(): { path: string; text: string }[] {
  return read("tests").filter(({ path }) => /_test\.ts$|vectors5?(_\w+)?\.ts$/.test(path) && !/statements/.test(path))
    .map(({ path, text }) => ({
      path,
      text: /vectors5/.test(path) ? text.replaceAll(/"(\d\.\d+\.\d+-\d+)"/g, "[MQTT5-$1]") : text,
    }));
}

if (import.meta.main) {
  const tests = readTests();
  for (const { id, whose, says, why } of STATEMENTS) {
    const where = tests.filter(({ text }) => text.includes(id)).map(({ path }) => path).join(" ");
    const note = whose === "client" ? where || "NO TEST" : `${whose === "open" ? "OPEN" : whose}: ${why}`;
    process.stdout.write(`${id} ${says}\n    ${note}\n`);
  }
  const open = STATEMENTS.filter(({ whose }) => whose === "open").length;
  process.stdout.write(`${STATEMENTS.length} statements, ${open} of them open\n`);
}
