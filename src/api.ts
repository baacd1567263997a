/** The public types: what the three modes share.
 * @module */

import type { MqttError } from "./errors.ts";
import type { Message } from "./message.ts";
import type { AuthOptions, ConnectProperties, Limits, PacketProperties, SubscriptionOptions } from "./options5.ts";
import type { MessageProperties, QoS } from "./protocol/packet.ts";
import type { TlsOptions } from "./transport/tls_options.ts";
import type { SessionStore } from "./store/session_store.ts";
import type { Trust } from "./session/trust.ts";

/**
 * Called with each message, in order: the next message waits until it has returned, and, when it returns a promise,
 * until that has settled; `concurrency` lets several of them run at once. What it throws, or its promise rejects with, is
 * an uncaught error: it ends a program that does not listen for those, and otherwise the client goes on.
 * In the blocking mode `run()` throws what it throws, and a promise is a TypeError.
 */
export type OnPublish = (topic: string, message: Message) => unknown;

/** A user name or password: text, bytes, or a function that is asked at every attempt, once the server is trusted. */
export type Credential = string | Uint8Array | (() => string | Uint8Array | Promise<string | Uint8Array>);

/** What the broker publishes when the client goes without DISCONNECT [MQTT-3.1.2-8]. */
export interface Will {
  /** A topic name, without wildcards. */
  topic: string;
  /** The application message, at most 65,535 bytes. */
  message: string | Uint8Array;
  /** 0 (default), 1 or 2. */
  qos?: QoS | undefined;
  /** Whether the broker keeps it for new subscribers; false by default. */
  retain?: boolean | undefined;
  /** Seconds that the broker waits before it publishes it, with version 5; if the client is back by then, it does not [MQTT5-3.1.3-9]. */
  delay?: number | undefined;
  /** Seconds for which it is of use, with version 5. */
  expiry?: number | undefined;
  /** What it says of itself, with version 5. */
  properties?: MessageProperties | undefined;
}

/** When and how often a lost connection is made again. */
export interface ReconnectOptions {
  /** Milliseconds before the first attempt, at most; doubles each time (full jitter). 1,000 by default. */
  minDelay?: number | undefined;
  /** Milliseconds before any attempt, at most; 30,000 by default. */
  maxDelay?: number | undefined;
  /** Milliseconds after which a connection counts as stable, and delays start anew; 30,000 by default. */
  stableAfter?: number | undefined;
  /** Failed attempts in a row until it gives up; Infinity by default. */
  attempts?: number | undefined;
}

/**
 * When the next attempt is: milliseconds, 0 to 2,147,483,647; undefined: there is none, and the client ends with the error.
 * `attempt` counts the failures in a row, from 1; a connection that has lasted 30 s ends them. What it throws, or returns
 * besides, is an uncaught error, and the next attempt is then when `reconnect: true` has it.
 */
export type ReconnectPolicy = (attempt: number, error: MqttError) => number | undefined;

/** A control packet that was sent or received; credentials and payloads are left out. */
export interface TraceRecord {
  /** Who sent it: the client, or the broker. */
  readonly direction: "sent" | "received";
  /** Milliseconds, as `performance.now()` counts them: when it was given to the connection, or its head had come. */
  readonly time: number;
  /** The type's name in the specification, such as `"PUBLISH"`. */
  readonly type: string;
  /** Bytes, fixed header included. */
  readonly size: number;
  /** The packet identifier, of packets that have one. */
  readonly packetId?: number;
  /** The topic name of a PUBLISH. */
  readonly topic?: string;
  /** The topic filters of a SUBSCRIBE or UNSUBSCRIBE. */
  readonly topics?: readonly string[];
  /** Of a PUBLISH. */
  readonly qos?: QoS;
  /** Of a PUBLISH. */
  readonly retain?: boolean;
  /** Of a PUBLISH. */
  readonly dup?: boolean;
  /** The return code of a CONNACK; in MQTT 5 the reason code of any packet that has one. */
  readonly code?: number;
  /** The return codes of a SUBACK; in MQTT 5 of an UNSUBACK, too. */
  readonly codes?: readonly number[];
}

/** Gets each packet sent and received, as `op.trace`; it runs synchronously and should be quick. */
export type Trace = (record: TraceRecord) => void;

