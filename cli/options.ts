/** The options of each command, in one table, of which parseArgs() reads the arguments and --help is made. */
import { parseArgs } from "node:util";
import { CommandError } from "./errors.ts";
import { type Packet, propertyHelp } from "./property_names.ts";

interface Option {
  name: string;
  short?: string;
  /** What the value is called in the help; a switch has none. */
  value?: string;
  /** May be given several times. */
  many?: true;
  /** How many arguments the value is, after those that follow; one by default. */
  words?: (rest: readonly string[]) => number;
  /** The value where none is given. */
  default?: string;
  /** Only MQTT 5 has it. */
  is5?: true;
  help: string;
}

type Command = "sub" | "pub" | "request" | "respond" | "bench" | "doctor";

function version(otherwise: string): Option {
  return {
    name: "protocol-version",
    short: "V",
    value: "VERSION",
    help: `311, 5, or auto: 5 where there is (${otherwise})`,
  };
}

/** As mosquitto has it: three words, and four for a user property. */
function property(help: string): Option {
  return {
    name: "property",
    short: "D",
    value: "PACKET NAME TEXT",
    many: true,
    is5: true,
    words: ([, name]) => name === "user-property" ? 4 : 3,
    help,
  };
}

/** Where the broker is, and as whom it is spoken to: the same for all commands. */
const connection: readonly Option[] = [
  { name: "host", short: "h", value: "HOST", help: "the broker: host or host:port (that of MQTT_URL, or localhost)" },
  { name: "port", short: "p", value: "PORT", help: "its port (1883, with TLS 8883)" },
  {
    name: "url",
    short: "L",
    value: "URL",
    help: "mqtt://[user:password@]host[:port][/topic], mqtts, ws, wss, unix",
  },
  { name: "unix", value: "PATH", help: "a Unix socket instead" },
  { name: "proxy", value: "URL", help: "socks5://[user:password@]host:port, or http://..." },
  { name: "id", short: "i", value: "ID", help: "client identifier (a random one)" },
  { name: "id-prefix", short: "I", value: "TEXT", help: "an identifier of this and the process id" },
  { name: "keepalive", short: "k", value: "SECONDS", help: "between pings (60); 0: none" },
  { name: "disable-clean-session", short: "c", help: "the broker keeps the session; needs -i" },
  {
    name: "session-expiry-interval",
    short: "x",
    value: "N",
    is5: true,
    help: "MQTT 5: keeps it for N seconds (with -c for ever); means -c",
  },
  { name: "store", value: "FILE", help: "keep the session in a file: it survives this process; means -c" },
  { name: "username", short: "u", value: "USER", help: "or by the environment: MQTT_USER" },
  { name: "pw", short: "P", value: "PASSWORD", help: "others see it in ps: rather MQTT_PASSWORD, or one of these" },
  { name: "password-file", value: "FILE", help: "the password is the first line of the file" },
  { name: "ask-password", help: "ask for it on the terminal" },
  { name: "tls", help: "TLS, trusting the public authorities" },
  { name: "cafile", value: "FILE", help: "TLS, trusting these authorities (PEM)" },
  { name: "cert", value: "FILE", help: "the client's certificate (PEM), with --key" },
  { name: "key", value: "FILE", help: "its private key (PEM)" },
  { name: "insecure", help: "TLS with any certificate; not with a password" },
  { name: "will-topic", value: "TOPIC", help: "what the broker publishes if this client is lost:" },
  { name: "will-payload", value: "TEXT", help: "its message (empty)" },
  { name: "will-qos", value: "QOS", help: "its QoS (0)" },
  { name: "will-retain", help: "it is retained" },
  { name: "wait", help: "wait for a broker that is not there yet" },
  { name: "no-reconnect", help: "end when the connection is lost" },
  version("311; request and respond: auto"),
  property("a property of MQTT 5, mqtt3c help properties"),
  { name: "debug", short: "d", help: "show each packet, without payloads, on standard error" },
  { name: "quiet", help: "no word about the connection" },
];

