/** What is to be published, as it is given: by options, in files, on standard input. */
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import process from "node:process";
import type { OutgoingMessage } from "../mod.ts";
import { CommandError } from "./errors.ts";
import type { Values } from "./options.ts";

/** Lines that are published together. */
const BATCH = 500;

/** A message with all that was said of it. */
export type Published =
  & Required<Pick<OutgoingMessage, "topic" | "message" | "qos" | "retain">>
  & Pick<OutgoingMessage, "expiry" | "properties">;

/** What a line of JSON need not say. */
export type Common = { topic: string | undefined } & Omit<Published, "topic" | "message">;

/** The options that say what the message is. */
export function sourcesOf(values: Values): string[] {
  return ["message", "file", "stdin-file", "stdin-line", "null-message"]
    .filter((name) => values.is(name) || values.text(name) !== undefined);
}

/** The lines of a stream, those together that came together; without their line ends, the last one with or without. */
export async function* batches(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer[]> {
  /** The beginning of a line, in pieces: one of 16 MiB is not copied for each. */
  let pieces: Buffer[] = [];
  for await (const chunk of stream) {
    let lines: Buffer[] = [], from = 0;
    for (let to = chunk.indexOf(10); to >= 0; to = chunk.indexOf(10, from)) {
      const line = chunk.subarray(from, to);
      lines.push(pieces.length ? Buffer.concat([...pieces, line]) : line);
      pieces = [];
      from = to + 1;
      if (lines.length < BATCH) continue;
      yield lines;
      lines = [];
    }
    if (from < chunk.length) pieces.push(chunk.subarray(from));
    if (lines.length) yield lines;
  }
  if (pieces.length) yield [Buffer.concat(pieces)];
}

/** What the file that an option names has; undefined where it is not given. */
export function readGiven(values: Values, option: string): Buffer | undefined {
  const file = values.text(option);
  if (file === undefined) return undefined;
  try {
    return readFileSync(file);
  } catch (error) {
    throw new CommandError(`--${option}: ${(error as Error).message}`);
  }
}

/** The one message that the options say; an empty one where they say none. */
export async function payload(values: Values): Promise<Buffer> {
  const text = values.text("message");
  if (text !== undefined) return Buffer.from(text);
  const content = readGiven(values, "file");
  if (content !== undefined) return content;
  if (!values.is("stdin-file")) return Buffer.alloc(0);
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The bytes themselves, or those that their digits say. */
export function decode(bytes: Buffer, values: Values): Buffer {
  if (!values.is("hex")) return bytes;
  const digits = bytes.toString("latin1").replaceAll(/\s/g, "");
  if (/^([\da-f]{2})*$/i.test(digits)) return Buffer.from(digits, "hex");
  throw new CommandError("--hex takes pairs of hexadecimal digits");
}

/** What a line may have; `time` is that of its record. */
const KEYS = ["topic", "payload", "base64", "qos", "retain", "properties", "time"];

/** @throws {CommandError} If the line has no message. */
export function fromJson(line: Buffer, number: number, common: Common): Published {
  const wrong = (what: string): never => {
    throw new CommandError(`Line ${number} of the input ${what}`);
  };
  let value;
  try {
    value = JSON.parse(line.toString()) as Record<string, unknown> | null;
  } catch {
    return wrong("is no JSON");
  }
  if (typeof value !== "object" || value === null) return wrong("is no JSON object");
  const strange = Object.keys(value).find((key) => !KEYS.includes(key));
  if (strange !== undefined) return wrong(`has ${strange}, which means nothing: there are ${KEYS.join(", ")}`);
  const { topic = common.topic, qos = common.qos, retain = common.retain, payload = "", base64 } = value;
  if (typeof topic !== "string") return wrong("has no topic, and there is no -t");
  if (qos !== 0 && qos !== 1 && qos !== 2) return wrong("has a qos that is not 0, 1 or 2");
  if (base64 !== undefined && typeof base64 !== "string") return wrong("has a base64 that is no text");
  const message = base64 !== undefined
    ? Buffer.from(base64, "base64")
    : Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload));
  const { properties: given = {} } = value;
  if (typeof given !== "object" || given === null) return wrong("has properties that are no object");
  // What it had when it arrived: the identifiers were those of its receiver.
  const { subscriptionIds: _, expiry = common.expiry, correlation, correlationBase64, ...more } = given as Record<
    string,
    unknown
  >;
  if (correlation !== undefined && typeof correlation !== "string") return wrong("has a correlation that is no text");
  if (correlationBase64 !== undefined && typeof correlationBase64 !== "string") {
    return wrong("has a correlationBase64 that is no text");
  }
  const bytes = correlationBase64 !== undefined
    ? Buffer.from(correlationBase64, "base64")
    : correlation !== undefined
    ? Buffer.from(correlation)
    : undefined;
  const properties = { ...common.properties, ...more, ...bytes && { correlation: bytes } };
  return {
    topic,
    message,
    qos,
    retain: Boolean(retain),
    expiry: expiry as number | undefined, // the library checks it
    properties: Object.keys(properties).length > 0 ? properties : undefined,
  };
}
