/** Many connections in a thread, one after the other: starts what they talk to, and passes on how much memory they take. */
import { type AddressInfo, connect, createServer } from "node:net";
import { bytes } from "../support/bytes.ts";
import { send, startScripted, wait } from "../support/scripted.ts";
import { type Server, startMosquitto } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";

/** A client that publishes to this topic loses its connection, behind the faulty proxy. */
export const DROP = "soak/drop";

/** The process after so many connections, and its resident memory in mebibytes. */
export interface Taken {
  connections: number;
  rss: number;
}

/** A proxy that resets the connection of a client that asks for it. */
async function startFaulty(target: number): Promise<Server> {
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

/** Opens and ends so many connections, and measures after each `every`. */
export async function connections(
  count: number,
  every: number,
  each: (taken: Taken) => void = () => {},
): Promise<Taken[]> {
  const broker = await startMosquitto({ config: "log_type none\nset_tcp_nodelay true" });
  const servers = [
    broker,
    await startFaulty(broker.port),
    await startScripted([wait(2), send(bytes("20 02 00 05")), ({ socket }) => void socket.end()]),
    await startScripted(),
  ];
  const args = [...servers.map(({ port }) => port), count, every].map(String);
  const child = await startScript("tests/soak/connections_child.ts", args);
  try {
    const all: Taken[] = [];
    child.lines((line) => {
      const taken = JSON.parse(line) as Taken;
      all.push(taken);
      each(taken);
    });
    const code = await child.exited;
    if (code !== 0) throw new Error(`It ended with ${code}: ${child.stdout()}${child.stderr()}`);
    return all;
  } finally {
    await child.stop();
    for (const server of servers.reverse()) await server.stop();
  }
}
