/** The suite of the client over WebSockets, plain and over TLS, to other brokers than mosquitto. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../mod.ts";
import { suite } from "../client/suite.ts";
import type { Way } from "../client/ways.ts";
import { certificates } from "../support/certificates.ts";
import { freePort, type KeepingOptions, type Server, startNats, startRabbit } from "../support/servers.ts";
import { runtime } from "../support/spawn.ts";

/** A way over the WebSocket of a server that has a directory of its own. */
const overWeb = (start: (options: KeepingOptions) => Promise<Server>, path: string, tls: boolean) => {
  return async (): Promise<Way> => {
    const data = mkdtempSync(join(tmpdir(), "mqtt3c-suite-")), web = freePort();
    const { port, stop } = await start({ data, web, tls });
    const address = `${tls ? "wss" : "ws"}://localhost:${web}${path}`;
    return {
      port,
      hasNoSpaces: start === startNats,
      refusesNone: start === startRabbit,
      connect: (onpub, op) => connect(address, onpub, { ...tls && { tls: { ca: certificates().ca } }, ...op }),
      async stop() {
        await stop();
        rmSync(data, { recursive: true, force: true });
      },
    };
  };
};

suite("WebSocket to nats-server", overWeb(startNats, "/mqtt", false), 2000, "nats-server");
suite("WebSocket over TLS to nats-server", overWeb(startNats, "/mqtt", true), 2000, "nats-server");
// It takes long to start: one runtime does.
if (runtime === "deno") {
  suite("WebSocket to RabbitMQ", overWeb(startRabbit, "/ws", false), 2000, "rabbitmq-server");
  suite("WebSocket over TLS to RabbitMQ", overWeb(startRabbit, "/ws", true), 2000, "rabbitmq-server");
}
