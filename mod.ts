/**
 * An MQTT client, of 3.1.1 and 5, for Deno, Bun and Node: one module without dependencies.
 *
 * ```ts no-run
 * import { connect } from "mqtt3c";
 *
 * const mqtt = await connect("localhost", (topic, message) => console.log(topic, message.text()));
 * mqtt.subscribe("#");
 * const end = await mqtt.run(); // end.code: "disconnect", "pingresp", ...
 * ```
 *
 * @module
 */

export type { Address } from "./src/client/address.ts";
export { connect, type Opener } from "./src/client/connect.ts";
export { connectSync } from "./src/client/connect_sync.ts";
export { connectWorker } from "./src/client/connect_worker.ts";
export type { Client, SyncClient } from "./src/api.ts";
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
export type { Connection, Streams } from "./src/transport/streams.ts";
export type { TlsOptions } from "./src/transport/tls_options.ts";
export type { SessionStore, StoreReader } from "./src/store/session_store.ts";
export { type FileStore, fileStore, type FileStoreOptions } from "./src/store/file_store.ts";
export type { Trust } from "./src/session/trust.ts";
