/** `mqtt3c pub`: publishes a message, or each line of standard input; it ends well when the broker has them. */
import type { Buffer } from "node:buffer";
import process from "node:process";
import type { Client } from "../mod.ts";
import { open, place } from "./connection.ts";
import { CommandError, EXIT, unless } from "./errors.ts";
import { batches, decode, fromJson, payload, type Published, sourcesOf } from "./input.ts";
import type { Values } from "./options.ts";
import { disconnectProperties, publishProperties } from "./properties.ts";
import { clearProgress, grouped, isTerminal, progress } from "./terminal.ts";

/** So many bytes may be published and not acknowledged; each message counts some more than it has. */
const AHEAD = 4 << 20;
const OVERHEAD = 256;
/** Milliseconds between two looks at the progress. */
const LOOK = 250;

/** Resolves to the exit status, once the broker has all messages. */
export async function pub(values: Values, interrupted: Promise<number>): Promise<number> {
  const topic = values.text("topic") ?? place(values).topic;
  const json = values.is("json"), byLine = json || values.is("stdin-line");
  const qos = values.qos(), retain = values.is("retain");
  const sources = sourcesOf(values), how = { qos, retain, ...publishProperties(values) };
  if (sources.length + Number(json && !values.is("stdin-line")) !== 1) {
    throw new CommandError("What is to be published? One of -m TEXT, -f FILE, -l, -s, -n and --json");
  }
  if (topic === undefined && !json) throw new CommandError("Where to? -t TOPIC");
  const repeat = values.number("repeat", 1) ?? 1, pause = values.milliseconds("repeat-delay") ?? 0;
  if (byLine && repeat > 1) throw new CommandError("--repeat is for one message");
  const time = values.milliseconds("timeout");

  const content = byLine ? undefined : decode(await unless(interrupted, payload(values)), values);
  const parse = (line: Buffer, number: number): Published => {
    return json ? fromJson(line, number, { topic, ...how }) : { topic: topic!, message: decode(line, values), ...how };
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
        await sender.send([{ topic: topic!, message: content, ...how }]);
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
    await mqtt.disconnect(disconnectProperties(values)).catch(() => {});
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
