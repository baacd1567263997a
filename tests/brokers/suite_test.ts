/** The suite of the client over WebSockets, plain and over TLS, to other brokers than mosquitto. */
import { suite } from "../client/suite.ts";
import {
  overNatsSecureWebSocket,
  overNatsWebSocket,
  overRabbitSecureWebSocket,
  overRabbitWebSocket,
} from "../client/ways.ts";
import { runtime } from "../support/spawn.ts";

suite("WebSocket to nats-server", overNatsWebSocket, 2000, ["nats-server"]);
suite("WebSocket over TLS to nats-server", overNatsSecureWebSocket, 2000, ["nats-server"]);
// It takes long to start: one runtime does.
if (runtime === "deno") {
  suite("WebSocket to RabbitMQ", overRabbitWebSocket, 2000, ["rabbitmq-server"]);
  suite("WebSocket over TLS to RabbitMQ", overRabbitSecureWebSocket, 2000, ["rabbitmq-server"]);
}