const timeout: Option = { name: "timeout", short: "W", value: "SECONDS", help: "" };
const json: Option = { name: "json", help: "" };
const exchanged: readonly Option[] = [
  { ...version("auto"), default: "auto" },
  { name: "qos", short: "q", value: "QOS", help: "0, 1 or 2 (1)" },
];
const format: Option = {
  name: "format",
  short: "F",
  value: "FORMAT",
  help: "as mosquitto_sub: %t %p %q %r %l %x %j %C %D %E %P %R @H \\t",
};
const input: readonly Option[] = [
  { name: "message", short: "m", value: "TEXT", help: "the message" },
  { name: "file", short: "f", value: "FILE", help: "the message is the content of a file" },
  { name: "stdin-file", short: "s", help: "the message is all of standard input" },
  { name: "null-message", short: "n", help: "an empty message" },
];
const own: Record<Command, readonly Option[]> = {
  sub: [
    { name: "topic", short: "t", value: "FILTER", many: true, help: "what to subscribe to; several times for several" },
    { name: "qos", short: "q", value: "QOS", help: "0, 1 or 2 (0)" },
    { name: "count", short: "C", value: "N", help: "end after so many messages" },
    { ...timeout, help: "end after so long, with status 27" },
    { name: "exit-subscribed", short: "E", help: "end when the broker has granted the subscriptions" },
    { name: "verbose", short: "v", help: "the topic before each message" },
    format,
    { name: "no-newline", short: "N", help: "no line end behind the messages" },
    { ...json, help: "each message as a line of JSON, for pub --json" },
    { name: "hex", help: "payloads as hexadecimal digits" },
    { name: "no-retained", short: "R", help: "leave out retained messages" },
    { name: "retained-only", help: "retained messages only: end at the first other one" },
    { name: "filter-out", short: "T", value: "FILTER", many: true, help: "leave out what this filter matches" },
    { name: "unsubscribe", short: "U", value: "FILTER", many: true, help: "end the subscription of a kept session" },
    { name: "no-local", is5: true, help: "MQTT 5: not what this client publishes itself" },
    {
      name: "retain-as-published",
      is5: true,
      help: "MQTT 5: messages are retained (%r) as they were published",
    },
    {
      name: "retain-handling",
      value: "N",
      is5: true,
      help: "MQTT 5: retained ones come 0 always, 1 when it is new, 2 never (0)",
    },
  ],
  pub: [
    { name: "topic", short: "t", value: "TOPIC", help: "where to" },
    ...input.slice(0, 3),
    { name: "stdin-line", short: "l", help: "each line of standard input is a message" },
    { ...input[3]!, help: "an empty message; with -r it removes the retained one" },
    { ...json, help: "a line is JSON: topic, payload or base64, qos, retain, properties" },
    { name: "hex", help: "the message, or each line, is hexadecimal digits" },
    { name: "qos", short: "q", value: "QOS", help: "0, 1 or 2 (0)" },
    { name: "retain", short: "r", help: "the broker keeps it for new subscribers" },
    { name: "repeat", value: "N", help: "publish it so often" },
    { name: "repeat-delay", value: "SECONDS", help: "between those" },
    { name: "max-inflight", short: "M", value: "N", help: "not acknowledged at a time (100, of QoS 2: 19)" },
    { ...timeout, help: "give up after so long, with status 27" },
  ],
  request: [
    { name: "topic", short: "t", value: "TOPIC", help: "where to, if it is not the first argument" },
    ...input.slice(0, 3),
    { ...input[3]!, help: "an empty message, which is what there is by default" },
    { name: "hex", help: "the message is hexadecimal digits; so is the answer" },
    { ...timeout, help: "give up after so long, with status 27 (10)" },
    { name: "verbose", short: "v", help: "the topic before the answer" },
    format,
    { ...json, help: "the answer as a line of JSON" },
    { name: "no-newline", short: "N", help: "no line end behind the answer" },
    ...exchanged,
    property("of publish: content-type, payload-format-indicator, user-property"),
  ],
  respond: [
    { name: "topic", short: "t", value: "FILTER", help: "which requests, if it is not the first argument" },
    { name: "concurrency", value: "N", help: "so many commands run at once (1)" },
    { name: "count", short: "C", value: "N", help: "end after so many requests" },
    { ...timeout, help: "end a command after so long; who has asked is told" },
    { name: "raw", help: "the answer is all that the command prints, its last line end, too" },
    ...exchanged,
  ],
  bench: [
    { name: "publishers", value: "N", help: "so many connections publish (1)" },
    { name: "subscribers", value: "N", help: "so many get each message (1)" },
    { name: "rate", value: "N", help: "messages a second, of all publishers (as many as go)" },
    { name: "size", value: "BYTES", help: "of a payload, 8 at least (64)" },
    { name: "qos", short: "q", value: "QOS", help: "0, 1 or 2 (0)" },
    { name: "seconds", value: "SECONDS", help: "how long (10)" },
    { name: "topic", short: "t", value: "TOPIC", help: "where to (mqtt3c/bench/ and a random part)" },
    { ...json, help: "the result as JSON" },
  ],
  doctor: [
    { name: "topic", short: "t", value: "TOPIC", help: "where to try (mqtt3c/doctor/ and a random part)" },
    { ...version("both are tried"), help: "311 or 5 alone (both are tried)" },
    { ...timeout, help: "for each step (5)" },
    { ...json, help: "the findings as JSON" },
  ],
};

