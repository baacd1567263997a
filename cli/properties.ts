/** What -D and the other options of MQTT 5 say, as the library takes it. */
import { Buffer } from "node:buffer";
import type {
  ConnectOptions,
  DisconnectOptions,
  PublishOptions,
  SubscribeOptions,
  UserProperties,
  Will,
} from "../mod.ts";
import { CommandError } from "./errors.ts";
import { packetsOf, toNumber, type Values } from "./options.ts";
import { names, type Packet, packets } from "./property_names.ts";

/** What may be given for one packet or another, by the library's names. */
interface Given {
  user?: UserProperties;
  contentType?: string;
  correlation?: Uint8Array;
  expiry?: number;
  payloadFormat?: 0 | 1;
  responseTopic?: string;
  delay?: number;
  session?: number;
  receiveMaximum?: number;
  maxPacketSize?: number;
  topicAliases?: number;
  requestProblem?: 0 | 1;
  requestResponse?: 0 | 1;
  method?: string;
  data?: Uint8Array;
  id?: number;
}

/** What is given for a packet. */
function given(values: Values, packet: Packet): Given {
  checkProperties(values);
  const found: Record<string, unknown> = {}, user: [string, string][] = [];
  for (const [of, name, value, second] of values.words("property") as [string, string, string, string?][]) {
    if (of.toLowerCase() !== packet) continue;
    const [as, kind] = names[name]!;
    if (kind === "pair") user.push([value, second!]);
    else if (as in found) throw new CommandError(`-D gives ${packet} its ${name} twice`);
    else if (kind === "text") found[as] = value;
    else if (kind === "bytes") found[as] = Buffer.from(value);
    else found[as] = toNumber(`-D ${packet} ${name}`, value, kind);
  }
  return { ...found, ...user.length > 0 && { user } };
}

/** @throws {CommandError} If -D gives something that the command does not send. */
function checkProperties(values: Values): void {
  const sent = packetsOf(values.command);
  for (const [of = "", name = ""] of values.words("property")) {
    const packet = of.toLowerCase() as Packet;
    if (!sent.includes(packet)) {
      throw new CommandError(`-D of ${values.command} takes the packets ${sent.join(", ")}, not ${of}`);
    }
    if (packet === "publish" && name === "topic-alias") {
      throw new CommandError("Topic aliases are given by the library: say how many, -D connect topic-alias-maximum N");
    }
    if (!packets[packet].includes(name)) {
      throw new CommandError(`${name} is no property of ${packet} that -D takes: mqtt3c help properties lists them`);
    }
  }
  if (sent.includes("will") && values.text("will-topic") === undefined) {
    const isGiven = values.words("property").some(([of]) => of?.toLowerCase() === "will");
    if (isGiven) throw new CommandError("-D will is of a will: --will-topic says where it goes");
  }
}

const VERSIONS: Readonly<Record<string, NonNullable<ConnectOptions["version"]>>> = {
  311: 4,
  mqttv311: 4,
  5: 5,
  mqttv5: 5,
  auto: "auto",
};

/** The version that is asked for: 5 where an option needs it and nothing is said, as mosquitto does it. */
export function versionOf(values: Values): NonNullable<ConnectOptions["version"]> {
  const text = values.text("protocol-version"), [needs] = values.of5;
  if (text === undefined) return needs === undefined ? 4 : 5;
  const version = VERSIONS[text];
  if (version === undefined) throw new CommandError(`-V takes 311, 5 or auto, not ${text}`);
  if (version === 4 && needs !== undefined) throw new CommandError(`${needs} is of MQTT 5: leave -V ${text} out`);
  return version;
}

/** The largest: for ever [MQTT5-3.1.2-23]. */
const FOR_EVER = 0xffff_ffff;

/** For how long the broker is to keep the session: `false` for none. */
export function sessionOf(values: Values): boolean | number {
  const { session: property } = given(values, "connect");
  const text = values.text("session-expiry-interval");
  if (text !== undefined && property !== undefined) {
    throw new CommandError("-x and -D connect session-expiry-interval are the same: give one");
  }
  const seconds = text === "-1" || text === "∞" ? FOR_EVER : values.number("session-expiry-interval", 0, FOR_EVER);
  const given5 = seconds ?? property;
  if (given5 !== undefined) return given5 === 0 ? false : given5;
  const isKept = values.is("disable-clean-session") || values.text("store") !== undefined;
  return isKept && FOR_EVER;
}

/** What CONNECT has besides. */
export function connectProperties(values: Values): ConnectOptions {
  const { method, data, requestProblem, requestResponse, user, ...more } = given(values, "connect");
  const { receiveMaximum, maxPacketSize, topicAliases } = more;
  if (data !== undefined && method === undefined) {
    throw new CommandError("-D connect authentication-data needs authentication-method, too");
  }
  const properties = {
    ...user && { user },
    ...requestProblem !== undefined && { requestProblem: requestProblem === 1 },
    ...requestResponse !== undefined && { requestResponse: requestResponse === 1 },
  };
  return {
    receiveMaximum,
    maxPacketSize,
    topicAliases,
    version: versionOf(values),
    ...Object.keys(properties).length > 0 && { properties },
    // All is said at the beginning: to a broker that asks for more, there is nothing to add.
    ...method !== undefined && { auth: { method, data, answer: () => new Uint8Array() } },
  };
}

/** Where there are none, nothing is said: MQTT 3.1.1 has none. */
function orNone<T extends object>(properties: T): T | undefined {
  return Object.keys(properties).length > 0 ? properties : undefined;
}

/** What the messages have besides. */
export function publishProperties(values: Values): Pick<PublishOptions, "expiry" | "properties"> {
  const { expiry, ...properties } = given(values, "publish");
  return { expiry, properties: orNone(properties) };
}

/** What the will has besides. */
export function willProperties(values: Values): Pick<Will, "delay" | "expiry" | "properties"> {
  const { delay, expiry, ...properties } = given(values, "will");
  return { delay, expiry, properties: orNone(properties) };
}

/** What the subscriptions have besides. */
export function subscribeProperties(values: Values): SubscribeOptions {
  const { id, ...properties } = given(values, "subscribe");
  return {
    id,
    properties: orNone(properties),
    noLocal: values.is("no-local") || undefined,
    retainAsPublished: values.is("retain-as-published") || undefined,
    retainHandling: values.number("retain-handling", 0, 2) as 0 | 1 | 2 | undefined,
  };
}

/** What DISCONNECT has besides. */
export function disconnectProperties(values: Values): DisconnectOptions {
  const { session, ...properties } = given(values, "disconnect");
  return { session, properties: orNone(properties) };
}
