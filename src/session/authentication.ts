/** Enhanced authentication of MQTT 5: AUTH packets, as many as the method takes, before CONNACK and later (section 4.12).
 * @module */

import { MqttError } from "../errors.ts";
import { encode } from "../protocol/encoder.ts";
import type { Output } from "../protocol/output.ts";
import { AUTH, type AuthPacket, type ConnackPacket, type Properties } from "../protocol/packet.ts";
import { broken, RULES } from "../protocol/rules.ts";
import type { Connection } from "./connection.ts";
import type { Call, Events } from "./events.ts";
import type { AuthSettings } from "./settings.ts";

/** Reason codes of AUTH. */
const SUCCESS = 0, CONTINUE = 24, AGAIN = 25;

const NO_DATA = new Uint8Array(0);

/** The part of the client: the program answers what the broker asks. Times are in milliseconds. */
export class Authentication {
  readonly #settings: AuthSettings | undefined;
  readonly #output: Output;
  readonly #events: Events;
  readonly #timeout: number;
  /** Who waits for re-authentication. */
  #call: Call | undefined;
  /** When that has failed. */
  due: number = Infinity;

  constructor(
    { auth, timeout }: { readonly auth: AuthSettings | undefined; readonly timeout: number },
    { output, events }: { readonly output: Output; readonly events: Events },
  ) {
    this.#settings = auth;
    this.#output = output;
    this.#events = events;
    this.#timeout = timeout;
  }

  /**
   * AUTH of the broker.
   *
   * @throws {MqttError} Its mistake.
   */
  challenged(connection: Connection, { code, properties }: AuthPacket): void {
    const isOpen = connection.isOpen;
    const isExpected = code === CONTINUE
      ? !isOpen || this.#call !== undefined
      : code === SUCCESS && this.#call !== undefined;
    const { method } = this.#settings ?? {};
    if (!isExpected || method === undefined) {
      throw broken(`an AUTH with reason code ${code} that nobody has asked for`, RULES.authUnasked, 5);
    }
    if (properties?.authMethod !== method) {
      throw broken("an AUTH of another method", RULES.authMethod, 5);
    }
    this.#ask(connection, properties.authData, code === CONTINUE);
    if (code !== SUCCESS) return;
    this.#settle({});
  }

  /** CONNACK: the program may look at what the broker proves in turn. */
  accepted(connection: Connection, { properties }: ConnackPacket): void {
    if (this.#settings !== undefined && properties?.authData !== undefined) {
      this.#ask(connection, properties.authData, false);
    }
  }

  #ask({ attempt }: Connection, data: Uint8Array = NO_DATA, isAwaited: boolean): void {
    this.#events.push({ type: "auth", attempt, data, isAwaited });
  }

  /** The program has answered what the broker asked of it on this connection. */
  answered(connection: Connection, answer: Uint8Array): void {
    this.#send(connection, CONTINUE, answer);
  }

  /**
   * Authenticates again on the connection, if there is one.
   *
   * @throws {MqttError} `"unsupported"`, where connect had no `auth`, or there is no connection.
   */
  again(connection: Connection | undefined, call: Call, now: number): void {
    if (this.#settings === undefined || !connection?.isOpen || this.#call !== undefined) {
      const why = this.#settings === undefined
        ? "connect had no auth [MQTT5-4.12.1-1]"
        : "there is no connection, or it is under way";
      throw new MqttError("unsupported", `Cannot authenticate again as ${why}`);
    }
    this.#call = call;
    this.due = now + this.#timeout;
    this.#send(connection, AGAIN, this.#settings.data);
  }

  #send(connection: Connection, code: number, authData: Uint8Array | undefined): void {
    const properties: Properties = { authMethod: this.#settings!.method, authData };
    const bytes = encode({ type: AUTH, code, properties }, 5);
    if (connection.isOpen) this.#output.addAnyway(bytes);
    else connection.say(bytes);
  }

  /** The connection is lost, or the time is over. */
  fail(error: MqttError): void {
    this.#settle({ error });
  }

  #settle(outcome: { error?: MqttError }): void {
    this.#events.settle(this.#call, outcome);
    this.#call = undefined;
    this.due = Infinity;
  }
}
