/** A TCP proxy between client and broker that does to a connection what networks do. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** What happens to what passes: to each chunk, in both directions. */
export interface Weather {
  /** Milliseconds that each chunk is late. */
  delay?: number;
  /** One byte at a time, with this many milliseconds between two. */
  drip?: number;
  /** After so many bytes from the broker: the connection is closed, reset, or nothing passes any more. */
  after?: { bytes: number; then: "close" | "reset" | "silence" };
}

export interface FaultProxy {
  port: number;
  /** The weather for connections from now on, and those there are. */
  weather: Weather;
  /** Resets all connections. */
  reset(): void;
  stop(): Promise<void>;
}

export async function startFaultProxy(target: number): Promise<FaultProxy> {
  const sockets = new Set<Socket>();
  const timers = new Set<ReturnType<typeof setTimeout>>();
  const later = (milliseconds: number, act: () => void) => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      act();
    }, milliseconds);
    timers.add(timer);
  };
  const keep = (socket: Socket) => {
    sockets.add(socket);
    // A reset is what is being tested, and the other side closes for it.
    return socket.setNoDelay(true).on("close", () => sockets.delete(socket));
  };
  const proxy: FaultProxy = {
    port: 0,
    weather: {},
    reset() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    async stop() {
      for (const timer of timers) clearTimeout(timer);
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  const server = createServer((client) => {
    const broker = keep(connect(target, "127.0.0.1"));
    keep(client);
    for (const [from, to] of [[client, broker], [broker, client]] as const) {
      from.on("error", () => to.destroy()).on("close", () => to.destroy());
      pass(from, to, from === broker, () => proxy.weather, later);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  proxy.port = (server.address() as AddressInfo).port;
  return proxy;
}

function pass(
  from: Socket,
  to: Socket,
  fromBroker: boolean,
  weather: () => Weather,
  later: (milliseconds: number, act: () => void) => void,
): void {
  let passed = 0, silent = false;
  const give = (bytes: Uint8Array) => {
    const { after } = weather();
    const rest = fromBroker && after !== undefined ? after.bytes - passed : Infinity;
    passed += bytes.length;
    if (silent || to.destroyed) return;
    if (bytes.length <= rest) return void to.write(bytes);
    // In the middle of a packet, mostly.
    if (rest > 0) to.write(bytes.subarray(0, rest));
    if (after!.then === "silence") silent = true;
    else if (after!.then === "reset") to.resetAndDestroy();
    else to.end(() => to.destroy());
  };
  from.on("data", (bytes: Uint8Array) => {
    const { delay = 0, drip } = weather();
    if (drip !== undefined) {
      from.pause();
      const next = (at: number) => {
        give(bytes.subarray(at, at + 1));
        if (at + 1 < bytes.length) later(drip, () => next(at + 1));
        else from.resume();
      };
      return next(0);
    }
    if (delay === 0) return give(bytes);
    from.pause();
    later(delay, () => {
      give(bytes);
      from.resume();
    });
  });
}
