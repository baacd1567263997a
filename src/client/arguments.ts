/** The arguments of a client's calls, checked.
 * @module */

import type {
  ConnectOptions,
  DisconnectOptions,
  MessagesOptions,
  OutgoingMessage,
  PublishOptions,
  SubscribeCallback,
  SubscribeOptions,
} from "../options.ts";
import { MqttError } from "../errors.ts";
import { kindOf } from "../protocol/bytes.ts";
import { checkPayload } from "../protocol/packer.ts";
import type { PacketProperties, SubscriptionOptions } from "../options5.ts";
import { DISCONNECT, type FilterRequest, MAX_REMAINING_LENGTH, SUBSCRIBE } from "../protocol/packet.ts";
import { checkGiven, encodeMessageProperties } from "../protocol/properties.ts";
import { checkFilter, checkName } from "../protocol/topic.ts";
import type { Farewell } from "../session/farewell.ts";
import type { Publication as Outbound } from "../session/outgoing.ts";
import type { Asked, Planned } from "../session/subscriptions.ts";
import { check, checkFunction, checkObject, checkQoS, checkRange, isObject, isSignal } from "./checks.ts";
import { checkNames } from "./options.ts";

/** The longest expiry, in seconds: what a number of four bytes holds. */
const MAX_EXPIRY = 2 ** 32 - 1;

/** @throws {TypeError} If connect's second argument is given and no function. */
export function checkOnpub(onpub: unknown): void {
  const advice = isObject(onpub) ? "the options are the third argument" : `received ${kindOf(onpub)}`;
  check(onpub !== null, "onpub", "left out, or undefined, rather than null");
  check(onpub === undefined || typeof onpub === "function", "onpub", `a function: ${advice}`);
}

/** @throws {TypeError} If subscribe's callback for the return code is no function, or a handler of messages. */
export function checkCallback(callback: unknown): void {
  checkFunction(callback, "the callback");
  const isHandler = typeof callback === "function" && callback.length > 1;
  check(!isHandler, "the callback", "one for the return code, (code) => ...; give a handler of messages as { onpub }");
}

/** Byte 1 of a PUBLISH, without its type. What is right is found out first, in 10 ns. */
export function publishFlags(options: PublishOptions): number {
  if (!isObject(options)) return refuseFlags(options);
  for (const name in options) {
    if (name !== "qos" && name !== "retain") checkConditions(options);
  }
  const { qos = 0, retain = false } = options;
  const isRight = (qos === 0 || qos === 1 || qos === 2) && typeof retain === "boolean";
  return isRight ? qos << 1 | (retain ? 1 : 0) : refuseFlags(options);
}

/** The other options of a publish. */
function checkConditions(options: PublishOptions): void {
  checkNames("publish", options);
  const { qos, signal, expiry, until } = options;
  check(signal === undefined || isSignal(signal), "signal", "an AbortSignal");
  if (expiry !== undefined) checkRange("expiry", expiry, 1, MAX_EXPIRY);
  check(until === undefined || until === "stored", "until", '"stored"');
  check(
    until === undefined || qos === 1 || qos === 2,
    "until",
    "given with qos 1 or 2: a message of QoS 0 is not stored",
  );
}

/** What else there may be to a message. */
interface Conditions extends Pick<PublishOptions, "signal" | "expiry"> {
  readonly properties?: unknown;
}

/** Whether a publish has options besides those of its packet. */
export function isConditional({ signal, expiry, properties }: Conditions): boolean {
  return signal !== undefined || expiry !== undefined || properties !== undefined;
}

/** What of the options of a publish is not in its flags. */
export function publication(
  topic: string,
  message: string | Uint8Array,
  flags: number,
  { signal, expiry, until, properties }: PublishOptions = {},
): Publication {
  const encoded = properties && encodeMessageProperties(properties);
  return { topic, message, flags, signal, expiry, properties: encoded, untilStored: until === "stored" };
}

/** @throws {TypeError | RangeError} What is wrong with the options of a publish. */
function refuseFlags(options: PublishOptions): never {
  check(typeof options !== "function", "the options", "an object: publish() returns a promise, and calls nothing back");
  checkObject(options, "the options");
  checkNames("publish", options);
  checkQoS(options.qos);
  throw new TypeError("Cannot use retain as it must be true or false");
}

/** A message to be published, checked. */
export interface Publication extends Outbound {
  readonly signal: AbortSignal | undefined;
}

/** The messages of a list, checked. */
export function checkPublications(messages: readonly OutgoingMessage[]): Publication[] {
  return messages.map((each) => {
    checkObject(each, "a message of the list");
    const { topic, message, ...options } = each;
    checkName(topic);
    checkPayload(message);
    return publication(topic, message, publishFlags(options), options);
  });
}

/** The error of a message that its signal takes back. */
export function withdrawn(reason: unknown): MqttError {
  return new MqttError("disconnect", "The message was taken back by its signal, and never sent", reason);
}

/** The options of subscribe, checked. */
export function parseSubscribe(options: SubscribeOptions): Wanted & Pick<Planned, "onpub" | "concurrency"> {
  check(typeof options !== "function", "the options", "an object: give a handler of messages as { onpub }");
  checkObject(options, "the options");
  checkNames("subscribe", options);
  const { qos = 0, onpub, concurrency = 1 } = options;
  checkQoS(qos);
  checkFunction(onpub, "onpub");
  if (concurrency !== Infinity) checkRange("concurrency", concurrency, 1, Number.MAX_SAFE_INTEGER);
  check(
    options.concurrency === undefined || onpub !== undefined,
    "concurrency",
    "given with onpub, whose promises it counts",
  );
  return { qos, onpub, concurrency, ...parseSubscription(options) };
}

