/** A client in a page, called from here as if it were one of ours: the shared suite runs with it. */
import { Buffer } from "node:buffer";
import {
  type Client,
  type ConnectOptions,
  Message,
  MqttError,
  type OnPublish,
  type SubscribeCallback,
  type SubscribeOptions,
} from "../../mod.ts";
import { makeBlock } from "../../src/message.ts";
import type { Page } from "../support/browser.ts";

/** A message as it crosses; its payload is base64. */
interface PlainMessage {
  topic: string;
  payload: string;
  /** Byte 1 of its packet. */
  first: number;
}

interface PlainError {
  /** The same error has the same number. */
  number: number;
  name: string;
  code?: MqttError["code"];
  message: string;
  /** Whether it has come of the signal. */
  isAborted: boolean;
}

/** What has become of a call; `codes` were given to its callback. */
interface Outcome {
  value?: unknown;
  error?: PlainError;
  codes: number[];
}

/** What the page has for it. */
interface Remote {
  open(number: number, url: string, op: ConnectOptions, options: { isAborted: boolean }): Promise<Outcome>;
  abort(number: number): void;
  publish(number: number, topic: string, payload: string, options: object): Promise<Outcome>;
  subscribe(number: number, topic: string | string[], options: SubscribeOptions, handler?: number): Promise<Outcome>;
  unsubscribe(number: number, topic: string | string[]): Promise<Outcome>;
  messages(number: number, loop: number, topic: string, options: object): Outcome;
  next(loop: number): Promise<Outcome>;
  leave(loop: number): Promise<Outcome>;
  call(number: number, method: "disconnect" | "flush" | "dispose"): Promise<Outcome>;
  run(number: number): Promise<Outcome>;
}

declare global {
  var remote: Remote;
  /** Tells a handler here of a message. */
  var heard: (text: string) => void;
}

/** What runs in the page. */
function prepare(): void {
  const clients = new Map<number, Client>(), controllers = new Map<number, AbortController>();
  const loops = new Map<number, AsyncIterableIterator<Message>>();
  const errors: unknown[] = [];

  function toBase64(bytes: Uint8Array): string {
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(text);
  }
  function plain(message: Message): PlainMessage {
    const { topic, payload, qos, retain, dup } = message;
    return { topic, payload: toBase64(payload), first: 0x30 | Number(dup) << 3 | qos << 1 | Number(retain) };
  }
  function plainError(error: unknown, client: number): PlainError {
    if (!errors.includes(error)) errors.push(error);
    const { name, code, message, cause } = error as MqttError;
    const { aborted = false, reason } = controllers.get(client)?.signal ?? {};
    return { number: errors.indexOf(error), name, code, message, isAborted: aborted && cause === reason };
  }
  async function outcome(client: number, act: (callback: (code?: number) => void) => unknown): Promise<Outcome> {
    const codes: number[] = [];
    try {
      return { value: await act((code = 0) => codes.push(code)), codes };
    } catch (error) {
      return { error: plainError(error, client), codes };
    }
  }
  const tell = (client: number, handler: number) => (_: string, message: Message) =>
    heard(JSON.stringify({ client, handler, message: plain(message) }));

  globalThis.remote = {
    open(number, url, op, { isAborted }) {
      const controller = new AbortController();
      controllers.set(number, controller);
      if (isAborted) controller.abort(new Error("aborted"));
      return outcome(number, async () => {
        clients.set(number, await mqtt3c.connect(url, tell(number, 0), { ...op, signal: controller.signal }));
      });
    },
    abort: (number) => controllers.get(number)!.abort(new Error("aborted")),
    publish: (number, topic, payload, options) =>
      outcome(number, () => {
        return clients.get(number)!.publish(topic, Uint8Array.from(atob(payload), (c) => c.charCodeAt(0)), options);
      }),
    subscribe: (number, topic, options, handler) =>
      outcome(number, (callback) => {
        const onpub = handler === undefined ? undefined : tell(number, handler);
        return clients.get(number)!.subscribe(topic, { ...options, onpub }, callback);
      }),
    unsubscribe: (number, topic) => outcome(number, (callback) => clients.get(number)!.unsubscribe(topic, callback)),
    messages(number, loop, topic, options) {
      loops.set(loop, clients.get(number)!.messages(topic, options));
      return { codes: [] };
    },
    next: (loop) =>
      outcome(-1, async () => {
        const { done, value } = await loops.get(loop)!.next();
        return done ? null : plain(value);
      }),
    leave: (loop) => outcome(-1, async () => void await loops.get(loop)!.return!()),
    call: (number, method) =>
      outcome(number, () => {
        const client = clients.get(number)!;
        return method === "dispose" ? client[Symbol.asyncDispose]() : client[method]();
      }),
    run: async (number) => ({ error: plainError(await clients.get(number)!.run(), number), codes: [] }),
  };
}

