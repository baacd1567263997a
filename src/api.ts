/** The clients: what the three modes offer.
 * @module */

import type { MqttError } from "./errors.ts";
import type { Message } from "./message.ts";
import type {
  DisconnectOptions,
  MessagesOptions,
  OutgoingMessage,
  PublishOptions,
  RequestOptions,
  Responder,
  RespondOptions,
  SubscribeCallback,
  SubscribeOptions,
} from "./options.ts";
import type { Limits } from "./options5.ts";
import type { Trust } from "./session/trust.ts";
import type { ConnectionStatus, Stats } from "./status.ts";

/** A connection to a broker. */
export interface Client extends AsyncDisposable {
  /**
   * Publishes a message; resolves to the reason code, 0.
   *
   * QoS 0: when its bytes are accepted; while more than 64 KiB wait to be sent, when there is room again: awaiting it is
   * backpressure from the broker. It is not arrival: that is what `flush()` tells. `disconnect()` sends what was accepted,
   * `process.exit()` does not.
   *
   * QoS 1 and 2: when the broker has acknowledged it, on this connection or a later one (section 4.3).
   *
   * @throws {TypeError | RangeError} If `topic` is no topic name, or an argument has the wrong type.
   * @throws {MqttError} `"overflow"` if more than `maxBuffered` bytes would wait, or if the acknowledgement is not read as
   * messages that were received are not settled: then it stays in flight; `"sessionlost"`, see `sessionLost`;
   * `"disconnect"` if its signal took it back; why the connection ended, if it has.
   */
  publish(topic: string, message: string | Uint8Array, options?: PublishOptions): Promise<number>;
  /** Publishes several messages, in order; resolves when all of them are done. If one is wrong, none is published. */
  publish(messages: readonly OutgoingMessage[]): Promise<number>;
  /**
   * Resolves when the broker has received all that was published before: it has acknowledged all of QoS 1 and 2, and
   * answered a PINGREQ behind the last byte of QoS 0. It waits for a connection, when there is none.
   *
   * @throws {MqttError} The error of a connection that was lost with messages that were sent and not confirmed; `"timeout"`
   * when no byte came or went for `timeout`; why the connection ended.
   */
  flush(): Promise<void>;
  /**
   * Subscribes to topic filters, and resolves to the granted QoS (the lowest of several).
   *
   * @throws {TypeError | RangeError} If a filter is none.
   * @throws {MqttError} `128` if the broker refused one; `"timeout"`; why the connection ended.
   */
  subscribe(topic: string | readonly string[], callback?: SubscribeCallback): Promise<number>;
  /** Subscribes with options; see above. */
  subscribe(
    topic: string | readonly string[],
    options: SubscribeOptions,
    callback?: SubscribeCallback,
  ): Promise<number>;
  /**
   * Gives up subscriptions; resolves when the broker has confirmed.
   *
   * @throws {TypeError | RangeError} If a filter is none.
   * @throws {MqttError} `"timeout"`; why the connection ended.
   */
  unsubscribe(topic: string | readonly string[], callback?: () => void): Promise<void>;
  /**
   * Subscribes to a topic filter and iterates its messages; leaving the loop unsubscribes. It ends
   * with `disconnect()`, and throws why the connection ended otherwise.
   *
   * @throws {TypeError | RangeError} If the filter is none.
   */
  messages(topic: string, options?: MessagesOptions): AsyncIterableIterator<Message>;
  /**
   * Sends what was accepted, then DISCONNECT [MQTT-3.14.4-1], and closes the connection. Messages that handlers were not
   * called with yet are dropped, unless it drains.
   *
   * @throws {MqttError} `"timeout"` if what was accepted could not be sent in time, or nothing was settled for so long;
   * why the client had ended, if nobody has heard of that.
   */
  disconnect(options?: DisconnectOptions): Promise<void>;
  /**
   * Authenticates again on the connection that there is, with the method of `auth`; resolves when the broker has agreed.
   *
   * @throws {MqttError} `"unsupported"` without `auth`, or where there is no connection; `"timeout"`; why the broker ended it.
   */
  reauthenticate(): Promise<void>;
  /**
   * Publishes a request, and resolves to its answer. With MQTT 5 it has a response topic and correlation data; with 3.1.1 it
   * goes to `TOPIC/request/CLIENT/NUMBER`, and its answer comes to `response/CLIENT/NUMBER`.
   *
   * @throws {TypeError | RangeError} If an argument is wrong.
   * @throws {MqttError} `16` if nobody has subscribed to the topic, as MQTT 5 tells; `131` if the handler has failed, with
   * its words as `reason`; `"timeout"`; why the request could not be published.
   */
  request(topic: string, message: string | Uint8Array, options?: RequestOptions): Promise<Message>;
  /**
   * Answers requests with what a handler returns; resolves to the granted QoS. `unsubscribe` ends it, over 3.1.1 of
   * `FILTER/request/+/+`.
   *
   * @throws {TypeError | RangeError} If the filter is none.
   * @throws {MqttError} As `subscribe`.
   */
  respond(filter: string, handler: Responder, options?: RespondOptions): Promise<number>;
  /** Resolves to the reason when the connection has ended; never rejects. */
  run(): Promise<MqttError>;
  /** The client identifier: that of the options, or the one that the broker has assigned, over MQTT 5. */
  readonly id: string;
  /** What the broker of this connection can do; undefined while there is none. */
  readonly limits: Limits | undefined;
  /** The last status of the connection. */
  readonly status: ConnectionStatus;
  /** Counters. */
  readonly stats: Stats;
  /** The connection under it: a `net.Socket`, a `tls.TLSSocket`, or what was handed in. */
  readonly sock: unknown;
  /** `true`: the server's certificate is valid for its name; `false`: no TLS; otherwise what is wrong with it. */
  readonly trusted: Trust;
}