/** How a filter is subscribed. */
type Wanted = Omit<FilterRequest, "topic"> & Pick<Planned, "id" | "properties">;

/** What only version 5 has of that, checked: nothing of it is there that is not given. */
function parseSubscription(options: SubscriptionOptions): Omit<Wanted, "qos"> {
  const { noLocal, retainAsPublished, retainHandling, id, properties } = options;
  check(noLocal === undefined || typeof noLocal === "boolean", "noLocal", "true or false");
  check(
    retainAsPublished === undefined || typeof retainAsPublished === "boolean",
    "retainAsPublished",
    "true or false",
  );
  if (retainHandling !== undefined) checkRange("retainHandling", retainHandling, 0, 2);
  if (id !== undefined) checkRange("id", id, 1, MAX_REMAINING_LENGTH);
  if (properties !== undefined) checkProperties(SUBSCRIBE, properties);
  return {
    ...(noLocal !== undefined && { noLocal }),
    ...(retainAsPublished !== undefined && { retainAsPublished }),
    ...(retainHandling !== undefined && { retainHandling }),
    ...(id !== undefined && { id }),
    ...(properties !== undefined && { properties }),
  };
}

/** @throws {TypeError} A shared subscription cannot leave out the client's own messages [MQTT5-3.8.3-4]. */
function checkLocal(filters: readonly string[], { noLocal }: Wanted): void {
  const isShared = filters.some((filter) => filter.startsWith("$share/"));
  check(!noLocal || !isShared, "noLocal", "left out of a shared subscription");
}

/** The options of messages, checked. */
export function parseMessages(options: MessagesOptions): Wanted & { limit: number } {
  checkObject(options, "the options");
  checkNames("messages", options);
  const { qos = 0, limit = 1000 } = options;
  checkQoS(qos);
  checkRange("limit", limit, 1, Number.MAX_SAFE_INTEGER);
  return { qos, limit, ...parseSubscription(options) };
}

/** The topic filters, checked. */
export function listFilters(topic: string | readonly string[]): readonly string[] {
  const filters = typeof topic === "string" ? [topic] : topic;
  if (!Array.isArray(filters)) {
    throw new TypeError(`Cannot use the topic filter as it must be a string: received ${kindOf(topic)}`);
  }
  if (filters.length === 0) throw new TypeError("Cannot subscribe to nothing [MQTT-3.8.3-3]");
  const list = [...filters]; // without the holes of a sparse one
  list.forEach(checkFilter);
  return list;
}

/** What subscribe() asks for, checked. */
export function checkSubscribe(
  topic: string | readonly string[],
  options: SubscribeOptions,
  callback?: SubscribeCallback,
): Asked & Pick<Planned, "onpub" | "concurrency"> {
  const { onpub, concurrency, id, properties, ...wanted } = parseSubscribe(options);
  checkCallback(callback);
  const filters = listFilters(topic);
  checkLocal(filters, wanted);
  return { filters: filters.map((topic) => ({ topic, ...wanted })), onpub, concurrency, id, properties };
}

/** What connect() subscribes to, checked. */
export function checkSubscriptions({ subscriptions = {} }: ConnectOptions): Planned[] {
  checkObject(subscriptions, "subscriptions");
  const isTable = !Array.isArray(subscriptions) && !(subscriptions instanceof Map);
  check(isTable, "subscriptions", "an object, of handlers or options by topic filter");
  return Object.entries(subscriptions).flatMap(([topic, wanted]) => {
    if (wanted === undefined) return [];
    checkFilter(topic);
    const planned = parseSubscribe(typeof wanted === "function" ? { onpub: wanted } : wanted);
    checkLocal([topic], planned);
    return [{ topic, ...planned }];
  });
}

/** What unsubscribe() gives up, checked. */
export function checkUnsubscribe(topic: string | readonly string[], callback?: () => void): readonly string[] {
  const filters = listFilters(topic);
  checkFunction(callback, "the callback");
  return filters;
}

/** How disconnect() ends, checked. */
export function checkDisconnect(options: DisconnectOptions): { drain: boolean } & Farewell {
  checkObject(options, "the options");
  checkNames("disconnect", options);
  const { drain = false, will, session, properties } = options;
  check(typeof drain === "boolean", "drain", "true or false");
  check(will === undefined || typeof will === "boolean", "will", "true or false");
  if (session !== undefined) checkRange("session", session, 0, MAX_EXPIRY);
  if (properties !== undefined) checkProperties(DISCONNECT, properties);
  return { drain, will, session, properties };
}

/** The properties of a packet, checked. */
function checkProperties(type: number, properties: PacketProperties): void {
  checkObject(properties, "properties");
  checkNames("packetProperties", properties);
  checkGiven(type, properties, "properties.");
}

/** What messages() asks for, checked. */
export function checkMessages(topic: string, options: MessagesOptions): Asked & { limit: number } {
  checkFilter(topic);
  const { limit, id, properties, ...wanted } = parseMessages(options);
  checkLocal([topic], wanted);
  return { filters: [{ topic, ...wanted }], limit, id, properties };
}