function messageOf({ topic, payload, first }: PlainMessage): Message {
  const bytes = new Uint8Array(Buffer.from(payload, "base64"));
  return new Message(topic, first, makeBlock(bytes), 0, bytes.length);
}

/** The clients of one page. */
export class RemoteClients {
  readonly #page: Page;
  readonly #handlers: OnPublish[][] = [];
  readonly #errors = new Map<number, Error>();
  #loops = 0;

  private constructor(page: Page) {
    this.#page = page;
  }

  static async in(page: Page): Promise<RemoteClients> {
    const clients = new RemoteClients(page);
    await page.bind("heard", (text) => {
      const { client, handler, message } = JSON.parse(text);
      clients.#handlers[client]![handler]!(message.topic, messageOf(message));
    });
    await page.call(prepare);
    return clients;
  }

  /** Opens a client, with what of its calls the suite uses. */
  async open(url: string, onpub: OnPublish = () => {}, { signal, ...op }: ConnectOptions = {}): Promise<Client> {
    const number = this.#handlers.push([onpub]) - 1, page = this.#page;
    const codesOf = (outcome: Outcome) => outcome.codes;
    const finish = (outcome: Outcome) => this.#finish(outcome, signal);
    signal?.addEventListener("abort", () => void page.call((number) => remote.abort(number), number));
    const isAborted = signal?.aborted ?? false;
    finish(
      await page.call(
        (number, url, op, options) => remote.open(number, url, op, options),
        ...[number, url, op, { isAborted }] as const,
      ),
    );
    const call = async (method: "disconnect" | "flush" | "dispose") =>
      void finish(await page.call((number, method) => remote.call(number, method), ...[number, method] as const));
    const client = {
      publish: async (topic: string, message: string | Uint8Array, options = {}) =>
        finish(
          await page.call(
            (number, topic, payload, options) => remote.publish(number, topic, payload, options),
            ...[number, topic, Buffer.from(message).toString("base64"), options] as const,
          ),
        ),
      subscribe: async (
        topic: string | string[],
        options: SubscribeOptions | SubscribeCallback = {},
        callback?: SubscribeCallback,
      ) => {
        const [{ onpub, ...given }, told] = typeof options === "function" ? [{}, options] : [options, callback];
        const handlers = this.#handlers[number]!;
        const handler = onpub && handlers.push(onpub as OnPublish) - 1;
        const outcome = await page.call(
          (number, topic, options, handler) => remote.subscribe(number, topic, options, handler ?? undefined),
          ...[number, topic, given, handler] as const,
        );
        for (const code of codesOf(outcome)) told?.(code);
        return finish(outcome);
      },
      unsubscribe: async (topic: string | string[], callback?: () => void) => {
        const outcome = await page.call(
          (number, topic) => remote.unsubscribe(number, topic),
          ...[number, topic] as const,
        );
        for (const _ of codesOf(outcome)) callback?.();
        finish(outcome);
      },
      messages: (topic: string, options = {}) => this.#messages(number, topic, options),
      disconnect: () => call("disconnect"),
      flush: () => call("flush"),
      [Symbol.asyncDispose]: () => call("dispose"),
      run: async () => this.#errorOf((await page.call((number) => remote.run(number), number)).error!, signal),
    };
    return client as unknown as Client;
  }

  #messages(number: number, topic: string, options: object): AsyncIterableIterator<Message> {
    const loop = this.#loops++, page = this.#page;
    const opened = page.call(
      (number, loop, topic, options) => remote.messages(number, loop, topic, options),
      ...[number, loop, topic, options] as const,
    );
    return {
      next: async () => {
        await opened;
        const value = this.#finish(await page.call((loop) => remote.next(loop), loop)) as PlainMessage | null;
        return value === null ? { done: true, value: undefined } : { done: false, value: messageOf(value) };
      },
      return: async () => {
        this.#finish(await page.call((loop) => remote.leave(loop), loop));
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  #finish({ value, error }: Outcome, signal?: AbortSignal): unknown {
    if (error !== undefined) throw this.#errorOf(error, signal);
    return value;
  }

  /** An error that has crossed twice is one. */
  #errorOf({ number, name, code, message, isAborted }: PlainError, signal?: AbortSignal): Error {
    let error = this.#errors.get(number);
    if (error === undefined) {
      const cause = isAborted ? signal?.reason : undefined;
      if (code !== undefined) error = new MqttError(code, message, cause);
      else error = new ({ TypeError, RangeError }[name] ?? Error)(message);
      this.#errors.set(number, error);
    }
    return error;
  }
}
