/** Many connections in a thread, one after the other: starts what they talk to, and passes on how much memory they take. */
import { bytes } from "../support/bytes.ts";
import { send, startScripted, wait } from "../support/scripted.ts";
import { startMosquitto } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";
import { startFaulty } from "./faulty.ts";

/** The process after so many connections, and its resident memory in mebibytes. */
export interface Taken {
  connections: number;
  rss: number;
}

/** Opens and ends so many connections, and measures after the first forty, and each `every`. */
export async function connections(
  count: number,
  every: number,
  each: (taken: Taken) => void = () => {},
): Promise<Taken[]> {
  const broker = await startMosquitto({ quiet: true, config: "set_tcp_nodelay true" });
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
