/** A door of aedes for MQTT over WebSocket, by the npm package `ws`. */
import type { Aedes } from "aedes";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createWebSocketStream, WebSocketServer } from "ws";
import { paced, type Server } from "./servers.ts";

/** Opens it on a free port; the broker is stopped by itself. */
export async function serveWebSocket(broker: Aedes): Promise<Server> {
  const http = createServer();
  const server = new WebSocketServer({ server: http, path: "/mqtt" });
  server.on("connection", (socket) => {
    const stream = createWebSocketStream(socket);
    stream.on("error", () => {}); // a client that goes without a close frame
    broker.handle(paced(stream));
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    port: (http.address() as AddressInfo).port,
    async stop() {
      for (const client of server.clients) client.terminate();
      server.close();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}