interface About {
  purpose: string;
  synopsis: string;
  examples: string[];
  /** What the first argument is called, if it may be one without an option. */
  argument?: string;
  /** Behind `--` is a command. */
  runs?: true;
  /** What it sends, and -D may have properties of, besides CONNECT, DISCONNECT and the will. */
  sends?: Packet;
}

const about: Record<Command, About> = {
  sub: {
    purpose: "Subscribe, and print the messages",
    synopsis: "-t FILTER ... [options]",
    sends: "subscribe",
    examples: [
      "mqtt3c sub -t 'home/#' -v",
      "mqtt3c sub -h broker.example -t alarm -q 1 -C 1 -W 60 || echo none",
      "mqtt3c sub -t '#' --json > record.jsonl",
    ],
  },
  pub: {
    purpose: "Publish",
    synopsis: "-t TOPIC {-m TEXT | -f FILE | -l | -s | -n | --json} [options]",
    sends: "publish",
    examples: [
      "mqtt3c pub -t home/lamp -m on -r",
      "seq 1000 | mqtt3c pub -t numbers -l -q 1",
      "mqtt3c pub --json < record.jsonl",
    ],
  },
  request: {
    purpose: "Ask, and print the answer",
    synopsis: "TOPIC [-m TEXT | -f FILE | -s] [options]",
    argument: "TOPIC",
    sends: "publish",
    examples: ["mqtt3c request -W 5 sum -m '[2, 3]'", "mqtt3c request rooms/hall/light -m on || echo nobody"],
  },
  respond: {
    purpose: "Answer with what a command prints; its standard input is the request",
    synopsis: "FILTER [options] -- COMMAND [ARGUMENT ...]",
    argument: "FILTER",
    runs: true,
    examples: [
      "mqtt3c respond -W 5 sum -- jq add",
      "mqtt3c respond -q 1 'rooms/+/light' -- sh -c './switch $MQTT_TOPIC'",
    ],
  },
  bench: {
    purpose: "Measure what a broker and the way to it can do",
    synopsis: "[options]",
    examples: ["mqtt3c bench -q 1 --subscribers 4", "mqtt3c bench --rate 1000 --seconds 60 --json"],
  },
  doctor: {
    purpose: "Find out why it does not work: name, TCP, TLS, WebSocket, versions, login, each QoS",
    synopsis: "[options]",
    examples: ["mqtt3c doctor -L mqtts://broker.example", "mqtt3c doctor -h 10.0.0.7 -u sensor --json"],
  },
};

/** The commands, in the order of the help. */
export const commands = Object.keys(about) as readonly Command[];

/** Those parts of the connection's help that a command needs before all. */
const REPEATED = ["host", "port", "url", "username", "protocol-version"];

/** The packets that -D may give properties to. */
export function packetsOf(command: Command): readonly Packet[] {
  const { sends } = about[command];
  return ["connect", ...sends ? [sends] : [], "will", "disconnect"];
}

function lines(options: readonly Option[]): string {
  return options.map(({ name, short, value, help }) => {
    const left = `${short ? `-${short}, ` : "    "}--${name}${value ? ` ${value}` : ""}`;
    return `  ${left.padEnd(31)} ${help}\n`;
  }).join("");
}

/** The help of a command, of `connection`, or of all. */
export function help(of?: string): string {
  if (of === "connection") return `The connection, in each command:\n\n${lines(connection)}`;
  if (of === "properties") return `The properties of MQTT 5, by packet, as mosquitto has them:\n\n${propertyHelp()}`;
  if (!isCommand(of)) {
    const list = commands.map((name) => `  ${name.padEnd(12)} ${about[name].purpose}\n`).join("");
    const examples = commands.map((name) => `  ${about[name].examples[0]}\n`).join("");
    return `mqtt3c: MQTT on the command line\n\n${list}\n${examples}\n` +
      `mqtt3c COMMAND --help tells more of each; mqtt3c help connection, of TLS, passwords and sessions;\n` +
      `mqtt3c help properties, of MQTT 5; mqtt3c --version, the version.\n`;
  }
  const { purpose, synopsis, examples } = about[of];
  return `${purpose}:\n\n  mqtt3c ${of} ${synopsis}\n\n${lines(own[of])}\n` +
    lines(connection.filter(({ name }) => REPEATED.includes(name) && !own[of].some((one) => one.name === name))) +
    `  TLS, passwords, sessions, proxies, a will, MQTT 5: mqtt3c help connection\n\n` +
    examples.map((line) => `  ${line}\n`).join("");
}

/** Whether there is such a command. */
export function isCommand(name: string | undefined): name is Command {
  return commands.includes(name as Command);
}

