/** The properties of MQTT 5 (section 2.2.2): one table, by which they are checked where they lie, read and written.
 * @module */

import { fromUtf8, isBytes, kindOf } from "./bytes.ts";
import { check, checkObject, checkRange } from "./checks.ts";
import { checkKnown, type Names } from "./names.ts";
import * as packet from "./packet.ts";
import { type MessageProperties, NAMES, type Properties, PUBLISH, WILL } from "./packet.ts";
import { broken, must, RULES } from "./rules.ts";
import { decodeString } from "./text.ts";
import { checkName, checkString } from "./topic.ts";
import {
  binary,
  concat,
  type Field,
  getLength,
  lengthSize,
  sizeOfFields,
  string,
  uint16,
  uint32,
  varint,
} from "./wire.ts";

/** The data types. */
const BYTE = 0, UINT16 = 1, UINT32 = 2, VARINT = 3, BINARY = 4, STRING = 5, PAIR = 6;
type Type = typeof BYTE | typeof UINT16 | typeof UINT32 | typeof VARINT | typeof BINARY | typeof STRING | typeof PAIR;

/** The largest number of each type that is one; a byte says yes or no in all properties. */
const LARGEST = [1, 65_535, 4_294_967_295, packet.MAX_REMAINING_LENGTH];
/** The bytes of those of fixed size. */
const SIZES = [1, 2, 4];

/** Some packet types, as bits. */
function set(...types: number[]): number {
  return types.reduce((bits, type) => bits | 1 << type, 0);
}

const { CONNECT, CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK } = packet;
const { DISCONNECT, AUTH } = packet;
const MESSAGE = set(PUBLISH, WILL), AUTHENTICATION = set(CONNECT, CONNACK, AUTH);
const ANSWER = set(CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH);
const ALL = ANSWER | MESSAGE | set(CONNECT, SUBSCRIBE, UNSUBSCRIBE);
const NOWHERE = 0;

/** Its own name, where it may be, where more than once, and its smallest number. */
interface Property {
  readonly identifier: number;
  readonly name: keyof Properties;
  readonly type: Type;
  readonly packets: number;
  readonly repeatable: number;
  readonly least: number;
}

const rows: [identifier: number, keyof Properties, Type, packets: number, repeatable?: number, least?: number][] = [
  [1, "payloadFormat", BYTE, MESSAGE],
  [2, "expiry", UINT32, MESSAGE],
  [3, "contentType", STRING, MESSAGE],
  [8, "responseTopic", STRING, MESSAGE],
  [9, "correlation", BINARY, MESSAGE],
  [11, "subscriptionIds", VARINT, set(PUBLISH, SUBSCRIBE), set(PUBLISH), 1],
  [17, "sessionExpiry", UINT32, set(CONNECT, CONNACK, DISCONNECT)],
  [18, "assignedId", STRING, set(CONNACK)],
  [19, "serverKeepalive", UINT16, set(CONNACK)],
  [21, "authMethod", STRING, AUTHENTICATION],
  [22, "authData", BINARY, AUTHENTICATION],
  [23, "requestProblem", BYTE, set(CONNECT)],
  [24, "willDelay", UINT32, set(WILL)],
  [25, "requestResponse", BYTE, set(CONNECT)],
  [26, "responseInformation", STRING, set(CONNACK)],
  [28, "serverReference", STRING, set(CONNACK, DISCONNECT)],
  [31, "reason", STRING, ANSWER],
  [33, "receiveMaximum", UINT16, set(CONNECT, CONNACK), NOWHERE, 1],
  [34, "topicAliasMaximum", UINT16, set(CONNECT, CONNACK)],
  [35, "topicAlias", UINT16, set(PUBLISH), NOWHERE, 1],
  [36, "maximumQoS", BYTE, set(CONNACK)],
  [37, "retainAvailable", BYTE, set(CONNACK)],
  [38, "user", PAIR, ALL, ALL],
  [39, "maximumPacketSize", UINT32, set(CONNECT, CONNACK), NOWHERE, 1],
  [40, "wildcardAvailable", BYTE, set(CONNACK)],
  [41, "subscriptionIdsAvailable", BYTE, set(CONNACK)],
  [42, "sharedAvailable", BYTE, set(CONNACK)],
];

const TABLE: readonly Property[] = rows.map(([identifier, name, type, packets, repeatable = NOWHERE, least = 0]) => ({
  identifier,
  name,
  type,
  packets,
  repeatable,
  least,
}));

