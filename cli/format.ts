/** How a message is printed: as it is, after a format of mosquitto_sub, or as a line of JSON. */
import { Buffer } from "node:buffer";
import type { Message } from "../mod.ts";
import { CommandError } from "./errors.ts";
import type { Values } from "./options.ts";
import { say } from "./terminal.ts";

/** The parts of a message's line; undefined if it cannot be printed so. */
export type Printer = (message: Message) => (string | Uint8Array)[] | undefined;
/** The subscription identifiers of a message that somebody has asked for. */
type IdsOf = (message: Message) => readonly number[];
type Part = (message: Message, now: Date) => string | Uint8Array | undefined;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const hex = (message: Message) => Buffer.from(message.payload).toString("hex");
const pad = (value: number, width = 2) => `${value}`.padStart(width, "0");

/** The text of bytes; undefined if they are not UTF-8. */
function textOf(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** What the options say of printing. */
export function printer(values: Values): Printer {
  const format = values.text("format"), json = values.is("json"), digits = values.is("hex");
  if ([format !== undefined, json, digits].filter(Boolean).length > 1) {
    throw new CommandError("Give one of --format, --json and --hex");
  }
  const end = values.is("no-newline") ? "" : "\n";
  const topic = ({ topic }: Message) => values.is("verbose") ? `${topic} ` : "";
  // Where nobody chose one, the library did, for itself.
  const isChosen = values.words("property").some(([, name]) => name === "subscription-identifier");
  const idsOf: IdsOf = ({ properties }) => isChosen ? properties?.subscriptionIds ?? [] : [];
  if (json) return (message) => [`${toJson(message, idsOf)}\n`];
  if (digits) return (message) => [topic(message), hex(message), end];
  if (format === undefined) return (message) => [topic(message), message.payload, end];
  const parts = parseFormat(format, idsOf);
  return (message) => {
    const now = new Date(), line: (string | Uint8Array)[] = [];
    for (const part of parts) {
      const piece = typeof part === "string" ? part : part(message, now);
      if (piece === undefined) return undefined;
      line.push(piece);
    }
    return [...line, end];
  };
}

/** A message as `pub --json` takes it; what is not UTF-8 is base64. */
function toJson(message: Message, idsOf: IdsOf): string {
  const { topic, qos, retain, payload } = message;
  const text = textOf(payload);
  const content = text === undefined ? { base64: Buffer.from(payload).toString("base64") } : { payload: text };
  const properties = propertiesOf(message, idsOf(message));
  return JSON.stringify({ time: new Date().toISOString(), topic, qos, retain, ...content, properties });
}

/** The properties by the library's names; undefined if there are none. */
function propertiesOf({ properties }: Message, ids: readonly number[]): object | undefined {
  if (properties === undefined) return undefined;
  const { correlation, subscriptionIds: _, ...rest } = properties;
  const text = correlation && textOf(correlation);
  const shown = {
    ...rest,
    ...correlation &&
      (text === undefined ? { correlationBase64: Buffer.from(correlation).toString("base64") } : { correlation: text }),
    ...ids.length > 0 && { subscriptionIds: ids },
  };
  return Object.values(shown).some((value) => value !== undefined) ? shown : undefined;
}

const ESCAPES: Record<string, string> = {
  "\\": "\\",
  "0": "\0",
  a: "\x07",
  e: "\x1b",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** @throws {CommandError} If there is something in it that cannot be printed. */
function parseFormat(format: string, idsOf: IdsOf): (string | Part)[] {
  const parts: (string | Part)[] = [];
  for (let i = 0; i < format.length; i++) {
    const letter = format[i]!;
    if (letter === "\\") parts.push(ESCAPES[format[++i] ?? ""] ?? unknown(`\\${format[i] ?? ""}`));
    else if (letter === "@") {
      const name = format[++i] ?? "";
      parts.push(name === "@" ? "@" : time(name));
    } else if (letter === "%") {
      const [whole, flags, width, most, name] = /^%([-0]*)(\d*)(?:\.(\d+))?(.?)/s.exec(format.slice(i))!;
      i += whole.length - 1;
      parts.push(name === "%" ? "%" : fitted(parameter(name!, idsOf), flags!, Number(width), most));
    } else parts.push(letter);
  }
  return parts;
}

function unknown(sequence: string): never {
  throw new CommandError(`The format has ${sequence}, which means nothing`);
}

/** What the library has to itself. */
const HIDDEN: Record<string, string> = { m: "the packet identifier", A: "the topic alias" };

/** A message's part by its letter; properties that it does not have are empty. */
function parameter(name: string, idsOf: IdsOf): Part {
  const hidden = HIDDEN[name];
  if (hidden !== undefined) throw new CommandError(`%${name} of the format, ${hidden}, is the library's own business`);
  const known: Record<string, Part> = {
    t: ({ topic }) => topic,
    p: ({ payload }) => payload,
    l: ({ payload }) => `${payload.length}`,
    q: ({ qos }) => `${qos}`,
    r: ({ retain }) => `${Number(retain)}`,
    x: hex,
    X: (message) => hex(message).toUpperCase(),
    I: (_, now) => iso(now),
    U: (_, now) => `${Math.floor(now.getTime() / 1000)}.${pad(now.getTime() % 1000, 3)}000000`,
    C: ({ properties }) => properties?.contentType ?? "",
    D: ({ properties }) => properties?.correlation ?? "",
    E: ({ properties }) => `${properties?.expiry ?? ""}`,
    F: ({ properties }) => `${properties?.payloadFormat ?? ""}`,
    P: ({ properties }) => properties?.user?.map(([name, value]) => `${name}:${value}`).join(" ") ?? "",
    R: ({ properties }) => properties?.responseTopic ?? "",
    S: (message) => `${idsOf(message)[0] ?? ""}`,
    j: (message, now) => envelope(message, now, JSON.stringify(message.text()), idsOf(message)),
    J: (message, now) => {
      const text = message.text();
      try {
        JSON.parse(text);
      } catch {
        say(`the message is no JSON, on ${message.topic}`, "red");
        return undefined;
      }
      return envelope(message, now, text, idsOf(message));
    },
  };
  return known[name] ?? unknown(`%${name}`);
}

/** The properties as mosquitto_sub has them; the names of user properties may repeat themselves. */
function envelopeOfProperties({ properties }: Message, ids: readonly number[]): string {
  if (properties === undefined) return "";
  const { contentType, user, correlation, payloadFormat, responseTopic, expiry } = properties;
  const pairs = user?.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(",");
  const parts = Object.entries({
    "subscription-identifier": ids[0]?.toString(),
    "content-type": contentType && JSON.stringify(contentType),
    "user-properties": pairs && `{${pairs}}`,
    "correlation-data": correlation && JSON.stringify(Buffer.from(correlation).toString()),
    "payload-format-indicator": payloadFormat?.toString(),
    "response-topic": responseTopic && JSON.stringify(responseTopic),
    "message-expiry-interval": expiry?.toString(),
  }).flatMap(([name, value]) => value === undefined ? [] : [`"${name}":${value}`]);
  return parts.length > 0 ? `,"properties":{${parts.join(",")}}` : "";
}

function envelope(message: Message, now: Date, content: string, ids: readonly number[]): string {
  const { topic, qos, retain, payload } = message;
  const head = {
    tst: iso(now, `.${pad(now.getMilliseconds(), 3)}000`),
    topic,
    qos,
    retain: Number(retain),
    payloadlen: payload.length,
  };
  return `${JSON.stringify(head).slice(0, -1)}${envelopeOfProperties(message, ids)},"payload":${content}}`;
}

/** A part as wide as wanted; `most` cuts it, `-` puts it left, `0` fills it with zeros. */
function fitted(part: Part, flags: string, width: number, most: string | undefined): Part {
  if (width === 0 && most === undefined) return part;
  return (message, now) => {
    const whole = part(message, now);
    if (whole === undefined) return undefined;
    const text = typeof whole === "string" ? whole : Buffer.from(whole).toString("latin1"); // bytes stay bytes
    const cut = most === undefined ? text : text.slice(0, Number(most));
    const filled = flags.includes("-") ? cut.padEnd(width) : cut.padStart(width, flags.includes("0") ? "0" : " ");
    return typeof whole === "string" ? filled : Buffer.from(filled, "latin1");
  };
}

/** As 2026-11-27T14:05:30+0100; a fraction of the second begins with its point. */
function iso(now: Date, fraction = ""): string {
  const date = `${now.getFullYear()}-${pad(now.getMonth() + 1)}-${pad(now.getDate())}`;
  return `${date}T${pad(now.getHours())}:${pad(now.getMinutes())}:${pad(now.getSeconds())}${fraction}${zone(now)}`;
}

function zone(now: Date): string {
  const minutes = -now.getTimezoneOffset();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `${minutes < 0 ? "-" : "+"}${pad(hours)}${pad(rest)}`;
}

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September"]
  .concat("October", "November", "December");

/** What strftime() makes of a letter, in English. */
function time(name: string): Part {
  const known: Record<string, (now: Date) => string> = {
    Y: (now) => `${now.getFullYear()}`,
    y: (now) => pad(now.getFullYear() % 100),
    m: (now) => pad(now.getMonth() + 1),
    d: (now) => pad(now.getDate()),
    e: (now) => `${now.getDate()}`.padStart(2),
    H: (now) => pad(now.getHours()),
    I: (now) => pad(now.getHours() % 12 || 12),
    p: (now) => now.getHours() < 12 ? "AM" : "PM",
    M: (now) => pad(now.getMinutes()),
    S: (now) => pad(now.getSeconds()),
    F: (now) => iso(now).slice(0, 10),
    T: (now) => iso(now).slice(11, 19),
    R: (now) => iso(now).slice(11, 16),
    a: (now) => DAYS[now.getDay()]!.slice(0, 3),
    A: (now) => DAYS[now.getDay()]!,
    b: (now) => MONTHS[now.getMonth()]!.slice(0, 3),
    B: (now) => MONTHS[now.getMonth()]!,
    s: (now) => `${Math.floor(now.getTime() / 1000)}`,
    z: zone,
    N: (now) => `${pad(now.getMilliseconds(), 3)}000000`,
  };
  const part = known[name] ?? unknown(`@${name}`);
  return (_, now) => part(now);
}
