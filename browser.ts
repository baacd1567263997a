/**
 * The MQTT client for pages: what `mod.ts` has, as far as a browser can do it, over the browser's own WebSocket. It
 * reaches no module of `node:`.
 *
 * `connectSync` and `fileStore` are not here: a page may not block, and has no files; {@linkcode indexedDBStore} keeps a
 * session. A program that imports them for a page is told so when it is bundled, not when somebody opens it.
 * {@linkcode connectWorker} says what to do instead.
 *
 * ```ts no-run
 * import { connect } from "mqtt3c/browser";
 *
 * const mqtt = await connect("wss://broker.example/mqtt", (topic, message) => console.log(topic, message.text()));
 * await mqtt.subscribe("#");
 * ```
 *
 * @module
 */

export type { Address } from "./src/client/address.ts";
export { connect, connectWorker, type Locator } from "./src/client/connect_page.ts";
export type { Client } from "./src/api.ts";
export type {
  ConnectOptions,
  Credential,
  DisconnectOptions,
  MessagesOptions,
  OnPublish,
  OutgoingMessage,
  PublishOptions,
  ReconnectOptions,
  ReconnectPolicy,
  RequestOptions,
  Responder,
  RespondOptions,
  SubscribeCallback,
  SubscribeOptions,
  Trace,
  TraceRecord,
  Will,
} from "./src/options.ts";
export type { ConnectionStatus, OnStatus, Stats, Status } from "./src/status.ts";
export type {
  AuthOptions,
  ConnectProperties,
  Limits,
  PacketProperties,
  SubscriptionOptions,
  UserProperties,
} from "./src/options5.ts";
export { type ErrorCode, MqttError } from "./src/errors.ts";
export { type FlightRecorder, flightRecorder } from "./src/flight_recorder.ts";
export { Message } from "./src/message.ts";
export type { MessageProperties, QoS } from "./src/protocol/packet.ts";
export type { TlsOptions } from "./src/transport/tls_options.ts";
export type { SessionStore, StoreReader } from "./src/store/session_store.ts";
export { indexedDBStore, type IndexedDBStoreOptions } from "./src/store/indexed_db_store.ts";
export type { Trust } from "./src/session/trust.ts";
