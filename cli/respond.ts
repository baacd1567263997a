/** `mqtt3c respond`: answers requests with what a command prints. */
import { Buffer } from "node:buffer";
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import type { Message } from "../mod.ts";
import { open, place } from "./connection.ts";
import { CommandError, EXIT } from "./errors.ts";
import type { Values } from "./options.ts";
import { disconnectProperties } from "./properties.ts";
import { say } from "./terminal.ts";

/** Bytes that a command may print; the library's own bound of a message. */
const MOST = 16 << 20;
/** Of what a command says on standard error, so much is looked at for its last line. */
const SAID = 4096;

/** Resolves to the exit status; what the commands say on standard error is on that of this one. */
export async function respond(values: Values, interrupted: Promise<number>): Promise<number> {
  const filter = values.argument ?? values.text("topic") ?? place(values).topic;
  if (filter === undefined) throw new CommandError("Which requests? mqtt3c respond FILTER -- COMMAND");
  const [file, ...args] = values.rest;
  if (file === undefined) throw new CommandError("What answers? mqtt3c respond FILTER -- COMMAND [ARGUMENT ...]");
  const count = values.number("count", 1) ?? Infinity, concurrency = values.number("concurrency", 1, 1000) ?? 1;
  const commands = new Commands(file, args, { timeout: values.milliseconds("timeout"), isRaw: values.is("raw") });

  let finish!: (status: number) => void, answered = 0;
  const finished = new Promise<number>((resolve) => finish = resolve);
  const handler = async (topic: string, message: Message) => {
    try {
      return await commands.answer(topic, message);
    } catch (error) {
      say(`${topic}: ${(error as Error).message}`, "red");
      // With MQTT 5, what comes here may be no request: then nobody waits to be told.
      if (message.properties !== undefined && message.properties.responseTopic === undefined) return "";
      throw error;
    } finally {
      if (++answered === count) finish(EXIT.done);
    }
  };

  const mqtt = await open(values, interrupted);
  const ended = mqtt.run().then((error) => Promise.reject(error));
  const serving = async () => {
    await mqtt.respond(filter, handler, { qos: values.qos("qos", 1), concurrency });
    return finished;
  };
  try {
    const status = await Promise.race([serving(), interrupted.then(() => EXIT.done), ended]);
    // Those who have asked already get their answers.
    await mqtt.disconnect({ ...disconnectProperties(values), drain: true });
    return status;
  } finally {
    commands.stop();
  }
}

/** Runs a command for each request. */
class Commands {
  readonly #file: string;
  readonly #args: readonly string[];
  readonly #timeout: number | undefined;
  readonly #isRaw: boolean;
  readonly #running = new Set<ChildProcess>();

  constructor(
    file: string,
    args: readonly string[],
    { timeout, isRaw }: { timeout: number | undefined; isRaw: boolean },
  ) {
    this.#file = file;
    this.#args = args;
    this.#timeout = timeout;
    this.#isRaw = isRaw;
  }

  /**
   * Resolves to what the command prints, when it has ended well.
   *
   * @throws {Error} Its last line on standard error, or with which status it has ended: it goes to who has asked.
   */
  answer(topic: string, { payload }: Message): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const child = spawn(this.#file, this.#args, { env: { ...process.env, MQTT_TOPIC: topic } });
      this.#running.add(child);
      const printed: Buffer[] = [];
      let length = 0, said = "", timer: ReturnType<typeof setTimeout> | undefined;
      /** What it has started itself may have its pipes still: nobody waits for that. */
      const giveUp = (why: string) => {
        child.kill("SIGKILL");
        child.stdout.destroy();
        child.stderr.destroy();
        fail(why);
      };
      const done = () => {
        clearTimeout(timer);
        this.#running.delete(child);
      };
      const fail = (why: string) => {
        done();
        reject(new Error(why));
      };
      if (this.#timeout !== undefined) {
        const seconds = this.#timeout / 1000;
        timer = setTimeout(() => giveUp(`${this.#file} has not ended within ${seconds} s`), this.#timeout);
      }
      child.stdout.on("data", (chunk: Buffer) => {
        printed.push(chunk);
        length += chunk.length;
        if (length > MOST) giveUp(`${this.#file} prints more than ${MOST} bytes`);
      });
      child.stderr.on("data", (chunk: Buffer) => {
        process.stderr.write(chunk);
        said = (said + chunk.toString()).slice(-SAID);
      });
      child.on("error", ({ message }) => fail(`${this.#file} cannot be run: ${message}`));
      child.on("close", (status, signal) => {
        const last = said.trim().split("\n").at(-1)!;
        if (status !== 0) fail(last || `${this.#file} has ended with ${signal ?? `status ${status}`}`);
        else {
          done();
          resolve(this.#isRaw ? Buffer.concat(printed) : withoutLineEnd(Buffer.concat(printed)));
        }
      });
      // A command need not read what was asked.
      child.stdin.on("error", () => {});
      child.stdin.end(payload);
    });
  }

  /** Ends those that run still. */
  stop(): void {
    for (const child of this.#running) child.kill("SIGKILL");
  }
}

/** As `$(...)` of a shell does, but for one line end only. */
function withoutLineEnd(bytes: Buffer): Buffer {
  return bytes.at(-1) === 10 ? bytes.subarray(0, -1) : bytes;
}