/** By identifier, those that are none among them. */
const BY_IDENTIFIER: (Property | undefined)[] = Array.from({ length: 43 });
/** The place in TABLE as a bit: there are 27. */
const BITS: number[] = BY_IDENTIFIER.map(() => 0);
TABLE.forEach((property, i) => {
  BY_IDENTIFIER[property.identifier] = property;
  BITS[property.identifier] = 1 << i;
});

const EXPIRY = 2,
  RESPONSE_TOPIC = 8,
  AUTH_METHOD = 21,
  AUTH_DATA = 22,
  USER = 38;

/** The identifiers of a topic alias, and of a subscription identifier. */
export const TOPIC_ALIAS = 35, SUBSCRIPTION_ID = 11;

/** What of a PUBLISH's properties its receiver needs at once. */
export class Found {
  /** 0: it has none. */
  topicAlias = 0;
  /** Seconds. */
  expiry: number | undefined;
  #ids: number[] | undefined;

  /** None are none. */
  get subscriptionIds(): readonly number[] {
    return this.#ids ?? NO_IDS;
  }

  /** Begins anew. */
  clear(): void {
    this.topicAlias = 0;
    this.expiry = undefined;
    this.#ids = undefined;
  }

  /** Keeps a number, if it is one of these. */
  take(identifier: number, value: number): void {
    if (identifier === TOPIC_ALIAS) this.topicAlias = value;
    else if (identifier === EXPIRY) this.expiry = value;
    else if (identifier === SUBSCRIPTION_ID) (this.#ids ??= []).push(value);
  }
}

const NO_IDS: readonly number[] = Object.freeze([]);

/** What a PUBLISH without properties has. */
export const NOTHING_FOUND: Found = new Found();

/**
 * Checks properties where they lie, and takes those of which `found` has the places. `view` is over the same memory as
 * `bytes`, from the same byte on.
 *
 * @throws {MqttError} `"protocol"`
 */
export function checkProperties(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  type: number,
  found?: Found,
): void {
  let seen = 0;
  for (let at = start; at < end;) {
    const identifier = bytes[at++]!;
    if (identifier === USER) { // wherever properties are, and the one that messages have most of: it need not be looked up
      at = checkField(bytes, view, checkField(bytes, view, at, end), end);
      continue;
    }
    const property = BY_IDENTIFIER[identifier];
    if (property === undefined || (property.packets >> type & 1) === 0) {
      throw broken(`a ${NAMES[type]} with property ${property?.name ?? identifier}`, RULES.format, 5);
    }
    const bit = BITS[identifier]!;
    if ((seen & bit) !== 0 && (property.repeatable >> type & 1) === 0) {
      throw broken(`a ${NAMES[type]} with property ${property.name} twice`, RULES.value, 5);
    }
    seen |= bit;
    if (property.type > VARINT) at = checkBytes(property, bytes, view, at, end);
    else at = checkNumber(property, bytes, at, end, found);
  }
  const hasMethod = (seen & BITS[AUTH_METHOD]!) !== 0;
  must(hasMethod || type !== AUTH, "an AUTH without authentication method", RULES.noMethod, 5);
  must(hasMethod || (seen & BITS[AUTH_DATA]!) === 0, "authentication data without a method", RULES.value, 5);
}

/** Checks a number; where it ends. */
function checkNumber(property: Property, bytes: Uint8Array, at: number, end: number, found: Found | undefined): number {
  const { identifier, name, type, least } = property;
  if (type !== VARINT && at + SIZES[type]! > end) throw cut();
  const value = type === VARINT ? getLength(bytes, at, end) : numberAt(bytes, at, SIZES[type]!);
  if (value < 0) throw cut();
  if (value < least || value > LARGEST[type]!) {
    throw broken(`${name} ${value}`, identifier === TOPIC_ALIAS ? RULES.alias0 : RULES.value, 5);
  }
  if (found !== undefined) found.take(identifier, value);
  return at + (type === VARINT ? lengthSize(value) : SIZES[type]!);
}

function numberAt(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value = value << 8 | bytes[at + i]!;
  return value >>> 0;
}

/** Checks a string, most of which are ASCII, and need not be decoded: 10 ns instead of 130. Where it ends. */
function checkField(bytes: Uint8Array, view: DataView, at: number, limit: number): number {
  const start = at + 2;
  const end = start + (bytes[at]! << 8 | bytes[at + 1]!);
  if (end > limit) throw cut();
  if (!isPlain(bytes, view, start, end)) decodeString(bytes.subarray(start, end), 5);
  return end;
}

/** Whether all bytes are ASCII and none is 0; four at a time, as far as that goes. */
function isPlain(bytes: Uint8Array, view: DataView, start: number, end: number): boolean {
  // A byte has bit 7 if it is beyond ASCII, and after 1 was taken from it if it was 0.
  let bits = 0, at = start;
  for (; at + 4 <= end; at += 4) bits |= view.getInt32(at) - 0x01010101 | view.getInt32(at);
  for (; at < end; at++) bits |= bytes[at]! - 1 | bytes[at]!;
  return (bits & 0x80808080) === 0;
}

/** Checks bytes or a string; where they end. */
function checkBytes(
  { identifier, type }: Property,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  limit: number,
): number {
  if (type === STRING) {
    const end = checkField(bytes, view, at, limit);
    if (identifier === RESPONSE_TOPIC) checkResponseTopic(bytes, at + 2, end);
    return end;
  }
  const end = at + 2 + (bytes[at]! << 8 | bytes[at + 1]!);
  if (end > limit) throw cut();
  return end;
}

function checkResponseTopic(bytes: Uint8Array, start: number, end: number): void {
  must(start < end, "an empty response topic", RULES.emptyTopic, 5);
  for (let at = start; at < end; at++) {
    const isWildcard = bytes[at] === 0x23 || bytes[at] === 0x2b; // no other character has these bytes in UTF-8
    must(!isWildcard, "a response topic with a wildcard", RULES.responseWildcard, 5);
  }
}

function cut(): Error {
  return broken("properties that end within one", RULES.format, 5);
}

/** Makes an object of properties that were checked; nothing of it lies in `bytes`. */
export function readProperties(bytes: Uint8Array, start: number, end: number): Properties {
  const properties: Partial<Record<keyof Properties, unknown>> = {};
  let at = start;
  const field = () => {
    const value = at + 2;
    return bytes.slice(value, at = value + (bytes[at]! << 8 | bytes[at + 1]!));
  };
  const read = (type: Type): unknown => {
    if (type === PAIR) return Object.freeze([fromUtf8.decode(field()), fromUtf8.decode(field())]);
    if (type === STRING) return fromUtf8.decode(field());
    if (type === BINARY) return field();
    const value = type === VARINT ? getLength(bytes, at, end) : numberAt(bytes, at, SIZES[type]!);
    at += type === VARINT ? lengthSize(value) : SIZES[type]!;
    return value;
  };
  while (at < end) {
    const { name, type, repeatable } = BY_IDENTIFIER[bytes[at++]!]!;
    if (repeatable === NOWHERE) properties[name] = read(type);
    else ((properties[name] ??= []) as unknown[]).push(read(type));
  }
  for (const value of Object.values(properties)) if (Array.isArray(value)) Object.freeze(value);
  return properties as Properties;
}

/** What the application sees of a PUBLISH's properties. */
export function readMessageProperties(bytes: Uint8Array, start: number, end: number): MessageProperties {
  const { topicAlias: _, ...properties } = readProperties(bytes, start, end);
  return Object.freeze(properties);
}

/**
 * The properties of a packet with their length, those that are undefined left out.
 *
 * @throws {TypeError | RangeError} Which names the property, and says what it must be.
 */
export function propertyFields(type: number, properties: Properties = {}, prefix = "properties."): Field[] {
  const fields: Field[] = [];
  for (const property of TABLE) {
    const value = properties[property.name];
    if (value === undefined || (property.packets >> type & 1) === 0) continue;
    const what = prefix + property.name;
    const isMany = (property.repeatable >> type & 1) === 1;
    for (const each of property.repeatable === NOWHERE ? [value] : listOf(property, value, what, isMany)) {
      fields.push([property.identifier], ...valueFields(property, each, what));
    }
  }
  return [varint(sizeOfFields(fields)), ...fields];
}

/** What a property has that may be given more than once. */
function listOf({ type }: Property, value: unknown, what: string, isMany: boolean): readonly unknown[] {
  const example = type === PAIR ? 'a list of pairs, [["name", "value"]]' : "a list of numbers";
  check(Array.isArray(value), what, `${example}: received ${kindOf(value)}`);
  check(isMany || value.length === 1, what, "a list of one");
  return [...value]; // without the holes of a sparse one
}

function valueFields({ identifier, type, least }: Property, value: unknown, what: string): Field[] {
  if (type === PAIR) {
    const isPair = Array.isArray(value) && value.length === 2;
    check(isPair, what, `a list of pairs, [["name", "value"]]: received ${kindOf(value)} in it`);
    return value.flatMap((text: unknown, i) => {
      checkString(text, `${i === 0 ? "a name" : "a value"} in ${what}`);
      return string(text);
    });
  }
  if (type === STRING) {
    if (identifier === RESPONSE_TOPIC) checkName(value, what);
    else checkString(value, what);
    return string(value);
  }
  if (type === BINARY) {
    check(isBytes(value), what, `a Uint8Array: received ${kindOf(value)}`);
    if (value.length > 65_535) throw new RangeError(`Cannot use ${what} as it is over 65535 bytes`);
    return binary(value);
  }
  checkRange(what, value, least, LARGEST[type]!);
  return [type === BYTE ? [value] : type === UINT16 ? uint16(value) : type === UINT32 ? uint32(value) : varint(value)];
}

/** What a program may give; the rest is told by options of their own, or not its to say. */
const GIVEN: Names = {
  of: "publish",
  prefix: "properties.",
  own: ["payloadFormat", "contentType", "responseTopic", "correlation", "user"],
  foreign: {
    payloadformatindicator: "use properties.payloadFormat",
    correlationdata: "use properties.correlation",
    userproperties: 'use properties.user, [["name", "value"]]',
    userproperty: 'use properties.user, [["name", "value"]]',
    expiry: "use expiry, an option beside properties",
    messageexpiry: "use expiry, an option beside properties",
    messageexpiryinterval: "use expiry, an option beside properties",
    willdelay: "use will.delay, in seconds",
    willdelayinterval: "use will.delay, in seconds",
    topicalias: "the client sets it itself: use topicAliases of connect",
    subscriptionids: "the broker sets them",
    subscriptionidentifier: "the broker sets it",
  },
};

/** The same for a will. */
const GIVEN_WILL: Names = { ...GIVEN, of: "connect", prefix: "will.properties." };

/** What the client adds to the properties that the program gives. */
export type AddedProperties = Pick<Properties, "expiry" | "topicAlias" | "willDelay">;

/**
 * The properties of a message with their length, as `publish` of a Packer takes them. `type` is PUBLISH or WILL.
 *
 * @throws {TypeError | RangeError} If `given` is wrong: it names the property, and says what to give.
 */
export function encodeMessageProperties(
  given: MessageProperties,
  added: AddedProperties = {},
  type: typeof PUBLISH | typeof WILL = PUBLISH,
): Uint8Array<ArrayBuffer> {
  const names = type === WILL ? GIVEN_WILL : GIVEN;
  checkObject(given, type === WILL ? "will.properties" : "properties");
  checkKnown(names, given);
  return concat(propertyFields(type, { ...given, ...added }, names.prefix));
}

/** The properties of a message, as they are encoded, with its expiry before them, in seconds. */
export function withExpiry(properties: Uint8Array | undefined, expiry: number): Uint8Array<ArrayBuffer> {
  const own = [EXPIRY, ...uint32(expiry)];
  if (properties === undefined) return concat([varint(own.length), own]);
  const length = getLength(properties, 0, properties.length);
  return concat([varint(own.length + length), own, properties.subarray(lengthSize(length))]);
}

/** Writes an expiry over that of properties which begin with it, and with their length at a place. */
export function writeExpiry(bytes: Uint8Array, at: number, expiry: number): void {
  const length = getLength(bytes, at, bytes.length), first = at + lengthSize(length);
  if (length > 0 && bytes[first] === EXPIRY) bytes.set(uint32(expiry), first + 1);
}

/** Whether encoded properties, without their length, have an expiry and nothing else. */
export function isExpiryAlone(properties: Uint8Array): boolean {
  return properties.length === 5 && properties[0] === EXPIRY;
}

/** @throws {TypeError | RangeError} If the program has given properties of a packet that are wrong: it names the property. */
export function checkGiven(type: number, given: Properties, prefix: string): void {
  propertyFields(type, given, prefix);
}
