/**
 * Real clients that lose a real broker together. They connect through a counting front, which is there when the broker
 * is not, and closes what it cannot pass on: each attempt is counted when it arrives.
 *
 * A client takes three file descriptors in this process, with both sides of the front, and one in mosquitto.
 */
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from "node:net";
import { assertEquals } from "@std/assert";
import { type Client, connect } from "../../mod.ts";
import { within } from "../client/support.ts";
import { run } from "../support/process.ts";
import { startMosquitto } from "../support/servers.ts";

/** The policy; milliseconds. */
export const minDelay = 2000, maxDelay = 6000;
/** For so many milliseconds the broker is down, and what it takes to start. */
const DOWN = 3000;
/** mosquitto lets 100 connections wait until it accepts them. */
const AT_ONCE = 50;

export interface Figures {
  clients: number;
  /** Milliseconds from the loss until the broker was up, and from then until the last client was back. */
  down: number;
  back: number;
  /** Attempts that arrived since the loss. */
  attempts: number;
  /** The most that were due in any window of a quarter of `minDelay`: when they arrive depends on the machine, too. */
  peak: number;
  /** The longest wait before an attempt, in milliseconds. */
  wait: number;
  /** Sockets of the front that are open when all have disconnected. */
  open: number;
}

export function describe({ clients, down, back, attempts, peak, wait, open }: Figures): string {
  const share = (peak / clients).toFixed(2);
  return `${clients} clients, ${Math.round(down)} ms without a broker: all back after ${Math.round(back)} ms more; ` +
    `${attempts} attempts, at most ${peak} due in ${minDelay / 4} ms (${share} of the clients), after at most ` +
    `${Math.round(wait)} ms; ${open} sockets left open`;
}

interface Front {
  port: number;
  /** How many connections came. */
  arrivals: number;
  /** How many sockets are open, of both sides. */
  readonly open: number;
  stop(): Promise<void>;
}

async function startFront(target: number): Promise<Front> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    return socket.setNoDelay(true).on("close", () => sockets.delete(socket));
  };
  const server = createServer((client) => {
    front.arrivals++;
    const broker = keep(connectTcp(target, "127.0.0.1"));
    keep(client);
    for (const [from, to] of [[client, broker], [broker, client]] as const) {
      // An error is the broker's absence, or its end: the other side is closed for it.
      from.on("error", () => to.destroy()).on("close", () => to.destroy()).pipe(to);
    }
  });
  await new Promise<void>((resolve) => server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, resolve));
  const front = {
    port: (server.address() as AddressInfo).port,
    arrivals: 0,
    get open() {
      return sockets.size;
    },
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return front;
}

/** The runtimes take all file descriptors they may have, which is the hard limit: it must be enough. */
async function checkDescriptors(clients: number): Promise<void> {
  const wanted = 3 * clients + 500;
  const { stdout } = await run("/bin/sh", ["-c", "ulimit -Hn"]);
  if (Number(stdout) < wanted) throw new Error(`${clients} clients need ulimit -n ${wanted}; it is ${stdout.trim()}`);
}

/** Connects so many clients, takes the broker away, and waits until all have it again. */
export async function crowd(clients: number): Promise<Figures> {
  await checkDescriptors(clients);
  const config = "max_connections -1\nlog_type none";
  let broker = await startMosquitto({ config });
  const front = await startFront(broker.port);
  const connected: Client[] = [];
  /** When each client had a connection for the second time. */
  const backAt: number[] = [];
  const waits: number[] = [], due: number[] = [];
  let wake = () => {};
  const open = async () => {
    let times = 0;
    const mqtt = await connect("127.0.0.1", undefined, {
      port: front.port,
      reconnect: { minDelay, maxDelay },
      onstatus: (status) => {
        if (status.type === "waiting") {
          waits.push(status.delay);
          due.push(performance.now() + status.delay);
        }
        if (status.type !== "connected" || ++times === 1) return;
        backAt.push(performance.now());
        if (backAt.length === clients) wake();
      },
    });
    connected.push(mqtt);
  };
  try {
    for (let rest = clients; rest > 0; rest -= AT_ONCE) {
      await Promise.all(Array.from({ length: Math.min(rest, AT_ONCE) }, open));
    }
    front.arrivals = 0;
    const allBack = new Promise<void>((resolve) => wake = resolve);
    const lost = performance.now();
    await broker.stop();
    await new Promise((resolve) => setTimeout(resolve, DOWN));
    broker = await startMosquitto({ port: broker.port, config });
    const up = performance.now();
    await within(allBack, `${clients} clients are back`, maxDelay + 20_000).catch((error: Error) => {
      throw new Error(`${error.message}: ${backAt.length}`, { cause: error });
    });
    const attempts = front.arrivals;
    await Promise.all(connected.map((mqtt) => mqtt.disconnect()));
    const ends = await Promise.all(connected.map((mqtt) => mqtt.run()));
    assertEquals([...new Set(ends.map(({ code }) => code))], ["disconnect"]);
    await within(nothingOpen(front), "the front's sockets are closed").catch(() => {
      throw new Error(`${front.open} sockets are open`);
    });
    return {
      clients,
      down: up - lost,
      back: Math.max(...backAt) - up,
      attempts,
      peak: most(due.sort((a, b) => a - b), minDelay / 4),
      wait: Math.max(...waits),
      open: front.open,
    };
  } finally {
    await Promise.allSettled(connected.map((mqtt) => mqtt.disconnect()));
    await front.stop();
    await broker.stop();
  }
}

async function nothingOpen(front: Front): Promise<void> {
  while (front.open > 0) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** The most of these times, in order, that a window of so many milliseconds holds. */
function most(times: readonly number[], window: number): number {
  let first = 0, found = 0;
  times.forEach((time, i) => {
    while (times[first]! < time - window) first++;
    found = Math.max(found, i - first + 1);
  });
  return found;
}
