/** `mqtt3c pub`: publishes a message, or each line of standard input; it ends well when the broker has them. */
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import process from "node:process";
import type { Client, OutgoingMessage } from "../mod.ts";
import { open, place } from "./connection.ts";
import { CommandError, EXIT, unless } from "./errors.ts";
import type { Values } from "./options.ts";
import { clearProgress, grouped, isTerminal, progress } from "./terminal.ts";

/** So many bytes may be published and not acknowledged; each message counts some more than it has. */
const AHEAD = 4 << 20;
const OVERHEAD = 256;
/** Lines that are published together. */
const BATCH = 500;
/** Milliseconds between two looks at the progress. */
const LOOK = 250;

type Published = Required<Pick<OutgoingMessage, "topic" | "message" | "qos" | "retain">>;

/** Resolves to the exit status, once the broker has all messages. */
export async function pub(values: Values, interrupted: Promise<number>): Promise<number> {
  const topic = values.text("topic") ?? place(values).topic;
  const json = values.is("json"), byLine = json || values.is("stdin-line");
  const qos = values.qos(), retain = values.is("retain");
  const sources = ["message", "file", "stdin-file", "stdin-line", "null-message"]
    .filter((name) => values.is(name) || values.text(name) !== undefined);
  if (sources.length + Number(json && !values.is("stdin-line")) !== 1) {
    throw new CommandError("What is to be published? One of -m TEXT, -f FILE, -l, -s, -n and --json");
  }
  if (topic === undefined && !json) throw new CommandError("Where to? -t TOPIC");
  const repeat = values.number("repeat", 1) ?? 1, pause = values.milliseconds("repeat-delay") ?? 0;
  if (byLine && repeat > 1) throw new CommandError("--repeat is for one message");
  const time = values.milliseconds("timeout");

  const content = byLine ? undefined : decode(await unless(interrupted, payload(values)), values);
  const parse = (line: Buffer, number: number): Published => {
    return json
      ? fromJson(line, number, { topic, qos, retain })
      : { topic: topic!, message: decode(line, values), qos, retain };
  };
  const mqtt = await open(values, interrupted, {
    maxInflight: values.number("max-inflight", 1, 65_535),
    // One large message has to fit.
    ...content && { maxBuffered: Math.max(16 << 20, content.length + (1 << 20)) },
  });
  const sender = new Sender(mqtt, content?.length);
  const work = async () => {
    if (content === undefined) {
      let number = 0;
      for await (const lines of batches(process.stdin)) {
        const messages: Published[] = [];
        try {
          for (const line of lines) messages.push(parse(line, ++number));
        } finally { // those before a wrong line, too
          await sender.send(messages);
        }
      }
    } else {
      for (let i = 0; i < repeat; i++) {
        if (i > 0 && pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
        await sender.send([{ topic: topic!, message: content, qos, retain }]);
      }
    }
    await sender.done();
    return EXIT.done;
  };
  const ended = mqtt.run().then((error) => Promise.reject(error));
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<number>((resolve) => {
    if (time !== undefined) timer = setTimeout(resolve, time, EXIT.timeout);
  });
  try {
    return await Promise.race([work(), interrupted, late, ended]);
  } finally {
    clearTimeout(timer);
    // What was read before a wrong line is sent. What cannot be sent any more is told already: by the status, or the error.
    await mqtt.disconnect().catch(() => {});
    sender.stop();
  }
}

/** Publishes no faster than the broker acknowledges. */
class Sender {
  readonly #mqtt: Client;
  readonly #began = performance.now();
  readonly #look: ReturnType<typeof setInterval> | undefined;
  /** What is on its way, oldest first. */
  readonly #pending: { bytes: number; published: Promise<unknown> }[] = [];
  #bytes = 0;
  #count = 0;

  constructor(mqtt: Client, size: number | undefined) {
    this.#mqtt = mqtt;
    if (!isTerminal) return;
    this.#look = setInterval(() => {
      const seconds = (performance.now() - this.#began) / 1000;
      const what = size !== undefined && this.#count === 0
        ? `sending ${grouped(size)} bytes`
        : `${grouped(this.#count)} messages, ${grouped(this.#count / seconds)} a second`;
      progress(`${what}, ${seconds.toFixed(0)} s`);
    }, LOOK);
  }

  /** Resolves when there is room for more. */
  async send(messages: Published[]): Promise<void> {
    const bytes = messages.reduce((sum, { topic, message }) => sum + topic.length + message.length + OVERHEAD, 0);
    while (this.#pending.length && this.#bytes + bytes > AHEAD) await this.#oldest();
    const published = this.#mqtt.publish(messages).then(() => this.#count += messages.length);
    published.catch(() => {}); // it is awaited later, in its turn
    this.#pending.push({ bytes, published });
    this.#bytes += bytes;
  }

  async #oldest(): Promise<void> {
    const { bytes, published } = this.#pending.shift()!;
    await published;
    this.#bytes -= bytes;
  }

  /** Resolves when the broker has all of them, those of QoS 0, too. */
  async done(): Promise<void> {
    while (this.#pending.length) await this.#oldest();
    await this.#mqtt.flush();
  }

  stop(): void {
    clearInterval(this.#look);
    clearProgress();
  }
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

/** The one message that the options say. */
async function payload(values: Values): Promise<Buffer> {
  const text = values.text("message"), file = values.text("file");
  if (text !== undefined) return Buffer.from(text);
  if (file !== undefined) return readFileSync(file);
  if (values.is("null-message")) return Buffer.alloc(0);
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function decode(bytes: Buffer, values: Values): Buffer {
  if (!values.is("hex")) return bytes;
  const digits = bytes.toString("latin1").replaceAll(/\s/g, "");
  if (/^([\da-f]{2})*$/i.test(digits)) return Buffer.from(digits, "hex");
  throw new CommandError("--hex takes pairs of hexadecimal digits");
}

function fromJson(
  line: Buffer,
  number: number,
  common: { topic: string | undefined } & Pick<Published, "qos" | "retain">,
): Published {
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
  const { topic = common.topic, qos = common.qos, retain = common.retain, payload = "", base64 } = value;
  if (typeof topic !== "string") return wrong("has no topic, and there is no -t");
  if (qos !== 0 && qos !== 1 && qos !== 2) return wrong("has a qos that is not 0, 1 or 2");
  if (base64 !== undefined && typeof base64 !== "string") return wrong("has a base64 that is no text");
  const message = base64 !== undefined
    ? Buffer.from(base64, "base64")
    : Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload));
  return { topic, message, qos, retain: Boolean(retain) };
}
