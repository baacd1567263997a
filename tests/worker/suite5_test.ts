/** The suite with MQTT 5, with the connection in a thread, or the whole client. */
import { suite } from "../client/suite.ts";
import { overModule, overThread, overThreadWebSocket, withVersion5 } from "../client/ways.ts";

suite("MQTT 5: in a thread", withVersion5(overThread));
suite("MQTT 5: in a thread with its module", withVersion5(overModule));
suite("MQTT 5: in a thread: WebSocket over TLS", withVersion5(overThreadWebSocket));