/** What becomes of the connection. `address` says where the broker is, without credentials; undefined for a connection handed in, and for what a function is to give. */
export type ConnectionStatus =
  /** A connection is opened; `attempt` counts from 1 since the last one that the broker accepted. */
  | { readonly type: "connecting"; readonly attempt: number; readonly address: string | undefined }
  /** The broker has accepted; `sessionPresent`: it has kept the session [MQTT-3.2.2-2]; `version`: 4 is MQTT 3.1.1. */
  | { readonly type: "connected"; readonly sessionPresent: boolean; readonly version: 4 | 5; readonly limits: Limits }
  /** The connection, or an attempt, has failed with `error`; the next attempt begins in `delay` milliseconds. */
  | { readonly type: "waiting"; readonly error: MqttError; readonly delay: number }
  /** The client has ended: what `run()` tells. */
  | { readonly type: "closed"; readonly error: MqttError };

/** What `onstatus` hears: the connection's status, and what happened on it. */
export type Status =
  | ConnectionStatus
  /** A subscription of the options, or one that was made again after a reconnect, was refused: it has ended. */
  | { readonly type: "refused"; readonly filter: string; readonly error: MqttError }
  /** Nothing was settled for `timeout`, and so nothing is read: `unsettled` messages are with handlers and iterators. */
  | { readonly type: "stalled"; readonly unsettled: number }
  /** The session's store was damaged, and what is left of it is used; or it cannot keep what is to be kept, and goes on. */
  | { readonly type: "store"; readonly error: MqttError }
  /**
   * A message was passed over, or `publish()` was rejected with `"overflow"`, `"sessionlost"`, `"stale"` or `"store"`, so
   * nobody has to await that; `size` in bytes, of the whole packet; `error` says why.
   */
  | { readonly type: "dropped"; readonly topic: string; readonly size: number; readonly error: MqttError };

/** Counters, since the client was made. */
export interface Stats {
  /** Messages that were given to a connection, of every QoS; those that were sent again count once. */
  readonly sent: number;
  /** How often messages of QoS 1 and 2 were sent again on another connection. */
  readonly resent: number;
  /** Messages that came, those that came again included, and without those over `maxPacketSize`. */
  readonly received: number;
  /** Messages that were passed over, as they exceed `maxPacketSize`. */
  readonly dropped: number;
  /** Messages received that are not settled now: handlers and iterators have them, or they wait for those. */
  readonly unsettled: number;
  /** Messages that a handler threw for, or whose promise was rejected. */
  readonly failed: number;
  /** Messages of a session that was resumed which nobody took in time: they were acknowledged all the same. */
  readonly unclaimed: number;
  /** Messages published at QoS 1 or 2 that the broker has not acknowledged yet. */
  readonly unacknowledged: number;
  /** Acknowledgements that were for nothing: a broker repeats them rightly when a message is sent again. */
  readonly ignored: number;
}