/** A connection to a broker whose calls block; none but `run` and `receive` for longer than `timeout`. */
export interface SyncClient extends Disposable {
  /** `true`: the server's certificate is valid for its name; `false`: no TLS; otherwise what is wrong with it. */
  readonly trusted: Trust;
  /** The client identifier: that of the options, or the one that the broker has assigned, over MQTT 5. */
  readonly id: string;
  /** What the broker of this connection can do; undefined while there is none. */
  readonly limits: Limits | undefined;
  /** The last status of the connection, as far as a call has heard of it. */
  readonly status: ConnectionStatus;
  /** Counters. */
  readonly stats: Stats;
  /**
   * Publishes a message, and returns the reason code, 0. QoS 0: when its bytes are accepted; while more than 128 KiB wait to
   * be sent, or there is no connection, when there is room. QoS 1 and 2: when the broker has acknowledged it.
   *
   * @throws {TypeError | RangeError} If `topic` is no topic name, or an argument has the wrong type.
   * @throws {MqttError} `"timeout"` if there is no room, or no acknowledgement, in time: then the message stays in flight;
   * `"overflow"` if that is as received messages wait for `run` or `receive`; `"sessionlost"`; why the connection ended, if
   * it has.
   */
  publish(topic: string, message: string | Uint8Array, options?: PublishOptions): number;
  /**
   * Publishes several messages, in order, and returns when all of them are done: of QoS 1 and 2, `maxInflight` are under way
   * at once. If one is wrong, none is published.
   */
  publish(messages: readonly OutgoingMessage[]): number;
  /**
   * Returns when the broker has received all that was published before; see {@linkcode Client.flush}.
   *
   * @throws {MqttError} `"timeout"` when no byte came or went for `timeout`, with a connection or without; why the
   * connection was lost, or ended.
   */
  flush(): void;
  /**
   * Subscribes to topic filters, and returns the granted QoS (the lowest of several). Messages that
   * come before the answer wait for `run` or `receive`, up to `maxBuffered` bytes.
   *
   * @throws {TypeError | RangeError} If a filter is none.
   * @throws {MqttError} `128` if the broker refused one; `"timeout"`; why the connection ended.
   */
  subscribe(topic: string | readonly string[], options?: SubscribeOptions): number;
  /**
   * Gives up subscriptions; returns when the broker has confirmed, at once when there is no connection.
   *
   * @throws {TypeError | RangeError} If a filter is none.
   * @throws {MqttError} `"timeout"`; why the connection ended.
   */
  unsubscribe(topic: string | readonly string[]): void;
  /**
   * Authenticates again on the connection that there is, with the method of `auth`, and returns when the broker has agreed.
   *
   * @throws {MqttError} `"unsupported"` without `auth`, or where there is no connection; `"timeout"`; why the broker ended it.
   */
  reauthenticate(): void;
  /**
   * Calls `onpub` with each message until the connection ends, and returns why. `onpub` may publish,
   * subscribe and disconnect; what it throws, `run` throws, and may be called again. Of several that
   * get a message, the first one's; what the others throw surfaces as an uncaught error.
   *
   * @throws {TypeError} If `onpub` returns a promise: nothing that it awaits could go on.
   */
  run(): MqttError;
  /**
   * The next message, whatever `onpub` there is for it; undefined when none comes within `timeout`
   * milliseconds. 0 takes what is there; by default it waits until the connection ends.
   *
   * @throws {MqttError} Why the connection ended, once all messages are taken.
   */
  receive(timeout?: number): Message | undefined;
  /**
   * Sends what was accepted, then DISCONNECT [MQTT-3.14.4-1], and closes the connection. With `drain`, handlers are called
   * first with the messages that came during other calls; what they throw surfaces as an uncaught error.
   *
   * @throws {MqttError} `"timeout"` if what was accepted could not be sent in time.
   */
  disconnect(options?: DisconnectOptions): void;
  /** The same as {@linkcode SyncClient.disconnect}. */
  [Symbol.dispose](): void;
}

/** What the blocking mode shares with the others: the same calls, without promises. */
export type Blocking = {
  readonly [
    K in
      | "publish"
      | "subscribe"
      | "unsubscribe"
      | "flush"
      | "disconnect"
      | "run"
      | "status"
      | "stats"
      | "trusted"
      | "id"
      | "limits"
      | "reauthenticate"
  ]: Client[K] extends (...args: infer A) => Promise<infer R> ? (...args: A) => R : Client[K];
};
