/** Requests and their answers, over one subscription of the client; and who answers them.
 * @module */

import type { Client } from "../api.ts";
import type { RequestOptions, Responder, RespondOptions } from "../options.ts";
import { type ErrorCode, MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import { utf8 } from "../protocol/bytes.ts";
import type { MessageProperties } from "../protocol/packet.ts";
import { checkFilter, checkName } from "../protocol/topic.ts";
import { checkFunction, checkObject, checkQoS, checkRange, MAX_TIMER } from "./checks.ts";
import { checkNames } from "./options.ts";

/** The reason code of a message that nobody has subscribed to. */
const NOBODY = 16;
/** The reason code of a mistake in a handler, which its answer tells. */
const FAILED = 131;
/** The name of the user property of an answer that tells what the handler has failed with. */
const ERROR = "error";

/** Where requests of version 4 end, and where their answers go. */
const REQUEST = "request", RESPONSE = "response";

/** A request that is not answered yet. */
interface Pending {
  resolve(message: Message): void;
  reject(error: MqttError): void;
}

/** What it works with. */
type Base = Pick<Client, "publish" | "subscribe" | "flush" | "status" | "limits">;

/**
 * With MQTT 5 a request says where its answer goes, and which one it is: response topic and correlation data. With 3.1.1
 * the topics say that: a request to `a/b` is published to `a/b/request/CLIENT/NUMBER`, its answer to
 * `response/CLIENT/NUMBER`, or, when the handler has failed, `response/CLIENT/NUMBER/error`.
 */
export class Exchange {
  readonly #client: Base;
  readonly #timeout: number;
  /** Chosen by the client, as its identifier may have any letters. */
  readonly #name: string;
  readonly #pending = new Map<string, Pending>();
  /** Where answers go, once they are subscribed to. */
  #subscribed: Promise<string> | undefined;
  #numbers = 0;

  constructor(client: Base, timeout: number) {
    this.#client = client;
    this.#timeout = timeout;
    this.#name = crypto.randomUUID();
  }

  /** Whether the connection is one of version 5; it waits for the first. */
  async #isVersion5(): Promise<boolean> {
    if (this.#client.status.type !== "connected") await this.#client.flush();
    const { status } = this.#client;
    return status.type === "connected" && status.version === 5;
  }

  /** Publishes a request; resolves to its answer. */
  async request(topic: string, message: string | Uint8Array, options: RequestOptions = {}): Promise<Message> {
    checkName(topic);
    checkObject(options, "the options");
    checkNames("request", options);
    const { timeout = this.#timeout, qos = 1, properties } = options;
    checkRange("timeout", timeout, 1, MAX_TIMER);
    checkQoS(qos);
    const isVersion5 = await this.#isVersion5();
    const base = await (this.#subscribed ??= this.#subscribe(isVersion5).catch((error) => {
      this.#subscribed = undefined;
      throw error;
    }));
    const number = `${++this.#numbers}`;
    const answered = this.#await(number, topic, timeout);
    const given: MessageProperties = {
      ...properties,
      responseTopic: base,
      correlation: utf8.encode(number),
    };
    const expiry = Math.ceil(timeout / 1000); // nobody waits for an answer any more then
    const published = isVersion5
      ? this.#client.publish(topic, message, { qos, expiry, properties: given })
      : this.#client.publish(`${topic}/${REQUEST}/${this.#name}/${number}`, message, { qos, expiry, properties });
    published.then((code) => {
      if (code === NOBODY) this.#fail(number, NOBODY, `Nobody has subscribed to "${topic}", and answers the request`);
    }, (error) => this.#pending.get(number)?.reject(error));
    return await answered;
  }

  #await(number: string, topic: string, timeout: number): Promise<Message> {
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.#pending.delete(number);
      };
      const timer = setTimeout(
        () => this.#fail(number, "timeout", `The request to "${topic}" was not answered within ${timeout} ms`),
        timeout,
      );
      this.#pending.set(number, {
        resolve: (message) => {
          done();
          resolve(message);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      });
    });
  }

  #fail(number: string, code: ErrorCode, message: string, reason?: string): void {
    this.#pending.get(number)?.reject(new MqttError(code, message, undefined, { reason }));
  }

  /** Subscribes to the answers; where they go. */
  async #subscribe(isVersion5: boolean): Promise<string> {
    const { responseInformation: given } = this.#client.limits ?? {};
    const base = `${given === undefined ? "" : `${given}/`}${RESPONSE}/${this.#name}`;
    const filter = isVersion5 ? base : `${base}/#`;
    await this.#client.subscribe(filter, { qos: 1, onpub: (topic, message) => this.#answered(topic, message) });
    return base;
  }

  #answered(topic: string, message: Message): void {
    const { correlation, user } = message.properties ?? {};
    const [, , level = "", failed] = topic.split("/");
    const number = correlation === undefined ? level : new TextDecoder().decode(correlation);
    const told = message.properties === undefined
      ? failed && message.text()
      : user?.find(([name]) => name === ERROR)?.[1];
    if (told === undefined) this.#pending.get(number)?.resolve(message);
    else this.#fail(number, FAILED, `The handler of the request has failed: ${told}`, told);
  }

  /** Answers requests; resolves to the granted QoS. */
  async respond(filter: string, handler: Responder, options: RespondOptions = {}): Promise<number> {
    checkFilter(filter);
    checkFunction(handler, "the handler");
    checkObject(options, "the options");
    checkNames("respond", options);
    const { qos = 1, concurrency = 1 } = options;
    const isVersion5 = await this.#isVersion5();
    return await this.#client.subscribe(isVersion5 ? filter : `${filter}/${REQUEST}/+/+`, {
      qos,
      concurrency,
      onpub: (topic, message) => this.#respond(topic, message, handler),
    });
  }

  /** Calls the handler, and publishes what it gives, or what it has failed with. */
  async #respond(topic: string, message: Message, handler: Responder): Promise<void> {
    const { responseTopic, correlation } = message.properties ?? {};
    const levels = topic.split("/"), [name, number] = levels.slice(-2);
    const isVersion5 = message.properties !== undefined;
    const asked = isVersion5 ? topic : levels.slice(0, -3).join("/");
    const to = isVersion5 ? responseTopic : `${RESPONSE}/${name}/${number}`;
    let answer: string | Uint8Array, failure: string | undefined;
    try {
      answer = await handler(asked, message);
    } catch (error) {
      if (to === undefined) throw error; // nobody waits for an answer
      answer = failure = error instanceof Error ? error.message : String(error);
    }
    if (to === undefined) return;
    const user = failure === undefined ? undefined : [[ERROR, failure]] as const;
    const how = isVersion5 ? { qos: 1 as const, properties: { correlation, user } } : { qos: 1 as const };
    try {
      await this.#client.publish(!isVersion5 && failure !== undefined ? `${to}/${ERROR}` : to, answer, how);
    } catch (error) {
      const { status } = this.#client;
      if (status.type !== "closed" || status.error !== error) throw error; // the end of the client is told elsewhere
    }
  }

  /** The client has ended: nobody answers any more. */
  close(error: MqttError): void {
    for (const pending of [...this.#pending.values()]) pending.reject(error);
  }
}