/** The options of `connect`; the names of the original, the rest in the specification's words. */
export interface ConnectOptions {
  /** TCP port; 1883, or 8883 with TLS; of a WebSocket 80, or 443 with TLS. */
  port?: number | undefined;
  /** TLS: `true`, or its settings; off by default, on with an `mqtts:`, `ssl:`, `tls:` or `wss:` URL. */
  tls?: boolean | TlsOptions | undefined;
  /** Seconds after which a silent client sends PINGREQ; 0 = off, at most 65,535, 60 by default [MQTT-3.1.2-23]. */
  keepalive?: number | undefined;
  /** Client identifier; 23 random characters of 0-9a-zA-Z by default, `""` lets the broker choose [MQTT-3.1.3-5]. */
  id?: string | undefined;
  /**
   * The version of MQTT: 4, the default, is 3.1.1. `"auto"` is 5, and 3.1.1 where the broker refuses that, or just closes the
   * connection; what the first CONNACK has holds for the client.
   */
  version?: 4 | 5 | "auto" | undefined;
  /** How many topic aliases there may be, both ways, with version 5: topic names go out once, and as numbers then. 0 to 65,535; 0 by default. */
  topicAliases?: number | undefined;
  /**
   * Whether, with version 5, a message whose `payloadFormat` is 1 has to be UTF-8: one that is not is dropped, told, and
   * acknowledged with 153 (section 3.3.2.3.2). `false` by default.
   */
  checkFormat?: boolean | undefined;
  /** What CONNECT says besides, with version 5. */
  properties?: ConnectProperties | undefined;
  /** Authentication in several steps, with version 5. */
  auth?: AuthOptions | undefined;
  /** User name. */
  uname?: Credential | undefined;
  /** Password; needs `uname` [MQTT-3.1.2-22]. */
  passwd?: Credential | undefined;
  /** What the broker publishes when the client goes without DISCONNECT. */
  will?: Will | undefined;
  /**
   * Whether the broker keeps the session while the client is away: what it subscribed to, and the messages of
   * QoS 1 and 2 meanwhile. `false` by default; `true`, or how many seconds (1 to 4,294,967,295), which with MQTT 3.1.1
   * is the broker's to decide. It needs an `id` [MQTT-3.1.2-4].
   */
  session?: boolean | number | undefined;
  /**
   * Where the session is kept, so that it survives the process: {@linkcode fileStore}, in a page `indexedDBStore`. It needs `session`. In memory by default.
   */
  store?: SessionStore | undefined;
  /**
   * Milliseconds until connecting (name, TCP, proxy, TLS and CONNACK together), a request, or
   * disconnecting has failed; 10,000 by default.
   */
  timeout?: number | undefined;
  /** `socks5://[user:pass@]host:port` (`socks5h:` is the same) or `http://...`; it resolves the broker's name. */
  proxy?: string | URL | undefined;
  /**
   * Headers of the request for a WebSocket, by name, for `ws:` and `wss:` only: `{ Authorization: "Bearer ..." }`. They go to
   * a trusted server only, as `uname` and `passwd` do (RFC 6455, section 4.1).
   */
  headers?: Readonly<Record<string, string | readonly string[] | undefined>> | undefined;
  /** Bytes of the largest packet taken, 1 to 268,435,460; 16 MiB by default. */
  maxPacketSize?: number | undefined;
  /**
   * Bytes that may wait to be sent, 16 MiB by default; the same again of messages of QoS 1 and 2 that are not
   * acknowledged; and the same again of messages that are received and not settled, each with 256 bytes more than its
   * payload.
   */
  maxBuffered?: number | undefined;
  /**
   * How many messages of QoS 1 and 2 may be sent and not acknowledged, 1 to 65,535; 100 by default, 19 of them of QoS 2,
   * as brokers lose more of those. The others wait, in order.
   */
  maxInflight?: number | undefined;
  /**
   * What becomes of messages that were sent and not acknowledged when the broker has forgotten the session: `"resend"`
   * may bring them twice, `"reject"` not at all. By default QoS 1 is sent again, and QoS 2 rejects with `"sessionlost"`.
   */
  sessionLost?: "resend" | "reject" | undefined;
  /**
   * How many messages may be received and not settled, 1 to 65,535; 1,000 by default. Then nothing is read from the broker,
   * unless the program waits for it.
   */
  receiveMaximum?: number | undefined;
  /** Whether a lost connection is made again, and when; off by default. A function decides after each failure. */
  reconnect?: boolean | ReconnectOptions | ReconnectPolicy | undefined;
  /**
   * Whether the client is there at once, reachable or not: its first connection is made as later ones are, with `reconnect`,
   * and calls wait for it. The client ends when each address in turn has refused for good: return codes 1, 2, 4 and 5, a
   * server that is not trusted, a client certificate that cannot be used. False by default.
   */
  offline?: boolean | undefined;
  /**
   * What the client subscribes to, by topic filter: the handler, or the options of `subscribe()`. It is asked for on the
   * first connection, and later when the broker has kept no session, each filter in a packet of its own; messages go to
   * their handlers from the first byte on. A refusal is told to `onstatus`, and ends that subscription alone.
   */
  subscriptions?: Readonly<Record<string, OnPublish | SubscribeOptions | undefined>> | undefined;
  /** Aborts connecting, or ends the connection as `disconnect()` does. */
  signal?: AbortSignal | undefined;
  /**
   * Hears what becomes of the connection: each change once, in order, and never inside a call that the program is making.
   * In the blocking mode `run()` and `receive()` tell it; the last 1,000 wait for them.
   */
  onstatus?: OnStatus | undefined;
  /**
   * Gets each packet sent and received, without credentials and payloads; see {@linkcode flightRecorder}.
   * Not of `connectSync`; of `connectWorker` with a function as `onpub` without the pings, which are its thread's.
   */
  trace?: Trace | undefined;
}