/** Whether help() has a page of that name. */
export function isHelpPage(name: string): boolean {
  return name === "connection" || name === "properties" || isCommand(name);
}

type Given = Record<string, string | boolean | (string | boolean)[] | undefined>;

/** What was given, by the options' names. */
export class Values {
  readonly command: Command;
  /** The argument that is no option's. */
  readonly argument: string | undefined;
  /** What is behind `--`. */
  readonly rest: readonly string[];
  readonly #values: Given;

  constructor(command: Command, values: Given, argument?: string, rest: readonly string[] = []) {
    this.command = command;
    this.argument = argument;
    this.rest = rest;
    this.#values = values;
  }

  is(name: string): boolean {
    return this.#values[name] === true;
  }

  /** Those that were given and that only MQTT 5 has, as they are written. */
  get of5(): string[] {
    return [...connection, ...own[this.command]].filter(({ name, is5 }) => is5 && this.#values[name] !== undefined)
      .map(({ name, short }) => short ? `-${short}` : `--${name}`);
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === "string" ? value : undefined;
  }

  list(name: string): string[] {
    return [this.#values[name] ?? []].flat().map(String);
  }

  /** The words of an option that takes several. */
  words(name: string): string[][] {
    return this.list(name).map((words) => JSON.parse(words));
  }

  /** @throws {CommandError} If it is no number, or not between the two. */
  number(name: string, least: number, most: number = Number.MAX_SAFE_INTEGER, whole = true): number | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : toNumber(`--${name}`, text, { least, most, whole });
  }

  qos(name = "qos", otherwise: 0 | 1 = 0): 0 | 1 | 2 {
    return (this.number(name, 0, 2) ?? otherwise) as 0 | 1 | 2;
  }

  /** Seconds as milliseconds. */
  milliseconds(name: string): number | undefined {
    const seconds = this.number(name, 0, 2_000_000, false);
    return seconds === undefined ? undefined : seconds * 1000;
  }
}

/** @throws {CommandError} If it is no number, or not between the two; `name` takes it. */
export function toNumber(
  name: string,
  text: string,
  { least, most, whole = true }: { least: number; most: number; whole?: boolean },
): number {
  const number = Number(text);
  const isRight = text.trim() !== "" && number >= least && number <= most && (!whole || Number.isInteger(number));
  if (isRight) return number;
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `between ${least} and ${most}`;
  throw new CommandError(`${name} takes ${whole ? "a whole number" : "a number"} ${range}, not ${text}`);
}

/** @throws {CommandError} If there is an option that the command does not have, or a value is missing. */
export function parse(command: Command, args: string[]): Values {
  const table: Option[] = [...connection, ...own[command], { name: "help", help: "" }];
  const options = Object.fromEntries(table.map(({ name, short, value, many, default: otherwise }) => [name, {
    type: value ? "string" as const : "boolean" as const,
    ...short && { short },
    ...many && { multiple: true },
    ...otherwise !== undefined && { default: otherwise },
  }]));
  const { argument, runs } = about[command];
  const { joined, rest } = join(args, table);
  const lists = `; mqtt3c ${command} --help lists what there is`;
  if (rest.length > 0 && !runs) throw new CommandError(`Unexpected argument '${rest[0]}'${lists}`);
  try {
    const { values, positionals } = parseArgs({ args: joined, options, allowPositionals: argument !== undefined });
    if (positionals.length > 1) throw new Error(`Unexpected argument '${positionals[1]}'`);
    if (positionals.length > 0 && values["topic"] !== undefined) {
      throw new Error(`Unexpected argument '${positionals[0]}': there is -t`);
    }
    return new Values(command, values, positionals[0], rest);
  } catch (error) {
    // It says what is wrong, and then how values with a dash are given: the first sentence is enough.
    const [sentence] = (error as Error).message.split(/\. |\n/);
    throw new CommandError(`${sentence}${lists}`);
  }
}

/**
 * A value that begins with a dash, `-m -5`, is taken as one, as mosquitto does; those of several words become one. What is
 * behind `--` is no option.
 */
function join(args: string[], table: readonly Option[]): { joined: string[]; rest: string[] } {
  const joined: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") return { joined, rest: args.slice(i + 1) };
    const option = table.find(({ name, short }) => arg === `--${name}` || arg === `-${short}`);
    const count = option?.words?.(args.slice(i + 1)) ?? 1, words = args.slice(i + 1, i + 1 + count);
    if (!option?.value || words.length === 0) joined.push(arg);
    else if (words.length < count) {
      throw new CommandError(`-${option.short} takes ${option.value}: mqtt3c help properties`);
    } else {
      joined.push(`--${option.name}=${option.words ? JSON.stringify(words) : words[0]}`);
      i += count;
    }
  }
  return { joined, rest: [] };
}
