/** What the program gives: the options of all calls, and the functions among them.
 * @module */

import type { MqttError } from "./errors.ts";
import type { Message } from "./message.ts";
import type { AuthOptions, ConnectProperties, PacketProperties, SubscriptionOptions } from "./options5.ts";
import type { MessageProperties, QoS } from "./protocol/packet.ts";
import type { OnStatus } from "./status.ts";
import type { SessionStore } from "./store/session_store.ts";
import type { TlsOptions } from "./transport/tls_options.ts";

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
