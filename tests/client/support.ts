/** What the tests of the client share: deadlines, an inbox, and the code of a failure. */
import { Buffer } from "node:buffer";
import { assert, fail } from "@std/assert";
import { type Message, MqttError, type OnPublish } from "../../mod.ts";
import type { Action, Peer } from "../support/scripted.ts";
import { patience } from "../support/process.ts";

/** The promise's outcome, or a failure that says what did not happen in time (milliseconds). */
export async function within<T>(promise: PromiseLike<T>, what: string, deadline: number = patience): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${deadline} ms`)), deadline);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The MqttError that the promise is rejected with in time; anything else fails the test. */
export async function failure(promise: PromiseLike<unknown>, deadline: number = patience): Promise<MqttError> {
  try {
    await within(promise, "a rejection", deadline);
  } catch (error) {
    if (error instanceof MqttError) return error;
    throw error;
  }
  fail("It must be rejected");
}

/** The code of that error. */
export async function codeOf(promise: PromiseLike<unknown>, deadline?: number): Promise<MqttError["code"]> {
  return (await failure(promise, deadline)).code;
}

/** Resolves when the client has ended its connection. */
export async function gone({ socket }: Peer): Promise<void> {
  if (socket.destroyed || socket.readableEnded) return;
  const ended = new Promise((resolve) => socket.on("end", resolve).on("close", resolve));
  await within(ended, "the end of the connection");
}

/** The server's side of a good end: it closes when the client has, which then need not linger. */
export const endsToo: Action = ({ socket }) => void socket.on("end", () => socket.end());

/** Messages that were received, and not taken yet. */
export class Inbox {
  readonly messages: Message[] = [];
  #wake = () => {};

  readonly onpub: OnPublish = (topic, message) => {
    assert(topic === message.topic, "onpub gets the message's own topic");
    this.messages.push(message);
    this.#wake();
  };

  /** The next messages, in order. */
  async take(count: number): Promise<Message[]> {
    const arrived = new Promise<void>((resolve) => {
      this.#wake = () => this.messages.length >= count && resolve();
      this.#wake();
    });
    await within(arrived, `${count} messages`).catch((error: Error) => {
      throw new Error(`${error.message}, but ${this.messages.length}`);
    });
    return this.messages.splice(0, count);
  }

  /** The next message as "topic: text". */
  async text(): Promise<string> {
    const [message] = await this.take(1);
    return `${message!.topic}: ${message!.text()}`;
  }
}

/** Bytes without a pattern, always the same. */
export function noise(length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = 0x9e3779b9;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}

/** Fails with the first byte that differs; quick for megabytes. */
export function assertBytes(actual: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(actual, expected) === 0) return;
  const at = expected.findIndex((byte, i) => byte !== actual[i]);
  fail(`${actual.length} bytes instead of ${expected.length}, different from byte ${at} on`);
}
