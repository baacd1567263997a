/** One command to see it: a broker with a WebSocket listener, a simulated greenhouse, and the page, which needs no bridge. */
import { Aedes } from "aedes";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createWebSocketStream, WebSocketServer } from "ws";
import { readWhole } from "../bridge/embedded.ts";
import { startGreenhouse } from "../bridge/greenhouse.ts";
import { listen } from "../bridge/listen.ts";
import * as program from "../bridge/program.ts";
import { buildPage } from "./build.ts";

const usage = `main.ts [--host 127.0.0.1] [--port 8080] [--write page.html]
Serves the page, and opens a broker with a WebSocket at /mqtt of the same port. With --write it only writes the page into a
file, which can be opened from disk, or served by anybody: it asks where the broker is.`;

const { host, port, write } = program.parse(usage, {
  host: { type: "string", default: "127.0.0.1" },
  port: { type: "string", default: "8080" },
  write: { type: "string" },
});

async function serve(): Promise<program.Bridge> {
  const page = buildPage(), broker = await Aedes.createBroker();
  const server = createServer(({ method, url = "" }, response) => {
    if (method !== "GET" || url.split("?")[0] !== "/") return void response.writeHead(404).end();
    response.writeHead(200, { "content-type": "text/html; charset=utf-8", "cache-control": "no-cache" }).end(page);
  });
  const sockets = new WebSocketServer({ server, path: "/mqtt" });
  sockets.on("connection", (socket) => {
    const stream = createWebSocketStream(socket);
    stream.on("error", () => {}); // a page that was closed says no goodbye
    broker.handle(readWhole(stream));
  });
  const url = await listen(server, program.listenOptions({ host, port }));
  const stopGreenhouse = await startGreenhouse(`${url.replace(/^http/, "ws")}/mqtt`);
  const hash = new URLSearchParams({ filter: "greenhouse/#", topic: "greenhouse/heater/set", message: "on" });
  console.log(`The page:
    ${url}/#${hash}
The broker, embedded, for pages and others: ${url.replace(/^http/, "ws")}/mqtt
Ctrl+C ends it all.`);
  return {
    url,
    status: () => ({}),
    async close() {
      await stopGreenhouse();
      for (const socket of sockets.clients) socket.terminate();
      await new Promise<void>((resolve) => broker.close(resolve));
      server.closeAllConnections();
      server.close();
    },
  };
}

if (write !== undefined) writeFileSync(write, buildPage());
else await program.run(usage, serve, () => "Ended: the page, the greenhouse and its broker are closed.");
