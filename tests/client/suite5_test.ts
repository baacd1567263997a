/** The suite with MQTT 5, over the ways to mosquitto. */
import { suite } from "./suite.ts";
import { overTcp, overTls, overUnix, overWebSocket, withVersion5 } from "./ways.ts";

suite("MQTT 5: TCP", withVersion5(overTcp), 50_000);
suite("MQTT 5: TLS", withVersion5(overTls));
suite("MQTT 5: WebSocket", withVersion5(overWebSocket));
suite("MQTT 5: a Unix socket", withVersion5(overUnix));