/** Hears what becomes of the connection. What it throws surfaces as an uncaught error. */
export type OnStatus = (status: Status) => void;

/** How a message is published. */
export interface PublishOptions {
  /** Quality of service: 0 (default), at most once; 1, at least once; 2, exactly once (section 4.3). */
  qos?: QoS | undefined;
  /** Whether the broker keeps it for new subscribers [MQTT-3.3.1-5]; false by default. */
  retain?: boolean | undefined;
  /**
   * Seconds, 1 to 4,294,967,295: a message that was not sent by then is not sent any more, and rejects with `"stale"`. No
   * limit by default.
   */
  expiry?: number | undefined;
  /** `"stored"`: a publish of QoS 1 or 2 resolves when the message is in the store of the session, and not only when it is acknowledged. */
  until?: "stored" | undefined;
  /** What the message says of itself, with version 5. */
  properties?: MessageProperties | undefined;
  /** Takes the message back as long as it is not sent: QoS 1 and 2, beyond `maxInflight` or while there is no connection. */
  signal?: AbortSignal | undefined;
}

/** A message to be published, as one of a list. */
export interface OutgoingMessage extends PublishOptions {
  /** A topic name, without wildcards. */
  topic: string;
  /** The application message. */
  message: string | Uint8Array;
}

/** How topic filters are subscribed. */
export interface SubscribeOptions extends SubscriptionOptions {
  /** The highest QoS at which the broker sends: 0 (default), 1 or 2 [MQTT-3.8.4-6]. */
  qos?: QoS | undefined;
  /** Gets the messages of these filters, instead of the `onpub` of `connect`. */
  onpub?: OnPublish | undefined;
  /** How many promises of `onpub` may be pending at once; 1 by default. It belongs to the handler: of several, the last counts. */
  concurrency?: number | undefined;
}

/** How a client disconnects. */
export interface DisconnectOptions {
  /**
   * Whether to wait first until what was received is settled: handlers have finished, iterators have taken all.
   * It waits no longer than `timeout` in which nothing is settled. False by default.
   */
  drain?: boolean | undefined;
  /** Whether the broker publishes the will all the same, with version 5; false by default. */
  will?: boolean | undefined;
  /** Seconds for which the broker keeps the session from now on, with version 5; as `connect` has it by default. */
  session?: number | undefined;
  /** What DISCONNECT says besides, with version 5. */
  properties?: PacketProperties | undefined;
}

/** How messages are iterated. */
export interface MessagesOptions extends SubscriptionOptions {
  /** The highest QoS at which the broker sends: 0 (default), 1 or 2; no lower than `subscribe()` has asked for the same filter. */
  qos?: QoS | undefined;
  /** How many messages may wait; then nothing is read from the broker, unless the program waits for it. 1,000 by default. */
  limit?: number | undefined;
}

/** How a request is published, and for how long its answer is awaited. */
export interface RequestOptions {
  /** Milliseconds; the `timeout` of `connect` by default. */
  timeout?: number | undefined;
  /** 0, 1 (default) or 2; at 1 and 2, MQTT 5 tells at once when nobody listens. */
  qos?: QoS | undefined;
  /** What the message says of itself, with version 5; response topic and correlation data are the client's. */
  properties?: MessageProperties | undefined;
}

/** How requests are answered. */
export interface RespondOptions {
  /** The highest QoS at which requests come: 0, 1 (default) or 2. */
  qos?: QoS | undefined;
  /** How many promises of the handler may be pending at once; 1 by default. */
  concurrency?: number | undefined;
}

/**
 * Answers a request. What it throws, or rejects with, is told to who has asked; where nobody has, as the message is no
 * request, it surfaces as an uncaught error.
 */
export type Responder = (topic: string, message: Message) => string | Uint8Array | Promise<string | Uint8Array>;

/** Gets the return code of a SUBACK: the granted QoS, or 128 for a refusal [MQTT-3.9.3-2]. */
export type SubscribeCallback = (code: number) => void;

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
