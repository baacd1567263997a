/** One command to see it all: an embedded broker, a simulated greenhouse, the bridges and the page. */
import { Aedes } from "aedes";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { readWhole } from "./embedded.ts";
import { startGreenhouse } from "./greenhouse.ts";
import { startHttp } from "./http.ts";
import * as program from "./program.ts";
import { startWebSocket } from "./websocket.ts";

const usage = `main.ts [--broker mqtt://localhost] [--version 311|5|auto] [--ca authorities.pem]
        [--host 127.0.0.1] [--port 8080] [--token ...] [--origin https://...]...
Without --broker it has its own, and a greenhouse that publishes. The HTTP bridge takes the port after that of the page.`;

/** A broker inside this process, on a free port of the loopback interface. */
async function startBroker(): Promise<{ url: string; stop(): void }> {
  const broker = await Aedes.createBroker();
  const server = createServer((socket: Socket) => broker.handle(readWhole(socket)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `mqtt://127.0.0.1:${port}`, stop: () => broker.close(() => server.close()) };
}

/** On the port that was asked for, or, where nobody asked and it is taken, on any; and says so. */
async function start(open: (port: number) => Promise<program.Bridge>, port: number): Promise<program.Bridge> {
  try {
    return await open(port);
  } catch (error) {
    if ((error as { code?: string }).code !== "EADDRINUSE" || values.port !== undefined) throw error;
    console.log(`Port ${port} is taken, so another one is used.`);
    return await open(0);
  }
}

const values = program.parse(usage, {
  ...program.listenArgs,
  ...program.brokerArgs,
  port: { type: "string" },
  broker: { type: "string" },
});
const isOwn = values.broker === undefined;
await program.run(usage, async () => {
  const to = program.listenOptions({ ...values, port: values.port ?? "8080" });
  const embedded = isOwn ? await startBroker() : undefined;
  const broker = await program.brokerOptions({ ...values, broker: values.broker ?? embedded!.url });
  const web = await start((port) => startWebSocket({ ...broker, ...to, port }), to.port!);
  const http = await start((port) => startHttp({ ...broker, ...to, port }), to.port! && to.port! + 1);
  const stopGreenhouse = embedded && await startGreenhouse(embedded.url);
  const hash = new URLSearchParams({
    ...isOwn ? { filter: "greenhouse/#", topic: "greenhouse/heater/set", message: "on" } : { filter: "#" },
    ...to.token ? { token: to.token } : {},
  });
  console.log(`The page, with the WebSocket bridge behind it:
    ${web.url}/#${hash}
The HTTP bridge:
    curl -N -H 'Accept: text/event-stream' ${http.url}/${isOwn ? "greenhouse/temperature" : "%23"}
    curl -d on ${http.url}/${isOwn ? "greenhouse/heater/set" : "a/topic"}
The broker${isOwn ? ", embedded" : ""}: ${program.withoutLogin(broker.broker)}
Ctrl+C ends it all.`);
  return {
    url: web.url,
    status: () => ({ websocket: web.status(), http: http.status() }),
    async close() {
      await stopGreenhouse?.();
      await Promise.all([web.close(), http.close()]);
      embedded?.stop();
    },
  };
}, () => `Ended: the page and the bridges${isOwn ? ", the greenhouse and its broker" : ""} are closed.`);
