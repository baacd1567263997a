/** A proxy whose clients lose their connections when they ask for that. */
import { type AddressInfo, connect, createServer } from "node:net";
import type { Server } from "../support/servers.ts";

/** Who publishes to this topic loses its connection. */
export const DROP = "soak/drop";

/** Starts the proxy, to a broker's port. */
export async function startFaulty(target: number): Promise<Server> {
  const server = createServer((client) => {
    const broker = connect(target, "127.0.0.1");
    client.on("data", (data) => {
      if (data.includes(DROP)) client.resetAndDestroy();
    });
    client.pipe(broker).pipe(client);
    client.on("error", () => {}).on("close", () => broker.destroy());
    broker.on("error", () => {}).on("close", () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
