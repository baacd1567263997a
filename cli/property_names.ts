/** The properties of MQTT 5 that -D takes: in the words of the specification, as mosquitto has them, and in the library's. */

/** A packet that may have some. */
export type Packet = "connect" | "publish" | "subscribe" | "disconnect" | "will";

/** What a value is: a number between two others, a text, bytes given as a text, or a name and a value. */
export type Kind = "text" | "bytes" | "pair" | { least: number; most: number };

const SECONDS = 0xffff_ffff;
const YES_OR_NO: Kind = { least: 0, most: 1 };

/** The library's name, and what the value is. */
export const names: Readonly<Record<string, readonly [name: string, kind: Kind]>> = {
  "content-type": ["contentType", "text"],
  "correlation-data": ["correlation", "bytes"],
  "message-expiry-interval": ["expiry", { least: 1, most: SECONDS }],
  "payload-format-indicator": ["payloadFormat", YES_OR_NO],
  "response-topic": ["responseTopic", "text"],
  "user-property": ["user", "pair"],
  "will-delay-interval": ["delay", { least: 0, most: SECONDS }],
  "session-expiry-interval": ["session", { least: 0, most: SECONDS }],
  "receive-maximum": ["receiveMaximum", { least: 1, most: 65_535 }],
  "maximum-packet-size": ["maxPacketSize", { least: 1, most: 268_435_460 }],
  "topic-alias-maximum": ["topicAliases", { least: 0, most: 65_535 }],
  "request-problem-information": ["requestProblem", YES_OR_NO],
  "request-response-information": ["requestResponse", YES_OR_NO],
  "authentication-method": ["method", "text"],
  "authentication-data": ["data", "bytes"],
  "subscription-identifier": ["id", { least: 1, most: 268_435_455 }],
};

const ofMessages = [
  "content-type",
  "correlation-data",
  "message-expiry-interval",
  "payload-format-indicator",
  "response-topic",
  "user-property",
];

/** Those of each packet. */
export const packets: Readonly<Record<Packet, readonly string[]>> = {
  connect: [
    "authentication-data",
    "authentication-method",
    "maximum-packet-size",
    "receive-maximum",
    "request-problem-information",
    "request-response-information",
    "session-expiry-interval",
    "topic-alias-maximum",
    "user-property",
  ],
  publish: ofMessages,
  subscribe: ["subscription-identifier", "user-property"],
  disconnect: ["session-expiry-interval", "user-property"],
  will: [...ofMessages, "will-delay-interval"],
};

function shown(name: string): string {
  const [, kind] = names[name]!;
  if (kind === "pair") return "NAME VALUE";
  if (typeof kind === "string") return "TEXT";
  return kind === YES_OR_NO ? "0 or 1" : kind.most === SECONDS ? "SECONDS" : "N";
}

/** A line for each. */
export function propertyHelp(): string {
  const lines = Object.entries(packets).flatMap(([packet, names]) =>
    packet === "will"
      ? [`  -D ${packet.padEnd(10)} the same as of publish, and will-delay-interval SECONDS`]
      : names.map((name) => `  -D ${packet.padEnd(10)} ${name.padEnd(28)} ${shown(name)}`)
  );
  return `${
    lines.join("\n")
  }\n\n  mqtt3c pub -t t -m '{}' -D publish content-type application/json -D publish user-property a 1\n`;
}
